package inproc

import (
	"errors"
	"fmt"
	"runtime"

	"alfred/internal/backend"
	"alfred/internal/collective"
	"alfred/internal/mesh"
	"alfred/internal/tensor"
)

// group is one rank's handle on a shared group.
type group struct {
	*shared
	rank int
}

func (g *group) Rank() int         { return g.rank }
func (g *group) Size() int         { return len(g.members) }
func (g *group) Abort(cause error) { g.world.Abort(cause) }

// AllReduce: each rank sums its share of the elements over all ranks, in rank order, and then takes everybody's shares.
func (g *group) AllReduce(s *backend.Stream, x tensor.Tensor) {
	both := []tensor.Tensor{x}
	g.enqueue(s, "all-reduce", both, both, nil, func() error {
		r, err := g.meet("all-reduce", x, func() { g.grow(x.Bytes()) })
		if err != nil {
			return err
		}
		lo, hi := mesh.Shard(x.Len(), g.rank, g.Size())
		sum(g.result, r.calls, lo, hi)
		r.leave()
		copy(host(x), g.result)
		return nil
	})
}

// ReduceScatter: each rank sums the part that is its own.
func (g *group) ReduceScatter(s *backend.Stream, dst, src tensor.Tensor) {
	var bad error
	if src.Len() != dst.Len()*g.Size() || src.DType() != dst.DType() {
		bad = fmt.Errorf("%v into %v over %d ranks", src, dst, g.Size())
	}
	g.enqueue(s, "reduce-scatter", []tensor.Tensor{src}, []tensor.Tensor{dst}, bad, func() error {
		r, err := g.meet("reduce-scatter", src, func() { g.grow(src.Bytes()) })
		if err != nil {
			return err
		}
		lo, hi := g.rank*dst.Len(), (g.rank+1)*dst.Len()
		sum(g.result, r.calls, lo, hi)
		r.leave()
		size := src.DType().Size()
		copy(host(dst), g.result[lo*size:hi*size])
		return nil
	})
}

// AllGather copies every rank's part.
func (g *group) AllGather(s *backend.Stream, dst, src tensor.Tensor) {
	var bad error
	if dst.Len() != src.Len()*g.Size() || src.DType() != dst.DType() {
		bad = fmt.Errorf("%v into %v over %d ranks", src, dst, g.Size())
	}
	g.enqueue(s, "all-gather", []tensor.Tensor{src}, []tensor.Tensor{dst}, bad, func() error {
		r, err := g.meet("all-gather", src, nil)
		if err != nil {
			return err
		}
		out := host(dst)
		for rank, c := range r.calls {
			if rank != g.rank || dst.Buffer() != src.Buffer() || src.Offset() != dst.Offset()+rank*src.Bytes() {
				copy(out[rank*src.Bytes():], c.data)
			}
		}
		r.leave()
		return nil
	})
}

// Broadcast copies from the root.
func (g *group) Broadcast(s *backend.Stream, x tensor.Tensor, root int) {
	both := []tensor.Tensor{x}
	g.enqueue(s, "broadcast", both, both, g.among("root", root), func() error {
		r, err := g.meet(fmt.Sprintf("broadcast from %d", g.members[root]), x, nil)
		if err != nil {
			return err
		}
		if g.rank != root {
			copy(host(x), r.calls[root].data)
		}
		r.leave()
		return nil
	})
}

// Send puts a copy of x into the mailbox of rank to.
func (g *group) Send(s *backend.Stream, x tensor.Tensor, to int) {
	g.enqueue(s, "send", []tensor.Tensor{x}, nil, g.among("receiver", to), func() error {
		if err := g.world.err(); err != nil {
			return err
		}
		g.boxes[g.rank][to].put(call{name: "send", dtype: x.DType(), count: x.Len(), data: append([]byte(nil), host(x)...)})
		return nil
	})
}

// Recv takes the oldest message from rank from.
func (g *group) Recv(s *backend.Stream, x tensor.Tensor, from int) {
	g.enqueue(s, "recv", nil, []tensor.Tensor{x}, g.among("sender", from), func() error {
		c, err := g.boxes[from][g.rank].take(g.world, g.members[from], g.members[g.rank])
		if err != nil {
			return err
		}
		if c.dtype != x.DType() || c.count != x.Len() {
			return fmt.Errorf("collective: rank %d sends %v[%d], rank %d receives %v[%d]", g.members[from], c.dtype, c.count, g.members[g.rank], x.DType(), x.Len())
		}
		copy(host(x), c.data)
		return nil
	})
}

// Exchange passes bytes around on the host. Every rank gets copies of its own.
func (g *group) Exchange(data []byte) ([][]byte, error) {
	r, err := g.bytes.meet(g.rank, call{name: "exchange", data: data}, nil)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(r.calls))
	for rank, c := range r.calls {
		out[rank] = append(make([]byte, 0, len(c.data)), c.data...)
	}
	r.leave()
	return out, nil
}

// meet brings the call of this rank, on t, to the group's operations on tensors.
func (g *group) meet(name string, t tensor.Tensor, prepare func()) (*round, error) {
	return g.tensors.meet(g.rank, call{name: name, dtype: t.DType(), count: t.Len(), data: host(t), owner: t.Buffer()}, prepare)
}

// onHost demands operands that the host addresses. It is asked when the operation runs: a device that only counts never runs it.
func onHost(operands ...[]tensor.Tensor) error {
	for _, ts := range operands {
		for _, t := range ts {
			if _, ok := t.Buffer().(tensor.HostBuffer); !ok {
				return fmt.Errorf("%v: ranks of one process exchange what lies in the memory of the host", t)
			}
		}
	}
	return nil
}

// enqueue runs fn in the stream's order. The others would wait in vain for a rank whose stream has failed, whose operands are
// bad, or whose fn fails: the world ends then.
func (g *group) enqueue(s *backend.Stream, name string, reads, writes []tensor.Tensor, bad error, fn func() error) {
	if bad != nil {
		s.Fail(fmt.Errorf("collective: %s on rank %d: %w", name, g.members[g.rank], bad))
	}
	if err := s.Err(); err != nil {
		g.failed(err)
		return
	}
	s.Enqueue(name, reads, writes, func() error {
		err := onHost(reads, writes)
		if err == nil {
			err = fn()
		}
		if err != nil {
			g.failed(err)
		}
		runtime.KeepAlive(reads)
		runtime.KeepAlive(writes)
		return err
	})
}

// failed ends the world because of this rank, unless it has ended already.
func (g *group) failed(err error) {
	if !errors.Is(err, collective.ErrAborted) {
		g.world.Abort(fmt.Errorf("rank %d: %w", g.members[g.rank], err))
	}
}

// among demands that rank is one of the group.
func (g *group) among(what string, rank int) error {
	if rank < 0 || rank >= g.Size() {
		return fmt.Errorf("%s %d of %d ranks", what, rank, g.Size())
	}
	return nil
}

// host is the memory of t.
func host(t tensor.Tensor) []byte {
	return t.Buffer().(tensor.HostBuffer).Host()[t.Offset() : t.Offset()+t.Bytes()]
}
