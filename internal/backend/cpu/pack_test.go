package cpu

import (
	"bytes"
	"runtime"
	"sync"
	"testing"
	"time"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

func TestPackedWeightsFollowTheVersion(t *testing.T) {
	r := newRig(t, Options{Workers: 2}, 8<<20)
	const n, o, i = 3, 70, 50
	stamp := &tensor.Stamp{Version: 7}
	x, plain, dy := r.random(tensor.Float32, 1, n, i), r.random(tensor.Float32, 1, o, i), r.random(tensor.Float32, 1, n, o)
	w := plain.WithStamp(stamp)
	forwardAndBack := func(w tensor.Tensor) []byte {
		y, dx := r.s.Alloc(tensor.Float32, n, o), r.s.Alloc(tensor.Float32, n, i)
		r.s.MatMul(y, x, w, backend.Epilogue{})
		r.s.MatMulInput(dx, dy, w, backend.Set)
		return append(r.bits(y), r.bits(dx)...)
	}
	old := forwardAndBack(w)
	if !bytes.Equal(old, forwardAndBack(plain)) {
		t.Error("packed once and packed for the occasion differ")
	}
	size := r.d.PackedBytes()
	if least := 2 * 4 * o * i; size < least || size > 2*least {
		t.Errorf("%d bytes are packed, two copies have %d", size, least)
	}
	r.s.Copy(w, r.random(tensor.Float32, 1, o, i))
	if !bytes.Equal(old, forwardAndBack(w)) {
		t.Error("the packed copies were not used")
	}
	stamp.Version++
	if !bytes.Equal(old, forwardAndBack(w)) {
		t.Error("a tensor handed out before the write means the old version")
	}
	if got := forwardAndBack(plain.WithStamp(stamp)); bytes.Equal(old, got) || !bytes.Equal(got, forwardAndBack(plain)) {
		t.Error("a new version did not renew the packed copies")
	}
	if got := r.d.PackedBytes(); got != size {
		t.Errorf("%d bytes are packed after a new version, %d before", got, size)
	}
	runtime.KeepAlive(stamp)
}

func TestPackedWeightsGoWithTheirStamp(t *testing.T) {
	r := newRig(t, Options{Workers: 1}, 8<<20)
	x, y := r.random(tensor.Float32, 1, 1, 64), r.s.Alloc(tensor.Float32, 1, 64)
	plain := r.random(tensor.Float32, 1, 64, 64)
	var neighbours []*uint64 // small objects of others, which outlive the stamps
	for i := range 200 {
		neighbours = append(neighbours, new(uint64(i)))
		r.s.MatMul(y, x, plain.WithStamp(&tensor.Stamp{}), backend.Epilogue{})
	}
	if r.d.PackedBytes() == 0 {
		t.Error("nothing was packed")
	}
	for deadline := time.Now().Add(20 * time.Second); r.d.PackedBytes() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are still packed", r.d.PackedBytes())
		}
		runtime.GC()
	}
	runtime.KeepAlive(neighbours)
}

// TestStreamsShareADevice runs ranks beside each other, with weights of their own and a common one.
func TestStreamsShareADevice(t *testing.T) {
	const ranks, n, d = 5, 33, 96
	dev, err := NewWith(Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	owner := rigOn(t, dev, 8<<20)
	common := owner.random(tensor.Float32, 0.1, d, d).WithStamp(&tensor.Stamp{})
	want := make([][]byte, ranks)
	work := func(r *rig, rank int) []byte {
		for range rank + 1 { // other numbers on each rank
			r.rng.Uint64()
		}
		stamp := &tensor.Stamp{}
		x, dx := r.random(tensor.Float32, 1, n, d), r.s.Zeros(tensor.Float32, n, d)
		plain, dw := r.random(tensor.Float32, 0.1, d, d), r.s.Zeros(tensor.Float32, d, d)
		for range 20 {
			w := plain.WithStamp(stamp)
			y := r.s.Alloc(tensor.Float32, n, d)
			r.s.MatMul(y, x, common, backend.Epilogue{})
			r.s.MatMul(x, y, w, backend.Epilogue{})
			r.s.Gelu(x, x)
			r.s.MatMulInput(dx, x, w, backend.Add)
			r.s.MatMulWeight(dw, y, x)
			r.s.Add(plain, plain, dw)
			r.s.Zero(dw)
			stamp.Version++
		}
		return append(r.bits(x), r.bits(dx)...)
	}
	for rank := range ranks {
		want[rank] = work(newRig(t, Options{Workers: 1}, 8<<20), rank)
	}
	var group sync.WaitGroup
	got := make([][]byte, ranks)
	rigs := make([]*rig, ranks)
	for rank := range ranks {
		rigs[rank] = rigOn(t, dev, 8<<20)
	}
	for rank := range ranks {
		group.Go(func() { got[rank] = work(rigs[rank], rank) })
	}
	group.Wait()
	for rank := range ranks {
		if !bytes.Equal(got[rank], want[rank]) {
			t.Errorf("rank %d has other bits beside the others than alone", rank)
		}
	}
}
