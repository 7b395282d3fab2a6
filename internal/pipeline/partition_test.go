package pipeline

import (
	"slices"
	"testing"

	"alfred/internal/collective"
	"alfred/internal/nn"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func unitsOf(lengths []int) (units []Unit) {
	for i, n := range lengths {
		units = append(units, Single(i, nn.Sequence{IDs: make([]int32, n), To: n}))
	}
	return units
}

func TestPartitionDealsEveryUnitOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lengths := rapid.SliceOfN(rapid.IntRange(1, 50), 0, 40).Draw(t, "lengths")
		ranks, budget := rapid.IntRange(1, 5).Draw(t, "ranks"), rapid.IntRange(10, 80).Draw(t, "budget")
		parts := Partition(unitsOf(lengths), ranks, budget)
		if len(parts) != ranks {
			t.Fatalf("%d shares for %d ranks", len(parts), ranks)
		}
		var seen []int
		for r, micros := range parts {
			if len(micros) != len(parts[0]) {
				t.Fatalf("rank %d has %d micro-batches, rank 0 has %d", r, len(micros), len(parts[0]))
			}
			last := -1
			for _, m := range micros {
				tokens := 0
				for _, u := range m.Units {
					tokens += u.Tokens()
					seen = append(seen, u.ID)
					if u.ID <= last {
						t.Fatalf("rank %d: unit %d after %d", r, u.ID, last)
					}
					last = u.ID
				}
				if tokens > budget && len(m.Units) > 1 {
					t.Fatalf("rank %d: %d tokens in a micro-batch of at most %d", r, tokens, budget)
				}
			}
		}
		slices.Sort(seen)
		for i := range lengths {
			if i >= len(seen) || seen[i] != i {
				t.Fatalf("units %v of %d", seen, len(lengths))
			}
		}
		if len(seen) != len(lengths) {
			t.Fatalf("%d units dealt, %d given", len(seen), len(lengths))
		}
	})
}

func TestPartitionBalancesTokens(t *testing.T) {
	parts := Partition(unitsOf([]int{40, 10, 10, 10, 10, 10, 10, 10, 10}), 2, 200)
	for r, micros := range parts {
		n := 0
		for _, m := range micros {
			for _, u := range m.Units {
				n += u.Tokens()
			}
		}
		if n != 60 {
			t.Errorf("rank %d has %d of 120 tokens, want 60", r, n)
		}
	}
}

// TestResultsOutliveTheirOutput: an executor uses the memory of an output again for the next micro-batch.
func TestResultsOutliveTheirOutput(t *testing.T) {
	units := unitsOf([]int{2, 1, 3})
	micros := []MicroBatch{{Units: units[:2]}, {Units: units[2:]}}
	c := collection{group: collective.Solo{}, plan: Plan{Micros: micros, units: 3}, results: make([][]Result, 3)}
	out := Output{LogProb: []float64{1, 2, 3}, Entropy: []float64{4, 5, 6}}
	for m, micro := range micros {
		out.Sequences = micro.appendSequences(out.Sequences[:0])
		c.add(m, out)
		for i := range out.LogProb {
			out.LogProb[i], out.Entropy[i] = -out.LogProb[i], -out.Entropy[i]
		}
	}
	want := [][]Result{{{LogProb: []float64{1, 2}, Entropy: []float64{4, 5}}}, {{LogProb: []float64{3}, Entropy: []float64{6}}}, {{LogProb: []float64{-1, -2, -3}, Entropy: []float64{-4, -5, -6}}}}
	if d := cmp.Diff(want, c.results); d != "" {
		t.Error(d)
	}
}

// TestGradientsStartAtZero: also in memory that held other gradients.
func TestGradientsStartAtZero(t *testing.T) {
	var g Gradient
	for range 2 {
		g.zero(Output{LogProb: []float64{1, 2}, Entropy: []float64{3, 4}, Value: []float64{}}, true)
		if d := cmp.Diff(Gradient{LogProb: []float64{0, 0}, Entropy: []float64{0, 0}, Value: []float64{}}, g); d != "" {
			t.Error(d)
		}
		g.LogProb[1], g.Entropy[0] = 5, 6
	}
	g.zero(Output{LogProb: []float64{1}, Entropy: []float64{2}}, false)
	if d := cmp.Diff(Gradient{LogProb: []float64{0}}, g); d != "" {
		t.Error(d)
	}
}

func TestResultsSurviveTheWire(t *testing.T) {
	want := []Result{{LogProb: []float64{-1, -2.5}, Entropy: []float64{0.25, 3}}, {Value: []float64{}}, {Value: []float64{1e-300}}}
	var b []byte
	for _, r := range want {
		b = r.encode(b)
	}
	for i, w := range want {
		var got Result
		got, b = decodeResult(b)
		if !slices.Equal(got.LogProb, w.LogProb) || !slices.Equal(got.Entropy, w.Entropy) || !slices.Equal(got.Value, w.Value) || (got.Value == nil) != (w.Value == nil) {
			t.Errorf("result %d: got %+v, want %+v", i, got, w)
		}
	}
	if len(b) != 0 {
		t.Errorf("%d bytes left", len(b))
	}
}
