package dataset

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// After any number of draws each source has its share to within one draw, compared in whole numbers; and the rank of each
// slot counts the source's draws.
func TestScheduleKeepsShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Float64Range(0.01, 100), 1, 9).Draw(t, "weights")
		for i := range weights {
			weights[i] = math.Round(weights[i]*100) / 100
		}
		m := newMixture(weights)
		period := int64(len(m.source))
		drawn := make([]int64, len(weights))
		for position := range 2*period + 3 {
			source, draw := m.at(uint64(position))
			if draw != uint64(drawn[source]) {
				t.Fatalf("position %d is draw %d of source %d, which was drawn %d times", position, draw, source, drawn[source])
			}
			drawn[source]++
			for i, c := range drawn {
				if lag := period*c - (position+1)*int64(m.turns[i]); lag <= -period || lag >= period {
					t.Fatalf("weights %v: after %d draws source %d has %d of %d/%d", weights, position+1, i, c, (position+1)*int64(m.turns[i]), period)
				}
			}
		}
	})
}

func TestTurns(t *testing.T) {
	for _, c := range []struct {
		weights []float64
		want    []uint64
	}{
		{[]float64{1}, []uint64{1}},
		{[]float64{0.37}, []uint64{1}},
		{[]float64{1, 1, 1}, []uint64{1, 1, 1}},
		{[]float64{0.1, 0.2, 0.7}, []uint64{1, 2, 7}}, // tenths, though no float is one
		{[]float64{1, 0.5, 0.25}, []uint64{4, 2, 1}},
		{[]float64{3, 1e-3}, []uint64{3000, 1}},
		{[]float64{1e300, 1e300}, []uint64{1, 1}},
		{[]float64{5e-324, 1}, []uint64{1, maxPeriod}}, // rounded, at least one each
	} {
		if got := turns(c.weights); !slices.Equal(got, c.want) {
			t.Errorf("turns(%v) = %v, want %v", c.weights, got, c.want)
		}
	}
	// Weights without a short period keep their shares to a part in a million.
	weights := []float64{math.Pi, math.E, math.Sqrt2}
	m := newMixture(weights)
	for i, w := range weights {
		if got, want := m.share(i), w/(math.Pi+math.E+math.Sqrt2); math.Abs(got-want) > 1e-6 {
			t.Errorf("share of %v: %v, want %v", w, got, want)
		}
	}
}

func BenchmarkNewMixtureLongest(b *testing.B) {
	for b.Loop() {
		newMixture([]float64{math.Pi, math.E, math.Sqrt2, 1, math.Ln2})
	}
}
