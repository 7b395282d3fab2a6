package checkpoint_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"alfred/internal/backend/backendtest"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
	"alfred/internal/checkpoint"
	"alfred/internal/collective"
	"alfred/internal/falcon"
	"alfred/internal/tensor"
	"alfred/internal/tokenizer"
)

// twoModels is the snapshot of a PPO run, with or without optimizers.
func twoModels(t testing.TB, step int, optimizers bool) (checkpoint.Snapshot, *trainee) {
	t.Helper()
	policy := tinyTrainee(t)
	cfg := tiny()
	cfg.Head = falcon.SequenceClassification
	cfg.Normalisation = &falcon.Normalisation{Gain: 2, Bias: -1}
	value, err := newTrainee(cpu.New(1), cfg, tensor.BFloat16, collective.Solo{}, nil)
	if err := errors.Join(err, value.fill()); err != nil {
		t.Fatal(err)
	}
	snap := snapshot(step, policy)
	snap.Models = append(snap.Models, checkpoint.Trained{Name: "value", Config: cfg, Store: value.store, Optimizer: value.opt})
	if !optimizers {
		snap.Models[0].Optimizer, snap.Models[1].Optimizer = nil, nil
	}
	return snap, policy
}

// TestRunDirectoryAsModel: a run stands for the newest checkpoint whose model verifies, and for its policy unless told otherwise.
func TestRunDirectoryAsModel(t *testing.T) {
	run := t.TempDir()
	dir := filepath.Join(run, "checkpoints")
	for _, step := range []int{10, 20, 30} {
		snap, tr := twoModels(t, step, true)
		if _, err := saver(quickOS, dir).Save(tr.stream, snap); err != nil {
			t.Fatal(err)
		}
	}
	try := func(path string, options ...checkpoint.Option) *checkpoint.Model {
		t.Helper()
		m, err := checkpoint.OpenModel(path, options...)
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		return m
	}
	if m := try(run); m.Name != "policy" || m.Config.Head != falcon.CausalLM || m.Checkpoint.Manifest.Step != 30 || len(m.Warnings) > 0 {
		t.Errorf("%s of step %d, warnings %q", m.Name, m.Checkpoint.Manifest.Step, m.Warnings)
	}
	m := try(run, checkpoint.Which("value"))
	if m.Name != "value" || m.Config.Role != "value" || *m.Config.Normalisation != (falcon.Normalisation{Gain: 2, Bias: -1}) {
		t.Errorf("%s: %+v", m.Name, m.Config)
	}
	_, err := checkpoint.OpenModel(run, checkpoint.Which("reward"))
	mustContain(t, err, `there is no model "reward"`, "policy, value")
	if m := try(filepath.Join(dir, "000010"), checkpoint.Which("value")); m.Checkpoint.Manifest.Step != 10 {
		t.Errorf("step %d", m.Checkpoint.Manifest.Step)
	}

	damage := func(step int, name string) {
		t.Helper()
		path := filepath.Join(dir, checkpoint.Name(step), filepath.FromSlash(name))
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-1] ^= 1
		writeFile(t, path, string(data))
	}
	damage(30, "policy/model.safetensors")
	m = try(run)
	if m.Checkpoint.Manifest.Step != 20 || len(m.Warnings) != 1 || !strings.Contains(m.Warnings[0], "000030") || !strings.Contains(m.Warnings[0], "SHA-256") {
		t.Errorf("step %d, warnings %q", m.Checkpoint.Manifest.Step, m.Warnings)
	}
	if m := try(run, checkpoint.Which("value")); m.Checkpoint.Manifest.Step != 30 {
		t.Errorf("step %d of the value model, whose files are whole", m.Checkpoint.Manifest.Step)
	}
	damage(20, "optimizer/policy/exp_avg.safetensors")
	if m := try(run); m.Checkpoint.Manifest.Step != 20 {
		t.Errorf("step %d: optimizer state does not matter to a reader of models", m.Checkpoint.Manifest.Step)
	}
	if c, rejected, err := checkpoint.Latest(dir); err != nil || c.Manifest.Step != 10 || len(rejected) != 2 {
		t.Errorf("latest %+v, rejected %v, %v: optimizer state does matter to the run", c, rejected, err)
	}
}

