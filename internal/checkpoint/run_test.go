package checkpoint_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/backendtest"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
	"alfred/internal/checkpoint"
	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/checkpoint/storage/storagetest"
	"alfred/internal/collective"
	"alfred/internal/falcon"
	"alfred/internal/mesh"
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
	c, _, err := checkpoint.Latest(dir)
	if err != nil {
		t.Fatal(err)
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

// TestExport: what comes out of any checkpoint is a plain directory that holds, bit for bit, what the original held; configuration
// without code, tokenizer files byte for byte.
func TestExport(t *testing.T) {
	assets := t.TempDir()
	writeFile(t, filepath.Join(assets, "tokenizer.json"), words(map[string]int{"<pad>": 4}))
	writeFile(t, filepath.Join(assets, "special_tokens_map.json"), "{ \"eos_token\":  \"<|endoftext|>\"}\n")
	writeFile(t, filepath.Join(assets, "notes.txt"), "not the tokenizer's")
	for _, form := range forms {
		for _, size := range []int{1, 2} {
			run := t.TempDir()
			layout := mesh.Mesh{Tensor: size, Data: 1, Pipeline: 1}
			original, err := checkpoint.OpenModel(golden(form))
			if err != nil {
				t.Fatal(err)
			}
			err = ranks(layout, func(world, group collective.Group, _ mesh.Coord) error {
				tr, err := newTrainee(cpu.New(1), original.Config, tensor.Float32, group, nil)
				if err := errors.Join(err, original.Load(tr.stream, tr.store)); err != nil {
					return err
				}
				snap := snapshot(10, tr)
				if snap.Assets, err = checkpoint.TokenizerFiles(assets); err != nil {
					return err
				}
				_, err = (&checkpoint.Saver{FS: quickOS, Dir: filepath.Join(run, "checkpoints"), Mesh: layout, World: world}).Save(tr.stream, snap)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			original.Close()
			m, err := checkpoint.OpenModel(run)
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "new", "model")
			warnings, err := checkpoint.Export(nil, m, out, tensor.Invalid)
			if err != nil || len(warnings) > 0 {
				t.Fatalf("warnings %q, %v", warnings, err)
			}
			want, got := readAll(t, golden(form)), readAll(t, out)
			if len(want) != len(got) {
				t.Errorf("%s: %d tensors, want %d", form, len(got), len(want))
			}
			for name, b := range want {
				if g := got[name]; g.dtype != b.dtype || !slices.Equal(g.shape, b.shape) || string(g.data) != string(b.data) {
					t.Errorf("%s, tensor size %d: %s differs", form, size, name)
				}
			}
			files := tree(t, out)
			for _, name := range []string{"tokenizer.json", "special_tokens_map.json"} {
				if files[name] != tree(t, assets)[name] {
					t.Errorf("%s: %s differs", form, name)
				}
			}
			if _, ok := files["notes.txt"]; ok || strings.Contains(files["config.json"], "auto_map") {
				t.Errorf("%s: config %s, notes %v", form, files["config.json"], ok)
			}
			if score := m.Config.Head == falcon.SequenceClassification; score == strings.Contains(files["config.json"], `"pad_token_id": null`) {
				t.Errorf("%s: config %s", form, files["config.json"])
			} else if _, ok := files["generation_config.json"]; ok == score {
				t.Errorf("%s: generation_config.json there: %v", form, ok)
			}
			again, err := checkpoint.OpenModel(out)
			if err != nil {
				t.Fatal(err)
			}
			again.Close()
			if _, err := checkpoint.Export(nil, m, out, tensor.Invalid); err == nil || !strings.Contains(err.Error(), "not empty") {
				t.Errorf("exported over a model: %v", err)
			}
			m.Close()
		}
	}
}

// TestExportPrecision converts with one rounding, and says so in the configuration.
func TestExportPrecision(t *testing.T) {
	m, err := checkpoint.OpenModel(golden("form-rw"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out := filepath.Join(t.TempDir(), "empty")
	if err := os.Mkdir(out, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.Export(nil, m, out, tensor.BFloat16); err != nil {
		t.Fatal(err)
	}
	for name, b := range readAll(t, golden("form-rw")) {
		want := make([]byte, len(b.data)/2)
		backend.Raw(tensor.Float32, b.data).Encode(want, tensor.BFloat16)
		if got := readAll(t, out)[name]; got.dtype != safetensors.BF16 || string(got.data) != string(want) {
			t.Errorf("%s differs", name)
		}
	}
	again, err := checkpoint.OpenModel(out)
	if err != nil || again.Config.DType != "bfloat16" {
		t.Errorf("%+v, %v", again, err)
	}
	again.Close()
}

// TestExportFails at every operation: nothing is left, except a whole model when only the last sync failed.
func TestExportFails(t *testing.T) {
	m, err := checkpoint.OpenModel(golden("form-rw-reward"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for k := 1; ; k++ {
		dir := t.TempDir()
		fault := &storagetest.Faulty{FS: quickOS, FailAt: k}
		_, err := checkpoint.Export(fault, m, filepath.Join(dir, "out"), tensor.Invalid)
		if fault.Ops() < k {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		if !errors.Is(err, checkpoint.ErrStorage) {
			t.Errorf("operation %d (%s): %v", k, fault.Trace()[k-1], err)
		}
		switch left := names(t, dir); {
		case len(left) == 0:
		case slices.Equal(left, []string{"out"}) && k == fault.Ops()-1: // and then RemoveAll of what is gone
			readAll(t, filepath.Join(dir, "out"))
		default:
			t.Errorf("operation %d (%s) left %v", k, fault.Trace()[k-1], left)
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
