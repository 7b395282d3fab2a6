package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// The rows of what a YAML file can get wrong: each is reported at its place,
// in its words, and nothing else is.
func TestYAMLTrouble(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		problem string // "" accepts the config
	}{
		"unknown key":            {"stage: sft\nmodel: {policy: p}\noptimizer:\n  warmpu_steps: 3\n", `c.yaml:4:3: optimizer.warmpu_steps: unknown key; did you mean "warmup_steps"?`},
		"nothing near":           {"stage: sft\nmodel: {policy: p}\nzebra: 3\n", `c.yaml:3:1: zebra: unknown key`},
		"key of a section":       {"stage: sft\nmodel: {policy: p}\nmax_steps: 3\n", `c.yaml:3:1: max_steps: unknown key; did you mean "trainer.max_steps"?`},
		"key of another section": {"stage: sft\nmodel: {policy: p, seed: 3}\n", `c.yaml:2:20: model.seed: unknown key; did you mean "run.seed"?`},
		"other stage":            {"stage: sft\nmodel: {policy: p}\ntrainer:\n  kl_coef: 0.1\n", `c.yaml:4:3: trainer.kl_coef: belongs to stage ppo; this is stage sft`},
		"section of other stage": {"stage: sft\nmodel: {policy: p}\nvalue_optimizer: {}\n", `c.yaml:3:1: value_optimizer: belongs to stage ppo; this is stage sft`},
		"two other stages":       {"stage: ppo\nmodel: {policy: p, reward: r}\ntrainer: {max_len: 4}\n", `c.yaml:3:11: trainer.max_len: belongs to stage sft or reward; this is stage ppo`},
		"wrong type":             {minimalSFT + "trainer: {max_steps: many}\n", `c.yaml:3:22: trainer.max_steps: expects a whole number, got the text "many"`},
		"quoted number":          {minimalSFT + "trainer: {max_steps: \"3\"}\n", `c.yaml:3:22: trainer.max_steps: expects a whole number, got the text "3"; take the quotes away`},
		"list for number":        {minimalSFT + "trainer: {max_steps: [3]}\n", `c.yaml:3:22: trainer.max_steps: expects a whole number, got a list`},
		"number for text":        {minimalSFT + "run: {name: 12}\n", `c.yaml:3:13: run.name: expects text, got the number 12; quote it: "12"`},
		"boolean for text":       {minimalSFT + "run: {name: true}\n", `c.yaml:3:13: run.name: expects text, got true; quote it: "true"`},
		"scalar for section":     {minimalSFT + "run: 3\n", `c.yaml:3:6: run: expects a mapping of keys, got the number 3`},
		"list for section":       {minimalSFT + "run: [3]\n", `c.yaml:3:6: run: expects a mapping of keys, got a list`},
		"mapping for list":       {minimalSFT + "data: {source: dolly, path: x}\n", `c.yaml:3:7: data: expects a list, got a mapping`},
		"word for list":          {minimalSFT + "data: [{source: oasst1, path: x, languages: en}]\n", `c.yaml:3:45: data.0.languages: expects a list, got the text "en"; write [en]`},
		"empty element":          {minimalSFT + "data: [{source: oasst1, path: x, languages: [en, ]}, null]\n", `c.yaml:3:54: data.1: a list element cannot be empty`},
		"betas of three":         {minimalSFT + "optimizer: {betas: [0.9, 0.9, 0.9]}\n", `c.yaml:3:20: optimizer.betas: expects 2 values, got 3`},
		"beta of one":            {minimalSFT + "optimizer: {betas: [0.9, 1]}\n", `c.yaml:3:26: optimizer.betas.1: must be at least 0 and below 1, is 1`},
		"out of range":           {minimalSFT + "checkpoint: {keep: 1}\n", `c.yaml:3:20: checkpoint.keep: must be at least 2, is 1`},
		"word":                   {minimalSFT + "optimizer: {decay: cosin}\n", `c.yaml:3:20: optimizer.decay: must be cosine, linear or constant, is "cosin"; did you mean "cosine"?`},
		"empty word":             {minimalSFT + "optimizer: {decay: ''}\n", `c.yaml:3:20: optimizer.decay: must be cosine, linear or constant, is ""`},
		"duplicate":              {minimalSFT + "run: {seed: 1,\n  name: a, seed: 2}\n", `c.yaml:4:12: run.seed: given twice; first on line 3`},
		"duplicate section":      {minimalSFT + "run: {seed: 1}\nrun: {name: a}\n", `c.yaml:4:1: run: given twice; first on line 3`},
		"duplicate x-":           {minimalSFT + "x-a: 1\nx-a: 2\n", `c.yaml:4:1: x-a: given twice; first on line 3`},
		"tab":                    {minimalSFT + "run:\n\tseed: 1\n", `c.yaml:4:1: a tab cannot indent YAML; use spaces`},
		"tab after spaces":       {minimalSFT + "run:\n  name: a\n \tseed: 1\n", `c.yaml:5:2: a tab cannot indent YAML; use spaces`},
		"unclosed":               {minimalSFT + "run: {seed: 1\n", `c.yaml:3:1: not valid YAML near here: did not find expected ',' or '}'`},
		"unclosed at the start":  {"{stage: sft\n\n", `c.yaml:1:1: not valid YAML near here: did not find expected ',' or '}'`},
		"unindented":             {minimalSFT + "run:\n  name: a\n seed: 1\n", `c.yaml:5:2: not valid YAML near here: did not find expected key`},
		"one brace too many":     {minimalSFT + "run: {seed: 1}}\n", `c.yaml:3:1: not valid YAML near here: did not find expected key`},
		"key beside a list":      {minimalSFT + "data:\n  - source: dolly\n  path: x\n", `c.yaml:4:3: not valid YAML near here: did not find expected '-' indicator`},
		"two colons":             {minimalSFT + "run:\n  name: a: b\n", `c.yaml:4:3: not valid YAML near here: mapping values are not allowed in this context`},
		"character":              {minimalSFT + "run:\n  name: @a\n", `c.yaml:4:3: not valid YAML near here: found character that cannot start any token`},
		"unknown anchor":         {minimalSFT + "run:\n  name: *nme\n", `c.yaml:4:9: not valid YAML near here: unknown anchor 'nme' referenced`},
		"empty file":             {"", `c.yaml:1:1: stage: required: sft, reward or ppo`},
		"comments only":          {"# nothing\n\n# here\n", `c.yaml:1:1: stage: required: sft, reward or ppo`},
		"null document":          {"---\n", `c.yaml:1:1: stage: required: sft, reward or ppo`},
		"BOM":                    {"\xef\xbb\xbf" + minimalSFT, ""},
		"CRLF":                   {strings.ReplaceAll(minimalSFT, "\n", "\r\n"), ""},
		"document marks":         {"---\n" + minimalSFT + "...\n", ""},
		"list document":          {"- stage: sft\n", `c.yaml:1:1: a config is a mapping of keys (stage: ...), this is a list`},
		"scalar document":        {"sft\n", `c.yaml:1:1: a config is a mapping of keys (stage: ...), this is the text "sft"`},
		"two documents":          {minimalSFT + "---\nstage: ppo\n", `c.yaml:4:1: a second document begins; a config file holds one`},
		"broken second document": {minimalSFT + "---\n{\n", `c.yaml:4:1: not valid YAML near here: did not find expected node content`},
		"not UTF-8":              {minimalSFT + "run: {name: caf\xe9}\n", `c.yaml:3:16: byte 0xe9 is not UTF-8; save the file as UTF-8`},
		"UTF-16":                 {"\xff\xfes\x00t\x00", `c.yaml:1:1: byte 0xff is not UTF-8; save the file as UTF-8`},
		"NUL":                    {minimalSFT + "run: {name: a\x00}\n", `c.yaml:3:14: control character U+0000 is not allowed`},
		"escaped NUL":            {minimalSFT + "run: {name: \"a\\0\"}\n", `c.yaml:3:13: run.name: text cannot hold a NUL character`},
		"nan":                    {minimalSFT + "optimizer: {learning_rate: .nan}\n", `c.yaml:3:28: optimizer.learning_rate: must be finite, is .nan`},
		"inf":                    {minimalSFT + "optimizer: {learning_rate: -.Inf}\n", `c.yaml:3:28: optimizer.learning_rate: must be finite, is -.Inf`},
		"nan as integer":         {minimalSFT + "trainer: {max_steps: .nan}\n", `c.yaml:3:22: trainer.max_steps: expects a whole number in plain digits, got .nan`},
		"overflow":               {minimalSFT + "optimizer: {learning_rate: 1e999}\n", `c.yaml:3:28: optimizer.learning_rate: 1e999 is too large for a float64`},
		"underflow":              {minimalSFT + "optimizer: {learning_rate: 1e-999}\n", `c.yaml:3:28: optimizer.learning_rate: 1e-999 is too small for a float64, which makes it 0`},
		"1e-6":                   {minimalSFT + "optimizer: {eps: 1e-6}\n", ""},
		"1.e-6":                  {minimalSFT + "optimizer: {eps: 1.e-6}\n", ""},
		"integer for float":      {minimalSFT + "optimizer: {eps: 1}\n", ""},
		"float for integer":      {minimalSFT + "trainer: {max_steps: 3.0}\n", `c.yaml:3:22: trainer.max_steps: expects a whole number in plain digits, got 3.0; write 3`},
		"1e3 for integer":        {minimalSFT + "trainer: {max_steps: 1e3}\n", `c.yaml:3:22: trainer.max_steps: expects a whole number in plain digits, got 1e3; write 1000`},
		"octal":                  {minimalSFT + "trainer: {max_steps: 010}\n", `c.yaml:3:22: trainer.max_steps: expects a whole number in plain digits, got 010; write 10`},
		"hexadecimal":            {minimalSFT + "optimizer: {eps: 0x10}\n", `c.yaml:3:18: optimizer.eps: expects a decimal number, got 0x10`},
		"grouped digits":         {minimalSFT + "trainer: {max_steps: 1_000}\n", ""},
		"too large":              {minimalSFT + "trainer: {max_steps: 3000000000}\n", `c.yaml:3:22: trainer.max_steps: 3000000000 is too large; the limit is 2147483647`},
		"largest seed":           {minimalSFT + "run: {seed: 18446744073709551615}\n", ""},
		"seed too large":         {minimalSFT + "run: {seed: 18446744073709551616}\n", `c.yaml:3:13: run.seed: must be between 0 and 18446744073709551615, is 18446744073709551616`},
		"negative seed":          {minimalSFT + "run: {seed: -1}\n", `c.yaml:3:13: run.seed: must be between 0 and 18446744073709551615, is -1`},
		"yes":                    {minimalSFT + "batching: {recompute: yes}\n", `c.yaml:3:23: batching.recompute: expects true or false, got the text "yes"; write true`},
		"Off":                    {minimalSFT + "batching: {recompute: Off}\n", `c.yaml:3:23: batching.recompute: expects true or false, got the text "Off"; write false`},
		"1 as boolean":           {minimalSFT + "batching: {recompute: 1}\n", `c.yaml:3:23: batching.recompute: expects true or false, got the number 1; write true`},
		"quoted boolean":         {minimalSFT + "batching: {recompute: 'true'}\n", `c.yaml:3:23: batching.recompute: expects true or false, got the text "true"; write true`},
		"True":                   {minimalSFT + "batching: {recompute: True}\n", ""},
		"Norwegian":              {minimalSFT + "data: [{source: oasst1, path: x, languages: [no]}]\n", ""},
		"date":                   {minimalSFT + "run: {name: 2023-07-31}\n", ""},
		"null":                   {minimalSFT + "run: ~\ntrainer: {max_steps: null}\noptimizer:\n", ""},
		"tag":                    {minimalSFT + "run: {name: !!binary aGk=}\n", `c.yaml:3:13: run.name: values carry no tags here; take !!binary away`},
		"tag on a section":       {minimalSFT + "run: !custom {name: a}\n", `c.yaml:3:6: run: values carry no tags here; take !custom away`},
		"key is a list":          {minimalSFT + "run: {[a]: 1}\n", `c.yaml:3:7: run: a key must be a word, this is a list`},
		"missing":                {"stage: sft\nmodel:\n  precision: float32\n", `c.yaml:3:3: model.policy: required in stage sft`},
		"missing and empty":      {"stage: sft\nmodel: {policy: ''}\n", `c.yaml:2:17: model.policy: cannot be empty`},
		"missing source path":    {minimalSFT + "data:\n  - source: dolly\n", `c.yaml:4:5: data.0.path: required`},
		"bad stage":              {"stage: pop\nmodel: {policy: p}\n", `c.yaml:1:8: stage: must be sft, reward or ppo, is "pop"; did you mean "ppo"?`},
		"anchors":                {minimalSFT + "x-o: &o {eps: 1.0e-7}\noptimizer: *o\n", ""},
		"merge":                  {minimalSFT + "x-o: &o {eps: 1.0e-7, betas: [0, 0]}\noptimizer: {<<: *o, eps: 1.0e-6}\n", ""},
		"merge of a scalar":      {minimalSFT + "optimizer: {<<: 3}\n", `c.yaml:3:17: optimizer.<<: merges mappings, this is the number 3`},
		"unknown key in an anchor, twice": {minimalPPO + "policy_optimizer: &o {lr: 1}\nvalue_optimizer: *o\n",
			`c.yaml:3:23: policy_optimizer.lr: unknown key`},
		"anchor that holds itself": {minimalSFT + "optimizer: &o {<<: *o}\n",
			`c.yaml:3:20: optimizer: more than 20000 values after aliases are followed`},
	} {
		t.Run(name, func(t *testing.T) {
			if c.problem == "" {
				must(t, c.text)
			} else if p := only(t, c.text); p.String() != c.problem {
				t.Errorf("got  %s\nwant %s", p, c.problem)
			}
		})
	}
}

