package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Keys that contradict each other: the problem stands at a key that was given
// and names both, with their values.
func TestCrossChecks(t *testing.T) {
	data := func(entry string) string { return "data: [" + entry + "]\n" }
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"rollouts and responses per prompt": {minimalPPO + "trainer: {num_rollouts: 10}\ntrajectory: {responses_per_prompt: 4}\n",
			`c.yaml:3:25: trainer.num_rollouts: trainer.num_rollouts (10) must be a multiple of trajectory.responses_per_prompt (4), such as 12`},
		"responses per prompt alone": {minimalPPO + "trajectory: {responses_per_prompt: 3}\n",
			`c.yaml:3:36: trajectory.responses_per_prompt: trainer.num_rollouts (1024) must be a multiple of trajectory.responses_per_prompt (3), such as 1026`},
		"rollouts and data ranks": {minimalPPO + "parallel: {data: 3}\n",
			`c.yaml:3:18: parallel.data: trainer.num_rollouts (1024) must be a multiple of parallel.data (3), such as 1026`},
		"more data ranks than rollouts": {minimalPPO + "parallel: {data: 8}\ntrainer: {num_rollouts: 4, value_steps_per_epoch: 1}\n",
			`c.yaml:4:25: trainer.num_rollouts: trainer.num_rollouts (4) must be a multiple of parallel.data (8), such as 8`},
		"policy steps and rollouts": {minimalPPO + "trainer: {num_rollouts: 8, ppo_steps_per_epoch: 9}\n",
			`c.yaml:3:49: trainer.ppo_steps_per_epoch: trainer.ppo_steps_per_epoch (9) must not exceed trainer.num_rollouts (8)`},
		"value steps and rollouts": {minimalPPO + "trainer: {num_rollouts: 4}\n",
			`c.yaml:3:25: trainer.num_rollouts: trainer.value_steps_per_epoch (8) must not exceed trainer.num_rollouts (4)`},
		"lengths and micro-batch": {minimalPPO + "batching: {micro_batch_tokens: 2047}\n",
			`c.yaml:3:32: batching.micro_batch_tokens: trajectory.prompt_max_len (1024) + trajectory.continuation_max_len (1024) must not exceed batching.micro_batch_tokens (2047)`},
		"shortest and longest response": {minimalPPO + "trajectory: {continuation_max_len: 8, continuation_min_len: 9}\n",
			`c.yaml:3:61: trajectory.continuation_min_len: trajectory.continuation_min_len (9) must not exceed trajectory.continuation_max_len (8)`},
		"warm-up and decay": {minimalPPO + "policy_optimizer: {warmup_steps: 101}\n",
			`c.yaml:3:34: policy_optimizer.warmup_steps: policy_optimizer.warmup_steps (101) must not exceed policy_optimizer.decay_steps (100)`},
		"warm-up and decay of the value model": {minimalPPO + "value_optimizer: {decay_steps: 9, decay: linear}\n",
			`c.yaml:3:32: value_optimizer.decay_steps: value_optimizer.warmup_steps (10) must not exceed value_optimizer.decay_steps (9)`},
		"final learning rate": {minimalSFT + "optimizer: {learning_rate: 1.0e-5, final_learning_rate: 1.0e-4}\n",
			`c.yaml:3:57: optimizer.final_learning_rate: optimizer.final_learning_rate (0.0001) must not exceed optimizer.learning_rate (1e-05)`},
		"final learning rate of constant": {minimalSFT + "optimizer: {decay: constant, final_learning_rate: 1.0e-6}\n",
			`c.yaml:3:51: optimizer.final_learning_rate: optimizer.final_learning_rate (1e-06) must equal optimizer.learning_rate (1e-05) with decay: constant; leave it out`},
		"iterations without PPO": {minimalSFT + "optimizer: {schedule_unit: iteration}\n",
			`c.yaml:3:28: optimizer.schedule_unit: iteration belongs to stage ppo; stage sft counts optimizer_step`},
		"horizon": {minimalPPO + "trainer: {adaptive_kl: {horizon: 200}}\n",
			`c.yaml:3:34: trainer.adaptive_kl.horizon: trainer.adaptive_kl.horizon (200) must be above a fifth of trainer.num_rollouts (1024), or kl_coef can fall to 0 in one iteration`},
		"adaptive nothing": {minimalPPO + "trainer: {adaptive_kl: {}, kl_coef: 0}\n",
			`c.yaml:3:37: trainer.kl_coef: trainer.adaptive_kl scales trainer.kl_coef, which is 0 and would stay 0`},
		"no reward": {"stage: ppo\nmodel: {policy: p}\n",
			`c.yaml:2:8: model.reward: required in stage ppo: a model, {rule: ...} or {http: ...}; only trajectory.replay can bring scores instead`},
		"position of no model": {"stage: ppo\nmodel: {policy: p, reward: {rule: json}, rm_position: eod}\n",
			`c.yaml:2:55: model.rm_position: model.rm_position says where a reward model is read; model.reward is none`},
		"threads of cuda": {minimalSFT + "device: {backend: cuda, threads: 2}\n",
			`c.yaml:3:34: device.threads: device.threads (2) is for the cpu backend; device.backend is cuda`},
		"run name": {minimalSFT + "run: {name: a/b}\n",
			`c.yaml:3:13: run.name: cannot hold a slash or a line break; run.dir is the place for a path`},
		"batch and data ranks": {minimalSFT + "trainer: {global_batch: 2}\nparallel: {data: 4}\n",
			`c.yaml:4:18: parallel.data: parallel.data (4) must not exceed trainer.global_batch (2)`},
		"sample and micro-batch": {minimalSFT + "trainer: {max_len: 4097}\n",
			`c.yaml:3:20: trainer.max_len: trainer.max_len (4097) must not exceed batching.micro_batch_tokens (4096)`},
		"pair and micro-batch": {minimalReward + "trainer: {max_len: 2049}\n",
			`c.yaml:3:20: trainer.max_len: a pair of trainer.max_len (2049) must fit batching.micro_batch_tokens (4096); a list is never cut`},
		"samples of normalise": {minimalReward + "normalise: {policy: p}\ntrajectory: {prompt_max_len: 4000}\n",
			`c.yaml:4:30: trajectory.prompt_max_len: trajectory.prompt_max_len (4000) + trajectory.continuation_max_len (1024) must not exceed batching.micro_batch_tokens (4096)`},
		"epochs and steps": {minimalSFT + "trainer: {epochs: 1, max_steps: 3}\n",
			`c.yaml:3:19: trainer.epochs: trainer.epochs (1) and trainer.max_steps (3) both set the length of the run; give one`},
		"a rule to train": {"stage: reward\nmodel: {reward: {rule: json}}\n",
			`c.yaml:2:17: model.reward: stage reward trains a model: expects a path`},
		"source without preferences": {minimalReward + data("{source: dolly, path: x}"),
			`c.yaml:3:17: data.0.source: dolly holds no preferences; stage reward takes oasst1, hh-rlhf and pairs`},
		"preferences without use": {minimalSFT + data("{source: hh-rlhf, path: x}"),
			`c.yaml:3:17: data.0.source: hh-rlhf holds preferences; say use: chosen to train on its chosen answers`},
		"use of others": {minimalSFT + data("{source: dolly, path: x, use: chosen}"),
			`c.yaml:3:33: data.0.use: belongs to source: hh-rlhf or pairs`},
		"few-shot of others": {minimalPPO + data("{source: dolly, path: x, render: few_shot}"),
			`c.yaml:3:41: data.0.render: few_shot shows the examples of a natinst task; source dolly has none`},
		"shots of others": {minimalPPO + data("{source: natinst, path: x, render: chat, shots: 1}"),
			`c.yaml:3:56: data.0.shots: data.0.shots (1) is for render few_shot; data.0.render is "chat"`},
		"languages of others": {minimalPPO + data("{source: dolly, path: x, languages: [en]}"),
			`c.yaml:3:33: data.0.languages: belongs to source: oasst1 or natinst`},
		"weights": {minimalPPO + data("{source: prompts, path: x, weight: 0}, {source: pairs, path: x, weight: 0.0}"),
			`c.yaml:3:7: data: every source has weight 0; one at least must be above`},
	} {
		t.Run(name, func(t *testing.T) {
			if p := only(t, c.text); p.String() != c.want {
				t.Errorf("got  %s\nwant %s", p, c.want)
			}
		})
	}
}

