package pipeline

import "alfred/internal/nn"

// Output is what the head said over one micro-batch: one number per position that its sequences name, sequence after
// sequence. LogProb and Entropy are nil for a score head, Value is nil for a language-model head, and Entropy also where nobody
// asked for it.
type Output struct {
	Sequences               []nn.Sequence
	LogProb, Entropy, Value []float64
}

// Gradient is where a loss writes the gradients of an Output, which start at zero. Entropy is nil when it is not asked for.
type Gradient struct {
	LogProb, Entropy, Value []float64
}

// Each calls visit for every sequence with the range [lo, hi) that its positions take up in the slices.
func (o Output) Each(visit func(i, lo, hi int)) {
	lo := 0
	for i, q := range o.Sequences {
		hi := lo + q.To - q.From
		visit(i, lo, hi)
		lo = hi
	}
}

func (o Output) gradient(entropy bool) (g Gradient) {
	zeros := func(like []float64) []float64 {
		if like == nil {
			return nil
		}
		return make([]float64, len(like))
	}
	g.LogProb, g.Value = zeros(o.LogProb), zeros(o.Value)
	if entropy {
		g.Entropy = zeros(o.Entropy)
	}
	return g
}
