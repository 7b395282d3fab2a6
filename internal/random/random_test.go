package random

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

// chiSquare fails when counts of equally likely outcomes are less probable than one in a million. The seeds are
// fixed, so a pass stays a pass.
func chiSquare(t *testing.T, what string, counts []int) {
	t.Helper()
	total := 0
	for _, c := range counts {
		total += c
	}
	expected := float64(total) / float64(len(counts))
	sum := 0.0
	for _, c := range counts {
		sum += (float64(c) - expected) * (float64(c) - expected) / expected
	}
	if p := (distuv.ChiSquared{K: float64(len(counts) - 1)}).Survival(sum); p < 1e-6 {
		t.Errorf("%s: chi-square %.1f over %d outcomes has probability %.2g", what, sum, len(counts), p)
	}
}

// The words of an address and their place in the counter are the format of a run.
func TestBlockAddress(t *testing.T) {
	k := Key{Seed: 0x0123456789abcdef, Purpose: Rollout}
	want := Philox4x32([4]uint32{7, 11, 13, 3}, [2]uint32{0x89abcdef, 0x01234567})
	if got := k.Block(7, 11, 13); got != want {
		t.Errorf("Block = %08x, want %08x", got, want)
	}
	purposes := []Purpose{Init, Data, Rollout, Permute, Normalise}
	if want := []Purpose{1, 2, 3, 4, 5}; !slices.Equal(purposes, want) {
		t.Errorf("purposes are numbered %v, want %v", purposes, want)
	}
}

// The known-answer vector of the all-zero address, taken to its uniform and normal by arithmetic done elsewhere
// (53 bits of 0xe169c58d6627e8d5; Box-Muller evaluated with 50 digits).
func TestUniformAndNormalFromKnownBlock(t *testing.T) {
	k := Key{}
	if got, want := k.Uniform(0, 0, 0), float64(0xe169c58d6627e8d5>>11)/(1<<53); got != want {
		t.Errorf("Uniform = %v, want %v", got, want)
	}
	const want = -1.6249634408710394820101
	if got := k.Normal(0, 0, 0); math.Abs(got-want) > 1e-14 { // a few roundings of log, sqrt and cos
		t.Errorf("Normal = %.17g, want %.17g", got, want)
	}
}

func TestUniformRange(t *testing.T) {
	if got := unit(math.MaxUint32, math.MaxUint32); got != 1-0x1p-53 {
		t.Errorf("largest number is %v, want 1 - 2^-53", got)
	}
	if got := unit(1<<11, 0); got != 0x1p-53 {
		t.Errorf("smallest step is %v, want 2^-53", got)
	}
}

// Each of the three address words, walked alone, gives uniform numbers without serial dependence.
func TestUniformDistribution(t *testing.T) {
	const n, cells = 200_000, 32
	k := Key{Seed: 42, Purpose: Rollout}
	for axis, at := range map[string]func(i uint32) float64{
		"iteration": func(i uint32) float64 { return k.Uniform(i, 0, 0) },
		"sequence":  func(i uint32) float64 { return k.Uniform(0, i, 0) },
		"token":     func(i uint32) float64 { return k.Uniform(0, 0, i) },
	} {
		single, pairs := make([]int, 1000), make([]int, cells*cells)
		last := 0
		for i := range uint32(n) {
			u := at(i)
			single[int(u*1000)]++
			cell := int(u * cells)
			if i%2 == 1 { // disjoint pairs, so that their counts are independent
				pairs[last*cells+cell]++
			}
			last = cell
		}
		chiSquare(t, axis, single)
		chiSquare(t, axis+" pairs", pairs)
	}
}

// Low bits are as uniform as high ones: inverse-CDF sampling of rare tokens reads them all.
func TestUniformLowBits(t *testing.T) {
	k := Key{Seed: 43, Purpose: Data}
	counts := make([]int, 256)
	for i := range uint32(100_000) {
		counts[uint64(k.Uniform(1, 2, i)*0x1p53)%256]++
	}
	chiSquare(t, "low 8 of 53 bits", counts)
}

