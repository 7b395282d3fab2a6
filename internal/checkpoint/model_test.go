package checkpoint_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/cpu"
	"alfred/internal/backend/reference"
	"alfred/internal/checkpoint"
	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/collective"
	"alfred/internal/falcon"
	"alfred/internal/tensor"
)

// stored is the tensors of a model directory.
type stored map[string]blob

type blob struct {
	dtype safetensors.DType
	shape []int
	data  []byte
}

// readAll reads a Hugging Face directory independently of package checkpoint.
func readAll(t testing.TB, dir string) stored {
	t.Helper()
	m, err := safetensors.OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	all := stored{}
	for _, name := range m.Names() {
		e, _ := m.Tensor(name)
		all[name] = blob{e.DType, slices.Clone(e.Shape), bytes.Clone(e.Data())}
	}
	return all
}

// write makes a Hugging Face directory: a configuration with some keys changed (nil removes one), and the tensors.
func (all stored) write(t testing.TB, config string, change map[string]any) (dir string) {
	t.Helper()
	dir = t.TempDir()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for key, value := range change {
		if fields[key] = value; value == nil {
			delete(fields, key)
		}
	}
	text, _ = json.Marshal(fields)
	writeFile(t, filepath.Join(dir, "config.json"), string(text))
	var specs []safetensors.Spec
	for _, name := range slices.Sorted(maps.Keys(all)) {
		specs = append(specs, safetensors.Spec{Name: name, DType: all[name].dtype, Shape: all[name].shape})
	}
	err = safetensors.WriteModel(quickOS, dir, specs, 0, func(spec safetensors.Spec, to io.Writer) error {
		_, err := to.Write(all[spec.Name].data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func golden(form string) string { return filepath.Join(goldens, form) }

func goldenConfig(form string) string { return filepath.Join(goldens, form, "config.json") }

// weights downloads a store's weights by name.
func weights(t testing.TB, tr *trainee) stored {
	t.Helper()
	all := stored{}
	for _, p := range tr.store.Params() {
		w := p.Weight()
		data := make([]byte, w.Bytes())
		if err := tr.stream.Download(backend.Raw(w.DType(), data), w).Wait(); err != nil {
			t.Fatal(err)
		}
		all[p.Name] = blob{"", p.Shape, data}
	}
	return all
}

// open opens a model and loads it on one rank.
func open(t testing.TB, dir string, dtype tensor.DType, fresh ...string) (*checkpoint.Model, *trainee) {
	t.Helper()
	m, err := checkpoint.OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	tr, err := newTrainee(reference.New(), m.Config, dtype, collective.Solo{}, nil)
	if err := errors.Join(err, m.Load(tr.stream, tr.store, fresh...), tr.stream.Sync()); err != nil {
		t.Fatal(err)
	}
	return m, tr
}

// TestGoldens opens what transformers wrote: every form loads bit for bit in float32, and without a change of value in float64.
func TestGoldens(t *testing.T) {
	for _, form := range forms {
		want := readAll(t, golden(form))
		m, tr := open(t, golden(form), tensor.Float32)
		if len(m.Warnings) > 0 {
			t.Errorf("%s: warnings %q", form, m.Warnings)
		}
		got := weights(t, tr)
		if len(got) != len(want) {
			t.Errorf("%s: %d tensors, want %d", form, len(got), len(want))
		}
		_, wide := open(t, golden(form), tensor.Float64)
		gotWide := weights(t, wide)
		for name, b := range want {
			if !bytes.Equal(got[name].data, b.data) {
				t.Errorf("%s: %s: bits differ", form, name)
			}
			exact := make([]byte, 2*len(b.data))
			backend.Raw(tensor.Float32, b.data).Encode(exact, tensor.Float64)
			if !bytes.Equal(gotWide[name].data, exact) {
				t.Errorf("%s: %s: values differ in float64", form, name)
			}
		}
	}
}

// TestConversions: each type of file to each type of device rounds once, to nearest even.
func TestConversions(t *testing.T) {
	base := readAll(t, golden("form-7b"))
	const name = falcon.FinalNormBiasName
	for _, c := range []struct {
		file   safetensors.DType
		device tensor.DType
		in     float64
		want   float64
	}{
		{safetensors.F32, tensor.BFloat16, 1 + 1.0/256, 1},                        // a tie goes to even
		{safetensors.F32, tensor.BFloat16, 1 + 3.0/256, 1 + 4.0/256},              // and the other way
		{safetensors.F64, tensor.BFloat16, 1 + 1.0/256 + 0x1p-40, 1 + 2.0/256},    // rounding to float32 first would lose this
		{safetensors.F64, tensor.Float32, 1 + 0x1p-24 + 0x1p-50, 1 + 0x1p-23},     //
		{safetensors.F16, tensor.Float32, 0x1p-24, 0x1p-24},                       // subnormal in float16
		{safetensors.BF16, tensor.Float32, 1 + 1.0/128, 1 + 1.0/128},              //
		{safetensors.BF16, tensor.Float64, -0x1p-130, -0x1p-130},                  //
		{safetensors.F16, tensor.BFloat16, 1 + 1.0/256 + 1.0/1024, 1 + 2.0/256},   //
		{safetensors.F64, tensor.Float64, 1 + 0x1p-52, 1 + 0x1p-52},               //
		{safetensors.F32, tensor.Float32, 3.4028234663852886e38, 0x1.fffffep+127}, //
	} {
		all := maps.Clone(base)
		width := c.file.Bits() / 8
		data := bytes.Repeat(number(t, c.file, c.in), 48)
		all[name] = blob{c.file, []int{48}, data}
		_, tr := open(t, all.write(t, goldenConfig("form-7b"), nil), c.device)
		p, _ := tr.store.Lookup(name)
		got := make([]float64, 48)
		if err := tr.stream.Download(backend.Float64s(got), p.Weight()).Wait(); err != nil {
			t.Fatal(err)
		}
		for i, x := range got {
			if x != c.want {
				t.Errorf("%v from %s (%d bytes) to %v: element %d is %v, want %v", c.in, c.file, width, c.device, i, x, c.want)
				break
			}
		}
	}
}

// number encodes an exactly representable value.
func number(t testing.TB, dtype safetensors.DType, x float64) []byte {
	t.Helper()
	if dtype == safetensors.F16 {
		switch x {
		case 0x1p-24:
			return []byte{1, 0}
		case 1 + 1.0/256 + 1.0/1024:
			return []byte{5, 0x3c}
		}
		t.Fatalf("no float16 for %v", x)
	}
	data := make([]byte, dtype.Bits()/8)
	if err := safetensors.Encode(data, dtype, []float64{x}); err != nil {
		t.Fatal(err)
	}
	return data
}

// TestOtherHead: the body of a language model goes into a score model whose head is zero, and a classification checkpoint keeps its
// head although it may be fresh.
func TestOtherHead(t *testing.T) {
	for _, form := range []string{"form-40b", "form-40b-1ln", "form-rw-reward"} {
		m, err := checkpoint.OpenModel(golden(form))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		cfg := m.Config
		cfg.Head = falcon.SequenceClassification
		tr, err := newTrainee(reference.New(), cfg, tensor.Float32, collective.Solo{}, nil)
		if err := errors.Join(err, tr.fill(), m.Load(tr.stream, tr.store, falcon.ScoreName)); err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		want, got := readAll(t, golden(form)), weights(t, tr)
		for name, b := range got {
			data := want[name].data
			if data == nil {
				data = make([]byte, len(b.data))
			}
			if !bytes.Equal(b.data, data) {
				t.Errorf("%s: %s: bits differ", form, name)
			}
		}
		if form != "form-rw-reward" {
			mustContain(t, m.Load(tr.stream, tr.store), "score.weight [1", "is missing")
			if err := tr.stream.Sync(); err != nil {
				t.Errorf("%s: a refused load broke the stream: %v", form, err)
			}
		}
	}
}

// TestLoadRefusesAnotherShape names everything that does not fit, as the caller's error and not the device's.
func TestLoadRefusesAnotherShape(t *testing.T) {
	m, err := checkpoint.OpenModel(golden("form-40b"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tr, err := newTrainee(cpu.New(1), configOf(t, "form-rw"), tensor.Float32, collective.Solo{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = m.Load(tr.stream, tr.store)
	if !errors.Is(err, checkpoint.ErrUnusable) {
		t.Errorf("%v does not wrap ErrUnusable", err)
	}
	mustContain(t, err, "transformer.word_embeddings.weight has shape [259 64], the model needs [259 48]", "transformer.h.0.input_layernorm.weight [48] is missing")
}

// TestHeadOrEmbedding: what is stored decides whether a model is tied.
func TestHeadOrEmbedding(t *testing.T) {
	untied := readAll(t, golden("form-40b-1ln"))
	tied := maps.Clone(untied)
	tied[falcon.LMHeadName] = untied[falcon.EmbeddingName]
	half := maps.Clone(tied) // the same values as bfloat16 and float32
	rounded := untied[falcon.EmbeddingName]
	low := make([]byte, len(rounded.data)/2)
	backend.Raw(tensor.Float32, rounded.data).Encode(low, tensor.BFloat16)
	high := make([]byte, len(rounded.data))
	backend.Raw(tensor.BFloat16, low).Encode(high, tensor.Float32)
	half[falcon.EmbeddingName] = blob{safetensors.F32, rounded.shape, high}
	half[falcon.LMHeadName] = blob{safetensors.BF16, rounded.shape, low}
	last := maps.Clone(tied) // one bit in the last element differs
	data := bytes.Clone(tied[falcon.LMHeadName].data)
	data[len(data)-4] ^= 1
	last[falcon.LMHeadName] = blob{safetensors.F32, rounded.shape, data}
	onlyHead := maps.Clone(tied)
	delete(onlyHead, falcon.EmbeddingName)
	onlyEmbedding := maps.Clone(tied)
	delete(onlyEmbedding, falcon.LMHeadName)
	for name, c := range map[string]struct {
		tensors stored
		says    any // tie_word_embeddings in the configuration
		tied    bool
		warning string
		err     string
	}{
		"equal, says tied":            {tied, true, true, "", ""},
		"equal, says nothing":         {tied, nil, true, "", ""},
		"equal, says untied":          {tied, false, true, "read as tied", ""},
		"equal in two types":          {half, nil, true, "", ""},
		"differs, says untied":        {untied, false, false, "", ""},
		"differs, says nothing":       {untied, nil, false, "read as untied", ""},
		"differs in one bit":          {last, true, false, "read as untied", ""},
		"embedding only, says tied":   {onlyEmbedding, nil, true, "", ""},
		"embedding only, says untied": {onlyEmbedding, false, false, "", "lm_head.weight [131 32] is missing"},
		"head only, says tied":        {onlyHead, nil, true, "takes its place", ""},
		"head only, says untied":      {onlyHead, false, false, "", "transformer.word_embeddings.weight [131 32] is missing"},
	} {
		dir := c.tensors.write(t, goldenConfig("form-40b-1ln"), map[string]any{"tie_word_embeddings": c.says})
		m, err := checkpoint.OpenModel(dir)
		if c.err != "" {
			mustContain(t, err, c.err)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Config.TieWordEmbeddings != c.tied {
			t.Errorf("%s: tied %v, want %v", name, m.Config.TieWordEmbeddings, c.tied)
		}
		warned := strings.Join(m.Warnings, "\n")
		if c.warning == "" && warned != "" || !strings.Contains(warned, c.warning) {
			t.Errorf("%s: warnings %q, want %q", name, warned, c.warning)
		}
		m.Close()
		_, tr := open(t, dir, tensor.Float32)
		if w := weights(t, tr)[falcon.EmbeddingName]; name == "head only, says tied" && !bytes.Equal(w.data, tied[falcon.EmbeddingName].data) {
			t.Errorf("%s: the embedding is not the head", name)
		}
	}
}

// TestAllProblemsAtOnce: missing tensors, wrong shapes and types, and NaN, by name.
func TestAllProblemsAtOnce(t *testing.T) {
	all := readAll(t, golden("form-40b-reward"))
	delete(all, "transformer.ln_f.bias")
	delete(all, "score.weight")
	all["transformer.h.0.ln_attn.bias"] = blob{safetensors.F32, []int{16, 2}, all["transformer.h.0.ln_attn.bias"].data}
	all["transformer.h.1.ln_mlp.bias"] = blob{safetensors.I32, []int{32}, all["transformer.h.1.ln_mlp.bias"].data}
	_, err := checkpoint.OpenModel(all.write(t, goldenConfig("form-40b-reward"), nil))
	if !errors.Is(err, checkpoint.ErrUnusable) {
		t.Errorf("%v does not wrap ErrUnusable", err)
	}
	mustContain(t, err, "tensor transformer.ln_f.bias [32] is missing", "tensor score.weight [1 32] is missing",
		"tensor transformer.h.0.ln_attn.bias has shape [16 2], the configuration needs [32]", "tensor transformer.h.1.ln_mlp.bias has type I32")

	all = readAll(t, golden("form-40b-reward"))
	for _, name := range []string{"transformer.h.0.ln_attn.bias", "score.weight"} {
		b := all[name]
		data := bytes.Clone(b.data)
		copy(data[8:], []byte{0, 0, 0xc0, 0x7f})
		all[name] = blob{b.dtype, b.shape, data}
	}
	dir := all.write(t, goldenConfig("form-40b-reward"), nil)
	_, err = checkpoint.OpenModel(dir)
	mustContain(t, err, "transformer.h.0.ln_attn.bias", "score.weight", "NaN or infinite", "model.safetensors")
	m, err := checkpoint.OpenModel(dir, checkpoint.SkipFiniteCheck())
	if err != nil {
		t.Errorf("without the check: %v", err)
	} else {
		m.Close()
	}

	_, err = checkpoint.OpenModel(readAll(t, golden("form-40b-reward")).write(t, goldenConfig("form-40b-reward"),
		map[string]any{"num_labels": 3, "id2label": nil, "label2id": nil}))
	mustContain(t, err, "num_labels")
}

// TestWhatIsPassedOver: tensors of no use are named; frequencies that old repositories stored are not even that.
func TestWhatIsPassedOver(t *testing.T) {
	all := readAll(t, golden("form-7b"))
	all["transformer.h.0.self_attention.maybe_rotary.inv_freq"] = blob{safetensors.F32, []int{2}, make([]byte, 8)}
	all["transformer.h.1.self_attention.rotary_emb.inv_freq"] = blob{safetensors.F32, []int{2}, make([]byte, 8)}
	m, err := checkpoint.OpenModel(all.write(t, goldenConfig("form-7b"), nil))
	if err != nil || len(m.Warnings) > 0 {
		t.Fatalf("warnings %q, %v", m.Warnings, err)
	}
	m.Close()
	for i := range 7 {
		all[fmt.Sprintf("extra.%d", i)] = blob{safetensors.I64, []int{1}, make([]byte, 8)}
	}
	m, err = checkpoint.OpenModel(all.write(t, goldenConfig("form-7b"), nil))
	if err != nil || len(m.Warnings) != 1 {
		t.Fatalf("warnings %q, %v", m.Warnings, err)
	}
	m.Close()
	if w := m.Warnings[0]; !strings.Contains(w, "7 tensors") || !strings.Contains(w, "extra.0") || strings.Contains(w, "inv_freq") {
		t.Errorf("warning %q", w)
	}
}

// TestNotAModel says what is wrong and what would help.
func TestNotAModel(t *testing.T) {
	dir := t.TempDir()
	path := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	for _, d := range []string{"empty", "pickled", "no-config", "no-weights", "run/checkpoints", "bad"} {
		if err := os.MkdirAll(path(d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	config, err := os.ReadFile(goldenConfig("form-7b"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path("pickled", "config.json"), string(config))
	writeFile(t, path("pickled", "pytorch_model.bin"), "PK\x03\x04")
	writeFile(t, path("no-config", "model.safetensors"), "x")
	writeFile(t, path("no-weights", "config.json"), string(config))
	writeFile(t, path("bad", "config.json"), `{"model_type":"llama","auto_map":{"x":"y"}}`)
	writeFile(t, path("bad", "model.safetensors"), "x")
	for name, want := range map[string][]string{
		"absent":                    {"no such file"},
		"empty":                     {"neither a Hugging Face directory", "nor a run directory"},
		"pickled":                   {"pickle", "never read", "save_pretrained"},
		"pickled/pytorch_model.bin": {"is not a directory"},
		"no-config":                 {"config.json is missing"},
		"no-weights":                {"model.safetensors"},
		"run":                       {"no checkpoint has been written yet"},
		"bad":                       {"llama", "never run", "too few"},
	} {
		_, err := checkpoint.OpenModel(path(name))
		if !errors.Is(err, checkpoint.ErrUnusable) {
			t.Errorf("%s: %v does not wrap ErrUnusable", name, err)
		}
		mustContain(t, err, append(want, path(name))...)
	}
}
