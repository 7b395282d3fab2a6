package collectivetest

import (
	"fmt"
	"slices"

	"alfred/internal/tensor"
)

// twice runs body for every element type and length, in two worlds: a second run must give the bits of the first.
func (o opener) twice(ranks int, body func(p *peer, dtype tensor.DType, n int) error) error {
	for range 2 {
		err := o.run(ranks, func(p *peer) error {
			for _, dtype := range dtypes {
				for _, n := range lengths {
					if err := body(p, dtype, n); err != nil {
						return err
					}
				}
			}
			return p.settle()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func allReduce(o opener, ranks int) error {
	return o.twice(ranks, func(p *peer, dtype tensor.DType, n int) error {
		all := parts(dtype, n, ranks, 1)
		x := p.put(dtype, all[p.rank])
		shaped := x.Tensor
		if n%3 == 0 {
			shaped = x.Reshape(n/3, 3)
		}
		p.group.AllReduce(p.s, shaped)
		p.later("all-reduce", x, sum(dtype, all))
		return p.s.Err()
	})
}

func reduceScatter(o opener, ranks int) error {
	return o.twice(ranks, func(p *peer, dtype tensor.DType, n int) error {
		all := parts(dtype, n*ranks, ranks, 2)
		lo, hi := p.rank*n*dtype.Size(), (p.rank+1)*n*dtype.Size()
		want := sum(dtype, all)[lo:hi]

		src, dst := p.put(dtype, all[p.rank]), p.put(dtype, make([]byte, hi-lo))
		p.group.ReduceScatter(p.s, dst.Tensor, src.Tensor)
		p.later("reduce-scatter", dst, want)
		p.later("source of reduce-scatter", src, all[p.rank])

		inPlace := p.put(dtype, all[p.rank])
		own := inPlace.Slice(p.rank*n, (p.rank+1)*n)
		p.group.ReduceScatter(p.s, own, inPlace.Tensor)
		result := p.put(dtype, make([]byte, hi-lo)) // what the rest of the source holds, the contract leaves open
		p.s.Copy(result.Tensor, own)
		p.later("reduce-scatter in place", result, want)
		return p.s.Err()
	})
}

func allGather(o opener, ranks int) error {
	return o.twice(ranks, func(p *peer, dtype tensor.DType, n int) error {
		all := parts(dtype, n, ranks, 3)
		want := slices.Concat(all...)

		src, dst := p.put(dtype, all[p.rank]), p.put(dtype, make([]byte, len(want)))
		p.group.AllGather(p.s, dst.Tensor, src.Tensor)
		p.later("all-gather", dst, want)
		p.later("source of all-gather", src, all[p.rank])

		begin := make([]byte, len(want))
		copy(begin[p.rank*len(all[0]):], all[p.rank])
		inPlace := p.put(dtype, begin)
		p.group.AllGather(p.s, inPlace.Tensor, inPlace.Slice(p.rank*n, (p.rank+1)*n))
		p.later("all-gather in place", inPlace, want)
		return p.s.Err()
	})
}

func broadcast(o opener, ranks int) error {
	return o.twice(ranks, func(p *peer, dtype tensor.DType, n int) error {
		for root := range ranks {
			all := parts(dtype, n, ranks, uint64(4+root))
			x := p.put(dtype, all[p.rank])
			p.group.Broadcast(p.s, x.Tensor, root)
			p.later(fmt.Sprintf("broadcast from %d", root), x, all[root])
		}
		return p.s.Err()
	})
}

// whoIsWho: the position in a group is that in its list of members.
func whoIsWho(o opener, ranks int) error {
	return o.run(ranks, func(p *peer) error {
		if p.group.Rank() != p.rank || p.group.Size() != ranks {
			return fmt.Errorf("rank %d of %d believes to be %d of %d", p.rank, ranks, p.group.Rank(), p.group.Size())
		}
		backwards := []int{}
		for r := range ranks {
			backwards = append(backwards, ranks-1-r)
		}
		g := p.world.Group(p.rank, backwards)
		all := parts(tensor.Int32, 5, ranks, 20)
		x := p.put(tensor.Int32, all[p.rank])
		g.Broadcast(p.s, x.Tensor, 0)
		p.later("broadcast from the first of a list that runs backwards", x, all[ranks-1])
		if g.Rank() != ranks-1-p.rank || g.Size() != ranks {
			return fmt.Errorf("rank %d is at %d of %d in a list that runs backwards", p.rank, g.Rank(), g.Size())
		}
		alone := p.world.Group(p.rank, []int{p.rank})
		if alone.Rank() != 0 || alone.Size() != 1 {
			return fmt.Errorf("alone, rank %d is %d of %d", p.rank, alone.Rank(), alone.Size())
		}
		return p.settle()
	})
}
