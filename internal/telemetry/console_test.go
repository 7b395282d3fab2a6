package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// play runs a short PPO run of seven iterations, resumed after the third, with a long rollout, a warning and a table.
func play(w io.Writer, options ConsoleOptions) error {
	c := newClock()
	r := New(Options{Clock: c.time}, NewConsole(w, options))
	log := slog.New(r.Handler(slog.LevelDebug))
	log.Info("resumed", "checkpoint", "checkpoints/000003")
	log.Debug("arenas", "bytes", 123456)
	r.Begin(Run{Name: "toy", Stage: "ppo", Unit: Iteration, Done: 3, Total: 7})
	for i := 4; i <= 7; i++ {
		for done := int64(0); done <= 1024; done += 4 {
			r.Progress(Progress{Task: "rollout", Unit: "responses", Done: done, Total: 1024, Tokens: done * 60})
			c.add(300 * time.Millisecond)
		}
		if i == 5 {
			log.Warn("step skipped\nbecause of \x1b[31mNaN", "sequences", "[3 9]")
		}
		var m Metrics
		m.SetFloat(ScoreMean, 0.8*float64(i)/7)
		m.SetFloat(KL, 0.0213*float64(i))
		m.SetFloat(PolicyLoss, -0.0012)
		m.SetList(ValueLoss, []float64{0.04, 0.02 / float64(i-3)})
		m.SetFloat(ResponseLengthMean, 53.2)
		m.SetFloat(LRPolicy, 1.85e-7)
		if i == 6 {
			m.SetFloat(ScoreHeldout, 0.75)
			m.SetFloat(KL, math.NaN())
		}
		c.add(2 * time.Second)
		r.Step(i, m, 61440)
		if i == 6 {
			r.Samples(i, sampleTable)
		}
	}
	return r.Close()
}

func TestConsoleGolden(t *testing.T) {
	for name, options := range map[string]ConsoleOptions{
		"plain":   {},
		"every":   {Every: 5, Interval: time.Hour, Level: slog.LevelDebug},
		"quiet":   {Quiet: true},
		"json":    {Format: LogJSON},
		"silence": {Quiet: true, Format: LogJSON, Level: slog.LevelError},
	} {
		var out bytes.Buffer
		if err := play(&out, options); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s: control sequences where there is no terminal: %q", name, out.String())
		}
		golden(t, "console_"+name+".txt", out.String())
	}
}

// Everything on standard error is an object when objects are asked for.
func TestConsoleJSONIsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := play(&out, ConsoleOptions{Format: LogJSON, Interactive: true}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil || object["msg"] == "" {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// Without colours a terminal still has its bar.
func TestConsoleWithoutColours(t *testing.T) {
	colour := regexp.MustCompile("\x1b\\[[0-9;]*m")
	for _, without := range []bool{false, true} {
		var out bytes.Buffer
		if err := play(&out, ConsoleOptions{Interactive: true, NoColor: without}); err != nil {
			t.Fatal(err)
		}
		if colour.MatchString(out.String()) == without {
			t.Errorf("NoColor %v: %q", without, out.String())
		}
		if c := NewConsole(&out, ConsoleOptions{Interactive: true, NoColor: without}); c.bar == nil {
			t.Errorf("NoColor %v: there is no bar", without)
		} else {
			c.bar.close()
		}
	}
}

// A task without a run, such as scoring a file, is followed too, and not with a line for each of its events.
func TestConsoleTaskWithoutRun(t *testing.T) {
	c := newClock()
	var out bytes.Buffer
	r := New(Options{Clock: c.time}, NewConsole(&out, ConsoleOptions{}))
	for done := range int64(1000) {
		r.Progress(Progress{Task: "score", Unit: "lines", Done: done, Total: 2000})
		c.add(100 * time.Millisecond)
	}
	want := "score 300/2000 lines  2m50s left\nscore 600/2000 lines  2m20s left\nscore 900/2000 lines  1m50s left\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// An interactive console on something that is no terminal loses no line.
func TestLiveConsoleKeepsLines(t *testing.T) {
	defer goleak.VerifyNone(t) // nor does it leave a goroutine behind
	var out bytes.Buffer
	r := New(Options{}, NewConsole(&out, ConsoleOptions{Interactive: true}))
	log := slog.New(r.Handler(slog.LevelInfo))
	r.Begin(Run{Unit: Step, Total: 100})
	for i := 1; i <= 100; i++ {
		r.Step(i, Metrics{}, 0)
		log.Info(fmt.Sprintf("message %d.", i))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 100; i++ {
		if !strings.Contains(out.String(), fmt.Sprintf("step %3d/100", i)) || !strings.Contains(out.String(), fmt.Sprintf("message %d.", i)) {
			t.Errorf("step or message %d is missing", i)
		}
	}
}
