package falcon

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Head is what stands on top of the body, by the class names in a config's architectures.
type Head int

const (
	// CausalLM predicts the next token: lm_head.weight [V D], or the embedding when tied.
	CausalLM Head = iota
	// SequenceClassification gives one number: score.weight [1 D], without bias. Reward and value models have it.
	SequenceClassification
)

// String returns the name of the class in transformers.
func (h Head) String() string {
	switch h {
	case CausalLM:
		return "FalconForCausalLM"
	case SequenceClassification:
		return "FalconForSequenceClassification"
	}
	return fmt.Sprintf("Head(%d)", int(h))
}

// Config describes a Falcon model. Three forms are published, and the flags also combine otherwise:
//
//	40B  NewDecoderArchitecture, ParallelAttention, NumLayerNorms 2 (1 in Falcon2-11B), grouped K/V heads
//	7B   MultiQuery, ParallelAttention, NumLayerNorms 1
//	RW   Alibi, Bias, neither MultiQuery nor ParallelAttention
//
// Fields are named after the keys of transformers' FalconConfig; ParseConfig and JSON read and write those.
type Config struct {
	Head       Head
	HiddenSize int // D
	NumLayers  int // L
	NumHeads   int // H, query heads
	NumKVHeads int // G, key/value heads in effect: 1 with MultiQuery, NumHeads in the RW form
	HeadDim    int // K = D/H
	FFNSize    int // F
	VocabSize  int // V

	MaxPositions     int     // longest context trained for, in tokens
	RopeTheta        float64 // base of the rotary angles; not used with Alibi
	LayerNormEpsilon float64
	InitializerRange float64 // standard deviation of freshly initialised weights

	NewDecoderArchitecture bool // fused QKV rows in G groups of (H/G queries, key, value)
	MultiQuery             bool // all query heads share one key/value head; not set with NewDecoderArchitecture
	ParallelAttention      bool // attention and MLP both read the block's input
	NumLayerNorms          int  // per block: 1 (attention and MLP share it) or 2
	Alibi                  bool // linear biases in place of rotary positions
	Bias                   bool // the linear layers have one; layer norms always do
	TieWordEmbeddings      bool // the language-model head is the embedding

	BOSTokenID, EOSTokenID, PadTokenID *int // as the file says; nil if it does not

	DType string // of the stored weights: "bfloat16" or "float32"

	// Role says what the model is trained for: "", "policy", "reward" or "value" (key alfred_role).
	Role string
	// Normalisation maps the raw output of a reward or value model to its score; nil: the raw output is the score.
	Normalisation *Normalisation
}

// Normalisation is score = Gain*raw + Bias (keys alfred_reward_gain and alfred_reward_bias). It is never folded into
// the weights, so that the raw output stays what was trained.
type Normalisation struct{ Gain, Bias float64 }

// QKVRows returns the rows of the fused query_key_value weight: (H + 2G) K.
func (c Config) QKVRows() int { return (c.NumHeads + 2*c.NumKVHeads) * c.HeadDim }

