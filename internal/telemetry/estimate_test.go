package telemetry

import (
	"math"
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	start := time.Unix(0, 0)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	var r rate
	if _, known := r.remaining(5); known || r.perSecond() != 0 {
		t.Error("a rate of nothing is known")
	}
	r.observe(at(0), 10)
	if _, known := r.remaining(5); known {
		t.Error("a rate of one observation is known")
	}
	r.observe(at(4), 12)
	if left, known := r.remaining(5); !known || left != 10*time.Second {
		t.Errorf("5 units at 0.5 per second: %v, %v", left, known)
	}
	// The average moves: after a window of faster steps the slow start is forgotten.
	for i := range window {
		r.observe(at(5+float64(i)), 13+4*float64(i))
	}
	if got := r.perSecond(); math.Abs(got-4) > 1e-12 {
		t.Errorf("rate of the last window is %v, want 4", got)
	}
	// Starting again, or a clock that jumps back, gives no negative rate.
	r.observe(at(100), 0)
	if r.perSecond() != 0 {
		t.Errorf("rate after a new start is %v", r.perSecond())
	}
	r.observe(at(50), 1)
	if r.perSecond() != 0 {
		t.Errorf("rate after a jump back is %v", r.perSecond())
	}
	r.observe(at(50), 2)
	if _, known := r.remaining(1); known {
		t.Error("two observations at one time give a rate")
	}
	if _, known := r.remaining(-1); known {
		t.Error("less than nothing is left")
	}
	r.observe(at(51), 2+1e-300)
	if _, known := r.remaining(1e300); known {
		t.Error("an estimate of more than centuries is given")
	}
}

// Observations that come with every token still average over seconds, not over the last twenty tokens.
func TestRateThinsFrequentObservations(t *testing.T) {
	r := rate{gap: time.Second}
	for i := range 10_000 {
		speed := 100.0
		if i >= 9_980 {
			speed = 10_000 // a burst of 20 ms
		}
		done := r.lastDone() + speed/1000
		r.observe(time.UnixMilli(int64(i)), done)
	}
	if got := r.perSecond(); got < 100 || got > 125 {
		t.Errorf("rate is %v, want 100 and a little for the burst", got)
	}
	if len(r.points) > window {
		t.Errorf("%d points", len(r.points))
	}
}

// The average follows a change of speed within about window·gap.
func TestRateForgets(t *testing.T) {
	r := rate{gap: time.Second}
	for i := range 60_000 {
		speed := 100.0
		if i >= 30_000 {
			speed = 200
		}
		r.observe(time.UnixMilli(int64(i)), r.lastDone()+speed/1000)
	}
	if got := r.perSecond(); math.Abs(got-200) > 1e-6 {
		t.Errorf("rate is %v, want 200", got)
	}
}

func TestStatus(t *testing.T) {
	var s status
	at := newClock()
	observe := func(e Event) string {
		e.Time = at.time()
		s.observe(e)
		return s.text()
	}
	for _, c := range []struct {
		after time.Duration
		event Event
		want  string
	}{
		{0, Event{Run: &Run{Unit: Iteration, Done: 4, Total: 10}}, "iteration  4/10"},
		{0, Event{Progress: &Progress{Task: "rollout", Total: 8}}, "iteration  5/10  rollout 0/8"},
		{time.Second, Event{Progress: &Progress{Task: "rollout", Unit: "responses", Done: 1, Total: 8, Tokens: 100}}, "iteration  5/10  rollout 1/8 responses  100 tokens/s"},
		{time.Millisecond, Event{Progress: &Progress{Task: "score", Done: 1}}, "iteration  5/10  score 1"},
		{time.Second, Event{Record: &Record{Unit: Iteration, Index: 5, Total: 10, Timing: Timing{Seconds: 2, Tokens: 100}}}, "iteration  5/10  50.0 tokens/s  10s left"},
		{time.Second, Event{Progress: &Progress{Task: "score", Done: 1, Total: 2, Tokens: 9}}, "iteration  6/10  score 1/2  50.0 tokens/s  10s left"},
		{time.Millisecond, Event{Progress: &Progress{Task: "score", Done: 1, Total: 2, Tokens: 10}}, "iteration  6/10  score 1/2  1000 tokens/s  10s left"},
		{time.Millisecond, Event{Progress: &Progress{Task: "score", Done: 2, Total: 2, Tokens: 30}}, "iteration  6/10  score 2/2  10500 tokens/s  10s left"},
		{time.Second, Event{Record: &Record{Unit: Iteration, Index: 10, Total: 10}}, "iteration 10/10"},
	} {
		at.add(c.after)
		if got := observe(c.event); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if len(s.tokens.points) > 2 {
		t.Errorf("observations of a few milliseconds make %d points", len(s.tokens.points))
	}
	// Without a run the bar shows the task.
	s = status{}
	observe(Event{Progress: &Progress{Task: "score", Done: 3, Total: 9}})
	if done, total, text := s.bar(); done != 3 || total != 9 || text != "score 3/9" {
		t.Errorf("bar %d of %d, %q", done, total, text)
	}
	// Nor is it lost when the first event is a record.
	s = status{}
	observe(Event{Record: &Record{Index: 2, Total: 5}})
	if done, total, text := s.bar(); done != 2 || total != 5 || text != "step 2/5" {
		t.Errorf("bar %d of %d, %q", done, total, text)
	}
}

func (r *rate) lastDone() float64 {
	if len(r.points) == 0 {
		return 0
	}
	return r.points[len(r.points)-1].done
}

func TestDuration(t *testing.T) {
	for seconds, want := range map[float64]string{
		0: "0.0s", 3.24: "3.2s", 9.96: "10s", 59.4: "59s", 59.6: "1m00s", 620: "10m20s", 3599.7: "1h00m", 7500: "2h05m",
		86399.9: "1d00h", 273_600: "3d04h",
	} {
		if got := duration(time.Duration(seconds * float64(time.Second))); got != want {
			t.Errorf("%v s is %q, want %q", seconds, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	for _, c := range []struct {
		v    Value
		want string
	}{
		{Float(0), "0"}, {Float(0.83124), "0.8312"}, {Float(-0.0021309), "-0.002131"}, {Float(53.2), "53.20"}, {Float(1234.5), "1234"},
		{Float(9999.9), "10000"}, {Float(1.85e-6), "1.85e-06"}, {Float(123456), "1.235e+05"}, {Float(math.NaN()), "NaN"}, {Float(math.Inf(-1)), "-Inf"},
		{Int(123456), "123456"}, {List([]float64{1, 2}), "1.500"},
	} {
		if got := short(c.v); got != c.want {
			t.Errorf("%+v is %q, want %q", c.v, got, c.want)
		}
	}
	for x, want := range map[float64]string{8.123: "8.12", 81.23: "81.2", 812.5: "812", 8123.4: "8123"} {
		if got := count(x); got != want {
			t.Errorf("%v is %q, want %q", x, got, want)
		}
	}
}
