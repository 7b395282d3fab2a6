package inproc

import (
	"fmt"
	"sync"

	"alfred/internal/backend"
	"alfred/internal/mesh"
	"alfred/internal/tensor"
)

// group is one rank's handle on a shared group.
type group struct {
	*shared
	rank int
}

func (g *group) Rank() int            { return g.rank }
func (g *group) Size() int            { return len(g.members) }
func (g *group) Abort(cause error)    { g.world.Abort(cause) }
func (g *group) part(n int) [2]int    { lo, hi := mesh.Shard(n, g.rank, g.Size()); return [2]int{lo, hi} }
func (g *group) own(n int) (int, int) { return g.rank * n, (g.rank + 1) * n }

// AllReduce: each rank sums its share of the elements over all ranks, in rank order, and then takes everybody's shares.
func (g *group) AllReduce(s *backend.Stream, x tensor.Tensor) {
	both := []tensor.Tensor{x}
	s.Enqueue("all-reduce", both, both, func() error {
		all, err := g.meet(g.rank, call{"all-reduce", x.DType(), x.Len(), host(x)}, func(parts []call) { g.grow(x.Bytes()) })
		if err != nil {
			return err
		}
		r := g.part(x.Len())
		sum(g.result, all, r[0], r[1])
		if err := g.leave(g.rank); err != nil {
			return err
		}
		copy(host(x), g.result)
		return nil
	})
}

// ReduceScatter: each rank sums the part that is its own.
func (g *group) ReduceScatter(s *backend.Stream, dst, src tensor.Tensor) {
	s.Enqueue("reduce-scatter", []tensor.Tensor{src}, []tensor.Tensor{dst}, func() error {
		if src.Len() != dst.Len()*g.Size() || src.DType() != dst.DType() {
			return fmt.Errorf("collective: reduce-scatter of %v into %v over %d ranks", src, dst, g.Size())
		}
		all, err := g.meet(g.rank, call{"reduce-scatter", src.DType(), src.Len(), host(src)}, func([]call) { g.grow(src.Bytes()) })
		if err != nil {
			return err
		}
		lo, hi := g.own(dst.Len())
		sum(g.result, all, lo, hi)
		if err := g.leave(g.rank); err != nil {
			return err
		}
		size := src.DType().Size()
		copy(host(dst), g.result[lo*size:hi*size])
		return nil
	})
}

// AllGather copies every rank's part.
func (g *group) AllGather(s *backend.Stream, dst, src tensor.Tensor) {
	s.Enqueue("all-gather", []tensor.Tensor{src}, []tensor.Tensor{dst}, func() error {
		if dst.Len() != src.Len()*g.Size() || src.DType() != dst.DType() {
			return fmt.Errorf("collective: all-gather of %v into %v over %d ranks", src, dst, g.Size())
		}
		all, err := g.meet(g.rank, call{"all-gather", src.DType(), src.Len(), host(src)}, nil)
		if err != nil {
			return err
		}
		out := host(dst)
		for r, c := range all {
			if r != g.rank || dst.Buffer() != src.Buffer() || src.Offset() != dst.Offset()+r*src.Bytes() {
				copy(out[r*src.Bytes():], c.data)
			}
		}
		return g.leave(g.rank)
	})
}

// Broadcast copies from the root.
func (g *group) Broadcast(s *backend.Stream, x tensor.Tensor, root int) {
	both := []tensor.Tensor{x}
	s.Enqueue("broadcast", both, both, func() error {
		all, err := g.meet(g.rank, call{fmt.Sprintf("broadcast from %d", root), x.DType(), x.Len(), host(x)}, nil)
		if err != nil {
			return err
		}
		if g.rank != root {
			copy(host(x), all[root].data)
		}
		return g.leave(g.rank)
	})
}

// Send puts a copy of x into the mailbox of rank to.
func (g *group) Send(s *backend.Stream, x tensor.Tensor, to int) {
	s.Enqueue("send", []tensor.Tensor{x}, nil, func() error {
		g.boxes[g.rank][to].put(call{"send", x.DType(), x.Len(), append([]byte(nil), host(x)...)})
		return nil
	})
}

// Recv takes the oldest message from rank from.
func (g *group) Recv(s *backend.Stream, x tensor.Tensor, from int) {
	s.Enqueue("recv", nil, []tensor.Tensor{x}, func() error {
		c, err := g.boxes[from][g.rank].take(g.world)
		if err != nil {
			return err
		}
		if c.dtype != x.DType() || c.count != x.Len() {
			return fmt.Errorf("collective: rank %d sent %v[%d], rank %d receives %v", g.members[from], c.dtype, c.count, g.members[g.rank], x)
		}
		copy(host(x), c.data)
		return nil
	})
}

// Exchange passes bytes around on the host.
func (g *group) Exchange(data []byte) ([][]byte, error) {
	all, err := g.meet(g.rank, call{name: "exchange", data: append([]byte(nil), data...)}, nil)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(all))
	for r, c := range all {
		out[r] = c.data
	}
	return out, nil
}

// host is the memory of t. Ranks of one process live on devices whose memory the host addresses.
func host(t tensor.Tensor) []byte {
	return t.Buffer().(tensor.HostBuffer).Host()[t.Offset() : t.Offset()+t.Bytes()]
}

// mailbox is an unbounded queue of messages from one rank to another.
type mailbox struct {
	mu    sync.Mutex
	queue []call
	some  chan struct{} // holds a token while the queue may be non-empty
}

func newMailbox() *mailbox { return &mailbox{some: make(chan struct{}, 1)} }

func (m *mailbox) put(c call) {
	m.mu.Lock()
	m.queue = append(m.queue, c)
	m.mu.Unlock()
	select {
	case m.some <- struct{}{}:
	default:
	}
}

func (m *mailbox) take(w *World) (call, error) {
	for {
		m.mu.Lock()
		if len(m.queue) > 0 {
			c := m.queue[0]
			m.queue = m.queue[1:]
			m.mu.Unlock()
			return c, nil
		}
		m.mu.Unlock()
		select {
		case <-m.some:
		case <-w.aborted:
			return call{}, w.err()
		}
	}
}
