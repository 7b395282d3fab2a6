package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"alfred/internal/checkpoint"
	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/checkpoint/safetensors/goldentest"
	"alfred/internal/checkpoint/storage"
	"alfred/internal/falcon"
)

// initModel makes a model of a config and returns its directory.
func initModel(t testing.TB, config string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "new", "model")
	must(t, "", append([]string{"init-model", "--config", write(t, filepath.Join(dir, "config.json"), config), "--tokenizer", smallTokenizer, "--out", out}, args...)...)
	return out
}

// weights reads all tensors of a model.
func weights(t testing.TB, dir string) map[string][]float64 {
	t.Helper()
	return goldentest.Open(t, filepath.Join(dir, "model.safetensors")).Under("")
}

func TestInitModelIsAFunctionOfItsSeed(t *testing.T) {
	first, again, other := initModel(t, tinyConfig), initModel(t, tinyConfig), initModel(t, tinyConfig, "--seed", "2")
	for _, name := range []string{"model.safetensors", "config.json", "tokenizer.json"} {
		if read(t, filepath.Join(first, name)) != read(t, filepath.Join(again, name)) {
			t.Errorf("%s: the same seed gives other bytes", name)
		}
	}
	a, b := weights(t, first), weights(t, other)
	for name, xs := range a {
		if ys := b[name]; strings.Contains(name, "ln_") != slices.Equal(xs, ys) { // norms are constant
			t.Errorf("%s: seed 1 and 2 give the same numbers: %v", name, slices.Equal(xs, ys))
		}
	}
	m, err := checkpoint.OpenModel(first)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if len(m.Warnings) > 0 || *m.Config.EOSTokenID != 1000 || m.Config.Head != falcon.CausalLM {
		t.Errorf("%+v, warnings %q", m.Config, m.Warnings)
	}
}

// TestInitialWeightsDoNotDependOnTheOthers adds layers and another head, and finds the old tensors unchanged.
func TestInitialWeightsDoNotDependOnTheOthers(t *testing.T) {
	small := weights(t, initModel(t, tinyConfig))
	large := weights(t, initModel(t, strings.NewReplacer(`"num_hidden_layers": 2`, `"num_hidden_layers": 3, "num_labels": 1`, "ForCausalLM", "ForSequenceClassification").Replace(tinyConfig)))
	for name, xs := range small {
		if !slices.Equal(xs, large[name]) {
			t.Errorf("%s changes", name)
		}
	}
	if score := large["score.weight"]; len(score) != 32 || score[0] == 0 || large["transformer.h.2.mlp.dense_h_to_4h.weight"] == nil {
		t.Errorf("score.weight is %v, the tensors %d", score, len(large))
	}
	rounded := weights(t, initModel(t, tinyConfig, "--precision", "bfloat16"))
	for name, xs := range small {
		for i, x := range xs {
			if y := rounded[name][i]; math.Abs(x-y) > math.Abs(x)/256 { // bfloat16 has 8 bits, so half a unit is 1/512
				t.Fatalf("%s[%d]: %v in float32, %v in bfloat16", name, i, x, y)
			}
		}
	}
}

// TestInitialDistribution compares mean, deviation and fourth moment with those of the normal distribution, at five standard errors.
func TestInitialDistribution(t *testing.T) {
	config := strings.NewReplacer(`"bias": false`, `"bias": true`, `0.02`, `0.05`).Replace(tinyConfig)
	for name, xs := range weights(t, initModel(t, config)) {
		vector := strings.HasSuffix(name, ".bias") || strings.Contains(name, "ln_")
		if vector {
			want := 0.0
			if strings.HasSuffix(name, ".weight") {
				want = 1
			}
			for _, x := range xs {
				if x != want {
					t.Fatalf("%s holds %v, want %v", name, x, want)
				}
			}
			continue
		}
		n := float64(len(xs))
		var mean, second, fourth float64
		for _, x := range xs {
			z := x / 0.05
			mean, second, fourth = mean+z/n, second+z*z/n, fourth+z*z*z*z/n
		}
		// The variances of z, z² and z⁴ are 1, 2 and 96.
		if math.Abs(mean) > 5/math.Sqrt(n) || math.Abs(second-1) > 5*math.Sqrt(2/n) || math.Abs(fourth-3) > 5*math.Sqrt(96/n) {
			t.Errorf("%s: mean %v, second moment %v, fourth moment %v of %v numbers", name, mean, second, fourth, n)
		}
	}
}

// TestInitialWeightsStay pins the first numbers of a tensor, which were computed apart, in Python, from the papers' descriptions of
// FNV-1a, Philox and the transform of Box and Muller: a seed must go on meaning the same model.
func TestInitialWeightsStay(t *testing.T) {
	draw := initialNormal("transformer.word_embeddings.weight", 1)
	for i, want := range []float64{-0.5185985540333525, 1.9710545972608355, 1.0718277093802537} {
		if got := draw(i); math.Abs(got-want) > 1e-12 { // math.Log and math.Cos may differ in the last bits elsewhere
			t.Errorf("element %d: %v, want %v", i, got, want)
		}
	}
}