// Validate reports all problems of a config at once.
func (c Config) Validate() error {
	var errs []error
	for _, p := range c.problems() {
		errs = append(errs, p)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("falcon: config: %w", errors.Join(errs...))
}

// configProblem is what is wrong with the value of one key.
type configProblem struct{ key, text string }

func (p configProblem) Error() string { return p.key + ": " + p.text }

// Upper limits keep every product of sizes far from overflow; they are beyond any model.
const (
	maxHiddenSize = 1 << 20
	maxFFNSize    = 1 << 22
	maxHeads      = 1 << 16
	maxLayers     = 1 << 14
	maxVocab      = 1 << 24
)

func (c Config) problems() (list []configProblem) {
	bad := func(key, format string, args ...any) {
		list = append(list, configProblem{key, fmt.Sprintf(format, args...)})
	}
	for _, size := range []struct {
		key       string
		got, most int
	}{
		{"hidden_size", c.HiddenSize, maxHiddenSize},
		{"num_hidden_layers", c.NumLayers, maxLayers},
		{"num_attention_heads", c.NumHeads, maxHeads},
		{"num_kv_heads", c.NumKVHeads, maxHeads},
		{"ffn_hidden_size", c.FFNSize, maxFFNSize},
		{"vocab_size", c.VocabSize, maxVocab},
		{"max_position_embeddings", c.MaxPositions, maxVocab},
	} {
		if size.got < 1 || size.got > size.most {
			bad(size.key, "%d is not in [1, %d]", size.got, size.most)
		}
	}
	switch { // with sizes out of range there is nothing to divide by
	case len(list) > 0:
	case c.HiddenSize%c.NumHeads != 0:
		bad("hidden_size", "%d is not a multiple of num_attention_heads %d", c.HiddenSize, c.NumHeads)
	case c.HeadDim*c.NumHeads != c.HiddenSize:
		bad("head_dim", "%d is not hidden_size / num_attention_heads = %d", c.HeadDim, c.HiddenSize/c.NumHeads)
	case c.HeadDim%2 != 0:
		bad("head_dim", "hidden_size / num_attention_heads = %d is odd: heads are rotated in halves", c.HeadDim)
	}
	switch {
	case c.NumHeads < 1 || c.NumKVHeads < 1:
	case c.NewDecoderArchitecture && c.NumHeads%c.NumKVHeads != 0:
		bad("num_kv_heads", "num_attention_heads %d is not a multiple of %d", c.NumHeads, c.NumKVHeads)
	case c.NewDecoderArchitecture && c.MultiQuery:
		bad("multi_query", "is without meaning with new_decoder_architecture: use num_kv_heads")
	case !c.NewDecoderArchitecture && c.MultiQuery && c.NumKVHeads != 1:
		bad("num_kv_heads", "multi_query has 1 key/value head, not %d", c.NumKVHeads)
	case !c.NewDecoderArchitecture && !c.MultiQuery && c.NumKVHeads != c.NumHeads:
		bad("num_kv_heads", "without new_decoder_architecture and multi_query there are as many as query heads, %d, not %d", c.NumHeads, c.NumKVHeads)
	}
	const norms = "num_ln_in_parallel_attn"
	switch {
	case c.NewDecoderArchitecture && !c.ParallelAttention:
		bad("parallel_attn", "new_decoder_architecture has parallel attention only")
	case c.NumLayerNorms != 1 && c.NumLayerNorms != 2:
		bad(norms, "%d is neither 1 nor 2", c.NumLayerNorms)
	case !c.ParallelAttention && c.NumLayerNorms != 2:
		bad(norms, "without parallel_attn a block has 2 layer norms, not %d", c.NumLayerNorms)
	case c.ParallelAttention && !c.NewDecoderArchitecture && c.NumLayerNorms != 1:
		bad(norms, "without new_decoder_architecture a parallel block has 1 layer norm, not %d", c.NumLayerNorms)
	}
	if !(c.LayerNormEpsilon > 0 && c.LayerNormEpsilon < 1) {
		bad("layer_norm_epsilon", "%g is not in (0, 1)", c.LayerNormEpsilon)
	}
	if !(c.InitializerRange >= 0 && c.InitializerRange <= 100) {
		bad("initializer_range", "%g is not in [0, 100]", c.InitializerRange)
	}
	if !(c.RopeTheta > 0 && !math.IsInf(c.RopeTheta, 0)) {
		bad("rope_theta", "%g is not a positive number", c.RopeTheta)
	}
	if c.DType != "bfloat16" && c.DType != "float32" {
		bad("torch_dtype", "%q is neither bfloat16 nor float32", c.DType)
	}
	if c.Head != CausalLM && c.Head != SequenceClassification {
		bad("architectures", "%v is not supported", c.Head)
	}
	switch c.Role {
	case "", "policy", "reward", "value":
	default:
		bad("alfred_role", "%q is none of policy, reward, value", c.Role)
	}
	if n := c.Normalisation; n != nil {
		if c.Head != SequenceClassification {
			bad("alfred_reward_gain", "belongs to a model with a score head, not to %v", c.Head)
		}
		if !(n.Gain > 0 && !math.IsInf(n.Gain, 0)) {
			bad("alfred_reward_gain", "%g is not a positive number", n.Gain)
		}
		if math.IsNaN(n.Bias) || math.IsInf(n.Bias, 0) {
			bad("alfred_reward_bias", "%g is not a number", n.Bias)
		}
	}
	return list
}

// JSON returns a config.json in the layout of transformers, without auto_map and with every key that matters, so that
// no default of another version applies.
func (c Config) JSON() []byte {
	kv := c.NumKVHeads
	if c.MultiQuery {
		kv = c.NumHeads // as published: multi_query makes transformers pass over it
	}
	fields := map[string]any{
		"architectures": []string{c.Head.String()}, "model_type": "falcon", "torch_dtype": c.DType, "use_cache": true,
		"hidden_size": c.HiddenSize, "num_hidden_layers": c.NumLayers, "num_attention_heads": c.NumHeads,
		"num_kv_heads": kv, "ffn_hidden_size": c.FFNSize, "vocab_size": c.VocabSize,
		"max_position_embeddings": c.MaxPositions, "rope_theta": c.RopeTheta, "rope_scaling": nil,
		"layer_norm_epsilon": c.LayerNormEpsilon, "initializer_range": c.InitializerRange,
		"new_decoder_architecture": c.NewDecoderArchitecture, "multi_query": c.MultiQuery || c.NewDecoderArchitecture,
		"parallel_attn": c.ParallelAttention, "num_ln_in_parallel_attn": nil, "alibi": c.Alibi, "bias": c.Bias,
		"activation": "gelu", "hidden_dropout": 0.0, "attention_dropout": 0.0,
		"apply_residual_connection_post_layernorm": false, "tie_word_embeddings": c.TieWordEmbeddings,
		"bos_token_id": c.BOSTokenID, "eos_token_id": c.EOSTokenID, "pad_token_id": c.PadTokenID,
	}
	if c.ParallelAttention {
		fields["num_ln_in_parallel_attn"] = c.NumLayerNorms
	}
	if c.Head == SequenceClassification {
		fields["num_labels"] = 1
		fields["id2label"], fields["label2id"] = map[string]string{"0": "LABEL_0"}, map[string]int{"LABEL_0": 0}
	}
	if c.Role != "" {
		fields["alfred_role"] = c.Role
	}
	if c.Normalisation != nil {
		fields["alfred_reward_gain"], fields["alfred_reward_bias"] = c.Normalisation.Gain, c.Normalisation.Bias
	}
	for key, value := range fields {
		if x, ok := value.(float64); ok && (math.IsNaN(x) || math.IsInf(x, 0)) {
			fields[key] = nil // JSON has no such number; Validate reports it
		}
	}
	text, err := json.MarshalIndent(fields, "", "  ")
	if err != nil {
		panic(err) // nothing else in the map can fail to encode
	}
	return append(text, '\n')
}
