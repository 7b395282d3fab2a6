package falcon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// ParseConfig reads a config.json in the layout of transformers ("falcon") or in the legacy one of the repositories
// that brought their own code ("RefinedWeb", "RefinedWebModel"). Code that the file points to (auto_map) is never
// run: for these model types it is not needed, and a warning says so. Warnings name what was passed over; the error
// lists everything that this program cannot do or that contradicts itself.
func ParseConfig(data []byte) (Config, []string, error) {
	r, err := newConfigReader(data)
	if err != nil {
		return Config{}, nil, fmt.Errorf("falcon: config: %w", err)
	}
	c := r.config()
	for _, p := range c.problems() {
		r.bad(p.key, "%s", p.text)
	}
	r.warnUnused()
	if len(r.problems) > 0 {
		return Config{}, r.warnings, fmt.Errorf("falcon: config: %w", errors.Join(r.problems...))
	}
	return c, r.warnings, nil
}

// configReader takes keys out of a JSON object and collects what is wrong. Only the first problem of a key is kept.
type configReader struct {
	fields   map[string]json.RawMessage
	used     map[string]bool
	blamed   map[string]bool
	problems []error
	warnings []string
}

const maxConfigBytes = 4 << 20

func newConfigReader(data []byte) (*configReader, error) {
	if len(data) > maxConfigBytes {
		return nil, fmt.Errorf("%d bytes; at most %d are read", len(data), maxConfigBytes)
	}
	r := &configReader{fields: map[string]json.RawMessage{}, used: map[string]bool{}, blamed: map[string]bool{}}
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		key := token.(string) // the decoder admits nothing else here
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("not JSON at key %q: %w", key, err)
		}
		if _, double := r.fields[key]; double {
			r.bad(key, "appears twice")
		}
		r.fields[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("text after the JSON object")
	}
	return r, nil
}

func (r *configReader) bad(key, format string, args ...any) {
	if !r.blamed[key] {
		r.blamed[key] = true
		r.problems = append(r.problems, configProblem{key, fmt.Sprintf(format, args...)})
	}
}

func (r *configReader) warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

// takeKey decodes the first of the given names that is there and not null, and reports whether there was one. Names that
// disagree are a problem.
func takeKey[T any](r *configReader, into *T, names ...string) bool {
	found := ""
	for _, name := range names {
		r.used[name] = true
		raw, ok := r.fields[name]
		if !ok || string(raw) == "null" {
			continue
		}
		if found != "" {
			if !bytes.Equal(raw, r.fields[found]) {
				r.bad(name, "%s contradicts %s %s", clipJSON(raw), found, clipJSON(r.fields[found]))
			}
			continue
		}
		found = name
		var value T
		if err := json.Unmarshal(raw, &value); err != nil {
			r.bad(name, "%s is not %s", clipJSON(raw), jsonKind(value))
			continue
		}
		*into = value
	}
	return found != ""
}

func clipJSON(raw json.RawMessage) string {
	if len(raw) > 60 {
		return string(raw[:60]) + "..."
	}
	return string(raw)
}

func jsonKind(value any) string {
	switch value.(type) {
	case int:
		return "an integer"
	case float64:
		return "a number"
	case bool:
		return "true or false"
	case string:
		return "a string"
	case []string:
		return "a list of strings"
	case tokenIDs:
		return "a token id or a list of them"
	}
	return "an object"
}

func (r *configReader) config() Config {
	c := Config{
		RopeTheta: 10000, LayerNormEpsilon: 1e-5, InitializerRange: 0.02, MaxPositions: 2048,
		MultiQuery: true, ParallelAttention: true, TieWordEmbeddings: true, DType: "float32",
	}
	legacy := r.modelType()
	r.head(&c)
	for _, size := range []struct {
		into  *int
		names []string
	}{
		{&c.HiddenSize, []string{"hidden_size", "n_embed"}},
		{&c.NumLayers, []string{"num_hidden_layers", "n_layer"}},
		{&c.NumHeads, []string{"num_attention_heads", "n_head"}},
		{&c.VocabSize, []string{"vocab_size"}},
	} {
		if !takeKey(r, size.into, size.names...) {
			r.bad(size.names[0], "is missing")
		}
	}
	if c.FFNSize = 4 * min(c.HiddenSize, maxHiddenSize); !takeKey(r, &c.FFNSize, "ffn_hidden_size") && r.blamed["hidden_size"] {
		r.blamed["ffn_hidden_size"] = true // nothing to say about a default that follows from a bad value
	}
	takeKey(r, &c.LayerNormEpsilon, "layer_norm_epsilon")
	takeKey(r, &c.InitializerRange, "initializer_range")
	takeKey(r, &c.MaxPositions, "max_position_embeddings")
	takeKey(r, &c.TieWordEmbeddings, "tie_word_embeddings")
	takeKey(r, &c.Bias, "bias")
	takeKey(r, &c.Alibi, "alibi")
	r.attention(&c, legacy)
	r.rope(&c)
	r.tokens(&c)
	r.dtype(&c)
	r.unsupported()
	takeKey(r, &c.Role, "alfred_role")
	scale := Normalisation{Gain: 1}
	if hasGain, hasBias := takeKey(r, &scale.Gain, "alfred_reward_gain"), takeKey(r, &scale.Bias, "alfred_reward_bias"); hasGain || hasBias {
		c.Normalisation = &scale
	}
	return c
}

