package cpu

import (
	"fmt"
	"runtime"
	"unsafe"
)

// buffer is memory outside the Go heap, zero at first and committed by the operating system when it is touched. It is unmapped
// when it is released or no longer reachable.
type buffer struct {
	bytes   []byte
	cleanup runtime.Cleanup
}

func newBuffer(size int) (*buffer, error) {
	if size == 0 {
		return &buffer{}, nil
	}
	bytes, err := mapMemory(size)
	if err != nil {
		return nil, fmt.Errorf("reserving %d bytes: %w", size, err)
	}
	b := &buffer{bytes: bytes}
	b.cleanup = runtime.AddCleanup(b, unmapMemory, bytes)
	return b, nil
}

// release unmaps the memory at once; the collector may not come by for minutes. Nobody may use it any more.
func (b *buffer) release() {
	if b.bytes != nil {
		b.cleanup.Stop()
		unmapMemory(b.bytes)
		b.bytes = nil
	}
}

// Size is the number of bytes.
func (b *buffer) Size() int { return len(b.bytes) }

// Host is the memory itself. It stays valid as long as b is reachable.
func (b *buffer) Host() []byte { return b.bytes }

// scratch hands out temporary memory for one tile or one operation, and reuses it for the next. It grows to the largest
// demand and stays there.
type scratch struct {
	blocks []*buffer // the first is reused; more exist only until the next reset
	used   int       // bytes of the last block
	least  int       // bytes of the next block
}

// reset takes back everything that was handed out. It reserves nothing, so it cannot fail: several blocks become one when bytes is
// asked next.
func (s *scratch) reset() {
	if len(s.blocks) > 1 || separately {
		s.least = s.size()
		for _, b := range s.blocks {
			b.release()
		}
		s.blocks = s.blocks[:0]
	}
	s.used = 0
}

// bytes gives n bytes with undefined contents, aligned to a cache line.
func (s *scratch) bytes(n int) ptr {
	if separately {
		s.grow(max(n, 1))
		return ptr(unsafe.SliceData(s.blocks[len(s.blocks)-1].bytes))
	}
	n = (n + 63) &^ 63
	if len(s.blocks) == 0 || s.used+n > s.blocks[len(s.blocks)-1].Size() {
		s.grow(max(n, s.least, 1<<16))
	}
	b := s.blocks[len(s.blocks)-1]
	p := unsafe.Add(unsafe.Pointer(unsafe.SliceData(b.bytes)), s.used)
	s.used += n
	return p
}

// floats gives n float32 with undefined contents.
func (s *scratch) floats(n int) []float32 { return unsafe.Slice((*float32)(s.bytes(4*n)), n) }

func (s *scratch) grow(n int) {
	b, err := newBuffer(n)
	if err != nil {
		panic(outOfMemory{err}) // recovered by the queue, see queue.end
	}
	s.blocks, s.used, s.least = append(s.blocks, b), 0, 0
}

// size is the number of bytes held.
func (s *scratch) size() int {
	total := 0
	for _, b := range s.blocks {
		total += b.Size()
	}
	return total
}

// outOfMemory carries a failed reservation of scratch out of an operation.
type outOfMemory struct{ error }
