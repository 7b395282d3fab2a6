package reference_test

import (
	"math"
	"slices"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// logs are logits whose softmax is p.
func logs(p ...float64) []float64 {
	var z []float64
	for _, x := range p {
		z = append(z, math.Log(x))
	}
	return z
}

// pick draws one token per uniform number from the same logits, in shards that begin at the given entries.
func pick(b bench, logits []float64, banned int32, uniforms []float64, greedy bool, starts ...int) (tokens []int32, chosen []float64) {
	n, v := len(uniforms), len(logits)
	numBlocks := (v + backend.VocabBlock - 1) / backend.VocabBlock
	bans, us := b.ints(slices.Repeat([]int32{banned}, n)...), b.put(uniforms, n)
	whole := make([]float64, 2*n*numBlocks)
	type rank struct {
		logits, stats tensor.Tensor
		draw          backend.Draw
	}
	var ranks []rank
	for i, start := range starts {
		end := v
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		held := (end - start + backend.VocabBlock - 1) / backend.VocabBlock
		r := rank{b.put(slices.Repeat(logits[start:end], n), n, end-start), alloc(b, n, 4),
			backend.Draw{Head: backend.Head{First: start, Scale: 1}, Greedy: greedy, TopP: 1}}
		blocks := alloc(b, n, held, 2)
		b.SampleBlocks(blocks, r.stats, r.logits, bans, r.draw.Head)
		part := b.get(blocks)
		for row := range n {
			copy(whole[2*(row*numBlocks+start/backend.VocabBlock):], part[2*row*held:2*(row+1)*held])
		}
		ranks = append(ranks, r)
	}
	tokens, chosen = make([]int32, n), make([]float64, n)
	for _, r := range ranks {
		out := b.Alloc(tensor.Int32, n)
		b.SamplePick(out, r.stats, r.logits, b.put(whole, n, numBlocks, 2), us, bans, r.draw)
		for i, v := range b.getInts(out) {
			tokens[i] += v
			chosen[i] += b.get(r.stats)[4*i+3]
		}
	}
	return tokens, chosen
}

func TestPickInvertsTheCumulativeDistribution(t *testing.T) {
	b := newBench(t)
	logits := logs(0.1, 0.2, 0.3, 0.4)
	uniforms := []float64{0, 0.09, 0.11, 0.29, 0.31, 0.59, 0.61, math.Nextafter(1, 0)}
	tokens, chosen := pick(b, logits, -1, uniforms, false, 0)
	want := []int32{0, 0, 1, 1, 2, 2, 3, 3}
	if !slices.Equal(tokens, want) {
		t.Errorf("drew %v, want %v", tokens, want)
	}
	for i, v := range want {
		near(t, "chosen logit", chosen[i:i+1], logits[v:v+1])
	}
	// Without entry 3 the others have 1/6, 2/6, 3/6.
	if tokens, _ := pick(b, logits, 3, []float64{0.16, 0.17, 0.49, 0.51, math.Nextafter(1, 0)}, false, 0); !slices.Equal(tokens, []int32{0, 1, 1, 2, 2}) {
		t.Errorf("without the last: drew %v", tokens)
	}
}

// TestPickIsTheSameOnAnyNumberOfRanks: blocks are exchanged, logits never; the tokens and logits of the ranks add up.
func TestPickIsTheSameOnAnyNumberOfRanks(t *testing.T) {
	b := newBench(t)
	logits := make([]float64, 300)
	uniforms := make([]float64, 50)
	for v := range logits {
		logits[v] = math.Sin(float64(v * v))
	}
	for i := range uniforms {
		uniforms[i] = (float64(i) + 0.25) / 50
	}
	for _, greedy := range []bool{false, true} {
		one, oneLogits := pick(b, logits, 130, uniforms, greedy, 0)
		three, threeLogits := pick(b, logits, 130, uniforms, greedy, 0, 64, 192)
		if !slices.Equal(one, three) || !slices.Equal(oneLogits, threeLogits) {
			t.Errorf("greedy %v: one rank draws %v, three draw %v", greedy, one, three)
		}
	}
}

func TestBlocksByHand(t *testing.T) {
	b := newBench(t)
	logits := make([]float64, 66)
	logits[64], logits[65] = 1, 3
	blocks, stats := alloc(b, 3, 2, 2), alloc(b, 3, 4)
	b.SampleBlocks(blocks, stats, b.put(slices.Repeat(logits, 3), 3, 66), b.ints(-1, 5, 65), backend.Head{Scale: 2})
	e := math.Exp(-4)
	near(t, "blocks", b.get(blocks), []float64{0, 64, 6, 1 + e, 0, 63, 6, 1 + e, 0, 64, 2, 1})
	row := []float64{6, 64*math.Exp(-6) + e + 1, 2*e + 6, 0}
	near(t, "statistics", b.get(stats), slices.Concat(row, row, row))
	// A block of banned entries only.
	one, oneStats := alloc(b, 1, 1, 2), alloc(b, 1, 4)
	b.SampleBlocks(one, oneStats, b.put([]float64{7}, 1, 1), b.ints(64), backend.Head{First: 64, Scale: 1})
	if got := b.get(one); !math.IsInf(got[0], -1) || got[1] != 0 {
		t.Errorf("a block of banned entries is %v, want (-Inf, 0)", got)
	}
}

func TestTruncatedWalksFromTheLargestDown(t *testing.T) {
	b := newBench(t)
	logits := logs(0.1, 0.2, 0.3, 0.4)
	for _, c := range []struct {
		draw     backend.Draw
		uniforms []float64
		want     []int32
	}{
		{backend.Draw{TopK: 2, TopP: 1}, []float64{0, 0.56, 0.58, 0.99}, []int32{3, 3, 2, 2}},       // 4/7, 3/7
		{backend.Draw{TopP: 0.75}, []float64{0.44, 0.45, 0.77, 0.78, 0.99}, []int32{3, 2, 2, 1, 1}}, // 0.4 + 0.3 < 0.75: 4/9, 3/9, 2/9
		{backend.Draw{TopP: 0.65}, []float64{0.57, 0.58}, []int32{3, 2}},                            // 0.4 + 0.3 >= 0.65
		{backend.Draw{TopK: 3, TopP: 0.45}, []float64{0.57, 0.58}, []int32{3, 2}},                   // of the three: 4/9 < 0.45 <= 7/9
		{backend.Draw{TopK: 3, TopP: 0.44}, []float64{0, 0.99}, []int32{3, 3}},                      // 4/9 >= 0.44
		{backend.Draw{TopP: 1}, []float64{0.39, 0.41, 0.71, 0.89, 0.91}, []int32{3, 2, 1, 1, 0}},    // no limit
		{backend.Draw{TopK: 2, TopP: 1, Greedy: true}, []float64{0, 0.99}, []int32{3, 3}},           // the largest
		{backend.Draw{TopP: 0.0001}, []float64{0, math.Nextafter(1, 0)}, []int32{3, 3}},             // at least one
		{backend.Draw{TopK: 9, TopP: 1}, []float64{math.Nextafter(1, 0), 0.0}, []int32{0, 3}},       // more than there are
	} {
		n := len(c.uniforms)
		c.draw.Scale = 1
		tokens, stats := b.Alloc(tensor.Int32, n), b.put(make([]float64, 4*n), n, 4)
		b.SampleTruncated(tokens, stats, b.put(slices.Repeat(logits, n), n, 4), b.put(c.uniforms, n), b.ints(slices.Repeat([]int32{-1}, n)...), c.draw)
		got := b.getInts(tokens)
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: drew %v, want %v", c.draw, got, c.want)
		}
		for i, v := range got {
			near(t, "chosen logit", b.get(stats)[4*i+3:4*i+4], logits[v:v+1])
		}
	}
}
