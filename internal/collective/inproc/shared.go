package inproc

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"alfred/internal/tensor"
)

// call is what one rank brings to a collective.
type call struct {
	name  string
	dtype tensor.DType
	count int
	data  []byte
	owner tensor.Buffer // of data: memory that is reachable is not unmapped
}

// shared is the state of a group that its members have in common.
type shared struct {
	world   *World
	members []int
	result  []byte       // of sums; each rank writes its share before it leaves a round
	boxes   [][]*mailbox // [from][to]
	tensors meeting      // of operations on streams
	bytes   meeting      // of Exchange: streams may run behind the host, so the two have an order each
}

func newShared(w *World, members []int) *shared {
	g := &shared{world: w, members: slices.Clone(members)}
	g.tensors.open(w, g.members)
	g.bytes.open(w, g.members)
	for range members {
		row := make([]*mailbox, len(members))
		for i := range row {
			row[i] = newMailbox()
		}
		g.boxes = append(g.boxes, row)
	}
	return g
}

// grow makes room for a result of n bytes, aligned for elements of any type: the next result may have others.
func (g *shared) grow(n int) {
	if cap(g.result) < n {
		words := make([]uint64, (n+7)/8)
		g.result = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
	}
	g.result = g.result[:n]
}

// meeting is where the ranks of a group come together, again and again.
type meeting struct {
	world   *World
	members []int

	mu      sync.Mutex
	calls   []call
	here    []bool
	arrived int
	round   *round // that is gathering
}

// round is one time that the ranks come together. It takes place for all of them or for none.
type round struct {
	calls []call // in rank order; readable when open is closed
	err   error  // the calls disagree
	open  chan struct{}
	left  atomic.Int32
	gone  chan struct{} // all have left
}

func (m *meeting) open(w *World, members []int) {
	m.world, m.members = w, members
	m.calls, m.here = make([]call, len(members)), make([]bool, len(members))
	m.next()
}

func (m *meeting) next() {
	m.arrived = 0
	clear(m.here)
	m.round = &round{open: make(chan struct{}), gone: make(chan struct{})}
}

// meet waits until every rank has brought its call. Calls must agree in name, type and count. The last rank to arrive runs
// prepare before the others go on. The memory behind the calls stays as it is until all ranks have left the round.
func (m *meeting) meet(rank int, c call, prepare func()) (*round, error) {
	if err := m.world.err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	r := m.round
	m.calls[rank], m.here[rank] = c, true
	m.arrived++
	if m.arrived == len(m.members) {
		r.calls = slices.Clone(m.calls)
		clear(m.calls)
		if r.err = m.agree(r.calls); r.err == nil && prepare != nil {
			prepare()
		}
		m.next()
		close(r.open)
	}
	missing := m.lost()
	m.mu.Unlock()
	if missing >= 0 {
		m.world.Abort(never(missing, m.members[rank], c.name))
	}
	select {
	case <-r.open:
	case <-m.world.aborted:
		if m.withdraw(rank, r) {
			return nil, m.world.err()
		}
	}
	return r, r.err
}

// withdraw takes a rank's call back unless the round takes place.
func (m *meeting) withdraw(rank int, r *round) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.round != r {
		return false
	}
	m.calls[rank], m.here[rank] = call{}, false
	m.arrived--
	return true
}

// lost is a rank that the others wait for in vain because it has returned, or -1. mu is held.
func (m *meeting) lost() int {
	if m.arrived > 0 {
		for i, rank := range m.members {
			if !m.here[i] && m.world.hasEnded(rank) {
				return rank
			}
		}
	}
	return -1
}

// waitsFor is a rank that waits for member, and in what; false when there is none.
func (m *meeting) waitsFor(member int) (rank int, name string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.Index(m.here, true)
	if i < 0 || m.here[member] {
		return 0, "", false
	}
	return m.members[i], m.calls[i].name, true
}

// leave waits until every rank has read what it needed. No rank fails between meet and leave, so none waits in vain.
func (r *round) leave() {
	if int(r.left.Add(1)) == len(r.calls) {
		close(r.gone)
	}
	<-r.gone
}

// agree demands that all ranks make the same call.
func (m *meeting) agree(calls []call) error {
	for r, c := range calls {
		if c.name != calls[0].name || c.dtype != calls[0].dtype || c.count != calls[0].count {
			return fmt.Errorf("collective: rank %d calls %s of %v[%d], rank %d calls %s of %v[%d]",
				m.members[0], calls[0].name, calls[0].dtype, calls[0].count, m.members[r], c.name, c.dtype, c.count)
		}
	}
	return nil
}
