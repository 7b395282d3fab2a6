package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"alfred/internal/rundir"
)

func TestTrain(t *testing.T) {
	f := trained(t)
	if !strings.Contains(f.err.stderr, "step 4/4") || f.err.stdout != "" {
		t.Errorf("%+v", f.err)
	}
	metrics := lines[struct {
		Step int
		Loss float64
	}](t, read(t, filepath.Join(f.run, "metrics.jsonl")))
	if len(metrics) != 4 || metrics[3].Step != 4 || !(metrics[3].Loss < metrics[0].Loss) {
		t.Errorf("%+v", metrics)
	}
	// The run is a model.
	in := `{"ids":[1,2,3]}`
	if must(t, in, "score", "--model", f.run) == must(t, in, "score", "--model", f.base) {
		t.Error("training has changed nothing")
	}
	must(t, "", "generate", "--model", f.run, "--prompt", "Say market.", "--max-new-tokens", "3", "--greedy")
	fails(t, exitModel, in, []string{"score", "--model", f.run, "--which", "value"}, `no model "value"`)
}

func TestTrainGoesOn(t *testing.T) {
	f := trained(t)
	run := copyRun(t, f.run)
	args := []string{"train", "--config", f.train, "--set", "run.dir=" + run, "--set", "trainer.max_steps=6"}
	r := alfred("", args...)
	if r.code != 0 || !strings.Contains(r.stderr, "resuming") || !strings.Contains(r.stderr, "step 6/6") || strings.Contains(r.stderr, "step 4/6") {
		t.Errorf("%+v", r)
	}
	fails(t, exitUsage, "", append(args, "--resume", "never"), run)
	fails(t, exitUsage, "", append(args, "--set", "trainer.global_batch=2"), "global_batch")
	other := filepath.Join(t.TempDir(), "other")
	r = alfred("", "train", "--config", f.train, "--set", "run.dir="+other, "--set", "trainer.max_steps=5", "--resume", f.run, "--log-format", "json")
	if r.code != 0 || !strings.Contains(r.stderr, `"step":5`) || strings.Contains(r.stderr, `"step":4,"total"`) {
		t.Errorf("%+v", r)
	}
}

func TestTrainDryRun(t *testing.T) {
	f := trained(t)
	run := filepath.Join(t.TempDir(), "dry")
	r := alfred("", "train", "--config", f.train, "--set", "run.dir="+run, "--dry-run")
	if r.code != 0 || !strings.Contains(r.stderr, "memory") || has(filepath.Dir(run), "dry") {
		t.Errorf("%+v", r)
	}
	// The plan is that of the run itself: weights, copies and phases. (What the host holds depends on the process.)
	plan := func(text string) (lines []string) {
		for line := range strings.Lines(text) {
			if at := strings.Index(line, "of each rank\"="); at >= 0 && strings.Contains(line, "size=") {
				lines = append(lines, line[at:])
			}
		}
		return lines
	}
	real := alfred("", "train", "--config", f.train, "--set", "run.dir="+filepath.Join(t.TempDir(), "real"))
	if want, got := plan(real.stderr), plan(r.stderr); real.code != 0 || len(want) < 3 || !slices.Equal(got, want) {
		t.Errorf("planned %q, the run says %q (code %d)", got, want, real.code)
	}
	// A plan for hardware that is not here.
	if r := alfred("", "train", "--config", f.train, "--set", "run.dir="+run, "--set", "device.backend=cuda", "--dry-run"); r.code != 0 || !strings.Contains(r.stderr, "memory") {
		t.Errorf("%+v", r)
	}
}

func TestTrainRefuses(t *testing.T) {
	f := trained(t)
	args := func(sets ...string) []string {
		all := []string{"train", "--config", f.train, "--set", "run.dir=" + filepath.Join(t.TempDir(), "new")}
		for _, s := range sets {
			all = append(all, "--set", s)
		}
		return all
	}
	fails(t, exitUsage, "", args("device.backend=cuda"), "alfred-cuda", "device.backend")
	fails(t, exitModel, "", args("model.policy=none"), "none")
	fails(t, exitData, "", args("data.0.path=none.jsonl"), "none.jsonl")
	fails(t, exitUsage, "", args("trainer.max_stesp=3"), "did you mean")
	fails(t, exitUsage, "", []string{"train", "--config", "none.yaml"}, "none.yaml")
	run := rundir.Dir(filepath.Join(t.TempDir(), "busy"))
	lock, err := run.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	fails(t, exitInUse, "", args("run.dir="+string(run)), "process", string(run))
}

func TestTrainQuietly(t *testing.T) {
	f := trained(t)
	r := alfred("", "train", "--config", f.train, "--set", "run.dir="+filepath.Join(t.TempDir(), "quiet"), "--set", "trainer.max_steps=1", "--quiet")
	if r.code != 0 || r.stdout+r.stderr != "" {
		t.Errorf("%+v", r)
	}
}
