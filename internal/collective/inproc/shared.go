package inproc

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"alfred/internal/tensor"
)

// call is what one rank brings to a collective.
type call struct {
	name  string
	dtype tensor.DType
	count int
	data  []byte
}

// shared is the state of a group that its members have in common.
type shared struct {
	world   *World
	members []int
	result  []byte       // of sums; written between meet and leave, by each rank its share
	boxes   [][]*mailbox // [from][to]

	mu      sync.Mutex
	parts   []call
	arrived int
	round   *round
}

// round is one meeting: whoever waits for it reads the outcome when open is closed.
type round struct {
	open  chan struct{}
	parts []call
	err   error
}

func newShared(w *World, members []int) *shared {
	g := &shared{world: w, members: members, parts: make([]call, len(members)), round: &round{open: make(chan struct{})}}
	for range members {
		row := make([]*mailbox, len(members))
		for i := range row {
			row[i] = newMailbox()
		}
		g.boxes = append(g.boxes, row)
	}
	return g
}

// meet waits until every rank has brought its call and returns all of them in rank order. Calls must agree in name, type
// and count. The last rank to arrive runs prepare before the others go on. Memory behind the calls must stay as it is until leave.
func (g *shared) meet(rank int, c call, prepare func(parts []call)) ([]call, error) {
	g.mu.Lock()
	g.parts[rank] = c
	g.arrived++
	r := g.round
	if g.arrived == len(g.members) {
		r.parts = append([]call(nil), g.parts...)
		if r.err = g.agree(r.parts); r.err == nil && prepare != nil {
			prepare(r.parts)
		}
		g.arrived, g.round = 0, &round{open: make(chan struct{})}
		close(r.open)
	}
	g.mu.Unlock()
	select {
	case <-r.open:
		return r.parts, r.err
	case <-g.world.aborted:
		return nil, g.world.err()
	}
}

// leave waits until every rank has read what it needed.
func (g *shared) leave(rank int) error {
	_, err := g.meet(rank, call{name: "leave"}, nil)
	return err
}

// agree demands that all ranks make the same call.
func (g *shared) agree(parts []call) error {
	for r, c := range parts {
		if c.name != parts[0].name || c.dtype != parts[0].dtype || c.count != parts[0].count {
			return fmt.Errorf("collective: rank %d calls %s of %v[%d], rank %d calls %s of %v[%d]",
				g.members[0], parts[0].name, parts[0].dtype, parts[0].count, g.members[r], c.name, c.dtype, c.count)
		}
	}
	return nil
}

// grow makes room for a result of n bytes.
func (g *shared) grow(n int) {
	if cap(g.result) < n {
		g.result = make([]byte, n)
	}
	g.result = g.result[:n]
}

// sum writes elements lo to hi of the sum over parts, in rank order, accumulated wide and rounded once.
func sum(dst []byte, parts []call, lo, hi int) {
	le := binary.LittleEndian
	switch parts[0].dtype {
	case tensor.Float32:
		for i := 4 * lo; i < 4*hi; i += 4 {
			acc := math.Float32frombits(le.Uint32(parts[0].data[i:]))
			for _, p := range parts[1:] {
				acc += math.Float32frombits(le.Uint32(p.data[i:]))
			}
			le.PutUint32(dst[i:], math.Float32bits(acc))
		}
	case tensor.BFloat16:
		for i := 2 * lo; i < 2*hi; i += 2 {
			acc := tensor.FromBFloat16(le.Uint16(parts[0].data[i:]))
			for _, p := range parts[1:] {
				acc += tensor.FromBFloat16(le.Uint16(p.data[i:]))
			}
			le.PutUint16(dst[i:], tensor.ToBFloat16(acc))
		}
	case tensor.Float64:
		for i := 8 * lo; i < 8*hi; i += 8 {
			acc := math.Float64frombits(le.Uint64(parts[0].data[i:]))
			for _, p := range parts[1:] {
				acc += math.Float64frombits(le.Uint64(p.data[i:]))
			}
			le.PutUint64(dst[i:], math.Float64bits(acc))
		}
	case tensor.Int32:
		for i := 4 * lo; i < 4*hi; i += 4 {
			acc := le.Uint32(parts[0].data[i:])
			for _, p := range parts[1:] {
				acc += le.Uint32(p.data[i:])
			}
			le.PutUint32(dst[i:], acc)
		}
	}
}
