package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// crossCheck reports keys that contradict each other, defaults included. A
// check looks only at keys that have no problem of their own. What depends on
// a model's own config.json (context length, heads) is not checked here.
func (d *decoder) crossCheck(c *Config) {
	if name := c.Run.Name; strings.ContainsAny(name, "/\\\n") {
		d.conflict("cannot hold a slash or a line break; run.dir is the place for a path", "run.name")
	}
	if c.Device.Backend == "cuda" && c.Device.Threads != 0 {
		d.conflict(fmt.Sprintf("device.threads (%d) is for the cpu backend; device.backend is cuda", c.Device.Threads), "device.threads", "device.backend")
	}
	for name, o := range c.optimizers() {
		d.checkOptimizer(c, name, o)
	}
	d.checkData(c)
	if c.Stage == PPO {
		d.checkPPO(c)
		d.checkReward(c)
	} else {
		d.checkSupervised(c)
	}
	d.checkTrajectory(c)
}

// conflict reports a message at the first of the keys that is given, unless
// one of them has a problem already.
func (d *decoder) conflict(message string, keys ...string) {
	at := keys[0]
	for i := len(keys) - 1; i >= 0; i-- {
		if d.isBad(keys[i]) {
			return
		}
		if d.given[keys[i]] != nil {
			at = keys[i]
		}
	}
	d.problem(d.nearest(at), at, message)
	delete(d.bad, at) // other checks may still look at it
}

// atMost reports key a when it is above key b.
func (d *decoder) atMost(keyA string, a int, keyB string, b int) {
	if a > b {
		d.conflict(fmt.Sprintf("%s (%d) must not exceed %s (%d)", keyA, a, keyB, b), keyA, keyB)
	}
}

// multiple reports key a when key b does not divide it.
func (d *decoder) multiple(keyA string, a int, keyB string, b int) {
	if b > 0 && a%b != 0 {
		d.conflict(fmt.Sprintf("%s (%d) must be a multiple of %s (%d), such as %d", keyA, a, keyB, b, a-a%b+b), keyA, keyB)
	}
}

func (d *decoder) checkOptimizer(c *Config, name string, o *Optimizer) {
	lr, final := name+".learning_rate", name+".final_learning_rate"
	if o.Decay == "constant" {
		if o.FinalLearningRate != o.LearningRate {
			d.conflict(fmt.Sprintf("%s (%s) must equal %s (%s) with decay: constant; leave it out", final, number(o.FinalLearningRate), lr, number(o.LearningRate)), final, lr, name+".decay")
		}
	} else {
		d.atMost(name+".warmup_steps", o.WarmupSteps, name+".decay_steps", o.DecaySteps)
		if o.FinalLearningRate > o.LearningRate {
			d.conflict(fmt.Sprintf("%s (%s) must not exceed %s (%s)", final, number(o.FinalLearningRate), lr, number(o.LearningRate)), final, lr)
		}
	}
	if c.Stage != PPO && o.ScheduleUnit == "iteration" {
		d.conflict(fmt.Sprintf("iteration belongs to stage ppo; stage %s counts optimizer_step", c.Stage), name+".schedule_unit")
	}
}

func (d *decoder) checkPPO(c *Config) {
	t, rollouts := c.Trainer, "trainer.num_rollouts"
	d.multiple(rollouts, t.NumRollouts, "trajectory.responses_per_prompt", c.Trajectory.ResponsesPerPrompt)
	d.multiple(rollouts, t.NumRollouts, "parallel.data", c.Parallel.Data)
	d.atMost("trainer.ppo_steps_per_epoch", t.PPOStepsPerEpoch, rollouts, t.NumRollouts)
	d.atMost("trainer.value_steps_per_epoch", t.ValueStepsPerEpoch, rollouts, t.NumRollouts)
	if a := t.AdaptiveKL; a != nil {
		horizon := "trainer.adaptive_kl.horizon"
		if 5*a.Horizon <= float64(t.NumRollouts) {
			d.conflict(fmt.Sprintf("%s (%s) must be above a fifth of %s (%d), or kl_coef can fall to 0 in one iteration", horizon, number(a.Horizon), rollouts, t.NumRollouts), horizon, rollouts)
		}
		if t.KLCoef == 0 {
			d.conflict("trainer.adaptive_kl scales trainer.kl_coef, which is 0 and would stay 0", "trainer.kl_coef", "trainer.adaptive_kl")
		}
	}
}

