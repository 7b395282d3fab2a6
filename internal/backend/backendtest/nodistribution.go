package backendtest

import (
	"fmt"
	"math"
	"slices"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// oddVocabulary is the number of entries of oddRow: three blocks, the last of them cut short.
const oddVocabulary = 130

// oddRow is row n of a batch in which four rows of five are no distribution, its banned entry, and the token that it gives.
func oddRow(n int) (logits []float64, banned, want int) {
	const plain = 9
	banned = []int{-1, 0, 100}[n%3]
	if banned == 0 {
		want = 1 // the lowest that is not banned
	}
	switch n % 5 {
	case 0:
		logits = make([]float64, oddVocabulary)
		logits[77] = math.NaN()
	case 1:
		logits = make([]float64, oddVocabulary)
		logits[128] = math.Inf(1)
	case 2:
		logits = slices.Repeat([]float64{math.Inf(-1)}, oddVocabulary)
	case 3:
		logits = slices.Repeat([]float64{math.Inf(-1)}, oddVocabulary)
		if banned >= 0 {
			logits[banned] = 3
		}
	default: // one entry has nearly all probability; what is banned is left out, whatever it is
		logits, want = make([]float64, oddVocabulary), plain
		logits[plain] = 90
		if banned >= 0 {
			logits[banned] = math.NaN()
		}
	}
	return logits, banned, want
}

// withoutDistribution are cases of rows that no token can be drawn from, among others.
func withoutDistribution() []testCase {
	const n = 30
	var cases []testCase
	for _, part := range [][2]int{{0, oddVocabulary}, {0, backend.VocabBlock}, {backend.VocabBlock, oddVocabulary}} {
		for _, greedy := range []bool{false, true} {
			t := backend.Draw{Head: backend.Head{First: part[0], Scale: 0.5}, Greedy: greedy, TopP: 1}
			cases = append(cases, testCase{label("SamplePick of odd rows ", part, " greedy ", greedy), n, func(r *rig) { sampleOddRows(r, part[0], part[1], t, false) }})
		}
	}
	for _, t := range []backend.Draw{{TopP: 1}, {TopK: 3, TopP: 1}, {TopP: 0.7}, {TopK: 3, TopP: 0.5, Greedy: true}} {
		t.Scale = 0.5
		cases = append(cases, testCase{label("SampleTruncated of odd rows", " k=", t.TopK, " p=", t.TopP, " greedy ", t.Greedy), n,
			func(r *rig) { sampleOddRows(r, 0, oddVocabulary, t, true) }})
	}
	return cases
}

// sampleOddRows samples on the rank that holds entries [lo, hi).
func sampleOddRows(r *rig, lo, hi int, t backend.Draw, truncated bool) {
	var whole, held, bans []float64
	var want []int
	for _, n := range r.picked {
		logits, ban, token := oddRow(n)
		whole, held, bans = append(whole, logits...), append(held, logits[lo:hi]...), append(bans, float64(ban))
		if token < lo || token >= hi {
			token = 0 // of another rank
		}
		want = append(want, token)
	}
	banned, all, part := r.place("banned", tensor.Int32, bans, rows), r.place("logits", r.wide, whole, rows, oddVocabulary), r.place("part", r.wide, held, rows, hi-lo)
	uniforms := r.filled("uniforms", tensor.Float64, func(int) float64 { return r.rng.Float64() }, rows)
	blocks, stats := r.unwritten("blocks", r.wide, rows, (oddVocabulary+backend.VocabBlock-1)/backend.VocabBlock, 2), r.unwritten("stats", r.wide, rows, 4)
	tokens, logp := r.output(exact, "tokens", tensor.Int32, rows), r.output(unchecked, "logp", r.wide, rows)
	lse, entropy := r.unwritten("lse", r.wide, rows), r.unwritten("entropy", r.wide, rows)
	r.do(func(s side) {
		s.SampleBlocks(s.of(blocks), s.of(stats), s.of(all), s.of(banned), backend.Head{Scale: t.Scale})
		if truncated {
			s.SampleTruncated(s.of(tokens), s.of(stats), s.of(part), s.of(uniforms), s.of(banned), t)
		} else {
			s.SamplePick(s.of(tokens), s.of(stats), s.of(part), s.of(blocks), s.of(uniforms), s.of(banned), t)
		}
		s.LogProbMerge(s.of(logp), s.of(lse), s.of(entropy), s.of(stats).Reshape(1, len(r.picked), 4))
	})
	r.check(func() error {
		for i, n := range r.picked {
			if int(tokens.got[i]) != want[i] {
				return fmt.Errorf("row %d: token %v, want %d", n, tokens.got[i], want[i])
			}
			if n%5 < 4 && lo == 0 && finite(logp.got[i]) {
				return fmt.Errorf("row %d is no distribution, the log-prob of its token is %v", n, logp.got[i])
			}
		}
		return nil
	})
}
