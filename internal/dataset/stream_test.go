package dataset

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"alfred/internal/config"
	"alfred/internal/dataset/source"
)

// numbered makes sources whose samples are named by source and place.
func numbered(sizes ...int) [][]Prompt {
	parts := make([][]Prompt, len(sizes))
	for i, n := range sizes {
		for k := range n {
			parts[i] = append(parts[i], Prompt{ID: fmt.Sprintf("%d/%d", i, k), Source: fmt.Sprint(i)})
		}
	}
	return parts
}

func stream(seed uint64, weights []float64, sizes ...int) *Stream[Prompt] {
	return newStream(numbered(sizes...), weights, seed)
}

// At is a pure function: positions in any order, from any stream of the same seed, on any goroutine, give the same samples.
func TestAtIsPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		sizes := rapid.SliceOfN(rapid.IntRange(1, 40), 1, 4).Draw(t, "sizes")
		weights := rapid.SliceOfN(rapid.SampledFrom([]float64{0.5, 1, 2, 3}), len(sizes), len(sizes)).Draw(t, "weights")
		one := stream(seed, weights, sizes...)
		var walked []string
		for p := range uint64(200) {
			walked = append(walked, one.At(p).ID)
		}
		resumed := stream(seed, weights, sizes...)
		for _, p := range rapid.SliceOfN(rapid.Uint64Range(0, 199), 1, 30).Draw(t, "positions") {
			if got := resumed.At(p).ID; got != walked[p] {
				t.Fatalf("At(%d) = %s when asked first, %s in order", p, got, walked[p])
			}
		}
	})
}

// Within every epoch of a source each of its samples comes once, and epochs differ in order.
func TestEpochs(t *testing.T) {
	const n = 50
	s := stream(3, []float64{1, 3}, n, 7)
	orders := map[int][]string{}
	drawn := make([]int, 2)
	for p := range uint64(4 * 3 * n) {
		sample := s.At(p)
		i := int(sample.Source[0] - '0')
		if i == 0 {
			orders[drawn[0]/n] = append(orders[drawn[0]/n], sample.ID)
		}
		drawn[i]++
	}
	if drawn[0] != 3*n || drawn[1] != 9*n {
		t.Errorf("drawn %v, want %d and %d", drawn, 3*n, 9*n)
	}
	for epoch, order := range orders {
		seen := map[string]bool{}
		for _, id := range order {
			seen[id] = true
		}
		if len(order) != n || len(seen) != n {
			t.Errorf("epoch %d: %d draws of %d samples", epoch, len(order), len(seen))
		}
	}
	if slices.Equal(orders[0], orders[1]) || slices.Equal(orders[1], orders[2]) {
		t.Error("two epochs have one order")
	}
}

// Sources of one size are permuted independently, and so are seeds.
func TestOrdersDiffer(t *testing.T) {
	order := func(seed uint64, source string) (out []string) {
		s := stream(seed, []float64{1, 1}, 40, 40)
		for p := range uint64(80) {
			if sample := s.At(p); sample.Source == source {
				out = append(out, sample.ID[2:])
			}
		}
		return out
	}
	if slices.Equal(order(1, "0"), order(1, "1")) {
		t.Error("two sources have one order")
	}
	if slices.Equal(order(1, "0"), order(2, "0")) {
		t.Error("two seeds give one order")
	}
	if !slices.Equal(order(1, "0"), order(1, "0")) {
		t.Error("one seed gives two orders")
	}
}

// The order is part of a run's format: resuming with another version of alfred must not change it.
func TestOrderIsFixed(t *testing.T) {
	s := stream(1, []float64{2, 1}, 5, 3)
	var got []string
	for p := range uint64(12) {
		got = append(got, s.At(p).ID)
	}
	want := []string{"0/0", "0/4", "1/0", "0/2", "0/1", "1/2", "0/3", "0/2", "1/1", "0/4", "0/0", "1/1"}
	if !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
}

// A source of weight 0 changes neither the fingerprint nor, with it, the order.
func TestWeightZeroLeavesTheOrder(t *testing.T) {
	root := folder(t, map[string]string{"a.jsonl": rows(40, 0), "b.jsonl": strings.ReplaceAll(rows(30, 0), "number", "other")})
	a, b, off := spec(source.Prompts, "a.jsonl", ""), spec(source.Prompts, "b.jsonl", ""), spec(source.Prompts, "absent", "")
	off.Weight = 0
	want := mustOpen[Prompt](t, options(root), a, b)
	for _, specs := range [][]config.Source{{off, a, b}, {a, off, b}, {a, b, off}} {
		got := mustOpen[Prompt](t, options(root), specs...)
		if got.Fingerprint() != want.Fingerprint() {
			t.Error("a source of weight 0 changes the fingerprint")
		}
		for p := range uint64(200) { // several epochs
			if x, y := got.Train().At(p).Text, want.Train().At(p).Text; x != y {
				t.Fatalf("position %d is %q with a source of weight 0, %q without", p, x, y)
			}
		}
	}
}

// Positions far out, beyond 2^32 draws, are reached at once.
func TestFarPositions(t *testing.T) {
	s := stream(1, []float64{0.3, 0.7}, 11, 13)
	for _, p := range []uint64{1 << 33, 1 << 50, math.MaxUint64 / 20} {
		if a, b := s.At(p).ID, s.At(p).ID; a != b || a == "" {
			t.Errorf("At(%d) = %q, then %q", p, a, b)
		}
	}
}

func TestAtConcurrently(t *testing.T) {
	s := stream(5, []float64{1, 2}, 9, 4)
	var want []string
	for p := range uint64(300) {
		want = append(want, s.At(p).ID)
	}
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			for i := range uint64(300) {
				p := (i*7 + g*31) % 300
				if got := s.At(p).ID; got != want[p] {
					t.Errorf("At(%d) = %s, want %s", p, got, want[p])
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkAt(b *testing.B) {
	s := stream(1, []float64{1, 1, 2}, 10_000, 5_000, 100_000)
	for p := uint64(0); b.Loop(); p++ {
		s.At(p)
	}
}
