package telemetry

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func recordEvent(unit Unit, index int, m Metrics) Event {
	timing := Timing{Seconds: 3.2, Tokens: 2600, Phases: []Phase{{Name: "rollout", Seconds: 2.1}, {Name: "policy_update", Seconds: 0.6}}}
	return Event{Time: time.Unix(1_700_000_000, 0), Record: &Record{Unit: unit, Index: index, Total: 200, Metrics: m, Timing: timing}}
}

func lossAt(index int) Event {
	var m Metrics
	m.SetFloat(Loss, 1/float64(index+1))
	return recordEvent(Step, index, m)
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func handleAll(t *testing.T, s Sink, events ...Event) {
	t.Helper()
	for _, e := range events {
		if err := s.Handle(e); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMetricsAndTimingFiles(t *testing.T) {
	dir := t.TempDir()
	metrics, _, err := OpenMetrics(filepath.Join(dir, "metrics.jsonl"), -1)
	if err != nil {
		t.Fatal(err)
	}
	timing, _, err := OpenTiming(filepath.Join(dir, "timing.jsonl"), -1)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Sink{metrics, timing} {
		handleAll(t, s, Event{Run: &Run{}}, recordEvent(Iteration, 12, sample()), Event{Progress: &Progress{}},
			Event{Record: &Record{Index: 13}})
		if err := errors.Join(s.Flush(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := mustRead(t, filepath.Join(dir, "metrics.jsonl")), `{"iteration":12,`+sampleFields+"\n"+`{"step":13}`+"\n"; got != want {
		t.Errorf("metrics.jsonl holds\n%swant\n%s", got, want)
	}
	want := `{"iteration":12,"seconds":3.2,"tokens":2600,"tokens_per_second":812.5,"phases":{"rollout":2.1,"policy_update":0.6}}` + "\n" +
		`{"step":13,"seconds":0.0,"tokens":0,"tokens_per_second":0.0}` + "\n"
	if got := mustRead(t, filepath.Join(dir, "timing.jsonl")); got != want {
		t.Errorf("timing.jsonl holds\n%swant\n%s", got, want)
	}
	records, err := ReadMetrics(filepath.Join(dir, "metrics.jsonl"))
	if err != nil || len(records) != 2 || records[0].Unit != Iteration || records[0].Index != 12 {
		t.Fatalf("read %+v, error %v", records, err)
	}
	sameMetrics(t, records[0].Metrics, sample())
}

// A run that is cut at any step and goes on writes the file of a run that was not cut.
func TestResumeWritesTheSameBytes(t *testing.T) {
	dir := t.TempDir()
	write := func(path string, keep, from, to int) Cut {
		f, cut, err := OpenMetrics(path, keep)
		if err != nil {
			t.Fatal(err)
		}
		for i := from; i <= to; i++ {
			handleAll(t, f, lossAt(i))
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return cut
	}
	whole := filepath.Join(dir, "whole.jsonl")
	write(whole, -1, 0, 9)
	for keep := -1; keep <= 9; keep++ {
		path := filepath.Join(dir, "cut.jsonl")
		write(path, -1, 0, 7)
		torn := mustRead(t, path) + `{"step":8,"lo`
		if err := errors.Join(os.WriteFile(path, []byte(torn), 0o644), os.Chmod(path, 0o600)); err != nil {
			t.Fatal(err)
		}
		cut := write(path, keep, keep+1, 9)
		kept := min(keep+1, 8)
		if keep >= 8 {
			// The checkpoint knows of steps that the file lost; what is left is kept.
			if cut.Kept != 8 || !cut.Torn {
				t.Errorf("keep %d: %+v", keep, cut)
			}
			os.Remove(path)
			continue
		}
		if cut != (Cut{Kept: kept, Dropped: 8 - kept, Torn: true}) {
			t.Errorf("keep %d: %+v", keep, cut)
		}
		if got, want := mustRead(t, path), mustRead(t, whole); got != want {
			t.Errorf("keep %d: resumed file\n%swant\n%s", keep, got, want)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("permissions became %v, error %v", info.Mode(), err)
		}
		os.Remove(path)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) != 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

func TestCutBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	for _, c := range []struct {
		what, before string
		keep         int
		want         Cut
		after        string
	}{
		{"empty", "", 3, Cut{}, ""},
		{"nothing to do", "{\"step\":1}\n{\"step\":2}\n", 2, Cut{Kept: 2}, "{\"step\":1}\n{\"step\":2}\n"},
		{"later steps", "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n", 1, Cut{Kept: 1, Dropped: 2}, "{\"step\":1}\n"},
		{"before the first", "{\"step\":0}\n{\"step\":1}\n", -1, Cut{Dropped: 2}, ""},
		{"torn", "{\"step\":1}\n{\"st", 1, Cut{Kept: 1, Torn: true}, "{\"step\":1}\n"},
		{"only the line break is missing", "{\"step\":1}\n{\"step\":2}", 2, Cut{Kept: 2, Torn: true}, "{\"step\":1}\n{\"step\":2}\n"},
	} {
		if err := os.WriteFile(path, []byte(c.before), 0o644); err != nil {
			t.Fatal(err)
		}
		cut, err := CutBack(path, c.keep)
		if err != nil || cut != c.want {
			t.Errorf("%s: %+v, error %v, want %+v", c.what, cut, err, c.want)
		}
		if got := mustRead(t, path); got != c.after {
			t.Errorf("%s: %q, want %q", c.what, got, c.after)
		}
	}
	if cut, err := CutBack(filepath.Join(t.TempDir(), "none"), 3); err != nil || cut != (Cut{}) {
		t.Errorf("no file: %+v, error %v", cut, err)
	}
}

// A foreign line is named and nothing is touched.
func TestCutBackRefusesForeignLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	const before = "{\"step\":1}\nhello\n{\"step\":2}\n"
	if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := CutBack(path, 1)
	if !errors.Is(err, ErrDamaged) || !strings.HasPrefix(err.Error(), path+":2: damaged line: ") || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("error %v does not begin with line 2, or shows no way out", err)
	}
	if _, _, err := OpenMetrics(path, 1); err == nil {
		t.Error("the file was opened all the same")
	}
	if _, err := ReadMetrics(path); !errors.Is(err, ErrDamaged) || !strings.HasPrefix(err.Error(), path+":2: ") {
		t.Errorf("error %v does not begin with line 2", err)
	}
	if got := mustRead(t, path); got != before {
		t.Errorf("the file became %q", got)
	}
}

func TestReadMetricsIgnoresATornEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	if err := os.WriteFile(path, []byte("{\"step\":1}\n{\"step\":2,"), 0o644); err != nil {
		t.Fatal(err)
	}
	if records, err := ReadMetrics(path); err != nil || len(records) != 1 {
		t.Errorf("%d records, error %v, want 1", len(records), err)
	}
	if _, err := ReadMetrics(path + ".none"); err == nil {
		t.Error("a file that is not there was read")
	}
}
