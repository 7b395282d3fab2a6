package inproc

import (
	"testing"
	"unsafe"
)

// TestResultsAreAligned: memory that held bfloat16 numbers may hold float64 numbers next.
func TestResultsAreAligned(t *testing.T) {
	var neighbours [][]byte // they push what is small off its place
	for n := range 100 {
		var g shared
		neighbours = append(neighbours, make([]byte, 1+n%7))
		g.grow(n)
		if address := uintptr(unsafe.Pointer(unsafe.SliceData(g.result))); address%8 != 0 || len(g.result) != n {
			t.Fatalf("%d bytes lie at %#x, wanted %d", len(g.result), address, n)
		}
		if n > 0 {
			before := &g.result[0]
			if g.grow(n - 1); len(g.result) != n-1 || unsafe.SliceData(g.result) != before {
				t.Fatalf("a smaller result of %d bytes lies elsewhere", len(g.result))
			}
		}
	}
	if len(neighbours) == 0 {
		t.Fatal("no neighbours")
	}
}
