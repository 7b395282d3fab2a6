package rlhf

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/backendtest"
	"alfred/internal/backend/reference"
	"alfred/internal/rundir"
)

// shortPPO is one iteration with everything that downloads something: rollouts, scores, log-probs, updates, evaluation, checkpoint.
func shortPPO(data, dir string) string {
	return fmt.Sprintf(`
stage: ppo
run: {dir: %[3]q}
model: {policy: %[1]spolicy, reward: %[1]sreward}
policy_optimizer: &opt {learning_rate: 1.0e-3, warmup_steps: 0, decay_steps: 20}
value_optimizer: *opt
trainer: {num_rollouts: 2, max_steps: 1, value_steps_per_epoch: 2, eval_share: 0.3, eval_every: 1}
trajectory: {prompt_max_len: 16, continuation_max_len: 3, record: true}
batching: {micro_batch_tokens: 32, rollout_slots: 2}
data_root: %[2]q
data: [{source: prompts, path: prompts.jsonl}]
log: {tensorboard: false, samples_every: 0}
`, goldens, data, dir)
}

// leftovers are the bytes of all files that a run leaves, except those that name the run's own directory or the clock.
func leftovers(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || d.IsDir() || name == "config.yaml" || name == "timing.jsonl" || filepath.Base(name) == "manifest.json" || name == "lock" {
			return err
		}
		files[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestEveryWaitIsNeeded runs an iteration on a device that does nothing before it is waited for. It leaves the files that an eager
// device leaves. Then it leaves out each Wait in turn: every time the run fails or leaves something else. So no wait is missing
// anywhere, and none is there in vain.
func TestEveryWaitIsNeeded(t *testing.T) {
	data := writePrompts(t, 12)
	run := func(device backend.Device) (map[string][]byte, error) {
		dir := t.TempDir()
		_, err := train(t, shortPPO(data, dir), func(int) (backend.Device, error) { return device, nil }, Env{})
		return leftovers(t, string(rundir.Dir(dir))), err
	}
	want, err := run(reference.New())
	if err != nil {
		t.Fatal(err)
	}
	deferring := backendtest.Deferring(reference.New(), backendtest.Options{PoisonArenas: true})
	got, err := run(deferring)
	if err != nil {
		t.Fatal(err)
	}
	if !sameBits(got, want) {
		t.Fatal("the deferring device leaves other files than the eager one")
	}
	waits := deferring.Waits()
	if waits < 20 {
		t.Fatalf("only %d waits: the run does too little", waits)
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for n := 1; n <= waits; n += step {
		got, err := run(backendtest.Deferring(reference.New(), backendtest.Options{IgnoreWait: n}))
		if err == nil && sameBits(got, want) {
			t.Errorf("without wait %d of %d nothing changes", n, waits)
		}
	}
	t.Logf("%d waits", waits)
}
