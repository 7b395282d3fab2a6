package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// must parses a config that has to be right.
func must(t *testing.T, text string, sets ...string) *Config {
	t.Helper()
	c, err := Parse("c.yaml", []byte(text), sets)
	if err != nil {
		t.Fatalf("Parse(%.300q, %q):\n%v", text, sets, err)
	}
	return c
}

// problems parses a config that has to be wrong.
func problems(t *testing.T, text string, sets ...string) []Problem {
	t.Helper()
	c, err := Parse("c.yaml", []byte(text), sets)
	var e *Errors
	if !errors.As(err, &e) || c != nil || len(e.Problems) == 0 {
		t.Fatalf("Parse(%.300q, %q) = %v, %v; want a nil config and an *Errors", text, sets, c, err)
	}
	return e.Problems
}

// only is the one problem of a config that has to have exactly one.
func only(t *testing.T, text string, sets ...string) Problem {
	t.Helper()
	all := problems(t, text, sets...)
	if len(all) != 1 {
		t.Fatalf("Parse(%.300q, %q): %d problems, want 1:\n%v", text, sets, len(all), &Errors{all})
	}
	return all[0]
}

// Small configs that load, to build others on.
const (
	minimalSFT    = "stage: sft\nmodel: {policy: p}\n"
	minimalReward = "stage: reward\nmodel: {reward: m}\n"
	minimalPPO    = "stage: ppo\nmodel: {policy: p, reward: m}\n"
)

var minimal = map[string]string{SFT: minimalSFT, Reward: minimalReward, PPO: minimalPPO}

func shipped(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"../../configs/*.yaml", "testdata/*.yaml"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("no files match %s (%v)", pattern, err)
		}
		all = append(all, names...)
	}
	return all
}

func TestShippedConfigsLoadAndRoundTrip(t *testing.T) {
	for _, name := range shipped(t) {
		c, err := Load(name, nil)
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
			continue
		}
		again, err := Parse("effective", c.YAML(), nil)
		if err != nil {
			t.Errorf("%s: its effective config does not load:\n%v\n%s", name, err, c.YAML())
			continue
		}
		if d := cmp.Diff(c, again); d != "" {
			t.Errorf("%s: the effective config loads to something else (-file +effective):\n%s", name, d)
		}
		if string(again.YAML()) != string(c.YAML()) {
			t.Errorf("%s: the effective config of the effective config differs", name)
		}
		if strings.Contains(name, "configs") {
			if err := c.Runnable(); err != nil {
				t.Errorf("%s: Runnable: %v", name, err)
			}
		}
	}
}

func TestMinimalConfigsRoundTrip(t *testing.T) {
	// Also holds every default against its own range: here each is given.
	for stage, text := range minimal {
		c := must(t, text)
		if d := cmp.Diff(c, must(t, string(c.YAML()))); d != "" {
			t.Errorf("stage %s: the effective config loads to something else:\n%s", stage, d)
		}
	}
}

func TestAlfred40BIsTheDesignsExample(t *testing.T) {
	want, err := os.ReadFile("testdata/ppo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../configs/alfred-40b.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("configs/alfred-40b.yaml is no longer testdata/ppo.yaml")
	}
}

