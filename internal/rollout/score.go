package rollout

import (
	"context"
	"fmt"
	"slices"

	"alfred/internal/nn"
	"alfred/internal/pipeline"
)

// ScoreRequest asks for the log-probs of the tokens IDs[From:], given all that is before each of them; 1 ≤ From < len(IDs).
type ScoreRequest struct {
	IDs  []int32
	From int
}

// Score of a request: one number for each of its tokens from From on.
type Score struct {
	LogProb []float64
	Best    []float64 // of the most probable token at that position: exactly LogProb if it is the one that stands there
}

// Greedy tells whether the most probable token stands at every position.
func (s Score) Greedy() bool { return slices.Equal(s.LogProb, s.Best) }

// ScoreLimits are a cache that can score requests of up to Longest tokens, Tokens at a time.
func ScoreLimits(longest, tokens, pageSize int) Limits {
	l := Limits{Slots: 1, Tokens: tokens, PageSize: pageSize, Longest: longest}
	// One sequence must fit whatever is there. Beside it the tokens of a step have two pages for each that they fill, as sequences
	// that share the beginning have little to feed and still a page of their own.
	l.Extra = 2 * (tokens + pageSize - 1) / pageSize
	return l
}

// ScoreAll scores all requests in a cache that Open has given for the limits, and hands each score to visit as it is there; i is the
// index of its request. What requests have in common at their beginning is computed once, in whole pages, if the cache still holds it:
// they are taken in the order of their tokens, so those that share most come after each other. The numbers have the bits that
// pipeline.Executor.Score would give and do not depend on order, limits or company.
func ScoreAll(ctx context.Context, d *pipeline.Decoding, requests []ScoreRequest, limits Limits, visit func(i int, s Score) error) (Stats, error) {
	s, err := newScoring(limits, requests)
	if err != nil {
		return Stats{}, err
	}
	for {
		chunks := s.next()
		if len(chunks) == 0 {
			return s.stats, nil
		}
		c, err := d.Score(ctx, chunks)
		if err == nil {
			err = s.took(c, visit)
		}
		if err != nil {
			return s.stats, fmt.Errorf("rollout: scoring: %w", err)
		}
	}
}

// RehearseScore runs the largest step that ScoreAll can take under the limits, beside its cache: on a device that holds nothing, to find
// out what it needs.
func RehearseScore(ctx context.Context, e *pipeline.Executor, limits Limits) error {
	d, err := Open(e, limits)
	if err != nil {
		return err
	}
	defer d.Close()
	// What a step needs grows with its tokens, sequences and rows read; here each is as large as the limits allow.
	chunks := make([]nn.Chunk, limits.Tokens)
	for i := range chunks {
		chunks[i] = nn.Chunk{IDs: []int32{0}, Pages: make([]int32, limits.PagesPerSlot()), Targets: []int32{0}}
	}
	_, err = d.Score(ctx, chunks)
	return err
}

// scoring decides what the model sees next; the rules of sharing are the Scheduler's.
type scoring struct {
	limits   Limits
	requests []ScoreRequest
	order    []int // requests that have not begun, as indices
	pages    *pages
	active   []*scored // in the order in which they began; only the last may have tokens left to feed
	chunks   []nn.Chunk
	stats    Stats
}

// scored is a request that is being fed.
type scored struct {
	index int
	ScoreRequest
	fed   int
	pages []*page
	table []int32
	Score
}

// feeds are the tokens of a request that the model reads: all but the last, which is only a target.
func (r ScoreRequest) feeds() []int32 { return r.IDs[:len(r.IDs)-1] }

func newScoring(limits Limits, requests []ScoreRequest) (*scoring, error) {
	s := &scoring{limits: limits, requests: requests, pages: newPages(limits.PageSize, limits.order())}
	for i, r := range requests {
		if r.From < 1 || r.From >= len(r.IDs) || len(r.IDs)-1 > limits.Longest {
			return nil, fmt.Errorf("rollout: request %d scores %d tokens from %d on: want 1 ≤ from < tokens ≤ %d", i, len(r.IDs), r.From, limits.Longest+1)
		}
		s.order = append(s.order, i)
	}
	slices.SortStableFunc(s.order, func(a, b int) int { return slices.Compare(requests[a].IDs, requests[b].IDs) })
	return s, nil
}

// next is the batch of the next step; empty when everything is done.
func (s *scoring) next() []nn.Chunk {
	s.chunks = s.chunks[:0]
	for i, budget := 0, s.limits.Tokens; budget > 0 && (i < len(s.active) || s.begin()); i++ {
		q := s.active[i]
		ids := q.feeds()[q.fed:]
		ids = ids[:min(len(ids), budget)]
		budget -= len(ids)
		end := q.fed + len(ids)
		s.chunks = append(s.chunks, nn.Chunk{IDs: ids, Start: q.fed, Pages: q.table, Targets: q.IDs[min(max(q.From, q.fed+1), end+1) : end+1]})
		q.fed = end
	}
	return s.chunks
}

// begin begins the next request, if there is one and enough pages are free.
func (s *scoring) begin() bool {
	if len(s.order) == 0 {
		return false
	}
	i := s.order[0]
	q := &scored{index: i, ScoreRequest: s.requests[i]}
	feeds := q.feeds()
	if s.pages.missing(feeds, len(feeds), q.From-1) > len(s.pages.free) {
		return false
	}
	s.order = s.order[1:]
	q.pages, q.fed = s.pages.take(feeds, len(feeds), q.From-1)
	for _, p := range q.pages {
		q.table = append(q.table, p.number)
	}
	s.stats.Prompt += len(feeds)
	s.stats.Shared += q.fed
	s.active = append(s.active, q)
	return true
}

// took hands on what the last batch said.
func (s *scoring) took(c pipeline.Scored, visit func(i int, s Score) error) error {
	at := 0
	for i, q := range s.active[:len(s.chunks)] {
		n := len(s.chunks[i].Targets)
		q.LogProb, q.Best = append(q.LogProb, c.LogProb[at:at+n]...), append(q.Best, c.Best[at:at+n]...)
		at += n
	}
	s.stats.Tokens += at
	running := s.active[:0]
	for _, q := range s.active {
		if q.fed < len(q.IDs)-1 {
			running = append(running, q)
			continue
		}
		s.pages.give(q.pages)
		if err := visit(q.index, q.Score); err != nil {
			return err
		}
	}
	clear(s.active[len(running):])
	s.active = running
	return nil
}
