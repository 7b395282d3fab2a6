package telemetry

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Every kind of event reaches another process unchanged, between other lines and without loss.
func TestEventsCrossAProcessBoundary(t *testing.T) {
	c, kept := newClock(), &memory{}
	var pipe bytes.Buffer
	r := New(Options{Clock: c.time}, kept, NewEventWriter(&pipe))
	r.Begin(Run{Name: "toy", Stage: "ppo", Unit: Iteration, Done: 3, Total: 7})
	pipe.WriteString("panic: last words\n\n{\"half\n{}\n{\"Time\":\"2024-03-01T12:00:00Z\"}\n")
	r.Phase("rollout")(12)
	r.Progress(Progress{Task: "rollout", Unit: "responses", Done: 5, Total: 10, Tokens: 99})
	slog.New(r.Handler(slog.LevelDebug)).Debug("note", "n", 3, "x", 0.5, "s", "a\nb")
	r.Samples(4, sampleTable)
	c.add(time.Second)
	r.Step(4, sample(), 10)
	pipe.WriteString("no line break")

	var got []Event
	var other []string
	err := ReadEvents(iotest.OneByteReader(&pipe), func(e Event) { got = append(got, e) }, func(l []byte) { other = append(other, string(l)) })
	if err != nil {
		t.Fatal(err)
	}
	metrics := cmp.Comparer(func(a, b Metrics) bool { return bytes.Equal(a.appendFields(nil), b.appendFields(nil)) })
	times := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
	if diff := cmp.Diff(kept.events, got, metrics, times); diff != "" {
		t.Errorf("events differ (-sent +received):\n%s", diff)
	}
	want := []string{"panic: last words", `{"half`, "{}", `{"Time":"2024-03-01T12:00:00Z"}`, "no line break"}
	if diff := cmp.Diff(want, other); diff != "" {
		t.Errorf("other lines differ:\n%s", diff)
	}
	sameMetrics(t, got[len(got)-1].Record.Metrics, sample())
}

// What a worker says looks the same when its parent renders it.
func TestSupervisorRendersTheSame(t *testing.T) {
	var direct, pipe, relayed bytes.Buffer
	c := newClock()
	worker := New(Options{Clock: c.time}, NewConsole(&direct, ConsoleOptions{}), NewEventWriter(&pipe))
	parent := New(Options{Clock: func() time.Time { return time.Time{} }}, NewConsole(&relayed, ConsoleOptions{}))
	worker.Begin(Run{Unit: Step, Total: 2})
	for i := 1; i <= 2; i++ {
		c.add(time.Second)
		worker.Step(i, Metrics{}, 100)
	}
	if err := ReadEvents(&pipe, parent.Emit, func(l []byte) { t.Errorf("not an event: %s", l) }); err != nil {
		t.Fatal(err)
	}
	if got, want := relayed.String(), direct.String(); got != want {
		t.Errorf("relayed\n%swant\n%s", got, want)
	}
	if got, want := direct.String(), "step 1/2  100 tokens/s  1.0s  1.0s left\nstep 2/2  100 tokens/s  1.0s\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestReadEventsPassesErrorsOn(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("last words"), iotest.ErrReader(io.ErrUnexpectedEOF))
	var other []string
	err := ReadEvents(broken, func(Event) {}, func(l []byte) { other = append(other, string(l)) })
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(other) != 1 || other[0] != "last words" {
		t.Errorf("error %v, other lines %q", err, other)
	}
}

// No bytes of a worker make its parent panic, and each non-empty line is handled once.
func FuzzReadEvents(f *testing.F) {
	f.Add([]byte("{\"Time\":\"2024-03-01T12:00:00Z\",\"Run\":{\"Unit\":\"step\"}}\nhello\n"))
	f.Add([]byte(`{"Record":{"Metrics":{"loss":null}}}`))
	f.Add([]byte(`{"Message":{"Attrs":[{"Key":"a","Value":[1]}]}}`))
	f.Add([]byte(`{"Samples":{"Table":{"Header":["a"],"Rows":[["1","2"],[]]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		r := New(Options{}, NewConsole(&out, ConsoleOptions{}), NewConsole(&out, ConsoleOptions{Format: LogJSON}))
		handled := 0
		err := ReadEvents(bytes.NewReader(data), func(e Event) { handled++; r.Emit(e) }, func([]byte) { handled++ })
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for line := range bytes.Lines(data) {
			if len(bytes.TrimRight(line, "\r\n")) > 0 {
				want++
			}
		}
		if handled != want {
			t.Fatalf("%d lines handled, want %d", handled, want)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