func TestExamplesOfTheOtherStages(t *testing.T) {
	sft, err := Load("testdata/sft.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	wantTrainer := Trainer{GlobalBatch: 64, MaxSteps: 1000, MaxLen: 2048, EvalShare: 0.02, EvalEvery: 100, LossTurns: "last"}
	if d := cmp.Diff(wantTrainer, sft.Trainer); d != "" {
		t.Errorf("sft trainer (-want +got):\n%s", d)
	}
	wantOptimizer := Optimizer{Name: "adamw", LearningRate: 1e-5, WarmupSteps: 50, Decay: "cosine", DecaySteps: 1000, FinalLearningRate: 1e-6,
		Betas: [2]float64{0.9, 0.95}, Eps: 1e-8, MaxGradNorm: 1, ScheduleUnit: "optimizer_step"}
	if d := cmp.Diff(wantOptimizer, sft.Optimizer); d != "" {
		t.Errorf("sft optimizer (-want +got):\n%s", d)
	}
	if sft.Model != (Model{Policy: "models/falcon-40b", Precision: "bfloat16"}) {
		t.Errorf("sft model: %+v", sft.Model)
	}
	if err := sft.Runnable(); err == nil || !strings.Contains(err.Error(), "data: ") {
		t.Errorf("a config without data: Runnable = %v, want a problem with key data", err)
	}

	reward, err := Load("testdata/reward.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if reward.Model.Reward.Path != "models/alfred-sft" || *reward.Normalise != (Normalise{"models/alfred-sft", 512}) {
		t.Errorf("reward: model %+v, normalise %+v", reward.Model, reward.Normalise)
	}
	if o := reward.Optimizer; o.LearningRate != 9e-6 || o.FinalLearningRate != 0 || o.ScheduleUnit != "optimizer_step" {
		t.Errorf("reward optimizer: %+v", o)
	}
}

func TestDerivedDefaults(t *testing.T) {
	cpu, cuda := must(t, minimalPPO), must(t, minimalPPO, "device.backend=cuda")
	if cpu.Model.Precision != "float32" || cuda.Model.Precision != "bfloat16" {
		t.Errorf("precision: cpu %s, cuda %s", cpu.Model.Precision, cuda.Model.Precision)
	}
	if cpu.Trainer.RatioTolerance != 0 || cuda.Trainer.RatioTolerance != 1e-3 {
		t.Errorf("ratio_tolerance: cpu %g, cuda %g", cpu.Trainer.RatioTolerance, cuda.Trainer.RatioTolerance)
	}
	if c := must(t, minimalPPO, "device.backend=cuda", "trainer.ratio_tolerance=0"); c.Trainer.RatioTolerance != 0 {
		t.Errorf("a ratio_tolerance of 0 that is given became %g", c.Trainer.RatioTolerance)
	}
	if cpu.Model.Reference != "p" || cpu.Model.Value != "m" {
		t.Errorf("reference %q, value %q; want p and m", cpu.Model.Reference, cpu.Model.Value)
	}
	if c := must(t, minimalPPO, "model.reward={rule: json}"); c.Model.Value != "" {
		t.Errorf("with a rule the value model is %q, want none (the policy's body)", c.Model.Value)
	}
	if cpu.Run != (Run{"ppo", "runs/ppo", 1}) {
		t.Errorf("run: %+v", cpu.Run)
	}
	if c := must(t, minimalPPO, "run.name=x"); c.Run.Dir != "runs/x" {
		t.Errorf("run.dir follows run.name: got %q", c.Run.Dir)
	}
	o := must(t, minimalSFT, "optimizer.learning_rate=3e-4").Optimizer
	if o.FinalLearningRate != 3e-5 {
		t.Errorf("final_learning_rate %g, want 3e-5", o.FinalLearningRate)
	}
	if o := must(t, minimalSFT, "optimizer={learning_rate: 3e-4, decay: constant}").Optimizer; o.FinalLearningRate != 3e-4 {
		t.Errorf("constant: final_learning_rate %g, want learning_rate", o.FinalLearningRate)
	}
	if tr := must(t, minimalSFT, "trainer.epochs=2").Trainer; tr.MaxSteps != 0 || tr.Epochs != 2 {
		t.Errorf("with epochs: %+v", tr)
	}
	data := must(t, minimalPPO, "data=[{source: oasst1, path: a}, {source: hh-rlhf, path: a}, {source: dolly, path: a}, {source: natinst, path: a}, {source: prompts, path: a}]").Data
	for i, want := range []string{"chat", "chat", "instruction", "few_shot", ""} {
		if data[i].Render != want || data[i].Weight != 1 || data[i].OnBad != "skip" || (data[i].Shots == 2) != (want == "few_shot") {
			t.Errorf("data.%d: %+v, want render %q", i, data[i], want)
		}
	}
}

func TestUnions(t *testing.T) {
	c := must(t, minimalPPO, "trainer.missing_eod={penalty: -1.5}", "model.reward={http: {url: 'https://h/x', timeout: 500ms, retries: 0, batch: 3}}")
	if c.Trainer.MissingEOD != (MissingEOD{"penalty", -1.5}) {
		t.Errorf("missing_eod: %+v", c.Trainer.MissingEOD)
	}
	if want := (HTTP{URL: "https://h/x", Timeout: 500 * time.Millisecond, Retries: 0, Batch: 3}); *c.Model.Reward.HTTP != want {
		t.Errorf("http: %+v, want %+v", *c.Model.Reward.HTTP, want)
	}
	if c := must(t, minimalPPO, "model.reward={http: {url: 'http://h', timeout: 2.5}}"); c.Model.Reward.HTTP.Timeout != 2500*time.Millisecond {
		t.Errorf("timeout 2.5 is %v, want 2.5 s", c.Model.Reward.HTTP.Timeout)
	}
	for value, want := range map[string]Rule{
		"{rule: contains, text: 12, ignore_case: true}": {Rule: "contains", Text: "12", IgnoreCase: true},
		`{rule: regex, pattern: "^a+$"}`:                {Rule: "regex", Pattern: "^a+$"},
		"{rule: length, target: 32}":                    {Rule: "length", Target: 32},
		"{rule: json, keys: [a, b]}":                    {Rule: "json", Keys: []string{"a", "b"}},
		"{rule: exact, text: yes}":                      {Rule: "exact", Text: "yes"},
	} {
		c := must(t, minimalPPO, "model.reward="+value)
		if d := cmp.Diff(&want, c.Model.Reward.Rule); d != "" {
			t.Errorf("%s (-want +got):\n%s", value, d)
		}
		if d := cmp.Diff(c, must(t, string(c.YAML()))); d != "" {
			t.Errorf("%s: round trip:\n%s", value, d)
		}
	}
	for set, want := range map[string]string{
		"model.reward={rule: regex, text: x}":           "belongs to rule: contains or exact",
		"model.reward={rule: contians, text: x}":        `did you mean "contains"`,
		"model.reward={text: x}":                        "expects a path, or a mapping with rule or http",
		"model.reward=[a]":                              "expects a path, or a mapping with rule or http; got a list",
		"model.reward={http: {}}":                       "required",
		"model.reward={http: {url: 'ftp://h'}}":         "expects an address",
		"model.reward={http: {url: u, timeout: soon}}":  "500ms",
		"model.reward={http: {url: u, timeout: -3}}":    "must be above 0",
		"model.reward={http: {url: u, timeout: 1e300}}": "too large",
		"model.reward={rule: regex, pattern: '('}":      "missing closing )",
		"model.reward={rule: length}":                   "required",
		"trainer.missing_eod=zeros":                     `did you mean "zero"`,
		"trainer.missing_eod={penalty: high}":           "expects a number",
		"trainer.missing_eod={penalty: null}":           "required",
		"trainer.missing_eod={score: 1}":                "expects last_token, zero or mask, or a mapping with penalty",
		"trainer.missing_eod=3":                         "must be last_token, zero or mask",
	} {
		if p := problems(t, minimalPPO, set); !strings.Contains((&Errors{p}).Error(), want) {
			t.Errorf("%s: problems\n%v\nwant %q", set, &Errors{p}, want)
		}
	}
}

func TestLoadReportsUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "absent.yaml"): "no such file",
		dir:                               "is a directory",
	} {
		_, err := Load(path, nil)
		var e *Errors
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("Load(%s): %v, want *Errors with %q", path, err, want)
		}
	}
}
