package rollout

import (
	"fmt"

	"alfred/internal/nn"
	"alfred/internal/pipeline"
)

// Request asks for one response.
type Request struct {
	Sequence int     // index in rollout order
	Prompt   []int32 // at least one token
	Max, Min int     // response length in tokens; Min suppresses the end-of-document token
	// Ends, unless it is nil, tells after each token whether the response is to end with it.
	Ends func(response []int32) bool
}

// Limits of a Scheduler.
type Limits struct {
	Slots    int // sequences in flight
	Tokens   int // tokens of one step, prompts and responses together
	PageSize int // tokens of a page of the cache
	Longest  int // prompt plus response, in tokens
	EOD      int32
	// Pages is the order in which the pages of the cache are handed out at first; 0, 1, 2, ... when nil.
	Pages []int32
	// Keep, unless it is 0, is the number of sequences at most. The cache then has room for all of them, and keeps their activations.
	Keep int
	// Extra is a number of pages beside those of the slots.
	Extra int
}

// PagesPerSlot is the number of pages that one sequence may need.
func (l Limits) PagesPerSlot() int { return (l.Longest + l.PageSize - 1) / l.PageSize }

// CachePages is the number of pages that the cache must have, so that a free slot always has its pages.
func (l Limits) CachePages() int { return max(l.Slots, l.Keep)*l.PagesPerSlot() + l.Extra }

// order is the order in which pages are handed out at first.
func (l Limits) order() []int32 {
	order := l.Pages
	if order == nil {
		for p := range l.CachePages() {
			order = append(order, int32(p))
		}
	}
	return order
}

// slot is a sequence in flight.
type slot struct {
	Trajectory
	request Request
	fed     int // tokens of the sequence that are in the cache
	pages   []*page
	table   []int32 // their numbers
}

// next is the part of the sequence that the cache lacks: the rest of the prompt, or the token chosen last.
func (s *slot) next() []int32 {
	if s.fed < len(s.Prompt) {
		return s.Prompt[s.fed:]
	}
	return s.Response[s.fed-len(s.Prompt):]
}

// slots are where the cache holds the tokens that were fed.
func (s *slot) slots(pageSize int) []int32 {
	slots := make([]int32, s.fed)
	for t := range slots {
		slots[t] = nn.Slot(s.table, t, pageSize)
	}
	return slots
}

// Scheduler decides what the model sees next. Sequences that are being generated come first in a step; what is left of the
// token limit goes to prompts, in pieces if need be; a slot is refilled as soon as its sequence ends.
//
// Prompts that begin alike share the pages of what they have in common. A request is begun when a step has tokens left for it, so
// all prompts before it are in the cache by the end of that step, and that is early enough: a layer writes the keys and values of
// all tokens of a step before its attention reads any. So no request waits for another, and no page is filled twice while one
// can be found that holds the same, but for the page with a prompt's last token, where the head is read.
type Scheduler struct {
	limits  Limits
	waiting []Request
	active  []*slot // in the order in which they began; only the last may have some of its prompt left
	pages   *pages
	chunks  []nn.Chunk // of the last batch
	asks    []Ask
	step    []*slot // that it reads, in order
	done    []Trajectory
	shared  int // prompt tokens that were in the cache already
	busy    int // sum over steps of sequences in flight
	steps   int
}

// NewScheduler takes all requests at once; they are begun in order.
func NewScheduler(limits Limits, requests []Request) (*Scheduler, error) {
	if limits.Slots < 1 || limits.PageSize < 1 || limits.Tokens < limits.Slots {
		return nil, fmt.Errorf("rollout: %d slots with %d tokens a step and pages of %d: at least one slot, a token for each, and a page of one", limits.Slots, limits.Tokens, limits.PageSize)
	}
	if limits.Keep > 0 && len(requests) > limits.Keep {
		return nil, fmt.Errorf("rollout: %d sequences for a cache that keeps %d", len(requests), limits.Keep)
	}
	for _, r := range requests {
		switch {
		case len(r.Prompt) == 0:
			return nil, fmt.Errorf("rollout: sequence %d has an empty prompt", r.Sequence)
		case r.Max < 1 || r.Min > r.Max:
			return nil, fmt.Errorf("rollout: sequence %d asks for %d to %d tokens", r.Sequence, r.Min, r.Max)
		case len(r.Prompt)+r.Max > limits.Longest:
			return nil, fmt.Errorf("rollout: sequence %d: a prompt of %d tokens and up to %d more exceed %d", r.Sequence, len(r.Prompt), r.Max, limits.Longest)
		}
	}
	return &Scheduler{limits: limits, waiting: requests, pages: newPages(limits.PageSize, limits.order())}, nil
}