func (d *decoder) checkReward(c *Config) {
	r := c.Model.Reward
	switch {
	case !r.Given() && c.Trajectory.Replay == "":
		d.conflict("required in stage ppo: a model, {rule: ...} or {http: ...}; only trajectory.replay can bring scores instead", "model.reward")
	case r.Rule != nil && r.Rule.Pattern != "":
		if _, err := regexp.Compile(r.Rule.Pattern); err != nil {
			d.conflict(strings.TrimPrefix(err.Error(), "error parsing regexp: "), "model.reward.pattern")
		}
	case r.HTTP != nil && r.HTTP.URL != "":
		u, err := url.Parse(r.HTTP.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			d.conflict(fmt.Sprintf("expects an address like http://127.0.0.1:8000/score, got %q", shorten(r.HTTP.URL)), "model.reward.http.url")
		}
	}
	if c.Model.RMPosition != "" && r.Given() && r.Path == "" {
		d.conflict("model.rm_position says where a reward model is read; model.reward is none", "model.rm_position", "model.reward")
	}
}

// checkSupervised checks the sizes of stages sft and reward.
func (d *decoder) checkSupervised(c *Config) {
	t := c.Trainer
	d.atMost("parallel.data", c.Parallel.Data, "trainer.global_batch", t.GlobalBatch)
	maxLen, tokens := "trainer.max_len", "batching.micro_batch_tokens"
	if c.Stage == SFT {
		d.atMost(maxLen, t.MaxLen, tokens, c.Batching.MicroBatchTokens)
	} else if 2*t.MaxLen > c.Batching.MicroBatchTokens {
		d.conflict(fmt.Sprintf("a pair of %s (%d) must fit %s (%d); a list is never cut", maxLen, t.MaxLen, tokens, c.Batching.MicroBatchTokens), maxLen, tokens)
	}
	if t.Epochs > 0 && t.MaxSteps > 0 {
		d.conflict(fmt.Sprintf("trainer.epochs (%d) and trainer.max_steps (%d) both set the length of the run; give one", t.Epochs, t.MaxSteps), "trainer.epochs", "trainer.max_steps")
	}
	if r := c.Model.Reward; r.Rule != nil || r.HTTP != nil {
		d.conflict("stage reward trains a model: expects a path", "model.reward")
	}
}

func (d *decoder) checkTrajectory(c *Config) {
	if c.Stage == SFT {
		return
	}
	t, most, tokens := c.Trajectory, "trajectory.continuation_max_len", "batching.micro_batch_tokens"
	d.atMost("trajectory.continuation_min_len", t.ContinuationMinLen, most, t.ContinuationMaxLen)
	samples := c.Stage == PPO || c.Normalise != nil
	if sum := t.PromptMaxLen + t.ContinuationMaxLen; samples && sum > c.Batching.MicroBatchTokens {
		d.conflict(fmt.Sprintf("trajectory.prompt_max_len (%d) + %s (%d) must not exceed %s (%d)", t.PromptMaxLen, most, t.ContinuationMaxLen, tokens, c.Batching.MicroBatchTokens),
			"trajectory.prompt_max_len", most, tokens)
	}
}

func (d *decoder) checkData(c *Config) {
	weight := 0.0
	for i, s := range c.Data {
		at := "data." + strconv.Itoa(i) + "."
		weight += s.Weight
		ranked := s.Source == "hh-rlhf" || s.Source == "pairs"
		switch {
		case s.Source == "":
		case c.Stage == Reward && !ranked && s.Source != "oasst1":
			d.conflict(fmt.Sprintf("%s holds no preferences; stage reward takes oasst1, hh-rlhf and pairs", s.Source), at+"source")
		case c.Stage == SFT && ranked && s.Use != "chosen":
			d.conflict(fmt.Sprintf("%s holds preferences; say use: chosen to train on its chosen answers", s.Source), at+"source", at+"use")
		}
		if s.Render == "few_shot" && s.Source != "natinst" {
			d.conflict(fmt.Sprintf("few_shot shows the examples of a natinst task; source %s has none", s.Source), at+"render", at+"source")
		}
		if s.Shots > 0 && s.Render != "few_shot" {
			d.conflict(fmt.Sprintf("%sshots (%d) is for render few_shot; %srender is %q", at, s.Shots, at, s.Render), at+"shots", at+"render", at+"source")
		}
	}
	if len(c.Data) > 0 && weight == 0 {
		d.conflict("every source has weight 0; one at least must be above", "data")
	}
}

// Runnable reports what a config lacks to be run although it loads, as
// LoadRunnable would with its place. It is nil when the run can start, as far
// as the config tells.
func (c *Config) Runnable() error {
	if lacks := c.lacks(); lacks != "" {
		return &Errors{[]Problem{{Key: "data", Message: lacks}}}
	}
	return nil
}

// lacks is what a run needs besides, which is data; "" for nothing.
func (c *Config) lacks() string {
	if len(c.Data) > 0 || c.Trajectory.Replay != "" {
		return ""
	}
	message := "a run needs at least one source, such as {source: oasst1, path: trees.jsonl.gz}"
	if c.Stage == PPO {
		message += ", or trajectory.replay"
	}
	return message
}
