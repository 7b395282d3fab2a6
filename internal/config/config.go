package config

// The stages of training: the values of Config.Stage.
const (
	SFT    = "sft"
	Reward = "reward"
	PPO    = "ppo"
)

// Config is a whole run. Load fills every key that its stage knows; keys of
// other stages keep their zero value.
type Config struct {
	Stage           string     `yaml:"stage" oneof:"sft reward ppo" required:"always" doc:"what is trained: a policy on answers, a reward model on preferences, or a policy by PPO"`
	Run             Run        `yaml:"run" doc:"name, place and seed of the run"`
	Device          Device     `yaml:"device" resume:"free" doc:"what computes"`
	Model           Model      `yaml:"model" doc:"the models of the run, each a Hugging Face directory or a run directory (its newest good checkpoint); relative paths start at the working directory"`
	Parallel        Parallel   `yaml:"parallel" resume:"free" doc:"how the work is laid out over ranks; tensor * pipeline * data ranks in all"`
	Batching        Batching   `yaml:"batching" resume:"free" doc:"how sequences are packed; changes memory and speed, and results by rounding alone"`
	Optimizer       Optimizer  `yaml:"optimizer" stage:"sft reward" doc:"optimizer of the one model that is trained; policy_optimizer and value_optimizer have the same keys"`
	PolicyOptimizer Optimizer  `yaml:"policy_optimizer" stage:"ppo" doc:"optimizer of the policy; keys as in optimizer"`
	ValueOptimizer  Optimizer  `yaml:"value_optimizer" stage:"ppo" doc:"optimizer of the value model; keys as in optimizer"`
	Trainer         Trainer    `yaml:"trainer" doc:"the algorithm"`
	Trajectory      Trajectory `yaml:"trajectory" stage:"reward ppo" doc:"how responses are sampled (stage reward: those of normalise)"`
	DataRoot        string     `yaml:"data_root" default:"." resume:"path" doc:"folder where relative paths of data start"`
	Data            []Source   `yaml:"data" doc:"mixture of data sets; a run needs one, unless trajectory.replay is given"`
	Normalise       *Normalise `yaml:"normalise" stage:"reward" doc:"stores a gain and a bias with the reward model, so that samples of a policy score mean 0 and standard deviation 1; off unless given"`
	Checkpoint      Checkpoint `yaml:"checkpoint" resume:"free" doc:"when checkpoints are written"`
	Log             Log        `yaml:"log" resume:"free" doc:"what is shown; metrics.jsonl always holds everything"`
}

// Run names the run and its directory.
type Run struct {
	Name string `yaml:"name" derived:"the stage" resume:"free" doc:"label in reports and on screen"`
	Dir  string `yaml:"dir" derived:"runs/NAME" resume:"free" doc:"run directory, relative to the working directory"`
	Seed uint64 `yaml:"seed" default:"1" doc:"root of every random number: initial head, data order, sampling"`
}

// Device says what computes.
type Device struct {
	Backend string `yaml:"backend" default:"cpu" oneof:"cpu cuda" doc:"where the arithmetic runs; cuda needs alfred-cuda"`
	Threads int    `yaml:"threads" default:"0" range:"[0,1024]" unit:"threads" doc:"threads of the cpu backend; 0: one per core; stays 0 under cuda"`
}

// Model names the models of a run.
type Model struct {
	Policy     string      `yaml:"policy" stage:"sft ppo" required:"sft ppo" resume:"path" doc:"language model to train" from:"card"`
	Reference  string      `yaml:"reference" stage:"ppo" derived:"model.policy" resume:"path" doc:"frozen model that the KL penalty holds the policy to" from:"card"`
	Reward     RewardModel `yaml:"reward" stage:"reward ppo" required:"reward" resume:"path" doc:"stage reward: language model to start from, its head replaced by a score; stage ppo: reward model, rule or HTTP service that scores responses, needed unless trajectory.replay brings the scores" from:"card"`
	Value      string      `yaml:"value" stage:"ppo" derived:"model.reward if that is a model, else the policy's body with a zero head" resume:"path" doc:"value model to start from; shares no parameters" from:"card"`
	Tokenizer  string      `yaml:"tokenizer" resume:"path" doc:"a tokenizer.json, or a folder or run with one, used instead of the model's own"`
	Precision  string      `yaml:"precision" derived:"float32 on cpu, bfloat16 on cuda" oneof:"float32 bfloat16" doc:"type of weights and activations; master weights and optimizer state are always float32" from:"card"`
	RMPosition string      `yaml:"rm_position" stage:"ppo" oneof:"eod last_non_pad" doc:"where a reward model whose pad id equals EOD was trained to be read; such a model is refused without it"`
}

