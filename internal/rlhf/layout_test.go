package rlhf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
	"alfred/internal/rundir"
	"alfred/internal/telemetry"
)

// writePrompts makes a file of prompts as token ids, all different.
func writePrompts(t testing.TB, n int) (folder string) {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"prompt_ids":[%d,%d,%d`, 1+i%60, 1+i*7%60, 1+i*13%61)
		for j := range i % 9 {
			fmt.Fprintf(&b, ",%d", 1+(i+j*5)%62)
		}
		b.WriteString("]}\n")
	}
	folder = t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "prompts.jsonl"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return folder
}

// sampledPPO is a small run on the golden models that samples its own rollouts.
func sampledPPO(data, dir, extra string) string {
	return fmt.Sprintf(`
stage: ppo
run: {dir: %[3]q}
model: {policy: %[1]spolicy, reward: %[1]sreward}
policy_optimizer: &opt {learning_rate: 1.0e-3, warmup_steps: 2, decay_steps: 20}
value_optimizer: *opt
trainer: {num_rollouts: 8, max_steps: 3, value_steps_per_epoch: 2, eval_share: 0.3, eval_every: 2}
trajectory: {prompt_max_len: 16, continuation_max_len: 20, record: true}
data_root: %[2]q
data: [{source: prompts, path: prompts.jsonl}]
log: {tensorboard: false, samples_every: 0}
checkpoint: {every: 1}
%[4]s`, goldens, data, dir, extra)
}

// outcome is what a run leaves behind.
type outcome struct {
	trajectories map[string][]byte
	metrics      []telemetry.Record
	raw          []byte
}

func train(t testing.TB, text string, device func(int) (backend.Device, error), env Env, sinks ...telemetry.Sink) (outcome, error) {
	t.Helper()
	cfg := parse(t, text)
	sinks = append(sinks, telemetry.NewConsole(t.Output(), telemetry.ConsoleOptions{Level: slog.LevelWarn, Quiet: true}))
	env.Device, env.Recorder = device, telemetry.New(telemetry.Options{}, sinks...)
	err := Train(context.Background(), cfg, env)
	if e := env.Recorder.Close(); e != nil && err == nil {
		err = e
	}
	out := outcome{trajectories: map[string][]byte{}}
	dir := rundir.Dir(cfg.Run.Dir)
	files, _ := filepath.Glob(filepath.Join(dir.Trajectories(), "*"))
	for _, f := range files {
		out.trajectories[filepath.Base(f)], _ = os.ReadFile(f)
	}
	var e error
	if out.metrics, e = telemetry.ReadMetrics(dir.Metrics()); e != nil && err == nil && !env.DryRun {
		err = e
	}
	out.raw, _ = os.ReadFile(dir.Metrics())
	return out, err
}

// trainOneStep trains until the first step of this start is done, and stops.
func trainOneStep(t testing.TB, text string, device func(int) (backend.Device, error), env Env) (outcome, error) {
	t.Helper()
	s := stopper{stop: make(chan struct{})}
	env.Stop = s.stop
	return train(t, text, device, env, &s)
}

// stopper is a sink that asks for the run to end when it hears of a step.
type stopper struct {
	telemetry.Sink
	stop chan struct{}
	once sync.Once
}

func (s *stopper) Name() string { return "stopper" }
func (s *stopper) Flush() error { return nil }
func (s *stopper) Close() error { return nil }
func (s *stopper) Handle(e telemetry.Event) error {
	if e.Record != nil && e.Record.Index > 0 {
		s.once.Do(func() { close(s.stop) })
	}
	return nil
}

func onCPU(threads int) (backend.Device, error) { return cpu.New(2), nil }
func onReference(int) (backend.Device, error)   { return reference.New(), nil }
func sameBits(a, b map[string][]byte) (ok bool) {
	if len(a) != len(b) {
		return false
	}
	for name, x := range a {
		if !bytes.Equal(x, b[name]) {
			return false
		}
	}
	return true
}

// TestPPOIsTheSameUnderAnyLayout runs whole PPO runs under several layouts. In the first iteration, where the weights are equal,
// trajectories and scores are the same bits whatever the data ranks, slots and micro-batches. After updates, whose sums are cut
// differently, and under tensor ranks, metrics agree closely.
func TestPPOIsTheSameUnderAnyLayout(t *testing.T) {
	data := writePrompts(t, 40)
	base := "batching: {micro_batch_tokens: 512, rollout_slots: 8}"
	want, err := train(t, sampledPPO(data, t.TempDir(), base), onReference, Env{})
	if err != nil {
		t.Fatal(err)
	}
	if len(want.trajectories) != 3 || len(want.metrics) != 4 { // an evaluation before the first iteration
		t.Fatalf("%d trajectory files, %d records", len(want.trajectories), len(want.metrics))
	}
	for _, extra := range []string{
		base,
		"batching: {micro_batch_tokens: 60, rollout_slots: 3}",
		"batching: {micro_batch_tokens: 60, rollout_slots: 3, recompute: true}",
		"parallel: {data: 2}\nbatching: {micro_batch_tokens: 100, rollout_slots: 2}",
		"parallel: {data: 4}\nbatching: {micro_batch_tokens: 100, rollout_slots: 2}",
		"parallel: {tensor: 2}\n" + base,
		"parallel: {tensor: 2, data: 2}\nbatching: {micro_batch_tokens: 60, rollout_slots: 3}",
	} {
		t.Run(strings.ReplaceAll(extra, "\n", " "), func(t *testing.T) {
			got, err := train(t, sampledPPO(data, t.TempDir(), extra), onReference, Env{})
			if err != nil {
				t.Fatal(err)
			}
			if first := "000001.jsonl"; !strings.Contains(extra, "tensor") && !bytes.Equal(got.trajectories[first], want.trajectories[first]) {
				t.Errorf("first iteration:\n%s\nwant\n%s", got.trajectories[first], want.trajectories[first])
			}
			if extra == base && (!sameBits(got.trajectories, want.trajectories) || !bytes.Equal(got.raw, want.raw)) {
				t.Error("the same run twice left other bits")
			}
			sameMetrics(t, got.metrics, want.metrics, 1e-9)
		})
	}
}

// sameMetrics compares two runs within a relative tolerance; a few numbers that are differences of equal ones get it absolutely.
func sameMetrics(t *testing.T, got, want []telemetry.Record, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, w := range want {
		for name, wv := range w.Metrics.All() {
			gv, ok := got[i].Metrics.Lookup(name)
			if !ok {
				t.Errorf("record %d: no %s", i, name)
				continue
			}
			if name == telemetry.SamplerLogProbMaxError || name == telemetry.RatioMaxError {
				if gv.Scalar() > tolerance {
					t.Errorf("record %d: %s is %g", i, name, gv.Scalar())
				}
				continue
			}
			for j, x := range gv.Elements() {
				if y := wv.Elements()[j]; math.Abs(x-y) > tolerance*math.Max(1, math.Abs(y)) {
					t.Errorf("record %d: %s = %.15g, want %.15g", i, name, x, y)
				}
			}
		}
	}
}

// TestResumeGivesTheSameBits stops a run after each step and lets it go on: trajectories, metrics and checkpoints are those of a
// run that was never stopped.
func TestResumeGivesTheSameBits(t *testing.T) {
	for name, device := range map[string]func(int) (backend.Device, error){"reference": onReference, "cpu": onCPU} {
		for _, layout := range []string{"", "parallel: {tensor: 2, data: 2}"} {
			t.Run(name+" "+layout, func(t *testing.T) {
				data := writePrompts(t, 40)
				extra := "batching: {micro_batch_tokens: 100, rollout_slots: 3}\n" + layout
				want, err := train(t, sampledPPO(data, t.TempDir(), extra), device, Env{})
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				var got outcome
				for range 2 {
					if got, err = trainOneStep(t, sampledPPO(data, dir, extra), device, Env{}); !errors.Is(err, ErrStopped) {
						t.Fatalf("got %v, want ErrStopped", err)
					}
				}
				if got, err = train(t, sampledPPO(data, dir, extra), device, Env{}); err != nil {
					t.Fatal(err)
				}
				if !sameBits(got.trajectories, want.trajectories) {
					t.Error("trajectories differ")
				}
				if !bytes.Equal(got.raw, want.raw) {
					t.Errorf("metrics differ:\n%s\nwant\n%s", got.raw, want.raw)
				}
			})
		}
	}
}

// TestOldLogProbsFromEitherSide: the sampler's log-probs and entropies are the bits of the training forward, so a run that takes them
// and one that computes them again end alike, in trajectories, metrics and weights.
func TestOldLogProbsFromEitherSide(t *testing.T) {
	data := writePrompts(t, 40)
	for _, extra := range []string{"", "parallel: {data: 2}", "trajectory_sampling"} {
		var runs []outcome
		var weights [][]byte
		for _, from := range []string{"rollout", "training"} {
			dir := t.TempDir()
			text := strings.Replace(sampledPPO(data, dir, "batching: {micro_batch_tokens: 100, rollout_slots: 3}\n"), "trainer: {", "trainer: {old_log_probs: "+from+", ", 1)
			if extra == "trajectory_sampling" {
				text = strings.Replace(text, "record: true", "record: true, temperature: 0.8, top_k: 20, top_p: 0.9", 1)
			} else {
				text += extra
			}
			got, err := train(t, text, onCPU, Env{})
			if err != nil {
				t.Fatal(err)
			}
			file, err := os.ReadFile(filepath.Join(rundir.Dir(dir).Checkpoints(), "000003", "policy", "model.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			runs, weights = append(runs, got), append(weights, file)
		}
		if !sameBits(runs[0].trajectories, runs[1].trajectories) || !bytes.Equal(weights[0], weights[1]) {
			t.Errorf("%q: trajectories or weights differ", extra)
		}
		for i, r := range runs[1].metrics {
			worst, compared := r.Metrics.Lookup(telemetry.SamplerLogProbMaxError)
			if compared != (r.Index > 0) || compared && worst.Scalar() != 0 {
				t.Errorf("%q, record %d: compared %v, off by %v", extra, i, compared, worst)
			}
			for _, d := range telemetry.Definitions() {
				a, hasA := runs[0].metrics[i].Metrics.Lookup(d.Name)
				b, hasB := r.Metrics.Lookup(d.Name)
				if d.Name != telemetry.SamplerLogProbMaxError && (hasA != hasB || hasA && !slices.Equal(a.Elements(), b.Elements())) {
					t.Errorf("%q, record %d: %s is %v and %v", extra, i, d.Name, a, b)
				}
			}
		}
	}
}
