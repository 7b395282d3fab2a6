package telemetry

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Sink renders or stores events. A Recorder calls its sinks from one goroutine at a time, in the order of the events;
// events that mean nothing to a sink are no errors. A sink must not call its recorder.
type Sink interface {
	Name() string         // for error messages, such as "metrics.jsonl"
	Handle(e Event) error // an error loses this event, not the sink; one that wraps ErrDelayed does not lose it yet
	Flush() error         // makes durable what was handled; called before a checkpoint is committed
	Close() error         // flushes and releases; called once
}

// Options of a Recorder. The zero Options are complete.
type Options struct {
	Clock func() time.Time // default time.Now

	// OnError hears of each sink the first error that lost something, and the first that wraps ErrDelayed since the sink was
	// last flushed with success. It is called outside any lock, so it may log through the recorder itself.
	OnError func(sink string, err error)
}

// Recorder stamps events with the time and hands them to its sinks. It is safe for concurrent use. A nil *Recorder is
// valid and discards everything.
type Recorder struct {
	options Options

	mu       sync.Mutex
	sinks    []*guarded
	closed   bool
	late     int // events after Close
	run      Run
	lastStep time.Time
	phases   []Phase
	unheard  []failure
}

// guarded is a sink and what went wrong with it.
type guarded struct {
	sink    Sink
	first   error // that lost something
	errors  int   // that lost something
	events  int
	delayed bool // OnError has heard so, and no flush has succeeded since
}

type failure struct {
	sink string
	err  error
}

// New returns a recorder that owns the sinks: it hands them events in the order given, and closes them in that order.
func New(options Options, sinks ...Sink) *Recorder {
	if options.Clock == nil {
		options.Clock = time.Now
	}
	r := &Recorder{options: options, lastStep: options.Clock()}
	for _, s := range sinks {
		r.sinks = append(r.sinks, &guarded{sink: s})
	}
	return r
}

// Add adds a sink, for those that exist only once a run directory does.
func (r *Recorder) Add(s Sink) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sinks = append(r.sinks, &guarded{sink: s})
}

// Begin announces a run; its steps are timed from now.
func (r *Recorder) Begin(run Run) {
	r.emit(func(now time.Time) Event {
		r.run, r.lastStep, r.phases = run, now, nil
		return Event{Run: &run}
	})
}

// Step records a step's metrics, which it keeps: set no more values. tokens is what the step worked on. The timing is
// that of the time, and of the phases that ended, since the record before.
func (r *Recorder) Step(index int, metrics Metrics, tokens int64) {
	r.emit(func(now time.Time) Event {
		timing := Timing{Seconds: now.Sub(r.lastStep).Seconds(), Tokens: tokens, Phases: r.phases}
		r.lastStep, r.phases = now, nil
		return Event{Record: &Record{Unit: r.run.Unit, Index: index, Total: r.run.Total, Metrics: metrics, Timing: timing}}
	})
}

// Phase starts timing a part of a step. The function it returns ends it, with the number of tokens or 0. Phases of one
// name add up within a step.
func (r *Recorder) Phase(name string) (end func(tokens int64)) {
	if r == nil {
		return func(int64) {}
	}
	start := r.options.Clock()
	return func(tokens int64) {
		r.emit(func(now time.Time) Event {
			p := Phase{Name: name, Seconds: now.Sub(start).Seconds(), Tokens: tokens}
			i := slices.IndexFunc(r.phases, func(q Phase) bool { return q.Name == name })
			if i < 0 {
				r.phases = append(r.phases, p)
			} else {
				r.phases[i].Seconds += p.Seconds
				r.phases[i].Tokens += p.Tokens
			}
			return Event{Phase: &p}
		})
	}
}

// Progress tells how far a task has come. It may be called often; sinks thin it.
func (r *Recorder) Progress(p Progress) {
	r.emit(func(time.Time) Event { return Event{Progress: &p} })
}

// Message records a log message. Handler returns a slog.Handler that does.
func (r *Recorder) Message(m Message) {
	r.emit(func(time.Time) Event { return Event{Message: &m} })
}

// Samples records a table of samples at a step.
func (r *Recorder) Samples(index int, table Table) {
	r.emit(func(time.Time) Event { return Event{Samples: &Samples{Index: index, Table: table}} })
}

// Emit hands on an event that another recorder stamped, as a supervising process does.
func (r *Recorder) Emit(e Event) {
	r.emit(func(time.Time) Event { return e })
}

func (r *Recorder) emit(build func(now time.Time) Event) {
	if r == nil {
		return
	}
	r.mu.Lock()
	now := r.options.Clock()
	e := build(now)
	if e.Time.IsZero() {
		e.Time = now
	}
	if r.closed {
		r.late++
	} else {
		for _, g := range r.sinks {
			g.events++
			r.note(g, g.sink.Handle(e))
		}
	}
	r.report()
}

// note counts a sink's error and keeps it for report if it is the first of its kind.
func (r *Recorder) note(g *guarded, err error) {
	switch {
	case err == nil:
		return
	case errors.Is(err, ErrDelayed):
		if g.delayed {
			return
		}
		g.delayed = true
	default:
		g.errors++
		if g.first != nil {
			return
		}
		g.first = err
	}
	r.unheard = append(r.unheard, failure{g.sink.Name(), err})
}

// report unlocks the recorder and tells OnError what is new.
func (r *Recorder) report() {
	unheard := r.unheard
	r.unheard = nil
	r.mu.Unlock()
	if r.options.OnError != nil {
		for _, f := range unheard {
			r.options.OnError(f.sink, f.err)
		}
	}
}

// Flush makes all that was recorded durable. After an error some of it is not, so a checkpoint that was written all the same
// could leave a gap in what is stored; the next Flush tries again.
func (r *Recorder) Flush() error {
	return r.each(Sink.Flush)
}

// Close flushes and closes the sinks in order and returns Err. What comes after it is lost and counted.
func (r *Recorder) Close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	wasClosed := r.closed
	r.closed = true
	r.mu.Unlock()
	if !wasClosed {
		_ = r.each(Sink.Close) // Err has them too
	}
	return r.Err()
}

func (r *Recorder) each(do func(Sink) error) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	var errs []error
	for _, g := range r.sinks {
		err := do(g.sink)
		if err == nil {
			g.delayed = false
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %w", g.sink.Name(), err))
		r.note(g, err)
	}
	r.report()
	return errors.Join(errs...)
}

// Err says for each sink that failed how often it did and what its first error was, and how many events came after
// Close; nil when nothing was lost.
func (r *Recorder) Err() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, g := range r.sinks {
		if g.first != nil {
			errs = append(errs, fmt.Errorf("%s: %d errors in %d events, the first: %w", g.sink.Name(), g.errors, g.events, g.first))
		}
	}
	if r.late > 0 {
		errs = append(errs, fmt.Errorf("%d events came after the recorder was closed", r.late))
	}
	return errors.Join(errs...)
}
