package collectivetest

import (
	"errors"
	"fmt"
	"strings"

	"alfred/internal/collective"
	"alfred/internal/tensor"
)

// operation is a call on a group that cannot end unless all ranks make it.
type operation struct {
	name string
	call func(p *peer, g collective.Group)
}

// op makes an operation on tensors of n elements per rank.
func op(name string, dtype tensor.DType, n, root int) operation {
	return operation{name: fmt.Sprintf("%s of %v[%d] root %d", name, dtype, n, root), call: func(p *peer, g collective.Group) {
		part, whole := p.s.Zeros(dtype, n), p.s.Zeros(dtype, g.Size()*n)
		switch name {
		case "all-reduce":
			g.AllReduce(p.s, whole)
		case "reduce-scatter":
			g.ReduceScatter(p.s, part, whole)
		case "all-gather":
			g.AllGather(p.s, whole, part)
		case "broadcast":
			g.Broadcast(p.s, whole, root)
		}
	}}
}

// disagreement: ranks that make different calls all get an error, and it names two ranks that disagree.
func disagreement(o opener, ranks int) error {
	f32 := tensor.Float32
	for _, c := range []struct{ most, odd operation }{
		{op("all-reduce", f32, 4, 0), op("broadcast", f32, 4, 0)},
		{op("all-reduce", f32, 4, 0), op("all-reduce", f32, 5, 0)},
		{op("all-reduce", f32, 4, 0), op("all-reduce", f32, 0, 0)},
		{op("all-reduce", f32, 4, 0), op("all-reduce", tensor.Int32, 4, 0)},
		{op("all-reduce", tensor.Float64, 4, 0), op("all-reduce", f32, 8, 0)},
		{op("all-reduce", f32, 4, 0), op("reduce-scatter", f32, 4, 0)},
		{op("all-gather", f32, 4, 0), op("reduce-scatter", f32, 4, 0)},
		{op("all-gather", f32, 4, 0), op("all-gather", tensor.BFloat16, 4, 0)},
		{op("broadcast", f32, 4, 0), op("broadcast", f32, 4, 1)},
		{op("reduce-scatter", f32, 4, 0), op("reduce-scatter", f32, 3, 0)},
	} {
		for odd := range ranks {
			calls := func(p *peer, g collective.Group, isOdd bool) error {
				if isOdd {
					c.odd.call(p, g)
				} else {
					c.most.call(p, g)
				}
				return p.s.Sync()
			}
			err := o.runToEnd(ranks, func(p *peer) error {
				return names(calls(p, p.group, p.rank == odd), odd, ranks)
			})
			if err != nil {
				return fmt.Errorf("%s, but rank %d: %s: %w", c.most.name, odd, c.odd.name, err)
			}
		}
	}
	if err := disagreementOfMessages(o, ranks); err != nil {
		return err
	}
	if ranks < 4 {
		return nil
	}
	return o.runToEnd(ranks, func(p *peer) error { // ranks 1 and 3 are 0 and 1 of their group; people know them by the former
		if p.rank%2 == 0 {
			return nil
		}
		g := p.world.Group(p.rank, []int{1, 3})
		op("all-reduce", f32, p.rank, 0).call(p, g)
		return names(p.s.Sync(), 1, ranks)
	})
}

// names demands an error that names a rank and another one.
func names(err error, rank, ranks int) error {
	if err == nil {
		return errors.New("no error")
	}
	others := 0
	for r := range ranks {
		if r != rank && strings.Contains(err.Error(), fmt.Sprintf("rank %d ", r)) {
			others++
		}
	}
	if others == 0 || !strings.Contains(err.Error(), fmt.Sprintf("rank %d ", rank)) {
		return fmt.Errorf("rank %d and another one are not named in: %w", rank, err)
	}
	return nil
}

// disagreementOfMessages: who receives another thing than was sent gets an error that names both ends.
func disagreementOfMessages(o opener, ranks int) error {
	last := ranks - 1
	for _, x := range []struct {
		dtype tensor.DType
		n     int
	}{{tensor.Float32, 5}, {tensor.Int32, 4}, {tensor.BFloat16, 8}, {tensor.Float32, 0}} {
		err := o.runToEnd(ranks, func(p *peer) error {
			switch p.rank {
			case 0:
				p.group.Send(p.s, p.s.Zeros(tensor.Float32, 4), last)
			case last:
				p.group.Recv(p.s, p.s.Zeros(x.dtype, x.n), 0)
				return names(p.s.Sync(), 0, ranks)
			}
			return p.s.Sync()
		})
		if err != nil {
			return fmt.Errorf("%v[%d] received for float32[4] sent: %w", x.dtype, x.n, err)
		}
	}
	return nil
}

// badOperands: what cannot work on a rank by itself is an error there, at the latest when its stream is waited for, and the
// others do not wait.
func badOperands(o opener, ranks int) error {
	zeros := func(p *peer, n int) tensor.Tensor { return p.s.Zeros(tensor.Float32, n) }
	for name, call := range map[string]func(p *peer){
		"reduce-scatter that does not divide": func(p *peer) { p.group.ReduceScatter(p.s, zeros(p, 2), zeros(p, 2*ranks+1)) },
		"reduce-scatter into another type":    func(p *peer) { p.group.ReduceScatter(p.s, p.s.Zeros(tensor.Int32, 2), zeros(p, 2*ranks)) },
		"all-gather that does not multiply":   func(p *peer) { p.group.AllGather(p.s, zeros(p, 2*ranks-1), zeros(p, 2)) },
		"all-gather into another type":        func(p *peer) { p.group.AllGather(p.s, p.s.Zeros(tensor.Int32, 2*ranks), zeros(p, 2)) },
		"broadcast from nobody":               func(p *peer) { p.group.Broadcast(p.s, zeros(p, 2), ranks) },
		"broadcast from -1":                   func(p *peer) { p.group.Broadcast(p.s, zeros(p, 2), -1) },
		"send to nobody":                      func(p *peer) { p.group.Send(p.s, zeros(p, 2), ranks) },
		"recv from nobody":                    func(p *peer) { p.group.Recv(p.s, zeros(p, 2), -1) },
		"all-reduce of nothing":               func(p *peer) { p.group.AllReduce(p.s, tensor.Tensor{}) },
		"all-gather into nothing":             func(p *peer) { p.group.AllGather(p.s, tensor.Tensor{}, zeros(p, 2)) },
	} {
		for _, everybody := range []bool{true, false} {
			err := o.runToEnd(ranks, func(p *peer) error {
				if everybody || p.rank == ranks-1 {
					call(p)
				} else {
					p.group.AllReduce(p.s, zeros(p, 2))
				}
				if p.s.Sync() == nil {
					return fmt.Errorf("rank %d has no error", p.rank)
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s, on all ranks %v: %w", name, everybody, err)
			}
		}
	}
	return nil
}
