package collectivetest

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"alfred/internal/backend"
	"alfred/internal/backend/reference"
	"alfred/internal/collective"
	"alfred/internal/collective/inproc"
	"alfred/internal/tensor"
)

// wrap makes a group with a fault, runner is a World.Run with one.
type (
	wrap   func(w *inproc.World, rank int, members []int) collective.Group
	runner func(w *inproc.World, body func(int) error) error
)

// faulty is a world with a fault.
type faulty struct {
	*inproc.World
	wrap wrap
	run  runner
}

func (w faulty) Group(rank int, members []int) collective.Group {
	if w.wrap == nil || len(members) == 1 {
		return w.World.Group(rank, members)
	}
	return w.wrap(w.World, rank, members)
}

func (w faulty) Run(body func(int) error) error {
	if w.run != nil {
		return w.run(w.World, body)
	}
	return w.World.Run(body)
}

// Groups with one operation replaced.
type (
	reducing struct {
		collective.Group
		f func(s *backend.Stream, x tensor.Tensor)
	}
	scattering struct {
		collective.Group
		f func(s *backend.Stream, dst, src tensor.Tensor)
	}
	gathering struct {
		collective.Group
		f func(s *backend.Stream, dst, src tensor.Tensor)
	}
	casting struct {
		collective.Group
		f func(s *backend.Stream, x tensor.Tensor, root int)
	}
	sending struct {
		collective.Group
		f func(s *backend.Stream, x tensor.Tensor, to int)
	}
	receiving struct {
		collective.Group
		f func(s *backend.Stream, x tensor.Tensor, from int)
	}
	exchanging struct {
		collective.Group
		f func(data []byte) ([][]byte, error)
	}
	aborting struct {
		collective.Group
		f func(cause error)
	}
	placed struct {
		collective.Group
		rank int
	}
)

func (g reducing) AllReduce(s *backend.Stream, x tensor.Tensor)              { g.f(s, x) }
func (g scattering) ReduceScatter(s *backend.Stream, dst, src tensor.Tensor) { g.f(s, dst, src) }
func (g gathering) AllGather(s *backend.Stream, dst, src tensor.Tensor)      { g.f(s, dst, src) }
func (g casting) Broadcast(s *backend.Stream, x tensor.Tensor, root int)     { g.f(s, x, root) }
func (g sending) Send(s *backend.Stream, x tensor.Tensor, to int)            { g.f(s, x, to) }
func (g receiving) Recv(s *backend.Stream, x tensor.Tensor, from int)        { g.f(s, x, from) }
func (g exchanging) Exchange(data []byte) ([][]byte, error)                  { return g.f(data) }
func (g aborting) Abort(cause error)                                         { g.f(cause) }
func (g placed) Rank() int                                                   { return g.rank }

// spoil changes the lowest bit of the element that is at elements behind the first of t.
func spoil(s *backend.Stream, t tensor.Tensor, at int) {
	s.Enqueue("spoil", nil, []tensor.Tensor{t}, func() error {
		t.Buffer().(tensor.HostBuffer).Host()[t.Offset()+at*t.DType().Size()] ^= 1
		return nil
	})
}

// backwards is the group of members in reverse order: sums run the other way, parts belong to other ranks.
func backwards(w *inproc.World, rank int, members []int) collective.Group {
	reversed := slices.Clone(members)
	slices.Reverse(reversed)
	return w.Group(rank, reversed)
}

// fault is a world that the named check must find wrong. hangs says that the fault makes ranks wait.
type fault struct {
	name, check string
	hangs       bool
	open        func() (wrap, runner)
}

// grouped is a fault of groups.
func grouped(name, check string, hangs bool, w wrap) fault {
	return fault{name, check, hangs, func() (wrap, runner) { return w, nil }}
}

