package falcon

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func readTestFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) && strings.HasPrefix(path, "..") {
		t.Skipf("%s is not here: the published files are not part of this repository", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// published is a file of the published models, outside of the repository.
func published(name string) string { return filepath.Join("../../../shared/data/falcon", name) }

func parse(t *testing.T, path string) (Config, []string) {
	t.Helper()
	c, warnings, err := ParseConfig(readTestFile(t, path))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return c, warnings
}

func id(n int) *int { return &n }

// form returns a valid config of one of the published forms.
func form(name string) Config {
	c := Config{
		HiddenSize: 64, NumLayers: 2, NumHeads: 8, HeadDim: 8, FFNSize: 256, VocabSize: 100, MaxPositions: 2048, RopeTheta: 10000,
		LayerNormEpsilon: 1e-5, InitializerRange: 0.02, TieWordEmbeddings: true, DType: "float32", NumLayerNorms: 2,
	}
	switch name {
	case "40B":
		c.NumKVHeads, c.NewDecoderArchitecture, c.ParallelAttention = 2, true, true
	case "7B":
		c.NumKVHeads, c.MultiQuery, c.ParallelAttention, c.NumLayerNorms = 1, true, true, 1
	case "RW":
		c.NumKVHeads, c.Alibi, c.Bias = 8, true, true
	}
	return c
}

var forms = []string{"40B", "7B", "RW"}

func TestPublishedConfigs(t *testing.T) {
	base := Config{FFNSize: 32768, HiddenSize: 8192, HeadDim: 64, VocabSize: 65024, MaxPositions: 2048, RopeTheta: 10000,
		LayerNormEpsilon: 1e-5, InitializerRange: 0.02, TieWordEmbeddings: true, DType: "bfloat16", BOSTokenID: id(11), EOSTokenID: id(11)}
	with := func(change func(c *Config)) Config {
		c := base
		change(&c)
		return c
	}
	falcon40 := with(func(c *Config) {
		c.NumLayers, c.NumHeads, c.NumKVHeads = 60, 128, 8
		c.NewDecoderArchitecture, c.ParallelAttention, c.NumLayerNorms = true, true, 2
	})
	falcon7 := with(func(c *Config) {
		c.HiddenSize, c.FFNSize, c.NumLayers, c.NumHeads, c.NumKVHeads = 4544, 18176, 32, 71, 1
		c.MultiQuery, c.ParallelAttention, c.NumLayerNorms = true, true, 1
	})
	rw := with(func(c *Config) {
		c.HiddenSize, c.FFNSize, c.NumLayers, c.NumHeads, c.NumKVHeads, c.VocabSize = 2048, 8192, 24, 32, 32, 50304
		c.Alibi, c.Bias, c.NumLayerNorms, c.BOSTokenID, c.EOSTokenID = true, true, 2, id(1), id(2)
	})
	falcon40old := falcon40
	falcon40old.BOSTokenID, falcon40old.EOSTokenID = id(1), id(2) // as first published
	for _, test := range []struct {
		path       string
		want       Config
		qkvRows    int
		parameters int64 // as published, head tied; 0: not known
		warnings   string
	}{
		{published("config-40b.json"), falcon40, 9216, 41_303_293_952, ""},
		{published("config-40b.refinedweb.json"), falcon40old, 9216, 41_303_293_952, "auto_map"},
		{published("config-7b.json"), falcon7, 4672, 6_921_720_704, ""},
		{published("config-7b.refinedweb.json"), falcon7, 4672, 6_921_720_704, "auto_map"},
		{published("config-rw-1b.json"), rw, 6144, 1_311_625_216, ""},
		{"testdata/config-legacy-rw.json", rw, 6144, 1_311_625_216, "auto_map"},
		{published("config-180b.json"), with(func(c *Config) {
			c.HiddenSize, c.FFNSize, c.NumLayers, c.NumHeads, c.NumKVHeads = 14848, 59392, 80, 232, 8
			c.NewDecoderArchitecture, c.ParallelAttention, c.NumLayerNorms = true, true, 2
		}), 15872, 0, ""},
		{"testdata/config-one-norm.json", with(func(c *Config) {
			c.HiddenSize, c.FFNSize, c.NumLayers, c.NumHeads, c.NumKVHeads, c.HeadDim = 4096, 16384, 60, 32, 8, 128
			c.NewDecoderArchitecture, c.ParallelAttention, c.NumLayerNorms = true, true, 1
			c.TieWordEmbeddings, c.RopeTheta, c.MaxPositions = false, 500042, 8192
		}), 6144, 0, "keys not used: ff_factor"},
		{"testdata/config-transformers5-reward.json", Config{
			Head: SequenceClassification, HiddenSize: 64, NumLayers: 2, NumHeads: 4, NumKVHeads: 2, HeadDim: 16, FFNSize: 256, VocabSize: 500,
			MaxPositions: 2048, RopeTheta: 20000, LayerNormEpsilon: 1e-5, InitializerRange: 0.02, NewDecoderArchitecture: true,
			ParallelAttention: true, NumLayerNorms: 2, TieWordEmbeddings: true, DType: "bfloat16",
			BOSTokenID: id(11), EOSTokenID: id(11), PadTokenID: id(10),
		}, 128, 0, ""},
	} {
		t.Run(filepath.Base(test.path), func(t *testing.T) {
			c, warnings := parse(t, test.path)
			if !reflect.DeepEqual(c, test.want) {
				t.Errorf("got  %+v\nwant %+v", c, test.want)
			}
			if c.QKVRows() != test.qkvRows {
				t.Errorf("QKVRows = %d, want %d", c.QKVRows(), test.qkvRows)
			}
			if got := c.NumParameters(); test.parameters != 0 && got != test.parameters {
				t.Errorf("%d parameters, published are %d", got, test.parameters)
			}
			if got := strings.Join(warnings, "; "); !strings.Contains(got, test.warnings) || (test.warnings == "") != (got == "") {
				t.Errorf("warnings %q, want %q", got, test.warnings)
			}
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The tensors against the indexes of the published models, which store a copy of the tied head.
func TestPublishedTensors(t *testing.T) {
	for _, model := range []string{"40b", "7b"} {
		c, _ := parse(t, published("config-"+model+".json"))
		var file struct {
			Total   int64 `json:"total_size"`
			Tensors []struct {
				Name  string
				Shape []int
			}
		}
		if err := json.Unmarshal(readTestFile(t, published("tensors-"+model+".json")), &file); err != nil {
			t.Fatal(err)
		}
		want := map[string][]int{}
		for _, tensor := range file.Tensors {
			want[tensor.Name] = tensor.Shape
		}
		for _, tied := range []bool{true, false} {
			c.TieWordEmbeddings = tied
			got := map[string][]int{}
			for _, tensor := range c.Tensors() {
				if _, double := got[tensor.Name]; double {
					t.Errorf("%s: %s twice", model, tensor.Name)
				}
				got[tensor.Name] = tensor.Shape
			}
			if tied {
				got[LMHeadName] = []int{c.VocabSize, c.HiddenSize}
			}
			if !maps.EqualFunc(got, want, slices.Equal) {
				t.Errorf("%s: %d tensors differ from the %d published", model, len(got), len(want))
			}
			if bytes := 2 * c.NumParameters(); !tied && bytes != file.Total {
				t.Errorf("%s: %d bytes, the index has %d", model, bytes, file.Total)
			}
		}
	}
}

func TestTensorsOfEachForm(t *testing.T) {
	for name, want := range map[string]string{
		"40B": "transformer.h.1.ln_attn.weight transformer.h.1.ln_attn.bias transformer.h.1.ln_mlp.weight transformer.h.1.ln_mlp.bias " +
			"transformer.h.1.self_attention.query_key_value.weight transformer.h.1.self_attention.dense.weight " +
			"transformer.h.1.mlp.dense_h_to_4h.weight transformer.h.1.mlp.dense_4h_to_h.weight",
		"7B": "transformer.h.1.input_layernorm.weight transformer.h.1.input_layernorm.bias " +
			"transformer.h.1.self_attention.query_key_value.weight transformer.h.1.self_attention.dense.weight " +
			"transformer.h.1.mlp.dense_h_to_4h.weight transformer.h.1.mlp.dense_4h_to_h.weight",
		"RW": "transformer.h.1.input_layernorm.weight transformer.h.1.input_layernorm.bias " +
			"transformer.h.1.post_attention_layernorm.weight transformer.h.1.post_attention_layernorm.bias " +
			"transformer.h.1.self_attention.query_key_value.weight transformer.h.1.self_attention.query_key_value.bias " +
			"transformer.h.1.self_attention.dense.weight transformer.h.1.self_attention.dense.bias " +
			"transformer.h.1.mlp.dense_h_to_4h.weight transformer.h.1.mlp.dense_h_to_4h.bias " +
			"transformer.h.1.mlp.dense_4h_to_h.weight transformer.h.1.mlp.dense_4h_to_h.bias",
	} {
		c := form(name)
		c.TieWordEmbeddings = false
		var second, outside []string
		for _, tensor := range c.Tensors() {
			switch {
			case strings.HasPrefix(tensor.Name, "transformer.h.1."):
				second = append(second, tensor.Name)
			case !strings.HasPrefix(tensor.Name, "transformer.h."):
				outside = append(outside, tensor.Name)
			}
		}
		if got := strings.Join(second, " "); got != want {
			t.Errorf("%s: layer 1 has\n%s\nwant\n%s", name, got, want)
		}
		if got := strings.Join(outside, " "); got != "transformer.word_embeddings.weight transformer.ln_f.weight transformer.ln_f.bias lm_head.weight" {
			t.Errorf("%s: outside of the layers: %s", name, got)
		}
		c.Head = SequenceClassification
		if last := c.Tensors()[len(c.Tensors())-1]; last.Name != "score.weight" || !slices.Equal(last.Shape, []int{1, 64}) {
			t.Errorf("%s: classification head %v", name, last)
		}
	}
}

// withKeys changes keys of a valid modern config; the value nil leaves a key out.
func withKeys(c Config, changes map[string]any) []byte {
	var fields map[string]any
	if err := json.Unmarshal(c.JSON(), &fields); err != nil {
		panic(err)
	}
	for key, value := range changes {
		if fields[key] = value; value == nil {
			delete(fields, key)
		}
	}
	text, _ := json.Marshal(fields)
	return text
}

func TestParseConfigRefuses(t *testing.T) {
	type keys = map[string]any
	for _, test := range []struct {
		form    string
		changes keys
		want    string
	}{
		{"40B", keys{"model_type": nil}, "model_type: is missing"},
		{"40B", keys{"model_type": "llama"}, `model_type: "llama" is not supported`},
		{"40B", keys{"model_type": "custom", "auto_map": keys{"AutoConfig": "x.Y"}}, "auto_map: the model needs code from its repository, which is never run"},
		{"40B", keys{"model_type": 1}, "model_type: 1 is not a string"},
		{"40B", keys{"hidden_size": nil}, "hidden_size: is missing"},
		{"40B", keys{"hidden_size": 64.5}, "hidden_size: 64.5 is not an integer"},
		{"40B", keys{"hidden_size": "64"}, `hidden_size: "64" is not an integer`},
		{"40B", keys{"hidden_size": -64}, "hidden_size: -64 is not in [1, 1048576]"},
		{"40B", keys{"hidden_size": 1 << 62}, "is not in [1, 1048576]"},
		{"40B", keys{"hidden_size": 60}, "hidden_size: 60 is not a multiple of num_attention_heads 8"},
		{"40B", keys{"hidden_size": 72}, "head_dim: hidden_size / num_attention_heads = 9 is odd"},
		{"40B", keys{"hidden_size": 64, "n_embed": 128}, "n_embed: 128 contradicts hidden_size 64"},
		{"40B", keys{"head_dim": 16}, "head_dim: 16 is not hidden_size / num_attention_heads = 8"},
		{"40B", keys{"num_hidden_layers": 0}, "num_hidden_layers: 0 is not in"},
		{"40B", keys{"num_attention_heads": nil}, "num_attention_heads: is missing"},
		{"40B", keys{"num_kv_heads": 3}, "num_kv_heads: num_attention_heads 8 is not a multiple of 3"},
		{"40B", keys{"num_kv_heads": 0}, "num_kv_heads: 0 is not in"},
		{"40B", keys{"n_head_kv": 4}, "n_head_kv: 4 contradicts num_kv_heads 2"},
		{"40B", keys{"vocab_size": nil}, "vocab_size: is missing"},
		{"40B", keys{"ffn_hidden_size": -1}, "ffn_hidden_size: -1 is not in"},
		{"40B", keys{"parallel_attn": false}, "parallel_attn: new_decoder_architecture has parallel attention only"},
		{"40B", keys{"num_ln_in_parallel_attn": 3}, "num_ln_in_parallel_attn: 3 is neither 1 nor 2"},
		{"7B", keys{"num_ln_in_parallel_attn": 2}, "a parallel block has 1 layer norm, not 2"},
		{"7B", keys{"num_kv_heads": 2}, "num_kv_heads: 2 contradicts multi_query; is new_decoder_architecture missing?"},
		{"RW", keys{"num_kv_heads": 2}, "as many as query heads, 8, not 2"},
		{"RW", keys{"rotary": true}, "either rotary or alibi"},
		{"7B", keys{"rotary": false}, "either rotary or alibi"},
		{"7B", keys{"alibi": 1}, "alibi: 1 is not true or false"},
		{"7B", keys{"activation": "gelu_new"}, `activation: "gelu_new" is not supported; gelu`},
		{"7B", keys{"hidden_dropout": 0.1}, "hidden_dropout: 0.1; dropout is not supported"},
		{"7B", keys{"attention_dropout": 0.1}, "attention_dropout: 0.1; dropout is not supported"},
		{"7B", keys{"apply_residual_connection_post_layernorm": true}, "apply_residual_connection_post_layernorm: is not supported"},
		{"7B", keys{"quantization_config": keys{"bits": 4}}, "quantization_config: quantised weights"},
		{"7B", keys{"is_encoder_decoder": true}, "is_encoder_decoder: is not supported"},
		{"7B", keys{"rope_theta": 0}, "rope_theta: 0 is not a positive number"},
		{"7B", keys{"rope_scaling": keys{"type": "linear", "factor": 2}}, "rope_scaling: factor 2 is not supported"},
		{"7B", keys{"rope_parameters": keys{"rope_type": "yarn"}}, "rope_parameters: rope_type yarn is not supported"},
		{"7B", keys{"rope_parameters": keys{"rope_theta": 5000}}, "contradicts rope_theta"},
		{"7B", keys{"rope_parameters": keys{"partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5 is not supported"},
		{"7B", keys{"rope_parameters": 1}, "rope_parameters: 1 is not an object"},
		{"7B", keys{"layer_norm_epsilon": 0}, "layer_norm_epsilon: 0 is not in (0, 1)"},
		{"7B", keys{"initializer_range": -0.1}, "initializer_range: -0.1 is not in"},
		{"7B", keys{"torch_dtype": "int8"}, `torch_dtype: "int8" is neither`},
		{"7B", keys{"dtype": "bfloat16"}, `dtype: "bfloat16" contradicts torch_dtype "float32"`},
		{"7B", keys{"eos_token_id": "11"}, `eos_token_id: "11" is not a token id or a list of them`},
		{"7B", keys{"architectures": []string{"FalconModel"}}, `architectures: "FalconModel" is not supported`},
		{"7B", keys{"architectures": []string{"FalconForCausalLM", "FalconForSequenceClassification"}}, "is more than one"},
		{"7B", keys{"architectures": "FalconForCausalLM"}, "is not a list of strings"},
		{"7B", keys{"architectures": []string{"FalconForSequenceClassification"}}, "num_labels: 2; a reward or value model has 1"},
		{"7B", keys{"architectures": []string{"RWForSequenceClassification"}, "num_labels": 3}, "num_labels: 3; a reward"},
		{"7B", keys{"architectures": []string{"FalconForSequenceClassification"}, "id2label": keys{"0": "a", "1": "b"}}, "num_labels: 2; a reward"},
		{"7B", keys{"architectures": []string{"FalconForSequenceClassification"}, "num_labels": 1, "id2label": keys{"0": "a", "1": "b"}}, "id2label: has 2 labels"},
		{"7B", keys{"alfred_role": "critic"}, `alfred_role: "critic" is none of`},
		{"7B", keys{"alfred_reward_gain": 2}, "alfred_reward_gain: belongs to a model with a score head"},
		{"7B", keys{"model_type": "RefinedWebModel", "new_decoder_architecture": nil, "num_kv_heads": nil, "multi_query": nil}, "multi_query: is missing, and its default differed"},
		{"7B", keys{"model_type": "RefinedWebModel", "new_decoder_architecture": nil, "num_kv_heads": nil, "parallel_attn": nil}, "parallel_attn: is missing, and its default differed"},
	} {
		c, _, err := ParseConfig(withKeys(form(test.form), test.changes))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "falcon: config: ") {
			t.Errorf("%s with %v: %v\nwant %q", test.form, test.changes, err, test.want)
		}
		if !reflect.DeepEqual(c, Config{}) {
			t.Errorf("%s with %v: a refused config is returned", test.form, test.changes)
		}
	}
	reward := form("7B")
	reward.Head = SequenceClassification
	for gain, want := range map[any]string{0: "alfred_reward_gain: 0 is not a positive number", -2: "-2 is not a positive", "x": `"x" is not a number`} {
		if _, _, err := ParseConfig(withKeys(reward, map[string]any{"alfred_reward_gain": gain})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("gain %v: %v", gain, err)
		}
	}
	for text, want := range map[string]string{
		"":                                   "not a JSON object",
		"[]":                                 "not a JSON object",
		"{":                                  "not JSON",
		`{"a":}`:                             `not JSON at key "a"`,
		`{"a":1,}`:                           "not JSON",
		`{"a":1} x`:                          "text after the JSON object",
		`{"a":1} }`:                          "text after the JSON object",
		`{"bias":1,"bias":2}`:                "bias: appears twice",
		strings.Repeat(" ", 5<<20):           "at most 4194304 are read",
		`{"a":` + strings.Repeat("[", 1<<20): "not JSON",
	} {
		if _, _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v; want %q", text, err, want)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, _, err := ParseConfig(readTestFile(t, "testdata/config-everything-wrong.json"))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, key := range []string{
		"activation", "alfred_reward_gain", "alfred_role", "alibi", "apply_residual_connection_post_layernorm", "architectures",
		"attention_dropout", "auto_map", "hidden_dropout", "initializer_range", "layer_norm_epsilon", "max_position_embeddings",
		"model_type", "num_hidden_layers", "num_kv_heads", "parallel_attn", "quantization_config", "rope_scaling", "rotary", "torch_dtype", "vocab_size",
	} {
		if n := strings.Count(err.Error(), "\n"+key+": ") + strings.Count(err.Error(), "falcon: config: "+key+": "); n != 1 {
			t.Errorf("%s is reported %d times in:\n%v", key, n, err)
		}
	}
}

func TestParseConfigWarns(t *testing.T) {
	type keys = map[string]any
	for _, test := range []struct {
		changes keys
		want    string
		check   func(c Config) bool
	}{
		{keys{"auto_map": keys{"AutoConfig": "x.Y"}}, "auto_map: the repository's own code is ignored", nil},
		{keys{"architectures": nil}, "architectures: missing, FalconForCausalLM is assumed", nil},
		{keys{"torch_dtype": "float16"}, "float16 weights are read into float32", func(c Config) bool { return c.DType == "float32" }},
		{keys{"torch_dtype": "torch.bfloat16"}, "", func(c Config) bool { return c.DType == "bfloat16" }},
		{keys{"eos_token_id": []int{11, 12}}, "eos_token_id: only the first of [11 12] is used", func(c Config) bool { return *c.EOSTokenID == 11 }},
		{keys{"eos_token_id": []int{}}, "", func(c Config) bool { return c.EOSTokenID == nil }},
		{keys{"pad_token_id": -1}, "pad_token_id: -1 is not in the vocabulary of 100", func(c Config) bool { return *c.PadTokenID == -1 }},
		{keys{"bos_token_id": 100}, "bos_token_id: 100 is not in the vocabulary", nil},
		{keys{"bos_token_id": nil}, "", func(c Config) bool { return c.BOSTokenID == nil }},
		{keys{"zeta": 1, "new_thing": keys{}}, "keys not used: new_thing, zeta", nil},
		{keys{"transformers_version": "4.31", "temperature": 1.0}, "", nil},
		{keys{"num_kv_heads": 1}, "", func(c Config) bool { return c.NumKVHeads == 1 }},
		{keys{"rope_scaling": keys{"type": "default"}}, "", nil},
		{keys{"rope_theta": nil, "rope_parameters": keys{"rope_theta": 5000, "rope_type": "default"}}, "", func(c Config) bool { return c.RopeTheta == 5000 }},
		{keys{"ffn_hidden_size": nil}, "", func(c Config) bool { return c.FFNSize == 256 }},
		{keys{"tie_word_embeddings": nil}, "", func(c Config) bool { return c.TieWordEmbeddings }},
	} {
		c, warnings, err := ParseConfig(withKeys(form("7B"), test.changes))
		got := strings.Join(warnings, "; ")
		if err != nil || !strings.Contains(got, test.want) || (test.want == "") != (got == "") {
			t.Errorf("%v: warnings %q, %v; want %q", test.changes, got, err, test.want)
		}
		if test.check != nil && !test.check(c) {
			t.Errorf("%v: %+v", test.changes, c)
		}
	}
}

// What JSON writes, ParseConfig reads back without a warning.
func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := form(rapid.SampledFrom(forms).Draw(t, "form"))
		token := func(name string) *int { return rapid.Ptr(rapid.IntRange(0, c.VocabSize-1), true).Draw(t, name) }
		c.BOSTokenID, c.EOSTokenID, c.PadTokenID = token("bos"), token("eos"), token("pad")
		c.TieWordEmbeddings = rapid.Bool().Draw(t, "tied")
		c.Bias = rapid.Bool().Draw(t, "bias")
		c.Alibi = rapid.Bool().Draw(t, "alibi")
		c.DType = rapid.SampledFrom([]string{"bfloat16", "float32"}).Draw(t, "dtype")
		c.RopeTheta = rapid.Float64Range(1, 1e6).Draw(t, "theta")
		c.LayerNormEpsilon = rapid.Float64Range(1e-12, 0.5).Draw(t, "epsilon")
		c.FFNSize = rapid.IntRange(1, 1000).Draw(t, "ffn")
		if c.NewDecoderArchitecture {
			c.NumKVHeads = rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(t, "kv")
			c.NumLayerNorms = rapid.IntRange(1, 2).Draw(t, "norms")
		}
		c.Role = rapid.SampledFrom([]string{"", "policy", "reward", "value"}).Draw(t, "role")
		if rapid.Bool().Draw(t, "classification") {
			c.Head = SequenceClassification
			if rapid.Bool().Draw(t, "normalised") {
				c.Normalisation = &Normalisation{rapid.Float64Range(0.001, 100).Draw(t, "gain"), rapid.Float64Range(-10, 10).Draw(t, "offset")}
			}
		}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		got, warnings, err := ParseConfig(c.JSON())
		if err != nil || len(warnings) > 0 || !reflect.DeepEqual(got, c) {
			t.Fatalf("%v, warnings %q\n got %+v\nwant %+v\n%s", err, warnings, got, c, c.JSON())
		}
	})
}

// Every key of a published file that is not the program's own business is written with the same value.
func TestJSONAsPublished(t *testing.T) {
	for _, name := range []string{"config-40b.json", "config-7b.json", "config-rw-1b.json", "config-180b.json"} {
		text := readTestFile(t, published(name))
		c, _ := parse(t, published(name))
		var want, got map[string]any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(c.JSON(), &got); err != nil {
			t.Fatal(err)
		}
		for key, value := range want {
			if !reflect.DeepEqual(got[key], value) {
				t.Errorf("%s: %s is %v, published is %v", name, key, got[key], value)
			}
		}
		if _, code := got["auto_map"]; code {
			t.Errorf("%s: auto_map is written", name)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, name := range forms {
		f.Add(form(name).JSON())
	}
	paths, err := filepath.Glob("testdata/config-*.json")
	if err != nil || len(paths) == 0 {
		f.Fatal("no seeds")
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := ParseConfig(data)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("accepted, but: %v", err)
		}
		again, _, err := ParseConfig(c.JSON())
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, again, c)
		}
		if c.NumLayers <= 100 && c.NumParameters() <= 0 {
			t.Fatalf("%d parameters", c.NumParameters())
		}
	})
}
