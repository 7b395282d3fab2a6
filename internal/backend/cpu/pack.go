package cpu

import (
	"runtime"
	"sync"
	"unsafe"
	"weak"

	"alfred/internal/tensor"
)

// use says in which product a weight [O I] is the right operand.
type use uint8

const (
	forward  use = iota // x·wᵀ: columns are the O outputs, the inner dimension is I
	backward            // dy·w: columns are the I inputs, the inner dimension is O
)

// panels are a right operand as the kernels read it: panels of columns, each [depth][panel width], the last one padded.
type panels struct {
	data    ptr
	dtype   int32
	k       int
	depth   int
	columns int
}

// depth is the number of rows that the kernels want of an operand whose inner dimension is k: pairs are whole.
func depth(of kernels, k int, dtype int32) int {
	if dtype == bfloat16Type && of.pairs() {
		return roundUp(k, 2)
	}
	return k
}

// productType is the type in which operands of the given types are packed for each other: bfloat16 as it is where both are and the
// kernels multiply pairs, else float32.
func productType(of kernels, left, right int32) int32 {
	if left == bfloat16Type && right == bfloat16Type && of.pairs() {
		return bfloat16Type
	}
	return float32Type
}

// panelsOf describes how to make panels of w.
func panelsOf(w tensor.Tensor, u use) packArgs {
	o, i := w.Dim(0), w.Dim(1)
	a := packArgs{src: at(w), ld: int64(i), srcType: kind(w), dstType: kind(w)}
	if u == forward {
		a.k, a.columns, a.transposed = int64(i), int64(o), 1
	} else {
		a.k, a.columns = int64(o), int64(i)
	}
	return a
}

func elementSize(dtype int32) int { return tensor.DType(dtype).Size() }

// columnsFrom is the part of a source that starts at column c.
func (a packArgs) columnsFrom(c int) ptr {
	if a.transposed != 0 {
		c *= int(a.ld)
	}
	return unsafe.Add(a.src, c*elementSize(a.srcType))
}

// step is the number of bytes from one term of the inner dimension to the next.
func (a packArgs) step() int {
	if a.transposed != 0 {
		return elementSize(a.srcType)
	}
	return int(a.ld) * elementSize(a.srcType)
}

// packedBytes is the size of the panels that a describes.
func (a packArgs) packedBytes(of kernels) int {
	return roundUp(int(a.columns), of.panel()) * depth(of, int(a.k), a.dstType) * elementSize(a.dstType)
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// packPanels fills dst with the panels that a describes, on all workers.
func (q *queue) packPanels(a packArgs, dst ptr) panels {
	width := q.kernels.panel()
	deep := depth(q.kernels, int(a.k), a.dstType)
	panelBytes := deep * width * elementSize(a.dstType)
	a.dst, a.width = dst, int64(width)
	split(q, (int(a.columns)+width-1)/width, max(1, 1<<16/max(panelBytes, 1)), packing{all: a, panelBytes: panelBytes})
	return panels{data: dst, dtype: a.dstType, k: int(a.k), depth: deep, columns: int(a.columns)}
}

type packing struct {
	all        packArgs
	panelBytes int
}

func (o *packing) compute(w *worker, lo, hi int) {
	a, width := o.all, int(o.all.width)
	a.src, a.dst = a.columnsFrom(lo*width), unsafe.Add(a.dst, lo*o.panelBytes)
	a.columns = min(a.columns-int64(lo*width), int64((hi-lo)*width))
	w.kernels.pack(a)
}

// from is the panels from column c on, a multiple of the panel width.
func (p panels) from(c int) ptr { return unsafe.Add(p.data, c*p.depth*elementSize(p.dtype)) }

// packedWeights keeps the panels of weights that have a Stamp, and makes them anew when the version has changed. Panels of a
// Stamp that is no longer reachable are given back.
type packedWeights struct {
	mu      sync.Mutex
	entries map[packedKey]*packedWeight
	bytes   int
}

// packedKey names a copy. Reshaped or converted weights under the same stamp are other copies.
type packedKey struct {
	stamp weak.Pointer[tensor.Stamp]
	use   use
	dtype tensor.DType
	o, i  int
}

// packedWeight is held for reading as long as an operation reads the panels, and for writing while they are made.
type packedWeight struct {
	sync.RWMutex
	buf     *buffer
	version uint64
	panels  panels
}

func newPackedWeights() *packedWeights {
	return &packedWeights{entries: map[packedKey]*packedWeight{}}
}

func (c *packedWeights) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// entry finds or makes the place of a copy.
func (c *packedWeights) entry(w tensor.Tensor, u use) *packedWeight {
	key := packedKey{weak.Make(w.Stamp()), u, w.DType(), w.Dim(0), w.Dim(1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		e = &packedWeight{}
		c.entries[key] = e
		runtime.AddCleanup(w.Stamp(), c.drop, key)
	}
	return e
}

// drop gives a copy back. Its stamp is unreachable, so nobody reads it.
func (c *packedWeights) drop(key packedKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		delete(c.entries, key)
		if e.buf != nil {
			c.bytes -= e.buf.Size()
			e.buf.release()
		}
	}
}

// acquire gives the panels of the present version of w, which q packs if nobody has.
func (c *packedWeights) acquire(q *queue, w tensor.Tensor, u use) lease {
	e, version := c.entry(w, u), w.Version()
	for {
		e.RLock()
		if e.buf != nil && e.version == version {
			return lease{e.panels, e, w.Stamp()}
		}
		e.RUnlock()
		c.renew(e, q, w, u, version)
	}
}

// lease is panels that stay in place until release is called.
type lease struct {
	panels
	entry *packedWeight // nil for panels that were made for one operation
	stamp *tensor.Stamp // without which the entry goes
}

func (l lease) release() {
	if l.entry != nil {
		l.entry.RUnlock()
		runtime.KeepAlive(l.stamp)
	}
}

func (c *packedWeights) renew(e *packedWeight, q *queue, w tensor.Tensor, u use, version uint64) {
	e.Lock()
	defer e.Unlock()
	if e.buf != nil && e.version == version {
		return // another stream was faster
	}
	a := panelsOf(w, u)
	if e.buf == nil {
		buf, err := newBuffer(max(1, a.packedBytes(q.kernels)))
		if err != nil {
			panic(outOfMemory{err})
		}
		e.buf = buf
		c.mu.Lock()
		c.bytes += buf.Size()
		c.mu.Unlock()
	}
	e.panels, e.version = q.packPanels(a, start(e.buf.bytes)), version
}

// panels are w packed for u: kept ones when w has a stamp, else made for this operation.
func (q *queue) panels(w tensor.Tensor, u use) lease {
	if w.Stamp() != nil {
		return q.packed.acquire(q, w, u)
	}
	a := panelsOf(w, u)
	return lease{panels: q.packPanels(a, q.scratch.bytes(a.packedBytes(q.kernels)))}
}