func (r *configReader) modelType() (legacy bool) {
	var name string
	takeKey(r, &name, "model_type")
	_, code := r.fields["auto_map"]
	r.used["auto_map"] = true
	switch name {
	case "falcon":
	case "RefinedWeb", "RefinedWebModel":
		legacy = true
	case "":
		r.bad("model_type", "is missing; falcon is supported, and RefinedWeb and RefinedWebModel of older files")
	default:
		r.bad("model_type", "%q is not supported; falcon is, and RefinedWeb and RefinedWebModel of older files", name)
		if code {
			r.bad("auto_map", "the model needs code from its repository, which is never run")
		}
		return false
	}
	if code && !r.blamed["model_type"] {
		r.warn("auto_map: the repository's own code is ignored, %s models do not need it", name)
	}
	return legacy
}

func (r *configReader) head(c *Config) {
	var classes []string
	takeKey(r, &classes, "architectures")
	var labels map[string]any
	hasNames := takeKey(r, &labels, "id2label")
	r.used["label2id"] = true
	count := 2 // transformers' default
	if !takeKey(r, &count, "num_labels") && hasNames {
		count = len(labels)
	}
	switch {
	case r.blamed["architectures"]:
	case len(classes) == 0:
		r.warn("architectures: missing, %v is assumed", CausalLM)
	case len(classes) > 1:
		r.bad("architectures", "%q is more than one", classes)
	case classes[0] == "FalconForCausalLM" || classes[0] == "RWForCausalLM":
	case classes[0] == "FalconForSequenceClassification" || classes[0] == "RWForSequenceClassification":
		c.Head = SequenceClassification
		if count != 1 {
			r.bad("num_labels", "%d; a reward or value model has 1 (without num_labels and id2label, transformers means 2)", count)
		} else if hasNames && len(labels) != 1 {
			r.bad("id2label", "has %d labels, num_labels is 1", len(labels))
		}
	default:
		r.bad("architectures", "%q is not supported; FalconForCausalLM and FalconForSequenceClassification are", classes[0])
	}
}

// attention settles which of the forms it is. The legacy layout has no key for the new decoder architecture: its code
// for Falcon-40B knew n_head_kv, that for the others did not. And its defaults of multi_query and parallel_attn differed
// between repositories, so there they must be said.
func (r *configReader) attention(c *Config, legacy bool) {
	kv := 0
	hasKV := takeKey(r, &kv, "num_kv_heads", "n_head_kv")
	hasParallel := takeKey(r, &c.ParallelAttention, "parallel_attn")
	hasNew := takeKey(r, &c.NewDecoderArchitecture, "new_decoder_architecture")
	if legacy && !hasNew {
		c.NewDecoderArchitecture = hasKV && c.ParallelAttention
	}
	hasMulti := takeKey(r, &c.MultiQuery, "multi_query")
	if legacy && !c.NewDecoderArchitecture {
		const text = "is missing, and its default differed between the models of this type"
		if !hasMulti {
			r.bad("multi_query", text)
		}
		if !hasParallel {
			r.bad("parallel_attn", text)
		}
	}
	c.MultiQuery = c.MultiQuery && !c.NewDecoderArchitecture
	c.NumKVHeads = c.NumHeads
	switch {
	case c.MultiQuery:
		c.NumKVHeads = 1
		if hasKV && kv != 1 && kv != c.NumHeads { // transformers passes over it; the author meant something
			r.bad("num_kv_heads", "%d contradicts multi_query; is new_decoder_architecture missing?", kv)
		}
	case hasKV:
		c.NumKVHeads = kv
	}
	if r.blamed["num_attention_heads"] {
		r.blamed["num_kv_heads"] = true
	}
	if c.HeadDim = 0; c.NumHeads > 0 {
		c.HeadDim = c.HiddenSize / c.NumHeads
	}
	takeKey(r, &c.HeadDim, "head_dim")
	c.NumLayerNorms = 1
	if c.NewDecoderArchitecture || !c.ParallelAttention {
		c.NumLayerNorms = 2
	}
	norms := c.NumLayerNorms
	if takeKey(r, &norms, "num_ln_in_parallel_attn") && c.ParallelAttention {
		c.NumLayerNorms = norms
	}
}

