package rlhf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
	"alfred/internal/checkpoint/safetensors/goldentest"
	"alfred/internal/collective/inproc"
	"alfred/internal/config"
	"alfred/internal/mesh"
	"alfred/internal/ppo"
	"alfred/internal/telemetry"
)

const goldens = "testdata/golden/"

// precision is a device and what it promises against goldens in float64.
type precision struct {
	device             func() backend.Device
	value              float64 // of numbers per token, losses and metrics: relative, and absolute
	loose              float64 // absolute, of values, advantages and returns, whose errors add up over a response
	relative, absolute float64 // of gradients, at each model's first step
	later              float64 // relative, of gradients and updates after that
}

var precisions = map[string]precision{
	"reference": {reference.New, 1e-9, 1e-9, 1e-9, 1e-11, 1e-9},
	// float32: the figures of the design, see scripts/golden/README.md.
	"cpu": {func() backend.Device { return cpu.New(2) }, 1e-5, 2e-5, 1e-5, 1e-7, 1e-3},
}

type golden struct{ goldentest.File }

func openGolden(t testing.TB, name string) golden {
	t.Helper()
	return golden{goldentest.Open(t, goldens+name+".safetensors")}
}

// soloRank opens a configuration on one rank with the golden's rotary tables.
func soloRank(t testing.TB, cfg *config.Config, p precision, g golden) *rank {
	t.Helper()
	in, err := openInputs(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return join(t, in, p, g)
}

// stageRank is soloRank for a stage whose samples the test makes itself.
func stageRank(t testing.TB, cfg *config.Config, p precision, g golden) *rank {
	t.Helper()
	in := &inputs{cfg: cfg}
	if err := errors.Join(in.openModels(), in.openTokenizer(), in.checkModels()); err != nil {
		t.Fatal(err)
	}
	return join(t, in, p, g)
}

func join(t testing.TB, in *inputs, p precision, g golden) *rank {
	t.Helper()
	t.Cleanup(in.close)
	in.rotaryCos, in.rotarySin = g.Floats("rotary_cos"), g.Floats("rotary_sin")
	r, err := newRank(in, Env{}, p.device(), inproc.NewWorld(1), mesh.Mesh{Tensor: 1, Data: 1, Pipeline: 1}, 0, memory{weights: 64 << 20, work: 128 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// ppoConfig is a run that replays the golden's trajectories under its options.
func ppoConfig(t testing.TB, g golden) *config.Config {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(g.Metadata()["options"]), &o); err != nil {
		t.Fatal(err)
	}
	if o["reward_clip"] == nil {
		o["reward_clip"] = 0.0
	}
	return parse(t, fmt.Sprintf(`
stage: ppo
model: {policy: %[1]spolicy, reward: %[1]sreward}
batching: {micro_batch_tokens: 100, rollout_slots: 4}
policy_optimizer: &opt {learning_rate: %[2]v, final_learning_rate: %[2]v, warmup_steps: 0, decay: constant, betas: [0.9, 0.95], eps: %[3]v, weight_decay: %[4]v, max_grad_norm: %[5]v}
value_optimizer: *opt
trainer:
  {num_rollouts: 16, max_steps: %[6]v, policy_epochs: %[7]v, value_epochs: %[8]v, ppo_steps_per_epoch: %[9]v, value_steps_per_epoch: %[10]v,
   kl_coef: %[11]v, kl_estimator: %[12]v, gamma: %[13]v, gae_lambda: %[14]v, clip_range_policy: %[15]v, clip_range_value: %[16]v,
   whiten_advantages: %[17]v, whiten_rewards: %[18]v, score_on_eod: %[19]v, missing_eod: %[20]v, reward_clip: %[21]v, entropy_coef: %[22]v}
trajectory: {prompt_max_len: 20, continuation_max_len: 24, temperature: %[23]v, replay: %[1]strajectories}
`, goldens, o["learning_rate"], o["eps"], o["weight_decay"], o["max_grad_norm"],
		o["iterations"], o["policy_epochs"], o["value_epochs"], o["ppo_steps_per_epoch"], o["value_steps_per_epoch"],
		o["kl_coef"], o["kl_estimator"], o["gamma"], o["gae_lambda"], o["clip_range_policy"], o["clip_range_value"],
		o["whiten_advantages"], o["whiten_rewards"], o["score_on_eod"], o["missing_eod"], o["reward_clip"], o["entropy_coef"], o["temperature"]))
}

// TestGoldenPPOIterations replays fixed trajectories through whole iterations and holds everything that they compute against
// PyTorch: per-token numbers, losses, gradient norms and gradients, and the weights afterwards.
func TestGoldenPPOIterations(t *testing.T) {
	for device, p := range precisions {
		for _, name := range []string{"ppo-card", "ppo-options"} {
			t.Run(device+"/"+name, func(t *testing.T) { goldenPPO(t, openGolden(t, name), p) })
		}
	}
}

func goldenPPO(t *testing.T, g golden, p precision) {
	cfg := ppoConfig(t, g)
	if p.value > 1e-9 {
		cfg.Trainer.RatioTolerance = 0
	}
	r := soloRank(t, cfg, p, g)
	built, err := newPPO(r)
	if err != nil {
		t.Fatal(err)
	}
	stage := built.(*ppoStage)
	if err := stage.load(false); err != nil {
		t.Fatal(err)
	}
	for _, m := range stage.trained() {
		m.opt.Adopt(r.stream)
	}
	st := newState()
	startKL(&cfg.Trainer, st)
	before := map[string]map[string][]float64{}
	for _, m := range stage.trained() {
		before[m.role] = weights(t, m)
	}
	for i := range cfg.Trainer.MaxSteps {
		at := fmt.Sprintf("iteration%d/", i+1)
		stage.permute = func(_, epoch int, model uint32, n int) (order []int) {
			for _, s := range g.Ints(at + []string{"policy", "value"}[model] + "_batch_index")[epoch*n : (epoch+1)*n] {
				order = append(order, int(s))
			}
			return order
		}
		first := map[string]map[string][]float64{}
		r.observe = func(m *model) {
			if first[m.role] == nil {
				first[m.role] = gradients(t, m)
			}
		}
		it, metrics, err := stage.iterate(context.Background(), st)
		if err != nil {
			t.Fatal(err)
		}
		st.Step++
		g.holdTokens(t, at, it, cfg, p)
		g.holdMetrics(t, at, metrics, p)
		for _, m := range stage.trained() {
			relative := p.relative
			if i > 0 {
				relative = p.relative * 10 // the design: 1e-4 after the first step, whose update differs by 1e-3 already
			}
			goldentest.NearTensors(t, at+m.role+" gradient", first[m.role], g.Under(at+m.role+"_gradient/"), relative, p.absolute)
			before[m.role] = g.holdUpdate(t, at+m.role+"_weights/", before[m.role], weights(t, m), p)
		}
		if t.Failed() {
			t.Fatalf("after iteration %d", i+1)
		}
	}
}

// holdTokens compares what has one number per response token, and scores.
func (g golden) holdTokens(t *testing.T, at string, it *iteration, cfg *config.Config, p precision) {
	t.Helper()
	advantages := "whitened_advantages"
	if !cfg.Trainer.WhitenAdvantages {
		advantages = "advantages"
	}
	goldentest.Near(t, at+"logp", flat(it.logp), g.Floats(at+"logp"), p.value, p.value)
	goldentest.Near(t, at+"ref_logp", flat(it.reference), g.Floats(at+"ref_logp"), p.value, p.value)
	goldentest.Near(t, at+"entropy", flat(it.entropy), g.Floats(at+"entropy"), p.value, p.value)
	goldentest.Near(t, at+"values", flat(it.values), g.Floats(at+"values"), p.value, p.loose)
	goldentest.Near(t, at+"scores", it.scores, g.Floats(at+"scores"), p.value, p.loose)
	goldentest.Near(t, at+"paid_scores", it.rewards.Score, g.Floats(at+"paid_scores"), p.value, p.loose)
	goldentest.Near(t, at+"rewards", flat(it.rewards.PerToken), g.Floats(at+"rewards"), p.value, p.loose)
	goldentest.Near(t, at+"returns", flat(it.returns), g.Floats(at+"returns"), p.value, p.loose)
	goldentest.Near(t, at+advantages, flat(it.advantages), g.Floats(at+advantages), p.value, p.loose)
}

// holdMetrics compares what metrics.jsonl would say.
func (g golden) holdMetrics(t *testing.T, at string, metrics *telemetry.Metrics, p precision) {
	t.Helper()
	value := func(name telemetry.Name) []float64 {
		v, ok := metrics.Lookup(name)
		if !ok {
			t.Errorf("%s: no metric %s", at, name)
		}
		return v.Elements()
	}
	means := map[telemetry.Name]string{
		telemetry.Entropy: "metric/entropy", telemetry.KL: "metric/kl", telemetry.ScoreMean: "metric/score_mean",
		telemetry.ExplainedVariance: "metric/explained_variance", telemetry.PolicyLoss: "policy_total_loss", telemetry.PolicyGradNorm: "policy_grad_norm",
		telemetry.ValueGradNorm: "value_grad_norm",
	}
	for metric, name := range means {
		goldentest.Near(t, at+name, value(metric), []float64{mean(g.Floats(at + name))}, 10*p.value, p.loose)
	}
	goldentest.Near(t, at+"value_loss", value(telemetry.ValueLoss), g.Floats(at+"value_loss"), 10*p.value, p.loose)
	if first := g.Floats(at + "policy_ratio_max_error"); len(first) > 0 {
		goldentest.Near(t, at+"ratio at the first step", value(telemetry.RatioMaxError), first[:1], 0, 0)
	}
}

// holdUpdate compares weights, and how far they moved. It returns the golden's weights.
func (g golden) holdUpdate(t *testing.T, prefix string, before, got map[string][]float64, p precision) map[string][]float64 {
	t.Helper()
	after := map[string][]float64{}
	for name, xs := range got {
		want := g.Floats(prefix + name)
		after[name] = want
		moved := make([]float64, len(want))
		for i := range want {
			moved[i] = want[i] - before[name][i]
		}
		if d, most := goldentest.Distance(xs, want), p.later*goldentest.Norm(moved)+p.value*goldentest.Norm(want)*1e-3; !(d <= most) {
			t.Errorf("%s%s: off by %.3g, allowed %.3g; the update is %.3g", prefix, name, d, most, goldentest.Norm(moved))
		}
	}
	return after
}

func weights(t testing.TB, m *model) map[string][]float64 {
	t.Helper()
	all := map[string][]float64{}
	for _, prm := range m.stage.Params.Params() {
		xs := make([]float64, prm.Len())
		if err := m.stream.Download(backend.Float64s(xs), prm.Weight()).Wait(); err != nil {
			t.Fatal(err)
		}
		all[prm.Name] = xs
	}
	return all
}

func gradients(t testing.TB, m *model) map[string][]float64 {
	t.Helper()
	all := map[string][]float64{}
	for _, prm := range m.stage.Params.Params() {
		xs := make([]float64, prm.Len())
		if err := m.stream.Download(backend.Float64s(xs), prm.Grad()).Wait(); err != nil {
			t.Fatal(err)
		}
		all[prm.Name] = xs
	}
	return all
}

func flat(x ppo.Ragged) (xs []float64) {
	for _, row := range x {
		xs = append(xs, row...)
	}
	return xs
}
