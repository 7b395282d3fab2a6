package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDifference(t *testing.T) {
	const base = `stage: ppo
model: {policy: p, reward: m}
data: [{source: dolly, path: a}, {source: natinst, path: b, template: t}]
`
	for name, c := range map[string]struct {
		old, new []string
		want     []Change
	}{
		"nothing":              {nil, nil, nil},
		"length":               {nil, []string{"trainer.max_steps=300"}, []Change{{"trainer.max_steps", "200", "300", Allowed}}},
		"log":                  {nil, []string{"log={every: 2, tensorboard: false}"}, []Change{{"log.tensorboard", "true", "false", Allowed}, {"log.every", "1", "2", Allowed}}},
		"checkpoint":           {nil, []string{"checkpoint.keep=5"}, []Change{{"checkpoint.keep", "3", "5", Allowed}}},
		"parallel":             {nil, []string{"parallel={data: 2, zero_stage: 1}"}, []Change{{"parallel.data", "1", "2", Allowed}, {"parallel.zero_stage", "0", "1", Allowed}}},
		"batching":             {nil, []string{"batching.rollout_slots=3"}, []Change{{"batching.rollout_slots", "64", "3", Allowed}}},
		"device":               {[]string{"model.precision=float32"}, []string{"model.precision=float32", "device.backend=cuda"}, []Change{{"device.backend", "cpu", "cuda", Allowed}, {"trainer.ratio_tolerance", "0.0", "0.001", Allowed}}},
		"device and precision": {nil, []string{"device.backend=cuda"}, []Change{{"device.backend", "cpu", "cuda", Allowed}, {"model.precision", "float32", "bfloat16", Refused}, {"trainer.ratio_tolerance", "0.0", "0.001", Allowed}}},
		"paths": {nil, []string{"model.policy=q", "data_root=d", "data.1.path=c", "data.1.template=u"}, []Change{
			{"model.policy", "p", "q", SameContent}, {"model.reference", "p", "q", SameContent}, {"data_root", ".", "d", SameContent},
			{"data.1.path", "b", "c", SameContent}, {"data.1.template", "t", "u", SameContent}}},
		"a path that was not there": {nil, []string{"model.tokenizer=t"}, []Change{{"model.tokenizer", "", "t", Refused}}},
		"a path that is gone":       {nil, []string{"data.1.template="}, []Change{{"data.1.template", "t", "", Refused}}},
		"name and place":            {nil, []string{"run.name=x"}, []Change{{"run.name", "ppo", "x", Allowed}, {"run.dir", "runs/ppo", "runs/x", Allowed}}},
		"seed":                      {nil, []string{"run.seed=2"}, []Change{{"run.seed", "1", "2", Refused}}},
		"algorithm":                 {nil, []string{"trainer.kl_coef=0.02", "value_optimizer.betas=[0.9, 0.99]"}, []Change{{"value_optimizer.betas", "[0.9, 0.95]", "[0.9, 0.99]", Refused}, {"trainer.kl_coef", "0.01", "0.02", Refused}}},
		"another source":            {nil, []string{"data.2={source: pairs, path: c}"}, []Change{{"data", "2 sources", "3 sources", Refused}, {"data.2.source", "", "pairs", Refused}, {"data.2.path", "", "c", Refused}, {"data.2.weight", "", "1.0", Refused}, {"data.2.on_bad", "", "skip", Refused}}},
		"weight":                    {nil, []string{"data.0.weight=2"}, []Change{{"data.0.weight", "1.0", "2.0", Refused}}},
		"reward model":              {nil, []string{"model.reward=n", "model.value=m"}, []Change{{"model.reward", "m", "n", SameContent}}},
		"rule for model":            {nil, []string{"model.reward={rule: json}", "model.value=m"}, []Change{{"model.reward", "m", "", Refused}, {"model.reward.rule", "", "json", Refused}}},
		"rule":                      {[]string{"model.reward={rule: regex, pattern: a}"}, []string{"model.reward={rule: regex, pattern: b}"}, []Change{{"model.reward.pattern", "a", "b", Refused}}},
		"service":                   {[]string{"model.reward={http: {url: 'http://a'}}"}, []string{"model.reward={http: {url: 'http://b'}}"}, []Change{{"model.reward.http.url", "http://a", "http://b", Refused}}},
		"missing EOD":               {nil, []string{"trainer.missing_eod={penalty: -1}"}, []Change{{"trainer.missing_eod", "last_token", "", Refused}, {"trainer.missing_eod.penalty", "", "-1.0", Refused}}},
		"adaptive KL":               {nil, []string{"trainer.adaptive_kl={}"}, []Change{{"trainer.adaptive_kl.target", "", "6.0", Refused}, {"trainer.adaptive_kl.horizon", "", "10000.0", Refused}}},
		"record":                    {nil, []string{"trajectory.record=true"}, []Change{{"trajectory.record", "false", "true", Refused}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Difference(must(t, base, c.old...), must(t, base, c.new...))
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestDifferenceOfStages(t *testing.T) {
	changes := Difference(must(t, minimalSFT), must(t, minimalPPO))
	if len(changes) == 0 || changes[0] != (Change{"stage", "sft", "ppo", Refused}) {
		t.Errorf("got %v, want the stage refused first", changes)
	}
}

func TestChangeInWords(t *testing.T) {
	c := Change{Key: "model.tokenizer", New: "t"}
	if got, want := c.String(), "model.tokenizer was not given, is t"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