// What lies just inside the conditions above is accepted.
func TestCrossChecksAccept(t *testing.T) {
	for name, text := range map[string]string{
		"pipeline and ZeRO":           minimalPPO + "parallel: {tensor: 8, pipeline: 4, data: 4, zero_stage: 3}\n",
		"lengths that just fit":       minimalPPO + "batching: {micro_batch_tokens: 2048}\n",
		"one step per rollout":        minimalPPO + "trainer: {num_rollouts: 8, ppo_steps_per_epoch: 8}\n",
		"warm-up to the end":          minimalPPO + "policy_optimizer: {warmup_steps: 100}\n",
		"no warm-up":                  minimalPPO + "policy_optimizer: {warmup_steps: 0}\n",
		"long warm-up, then constant": minimalPPO + "policy_optimizer: {warmup_steps: 101, decay: constant}\n",
		"learning rate 0":             minimalSFT + "optimizer: {learning_rate: 0}\n",
		"rising to itself":            minimalSFT + "optimizer: {learning_rate: 1.0e-3, final_learning_rate: 1.0e-3}\n",
		"replay without rewards":      "stage: ppo\nmodel: {policy: p}\ntrajectory: {replay: dir}\n",
		"constant, said twice":        minimalSFT + "optimizer: {learning_rate: 1.0e-3, decay: constant, final_learning_rate: 1.0e-3}\n",
		"trajectory without samples":  minimalReward + "batching: {micro_batch_tokens: 512}\ntrainer: {max_len: 256}\n",
		"template of plain text":      minimalPPO + "data: [{source: prompts, path: x, template: t}]\n",
		"shots 0":                     minimalPPO + "data: [{source: natinst, path: x, shots: 0}]\n",
		"one source off":              minimalPPO + "data: [{source: dolly, path: x, weight: 0}, {source: dolly, path: y}]\n",
	} {
		t.Run(name, func(t *testing.T) { must(t, text) })
	}
}