var faults = []fault{
	grouped("last element differs on one rank", "all-reduce", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		return reducing{g, func(s *backend.Stream, x tensor.Tensor) {
			g.AllReduce(s, x)
			if x.Len() > 0 && g.Rank() == g.Size()-1 {
				spoil(s, x, x.Len()-1)
			}
		}}
	}),
	grouped("element behind the tensor", "all-reduce", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		return reducing{g, func(s *backend.Stream, x tensor.Tensor) { g.AllReduce(s, x); spoil(s, x, x.Len()) }}
	}),
	grouped("element before the tensor", "all-reduce", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		return reducing{g, func(s *backend.Stream, x tensor.Tensor) { g.AllReduce(s, x); spoil(s, x, -1) }}
	}),
	grouped("sum in another order", "all-reduce", false, func(w *inproc.World, rank int, members []int) collective.Group {
		return reducing{w.Group(rank, members), backwards(w, rank, members).AllReduce}
	}),
	grouped("part of another rank", "reduce-scatter", false, func(w *inproc.World, rank int, members []int) collective.Group {
		return scattering{w.Group(rank, members), backwards(w, rank, members).ReduceScatter}
	}),
	grouped("source is used up", "reduce-scatter", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		return scattering{g, func(s *backend.Stream, dst, src tensor.Tensor) { g.ReduceScatter(s, dst, src); s.Zero(src) }}
	}),
	grouped("parts in another order", "all-gather", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		return gathering{g, func(s *backend.Stream, dst, src tensor.Tensor) {
			aside := s.Alloc(src.DType(), src.Len()) // src has its place in dst for the other order
			s.Copy(aside, src)
			backwards(w, rank, members).AllGather(s, dst, aside)
		}}
	}),
	grouped("source is used up", "all-gather", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		return gathering{g, func(s *backend.Stream, dst, src tensor.Tensor) {
			g.AllGather(s, dst, src)
			if src.Offset() < dst.Offset() || src.Offset() >= dst.Offset()+dst.Bytes() {
				s.Zero(src)
			}
		}}
	}),
	grouped("another root", "broadcast", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		return casting{g, func(s *backend.Stream, x tensor.Tensor, root int) { g.Broadcast(s, x, (root+1)%g.Size()) }}
	}),
	grouped("positions run backwards", "ranks", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		return placed{g, g.Size() - 1 - g.Rank()}
	}),
	grouped("messages hold what comes later", "messages", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		var held []func()
		return sending{exchanging{g, func(data []byte) ([][]byte, error) {
			for _, send := range held {
				send()
			}
			return g.Exchange(data)
		}}, func(s *backend.Stream, x tensor.Tensor, to int) { held = append(held, func() { g.Send(s, x, to) }) }}
	}),
	{"send waits for its recv", "messages", true, func() (wrap, runner) {
		received := make(chan bool, 1)
		return func(w *inproc.World, rank int, members []int) collective.Group {
			g := w.Group(rank, members)
			return receiving{sending{g, func(s *backend.Stream, x tensor.Tensor, to int) {
				g.Send(s, x, to)
				s.Enqueue("rendezvous", nil, nil, func() error {
					select {
					case <-received:
					case <-time.After(5 * time.Second): // the suite has lost its patience by then
					}
					return nil
				})
			}}, func(s *backend.Stream, x tensor.Tensor, from int) { received <- true; g.Recv(s, x, from) }}
		}, nil
	}},
	grouped("second message first", "messages", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		var first []tensor.Tensor
		return receiving{g, func(s *backend.Stream, x tensor.Tensor, from int) {
			if first = append(first, x); len(first) == 2 {
				g.Recv(s, first[1], from)
				g.Recv(s, first[0], from)
				first = nil
			}
		}}
	}),
	grouped("the next exchange uses the memory of the last", "exchange", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		var last [][]byte
		return exchanging{g, func(data []byte) ([][]byte, error) {
			for _, letter := range last {
				for i := range letter {
					letter[i] ^= 0xff
				}
			}
			var err error
			last, err = g.Exchange(data)
			return slices.Clone(last), err
		}}
	}),
	grouped("letters lose a byte", "exchange", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		return exchanging{g, func(data []byte) ([][]byte, error) { return g.Exchange(data[:max(0, len(data)-1)]) }}
	}),
	grouped("exchange waits for streams", "exchange beside streams", true, func(w *inproc.World, rank int, members []int) collective.Group {
		g, streams := w.Group(rank, members), map[*backend.Stream]bool{}
		return exchanging{reducing{g, func(s *backend.Stream, x tensor.Tensor) { streams[s] = true; g.AllReduce(s, x) }}, func(data []byte) ([][]byte, error) {
			for s := range streams {
				x := s.Zeros(tensor.Float32, 1)
				if rank == 0 { // takes part in the streams' order on one rank only
					g.AllReduce(s, x)
				}
			}
			return g.Exchange(data)
		}}
	}),
	grouped("roots are not compared", "disagreement", false, func(w *inproc.World, rank int, members []int) collective.Group {
		g := w.Group(rank, members)
		return casting{g, func(s *backend.Stream, x tensor.Tensor, _ int) { g.Broadcast(s, x, 0) }}
	}),
	grouped("abort is not heard", "failing rank", false, func(w *inproc.World, rank int, members []int) collective.Group {
		return aborting{w.Group(rank, members), func(error) {}}
	}),
	{"errors are lost", "failing rank", false, func() (wrap, runner) {
		return nil, func(w *inproc.World, body func(int) error) error { w.Run(body); return nil }
	}},
	{"an end that no rank has met is lost", "abort at the end", false, func() (wrap, runner) {
		return nil, func(w *inproc.World, body func(int) error) error {
			errs := make([]error, 16)
			err := w.Run(func(rank int) error { errs[rank] = body(rank); return errs[rank] })
			if errors.Join(errs...) == nil {
				return nil
			}
			return err
		}
	}},
	{"others' errors too", "own causes", false, func() (wrap, runner) {
		return nil, func(w *inproc.World, body func(int) error) error {
			errs := make([]error, 16)
			err := w.Run(func(rank int) error { errs[rank] = body(rank); return errs[rank] })
			return errors.Join(append(errs, err)...)
		}
	}},
}

