package pipeline

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"alfred/internal/collective"
	"alfred/internal/nn"
)

// Replicas are the data-parallel copies of a model, which share the sequences of a batch. What one of them scores, all of them
// know afterwards, so that the mathematics on the host is the same everywhere.
type Replicas struct {
	Group  collective.Group
	Budget int // tokens of a micro-batch
}

// Plan is this rank's micro-batches of one batch. An optimizer step has one plan, which serves everything that the step
// needs: the log-probs before it and its training see the same micro-batches.
type Plan struct {
	Micros []MicroBatch
	units  int // of all ranks
}

// Plan partitions the units of a batch over the replicas. Unit IDs must be 0, 1, 2, ...
func (r Replicas) Plan(units []Unit) Plan {
	return Plan{Micros: Partition(units, r.Group.Size(), r.Budget)[r.Group.Rank()], units: len(units)}
}

// Result is what the head said at the positions that one sequence names; see Output.
type Result struct {
	LogProb, Entropy, Value []float64
}

// Score runs the plan forward and returns the results of all ranks: by unit ID, one for each sequence of the unit.
func (r Replicas) Score(ctx context.Context, e *Executor, plan Plan) ([][]Result, error) {
	c := collection{group: r.Group, plan: plan, results: make([][]Result, plan.units)}
	if err := e.Score(ctx, plan.Micros, c.add); err != nil {
		return nil, err
	}
	return c.exchange()
}

// Train trains on the plan, see Executor.Train, and returns what the head said on the way, as Score does.
func (r Replicas) Train(ctx context.Context, e *Executor, plan Plan, loss func(m int, out Output, grad Gradient)) ([][]Result, error) {
	c := collection{group: r.Group, plan: plan, results: make([][]Result, plan.units)}
	err := e.Train(ctx, plan.Micros, func(m int, out Output, grad Gradient) {
		c.add(m, out)
		loss(m, out, grad)
	})
	if err != nil {
		return nil, err
	}
	return c.exchange()
}

// collection gathers the results of a plan, first this rank's, then those of the others.
type collection struct {
	group   collective.Group
	plan    Plan
	results [][]Result // by unit ID
	mine    []byte     // for the others
}

func (c *collection) add(m int, out Output) {
	owner := owners(c.plan.Micros[m])
	out.Each(func(i, lo, hi int) {
		id := owner[i]
		res := out.result(lo, hi)
		c.results[id] = append(c.results[id], res)
		if c.group.Size() > 1 {
			c.mine = res.encode(binary.LittleEndian.AppendUint32(c.mine, uint32(id)))
		}
	})
}

func (c *collection) exchange() ([][]Result, error) {
	if c.group.Size() == 1 {
		return c.results, nil
	}
	all, err := c.group.Exchange(c.mine)
	if err != nil {
		return nil, err
	}
	for rank, theirs := range all {
		for rank != c.group.Rank() && len(theirs) > 0 {
			id := int(binary.LittleEndian.Uint32(theirs))
			if id >= len(c.results) {
				return nil, fmt.Errorf("pipeline: rank %d scored unit %d of %d", rank, id, len(c.results))
			}
			var res Result
			res, theirs = decodeResult(theirs[4:])
			c.results[id] = append(c.results[id], res)
		}
	}
	return c.results, nil
}

// owners lists, for every sequence of m, the ID of its unit.
func owners(m MicroBatch) (ids []int) {
	for _, u := range m.Units {
		for range u.Sequences {
			ids = append(ids, u.ID)
		}
	}
	return ids
}

// result copies the numbers of one sequence.
func (o Output) result(lo, hi int) (res Result) {
	part := func(xs []float64) []float64 {
		if xs == nil {
			return nil
		}
		return append(make([]float64, 0, hi-lo), xs[lo:hi]...) // not nil, even if it is empty
	}
	return Result{LogProb: part(o.LogProb), Entropy: part(o.Entropy), Value: part(o.Value)}
}

// encode appends the result to b: three lists, each a length (all ones for nil) and its numbers.
func (r Result) encode(b []byte) []byte {
	for _, xs := range [][]float64{r.LogProb, r.Entropy, r.Value} {
		if xs == nil {
			b = binary.LittleEndian.AppendUint32(b, math.MaxUint32)
			continue
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(len(xs)))
		for _, x := range xs {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
	}
	return b
}

func decodeResult(b []byte) (r Result, rest []byte) {
	for _, list := range []*[]float64{&r.LogProb, &r.Entropy, &r.Value} {
		n := binary.LittleEndian.Uint32(b)
		b = b[4:]
		if n == math.MaxUint32 {
			continue
		}
		*list = make([]float64, n)
		for i := range *list {
			(*list)[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		}
		b = b[8*n:]
	}
	return r, b
}

// Single makes a unit of one sequence.
func Single(id int, q nn.Sequence) Unit { return Unit{ID: id, Sequences: []nn.Sequence{q}} }
