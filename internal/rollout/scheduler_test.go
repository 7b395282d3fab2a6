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
	c := newCache(t, limits, requests)
	var all []Trajectory
	for {
		chunks, asks := s.Next()
		if len(chunks) == 0 {
			break
		}
		tokens := 0
		var reads []int
		for i, chunk := range chunks {
			tokens += len(chunk.IDs)
			if chunk.Read {
				reads = append(reads, s.active[i].Sequence)
			}
		}
		asked := make([]int, len(asks))
		for i, a := range asks {
			asked[i] = a.Sequence
		}
		if tokens > limits.Tokens || len(chunks) > limits.Slots || !slices.Equal(reads, asked) {
			t.Fatalf("%d tokens, %d chunks, sequences %v read, %v asked", tokens, len(chunks), reads, asked)
		}
		c.step(s.active, chunks)
		chosen := make([]int32, len(asks))
		for i, a := range asks {
			chosen[i] = oracle(a.Sequence, a.Token, limits.EOD)
			if a.BanEOD && chosen[i] == limits.EOD {
				chosen[i] = 1
			}
			c.text[a.Sequence] = append(c.text[a.Sequence], chosen[i])
		}
		s.Took(pipeline.Chosen{Tokens: chosen, LogProb: make([]float64, len(asks)), Entropy: make([]float64, len(asks))})
		done := s.Done()
		for _, tr := range done {
			c.end(tr.Sequence)
		}
		all = append(all, done...)
	}
	c.allCameBack(s)
	slices.SortFunc(all, func(a, b Trajectory) int { return a.Sequence - b.Sequence })
	return all
}

// prompts are some that begin alike: pieces of few texts in few letters, with or without something of their own at the end, and
// often as long as some pages.
func prompts(t *rapid.T, n, pageSize, longest int) [][]int32 {
	letters := rapid.SliceOfN(rapid.Int32Range(1, 2), longest, longest)
	texts := rapid.SliceOfN(letters, 1, 3).Draw(t, "texts")
	all := make([][]int32, n)
	for i := range all {
		text := rapid.SampledFrom(texts).Draw(t, "text")
		length := rapid.IntRange(1, longest).Draw(t, "prompt")
		if rapid.Bool().Draw(t, "whole pages") {
			length = min((length+pageSize-1)/pageSize*pageSize, longest)
		}
		own := min(rapid.IntRange(0, 5).Draw(t, "own"), length)
		all[i] = slices.Concat(text[:length-own], letters.Draw(t, "end")[:own])
	}
	return all
}

func TestEverySequenceEndsOnceWhateverTheSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(t, "sequences")
		limits := Limits{Slots: rapid.IntRange(1, 5).Draw(t, "slots"), PageSize: rapid.SampledFrom([]int{1, 4, 16}).Draw(t, "page"), Longest: 48, EOD: 0}
		limits.Tokens = limits.Slots + rapid.IntRange(0, 30).Draw(t, "tokens")
		if rapid.Bool().Draw(t, "shuffled") {
			pages := make([]int32, limits.CachePages())
			for i := range pages {
				pages[i] = int32(i)
			}
			limits.Pages = rapid.Permutation(pages).Draw(t, "pages")
		}
		var requests []Request
		for i, prompt := range prompts(t, n, limits.PageSize, 36) {
			most := rapid.IntRange(1, 12).Draw(t, "max")
			requests = append(requests, Request{Sequence: i, Prompt: prompt, Max: most, Min: rapid.IntRange(0, most).Draw(t, "min")})
		}
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

// TestResponsesEndWhereAskedTo: a request's own end comes after any token, and only the end of the document goes before it.
func TestResponsesEndWhereAskedTo(t *testing.T) {
	limits := Limits{Slots: 3, Tokens: 16, PageSize: 4, Longest: 16, EOD: 9}
	ends := func(response []int32) bool { return len(response) > 1 && response[len(response)-1] == 7 }
	var requests []Request
	for i := range 3 {
		requests = append(requests, Request{Sequence: i, Prompt: []int32{1}, Max: 5, Ends: ends})
	}
	s, err := NewScheduler(limits, requests)
	if err != nil {
		t.Fatal(err)
	}
	tokens := [][]int32{{7, 1, 7, 2, 2}, {7, 9}, {7, 1, 2, 3, 4}}
	got := map[int]Trajectory{}
	for step := 0; ; step++ {
		_, asks := s.Next()
		if len(asks) == 0 {
			break
		}
		var c pipeline.Chosen
		for _, a := range asks {
			c.Tokens = append(c.Tokens, tokens[a.Sequence][a.Token])
		}
		s.Took(c)
		for _, tr := range s.Done() {
			got[tr.Sequence] = tr
		}
	}
	for i, want := range []Trajectory{{Response: tokens[0][:3], Finish: FinishStop}, {Response: tokens[1], Finish: FinishEOD}, {Response: tokens[2], Finish: FinishLength}} {
		if !slices.Equal(got[i].Response, want.Response) || got[i].Finish != want.Finish {
			t.Errorf("sequence %d: %v, %s; want %v, %s", i, got[i].Response, got[i].Finish, want.Response, want.Finish)
		}
	}
}
