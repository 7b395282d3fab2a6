//go:build unix

package cpu

import (
	"strings"
	"syscall"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// TestLackOfMemoryAtTheStart: an operation that begins by putting blocks of temporary memory together fails when there is no
// memory for the whole, and so does its stream; it does not panic.
func TestLackOfMemoryAtTheStart(t *testing.T) {
	r := newRig(t, Options{Workers: 1}, 1<<20)
	x, w, y := r.random(tensor.Float32, 1, 2, 64), r.random(tensor.Float32, 1, 64, 64), r.s.Alloc(tensor.Float32, 2, 64)
	q := r.s.Queue().(*queue)
	for range 2 {
		// Address space that is not to be had as memory: an eighth of what a process can have on most systems.
		span, err := syscall.Mmap(-1, 0, 1<<44, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			t.Skipf("the system does not hand out so much address space: %v", err)
		}
		q.scratch.blocks = append(q.scratch.blocks, &buffer{bytes: span})
	}
	r.s.MatMul(y, x, w, backend.Epilogue{})
	err := r.s.Sync()
	if err == nil {
		t.Skip("the system promises more memory than it has")
	}
	if !strings.Contains(err.Error(), "cpu: matmul: temporary memory: ") {
		t.Errorf("got %v", err)
	}
}
