package rlhf

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/backendtest"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
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

// TestUncheckedRolloutsAreNotKept: where no token takes part in a policy loss, nothing is compared with the sampler, and the next
// iteration still goes forward.
func TestUncheckedRolloutsAreNotKept(t *testing.T) {
	text := strings.Replace(sampledConfig(t), "continuation_max_len: 6", "continuation_max_len: 6, continuation_min_len: 6", 1)
	text = strings.Replace(text, "trainer: {", "trainer: {missing_eod: mask, ", 1)
	var used int // bytes of the work arena while scores are computed
	var p *ppoStage
	p, st := newConvergence(t, text, func(response []int32) float64 {
		used = p.work.Used()
		return float64(response[0] % 7)
	})
	p.in.keep = true
	for i := range 2 {
		it, _, err := p.iterate(context.Background(), st)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(it.masked, false) {
			t.Fatal("a response takes part")
		}
		if used != 0 {
			t.Errorf("iteration %d: rollouts are kept, and nothing was compared", i)
		}
		st.Step++
	}
}

// TestKeptRolloutsLeaveTheSameFiles: whole runs of all forms leave the same files with and without, over one and several tensor ranks, also
// such as hold no heads, and with truncated draws.
func TestKeptRolloutsLeaveTheSameFiles(t *testing.T) {
	data := writePrompts(t, 12)
	cases := []struct {
		form   string
		tensor int
		draw   string
	}{
		{"form-40b", 4, "top_k: 9"},
		{"form-40b-1ln", 2, "top_p: 0.8"},
		{"form-7b", 2, "temperature: 0.7"},
		{"form-rw", 3, "top_k: 5"},
		{"form-7b", 1, "top_k: 5"},
		{"form-rw-4", 2, "top_k: 9, top_p: 0.7"},
	}
	if testing.Short() {
		cases = cases[:2]
	}
	for _, c := range cases {
		var files [2]map[string][]byte
		for i, keep := range []bool{true, false} {
			dir := t.TempDir()
			text := sampledPPO(data, dir, fmt.Sprintf("parallel: {tensor: %d}\nbatching: {micro_batch_tokens: 90, rollout_slots: 3, keep_rollouts: %v}\n", c.tensor, keep))
			text = strings.Replace(text, "continuation_max_len: 20", "continuation_max_len: 20, "+c.draw, 1)
			text = strings.NewReplacer("max_steps: 3", "max_steps: 2", "checkpoint: {every: 1}", "checkpoint: {every: 2}").Replace(text)
			text = strings.Replace(text, goldens+"policy, reward: "+goldens+"reward", "../falcon/testdata/golden/"+c.form+", reward: {rule: length, target: 3}", 1)
			if _, err := train(t, text, onCPU, Env{}); err != nil {
				t.Fatalf("%+v, kept %v: %v", c, keep, err)
			}
			files[i] = leftovers(t, dir)
		}
		if !sameBits(files[0], files[1]) {
			t.Errorf("%+v: other files where rollouts are kept", c)
		}
	}
}

// TestKeptRolloutsOnADeviceThatDefers: an iteration that keeps its rollouts misses no wait, and reads nothing that was not written.
func TestKeptRolloutsOnADeviceThatDefers(t *testing.T) {
	data := writePrompts(t, 12)
	run := func(device backend.Device) map[string][]byte {
		dir := t.TempDir()
		text := strings.Replace(shortPPO(data, dir), "max_steps: 1", "max_steps: 2", 1)
		if _, err := train(t, text, func(int) (backend.Device, error) { return device, nil }, Env{}); err != nil {
			t.Fatal(err)
		}
		return leftovers(t, dir)
	}
	if !sameBits(run(backendtest.Deferring(reference.New(), backendtest.Options{PoisonArenas: true})), run(reference.New())) {
		t.Error("the deferring device leaves other files than the eager one")
	}
}
