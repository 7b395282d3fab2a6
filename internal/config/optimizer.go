package config

// Optimizer is one model's optimizer and its schedule. The learning rate of
// update s = 0, 1, ... is learning_rate * (s+1) / warmup_steps while
// s < warmup_steps, then follows decay from there to decay_steps, then stays
// at final_learning_rate.
type Optimizer struct {
	Name                string     `yaml:"name" default:"adamw" oneof:"adamw" doc:"AdamW in PyTorch's form: eps outside the square root, after bias correction" from:"card; arXiv:1711.05101"`
	LearningRate        float64    `yaml:"learning_rate" default:"{ppo: 1.85e-6, sft: 1.0e-5, reward: 9.0e-6}" range:"[0,)" doc:"peak learning rate" from:"card (ppo); arXiv:2203.02155 (reward)"`
	WarmupSteps         int        `yaml:"warmup_steps" default:"{ppo: 10, sft: 50, reward: 20}" range:"[0,)" unit:"schedule_unit" doc:"length of the linear warm-up, which starts above 0" from:"card (ppo)"`
	Decay               string     `yaml:"decay" default:"cosine" oneof:"cosine linear constant" doc:"course from the end of the warm-up to decay_steps" from:"card"`
	DecaySteps          int        `yaml:"decay_steps" default:"{ppo: 100, sft: 1000, reward: 500}" range:"[1,)" unit:"schedule_unit" doc:"where final_learning_rate is reached; counts the warm-up" from:"card (ppo)"`
	FinalLearningRate   float64    `yaml:"final_learning_rate" derived:"learning_rate / 10; learning_rate itself with decay constant" range:"[0,)" doc:"learning rate from decay_steps on" from:"card (ppo)"`
	Betas               [2]float64 `yaml:"betas" default:"[0.9, 0.95]" range:"[0,1)" doc:"decay rates of the two moments"`
	Eps                 float64    `yaml:"eps" default:"1.0e-8" range:"[1e-37,)" doc:"added to the root of the second moment; less would be 0 in float32"`
	WeightDecay         float64    `yaml:"weight_decay" default:"0.0" range:"[0,)" doc:"decoupled weight decay"`
	MaxGradNorm         float64    `yaml:"max_grad_norm" default:"1.0" range:"[0,)" doc:"global gradient norm above which gradients are scaled down; 0: never"`
	ScheduleUnit        string     `yaml:"schedule_unit" default:"{ppo: iteration, sft: optimizer_step, reward: optimizer_step}" oneof:"iteration optimizer_step" doc:"what the schedule counts; iteration (ppo only) gives all steps of an iteration one learning rate"`
	DecayNormsAndBiases bool       `yaml:"decay_norms_and_biases" default:"false" doc:"whether weight_decay also applies to layer norms and biases"`
}