// TestLargeTensorsAreWrittenInParts looks at both sides of every border between parts.
func TestLargeTensorsAreWrittenInParts(t *testing.T) {
	const part = 1 << 16
	spec := safetensors.Spec{Name: "w", DType: safetensors.F32, Shape: []int{5*runtime.GOMAXPROCS(0) + 1, part / 2}}
	var data bytes.Buffer
	if err := writeInitialWeights(context.Background(), spec, 2, 7, &data); err != nil {
		t.Fatal(err)
	}
	n := spec.Shape[0] * spec.Shape[1]
	if data.Len() != 4*n {
		t.Fatalf("%d bytes for %d elements", data.Len(), n)
	}
	draw := initialNormal("w", 7)
	for at := 0; at < n; at += part / 2 {
		for i := max(0, at-1); i <= at+1; i++ {
			got := math.Float32frombits(binary.LittleEndian.Uint32(data.Bytes()[4*i:]))
			if want := float32(2 * draw(i)); got != want {
				t.Fatalf("element %d: %v, want %v", i, got, want)
			}
		}
	}
}

// TestNamesHaveAddressesOfTheirOwn looks for two tensors of a very deep model that would get the same numbers.
func TestNamesHaveAddressesOfTheirOwn(t *testing.T) {
	seen := map[[2]float64]string{}
	for _, cfg := range []falcon.Config{
		{NumLayers: 2000, NumLayerNorms: 2, ParallelAttention: true, NewDecoderArchitecture: true, Bias: true},
		{NumLayers: 2000, NumLayerNorms: 2, Bias: true, Head: falcon.SequenceClassification},
	} {
		for _, tensor := range cfg.Tensors() {
			draw := initialNormal(tensor.Name, 1)
			key := [2]float64{draw(0), draw(1)}
			if other, taken := seen[key]; taken && other != tensor.Name {
				t.Errorf("%s and %s have the same numbers", other, tensor.Name)
			}
			seen[key] = tensor.Name
		}
	}
}

func TestInitModelCopiesTokenizerFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "tokenizer.json"), read(t, smallTokenizer))
	write(t, filepath.Join(dir, "tokenizer_config.json"), `{"a":1}`)
	write(t, filepath.Join(dir, "special_tokens_map.json"), `{"b":2}`)
	write(t, filepath.Join(dir, "README.md"), "no")
	for i, path := range []string{dir, filepath.Join(dir, "tokenizer.json")} {
		out := filepath.Join(t.TempDir(), "out")
		must(t, "", "init-model", "--config", write(t, filepath.Join(dir, "config.json"), tinyConfig), "--tokenizer", path, "--out", out)
		if read(t, filepath.Join(out, "tokenizer_config.json")) != `{"a":1}` || read(t, filepath.Join(out, "special_tokens_map.json")) != `{"b":2}` ||
			read(t, filepath.Join(out, "tokenizer.json")) != read(t, smallTokenizer) || has(out, "README.md") {
			t.Errorf("%d: files are missing, different, or too many", i)
		}
	}
}

func TestInitModelSettlesTokens(t *testing.T) {
	dir := t.TempDir()
	config := write(t, filepath.Join(dir, "config.json"), strings.NewReplacer(`"eos_token_id": 1000`, `"eos_token_id": 2, "num_labels": 1`, "ForCausalLM", "ForSequenceClassification").Replace(tinyConfig))
	out := filepath.Join(dir, "out")
	r := alfred("", "init-model", "--config", config, "--tokenizer", smallTokenizer, "--out", out)
	if r.code != 0 || !strings.Contains(r.stderr, "was=2 is=1000") {
		t.Errorf("%+v", r)
	}
	cfg, _, err := falcon.ParseConfig([]byte(read(t, filepath.Join(out, "config.json"))))
	if err != nil || *cfg.EOSTokenID != 1000 || cfg.PadTokenID == nil || *cfg.PadTokenID == 1000 {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestInitModelRefuses(t *testing.T) {
	dir := t.TempDir()
	good, out := write(t, filepath.Join(dir, "config.json"), tinyConfig), filepath.Join(dir, "out")
	small := write(t, filepath.Join(dir, "small.json"), strings.Replace(tinyConfig, `"vocab_size": 1024`, `"vocab_size": 1000`, 1))
	bad := write(t, filepath.Join(dir, "bad.json"), `{"model_type":"gpt2"}`)
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o777); err != nil {
		t.Fatal(err)
	}
	run := func(config, tokenizer, out string, more ...string) []string {
		return append([]string{"init-model", "--config", config, "--tokenizer", tokenizer, "--out", out}, more...)
	}
	fails(t, exitModel, "", run(small, smallTokenizer, out), "1001 entries", "only 1000")
	fails(t, exitUsage, "", run(bad, smallTokenizer, out), "bad.json", "gpt2", "hidden_size")
	fails(t, exitUsage, "", run(filepath.Join(dir, "none"), smallTokenizer, out), "none")
	fails(t, exitModel, "", run(good, filepath.Join(dir, "none"), out), "none")
	fails(t, exitModel, "", run(good, full, out), "tokenizer.json")
	fails(t, exitModel, "", run(good, good, out), "config.json")
	fails(t, exitUsage, "", run(good, smallTokenizer, full), "not empty")
	fails(t, exitUsage, "", run(good, smallTokenizer, good), "config.json")
	fails(t, exitUsage, "", run(good, smallTokenizer, out, "--precision", "int8"), "int8")
	fails(t, exitUsage, "", run(good, smallTokenizer, filepath.Join(good, "below")), "below")
	if _, err := os.Stat("/proc/self"); err == nil { // where nobody can make a directory
		fails(t, exitStorage, "", run(good, smallTokenizer, "/proc/new/model"), "/proc/new")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "out" || storage.IsTemp(e.Name()) {
			t.Errorf("%s was left behind", e.Name())
		}
	}
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o777); err != nil {
		t.Fatal(err)
	}
	must(t, "", run(good, smallTokenizer, empty)...)
}
