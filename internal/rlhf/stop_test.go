package rlhf

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"alfred/internal/checkpoint"
	"alfred/internal/rundir"
	"alfred/internal/telemetry"
)

const small = "batching: {micro_batch_tokens: 100, rollout_slots: 3}"

// TestStopBeforeTheFirstStep: nothing is trained or saved, and the same command starts as if nothing had been.
func TestStopBeforeTheFirstStep(t *testing.T) {
	for _, layout := range []string{"", "\nparallel: {data: 2}"} {
		dir := t.TempDir()
		text := sampledPPO(writePrompts(t, 40), dir, small+layout)
		stop := make(chan struct{})
		close(stop)
		got, err := train(t, text, onCPU, Env{Stop: stop})
		if !errors.Is(err, ErrStopped) || len(got.metrics) > 0 || len(got.trajectories) > 0 {
			t.Errorf("%v, %d records, %d trajectories", err, len(got.metrics), len(got.trajectories))
		}
		if found, _ := filepath.Glob(filepath.Join(rundir.Dir(dir).Checkpoints(), "*")); len(found) > 0 {
			t.Errorf("there is %v", found)
		}
		if got, err = train(t, text, onCPU, Env{}); err != nil || len(got.metrics) != 4 { // step 0 is the evaluation
			t.Errorf("afterwards: %v, %d records", err, len(got.metrics))
		}
	}
}

// fullOnce is a sink whose first flush fails.
type fullOnce struct {
	telemetry.Sink
	flushes int
}

func (s *fullOnce) Name() string                 { return "full" }
func (s *fullOnce) Close() error                 { return nil }
func (s *fullOnce) Handle(telemetry.Event) error { return nil }
func (s *fullOnce) Flush() error {
	if s.flushes++; s.flushes == 1 {
		return fmt.Errorf("the disk is full: %w", telemetry.ErrDelayed)
	}
	return nil
}

// TestNothingIsSavedOverLostRecords: a checkpoint is not written while what was recorded before it is not on disk, on any rank. Under
// on_error: continue the next one is.
func TestNothingIsSavedOverLostRecords(t *testing.T) {
	for _, layout := range []string{"", "\nparallel: {data: 2}"} {
		dir := t.TempDir()
		text := sampledPPO(writePrompts(t, 40), dir, small+layout)
		if _, err := train(t, text, onCPU, Env{}, &fullOnce{}); !errors.Is(err, checkpoint.ErrStorage) {
			t.Errorf("%q: %v", layout, err)
		}
		text = strings.Replace(text, "checkpoint: {every: 1}", "checkpoint: {every: 1, on_error: continue}", 1)
		if _, err := train(t, text, onCPU, Env{}, &fullOnce{}); err != nil {
			t.Errorf("%q, on_error: continue: %v", layout, err)
		}
		found, err := os.ReadDir(rundir.Dir(dir).Checkpoints())
		var names []string
		for _, f := range found {
			names = append(names, f.Name())
		}
		if strings.Join(names, " ") != "000002 000003" {
			t.Errorf("%q: checkpoints %v, %v", layout, names, err)
		}
	}
}

// TestStopInTheMiddleSaves, though no checkpoint is due, and only once.
func TestStopInTheMiddleSaves(t *testing.T) {
	dir := t.TempDir()
	text := strings.Replace(sampledPPO(writePrompts(t, 40), dir, small), "checkpoint: {every: 1}", "checkpoint: {every: 1000}", 1)
	for step := 1; step <= 2; step++ {
		if _, err := trainOneStep(t, text, onCPU, Env{}); !errors.Is(err, ErrStopped) {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(rundir.Dir(dir).Checkpoints(), fmt.Sprintf("%06d", step))); err != nil {
			t.Error(err)
		}
	}
}

// TestACompleteRunIsLeftAlone when it is started again.
func TestACompleteRunIsLeftAlone(t *testing.T) {
	text := sampledPPO(writePrompts(t, 40), t.TempDir(), small)
	want, err := train(t, text, onCPU, Env{})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	got, err := train(t, text, onCPU, Env{}, telemetry.NewConsole(&log, telemetry.ConsoleOptions{Level: slog.LevelInfo}))
	if err != nil || !bytes.Equal(got.raw, want.raw) || !sameBits(got.trajectories, want.trajectories) {
		t.Errorf("%v, or something else was recorded", err)
	}
	if !strings.Contains(log.String(), "nothing to do") {
		t.Errorf("the log says nothing of it:\n%s", &log)
	}
}

