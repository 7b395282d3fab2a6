package tokenizer

import (
	"math"
	"slices"
)

// merge is what happens to a pair of neighbouring symbols: the lowest rank goes first.
type merge struct {
	rank uint32
	id   int32
}

// noMerge is a rank above all others.
const noMerge = math.MaxUint32

// longWord is the number of symbols from which the heap is faster than looking at all pairs.
const longWord = 64

func pair(left, right int32) uint64 { return uint64(left)<<32 | uint64(right) }

// merger applies merges; it holds scratch memory and serves one goroutine at a time.
type merger struct {
	merges  map[uint64]merge
	symbols []int32
	ranks   []uint32 // rank of the pair (symbols[i], its right neighbour)
	next    []int32
	prev    []int32
	heap    []uint64 // rank<<32 | position: ordered as BPE wants
}

// run merges m.symbols until no pair has a merge and appends what is left to dst.
func (m *merger) run(dst []int32) []int32 {
	if len(m.symbols) < longWord {
		return m.runShort(dst)
	}
	return m.runLong(dst)
}

// lookup gives the rank and the result of merging left and right.
func (m *merger) lookup(left, right int32) (uint32, int32) {
	if found, ok := m.merges[pair(left, right)]; ok {
		return found.rank, found.id
	}
	return noMerge, 0
}

// runShort looks at all pairs for each merge: O(n^2), without any bookkeeping.
func (m *merger) runShort(dst []int32) []int32 {
	symbols := m.symbols
	ranks := m.ranks[:0]
	for i := 0; i+1 < len(symbols); i++ {
		rank, _ := m.lookup(symbols[i], symbols[i+1])
		ranks = append(ranks, rank)
	}
	m.ranks = ranks
	for len(ranks) > 0 {
		best := 0
		for i, rank := range ranks {
			if rank < ranks[best] {
				best = i
			}
		}
		if ranks[best] == noMerge {
			break
		}
		_, id := m.lookup(symbols[best], symbols[best+1])
		symbols[best] = id
		symbols = append(symbols[:best+1], symbols[best+2:]...)
		ranks = append(ranks[:best], ranks[best+1:]...)
		if best < len(ranks) {
			ranks[best], _ = m.lookup(id, symbols[best+1])
		}
		if best > 0 {
			ranks[best-1], _ = m.lookup(symbols[best-1], id)
		}
	}
	return append(dst, symbols...)
}

// runLong keeps symbols in a linked list and candidate merges in a heap: O(n log n). A candidate is
// stale when the pair at its position has another rank by now; ranks belong to one pair each.
func (m *merger) runLong(dst []int32) []int32 {
	n := len(m.symbols)
	m.ranks = slices.Grow(m.ranks[:0], n)
	m.next = slices.Grow(m.next[:0], n)
	m.prev = slices.Grow(m.prev[:0], n)
	m.heap = slices.Grow(m.heap[:0], n)
	for i, symbol := range m.symbols {
		rank := uint32(noMerge)
		if i+1 < n {
			if rank, _ = m.lookup(symbol, m.symbols[i+1]); rank != noMerge {
				m.heap = append(m.heap, uint64(rank)<<32|uint64(i))
			}
		}
		m.ranks = append(m.ranks, rank)
		m.next = append(m.next, int32(i+1))
		m.prev = append(m.prev, int32(i-1))
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.siftDown(i)
	}
	end := int32(n)
	for len(m.heap) > 0 {
		top := m.pop()
		at := int32(uint32(top))
		if m.ranks[at] != uint32(top>>32) {
			continue
		}
		right := m.next[at]
		_, id := m.lookup(m.symbols[at], m.symbols[right])
		m.symbols[at] = id
		m.ranks[right] = noMerge
		m.next[at] = m.next[right]
		if m.next[at] < end {
			m.prev[m.next[at]] = at
		}
		m.rerank(at, end)
		if m.prev[at] >= 0 {
			m.rerank(m.prev[at], end)
		}
	}
	for i := int32(0); i < end; i = m.next[i] {
		dst = append(dst, m.symbols[i])
	}
	return dst
}

// rerank looks up the pair that now begins at position at and pushes its merge.
func (m *merger) rerank(at, end int32) {
	rank := uint32(noMerge)
	if right := m.next[at]; right < end {
		rank, _ = m.lookup(m.symbols[at], m.symbols[right])
	}
	m.ranks[at] = rank
	if rank != noMerge {
		m.push(uint64(rank)<<32 | uint64(at))
	}
}

func (m *merger) push(key uint64) {
	m.heap = append(m.heap, key)
	h := m.heap
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if h[parent] <= h[i] {
			return
		}
		h[parent], h[i] = h[i], h[parent]
		i = parent
	}
}

func (m *merger) pop() uint64 {
	top, last := m.heap[0], len(m.heap)-1
	m.heap[0] = m.heap[last]
	m.heap = m.heap[:last]
	m.siftDown(0)
	return top
}

func (m *merger) siftDown(i int) {
	h := m.heap
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if h[i] <= h[child] {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
