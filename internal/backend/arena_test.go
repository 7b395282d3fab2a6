package backend_test

import (
	"math"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/reference"
	"alfred/internal/tensor"
)

func arena(t *testing.T, bytes int) *backend.Arena {
	t.Helper()
	a, err := reference.New().Arena("activations", bytes)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestArenaAllocatesFromTheBottomUp(t *testing.T) {
	a := arena(t, 1024)
	alloc := func(dtype tensor.DType, dims ...int) tensor.Tensor {
		t.Helper()
		x, err := a.Alloc(dtype, dims...)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	want := func(used, peak int) {
		t.Helper()
		if a.Used() != used || a.Peak() != peak || a.Size() != 1024 {
			t.Errorf("used %d, peak %d of %d, want %d, %d of 1024", a.Used(), a.Peak(), a.Size(), used, peak)
		}
	}
	first := alloc(tensor.Float32, 2, 3)
	want(256, 256)
	mark := a.Mark()
	second := alloc(tensor.Int32, 65) // 260 bytes
	want(768, 768)
	if first.Offset() != 0 || second.Offset() != 256 {
		t.Errorf("at %d and %d", first.Offset(), second.Offset())
	}
	a.Release(mark)
	want(256, 768)
	if again := alloc(tensor.BFloat16, 1); again.Offset() != 256 {
		t.Errorf("released memory is not reused: at %d", again.Offset())
	}
	want(512, 768)
	if empty := alloc(tensor.Float64, 0, 4); empty.Len() != 0 {
		t.Errorf("%v has elements", empty)
	}
	want(512, 768)
	a.ResetPeak()
	want(512, 512)
	a.Release(0)
	want(0, 512)
}

func TestArenaOverflowSaysHowMuchIsMissing(t *testing.T) {
	a := arena(t, 1000) // the last 232 bytes are no whole granule
	if _, err := a.Alloc(tensor.Float32, 3, 50); err != nil {
		t.Fatal(err)
	}
	_, err := a.Alloc(tensor.Float64, 4, 5)
	if want := `arena "activations": float64[4 5] needs 160 bytes, 768 of 1000 are in use`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if a.Used() != 768 || a.Peak() != 768 {
		t.Errorf("a refused allocation counts: used %d, peak %d", a.Used(), a.Peak())
	}
	if _, err := a.Alloc(tensor.Float32, 0); err != nil {
		t.Errorf("nothing fits always: %v", err)
	}
}

// TestArenaRefusesWhatIsBeyondAnInt: sizes that wrap round to something small, or to nothing.
func TestArenaRefusesWhatIsBeyondAnInt(t *testing.T) {
	a := arena(t, 1024)
	for _, dims := range [][]int{{1 << 32, 1 << 32}, {1 << 31, 1 << 31}, {1 << 62}, {math.MaxInt / 4}, {-1}, {-2, -3}} {
		x, err := a.Alloc(tensor.Float32, dims...)
		if err == nil || !strings.Contains(err.Error(), `arena "activations": `) || !x.Absent() {
			t.Errorf("%v: %v, %v", dims, x, err)
		}
	}
	if a.Used() != 0 || a.Peak() != 0 {
		t.Errorf("refused allocations count: used %d, peak %d", a.Used(), a.Peak())
	}
}

func TestArenaFillsToTheLastByte(t *testing.T) {
	for bytes, fits := range map[int]bool{512: true, 511: false} {
		a := arena(t, bytes)
		_, err := a.Alloc(tensor.Float32, 1)
		_, err2 := a.Alloc(tensor.Float32, 1)
		if err != nil || (err2 == nil) != fits {
			t.Errorf("%d bytes: %v, %v", bytes, err, err2)
		}
	}
}

func TestArenaReleaseOfWhatIsNotAllocated(t *testing.T) {
	for _, mark := range []int{-1, 1} {
		func() {
			defer func() {
				if r, _ := recover().(string); !strings.Contains(r, `arena "activations"`) {
					t.Errorf("release to %d: %q", mark, r)
				}
			}()
			arena(t, 512).Release(mark)
		}()
	}
}

func TestAlign(t *testing.T) {
	for bytes, want := range map[int]int{0: 0, 1: 256, 256: 256, 257: 512} {
		if got := backend.Align(bytes); got != want {
			t.Errorf("Align(%d) = %d, want %d", bytes, got, want)
		}
	}
}