// TestResumeFromAnotherRunIsRepeatable: a run that starts from another one and is stopped goes on with the same command, to the bits
// that the other one would have reached. It does not mix with a run of another origin.
func TestResumeFromAnotherRunIsRepeatable(t *testing.T) {
	data, first, second, third := writePrompts(t, 40), t.TempDir(), t.TempDir(), t.TempDir()
	if _, err := trainOneStep(t, sampledPPO(data, first, small), onCPU, Env{}); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	if _, err := trainOneStep(t, sampledPPO(data, second, small), onCPU, Env{Resume: first}); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	got, err := train(t, sampledPPO(data, second, small), onCPU, Env{Resume: first})
	if err != nil {
		t.Fatal(err)
	}
	want, err := train(t, sampledPPO(data, third, small), onCPU, Env{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"000002.jsonl", "000003.jsonl"} {
		if len(want.trajectories[name]) == 0 || !bytes.Equal(got.trajectories[name], want.trajectories[name]) {
			t.Errorf("%s differs", name)
		}
	}
	if _, err := train(t, sampledPPO(data, third, small), onCPU, Env{Resume: first}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "holds a run already") {
		t.Errorf("into a run of another origin: %v", err)
	}
	for _, nowhere := range []string{filepath.Join(first, "nothing"), filepath.Join(first, "checkpoints", "000001")} {
		if _, err := train(t, sampledPPO(data, t.TempDir(), small), onCPU, Env{Resume: nowhere}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "not the directory of a run") {
			t.Errorf("from %s: %v", nowhere, err)
		}
	}
}

// TestResumeRefusesAnotherBeginning: the model that training began with, and another stage.
func TestResumeRefusesAnotherBeginning(t *testing.T) {
	data, dir, models := writePrompts(t, 40), t.TempDir(), t.TempDir()
	text := sampledPPO(data, dir, small)
	if _, err := trainOneStep(t, text, onCPU, Env{}); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	if err := os.CopyFS(models, os.DirFS(goldens+"policy")); err != nil {
		t.Fatal(err)
	}
	moved := strings.Replace(text, "policy: "+goldens+"policy", "policy: "+models, 1)
	if moved == text {
		t.Fatal("the text has no such model")
	}
	if _, err := trainOneStep(t, moved, onCPU, Env{}); !errors.Is(err, ErrStopped) {
		t.Errorf("the same policy elsewhere: %v", err)
	}
	weights := filepath.Join(models, "model.safetensors")
	bytes, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	bytes[len(bytes)-8] ^= 1
	if err := os.WriteFile(weights, bytes, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := train(t, moved, onCPU, Env{}); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "policy") {
		t.Errorf("another policy: %v", err)
	}
	sft := fmt.Sprintf("stage: sft\nrun: {dir: %q}\nmodel: {policy: %spolicy}\ndata: [{source: prompts, path: %s}]\n", dir, goldens, filepath.Join(data, "prompts.jsonl"))
	if _, err := train(t, sft, onCPU, Env{}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "stage ppo") || strings.Contains(err.Error(), "\n") {
		t.Errorf("another stage: %v", err)
	}
}

// TestMemoryIsPlannedForWhatCanCome: a micro-batch is never larger than all rollouts together, whatever the configuration allows.
func TestMemoryIsPlannedForWhatCanCome(t *testing.T) {
	const fits = 8 * (16 + 20) // num_rollouts sequences of the longest kind
	planned := func(tokens int) string {
		var log bytes.Buffer
		text := sampledPPO(writePrompts(t, 40), t.TempDir(), fmt.Sprintf("batching: {micro_batch_tokens: %d, rollout_slots: 3}", tokens))
		if _, err := train(t, text, onCPU, Env{DryRun: true}, telemetry.NewConsole(&log, telemetry.ConsoleOptions{Level: slog.LevelInfo})); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(log.String()) {
			if _, size, ok := strings.Cut(line, `="value update" size=`); ok {
				return size
			}
		}
		t.Fatalf("no size of the policy update:\n%s", &log)
		return ""
	}
	all, more, less := planned(fits), planned(2_000_000_000), planned(fits/2)
	if more != all || less == all {
		t.Errorf("%d tokens: %s; 2e9 tokens: %s; %d tokens: %s", fits, all, more, fits/2, less)
	}
}

// TestDataAreAccountedFor: what is left out is said when a run starts.
func TestDataAreAccountedFor(t *testing.T) {
	data := writePrompts(t, 250)
	file := filepath.Join(data, "prompts.jsonl")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "garbage\n{\"prompt_ids\": ["+strings.Repeat("1,", 16)+"1]}\n"...)
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if _, err := train(t, sampledPPO(data, t.TempDir(), small), onCPU, Env{DryRun: true}, telemetry.NewConsole(&log, telemetry.ConsoleOptions{Level: slog.LevelInfo})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"rows=252", "samples=250", "left out", "malformed rows", "prompts.jsonl:251"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, &log)
		}
	}
}