func TestMergedValues(t *testing.T) {
	o := must(t, minimalSFT+"x-o: &o {eps: 1.0e-7, warmup_steps: 4}\nx-p: &p {warmup_steps: 5, decay_steps: 6}\noptimizer: {<<: [*o, *p], eps: 1.0e-6}\n").Optimizer
	if o.Eps != 1e-6 || o.WarmupSteps != 4 || o.DecaySteps != 6 {
		t.Errorf("own keys win over merged ones, earlier merges over later: got %+v", o)
	}
}

func TestAllProblemsInOrder(t *testing.T) {
	e := &Errors{problems(t, `stage: ppo
model: {policy: p, precison: float32}
trainer:
  num_rollouts: 0
  gamma: 2
  whiten_rewards: no
data:
  - {source: oast1, path: x}
  - {path: y, weight: -1}
`, "log.every=0", "trainer.kl_coef=-1")}
	want := `c.yaml:2:8: model.reward: required in stage ppo: a model, {rule: ...} or {http: ...}; only trajectory.replay can bring scores instead
c.yaml:2:20: model.precison: unknown key; did you mean "precision"?
c.yaml:4:17: trainer.num_rollouts: must be at least 1, is 0
c.yaml:5:10: trainer.gamma: must be at least 0 and at most 1, is 2
c.yaml:6:19: trainer.whiten_rewards: expects true or false, got the text "no"; write false
c.yaml:8:14: data.0.source: must be oasst1, hh-rlhf, dolly, natinst, prompts or pairs, is "oast1"; did you mean "oasst1"?
c.yaml:9:5: data.1.source: required: oasst1, hh-rlhf, dolly, natinst, prompts or pairs
c.yaml:9:23: data.1.weight: must be at least 0, is -1
--set log.every=0: log.every: must be at least 1, is 0
--set trainer.kl_coef=-1: trainer.kl_coef: must be at least 0, is -1`
	if e.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", e, want)
	}
}

