package config

import "testing"

// TestCard takes each value of the Alfred-40B-0723 model card to the field
// that the trainer reads.
func TestCard(t *testing.T) {
	c, err := Load("../../configs/alfred-40b.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	tr, tj := c.Trainer, c.Trajectory
	for _, line := range []struct {
		card      string
		got, want any
	}{
		{"Num Rollouts", tr.NumRollouts, 1024},
		{"Policy Epochs", tr.PolicyEpochs, 1},
		{"Value Epochs", tr.ValueEpochs, 1},
		{"PPO steps/epoch", tr.PPOStepsPerEpoch, 1},
		{"Value steps/epoch", tr.ValueStepsPerEpoch, 8},
		{"Max Steps", tr.MaxSteps, 200},
		{"KL Coef", tr.KLCoef, 0.01},
		{"Gamma", tr.Gamma, 1.0},
		{"GAE Lambda", tr.GAELambda, 0.95},
		{"Clip Range Policy", tr.ClipRangePolicy, 0.2},
		{"Clip Range Value", tr.ClipRangeValue, 0.2},
		{"Whiten Advantages", tr.WhitenAdvantages, true},
		{"Whiten Rewards", tr.WhitenRewards, false},
		{"Score on EOD", tr.ScoreOnEOD, true},
		{"Policy optimizer", c.PolicyOptimizer.Name, "adamw"},
		{"Policy LR", c.PolicyOptimizer.LearningRate, 1.85e-6},
		{"Policy warm-up", c.PolicyOptimizer.WarmupSteps, 10},
		{"Policy decay", c.PolicyOptimizer.Decay, "cosine"},
		{"Policy decay steps", c.PolicyOptimizer.DecaySteps, 100},
		{"Policy final LR", c.PolicyOptimizer.FinalLearningRate, 1.85e-7},
		{"Value optimizer", c.ValueOptimizer.Name, "adamw"},
		{"Value LR", c.ValueOptimizer.LearningRate, 1.85e-6},
		{"Value warm-up", c.ValueOptimizer.WarmupSteps, 10},
		{"Value decay", c.ValueOptimizer.Decay, "cosine"},
		{"Value decay steps", c.ValueOptimizer.DecaySteps, 100},
		{"Value final LR", c.ValueOptimizer.FinalLearningRate, 1.85e-7},
		{"Precision", c.Model.Precision, "bfloat16"},
		{"Continuation Max Len", tj.ContinuationMaxLen, 1024},
		{"Continuation Min Len", tj.ContinuationMinLen, 0},
		{"Top P", tj.TopP, 1.0},
		{"Temperature", tj.Temperature, 1.0},
		{"TP", c.Parallel.Tensor, 8},
		{"PP", c.Parallel.Pipeline, 4},
		{"DP", c.Parallel.Data, 4},
		{"GPUs", c.Parallel.World(), 128},
		{"ZeRO", c.Parallel.ZeROStage, 1},
		{"Value model from the reward model", c.Model.Value, "models/alfred-rm"},
		{"one response per prompt", tj.ResponsesPerPrompt, 1},
	} {
		if line.got != line.want {
			t.Errorf("%s: got %v, want %v", line.card, line.got, line.want)
		}
	}

	// What the card says is also what a PPO config gets that says nothing.
	d := must(t, minimalPPO)
	tr.RatioTolerance = 0 // cpu
	if d.Trainer != tr || d.Trajectory != tj || d.PolicyOptimizer.Betas != c.PolicyOptimizer.Betas || d.PolicyOptimizer.LearningRate != 1.85e-6 {
		t.Errorf("defaults differ from the card:\n%+v\n%+v\n%+v", d.Trainer, d.Trajectory, d.PolicyOptimizer)
	}
}

func TestCardDataMixture(t *testing.T) {
	c, err := Load("../../configs/alfred-40b.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		source, render string
		shots          int
	}{{"oasst1", "chat", 0}, {"hh-rlhf", "chat", 0}, {"dolly", "instruction", 0}, {"natinst", "few_shot", 3}, {"prompts", "", 0}}
	if len(c.Data) != len(want) || c.DataRoot != "data" {
		t.Fatalf("data: %d sources below %q", len(c.Data), c.DataRoot)
	}
	for i, w := range want {
		if s := c.Data[i]; s.Source != w.source || s.Render != w.render || s.Shots != w.shots || s.Weight != 1 {
			t.Errorf("data.%d: %+v, want %+v with weight 1", i, s, w)
		}
	}
}