// A key with a problem of its own draws no further problems.
func TestNoProblemsOfProblems(t *testing.T) {
	p := only(t, minimalPPO+"trainer: {num_rollouts: none}\nparallel: {data: 3}\n")
	if p.Key != "trainer.num_rollouts" {
		t.Errorf("got %s", p)
	}
	e := &Errors{problems(t, "stage: ppo\nmodel: 3\n")}
	if len(e.Problems) != 1 || e.Problems[0].Key != "model" {
		t.Errorf("a model that is no mapping: got\n%s", e)
	}
}

func TestRunnable(t *testing.T) {
	if err := must(t, minimalPPO).Runnable(); err == nil || err.Error() != "data: a run needs at least one source, such as {source: oasst1, path: trees.jsonl.gz}, or trajectory.replay" {
		t.Errorf("no data: %v", err)
	}
	if err := must(t, minimalPPO, "trajectory.replay=d").Runnable(); err != nil {
		t.Errorf("replay: %v", err)
	}
	if err := must(t, minimalSFT, "data.0={source: dolly, path: p}").Runnable(); err != nil {
		t.Errorf("data: %v", err)
	}
}

// What a config lacks to be run stands among everything else that is wrong, at its key if that is given.
func TestLoadRunnable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	for text, want := range map[string][]string{
		"stage: sft\n": {":1:1: model.policy: required", ":1:1: data: a run needs"},
		"stage: ppo\nmodel: {policy: p}\ndata: []\n":              {":2:8: model.reward: required", ":3:7: data: a run needs"},
		minimalSFT + "data: 3\n":                                  {":3:7: data: expects a list"},
		minimalSFT + "data: [{source: dolly}]\n":                  {":3:8: data.0.path: required"},
		minimalPPO + "trajectory: {replay: 3}\n":                  {":3:22: trajectory.replay: expects text"},
		"stage: ppo\nmodel: {policy: p}\ntrajectory: {replay: d}": nil,
		minimalSFT + "data: [{source: dolly, path: p}]\n":         nil,
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := LoadRunnable(path, nil)
		var got []string
		if err != nil {
			got = strings.Split(err.Error(), "\n")
		}
		if (c == nil) != (want != nil) || !slices.EqualFunc(got, want, func(line, start string) bool { return strings.HasPrefix(line, path+start) }) {
			t.Errorf("%q:\ngot  %q\nwant %q", text, got, want)
		}
	}
}

