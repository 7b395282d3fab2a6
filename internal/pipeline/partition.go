package pipeline

import (
	"cmp"
	"slices"

	"alfred/internal/nn"
)

// Unit is an indivisible group of sequences: a prompt's ranked responses in reward training, one sequence elsewhere. Its
// sequences are always in the same micro-batch.
type Unit struct {
	ID        int // the caller's name for it
	Sequences []nn.Sequence
}

// Tokens is the size of the unit.
func (u Unit) Tokens() int {
	n := 0
	for _, q := range u.Sequences {
		n += len(q.IDs)
	}
	return n
}

// MicroBatch is what one forward pass of one rank sees. It may be empty.
type MicroBatch struct {
	Units []Unit
}

// appendSequences appends the sequences of all units, in order, to list.
func (m MicroBatch) appendSequences(list []nn.Sequence) []nn.Sequence {
	for _, u := range m.Units {
		list = append(list, u.Sequences...)
	}
	return list
}

// Partition deals units to ranks and cuts each rank's share into micro-batches of at most budget tokens (a unit larger
// than the budget gets one of its own). Every rank gets the same number of micro-batches, empty ones included, so that no
// collective waits for a rank that has none. The result depends on nothing but the arguments, so all ranks agree on it.
//
// The longest units are dealt first, each to the rank with the fewest tokens so far, and every rank keeps its units in the
// order given.
func Partition(units []Unit, ranks, budget int) [][]MicroBatch {
	order := make([]int, len(units))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(units[b].Tokens(), units[a].Tokens()) })
	load, share := make([]int, ranks), make([][]int, ranks)
	for _, i := range order {
		least := 0
		for r := range load {
			if load[r] < load[least] {
				least = r
			}
		}
		load[least] += units[i].Tokens()
		share[least] = append(share[least], i)
	}
	parts, most := make([][]MicroBatch, ranks), 0
	for r := range parts {
		slices.Sort(share[r])
		parts[r] = cut(units, share[r], budget)
		most = max(most, len(parts[r]))
	}
	for r := range parts {
		for len(parts[r]) < most {
			parts[r] = append(parts[r], MicroBatch{})
		}
	}
	return parts
}

// cut packs units in order, opening a new micro-batch when the next unit does not fit.
func cut(units []Unit, share []int, budget int) (micros []MicroBatch) {
	used := 0
	for _, i := range share {
		n := units[i].Tokens()
		if len(micros) == 0 || used+n > budget {
			micros, used = append(micros, MicroBatch{}), 0
		}
		last := &micros[len(micros)-1]
		last.Units, used = append(last.Units, units[i]), used+n
	}
	return micros
}
