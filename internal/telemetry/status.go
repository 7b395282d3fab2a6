package telemetry

import (
	"fmt"
	"strings"
	"time"
)

// status is where a run stands, for the bar and for lines of progress: a pure function of the events so far.
type status struct {
	run      Run
	done     int // steps
	task     Progress
	haveTask bool
	steps    rate    // steps per second
	units    rate    // of the task's units
	tokens   rate    // of the task's tokens
	step     float64 // tokens per second of the last step
}

// taskGap thins the observations of a task, which may come with every token.
const taskGap = time.Second

func (s *status) observe(e Event) {
	switch {
	case e.Run != nil:
		*s = status{run: *e.Run, done: e.Run.Done}
		s.steps.observe(e.Time, float64(s.done))
	case e.Record != nil:
		s.done = e.Record.Index
		if s.run.Unit == "" {
			s.run.Unit, s.run.Total = unitOf(e.Record), e.Record.Total
		}
		s.steps.observe(e.Time, float64(s.done))
		s.step = e.Record.Timing.TokensPerSecond()
		s.haveTask = false
	case e.Progress != nil:
		if !s.haveTask || s.task.Task != e.Progress.Task {
			s.units, s.tokens = rate{gap: taskGap}, rate{gap: taskGap}
		}
		s.task, s.haveTask = *e.Progress, true
		s.units.observe(e.Time, float64(s.task.Done))
		s.tokens.observe(e.Time, float64(s.task.Tokens))
	}
}

// left estimates the time to the end of the run, or of the task when there are no steps.
func (s *status) left() (time.Duration, bool) {
	if s.run.Total > 0 {
		return s.steps.remaining(float64(s.run.Total - s.done))
	}
	if s.run.Unit == "" && s.haveTask && s.task.Total > 0 {
		return s.units.remaining(float64(s.task.Total - s.task.Done))
	}
	return 0, false
}

// speed returns tokens per second, of the task if it counts them and of the last step otherwise; 0 when not known.
func (s *status) speed() float64 {
	if s.haveTask {
		if now := s.tokens.perSecond(); now > 0 {
			return now
		}
	}
	return s.step
}

// bar returns how much of how much is done, and what to write beside it. The total is 0 when it is not known.
func (s *status) bar() (done, total int64, text string) {
	if s.run.Unit == "" {
		return s.task.Done, s.task.Total, s.text()
	}
	return int64(s.done), int64(s.run.Total), s.text()
}

// text is "iteration 13/200  rollout 512/1024 responses  812 tokens/s  10m20s left".
func (s *status) text() string {
	var parts []string
	if s.run.Unit != "" {
		at := s.done
		if s.haveTask && (s.run.Total <= 0 || at < s.run.Total) {
			at++ // the step that the task belongs to
		}
		parts = append(parts, stepOf(s.run.Unit, at, s.run.Total))
	}
	if s.haveTask {
		what := fmt.Sprintf("%s %d", s.task.Task, s.task.Done)
		if s.task.Total > 0 {
			what += fmt.Sprintf("/%d", s.task.Total)
		}
		parts = append(parts, strings.TrimRight(what+" "+s.task.Unit, " "))
	}
	if speed := s.speed(); speed > 0 {
		parts = append(parts, count(speed)+" tokens/s")
	}
	if left, known := s.left(); known {
		parts = append(parts, duration(left)+" left")
	}
	return strings.Join(parts, "  ")
}
