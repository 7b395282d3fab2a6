package pipeline

import "alfred/internal/nn"

// Output is what the head said over one micro-batch: one number per position that its sequences name, sequence after
// sequence. LogProb and Entropy are nil for a score head, Value is nil for a language-model head, and Entropy also where nobody
// asked for it. The executor uses all of it again for the next micro-batch: who wants to keep something copies it.
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

// zero makes g the gradient of a loss that does not depend on the output.
func (g *Gradient) zero(of Output, entropy bool) {
	if !entropy {
		of.Entropy = nil
	}
	g.LogProb, g.Entropy, g.Value = zeros(g.LogProb, of.LogProb), zeros(g.Entropy, of.Entropy), zeros(g.Value, of.Value)
}

// zeros are as many as there are numbers in like, in the memory of xs if it suffices; nil for nil.
func zeros(xs, like []float64) []float64 {
	if like == nil {
		return nil
	}
	xs = resized(xs, len(like))
	clear(xs)
	return xs
}

// resized is n elements with undefined contents, in the memory of xs if it suffices. It is never nil.
func resized[T any](xs []T, n int) []T {
	if xs == nil || cap(xs) < n {
		return make([]T, n)
	}
	return xs[:n]
}
