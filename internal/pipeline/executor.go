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
	// only valid when keep is set, once, and until the arena is released or the batch is filled again. With keep set, it may recall
	// what the batch's cache has kept instead of running.
	Forward(s *backend.Stream, b *nn.Batch, scale float64, keep bool) (out nn.Outputs, kept any)
	// Backward adds the gradients of all parameters.
	Backward(s *backend.Stream, kept any, g nn.Gradients)
	// Cache allocates a key/value cache, which also keeps activations for training if keep is set.
	Cache(s *backend.Stream, pages, pageSize int, keep bool) *nn.Cache
	// Decode extends cached sequences and chooses their next tokens.
	Decode(s *backend.Stream, b *nn.CachedBatch, cache *nn.Cache, uniforms, banned tensor.Tensor, d nn.Draw) (tokens tensor.Tensor, out nn.LogProbs)
	// ScoreCached extends cached sequences and scores the tokens that the batch names; stats are as of nn.LogProbHead.Score.
	ScoreCached(s *backend.Stream, b *nn.CachedBatch, cache *nn.Cache, scale float64) (out nn.LogProbs, stats tensor.Tensor)
}

// Executor runs a Stage on a stream, in memory of one arena that holds nothing between calls but the caches of decodings.
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

	// Of the micro-batch that ran last; the next one uses their memory again.
	batch  nn.Batch
	out    Output
	grad   Gradient
	events []backend.StreamEvent
}

// Train runs every micro-batch forward, asks loss for the gradients of the outputs, and runs backward. Gradients add to
// those that the parameters have. loss is called in the order of the micro-batches, also for empty ones. What it is given is valid
// until it returns.
func (e *Executor) Train(ctx context.Context, micros []MicroBatch, loss func(m int, out Output, grad Gradient)) error {
	for m := range micros {
		if err := e.trainOne(ctx, m, micros[m], loss); err != nil {
			return err
		}
	}
	return nil
}

func (e *Executor) trainOne(ctx context.Context, m int, micro MicroBatch, loss func(m int, out Output, grad Gradient)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := e.Stream
	defer e.enter().leave()
	kept, err := e.forward(micro, true)
	if err != nil {
		return err
	}
	g := &e.grad
	g.zero(e.out, e.EntropyGradient)
	loss(m, e.out, *g)
	e.Stage.Backward(s, kept, nn.Gradients{LogProb: e.upload(g.LogProb), Entropy: e.upload(g.Entropy), Value: e.upload(g.Value)})
	return s.Err()
}

// Score runs every micro-batch forward and shows its outputs to visit, in order. They are valid until visit returns.
func (e *Executor) Score(ctx context.Context, micros []MicroBatch, visit func(m int, out Output)) error {
	for m, micro := range micros {
		if err := ctx.Err(); err != nil {
			return err
		}
		stay := e.enter()
		_, err := e.forward(micro, false)
		stay.leave()
		if err != nil {
			return err
		}
		visit(m, e.out)
	}
	return nil
}

// stay is the time during which the executor's arena is current.
type stay struct {
	stream *backend.Stream
	arena  *backend.Arena
	mark   int            // of arena
	before *backend.Arena // the current one
}

func (e *Executor) enter() stay {
	return stay{stream: e.Stream, arena: e.Arena, mark: e.Arena.Mark(), before: e.Stream.Use(e.Arena)}
}

// leave also empties the arena again.
func (t stay) leave() {
	t.arena.Release(t.mark)
	t.stream.Use(t.before)
}

// forward runs a micro-batch and brings what the head says to e.out.
func (e *Executor) forward(micro MicroBatch, keep bool) (kept any, err error) {
	out := &e.out
	out.Sequences = micro.appendSequences(out.Sequences[:0])
	e.batch.Fill(e.Stream, out.Sequences)
	device, kept := e.Stage.Forward(e.Stream, &e.batch, e.Scale, keep)
	if !e.Entropy {
		device.Entropy = tensor.Tensor{}
	}
	e.events = e.events[:0]
	out.LogProb, out.Value, out.Entropy = e.download(out.LogProb, device.LogProb), e.download(out.Value, device.Value), e.download(out.Entropy, device.Entropy)
	for _, event := range e.events {
		if err := event.Wait(); err != nil {
			return nil, err
		}
	}
	return kept, e.Stream.Err()
}

// download begins to bring an output to the host, into the memory of xs if it suffices. nil stands for what is absent.
func (e *Executor) download(xs []float64, t tensor.Tensor) []float64 {
	if t.Absent() {
		return nil
	}
	xs = resized(xs, t.Len())
	e.events = append(e.events, e.Stream.Download(backend.Float64s(xs), t))
	return xs
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
