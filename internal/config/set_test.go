package config

import "testing"

func TestSet(t *testing.T) {
	const base = `stage: ppo
x-t: &t {adaptive_kl: {target: 3, horizon: 5000}}
model: {policy: p, reward: m}
policy_optimizer: &opt {eps: 1.0e-7, decay_steps: 50}
value_optimizer: *opt
trainer:
  <<: *t
data:
  - {source: dolly, path: a}
`
	c := must(t, base,
		"trainer.kl_coef=0.5",
		"trainer.kl_coef=0.25", // later ones win
		"policy_optimizer.eps=1e-9",
		"value_optimizer.decay_steps=60",
		"trainer.adaptive_kl.target=4",
		"data.0.path=b",
		"data.1={source: prompts, path: c}",
		"data.2.source=prompts", "data.2.path=1984",
		"run.name=2024",
		"log={every: 2}",
		"device=",
	)
	if c.Trainer.KLCoef != 0.25 {
		t.Errorf("kl_coef %g, want 0.25", c.Trainer.KLCoef)
	}
	if p, v := c.PolicyOptimizer, c.ValueOptimizer; p.Eps != 1e-9 || v.Eps != 1e-7 || p.DecaySteps != 50 || v.DecaySteps != 60 {
		t.Errorf("an anchor and its alias change apart: policy eps %g, decay_steps %d; value eps %g, decay_steps %d", p.Eps, p.DecaySteps, v.Eps, v.DecaySteps)
	}
	if a := *c.Trainer.AdaptiveKL; a != (AdaptiveKL{4, 5000}) {
		t.Errorf("inside a merged section: %+v, want target 4 and the merged horizon", a)
	}
	if len(c.Data) != 3 || c.Data[0].Path != "b" || c.Data[0].Source != "dolly" || c.Data[1].Path != "c" || c.Data[2].Path != "1984" {
		t.Errorf("data: %+v", c.Data)
	}
	if c.Run.Name != "2024" || c.Log.Every != 2 || c.Device.Backend != "cpu" {
		t.Errorf("run %+v, log %+v, device %+v", c.Run, c.Log, c.Device)
	}
}

func TestSetOnNothing(t *testing.T) {
	c := must(t, "", "stage=sft", "model.policy=p", "data.0.source=dolly", "data.0.path=x")
	if c.Stage != SFT || c.Model.Policy != "p" || len(c.Data) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestSetProblems(t *testing.T) {
	for set, want := range map[string]string{
		"trainer.max_stepz=3":      `--set trainer.max_stepz=3: trainer.max_stepz: unknown key; did you mean "max_steps"?`,
		"max_steps=3":              `--set max_steps=3: max_steps: unknown key; did you mean "trainer.max_steps"?`,
		"trainer.max_steps=many":   `--set trainer.max_steps=many: trainer.max_steps: expects a whole number, got the text "many"`,
		"trainer.max_len=3":        `--set trainer.max_len=3: trainer.max_len: belongs to stage sft or reward; this is stage ppo`,
		"trainer.num_rollouts=7":   `--set trainer.num_rollouts=7: trainer.num_rollouts: trainer.value_steps_per_epoch (8) must not exceed trainer.num_rollouts (7)`,
		"trainer":                  `--set trainer: expects KEY=VALUE, as in trainer.max_steps=10 or data.0.path=own.jsonl`,
		"":                         `--set : expects KEY=VALUE, as in trainer.max_steps=10 or data.0.path=own.jsonl`,
		"trainer..x=3":             `--set trainer..x=3: expects KEY=VALUE, as in trainer.max_steps=10 or data.0.path=own.jsonl`,
		"=3":                       `--set =3: expects KEY=VALUE, as in trainer.max_steps=10 or data.0.path=own.jsonl`,
		"log.every=[":              `--set log.every=[: log.every: the value is not valid YAML: line 1: did not find expected node content`,
		"log.every=1\n---\n2":      "--set log.every=1\n---\n2: log.every: the value is not valid YAML: more than one value",
		"log.every=\xff":           "--set log.every=\xff: log.every: byte 0xff is not UTF-8; save the file as UTF-8",
		"stage.x=3":                `--set stage.x=3: stage.x: cannot set "x" inside the text "ppo"`,
		"data.2.path=x":            `--set data.2.path=x: data.2.path: "2" is not an index of a list of 1 (one past the end appends)`,
		"data.path=x":              `--set data.path=x: data.path: "path" is not an index of a list of 1 (one past the end appends)`,
		"data.01.path=x":           `--set data.01.path=x: data.01.path: "01" is not an index of a list of 1 (one past the end appends)`,
		"data.+0.path=x":           `--set data.+0.path=x: data.+0.path: "+0" is not an index of a list of 1 (one past the end appends)`,
		"data.0.languages.1=x":     `--set data.0.languages.1=x: data.0.languages.1: "1" is not an index of a list that the file leaves out or empty; set all of it, as in KEY=[a, b]`,
		"data.-1.path=x":           `--set data.-1.path=x: data.-1.path: "-1" is not an index of a list of 1 (one past the end appends)`,
		"x-a.b=3":                  `--set x-a.b=3: x-a.b: x- keys only hold anchors, which are followed before; set the key that uses it`,
		"trainer.<<={gamma: 1}":    `--set trainer.<<={gamma: 1}: trainer.<<: a merge cannot be set; set the keys themselves`,
		"run.seed=*x":              `--set run.seed=*x: run.seed: the value is not valid YAML: unknown anchor 'x' referenced`,
		"log={every: 1, every: 2}": `--set log={every: 1, every: 2}: log.every: given twice`,
		"run.name=!!str x":         `--set run.name=!!str x: run.name: values carry no tags here; take !!str away`,
	} {
		text := minimalPPO + "data: [{source: dolly, path: a}]\n"
		if p := only(t, text, set); p.String() != want {
			t.Errorf("got  %s\nwant %s", p, want)
		}
	}
	if p := only(t, minimalPPO, "data.0.path=x"); p.String() != "--set data.0.path=x: data.0.source: required: oasst1, hh-rlhf, dolly, natinst, prompts or pairs" {
		t.Errorf("got %s", p)
	}
}

func TestSetKeepsTheOrderOfProblems(t *testing.T) {
	all := problems(t, minimalPPO+"zebra: 1\n", "b.c=1", "a=2")
	if len(all) != 3 || all[0].Key != "zebra" || all[1].Key != "b" || all[2].Key != "a" {
		t.Errorf("the file first, then the flags in order; got\n%v", &Errors{all})
	}
}