// rope reads the base of the rotary angles from where transformers 4 and 5 keep it, and refuses to scale them.
func (r *configReader) rope(c *Config) {
	hasTheta := takeKey(r, &c.RopeTheta, "rope_theta")
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		var parameters map[string]any
		takeKey(r, &parameters, key)
		for _, name := range slices.Sorted(maps.Keys(parameters)) {
			switch value := parameters[name]; {
			case name == "rope_theta":
				theta, ok := value.(float64)
				if !ok || hasTheta && theta != c.RopeTheta {
					r.bad(key, "rope_theta %v is not a number or contradicts rope_theta elsewhere", value)
					continue
				}
				c.RopeTheta = theta
			case (name == "rope_type" || name == "type") && value == "default":
			case name == "partial_rotary_factor" && value == 1.0:
			default:
				r.bad(key, "%s %v is not supported: angles are not scaled", name, value)
			}
		}
	}
	rotary := !c.Alibi
	if takeKey(r, &rotary, "rotary"); rotary == c.Alibi {
		r.bad("rotary", "positions are either rotary or alibi, not both or neither")
	}
}

func (r *configReader) tokens(c *Config) {
	for _, token := range []struct {
		key  string
		into **int
	}{{"bos_token_id", &c.BOSTokenID}, {"eos_token_id", &c.EOSTokenID}, {"pad_token_id", &c.PadTokenID}} {
		ids := tokenIDs{}
		if !takeKey(r, &ids, token.key) || len(ids) == 0 {
			continue
		}
		if len(ids) > 1 {
			r.warn("%s: only the first of %v is used", token.key, []int(ids))
		}
		if ids[0] < 0 || ids[0] >= c.VocabSize && c.VocabSize > 0 {
			r.warn("%s: %d is not in the vocabulary of %d", token.key, ids[0], c.VocabSize)
		}
		*token.into = &ids[0]
	}
}

// tokenIDs is a number or a list of numbers.
type tokenIDs []int

func (t *tokenIDs) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]int)(t))
	}
	*t = make(tokenIDs, 1)
	return json.Unmarshal(data, &(*t)[0])
}

func (r *configReader) dtype(c *Config) {
	takeKey(r, &c.DType, "torch_dtype", "dtype")
	c.DType = strings.TrimPrefix(c.DType, "torch.")
	if c.DType == "float16" {
		r.warn("torch_dtype: float16 weights are read into float32, which holds them exactly")
		c.DType = "float32"
	}
}

// unsupported refuses what would change the numbers.
func (r *configReader) unsupported() {
	for _, key := range []string{"hidden_dropout", "attention_dropout"} {
		rate := 0.0
		if takeKey(r, &rate, key); rate != 0 {
			r.bad(key, "%g; dropout is not supported, set it to 0", rate)
		}
	}
	activation := "gelu"
	if takeKey(r, &activation, "activation"); activation != "gelu" {
		r.bad("activation", "%q is not supported; gelu (the exact one, by erf) is", activation)
	}
	for _, key := range []string{"apply_residual_connection_post_layernorm", "is_encoder_decoder", "add_cross_attention"} {
		on := false
		if takeKey(r, &on, key); on {
			r.bad(key, "is not supported")
		}
	}
	quantised := map[string]any{}
	if takeKey(r, &quantised, "quantization_config") {
		r.bad("quantization_config", "quantised weights are not supported: save the model in bfloat16")
	}
}

// bookkeeping are keys that say nothing about the numbers: what transformers writes into every config, and defaults
// of text generation.
var bookkeeping = strings.Fields(`
	transformers_version use_cache _name_or_path _commit_hash _attn_implementation_autoset tokenizer_class
	return_dict output_hidden_states output_attentions output_scores return_dict_in_generate torchscript use_bfloat16
	tf_legacy_loss pruned_heads is_decoder cross_attention_hidden_size tie_encoder_decoder chunk_size_feed_forward
	max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p
	typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
	num_return_sequences forced_bos_token_id forced_eos_token_id remove_invalid_values exponential_decay_length_penalty
	suppress_tokens begin_suppress_tokens finetuning_task prefix sep_token_id decoder_start_token_id task_specific_params
	problem_type`)

func (r *configReader) warnUnused() {
	var unused []string
	for key := range r.fields {
		if !r.used[key] && !slices.Contains(bookkeeping, key) {
			unused = append(unused, key)
		}
	}
	if len(unused) > 0 {
		slices.Sort(unused)
		r.warn("keys not used: %s", strings.Join(unused, ", "))
	}
}
