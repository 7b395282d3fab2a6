package config

// Trainer is the algorithm. Names and defaults of the PPO keys are those of
// the Alfred-40B-0723 model card.
type Trainer struct {
	// Stages sft and reward.

	GlobalBatch int    `yaml:"global_batch" stage:"sft reward" default:"64" range:"[1,)" unit:"samples (sft), lists (reward)" doc:"size of an optimizer step over all ranks; a pair is a list of two"`
	MaxLen      int    `yaml:"max_len" stage:"sft reward" default:"2048" range:"[2,)" unit:"tokens" doc:"longest sample; longer ones are dropped and counted"`
	Epochs      int    `yaml:"epochs" stage:"sft" range:"[1,)" zero:"omit" unit:"passes" doc:"length of the run in passes over the data, instead of max_steps"`
	LossTurns   string `yaml:"loss_turns" stage:"sft" default:"last" oneof:"last all" doc:"assistant turns that carry the loss, their EOD included"`

	// All stages.

	MaxSteps  int     `yaml:"max_steps" default:"{ppo: 200, sft: 1000, reward: 500}" range:"[1,)" zero:"omit" unit:"iterations (ppo), steps" resume:"free" doc:"length of the run" from:"card (ppo)"`
	EvalShare float64 `yaml:"eval_share" default:"{ppo: 0.02, sft: 0.02, reward: 0.05}" range:"[0,1)" unit:"share" doc:"share of prompts held out, chosen by hash; conversations go by system message and first user turn, oasst1 by tree; stage ppo samples at most num_rollouts of them; 0: none, and no evaluation"`
	EvalEvery int     `yaml:"eval_every" default:"{ppo: 10, sft: 100, reward: 50}" range:"[0,)" unit:"iterations (ppo), steps" doc:"distance between evaluations on what is held out; 0: never"`

	// Stage ppo: sizes.

	NumRollouts           int `yaml:"num_rollouts" stage:"ppo" default:"1024" range:"[1,)" unit:"responses" doc:"responses sampled per iteration, over all ranks" from:"card"`
	PolicyEpochs          int `yaml:"policy_epochs" stage:"ppo" default:"1" range:"[1,)" unit:"passes" doc:"passes of the policy over an iteration's rollouts" from:"card"`
	ValueEpochs           int `yaml:"value_epochs" stage:"ppo" default:"1" range:"[1,)" unit:"passes" doc:"passes of the value model over an iteration's rollouts" from:"card"`
	PPOStepsPerEpoch      int `yaml:"ppo_steps_per_epoch" stage:"ppo" default:"1" range:"[1,)" unit:"optimizer steps" doc:"policy steps per pass; each takes a contiguous slice of the rollouts" from:"card"`
	ValueStepsPerEpoch    int `yaml:"value_steps_per_epoch" stage:"ppo" default:"8" range:"[1,)" unit:"optimizer steps" doc:"value steps per pass" from:"card"`
	ValueWarmupIterations int `yaml:"value_warmup_iterations" stage:"ppo" default:"0" range:"[0,)" unit:"iterations" doc:"first iterations, in which only the value model is trained"`

	// Stage ppo: objective.

	KLCoef           float64     `yaml:"kl_coef" stage:"ppo" default:"0.01" range:"[0,)" doc:"weight β of the per-token KL penalty; where it starts, with adaptive_kl" from:"card"`
	KLEstimator      string      `yaml:"kl_estimator" stage:"ppo" default:"k1" oneof:"k1 k2 k3" doc:"estimator of the penalty from d = log π - log π_ref: k1 = d, k2 = d²/2, k3 = exp(-d) - 1 + d" from:"Schulman, Approximating KL divergence"`
	AdaptiveKL       *AdaptiveKL `yaml:"adaptive_kl" stage:"ppo" doc:"steers kl_coef towards a target; off unless given" from:"arXiv:1909.08593, section 2.2"`
	Gamma            float64     `yaml:"gamma" stage:"ppo" default:"1.0" range:"[0,1]" doc:"discount γ per token" from:"card"`
	GAELambda        float64     `yaml:"gae_lambda" stage:"ppo" default:"0.95" range:"[0,1]" doc:"λ of generalised advantage estimation" from:"card; arXiv:1506.02438"`
	ClipRangePolicy  float64     `yaml:"clip_range_policy" stage:"ppo" default:"0.2" range:"(0,)" doc:"ε: the ratio is clipped to [1-ε, 1+ε]" from:"card; arXiv:1707.06347, equation 7"`
	ClipRangeValue   float64     `yaml:"clip_range_value" stage:"ppo" default:"0.2" range:"(0,)" doc:"the value is clipped to this distance from its rollout-time value; absolute, so it goes with the scale of the scores" from:"card"`
	WhitenAdvantages bool        `yaml:"whiten_advantages" stage:"ppo" default:"true" doc:"scale advantages to mean 0, variance 1 over all response tokens of the iteration (population variance)" from:"card"`
	WhitenRewards    bool        `yaml:"whiten_rewards" stage:"ppo" default:"false" doc:"scale rewards to variance 1, their mean kept" from:"card"`
	ScoreOnEOD       bool        `yaml:"score_on_eod" stage:"ppo" default:"true" doc:"true: the reward model is read at EOD and paid there; false: read and paid at the token before it, or, if EOD comes first, read at the last prompt token and paid at EOD" from:"card"`
	MissingEOD       MissingEOD  `yaml:"missing_eod" stage:"ppo" default:"last_token" doc:"a response cut by length, which has no EOD: last_token reads and pays at its last token; zero scores 0; {penalty: x} scores x; mask leaves it out of the policy's loss, whitening and denominator, not of the value model's"`
	RewardClip       float64     `yaml:"reward_clip" stage:"ppo" default:"0.0" range:"[0,)" unit:"score" doc:"scores are clamped to ± this, and counted; 0: never"`
	EntropyCoef      float64     `yaml:"entropy_coef" stage:"ppo" default:"0.0" range:"[0,)" doc:"weight of the entropy bonus in the policy loss; 0: none"`
	EarlyStopKL      float64     `yaml:"early_stop_kl" stage:"ppo" default:"0.0" range:"[0,)" unit:"nats per token" doc:"approx_kl above which the remaining policy steps of the iteration are dropped, and counted; 0: never"`
	OldLogProbs      string      `yaml:"old_log_probs" stage:"ppo" default:"rollout" oneof:"rollout training" resume:"free" doc:"where the log-probs before the update come from: rollout takes those of the sampler; training runs the policy over all responses once more, and compares (sampler_logprob_max_error). On cpu the two are the same bits"`
	RatioTolerance   float64     `yaml:"ratio_tolerance" stage:"ppo" derived:"0 on cpu, 1e-3 on cuda" range:"[0,)" resume:"free" doc:"largest distance of the ratio from 1 at the first policy step of an iteration, where it is 1 by construction; more stops the run, exit code 8"`
}

