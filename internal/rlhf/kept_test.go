package rlhf

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"testing"

	"alfred/internal/backend/cpu"
	"alfred/internal/mesh"
)

// TestWhichRolloutsAreKept: those of a configuration that trains on what it sampled, where it sampled it, and trusts the sampler.
func TestWhichRolloutsAreKept(t *testing.T) {
	text := sampledConfig(t)
	for _, c := range []struct {
		old, new string
		want     bool
	}{
		{"", "", true},
		{"rollout_slots: 64", "rollout_slots: 3, keep_rollouts: true", true},
		{"rollout_slots: 64", "rollout_slots: 64, keep_rollouts: false", false},
		{"rollout_slots: 64", "rollout_slots: 64, recompute: true", false},
		{"trainer: {", "trainer: {old_log_probs: training, ", false},
		{"batching:", "parallel: {data: 2}\nbatching:", false},
		{"batching:", "parallel: {tensor: 2}\nbatching:", true},
	} {
		if c.old != "" && !strings.Contains(text, c.old) {
			t.Fatalf("no %q in the configuration", c.old)
		}
		if got := keeps(parse(t, strings.Replace(text, c.old, c.new, 1))); got != c.want {
			t.Errorf("%q: %v, want %v", c.new, got, c.want)
		}
	}
}

// TestKeptRolloutsLeaveMemory: they are kept where the run then needs half of the machine's memory at most.
func TestKeptRolloutsLeaveMemory(t *testing.T) {
	cfg := parse(t, sampledConfig(t))
	in, err := openInputs(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	r := &run{cfg: cfg, in: in, mesh: mesh.Mesh{Tensor: 1, Data: 1, Pipeline: 1}, log: slog.New(slog.DiscardHandler)}
	plan := func(have int) memory {
		t.Helper()
		sizes, err := r.plan(context.Background(), cpu.New(1), have)
		if err != nil {
			t.Fatal(err)
		}
		return sizes[0]
	}
	kept := plan(1 << 40)
	if !in.keep {
		t.Fatal("not kept with a terabyte")
	}
	for have, want := range map[int]bool{2 * kept.total(): true, 2*kept.total() - 1: false, 0: false} {
		if got := plan(have); in.keep != want || want != (got.work == kept.work) || got.work > kept.work {
			t.Errorf("kept with %d bytes: %v; work %d, and %d kept", have, in.keep, got.work, kept.work)
		}
	}
}

func sampledConfig(t *testing.T) string {
	return convergenceConfig(t, "", "kl_coef: 0.01, eval_every: 0, policy_epochs: 2, ppo_steps_per_epoch: 2", "continuation_max_len: 6")
}

// TestKeptRolloutsChangeNothing: a run that keeps its rollouts has the weights of one that does not, after each iteration, whether this
// goes well or is dropped. They are kept from the second iteration on, and gone when the iteration is over.
func TestKeptRolloutsChangeNothing(t *testing.T) {
	poison := false
	var used int // bytes of the work arena while scores are computed
	start := func(keep bool) (*ppoStage, *State) {
		text := strings.Replace(sampledConfig(t), "micro_batch_tokens: 1024", "micro_batch_tokens: 100", 1)
		var p *ppoStage
		p, st := newConvergence(t, text, func(response []int32) float64 {
			if used = p.work.Used(); poison {
				return math.NaN()
			}
			return float64(response[0] % 7)
		})
		p.in.keep = keep
		return p, st
	}
	p, st := start(true)
	plain, plainSt := start(false)
	for i, bad := range []bool{false, false, true, false} {
		poison = bad
		if _, _, err := plain.iterate(context.Background(), plainSt); err != nil {
			t.Fatal(err)
		}
		if used != 0 {
			t.Errorf("iteration %d: %d bytes are in use where nothing is kept", i, used)
		}
		it, _, err := p.iterate(context.Background(), st)
		if err != nil {
			t.Fatal(err)
		}
		if kept := used > 0; kept != (i > 0) {
			t.Errorf("iteration %d: rollouts are kept: %v", i, kept)
		}
		if it.kept != nil || p.work.Used() != 0 {
			t.Errorf("iteration %d leaves %d bytes in use", i, p.work.Used())
		}
		if !sameWeights(snapshot(t, p), snapshot(t, plain)) {
			t.Fatalf("weights differ after iteration %d", i)
		}
		st.Step, plainSt.Step = st.Step+1, plainSt.Step+1
	}
}
