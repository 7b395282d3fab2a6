package rollout

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"alfred/internal/pipeline"
)

// oracle is a model for the scheduler: the token that it chooses is a function of the sequence and the position alone.
func oracle(sequence, token int, eod int32) int32 {
	if x := (sequence*31 + token*17 + 5) % 11; x != 0 {
		return int32(x)
	}
	return eod
}

// drive runs a scheduler to its end, checking what every step must satisfy.
func drive(t *rapid.T, limits Limits, requests []Request) []Trajectory {
	s, err := NewScheduler(limits, requests)
	if err != nil {
		t.Fatal(err)
	}
	var all []Trajectory
	for {
		chunks, asks := s.Next()
		if len(chunks) == 0 {
			break
		}
		tokens, reads := 0, 0
		seen := map[int32]bool{}
		for _, c := range chunks {
			tokens += len(c.IDs)
			if len(c.IDs) == 0 || c.Start+len(c.IDs) > len(c.Pages)*limits.PageSize {
				t.Fatalf("chunk of %d tokens at %d with %d pages", len(c.IDs), c.Start, len(c.Pages))
			}
			for _, p := range c.Pages {
				if seen[p] || int(p) >= limits.CachePages() {
					t.Fatalf("page %d is used twice in a step or does not exist", p)
				}
				seen[p] = true
			}
			if c.Read {
				reads++
			}
		}
		if tokens > limits.Tokens || len(chunks) > limits.Slots || reads != len(asks) {
			t.Fatalf("%d tokens, %d chunks, %d read, %d asked", tokens, len(chunks), reads, len(asks))
		}
		chosen := make([]int32, len(asks))
		for i, a := range asks {
			chosen[i] = oracle(a.Sequence, a.Token, limits.EOD)
			if a.BanEOD && chosen[i] == limits.EOD {
				chosen[i] = 1
			}
		}
		s.Took(pipeline.Chosen{Tokens: chosen, LogProb: make([]float64, len(asks)), Entropy: make([]float64, len(asks))})
		all = append(all, s.Done()...)
	}
	if len(s.free) != limits.CachePages() {
		t.Fatalf("%d of %d pages came back", len(s.free), limits.CachePages())
	}
	slices.SortFunc(all, func(a, b Trajectory) int { return a.Sequence - b.Sequence })
	return all
}

func TestEverySequenceEndsOnceWhateverTheSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(t, "sequences")
		var requests []Request
		for i := range n {
			prompt := make([]int32, rapid.IntRange(1, 20).Draw(t, "prompt"))
			most := rapid.IntRange(1, 12).Draw(t, "max")
			requests = append(requests, Request{Sequence: i, Prompt: prompt, Max: most, Min: rapid.IntRange(0, most).Draw(t, "min")})
		}
		limits := Limits{Slots: rapid.IntRange(1, 5).Draw(t, "slots"), PageSize: rapid.SampledFrom([]int{1, 4, 16}).Draw(t, "page"), Longest: 32, EOD: 0}
		limits.Tokens = limits.Slots + rapid.IntRange(0, 30).Draw(t, "tokens")
		got := drive(t, limits, requests)
		if len(got) != n {
			t.Fatalf("%d trajectories for %d requests", len(got), n)
		}
		for i, tr := range got {
			r := requests[i]
			var want []int32
			for token := range r.Max {
				x := oracle(i, token, 0)
				if token < r.Min && x == 0 {
					x = 1
				}
				want = append(want, x)
				if x == 0 {
					break
				}
			}
			finish := FinishLength
			if want[len(want)-1] == 0 {
				finish = FinishEOD
			}
			if !slices.Equal(tr.Response, want) || tr.Finish != finish || tr.Sequence != i || len(tr.LogProb) != len(want) {
				t.Fatalf("sequence %d: got %v (%s), want %v (%s)", i, tr.Response, tr.Finish, want, finish)
			}
		}
	})
}

func TestRequestsThatCannotBeServedAreRefused(t *testing.T) {
	limits := Limits{Slots: 1, Tokens: 8, PageSize: 4, Longest: 16}
	for name, r := range map[string]Request{
		"empty prompt": {Max: 3},
		"no room":      {Prompt: []int32{1}, Max: 0},
		"min over max": {Prompt: []int32{1}, Max: 2, Min: 3},
		"too long":     {Prompt: make([]int32, 14), Max: 3},
	} {
		if _, err := NewScheduler(limits, []Request{r}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