func TestSuiteFindsFaults(t *testing.T) {
	for _, f := range faults {
		t.Run(f.check+": "+f.name, func(t *testing.T) {
			c := checks[slices.IndexFunc(checks, func(c check) bool { return c.name == f.check })]
			o := opener{memory: c.memory, patience: time.Minute, open: func(ranks int) (World, func(int) backend.Device) {
				w := faulty{World: inproc.NewWorld(ranks)}
				w.wrap, w.run = f.open()
				d := reference.New()
				return w, func(int) backend.Device { return d }
			}}
			if f.hangs {
				o.patience = time.Second
			}
			ranks := c.ranks[slices.IndexFunc(c.ranks, func(n int) bool { return n >= 3 })]
			if err := c.hold(o, ranks); err == nil {
				t.Errorf("nobody notices")
			} else {
				t.Logf("%.200s", err)
			}
		})
	}
}

// TestSumsTellOrdersApart: the data of the suite give other sums in another order, and in bfloat16 when rounded at each step.
func TestSumsTellOrdersApart(t *testing.T) {
	for _, dtype := range []tensor.DType{tensor.Float32, tensor.BFloat16, tensor.Float64} {
		all := parts(dtype, 301, 3, 1)
		want := sum(dtype, all)
		if same(dtype, sum(dtype, [][]byte{all[2], all[1], all[0]}), want) == nil {
			t.Errorf("%v: the order does not show", dtype)
		}
		if step := sum(dtype, [][]byte{sum(dtype, all[:2]), all[2]}); (same(dtype, step, want) == nil) != (dtype != tensor.BFloat16) {
			t.Errorf("%v: rounding at each step shows, or does not", dtype)
		}
	}
}

// TestNearest holds the suite's rounding against that of package tensor, which adds and shifts.
func TestNearest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 1 << 20 {
		bits := rng.Uint32()
		switch i % 4 {
		case 1: // a tie, or next to one
			bits = bits&^0xffff | 0x8000 + uint32(i/4%3) - 1
		case 2: // about to overflow
			bits = bits&0x8000_0000 | 0x7f7f_0000 | bits&0xffff
		case 3: // subnormal
			bits &= 0x807f_ffff
		}
		x := math.Float32frombits(bits)
		if got, want := nearest(x), tensor.ToBFloat16(x); got != want && x == x {
			t.Fatalf("%x rounds to %x, or %x", bits, got, want)
		}
	}
}
