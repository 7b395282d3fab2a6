package rlhf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"alfred/internal/rundir"
	"alfred/internal/telemetry"
)

// TestResumeRefusesWhatHasChanged: a frozen model, or data, that are not what they were.
func TestResumeRefusesWhatHasChanged(t *testing.T) {
	data, dir, models := writePrompts(t, 40), t.TempDir(), t.TempDir()
	if err := os.CopyFS(filepath.Join(models, "reward"), os.DirFS(goldens+"reward")); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(sampledPPO(data, dir, "batching: {micro_batch_tokens: 100, rollout_slots: 3}"), goldens+"reward", filepath.Join(models, "reward"), 1)
	if _, err := trainOneStep(t, text, onCPU, Env{}); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	weights := filepath.Join(models, "reward", "model.safetensors")
	good, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(good)
	bad[len(bad)-8] ^= 1
	if err := os.WriteFile(weights, bad, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := trainOneStep(t, text, onCPU, Env{}); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "reward") {
		t.Errorf("with another reward model: %v", err)
	}
	if err := os.WriteFile(weights, good, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := trainOneStep(t, text, onCPU, Env{}); !errors.Is(err, ErrStopped) {
		t.Errorf("with the reward model as it was: %v", err)
	}
	if _, err := train(t, strings.Replace(text, "num_rollouts: 8", "num_rollouts: 6", 1), onCPU, Env{}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "num_rollouts") {
		t.Errorf("with another number of rollouts: %v", err)
	}
}

// TestScheduleByOptimizerStep: each value step of an iteration has its own learning rate when the schedule counts steps.
func TestScheduleByOptimizerStep(t *testing.T) {
	for unit, want := range map[string]float64{"optimizer_step": 1e-3 * 4 / 8, "iteration": 1e-3 * 1 / 8} {
		text := convergenceConfig(t, "", "kl_coef: 0, eval_every: 0", "continuation_max_len: 2")
		text = strings.Replace(text, "learning_rate: 3.0e-3, warmup_steps: 0, decay: constant", "learning_rate: 1.0e-3, warmup_steps: 8, decay: constant, schedule_unit: "+unit, 1)
		p, st := newConvergence(t, text, func([]int32) float64 { return 1 })
		_, metrics, err := p.iterate(context.Background(), st)
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := metrics.Lookup(telemetry.LRValue); math.Abs(v.Scalar()-want) > 1e-12 {
			t.Errorf("%s: the last of four value steps has learning rate %g, want %g", unit, v.Scalar(), want)
		}
	}
}

// TestEntropyBonusWithIdleRanks: a rank without a share of a mini-batch runs an empty micro-batch, also with an entropy bonus.
func TestEntropyBonusWithIdleRanks(t *testing.T) {
	extra := "parallel: {data: 2}\nbatching: {micro_batch_tokens: 100, rollout_slots: 2}"
	text := strings.Replace(sampledPPO(writePrompts(t, 40), t.TempDir(), extra), "num_rollouts: 8,", "num_rollouts: 8, ppo_steps_per_epoch: 8, entropy_coef: 0.01,", 1)
	if _, err := train(t, text, onCPU, Env{}); err != nil {
		t.Error(err)
	}
}

// TestFinalSaveMustSucceed: on_error: continue passes over a failed checkpoint only while another one will be tried.
func TestFinalSaveMustSucceed(t *testing.T) {
	dir := t.TempDir()
	text := strings.Replace(sampledPPO(writePrompts(t, 40), dir, "batching: {micro_batch_tokens: 100, rollout_slots: 3}"), "checkpoint: {every: 1}", "checkpoint: {every: 1, on_error: continue}", 1)
	if err := os.WriteFile(filepath.Join(dir, "checkpoints"), []byte("a file where the folder should be"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := train(t, text, onCPU, Env{})
	if err == nil {
		t.Error("a run that could not save anything ended well")
	}
}

// TestBadScoreIsDroppedAlsoWhenRecording: JSON has no NaN; the record leaves the score out.
func TestBadScoreIsDroppedAlsoWhenRecording(t *testing.T) {
	p, st := badRun(t, "")
	p.cfg.Trajectory.Record = true
	p.rec = telemetry.New(telemetry.Options{})
	p.in.dir = rundir.Dir(t.TempDir())
	p.scorer = scoreFunc(func(response []int32) float64 {
		if response[0] > 30 {
			return math.NaN()
		}
		return 1
	})
	if _, _, err := p.iterate(context.Background(), st); err != nil {
		t.Fatal(err)
	}
	records, err := readReplay(p.in.dir.TrajectoryFile(1), p.in.eod, p.policy.config.VocabSize)
	if err != nil {
		t.Fatal(err)
	}
	without := 0
	for _, r := range records {
		if r.Score == nil {
			without++
		}
	}
	if without == 0 || without == len(records) {
		t.Errorf("%d of %d records have no score", without, len(records))
	}
	if st.Skipped != 1 {
		t.Errorf("%d dropped, want the iteration", st.Skipped)
	}
}

// TestRecordsOfAnUndoneFutureGo: iterations that the run has not come to are removed when it starts again.
func TestRecordsOfAnUndoneFutureGo(t *testing.T) {
	dir := t.TempDir()
	text := sampledPPO(writePrompts(t, 40), dir, "batching: {micro_batch_tokens: 100, rollout_slots: 3}")
	if _, err := trainOneStep(t, text, onCPU, Env{}); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	future := filepath.Join(dir, "trajectories", "000009.jsonl")
	if err := os.WriteFile(future, []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := train(t, text, onCPU, Env{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(future); err == nil {
		t.Error("a recorded iteration that never was is still there")
	}
}

// TestNormaliseMustFitTheContext: what normalise samples is checked before anything is trained.
func TestNormaliseMustFitTheContext(t *testing.T) {
	cfg := parse(t, fmt.Sprintf("stage: reward\nmodel: {reward: %[1]spolicy}\nnormalise: {policy: %[1]spolicy}\ntrainer: {max_len: 40}\ntrajectory: {prompt_max_len: 60, continuation_max_len: 60}\n", goldens))
	in := &inputs{cfg: cfg}
	defer in.close()
	if err := errors.Join(in.openModels(), in.openTokenizer()); err != nil {
		t.Fatal(err)
	}
	if err := in.checkModels(); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "continuation_max_len") {
		t.Errorf("got %v", err)
	}
}
