package eval

import (
	"context"
	"fmt"
	"math"

	"alfred/internal/eval/task"
)

// Plan is what is asked of every model: tasks with the prompts of their documents.
type Plan struct {
	Tasks  []*Planned
	Groups []*task.Group
	Seed   int64
	Limit  int // documents of each task; 0 is all
}

// Planned is a task of a plan.
type Planned struct {
	*task.Task
	Samples []*task.Sample
}

// Requests is the number of requests of a plan.
func (p *Plan) Requests() (n int) {
	for _, t := range p.Tasks {
		for _, s := range t.Samples {
			n += len(s.Requests)
		}
	}
	return n
}

// Answers are what one model said: answers[t][s][r] to request r of sample s of task t.
type Answers struct {
	Model     Description
	Of        [][][]task.Answer
	Cached    int   // requests that the cache answered
	Truncated int   // requests cut at their beginning to fit the model's context
	Tokens    int64 // of the requests that the model itself answered
}

// Progress is told how many requests are answered.
type Progress func(done, total int, tokens int64)

// Questions are the requests of a plan in a model's tokens, each different one once.
type Questions struct {
	Longest    int // tokens that the longest request to score feeds to the model
	Generation int // tokens of the longest prompt and what may follow it; 0 if nothing is generated
	Truncated  int // requests cut at their beginning to fit the model's context

	model    Description
	shape    [][]int // requests of each sample of each task
	score    set[Score]
	generate set[Generate]
}

// set is different requests, and whose they are.
type set[T any] struct {
	requests []T
	keys     []string
	of       [][]place
	known    map[string]int // by key
}

// place is a request of a plan.
type place struct{ task, sample, request int }

func (s *set[T]) add(request T, key string, at place) {
	i, ok := s.known[key]
	if !ok {
		if s.known == nil {
			s.known = map[string]int{}
		}
		i = len(s.requests)
		s.known[key] = i
		s.requests, s.keys, s.of = append(s.requests, request), append(s.keys, key), append(s.of, nil)
	}
	s.of[i] = append(s.of[i], at)
}

// Encode turns all requests of a plan into tokens.
func (p *Plan) Encode(t Tokenizer, d Description) (*Questions, error) {
	q := &Questions{model: d}
	e := &encoder{tokenizer: t, maxLength: d.MaxLength, prefix: d.Prefix}
	for i, planned := range p.Tasks {
		q.shape = append(q.shape, make([]int, len(planned.Samples)))
		for s, sample := range planned.Samples {
			q.shape[i][s] = len(sample.Requests)
			for r, request := range sample.Requests {
				if err := q.add(e, planned, request, place{i, s, r}); err != nil {
					return nil, fmt.Errorf("task %s, document %d, request %d: %w", planned.Name, s, r, err)
				}
			}
		}
	}
	q.Truncated = e.truncated
	return q, nil
}

func (q *Questions) add(e *encoder, t *Planned, r task.Request, at place) error {
	if t.OutputType == task.GenerateUntil {
		ids, err := e.prompt(r.Context, t.Generation.MaxTokens)
		if err != nil {
			return err
		}
		g := Generate{Prompt: ids, Most: t.Generation.MaxTokens, Stop: t.Generation.Until}
		q.Generation = max(q.Generation, len(ids)+g.Most)
		q.generate.add(g, g.key(), at)
		return nil
	}
	windows := make([]Score, 1)
	var err error
	if t.OutputType == task.Rolling {
		windows, err = e.rolling(r.Continuation)
	} else {
		windows[0], err = e.pair(r)
	}
	if err != nil {
		return err
	}
	for _, w := range windows {
		q.Longest = max(q.Longest, len(w.IDs)-1)
		q.score.add(w, w.key(), at)
	}
	return nil
}

// Requests is the number of different requests.
func (q *Questions) Requests() int { return len(q.score.requests) + len(q.generate.requests) }