// AdaptiveKL multiplies kl_coef, after an iteration of n responses, by
// 1 + clip(KL/target - 1, -0.2, 0.2) * n/horizon (arXiv:1909.08593, section 2.2).
type AdaptiveKL struct {
	Target  float64 `yaml:"target" default:"6.0" range:"(0,)" unit:"nats per response" doc:"KL to steer to" from:"arXiv:1909.08593"`
	Horizon float64 `yaml:"horizon" default:"10000" range:"(0,)" unit:"responses" doc:"time constant; at least a fifth of num_rollouts" from:"arXiv:1909.08593"`
}

// Trajectory is how responses are sampled.
type Trajectory struct {
	ContinuationMaxLen int     `yaml:"continuation_max_len" default:"1024" range:"[1,)" unit:"tokens" doc:"longest response, EOD included" from:"card"`
	ContinuationMinLen int     `yaml:"continuation_min_len" default:"0" range:"[0,)" unit:"tokens" doc:"EOD is not sampled before this many tokens; above 0 the behaviour policy differs from the model" from:"card"`
	TopP               float64 `yaml:"top_p" default:"1.0" range:"(0,1]" doc:"nucleus sampling; 1: off" from:"card"`
	TopK               int     `yaml:"top_k" default:"0" range:"[0,)" unit:"tokens" doc:"sample among the k likeliest tokens; 0: off"`
	Temperature        float64 `yaml:"temperature" default:"1.0" range:"[0.001,)" doc:"divides the logits of the policy, and of the reference; at the lower end, far from where float32 overflows, the likeliest token is as good as certain" from:"card"`
	PromptMaxLen       int     `yaml:"prompt_max_len" default:"1024" range:"[1,)" unit:"tokens" doc:"longest prompt; longer ones are dropped and counted"`
	ResponsesPerPrompt int     `yaml:"responses_per_prompt" stage:"ppo" default:"1" range:"[1,)" unit:"responses" doc:"responses sampled for each prompt drawn; those on one data rank share what is computed of the prompt, in whole pages of 16 tokens, short of its last token" from:"card"`
	Record             bool    `yaml:"record" stage:"ppo" default:"false" doc:"write each iteration's trajectories to trajectories/ of the run directory, in the form that replay reads"`
	Replay             string  `yaml:"replay" stage:"ppo" resume:"path" doc:"folder of recorded trajectories, one file per iteration in name order, used instead of sampling; needs no data, and no reward model if every line has a score"`
}
