package pipeline

import (
	"context"
	"math"

	"alfred/internal/backend"
	"alfred/internal/nn"
	"alfred/internal/tensor"
)

// Decoding is a cached generation in progress, or one that is over and whose cache is still of use: that lies in the executor's arena until
// Close.
type Decoding struct {
	Cache *nn.Cache

	e    *Executor
	mark int // of the arena before

	batch  nn.CachedBatch // of the last step
	chosen Chosen         // by it
	scored Scored
	stats  []float64
	events []backend.StreamEvent
}

// StartDecoding allocates a cache of pages pages. If it is to keep activations, sequences that were generated in it can be trained on
// without a forward pass (nn.Sequence.Kept), as long as the weights stay what they are.
func (e *Executor) StartDecoding(pages, pageSize int, keep bool) (*Decoding, error) {
	d := &Decoding{e: e, mark: e.Arena.Mark()}
	before := e.Stream.Use(e.Arena)
	d.Cache = e.Stage.Cache(e.Stream, pages, pageSize, keep)
	e.Stream.Use(before)
	if err := e.Stream.Err(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Close frees the cache, after everything that has entered the arena since has left it.
func (d *Decoding) Close() { d.e.Arena.Release(d.mark) }

// Chosen are the tokens that one step chose, one per chunk that is read, with the model's log-prob of each and the entropy of the
// distribution that it comes from, where they were asked for.
type Chosen struct {
	Tokens           []int32
	LogProb, Entropy []float64
}

// Step feeds the next tokens of some sequences and chooses the token after each chunk that is read: uniforms and banned have
// one entry for each of those. Log-probs and entropies stay on the device unless logprobs is set. What is returned is valid until the
// next Step.
func (d *Decoding) Step(ctx context.Context, chunks []nn.Chunk, uniforms []float64, banned []int32, draw nn.Draw, logprobs bool) (Chosen, error) {
	if err := ctx.Err(); err != nil {
		return Chosen{}, err
	}
	s := d.e.Stream
	defer d.e.enter().leave()
	d.batch.Fill(s, chunks, d.Cache.PageSize)
	u, ban := s.Alloc(tensor.Float64, len(uniforms)), s.Alloc(tensor.Int32, len(banned))
	s.Upload(u, backend.Float64s(uniforms))
	s.Upload(ban, backend.Int32s(banned))
	tokens, out := d.e.Stage.Decode(s, &d.batch, d.Cache, u, ban, draw)
	c := &d.chosen
	c.Tokens = resized(c.Tokens, len(uniforms))
	d.events = append(d.events[:0], s.Download(backend.Int32s(c.Tokens), tokens))
	if logprobs {
		c.LogProb, c.Entropy = resized(c.LogProb, len(uniforms)), resized(c.Entropy, len(uniforms))
		d.events = append(d.events, s.Download(backend.Float64s(c.LogProb), out.LogProb), s.Download(backend.Float64s(c.Entropy), out.Entropy))
	} else {
		c.LogProb, c.Entropy = nil, nil
	}
	for _, event := range d.events {
		if err := event.Wait(); err != nil {
			return Chosen{}, err
		}
	}
	return *c, nil
}

// Scored is what one step says of the tokens that its chunks name (nn.Chunk.Targets), chunk after chunk.
type Scored struct {
	LogProb []float64 // of each target, as Executor.Score would say
	Best    []float64 // of the token that is the most probable there: exactly LogProb if that is the target, else to rounding
}

// Score feeds the next tokens of some sequences and scores the targets of their chunks. What is returned is valid until the next Score.
func (d *Decoding) Score(ctx context.Context, chunks []nn.Chunk) (Scored, error) {
	if err := ctx.Err(); err != nil {
		return Scored{}, err
	}
	s := d.e.Stream
	defer d.e.enter().leave()
	d.batch.Fill(s, chunks, d.Cache.PageSize)
	out, stats := d.e.Stage.ScoreCached(s, &d.batch, d.Cache, d.e.Scale)
	if err := s.Err(); err != nil {
		return Scored{}, err
	}
	n, c := out.LogProb.Len(), &d.scored
	c.LogProb, c.Best = resized(c.LogProb, n), resized(c.Best, n)
	d.stats = resized(d.stats, stats.Len())
	d.events = append(d.events[:0], s.Download(backend.Float64s(c.LogProb), out.LogProb),
		s.Download(backend.Float64s(c.Best), out.LSE), s.Download(backend.Float64s(d.stats), stats))
	for _, event := range d.events {
		if err := event.Wait(); err != nil {
			return Scored{}, err
		}
	}
	for i := range n {
		most, target := math.Inf(-1), 0.0 // logits: each rank knows the largest of its entries, and one of them the target's
		for at := 4 * i; at < len(d.stats); at += 4 * n {
			most, target = max(most, d.stats[at]), target+d.stats[at+3]
		}
		if most > target {
			c.Best[i] = most - c.Best[i]
		} else {
			c.Best[i] = c.LogProb[i]
		}
	}
	return *c, nil
}