// Ask has a model answer all questions. What the cache knows is not asked, and what is answered is in the cache even if the work fails or
// is stopped; cache may be nil.
func (q *Questions) Ask(ctx context.Context, m Model, cache *Cache, progress Progress) (*Answers, error) {
	a := &asking{answers: &Answers{Model: q.model, Truncated: q.Truncated}, cache: cache, progress: progress, total: q.Requests()}
	for _, samples := range q.shape {
		var of [][]task.Answer
		for _, n := range samples {
			list := make([]task.Answer, n)
			for i := range list {
				list[i].Greedy = true // as long as all parts are
			}
			of = append(of, list)
		}
		a.answers.Of = append(a.answers.Of, of)
	}
	err := a.scores(ctx, m, &q.score)
	if err == nil {
		err = a.texts(ctx, m, &q.generate)
	}
	if flushed := cache.flush(); err == nil {
		err = flushed
	}
	return a.answers, err
}

// asking is the work of Ask.
type asking struct {
	answers     *Answers
	cache       *Cache
	progress    Progress
	done, total int
}

// pending are the numbers of the requests that the cache has no answer to; it fills in those of the others.
func pending[T any](a *asking, s *set[T], answers []task.Answer) (left []int) {
	for i, key := range s.keys {
		var ok bool
		if answers[i], ok = a.cache.get(key); ok {
			a.answers.Cached++
			a.done++
		} else {
			left = append(left, i)
		}
	}
	a.report()
	return left
}

func (a *asking) scores(ctx context.Context, m Model, s *set[Score]) error {
	answers := make([]task.Answer, len(s.requests))
	left := pending(a, s, answers)
	requests := make([]Score, len(left))
	for i, at := range left {
		requests[i] = s.requests[at]
	}
	err := m.Score(ctx, requests, func(i int, answer task.Answer) error {
		if math.IsNaN(answer.LogLikelihood) || math.IsInf(answer.LogLikelihood, 0) {
			return fmt.Errorf("the model %s gives a log-likelihood of %v: its weights are damaged, or too large for its precision", a.answers.Model.Name, answer.LogLikelihood)
		}
		answers[left[i]] = answer
		return a.answered(s.keys[left[i]], answer, false, len(requests[i].IDs)-1)
	})
	give(a.answers, s, answers)
	return err
}

func (a *asking) texts(ctx context.Context, m Model, s *set[Generate]) error {
	answers := make([]task.Answer, len(s.requests))
	left := pending(a, s, answers)
	requests := make([]Generate, len(left))
	for i, at := range left {
		requests[i] = s.requests[at]
	}
	err := m.Generate(ctx, requests, func(i int, text string) error {
		answers[left[i]] = task.Answer{Text: text}
		return a.answered(s.keys[left[i]], answers[left[i]], true, len(requests[i].Prompt))
	})
	give(a.answers, s, answers)
	return err
}

// give hands each answer to the plan's requests that it answers, or answers a part of. Parts are added in their order, whichever was
// answered first, so that sums do not depend on what the cache knew.
func give[T any](to *Answers, s *set[T], answers []task.Answer) {
	for i, part := range answers {
		for _, p := range s.of[i] {
			whole := &to.Of[p.task][p.sample][p.request]
			whole.LogLikelihood += part.LogLikelihood
			whole.Greedy = whole.Greedy && part.Greedy
			whole.Text += part.Text
		}
	}
}

// answered notes an answer, and puts it in the cache: on the disk now and then.
func (a *asking) answered(key string, answer task.Answer, generated bool, tokens int) error {
	a.done++
	a.answers.Tokens += int64(tokens)
	a.report()
	if err := a.cache.put(key, answer, generated); err != nil || a.done%256 != 0 {
		return err
	}
	return a.cache.flush()
}

func (a *asking) report() {
	if a.progress != nil {
		a.progress(a.done, a.total, a.answers.Tokens)
	}
}