// Without a stage the keys of all stages are checked as far as they go.
func TestProblemsBesideAMissingStage(t *testing.T) {
	e := &Errors{problems(t, "trainer: {kl_coef: x, max_len: 1, lenght: 3}\n")}
	for _, key := range []string{"stage: required", "trainer.kl_coef: expects", "trainer.max_len: must be", "trainer.lenght: unknown"} {
		if !strings.Contains(e.Error(), key) {
			t.Errorf("no %q in\n%s", key, e)
		}
	}
	if len(e.Problems) != 4 {
		t.Errorf("%d problems, want 4:\n%s", len(e.Problems), e)
	}
}

// Hostile files end in an error within a second.
func TestHostileFilesAreRefusedFast(t *testing.T) {
	bomb := minimalSFT + "x-0: &x0 {a: 1}\n"
	for i := 1; i < 30; i++ {
		bomb += fmt.Sprintf("x-%d: &x%d {<<: [%s]}\n", i, i, strings.Repeat(fmt.Sprintf("*x%d, ", i-1), 9))
	}
	lists := minimalSFT + "x-l: &l [" + strings.Repeat("en, ", 5000) + "]\nx-s: &s {source: oasst1, path: p, languages: *l}\ndata: [" + strings.Repeat("*s, ", 5000) + "]\n"
	for name, text := range map[string]string{
		"10 MB of text":     minimalSFT + "run: {name: \"" + strings.Repeat("x", 10<<20) + "\"}\n",
		"1 MB of text":      minimalSFT + "zebra: \"" + strings.Repeat("x", maxBytes-100) + "\"\n",
		"1 MB long key":     minimalSFT + strings.Repeat("x", 1000) + ": 1\n? " + strings.Repeat("y", maxBytes-2000) + "\n: 2\n",
		"merge bomb":        bomb + "optimizer: *x29\n",
		"list bomb":         lists,
		"deep flow lists":   minimalSFT + "x-d: " + strings.Repeat("[", 100_000),
		"deep mappings":     minimalSFT + "x-d: " + strings.Repeat("{a: ", 9_000) + strings.Repeat("}", 9_000) + "\nzebra: 1",
		"deep run":          minimalSFT + "run: " + strings.Repeat("{a: ", 9_000) + strings.Repeat("}", 9_000),
		"many unknown keys": minimalSFT + "trainer: {" + strings.Join(numbered("max_stepz%d: 1", 40_000), ", ") + "}\n",
		"many sources":      minimalSFT + "data: [" + strings.Repeat("{}, ", 100_000) + "]\n",
		"many anchors":      minimalSFT + strings.Join(numbered("x-%d: &a 1", 50_000), "\n") + "\nrun: *a\n",
		"many documents":    strings.Repeat("---\na: 1\n", 50_000),
		"many comments":     minimalSFT + strings.Repeat("# x\n", 200_000) + "zebra: 1\n",
	} {
		t.Run(name, func(t *testing.T) {
			limit := time.Second
			if underRace() {
				limit *= 20 // the race detector slows the parser that much
			}
			best := time.Hour // of three: others may be using the machine
			for range 3 {
				start := time.Now()
				problems(t, text)
				best = min(best, time.Since(start))
			}
			if best > limit {
				t.Errorf("took %v, want at most %v", best, limit)
			}
		})
	}
}

func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func numbered(format string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return all
}

func TestLoadReadsNoMoreThanAConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(path, make([]byte, 10<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err := Load(path, nil)
	if want := path + ": larger than 1048576 bytes: not a config"; err == nil || err.Error() != want || time.Since(start) > time.Second {
		t.Errorf("got %v after %v, want %q within a second", err, time.Since(start), want)
	}
}
