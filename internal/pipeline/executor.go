package pipeline

import (
	"context"

	"alfred/internal/backend"
	"alfred/internal/nn"
	"alfred/internal/tensor"
)

// Stage is the part of a model that a rank runs; package falcon has one.
type Stage interface {
	// Forward runs a batch and reads the head at the batch's rows, with logits multiplied by scale. kept is for Backward, and is
	// only valid when keep is set and until the arena is released.
	Forward(s *backend.Stream, b *nn.Batch, scale float64, keep bool) (out nn.Outputs, kept any)
	// Backward adds the gradients of all parameters.
	Backward(s *backend.Stream, kept any, g nn.Gradients)
	// Cache allocates a key/value cache.
	Cache(s *backend.Stream, pages, pageSize int) *nn.Cache
	// Decode extends cached sequences and chooses their next tokens.
	Decode(s *backend.Stream, b *nn.CachedBatch, cache *nn.Cache, uniforms, banned tensor.Tensor, d nn.Draw) (tokens tensor.Tensor, out nn.LogProbs)
}

// Executor runs a Stage on a stream, in memory of one arena that is empty between calls.
type Executor struct {
	Stage  Stage
	Stream *backend.Stream
	Arena  *backend.Arena
	// Scale multiplies logits: 1/temperature.
	Scale float64
	// Entropy asks for the entropies of a language-model head besides its log-probs.
	Entropy bool
	// EntropyGradient says that the loss has a gradient in them.
	EntropyGradient bool
}

// Train runs every micro-batch forward, asks loss for the gradients of the outputs, and runs backward. Gradients add to
// those that the parameters have. loss is called in the order of the micro-batches, also for empty ones.
func (e *Executor) Train(ctx context.Context, micros []MicroBatch, loss func(m int, out Output, grad Gradient)) error {
	for m, micro := range micros {
		if err := e.trainOne(ctx, micro, func(out Output, grad Gradient) { loss(m, out, grad) }); err != nil {
			return err
		}
	}
	return nil
}

func (e *Executor) trainOne(ctx context.Context, micro MicroBatch, loss func(Output, Gradient)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := e.Stream
	defer e.enter()()
	seqs := micro.Sequences()
	b := nn.NewBatch(s, seqs)
	device, kept := e.Stage.Forward(s, b, e.Scale, true)
	out, err := e.download(seqs, device)
	if err != nil {
		return err
	}
	grad := out.gradient(e.EntropyGradient)
	loss(out, grad)
	e.Stage.Backward(s, kept, nn.Gradients{
		LogProb: e.upload(grad.LogProb), Entropy: e.upload(grad.Entropy), Value: e.upload(grad.Value),
	})
	return s.Err()
}

// Score runs every micro-batch forward and shows its outputs to visit, in order.
func (e *Executor) Score(ctx context.Context, micros []MicroBatch, visit func(m int, out Output)) error {
	for m, micro := range micros {
		if err := ctx.Err(); err != nil {
			return err
		}
		out, err := e.scoreOne(micro)
		if err != nil {
			return err
		}
		visit(m, out)
	}
	return nil
}

func (e *Executor) scoreOne(micro MicroBatch) (Output, error) {
	defer e.enter()()
	seqs := micro.Sequences()
	b := nn.NewBatch(e.Stream, seqs)
	device, _ := e.Stage.Forward(e.Stream, b, e.Scale, false)
	return e.download(seqs, device)
}

// enter makes the arena current until the function that it returns is called, which also empties it again.
func (e *Executor) enter() (leave func()) {
	before, mark := e.Stream.Use(e.Arena), e.Arena.Mark()
	return func() {
		e.Arena.Release(mark)
		e.Stream.Use(before)
	}
}

// download brings the outputs of a micro-batch to the host.
func (e *Executor) download(seqs []nn.Sequence, d nn.Outputs) (Output, error) {
	out := Output{Sequences: seqs}
	var events []backend.Event
	fetch := func(t tensor.Tensor) []float64 {
		if t.Absent() {
			return nil
		}
		xs := make([]float64, t.Len())
		events = append(events, e.Stream.Download(backend.Float64s(xs), t))
		return xs
	}
	out.LogProb, out.Value = fetch(d.LogProb), fetch(d.Value)
	if e.Entropy {
		out.Entropy = fetch(d.Entropy)
	}
	for _, event := range events {
		if err := event.Wait(); err != nil {
			return Output{}, err
		}
	}
	return out, e.Stream.Err()
}

// upload brings a gradient to the device; nil stays absent.
func (e *Executor) upload(xs []float64) tensor.Tensor {
	if xs == nil {
		return tensor.Tensor{}
	}
	t := e.Stream.Alloc(e.Stream.Wide(), len(xs))
	e.Stream.Upload(t, backend.Float64s(xs))
	return t
}
