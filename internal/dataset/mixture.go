package dataset

import (
	"math/big"
	"strconv"
)

// maxPeriod bounds the length of a schedule. Weights whose exact schedule would be longer are rounded to this many parts.
const maxPeriod = 1 << 20

// mixture is a schedule that repeats: which source each position draws from.
type mixture struct {
	turns  []uint64 // draws of each source per period
	source []uint16 // [period] the source of each slot
	rank   []uint32 // [period] which of its source's draws in the period it is, from 0
}

// newMixture makes the schedule for weights > 0, given as decimal numbers: with w_i = turns_i / period, after n draws source i
// has been drawn c_i times with |c_i - n·w_i| < 1, for every n.
//
// Draw j of source i may come from slot floor(j/w_i) on and must come before slot ceil((j+1)/w_i); taking in each slot the
// allowed draw with the earliest end never misses one (Pfair windows on one processor: Baruah, Cohen, Plaxton and Varvel,
// "Proportionate progress", Algorithmica 1996; earliest deadline first is optimal for unit jobs). All arithmetic is in integers.
func newMixture(weights []float64) *mixture {
	m := &mixture{turns: turns(weights)}
	period := uint64(0)
	for _, t := range m.turns {
		period += t
	}
	m.source, m.rank = make([]uint16, period), make([]uint32, period)
	drawn := make([]uint64, len(m.turns))
	for slot := range period {
		best, bestEnd := -1, uint64(0)
		for i, t := range m.turns {
			if drawn[i]*period/t > slot {
				continue // its next draw is not due yet
			}
			if end := ((drawn[i]+1)*period + t - 1) / t; best < 0 || end < bestEnd {
				best, bestEnd = i, end
			}
		}
		m.source[slot], m.rank[slot] = uint16(best), uint32(drawn[best])
		drawn[best]++
	}
	return m
}

// at returns the source of a position and the number of that source's draws before it.
func (m *mixture) at(position uint64) (source int, draw uint64) {
	period := uint64(len(m.source))
	slot := position % period
	source = int(m.source[slot])
	return source, position/period*m.turns[source] + uint64(m.rank[slot])
}

// share returns the share of draws of a source.
func (m *mixture) share(source int) float64 {
	return float64(m.turns[source]) / float64(len(m.source))
}

// turns finds the smallest whole numbers in the ratio of the weights, read as the decimals that a person wrote (0.1 is a
// tenth). When they add up to more than maxPeriod they are rounded to parts of it, at least one each.
func turns(weights []float64) []uint64 {
	exact := make([]*big.Rat, len(weights))
	sum, denominator := new(big.Rat), big.NewInt(1)
	for i, w := range weights {
		exact[i], _ = new(big.Rat).SetString(strconv.FormatFloat(w, 'g', -1, 64))
		sum.Add(sum, exact[i])
	}
	for _, w := range exact {
		w.Quo(w, sum)
		gcd := new(big.Int).GCD(nil, nil, denominator, w.Denom())
		denominator.Mul(denominator, new(big.Int).Quo(w.Denom(), gcd))
	}
	out := make([]uint64, len(weights))
	rounded := !denominator.IsInt64() || denominator.Int64() > maxPeriod
	for i, w := range exact {
		if rounded {
			parts, _ := new(big.Rat).Mul(w, big.NewRat(maxPeriod, 1)).Float64()
			out[i] = max(1, uint64(parts+0.5))
		} else {
			out[i] = new(big.Int).Quo(new(big.Int).Mul(w.Num(), denominator), w.Denom()).Uint64()
		}
	}
	return out
}
