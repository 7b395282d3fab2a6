package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"alfred/internal/nn"
	"alfred/internal/pipeline"
	"alfred/internal/random"
)

// Sampling says how tokens are chosen.
type Sampling struct {
	nn.Draw
	Key       random.Key
	Iteration uint32
	LogProbs  bool // bring log-probs and entropies to the host as well
}

// Stats of one Generate.
type Stats struct {
	Tokens    int     // response tokens
	Prompt    int     // prompt tokens
	Shared    int     // of those, the ones that were not fed because the cache held them for another sequence
	Occupancy float64 // mean share of the slots in use
}

// Progress is told after every step how many sequences are done, and how many response tokens were sampled so far.
type Progress func(sequences, tokens int)

// Open allocates the cache of rollouts under the limits; it must be closed.
func Open(e *pipeline.Executor, limits Limits) (*pipeline.Decoding, error) {
	d, err := e.StartDecoding(limits.CachePages(), limits.PageSize, limits.Keep > 0)
	if err != nil {
		return nil, fmt.Errorf("rollout: cache: %w", err)
	}
	return d, nil
}

// Generate samples one response per request in a cache that Open has given for the limits, and returns the trajectories in the order of
// their Sequence. A token id outside the vocabulary, in a prompt, is the caller's mistake and fails the executor's stream.
func Generate(ctx context.Context, d *pipeline.Decoding, requests []Request, limits Limits, sampling Sampling, progress Progress) ([]Trajectory, Stats, error) {
	s, err := NewScheduler(limits, requests)
	if err != nil {
		return nil, Stats{}, err
	}
	var all []Trajectory
	var stats Stats
	var uniforms []float64
	var banned []int32
	for {
		chunks, asks := s.Next()
		if len(chunks) == 0 {
			break
		}
		uniforms, banned = uniforms[:0], banned[:0]
		for _, a := range asks {
			ban := int32(-1)
			if a.BanEOD {
				ban = limits.EOD
			}
			uniforms = append(uniforms, sampling.Key.Uniform(sampling.Iteration, uint32(a.Sequence), uint32(a.Token)))
			banned = append(banned, ban)
		}
		c, err := d.Step(ctx, chunks, uniforms, banned, sampling.Draw, sampling.LogProbs)
		if err != nil {
			return nil, Stats{}, fmt.Errorf("rollout: %w", err)
		}
		s.Took(c)
		all = append(all, s.Done()...)
		stats.Tokens += len(asks)
		if progress != nil {
			progress(len(all), stats.Tokens)
		}
	}
	for _, r := range requests {
		stats.Prompt += len(r.Prompt)
	}
	stats.Shared, stats.Occupancy = s.Shared(), s.Occupancy()
	slices.SortFunc(all, func(a, b Trajectory) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return all, stats, nil
}

// Rehearse runs the largest step that Generate can take under the limits, beside its cache, and then what follows while that is still there, if
// anything does: on a device that holds nothing, to find out what it needs.
func Rehearse(ctx context.Context, e *pipeline.Executor, limits Limits, draw nn.Draw, then func(*pipeline.Decoding) error) error {
	d, err := Open(e, limits)
	if err != nil {
		return err
	}
	defer d.Close()
	pages := make([]int32, limits.PagesPerSlot())
	chunks := make([]nn.Chunk, limits.Slots)
	for i, left := 0, limits.Tokens-limits.Slots; i < len(chunks); i++ {
		n := min(left, limits.Longest-1) // beside the token that is read, those of a prompt
		chunks[i] = nn.Chunk{IDs: make([]int32, n+1), Pages: pages, Read: true}
		left -= n
	}
	_, err = d.Step(ctx, chunks, make([]float64, limits.Slots), make([]int32, limits.Slots), draw, true)
	if err == nil && then != nil {
		err = then(d)
	}
	return err
}