// Parallel lays the ranks out.
type Parallel struct {
	Tensor    int `yaml:"tensor" default:"1" range:"[1,65536]" unit:"ranks" doc:"ranks that share each layer" from:"card: 8"`
	Pipeline  int `yaml:"pipeline" default:"1" range:"[1,65536]" unit:"ranks" doc:"ranks that share the stack of layers" from:"card: 4"`
	Data      int `yaml:"data" default:"1" range:"[1,65536]" unit:"ranks" doc:"replicas that share each batch" from:"card: 4"`
	ZeROStage int `yaml:"zero_stage" default:"0" range:"[0,3]" doc:"what data ranks shard: 0 nothing, 1 optimizer state, 2 and gradients, 3 and weights" from:"arXiv:1910.02054"`
}

// World is the number of ranks.
func (p Parallel) World() int { return p.Tensor * p.Pipeline * p.Data }

// Batching bounds what one forward sees.
type Batching struct {
	MicroBatchTokens int  `yaml:"micro_batch_tokens" default:"4096" range:"[1,)" unit:"tokens" doc:"most tokens in one forward; a sequence is never cut, so the longest must fit"`
	RolloutSlots     int  `yaml:"rollout_slots" stage:"reward ppo" default:"64" range:"[1,)" unit:"sequences" doc:"sequences sampled at once by each data replica"`
	KeepRollouts     bool `yaml:"keep_rollouts" stage:"ppo" default:"true" resume:"free" doc:"let the first policy step of an iteration train on what the sampler's forward passes computed instead of going forward again: the same bits. Done where old_log_probs is rollout, recompute is off, there is one data replica, and ranks then need at most half of the machine's memory; the first iteration of a process goes forward all the same, and so checks the ratio"`
	Recompute        bool `yaml:"recompute" default:"false" doc:"keep only the input of each layer and run its forward again in backward: less memory, a third more work"`
}

// Normalise asks for a reward model of mean 0 and standard deviation 1.
type Normalise struct {
	Policy  string `yaml:"policy" required:"always" resume:"path" doc:"policy whose samples are scored"`
	Samples int    `yaml:"samples" default:"512" range:"[2,)" unit:"responses" doc:"responses sampled, as trajectory says, to prompts of data"`
}

// Checkpoint says when state is saved.
type Checkpoint struct {
	Every   int    `yaml:"every" default:"{ppo: 10, sft: 100, reward: 100}" range:"[1,)" unit:"iterations (ppo), steps" doc:"distance between checkpoints; the last step always writes one"`
	Keep    int    `yaml:"keep" default:"3" range:"[2,)" unit:"checkpoints" doc:"newest checkpoints kept; two at least, so that a good one always remains"`
	OnError string `yaml:"on_error" default:"stop" oneof:"stop continue" doc:"after a failed write: stop (exit code 9), or warn, count and try again at the next one"`
}

// Log says what is shown.
type Log struct {
	TensorBoard  bool `yaml:"tensorboard" default:"true" doc:"write TensorBoard event files"`
	Every        int  `yaml:"every" default:"1" range:"[1,)" unit:"iterations (ppo), steps" doc:"distance between lines on the terminal; thins nothing else"`
	SamplesEvery int  `yaml:"samples_every" stage:"ppo" default:"10" range:"[0,)" unit:"iterations" doc:"distance between tables of sampled responses; 0: none"`
}
