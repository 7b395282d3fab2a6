package config

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("config.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// instance reads YAML as a JSON value, aliases followed.
func instance(t *testing.T, text []byte) any {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestSchemaAcceptsShippedConfigs(t *testing.T) {
	schema := compiledSchema(t)
	for _, name := range shipped(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(instance(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c, err := Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(instance(t, c.YAML())); err != nil {
			t.Errorf("effective config of %s: %v", name, err)
		}
	}
}

func TestSchemaAcceptsEveryRewardForm(t *testing.T) {
	schema := compiledSchema(t)
	for _, c := range fullConfigs(t, PPO) {
		if err := schema.Validate(instance(t, c.YAML())); err != nil {
			t.Errorf("%v in\n%s", err, c.YAML())
		}
	}
}

// A null stands for the default wherever there is one: what Parse accepts with a key set to null, the schema accepts.
func TestSchemaAcceptsNull(t *testing.T) {
	schema := compiledSchema(t)
	accepted := 0
	for _, stage := range []string{SFT, Reward, PPO} {
		for _, c := range fullConfigs(t, stage) {
			tree, err := parse("full", c.YAML())
			if err != nil {
				t.Fatal(err)
			}
			var each func(n *yaml.Node)
			each = func(n *yaml.Node) {
				for i, value := range n.Content {
					each(value)
					if n.Kind == yaml.MappingNode && i%2 == 0 {
						continue // a key
					}
					n.Content[i] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
					text, err := yaml.Marshal(tree)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := Parse("c.yaml", text, nil); err == nil {
						accepted++
						if err := schema.Validate(instance(t, text)); err != nil {
							t.Errorf("%v in\n%s", err, text)
						}
					}
					n.Content[i] = value
				}
			}
			each(tree)
		}
	}
	if accepted < 300 {
		t.Errorf("only %d keys can be null", accepted)
	}
}

// What the schema can express it refuses, as Parse does.
func TestSchemaRefuses(t *testing.T) {
	schema := compiledSchema(t)
	for name, text := range map[string]string{
		"no stage":         "model: {policy: p}\n",
		"unknown stage":    "stage: dpo\nmodel: {policy: p}\n",
		"unknown section":  minimalSFT + "zebra: 1\n",
		"unknown key":      minimalSFT + "trainer: {zebra: 1}\n",
		"other stage":      minimalSFT + "trainer: {kl_coef: 0.1}\n",
		"other section":    minimalPPO + "optimizer: {}\n",
		"wrong type":       minimalSFT + "trainer: {max_steps: many}\n",
		"fraction":         minimalSFT + "trainer: {max_steps: 1.5}\n",
		"out of range":     minimalPPO + "trainer: {gamma: 1.1}\n",
		"open end":         minimalPPO + "trainer: {clip_range_policy: 0}\n",
		"word":             minimalPPO + "trainer: {kl_estimator: k4}\n",
		"betas":            minimalSFT + "optimizer: {betas: [0.9]}\n",
		"missing policy":   "stage: sft\nmodel: {precision: float32}\n",
		"null policy":      "stage: sft\nmodel: {policy: null}\n",
		"null element":     minimalSFT + "data: [{source: oasst1, path: x, languages: [null]}]\n",
		"missing path":     minimalPPO + "data: [{source: dolly}]\n",
		"union word":       minimalPPO + "trainer: {missing_eod: none}\n",
		"union mapping":    minimalPPO + "trainer: {missing_eod: {penalty: 1, zebra: 2}}\n",
		"rule":             "stage: ppo\nmodel: {policy: p, reward: {rule: magic}}\n",
		"key of a rule":    "stage: ppo\nmodel: {policy: p, reward: {rule: json, text: a}}\n",
		"rule without key": "stage: ppo\nmodel: {policy: p, reward: {rule: contains}}\n",
		"http without url": "stage: ppo\nmodel: {policy: p, reward: {http: {}}}\n",
		"timeout":          "stage: ppo\nmodel: {policy: p, reward: {http: {url: 'http://h', timeout: soon}}}\n",
		"use of dolly":     minimalSFT + "data: [{source: dolly, path: x, use: chosen}]\n",
	} {
		if schema.Validate(instance(t, []byte(text))) == nil {
			t.Errorf("%s: the schema accepts\n%s", name, text)
		}
		problems(t, text)
	}
}

func TestSchemaDescribesEveryKey(t *testing.T) {
	schema := string(Schema())
	all := map[reflect.Type]bool{}
	structs(reflect.TypeFor[Config](), all)
	for typ := range all {
		for _, f := range fields(typ) {
			text, err := json.Marshal(f.description())
			if err != nil {
				t.Fatal(err)
			}
			if f.name != "stage" && !strings.Contains(schema, string(text)) {
				t.Errorf("the schema lacks the description of %s.%s: %s", typ.Name(), f.name, text)
			}
		}
	}
}
