package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"alfred/internal/demo"
	"alfred/internal/reward"
	"alfred/internal/rundir"
	"alfred/internal/telemetry"
)

// shortDemo trains for too short a time to learn anything.
var shortDemo = map[string][]string{
	"sft":    {"trainer.max_steps=4", "trainer.eval_every=4", "checkpoint.every=2", "log.tensorboard=false"},
	"reward": {"trainer.max_steps=3", "trainer.eval_every=3", "normalise.samples=16", "log.tensorboard=false"},
	"ppo":    {"trainer.max_steps=2", "trainer.num_rollouts=16", "trainer.eval_every=1", "trainer.missing_eod=last_token", "log.tensorboard=false"},
}

// tellDemo runs a demo in this process and returns what it leaves on standard output and standard error.
func tellDemo(t *testing.T, opts DemoOptions) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{process: process{stdout: &out, stderr: &errs}}
	a.interrupt.first = func(os.Signal) {}
	err = runDemo(context.Background(), a, opts)
	a.closeRecorder()
	return out.String(), errs.String(), err
}

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("trains three models")
	}
	dir := filepath.Join(t.TempDir(), "demo")
	opts := DemoOptions{Dir: dir, Seed: 3, sets: shortDemo}
	stdout, stderr, err := tellDemo(t, opts)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	for _, want := range []string{"supervised fine-tuning", "reward model", "mean score by that reward model", "± ", "to within 0\n", "PPO has", "prompt ", "before", "alfred generate --model " + dir + "/ppo"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("standard output lacks %q:\n%s", want, stdout)
		}
	}
	for _, want := range []string{"1 of 3", "step 4/4", "2 of 3", "step 3/3", "3 of 3", "iteration 2/2"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("standard error lacks %q:\n%s", want, stderr)
		}
	}
	for _, name := range []string{"README.md", "data/tokenizer.json", "data/sft.jsonl", "configs/ppo.yaml", "base/config.json", "base/model.safetensors",
		"sft/config.yaml", "sft/metrics.jsonl", "sft/checkpoints/000004/policy", "reward/checkpoints/000003/reward", "ppo/checkpoints/000002/value"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	for _, stage := range []string{"sft", "reward", "ppo"} { // the files of a run belong to it alone
		records, err := telemetry.ReadMetrics(rundir.Dir(filepath.Join(dir, stage)).Metrics())
		if want := map[string]int{"sft": 5, "reward": 4, "ppo": 3}[stage]; err != nil || len(records) != want {
			t.Errorf("%s: %d records, want %d: %v", stage, len(records), want, err)
		}
	}

	// The same command shows the same again, and trains nothing.
	again, stderr, err := tellDemo(t, opts)
	if err != nil || again != stdout || strings.Contains(stderr, "wrote a model") {
		t.Errorf("%v\n%s\n%s", err, stderr, again)
	}
	// Interrupted after the first stage, it ends the same.
	for _, name := range []string{"reward", "ppo"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if again, stderr, err = tellDemo(t, opts); err != nil || again != stdout {
		t.Errorf("%v\n%s\n%s", err, stderr, again)
	}
}

// scoreSpy keeps the mean scores of what the demo's models answer.
type scoreSpy struct {
	*demoProgram
	means []float64
}

func (s *scoreSpy) Score(ctx context.Context, path string, items []reward.Item) ([]float64, error) {
	scores, err := s.demoProgram.Score(ctx, path, items)
	sum := 0.0
	for _, x := range scores {
		sum += x
	}
	s.means = append(s.means, sum/float64(len(scores)))
	return scores, err
}

// TestDemoScoresAreTheRuns: the answers that the demo shows are those of the run's own evaluations, so their mean scores are
// the same bits.
func TestDemoScoresAreTheRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("trains three models")
	}
	dir := filepath.Join(t.TempDir(), "demo")
	var out, errs bytes.Buffer
	a := &app{process: process{stdout: &out, stderr: &errs}}
	spy := &scoreSpy{demoProgram: &demoProgram{app: a, stop: make(chan struct{})}}
	outcome, err := demo.Run(context.Background(), demo.Options{Dir: dir, Seed: 1, Sets: shortDemo}, spy, &out)
	spy.silence()
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	if want := []float64{outcome.Score.Before.Value, outcome.Score.After.Value}; len(spy.means) != 2 || spy.means[0] != want[0] || spy.means[1] != want[1] || want[0] == want[1] {
		t.Errorf("the demo's means are %v, the run's are %v", spy.means, want)
	}
}

func TestDemoRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "thesis.tex"), "x")
	if _, _, err := tellDemo(t, DemoOptions{Dir: dir, Seed: 1}); exitCode(err) != exitUsage || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("%v", err)
	}
}

// TestDemoStops before the next stage when a signal comes between two.
func TestDemoStops(t *testing.T) {
	p := &demoProgram{app: &app{}, stop: make(chan struct{})}
	p.interrupted(os.Interrupt)
	if err := p.Train(context.Background(), "", nil); exitCode(err) != exitStopped {
		t.Errorf("%v", err)
	}
}

// TestDemoStopsInGoodOrder: a signal during a stage saves it, and the demo says how it goes on.
func TestDemoStopsInGoodOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for some seconds")
	}
	dir := filepath.Join(t.TempDir(), "demo")
	cmd := alfredProcess(t, "demo", "--dir", dir)
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := bufio.NewScanner(errs)
	for text.Scan() && !strings.Contains(text.Text(), "step  50/") {
	}
	cmd.Process.Signal(os.Interrupt)
	said := rest(text)
	if code := ended(t, cmd); code != exitStopped || !strings.Contains(said, "stopping: the step in progress is finished and saved") || !strings.Contains(said, "the same command goes on") {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	if got := must(t, "", "checkpoint", "verify", filepath.Join(dir, "sft")); strings.Count(got, ": good: ") != 1 {
		t.Errorf("%s", got)
	}
}