// TestModelsWithoutOptimizer can be saved, and cannot be resumed.
func TestModelsWithoutOptimizer(t *testing.T) {
	dir := t.TempDir()
	snap, tr := twoModels(t, 10, false)
	if _, err := saver(quickOS, dir).Save(tr.stream, snap); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Open(filepath.Join(dir, "000010"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.Open(dir); !errors.Is(err, checkpoint.ErrUnusable) {
		t.Errorf("opened what is no checkpoint: %v", err)
	}
	for _, name := range []string{"policy", "reward"} {
		if _, err := c.OpenOptimizer(name); !errors.Is(err, checkpoint.ErrUnusable) {
			t.Errorf("optimizer of %s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "optimizer")); !os.IsNotExist(err) {
		t.Errorf("a folder for nothing: %v", err)
	}
}

const eod = 3 // of words

// words is a tokenizer.json with a few tokens, end of document among them, and others: text to id.
func words(others map[string]int) string {
	vocab := map[string]int{"a": 0, "b": 1, "ab": 2, tokenizer.EndOfDocument: eod}
	added := []map[string]any{}
	special := func(text string, id int) {
		vocab[text] = id
		added = append(added, map[string]any{"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
	}
	special(tokenizer.EndOfDocument, eod)
	for text, id := range others {
		special(text, id)
	}
	text, _ := json.Marshal(map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil, "post_processor": nil,
		"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
		"decoder":       map[string]any{"type": "ByteLevel"},
		"model":         map[string]any{"type": "BPE", "unk_token": nil, "vocab": vocab, "merges": []string{"a b"}},
	})
	return string(text)
}

// TestTokenizerDisagrees: end of document is the tokenizer's; files that say something else are named.
func TestTokenizerDisagrees(t *testing.T) {
	all := readAll(t, golden("form-7b"))
	for name, c := range map[string]struct {
		config     any
		generation string
		tokenizer  string
		want       []string // parts of the warnings, in order
	}{
		"all agree":                    {eod, fmt.Sprintf(`{"eos_token_id":%d}`, eod), words(nil), nil},
		"the list has it":              {eod, fmt.Sprintf(`{"eos_token_id":[5,%d]}`, eod), words(nil), nil},
		"nothing is said":              {nil, `{}`, words(nil), nil},
		"generation config is no JSON": {eod, `{`, words(nil), nil},
		"config disagrees":             {2, `{}`, words(nil), []string{"config.json: eos_token_id is 2, but <|endoftext|> is 3"}},
		"generation config disagrees":  {eod, `{"eos_token_id":[5,6]}`, words(nil), []string{"generation_config.json: eos_token_id is 5"}},
		"both":                         {2, `{"eos_token_id":5}`, words(nil), []string{"config.json: eos_token_id is 2", "generation_config.json: eos_token_id is 5"}},
		"too many tokens":              {eod, `{}`, words(map[string]int{"<z>": 140}), []string{"has 141 tokens, the model 131"}},
		"unknown kind":                 {2, `{}`, `{"version":"1.0","model":{"type":"Unigram"}}`, []string{"only token ids can", "Unigram"}},
	} {
		dir := all.write(t, goldenConfig("form-7b"), map[string]any{"eos_token_id": c.config})
		writeFile(t, filepath.Join(dir, "generation_config.json"), c.generation)
		writeFile(t, filepath.Join(dir, "tokenizer.json"), c.tokenizer)
		m, err := checkpoint.OpenModel(dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		m.Close()
		text := strings.Join(m.Warnings, "\n")
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: warnings %q do not say %q", name, m.Warnings, want)
			}
		}
		if len(c.want) == 0 && text != "" {
			t.Errorf("%s: warnings %q", name, m.Warnings)
		}
	}
}

// TestPadded: the padding id of a score model never occurs in data.
func TestPadded(t *testing.T) {
	id := func(n int) *int { return &n }
	for name, c := range map[string]struct {
		others map[string]int
		vocab  int
		head   falcon.Head
		pad    *int
		want   *int
	}{
		"language model":           {nil, 200, falcon.CausalLM, nil, nil},
		"given":                    {nil, 200, falcon.SequenceClassification, id(1), id(1)},
		"beyond the tokenizer":     {nil, 200, falcon.SequenceClassification, nil, id(4)},
		"given, but EOD":           {nil, 200, falcon.SequenceClassification, id(eod), id(4)},
		"a token for it":           {map[string]int{"<pad>": 4}, 5, falcon.SequenceClassification, id(eod), id(4)},
		"Falcon's":                 {map[string]int{">>TITLE<<": 5, ">>MIDDLE<<": 4}, 6, falcon.SequenceClassification, nil, id(4)},
		"nothing that never is":    {nil, 4, falcon.SequenceClassification, nil, nil},
		"a token without a vector": {map[string]int{"<pad>": 4}, 4, falcon.SequenceClassification, nil, nil},
	} {
		tok, err := tokenizer.Parse([]byte(words(c.others)))
		if err != nil {
			t.Fatal(err)
		}
		got := checkpoint.Padded(falcon.Config{Head: c.head, VocabSize: c.vocab, PadTokenID: c.pad}, tok).PadTokenID
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestSHA256 depends on contents, not on place.
func TestSHA256(t *testing.T) {
	sum := func(dir string) string {
		t.Helper()
		m, err := checkpoint.OpenModel(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		s, err := m.SHA256()
		if err != nil || len(s) != 64 {
			t.Fatalf("%q, %v", s, err)
		}
		return s
	}
	all := readAll(t, golden("form-rw"))
	a, b := all.write(t, goldenConfig("form-rw"), nil), all.write(t, goldenConfig("form-rw"), nil)
	if sum(a) != sum(b) {
		t.Error("two copies differ")
	}
	all["transformer.ln_f.bias"].data[0] ^= 1
	if sum(a) == sum(all.write(t, goldenConfig("form-rw"), nil)) {
		t.Error("other weights, same sum")
	}
	run := t.TempDir()
	mustSave(t, saver(quickOS, filepath.Join(run, "checkpoints")), tinyTrainee(t), 10)
	if sum(run) != sum(filepath.Join(run, "checkpoints", "000010", "policy")) {
		t.Error("a run's model and its folder differ")
	}
}

// TestDownloadsAreAwaited: on a device that does its work when it is waited for, and spoils what is read before, the files are the
// same; and with any single Wait left out they are not.
func TestDownloadsAreAwaited(t *testing.T) {
	contents := func(ignore int) (map[string]string, int) {
		t.Helper()
		d := backendtest.Deferring(reference.New(), backendtest.Options{IgnoreWait: ignore})
		dir := t.TempDir()
		tr, err := newTrainee(d, tiny(), tensor.Float32, collective.Solo{}, nil)
		if err := errors.Join(err, tr.fill()); err != nil {
			t.Fatal(err)
		}
		mustSave(t, saver(quickOS, dir), tr, 10)
		return tree(t, dir), d.Waits()
	}
	tr, err := newTrainee(reference.New(), tiny(), tensor.Float32, collective.Solo{}, nil)
	dir := t.TempDir()
	if err := errors.Join(err, tr.fill()); err != nil {
		t.Fatal(err)
	}
	mustSave(t, saver(quickOS, dir), tr, 10)
	want := tree(t, dir)
	got, waits := contents(0)
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s differs on a deferring device", name)
		}
	}
	if waits == 0 {
		t.Fatal("nothing was awaited")
	}
	for n := 1; n <= waits; n++ {
		if got, _ := contents(n); got["000010/manifest.json"] == want["000010/manifest.json"] {
			t.Errorf("wait %d of %d is not needed", n, waits)
		}
	}
}

// TestHostMemory: a model of 192 MB with its optimizer's state is saved, opened, loaded and exported with a few pieces of memory.
func TestHostMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a gigabyte")
	}
	cfg := tiny()
	cfg.HiddenSize, cfg.HeadDim, cfg.FFNSize, cfg.VocabSize = 512, 256, 1024, 90_000
	d := cpu.New(1)
	s := d.Stream()
	arena, err := d.Arena("test", 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	s.Use(arena)
	stage := falcon.NewStage(s, cfg, falcon.Options{DType: tensor.Float32, Positions: 8})
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	allocated := func(what string, do func() error) {
		t.Helper()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := do(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		const most = 64 << 20
		if n := after.TotalAlloc - before.TotalAlloc; n > most {
			t.Errorf("%s allocated %d MB in all for a model of %d MB, want at most %d", what, n>>20, stage.Params.Weights().Bytes()>>20, most>>20)
		}
	}
	snap := checkpoint.Snapshot{Step: 1, Models: []checkpoint.Trained{{Name: "policy", Config: cfg, Store: stage.Params}}}
	allocated("save", func() error { _, err := saver(quickOS, dir).Save(s, snap); return err })
	var m *checkpoint.Model
	allocated("open", func() (err error) { m, err = checkpoint.OpenModel(filepath.Join(dir, "000001")); return err })
	defer m.Close()
	allocated("load", func() error { return m.Load(s, stage.Params) })
	allocated("export", func() error {
		_, err := checkpoint.Export(quickOS, m, filepath.Join(t.TempDir(), "out"), tensor.BFloat16)
		return err
	})
}
