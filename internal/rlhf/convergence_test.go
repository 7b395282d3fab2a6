package rlhf

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"alfred/internal/collective/inproc"
	"alfred/internal/mesh"
	"alfred/internal/reward"
)

// scoreFunc scores responses by a function of their tokens.
type scoreFunc func(response []int32) float64

func (f scoreFunc) Score(_ context.Context, items []reward.Item) ([]float64, error) {
	scores := make([]float64, len(items))
	for i, it := range items {
		scores[i] = f(it.Response)
	}
	return scores, nil
}

// newConvergence builds a PPO stage on the CPU with a scorer of the test's own.
func newConvergence(t *testing.T, text string, score scoreFunc) (*ppoStage, *State) {
	t.Helper()
	cfg := parse(t, text)
	in, err := openInputs(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.close)
	r, err := newRank(in, Env{}, precisions["cpu"].device(), inproc.NewWorld(1), mesh.Mesh{Tensor: 1, Data: 1, Pipeline: 1}, 0, memory{weights: 64 << 20, work: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	built, err := newPPO(r)
	if err != nil {
		t.Fatal(err)
	}
	p := built.(*ppoStage)
	if err := p.load(false); err != nil {
		t.Fatal(err)
	}
	for _, m := range p.trained() {
		m.opt.Adopt(r.stream)
	}
	p.scorer = score
	st := newState()
	startKL(&cfg.Trainer, st)
	return p, st
}

// converge runs iterations of PPO and shows each of them to watch.
func converge(t *testing.T, text string, score scoreFunc, watch func(n int, it *iteration) (done bool)) {
	t.Helper()
	p, st := newConvergence(t, text, score)
	for st.Step < p.cfg.Trainer.MaxSteps {
		it, _, err := p.iterate(context.Background(), st)
		if err != nil {
			t.Fatal(err)
		}
		st.Step++
		if watch(st.Step, it) {
			return
		}
	}
}

func convergenceConfig(t *testing.T, models, trainer, trajectory string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.jsonl"), []byte(`{"prompt_ids":[5,17,3]}`+"\n"+`{"prompt_ids":[9,2,41,8]}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
stage: ppo
run: {dir: %q}
model: {policy: %spolicy, reward: {rule: length, target: 1}, %s}
policy_optimizer: &opt {learning_rate: 3.0e-3, warmup_steps: 0, decay: constant}
value_optimizer: *opt
trainer: {num_rollouts: 64, max_steps: 50, value_steps_per_epoch: 4, eval_share: 0, %s}
trajectory: {prompt_max_len: 8, %s}
batching: {micro_batch_tokens: 1024, rollout_slots: 64}
data_root: %q
data: [{source: prompts, path: p.jsonl}]
`, filepath.Join(dir, "run"), goldens, models, trainer, trajectory, dir)
}

// TestBandit: with one token to choose and a reward for one of the 67, its probability passes 0.95 within 50 iterations.
func TestBandit(t *testing.T) {
	const right = 7
	best := 0.0
	text := convergenceConfig(t, "", "kl_coef: 0, eval_every: 0", "continuation_max_len: 1")
	converge(t, text, func(response []int32) float64 {
		if response[0] == right {
			return 1
		}
		return 0
	}, func(n int, it *iteration) bool {
		share := 0.0
		for s, tr := range it.trajectories {
			if tr.Response[0] == right {
				share += 1 / float64(len(it.trajectories))
				best = math.Max(best, math.Exp(it.logp[s][0]))
			}
		}
		t.Logf("iteration %d: chosen %.2f of the time, probability up to %.3f", n, share, best)
		return share > 0.95 && best > 0.95
	})
	if best <= 0.95 {
		t.Errorf("after 50 iterations the rewarded token has probability %.3f", best)
	}
}

// TestKLControl: with no reward, the penalty alone takes a policy back to a reference that it does not start from.
func TestKLControl(t *testing.T) {
	var first, last float64
	text := convergenceConfig(t, "reference: ../falcon/testdata/golden/form-rw-4", "kl_coef: 1.0, eval_every: 0", "continuation_max_len: 4")
	converge(t, text, func([]int32) float64 { return 0 }, func(n int, it *iteration) bool {
		last = mean(it.rewards.KL)
		if n == 1 {
			first = last
		}
		t.Logf("iteration %d: KL %.3f", n, last)
		return false
	})
	if !(first > 1) || !(last < first/2) {
		t.Errorf("KL went from %.3f to %.3f, want it at most half", first, last)
	}
}