// Equally likely cells of the exact normal distribution, 1,000 of them, tails of one in a thousand included; and pairs
// of neighbours, which Box-Muller would correlate if its two halves were both used.
func TestNormalDistribution(t *testing.T) {
	const n = 400_000
	k := Key{Seed: 44, Purpose: Init}
	counts, pairs := make([]int, 1000), make([]int, 16*16)
	last := 0
	for i := range uint32(n) {
		u := distuv.UnitNormal.CDF(k.Normal(0, i/1000, i%1000))
		counts[min(int(u*1000), 999)]++
		cell := min(int(u*16), 15)
		if i%2 == 1 {
			pairs[last*16+cell]++
		}
		last = cell
	}
	chiSquare(t, "normal", counts)
	chiSquare(t, "normal pairs", pairs)
}

func TestPermutationIsUniform(t *testing.T) {
	k := Key{Seed: 45, Purpose: Permute}
	seen := map[string]int{}
	for iteration := range uint32(48_000) {
		seen[fmt.Sprint(k.Permutation(iteration, 4))]++
	}
	if len(seen) != 24 {
		t.Fatalf("%d different orders of 4 things, want 24", len(seen))
	}
	counts := make([]int, 0, 24)
	for _, c := range seen {
		counts = append(counts, c)
	}
	chiSquare(t, "orders of 4", counts)
}

func TestPermutationIsPermutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := Key{Seed: rapid.Uint64().Draw(t, "seed"), Purpose: Permute}
		iteration, n := rapid.Uint32().Draw(t, "iteration"), rapid.IntRange(-2, 300).Draw(t, "n")
		order := k.Permutation(iteration, n)
		if !slices.Equal(order, k.Permutation(iteration, n)) {
			t.Fatal("the same address gives another order")
		}
		sorted := slices.Sorted(slices.Values(order))
		if len(sorted) != max(n, 0) {
			t.Fatalf("%d numbers, want %d", len(sorted), max(n, 0))
		}
		for i, v := range sorted {
			if i != v {
				t.Fatalf("sorted order of %d holds %d at %d", n, v, i)
			}
		}
	})
}

// 2^64 mod 6 = 4: the draws whose low word of draw·6 is below 4 must be drawn again, the next one up must not.
func TestBelowRejects(t *testing.T) {
	const n = 6
	for _, c := range []struct {
		draws []uint64
		want  uint64
		used  int
	}{
		{[]uint64{0, 0x8000000000000001}, 3, 2},          // 0·6 = (0, 0): rejected
		{[]uint64{1}, 0, 1},                              // 1·6 = (0, 6): accepted
		{[]uint64{0x5555555555555556, ^uint64(0)}, 2, 1}, // ·6 = (2, 4): accepted, low is exactly the surplus
		{[]uint64{0xaaaaaaaaaaaaaaab, ^uint64(0)}, 5, 2}, // ·6 = (4, 2): rejected
		{[]uint64{0x8000000000000000, ^uint64(0)}, 5, 2}, // ·6 = (3, 0): rejected
		{[]uint64{0, 0, 0, 0x8000000000000001}, 3, 4},    // three rejections in a row
	} {
		used := 0
		got := below(n, func() uint64 { used++; return c.draws[used-1] })
		if got != c.want || used != c.used {
			t.Errorf("below(6) of %x = %d after %d draws, want %d after %d", c.draws, got, used, c.want, c.used)
		}
	}
}

// A big bound makes the bias of a plain remainder visible: with n = 3·2^62 half of the results would be twice as
// likely.
func TestBelowIsUnbiased(t *testing.T) {
	k := Key{Seed: 46, Purpose: Data}
	counter := uint32(0)
	draw := func() uint64 {
		b := k.Block(0, 0, counter)
		counter++
		return uint64(b[0])<<32 | uint64(b[1])
	}
	counts := make([]int, 3)
	for range 60_000 {
		counts[below(3<<62, draw)>>62]++
	}
	chiSquare(t, "thirds of 3·2^62", counts)
	if counter < 70_000 {
		t.Errorf("%d draws for 60000 numbers, expected about 80000", counter)
	}
}
