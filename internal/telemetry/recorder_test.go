package telemetry

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// memory keeps events and fails on demand.
type memory struct {
	name   string
	events []Event
	fail   error
	closed *[]string
}

func (m *memory) Name() string { return m.name }
func (m *memory) Handle(e Event) error {
	if m.fail != nil {
		return m.fail
	}
	m.events = append(m.events, e)
	return nil
}
func (m *memory) Flush() error { return m.fail }
func (m *memory) Close() error {
	if m.closed != nil {
		*m.closed = append(*m.closed, m.name)
	}
	return nil
}

func TestNilRecorderIsSilent(t *testing.T) {
	var r *Recorder
	r.Begin(Run{})
	r.Step(1, Metrics{}, 0)
	r.Phase("rollout")(3)
	r.Progress(Progress{})
	r.Message(Message{})
	r.Samples(1, Table{})
	r.Emit(Event{})
	r.Add(nil)
	slog.New(r.Handler(slog.LevelInfo)).Error("unheard")
	if err := errors.Join(r.Flush(), r.Close(), r.Err()); err != nil {
		t.Error(err)
	}
}

// A step's timing is what passed since the record before, with its phases summed by name.
func TestStepTiming(t *testing.T) {
	c, sink := newClock(), &memory{}
	r := New(Options{Clock: c.time}, sink)
	c.add(time.Hour) // before the run begins: no step's time
	r.Begin(Run{Name: "toy", Stage: "ppo", Unit: Iteration, Done: 4, Total: 9})
	end := r.Phase("rollout")
	c.add(2 * time.Second)
	end(100)
	for range 2 {
		end = r.Phase("value_update")
		c.add(time.Second)
		end(0)
	}
	c.add(time.Second)
	r.Step(5, sample(), 2600)
	c.add(3 * time.Second)
	r.Step(6, Metrics{}, 0)
	first, second := sink.events[len(sink.events)-2].Record, sink.events[len(sink.events)-1].Record
	want := Timing{Seconds: 5, Tokens: 2600, Phases: []Phase{{"rollout", 2, 100}, {"value_update", 2, 0}}}
	if got := first.Timing; got.Seconds != want.Seconds || got.Tokens != want.Tokens || !slices.Equal(got.Phases, want.Phases) {
		t.Errorf("timing %+v, want %+v", got, want)
	}
	if first.Timing.TokensPerSecond() != 520 || first.Unit != Iteration || first.Index != 5 || first.Total != 9 {
		t.Errorf("record %+v", first)
	}
	if got := second.Timing; got.Seconds != 3 || got.Phases != nil || got.TokensPerSecond() != 0 {
		t.Errorf("timing of the next step %+v", got)
	}
	if got := sink.events[0].Time; !got.Equal(c.time().Add(-8 * time.Second)) {
		t.Errorf("the run began at %v", got)
	}
}

// A failing sink loses its own events only; its first error is heard once, all are counted, and the recorder is usable
// from within OnError.
func TestSinkErrorsAreReportedOnceAndCounted(t *testing.T) {
	bad, good := &memory{name: "bad", fail: errors.New("disk full")}, &memory{name: "good"}
	var r *Recorder
	var heard []string
	r = New(Options{OnError: func(sink string, err error) {
		heard = append(heard, sink+": "+err.Error())
		slog.New(r.Handler(slog.LevelInfo)).Error("telemetry fails", "sink", sink, "cause", err)
	}}, bad, good)
	for i := range 5 {
		r.Step(i, Metrics{}, 0)
	}
	if !slices.Equal(heard, []string{"bad: disk full"}) {
		t.Errorf("heard %q", heard)
	}
	if len(good.events) != 6 || good.events[1].Message == nil {
		t.Errorf("the good sink has %d events, want 5 records and a message", len(good.events))
	}
	if err := r.Flush(); err == nil || !strings.Contains(err.Error(), "bad: disk full") {
		t.Errorf("Flush says %v", err)
	}
	err := r.Close()
	if err == nil || !strings.Contains(err.Error(), "bad: 7 errors in 6 events, the first: disk full") {
		t.Errorf("Close says %v", err)
	}
	if !errors.Is(err, bad.fail) {
		t.Errorf("%v does not wrap the cause", err)
	}
}

// An event that has to wait is not lost: it is heard of once per time that a disk is full, and Flush says that a checkpoint has
// to wait too.
func TestDelaysAreNoLosses(t *testing.T) {
	disk := &fullDisk{}
	heard := 0
	r := New(Options{OnError: func(sink string, err error) {
		if heard++; sink != "metrics.jsonl" || !errors.Is(err, ErrDelayed) {
			t.Errorf("%s: heard %v", sink, err)
		}
	}}, metricsOn(disk))
	for round := 1; round <= 2; round++ {
		disk.room = 0
		for i := range 3 {
			r.Step(i, Metrics{}, 0)
		}
		if err := r.Flush(); !errors.Is(err, errFull) || heard != round {
			t.Errorf("round %d: Flush says %v, %d errors were heard", round, err, heard)
		}
		disk.room = 1000
		if err := r.Flush(); err != nil {
			t.Error(err)
		}
	}
	if got, want := string(disk.data), strings.Repeat("{\"step\":0}\n{\"step\":1}\n{\"step\":2}\n", 2); got != want {
		t.Errorf("stored %q, want %q", got, want)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseInOrderAndLateEvents(t *testing.T) {
	var closed []string
	r := New(Options{}, &memory{name: "a", closed: &closed})
	r.Add(&memory{name: "b", closed: &closed})
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	r.Step(1, Metrics{}, 0)
	r.Step(2, Metrics{}, 0)
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "2 events came after") {
		t.Errorf("late events: %v", err)
	}
	if !slices.Equal(closed, []string{"a", "b"}) {
		t.Errorf("closed %v", closed)
	}
}

// Many goroutines, every kind of event, no event lost, each sink called by one at a time. Meaningful under -race.
func TestRecorderIsConcurrent(t *testing.T) {
	const workers, each = 8, 50
	sink := &memory{}
	r := New(Options{}, sink)
	r.Begin(Run{Unit: Step})
	log := slog.New(r.Handler(slog.LevelDebug))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				end := r.Phase(fmt.Sprint("phase", w))
				r.Progress(Progress{Task: "rollout", Done: int64(i)})
				end(1)
				log.Info("hello", "worker", w)
				r.Samples(i, Table{})
				r.Step(i, Metrics{}, 1)
				if i%10 == 0 {
					_ = r.Flush()
				}
			}
		})
	}
	wg.Wait()
	if got, want := len(sink.events), 1+workers*each*5; got != want {
		t.Errorf("%d events, want %d", got, want)
	}
	tokens := int64(0)
	for _, e := range sink.events {
		if e.Record != nil {
			for _, p := range e.Record.Timing.Phases {
				tokens += p.Tokens
			}
		}
	}
	end := 0
	for _, p := range r.phases {
		end += int(p.Tokens)
	}
	if int(tokens)+end != workers*each {
		t.Errorf("phases count %d tokens, want %d", int(tokens)+end, workers*each)
	}
}