// Ask is one position at which a step chooses a token.
type Ask struct {
	Sequence int
	Token    int  // index in the response
	BanEOD   bool // the response is still shorter than its minimum
}

// Next is the batch of the next step, and what is asked of it: one Ask for each chunk that is read, in order. Both are empty
// when everything is done, and valid until Next is called again.
func (s *Scheduler) Next() (chunks []nn.Chunk, asks []Ask) {
	s.chunks, s.asks, s.step = s.chunks[:0], s.asks[:0], s.step[:0]
	for i, budget := 0, s.limits.Tokens; budget > 0 && (i < len(s.active) || s.admit()); i++ {
		q := s.active[i]
		ids := q.next()
		ids = ids[:min(len(ids), budget)]
		budget -= len(ids)
		read := q.fed+len(ids) >= len(q.Prompt)
		s.chunks = append(s.chunks, nn.Chunk{IDs: ids, Start: q.fed, Pages: q.table, Read: read})
		q.fed += len(ids)
		if read {
			s.step = append(s.step, q)
			s.asks = append(s.asks, Ask{Sequence: q.Sequence, Token: len(q.Response), BanEOD: len(q.Response) < q.request.Min})
		}
	}
	if len(s.chunks) > 0 {
		s.steps++
		s.busy += len(s.active)
	}
	return s.chunks, s.asks
}

// admit begins the next request, if there is one and a slot is free.
func (s *Scheduler) admit() bool {
	if len(s.active) == s.limits.Slots || len(s.waiting) == 0 {
		return false
	}
	r := s.waiting[0]
	s.waiting = s.waiting[1:]
	q := &slot{request: r, Trajectory: Trajectory{Sequence: r.Sequence, Prompt: r.Prompt}}
	q.pages, q.fed = s.pages.take(r.Prompt, len(r.Prompt)+r.Max, len(r.Prompt)-1)
	for _, p := range q.pages {
		q.table = append(q.table, p.number)
	}
	s.shared += q.fed
	s.active = append(s.active, q)
	return true
}

// Took hands in what the last batch chose, one token for each Ask.
func (s *Scheduler) Took(c pipeline.Chosen) {
	for i, q := range s.step {
		q.Response = append(q.Response, c.Tokens[i])
		if c.LogProb != nil {
			q.LogProb, q.Entropy = append(q.LogProb, c.LogProb[i]), append(q.Entropy, c.Entropy[i])
		}
		switch {
		case c.Tokens[i] == s.limits.EOD:
			q.Finish = FinishEOD
		case q.request.Ends != nil && q.request.Ends(q.Response):
			q.Finish = FinishStop
		case len(q.Response) == q.request.Max:
			q.Finish = FinishLength
		}
	}
	running := s.active[:0]
	for _, q := range s.active {
		if q.Finish == "" {
			running = append(running, q)
			continue
		}
		if s.limits.Keep == 0 {
			s.pages.give(q.pages)
		} else {
			q.Slots = q.slots(s.limits.PageSize)
		}
		s.done = append(s.done, q.Trajectory)
	}
	clear(s.active[len(running):])
	s.active = running
}

// Done returns the trajectories that ended since the last call, in order of completion.
func (s *Scheduler) Done() []Trajectory {
	done := s.done
	s.done = nil
	return done
}

// Shared is the number of prompt tokens that were not fed, because a page already held them.
func (s *Scheduler) Shared() int { return s.shared }

// Occupancy is the mean share of the slots that were in use.
func (s *Scheduler) Occupancy() float64 {
	if s.steps == 0 {
		return 0
	}
	return float64(s.busy) / float64(s.steps*s.limits.Slots)
}
