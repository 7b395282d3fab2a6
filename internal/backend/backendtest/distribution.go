package backendtest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/random"
	"alfred/internal/tensor"
)

// sampleMany draws one token for each uniform number from the same logits.
func sampleMany(d backend.Device, logits []float64, banned int, uniforms []float64, t backend.Draw, truncated bool) (tokens []int, err error) {
	b, err := newBench(d, 1<<20+16*len(uniforms)*len(logits))
	if err != nil {
		return nil, err
	}
	s, n, v := b.dev, len(uniforms), len(logits)
	zNV, u, bans := s.Alloc(s.Wide(), n, v), s.Alloc(tensor.Float64, n), s.Alloc(tensor.Int32, n)
	write(s, zNV, slices.Repeat(logits, n))
	write(s, u, uniforms)
	write(s, bans, slices.Repeat([]float64{float64(banned)}, n))
	blocks, stats, out := s.Alloc(s.Wide(), n, (v+backend.VocabBlock-1)/backend.VocabBlock, 2), s.Alloc(s.Wide(), n, 4), s.Alloc(tensor.Int32, n)
	s.SampleBlocks(blocks, stats, zNV, bans, t.Head)
	if truncated {
		s.SampleTruncated(out, stats, zNV, u, bans, t)
	} else {
		s.SamplePick(out, stats, zNV, blocks, u, bans, t)
	}
	drawn, err := read(s, out)
	for _, v := range drawn {
		tokens = append(tokens, int(v))
	}
	return tokens, err
}

// testDistribution draws 20,000 tokens with the numbers that a run would use and tests their frequencies by chi-square.
func testDistribution(t *testing.T, d backend.Device) {
	const draws = 20000
	key := random.Key{Seed: 1, Purpose: random.Rollout}
	uniforms := make([]float64, draws)
	for i := range uniforms {
		uniforms[i] = key.Uniform(0, uint32(i/100), uint32(i%100))
	}
	logits := make([]float64, 200)
	rng := seeded("distribution")
	for v := range logits {
		logits[v] = round(d.Wide(), 1.5*rng.NormFloat64())
	}
	for _, c := range []struct {
		name      string
		truncated bool
		draw      backend.Draw
	}{
		{"whole vocabulary", false, backend.Draw{TopP: 1}},
		{"top k", true, backend.Draw{TopK: 20, TopP: 1}},
		{"top p", true, backend.Draw{TopP: 0.8}},
		{"top k and p", true, backend.Draw{TopK: 40, TopP: 0.6}},
		{"no limit", true, backend.Draw{TopP: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.draw.Head = backend.Head{Scale: 1 / 0.8}
			banned := slices.Index(logits, slices.Max(logits))
			tokens, err := sampleMany(d, logits, banned, uniforms, c.draw, c.truncated)
			if err != nil {
				t.Fatal(err)
			}
			if err := chiSquare(tokens, expected(logits, banned, c.draw)); err != nil {
				t.Error(err)
			}
		})
	}
}

// expected is the probability of each entry, from the definition.
func expected(logits []float64, banned int, t backend.Draw) map[int]float64 {
	d := &draw{shard: shard{total: len(logits), scale: t.Scale}, whole: logits, bannedRows: []int{banned}}
	p := map[int]float64{}
	for _, c := range d.truncated(0, t) {
		p[c.v] = c.p
	}
	return p
}

// chiSquare fails where the counts differ from n·p more than chance would make them in one of three million tests (five
// standard deviations, by the approximation of Wilson and Hilferty). Entries expected fewer than five times are pooled.
func chiSquare(tokens []int, p map[int]float64) error {
	counts := map[int]int{}
	for _, v := range tokens {
		if p[v] == 0 {
			return fmt.Errorf("token %d was drawn, its probability is 0", v)
		}
		counts[v]++
	}
	n, cells, sum := float64(len(tokens)), 0.0, 0.0
	pooledCount, pooledP := 0.0, 0.0
	add := func(count, p float64) {
		cells++
		sum += (count - n*p) * (count - n*p) / (n * p)
	}
	for v, p := range p {
		if n*p < 5 {
			pooledCount, pooledP = pooledCount+float64(counts[v]), pooledP+p
		} else {
			add(float64(counts[v]), p)
		}
	}
	if n*pooledP >= 5 {
		add(pooledCount, pooledP)
	}
	k := cells - 1
	deviations := (math.Cbrt(sum/k) - (1 - 2/(9*k))) / math.Sqrt(2/(9*k))
	if deviations > 5 {
		return fmt.Errorf("chi-square %.1f at %.0f degrees of freedom: %.1f standard deviations", sum, k, deviations)
	}
	return nil
}

