package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// killedPPO is a PPO run that checkpoints after every iteration.
const killedPPO = `
stage: ppo
run: {dir: %q}
model: {policy: ../../internal/rlhf/testdata/golden/policy, reward: ../../internal/rlhf/testdata/golden/reward}
parallel: {data: 2}
policy_optimizer: &opt {learning_rate: 1.0e-3, warmup_steps: 2, decay_steps: 20}
value_optimizer: *opt
trainer: {num_rollouts: 16, max_steps: 12, value_steps_per_epoch: 4, eval_share: 0.3, eval_every: 3}
trajectory: {prompt_max_len: 16, continuation_max_len: 24, record: true}
batching: {micro_batch_tokens: 200, rollout_slots: 4}
data_root: %q
data: [{source: prompts, path: prompts.jsonl}]
log: {samples_every: 0}
checkpoint: {every: 1, keep: 2}
`

// TestKillMinusNine kills a run at random instants, again and again, and starts it again each time. It ends with the files of a run
// that nobody touched, to the byte.
func TestKillMinusNine(t *testing.T) {
	dir := t.TempDir()
	var prompts strings.Builder
	for i := range 40 {
		fmt.Fprintf(&prompts, `{"prompt_ids":[%d,%d,%d]}`+"\n", 1+i, 1+i*7%60, 1+i*13%61)
	}
	write(t, filepath.Join(dir, "prompts.jsonl"), prompts.String())
	start := func(run string) (wait func() int, kill func()) {
		config := filepath.Join(dir, run+".yaml")
		write(t, config, fmt.Sprintf(killedPPO, filepath.Join(dir, run), dir))
		cmd := alfredProcess(t, "train", "--config", config)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return func() int { return ended(t, cmd) }, func() { cmd.Process.Kill() }
	}
	began := time.Now()
	if wait, _ := start("untouched"); wait() != 0 {
		t.Fatal("the run that nobody touches failed")
	}
	whole := time.Since(began)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	kills := 0
	for range 8 { // until it is through before its time
		wait, kill := start("killed")
		timer := time.AfterFunc(time.Duration(float64(whole)*(0.15+0.35*rng.Float64())), kill)
		code := wait()
		timer.Stop()
		if code == 0 {
			break
		}
		if code != -1-9 {
			t.Fatalf("after %d kills the run ended with %d", kills, code)
		}
		kills++
	}
	if wait, _ := start("killed"); wait() != 0 { // also when it was through: there is nothing left to do then
		t.Fatalf("after %d kills the run does not come to its end", kills)
	}
	t.Logf("%d kills within the first half of the %s that a run takes", kills, whole)
	if kills == 0 {
		t.Error("no kill came in time")
	}
	if steps := func(run string) []uint64 { return boardSteps(t, filepath.Join(dir, run, "tensorboard")) }; !slices.Equal(steps("killed"), steps("untouched")) {
		t.Errorf("TensorBoard shows the steps %v, of the run that nobody touched %v", steps("killed"), steps("untouched"))
	}
	want, got := filesOf(t, filepath.Join(dir, "untouched")), filesOf(t, filepath.Join(dir, "killed"))
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s differs from that of the run that nobody touched", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s should not be there", name)
		}
	}
}

// filesOf are the contents of a run's files, without what names the run or tells the time.
func filesOf(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && d.Name() == "tensorboard" {
				return fs.SkipDir
			}
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch filepath.Base(name) {
		case "config.yaml", "timing.jsonl", "lock", "manifest.json":
			return nil
		}
		data, err := os.ReadFile(path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