func TestAccepts(t *testing.T) {
	for _, bad := range []float64{0, 1e-300, -1, math.NaN(), math.Inf(1)} {
		if err := Accepts("trajectory.temperature", bad); err == nil || !strings.Contains(err.Error(), "must be at least 0.001") {
			t.Errorf("temperature %v: %v", bad, err)
		}
	}
	if err := errors.Join(Accepts("trajectory.temperature", 0.001), Accepts("trajectory.top_k", 0), Accepts("stage", SFT)); err != nil {
		t.Error(err)
	}
	if Accepts("trajectory.top_k", -1) == nil || Accepts("trainer.kl_estimator", "k4") == nil {
		t.Error("a negative top_k or an unknown estimator is accepted")
	}
}

// Ranges by key, written here a second time.
func TestRanges(t *testing.T) {
	for _, r := range []struct {
		stage, key string
		bad, good  []string
	}{
		{PPO, "trainer.gamma", []string{"-0.1", "1.01"}, []string{"0", "1"}},
		{PPO, "trainer.gae_lambda", []string{"-0.1", "1.01"}, []string{"0", "1"}},
		{PPO, "trainer.kl_coef", []string{"-1"}, []string{"0", "10"}},
		{PPO, "trainer.clip_range_policy", []string{"0", "-1"}, []string{"0.01", "2"}},
		{PPO, "trainer.clip_range_value", []string{"0"}, []string{"1000"}},
		{PPO, "trainer.policy_epochs", []string{"0", "-1"}, []string{"4"}},
		{PPO, "trainer.old_log_probs", []string{"sampler"}, []string{"rollout", "training"}},
		{PPO, "trainer.ratio_tolerance", []string{"-1e-3"}, []string{"0", "1e-3"}},
		{PPO, "trainer.eval_share", []string{"1", "-0.1"}, []string{"0", "0.99"}},
		{PPO, "trainer.eval_every", []string{"-1"}, []string{"0"}},
		{PPO, "trainer.max_steps", []string{"0"}, []string{"1"}},
		{PPO, "trajectory.top_p", []string{"0", "1.1"}, []string{"0.1", "1"}},
		{PPO, "trajectory.top_k", []string{"-1"}, []string{"0", "50"}},
		{PPO, "trajectory.temperature", []string{"0", "-1", "1e-300", "0.00099"}, []string{"0.001", "5"}},
		{PPO, "trajectory.continuation_max_len", []string{"0"}, []string{"1"}},
		{PPO, "policy_optimizer.eps", []string{"0", "1e-46"}, []string{"1e-5", "1e-37"}},
		{PPO, "policy_optimizer.betas", []string{"[1, 0]", "[0, -0.1]"}, []string{"[0, 0.999]"}},
		{PPO, "value_optimizer.weight_decay", []string{"-0.1"}, []string{"0", "0.1"}},
		{PPO, "value_optimizer.max_grad_norm", []string{"-1"}, []string{"0"}},
		{PPO, "parallel.tensor", []string{"0", "65537"}, []string{"8"}},
		{PPO, "parallel.zero_stage", []string{"-1", "4"}, []string{"0", "3"}},
		{PPO, "batching.rollout_slots", []string{"0"}, []string{"1"}},
		{PPO, "checkpoint.keep", []string{"1"}, []string{"2"}},
		{PPO, "checkpoint.every", []string{"0"}, []string{"1"}},
		{SFT, "trainer.epochs", []string{"0"}, []string{"1"}},
		{SFT, "trainer.global_batch", []string{"0"}, []string{"1"}},
		{Reward, "normalise", []string{"{policy: p, samples: 1}"}, []string{"{policy: p, samples: 2}"}},
	} {
		for _, v := range r.bad {
			p := problems(t, minimal[r.stage], r.key+"="+v)
			if len(p) != 1 || !strings.HasPrefix(p[0].Key, r.key) || !strings.Contains(p[0].Message, "must be ") {
				t.Errorf("%s=%s: %v, want one range problem", r.key, v, &Errors{p})
			}
		}
		for _, v := range r.good {
			must(t, minimal[r.stage], fmt.Sprintf("%s=%s", r.key, v))
		}
	}
}
