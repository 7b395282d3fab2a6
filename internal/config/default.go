package config

import (
	"iter"
	"reflect"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"
)

// setDefaults gives every key of a struct that exists in the stage its default.
func setDefaults(v reflect.Value, stage string) {
	if stage == "" {
		stage = PPO // any: the config will be refused, and needs values to be checked until then
	}
	quiet := &decoder{stage: stage, given: map[string]*yaml.Node{}, bad: map[string]bool{}, budget: maxValues}
	for _, f := range fields(v.Type()) {
		if to := v.Field(f.index); f.in(stage) {
			if n := f.literal(stage); n != nil {
				quiet.value(to, n, f, f.name)
			} else if to.Kind() == reflect.Struct {
				setDefaults(to, stage)
			}
		}
	}
	if len(quiet.problems) > 0 {
		panic("config: default tag: " + quiet.errors().Error())
	}
}

// requireKeys reports required keys that are missing, at the nearest enclosing
// mapping that is there.
func (d *decoder) requireKeys(v reflect.Value) {
	visit(v, d.stage, "", func(l leaf) {
		if !l.requiredIn(d.stage) || d.isBad(l.path) {
			return
		}
		n, given := d.given[l.path]
		switch {
		case !given:
			d.problem(d.nearest(l.path), l.path, "required"+d.stageNote(l.required)+requiredNote(l.field))
		case n.Kind == yaml.ScalarNode && n.Value == "":
			d.problem(n, l.path, "cannot be empty")
		}
	})
}

func (d *decoder) stageNote(required []string) string {
	if slices.Contains(required, "always") {
		return ""
	}
	return " in stage " + d.stage
}

func requiredNote(f field) string {
	if f.words == nil {
		return ""
	}
	return ": " + quoted(f.words)
}

// derive fills in the defaults that follow from other keys.
func (d *decoder) derive(c *Config) {
	given := func(path string) bool { return d.given[path] != nil }
	fill := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	fill(&c.Run.Name, c.Stage)
	fill(&c.Run.Dir, "runs/"+c.Run.Name)
	cuda := c.Device.Backend == "cuda"
	if cuda {
		fill(&c.Model.Precision, "bfloat16")
	}
	fill(&c.Model.Precision, "float32")
	if c.Stage == PPO {
		fill(&c.Model.Reference, c.Model.Policy)
		fill(&c.Model.Value, c.Model.Reward.Path)
		if cuda && !given("trainer.ratio_tolerance") {
			c.Trainer.RatioTolerance = 1e-3
		}
	}
	if given("trainer.epochs") && !given("trainer.max_steps") {
		c.Trainer.MaxSteps = 0
	}
	for name, o := range c.optimizers() {
		switch {
		case given(name + ".final_learning_rate"):
		case o.Decay == "constant":
			o.FinalLearningRate = o.LearningRate
		default:
			o.FinalLearningRate = tenth(o.LearningRate)
		}
	}
	for i := range c.Data {
		s := &c.Data[i]
		fill(&s.Render, map[string]string{"oasst1": "chat", "hh-rlhf": "chat", "dolly": "instruction", "natinst": "few_shot"}[s.Source])
		if s.Render == "few_shot" && !given("data."+strconv.Itoa(i)+".shots") {
			s.Shots = 2
		}
	}
}

// tenth is x/10 to fifteen digits, so that a tenth of 1e-5 reads 1e-6.
func tenth(x float64) float64 {
	y, err := strconv.ParseFloat(strconv.FormatFloat(x/10, 'g', 15, 64), 64)
	if err != nil || y > x {
		return x / 10
	}
	return y
}

// optimizers yields the optimizers of the stage under their keys.
func (c *Config) optimizers() iter.Seq2[string, *Optimizer] {
	return func(yield func(string, *Optimizer) bool) {
		if c.Stage != PPO {
			yield("optimizer", &c.Optimizer)
			return
		}
		_ = yield("policy_optimizer", &c.PolicyOptimizer) && yield("value_optimizer", &c.ValueOptimizer)
	}
}
