package telemetry

// Name is the name of a metric, the same in metrics.jsonl, TensorBoard and reports.
type Name string

// Unit is what a run counts its steps in; it is also the first key of a line of metrics.jsonl.
type Unit string

const (
	Iteration Unit = "iteration" // PPO: one round of rollouts and updates
	Step      Unit = "step"      // supervised and reward training: one optimizer step
)

// The metrics that every reader of a run may rely on. A stage writes those that it has; it may add others.
const (
	LRPolicy               Name = "lr_policy"
	LRValue                Name = "lr_value"
	LR                     Name = "lr"
	Loss                   Name = "loss"
	ScoreMean              Name = "score_mean"
	ScoreStd               Name = "score_std"
	ScoreHeldout           Name = "score_heldout"
	ScoreHeldoutStderr     Name = "score_heldout_stderr"
	ClippedScores          Name = "clipped_scores"
	RewardMean             Name = "reward_mean"
	KL                     Name = "kl"
	KLCoef                 Name = "kl_coef"
	Entropy                Name = "entropy"
	PolicyLoss             Name = "policy_loss"
	ValueLoss              Name = "value_loss"
	GradNorm               Name = "grad_norm"
	PolicyGradNorm         Name = "policy_grad_norm"
	ValueGradNorm          Name = "value_grad_norm"
	ApproxKL               Name = "approx_kl"
	RatioMaxError          Name = "ratio_max_error"
	PolicyClipFraction     Name = "policy_clip_fraction"
	ValueClipFraction      Name = "value_clip_fraction"
	ExplainedVariance      Name = "explained_variance"
	AdvantageMean          Name = "advantage_mean"
	ReturnMean             Name = "return_mean"
	ResponseLengthMean     Name = "response_length_mean"
	EODRate                Name = "eod_rate"
	PromptsSeen            Name = "prompts_seen"
	TokensSeen             Name = "tokens_seen"
	SkippedSteps           Name = "skipped_steps"
	DroppedPolicySteps     Name = "dropped_policy_steps"
	SamplerLogProbMaxError Name = "sampler_logprob_max_error"
	EvalLoss               Name = "eval_loss"
	Accuracy               Name = "accuracy"
	AccuracyStderr         Name = "accuracy_stderr"
	MarginMean             Name = "margin_mean"
	MarginStderr           Name = "margin_stderr"
)

// Definition is a metric's name and its meaning in one line.
type Definition struct {
	Name    Name
	Meaning string
}

var definitions = []Definition{
	{LRPolicy, "learning rate of the policy"},
	{LRValue, "learning rate of the value model"},
	{LR, "learning rate"},
	{Loss, "training loss of the step"},
	{ScoreMean, "mean score of the responses"},
	{ScoreStd, "standard deviation of the scores"},
	{ScoreHeldout, "mean score on held-out prompts"},
	{ScoreHeldoutStderr, "standard error of score_heldout"},
	{ClippedScores, "scores of the iteration that trainer.reward_clip has cut"},
	{RewardMean, "mean over responses of the sum of rewards: score minus KL penalty"},
	{KL, "mean over responses of the summed log-ratio of policy and reference, nats"},
	{KLCoef, "KL coefficient"},
	{Entropy, "mean entropy of the policy per token, nats"},
	{PolicyLoss, "clipped surrogate loss of the policy"},
	{ValueLoss, "clipped value loss, one per value step"},
	{GradNorm, "gradient norm before clipping"},
	{PolicyGradNorm, "gradient norm of the policy before clipping"},
	{ValueGradNorm, "gradient norm of the value model before clipping"},
	{ApproxKL, "half the mean squared log-ratio of new and old policy, nats"},
	{RatioMaxError, "largest distance of a probability ratio from 1 at the first policy step (0 by construction where that trains on what the sampler computed, batching.keep_rollouts)"},
	{PolicyClipFraction, "share of tokens whose policy loss was clipped"},
	{ValueClipFraction, "share of tokens whose value loss was clipped"},
	{ExplainedVariance, "share of the returns' variance that rollout-time values explain"},
	{AdvantageMean, "mean advantage before whitening"},
	{ReturnMean, "mean return per token"},
	{ResponseLengthMean, "mean length of the responses, tokens"},
	{EODRate, "share of responses that ended with EOD"},
	{PromptsSeen, "prompts drawn since the run began"},
	{TokensSeen, "tokens trained on since the run began"},
	{SkippedSteps, "optimizer steps skipped since the run began because of bad numbers"},
	{DroppedPolicySteps, "policy steps of the iteration that trainer.early_stop_kl has left out"},
	{SamplerLogProbMaxError, "largest difference between a sampler's and the trainer's log-prob"},
	{EvalLoss, "loss on held-out data"},
	{Accuracy, "share of held-out pairs ranked right"},
	{AccuracyStderr, "standard error of the accuracy"},
	{MarginMean, "mean score margin of held-out pairs"},
	{MarginStderr, "standard error of margin_mean"},
}

// Definitions lists the known metrics in the order in which they are written.
func Definitions() []Definition { return append([]Definition(nil), definitions...) }

// position orders names: known ones as in definitions, others after them.
var position = func() map[Name]int {
	m := make(map[Name]int, len(definitions))
	for i, d := range definitions {
		m[d.Name] = i
	}
	return m
}()

// compareNames orders known metrics by their place in the list and others by name, after them.
func compareNames(a, b Name) int {
	i, known := position[a]
	j, otherKnown := position[b]
	switch {
	case known && otherKnown:
		return i - j
	case known:
		return -1
	case otherKnown:
		return 1
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
