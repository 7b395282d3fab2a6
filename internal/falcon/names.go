package falcon

import "fmt"

// Names of tensors outside of the layers, as in transformers.
const (
	EmbeddingName       = "transformer.word_embeddings.weight"
	FinalNormWeightName = "transformer.ln_f.weight"
	FinalNormBiasName   = "transformer.ln_f.bias"
	LMHeadName          = "lm_head.weight"
	ScoreName           = "score.weight"
)

// LayerTensorName returns the name of a layer's tensor, such as transformer.h.3.mlp.dense_h_to_4h.weight.
func LayerTensorName(layer int, part string) string {
	return fmt.Sprintf("transformer.h.%d.%s", layer, part)
}

// TensorShape is a tensor's Hugging Face name and its whole (unsplit) shape. Linear weights are [out in].
type TensorShape struct {
	Name  string
	Shape []int
}

// Tensors lists every tensor of the model, in the order of the forward pass: embedding, layers, final layer norm,
// head. A tied head is not listed, although published files of tied models hold a copy of the embedding under
// LMHeadName: a reader accepts it if it is equal.
func (c Config) Tensors() []TensorShape {
	var list []TensorShape
	add := func(name string, shape ...int) { list = append(list, TensorShape{name, shape}) }
	add(EmbeddingName, c.VocabSize, c.HiddenSize)
	for layer := range c.NumLayers {
		norm := func(part string) {
			add(LayerTensorName(layer, part+".weight"), c.HiddenSize)
			add(LayerTensorName(layer, part+".bias"), c.HiddenSize)
		}
		linear := func(part string, out, in int) {
			add(LayerTensorName(layer, part+".weight"), out, in)
			if c.Bias {
				add(LayerTensorName(layer, part+".bias"), out)
			}
		}
		for _, part := range c.normNames() {
			norm(part)
		}
		linear("self_attention.query_key_value", c.QKVRows(), c.HiddenSize)
		linear("self_attention.dense", c.HiddenSize, c.HiddenSize)
		linear("mlp.dense_h_to_4h", c.FFNSize, c.HiddenSize)
		linear("mlp.dense_4h_to_h", c.HiddenSize, c.FFNSize)
	}
	add(FinalNormWeightName, c.HiddenSize)
	add(FinalNormBiasName, c.HiddenSize)
	switch {
	case c.Head == SequenceClassification:
		add(ScoreName, 1, c.HiddenSize)
	case !c.TieWordEmbeddings:
		add(LMHeadName, c.VocabSize, c.HiddenSize)
	}
	return list
}

// normNames returns a block's layer norms in the order of the forward pass.
func (c Config) normNames() []string {
	switch {
	case !c.ParallelAttention:
		return []string{"input_layernorm", "post_attention_layernorm"}
	case c.NumLayerNorms == 2:
		return []string{"ln_attn", "ln_mlp"}
	}
	return []string{"input_layernorm"}
}

// NumParameters returns the number of trainable numbers: the sizes of Tensors, so a tied head counts once.
func (c Config) NumParameters() int64 {
	var total int64
	for _, tensor := range c.Tensors() {
		size := int64(1)
		for _, dim := range tensor.Shape {
			size *= int64(dim)
		}
		total += size
	}
	return total
}