// testSets draws with evenly spaced uniform numbers, so that every entry of probability above 1/4096 must occur, and demands
// exactly the entries that sorting gives: of equals the lower id ranks first.
func testSets(t *testing.T, d backend.Device) {
	uniforms := make([]float64, 4096)
	for i := range uniforms {
		uniforms[i] = (float64(i) + 0.5) / float64(len(uniforms))
	}
	rng := seeded("sets")
	varied := make([]float64, 100)
	for v := range varied {
		varied[v] = round(d.Wide(), rng.NormFloat64())
	}
	tied := make([]float64, 100) // ten values, ten entries each
	for v := range tied {
		tied[v] = float64(v%10) / 4
	}
	equal := make([]float64, 8) // probabilities of 1/8, with which sums and comparisons are exact
	for _, c := range []struct {
		name   string
		logits []float64
		banned int
		draw   backend.Draw
	}{
		{"k", varied, -1, backend.Draw{TopK: 7, TopP: 1}},
		{"k without the largest", varied, slices.Index(varied, slices.Max(varied)), backend.Draw{TopK: 7, TopP: 1}},
		{"k within ties", tied, -1, backend.Draw{TopK: 13, TopP: 1}},
		{"k within ties, one banned", tied, 19, backend.Draw{TopK: 13, TopP: 1}},
		{"k larger than the vocabulary", equal, -1, backend.Draw{TopK: 100, TopP: 1}},
		{"p", varied, -1, backend.Draw{TopP: 0.63}},
		{"p of the k largest", varied, -1, backend.Draw{TopK: 30, TopP: 0.5}},
		{"p so small that one is left", varied, -1, backend.Draw{TopP: 1e-6}},
		{"p within ties", tied, -1, backend.Draw{TopP: 0.333}},
		{"p reached exactly", equal, -1, backend.Draw{TopP: 0.5}},
		{"p reached exactly, one banned", append(make([]float64, 8), 0), 2, backend.Draw{TopP: 0.25}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.draw.Head = backend.Head{Scale: 1}
			tokens, err := sampleMany(d, c.logits, c.banned, uniforms, c.draw, true)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := distinct(tokens), bySorting(c.logits, c.banned, c.draw); !slices.Equal(got, want) {
				t.Errorf("drew from %v, want %v", got, want)
			}
		})
	}
	t.Run("nothing but the banned entry", func(t *testing.T) {
		for _, truncated := range []bool{false, true} {
			_, err := sampleMany(d, []float64{1}, 0, []float64{0.5}, backend.Draw{Head: backend.Head{Scale: 1}, TopP: 1}, truncated)
			if err == nil || !strings.Contains(err.Error(), "row 0 has no entry to choose from") {
				t.Errorf("truncated %v: %v", truncated, err)
			}
		}
	})
	t.Run("greedy takes the lowest of equals", func(t *testing.T) {
		logits := make([]float64, 200)
		logits[70], logits[71], logits[130] = 3, 3, 3
		for banned, want := range map[int]int{-1: 70, 70: 71} {
			for _, truncated := range []bool{false, true} {
				tokens, err := sampleMany(d, logits, banned, []float64{0.999}, backend.Draw{Head: backend.Head{Scale: 0.7}, Greedy: true, TopP: 1}, truncated)
				if err != nil || tokens[0] != want {
					t.Errorf("with %d banned: drew %v, %v, want %d", banned, tokens, err, want)
				}
			}
		}
	})
}

func distinct(tokens []int) []int {
	slices.Sort(tokens)
	return slices.Compact(tokens)
}

// bySorting is the set of entries that TopK and TopP leave, by rising id.
func bySorting(logits []float64, banned int, t backend.Draw) []int {
	return slices.Sorted(maps.Keys(expected(logits, banned, t)))
}
