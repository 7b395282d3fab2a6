package tensor

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// space is a buffer of nothing but a size.
type space int

func (b space) Size() int { return int(b) }

func TestShapes(t *testing.T) {
	for _, c := range []struct {
		x                          Tensor
		text                       string
		dims                       []int
		length, rows, cols, nbytes int
	}{
		{New(space(1000), 0, Float32, 2, 3, 4), "float32[2 3 4]", []int{2, 3, 4}, 24, 2, 12, 96},
		{New(space(1000), 8, BFloat16, 5), "bfloat16[5]", []int{5}, 5, 5, 1, 10},
		{New(space(1000), 8, Float64, 0, 7), "float64[0 7]", []int{0, 7}, 0, 0, 7, 0},
		{New(space(1000), 4, Int32, 1, 2, 3, 4), "int32[1 2 3 4]", []int{1, 2, 3, 4}, 24, 1, 24, 96},
		{Tensor{}, "absent", nil, 0, 0, 1, 0},
	} {
		x := c.x
		if x.String() != c.text || !slices.Equal(x.Dims(), c.dims) || x.Rank() != len(c.dims) || x.Len() != c.length ||
			x.Rows() != c.rows || x.Cols() != c.cols || x.Bytes() != c.nbytes || x.Absent() != (c.dims == nil) {
			t.Errorf("%v: dims %v, rank %d, len %d, rows %d, cols %d, bytes %d, want %+v", x, x.Dims(), x.Rank(), x.Len(), x.Rows(), x.Cols(), x.Bytes(), c)
		}
		for i, d := range c.dims {
			if x.Dim(i) != d || x.Dim(i-len(c.dims)) != d {
				t.Errorf("%v: dimension %d is %d and %d", x, i, x.Dim(i), x.Dim(i-len(c.dims)))
			}
		}
	}
}

func TestDimsIsACopy(t *testing.T) {
	x := New(space(100), 0, Float32, 2, 3)
	x.Dims()[0] = 9
	if x.Dim(0) != 2 {
		t.Errorf("%v was changed from outside", x)
	}
}

func TestSlice(t *testing.T) {
	buf := space(1000)
	x := New(buf, 100, BFloat16, 5, 2, 3).WithStamp(&Stamp{})
	for _, c := range []struct{ lo, hi, offset int }{{0, 5, 100}, {1, 3, 112}, {5, 5, 160}, {4, 5, 148}} {
		v := x.Slice(c.lo, c.hi)
		if v.Offset() != c.offset || !slices.Equal(v.Dims(), []int{c.hi - c.lo, 2, 3}) || v.Buffer() != Buffer(buf) || v.DType() != BFloat16 {
			t.Errorf("rows [%d, %d): %v at %d, want offset %d", c.lo, c.hi, v, v.Offset(), c.offset)
		}
		if v.Stamp() != nil {
			t.Error("a part of a weight passes for the weight")
		}
	}
	if v := x.Slice(1, 4).Slice(1, 2); v.Offset() != 124 || v.Dim(0) != 1 {
		t.Errorf("a slice of a slice lies at %d", v.Offset())
	}
}

func TestReshapeKeepsTheElements(t *testing.T) {
	stamp := &Stamp{Version: 3}
	x := New(space(1000), 40, Float32, 4, 6).WithStamp(stamp)
	y := x.Reshape(2, 3, 4)
	if y.Offset() != 40 || y.String() != "float32[2 3 4]" || y.Stamp() != stamp || x.String() != "float32[4 6]" {
		t.Errorf("%v at %d, from %v", y, y.Offset(), x)
	}
	if flat := y.Reshape(24); flat.Rank() != 1 || flat.Dim(-1) != 24 {
		t.Errorf("flat is %v", flat)
	}
}

func TestStamp(t *testing.T) {
	x := New(space(8), 0, Float32, 2)
	if x.Stamp() != nil {
		t.Error("a tensor is a weight from the start")
	}
	stamp := &Stamp{}
	w := x.WithStamp(stamp)
	stamp.Version++
	if w.Stamp().Version != 1 || x.Stamp() != nil {
		t.Errorf("version %d of w, stamp %v of x", w.Stamp().Version, x.Stamp())
	}
}

// TestMistakesPanic: these are the caller's, who has computed sizes, not the user's.
func TestMistakesPanic(t *testing.T) {
	x := New(space(1000), 0, Float32, 4, 6)
	for want, f := range map[string]func(){
		"0 dimensions, want 1 to 4":                          func() { New(space(8), 0, Float32) },
		"5 dimensions, want 1 to 4":                          func() { New(space(8), 0, Float32, 1, 1, 1, 1, 1) },
		"negative dimension in [2 -1]":                       func() { New(space(8), 0, Float32, 2, -1) },
		"float32[4294967296 4294967296] is larger than":      func() { New(space(8), 0, Float32, 1<<32, 1<<32) },
		"float32[0 4611686018427387904 4] is larger than":    func() { New(space(8), 0, Float32, 0, 1<<62, 4) },
		"int32[2147483648 2147483648] is larger than":        func() { New(space(8), 0, Int32, 1<<31, 1<<31) },
		"float32[1] at byte 9223372036854775804 does not":    func() { New(space(8), math.MaxInt-3, Float32, 1) },
		"float32[4 6] reshaped to [-4 -6]":                   func() { x.Reshape(-4, -6) },
		"float32[0 6] reshaped to [4294967296 4294967296 2]": func() { x.Slice(1, 1).Reshape(1<<32, 1<<32, 2) },
		"float32[3] at byte 0 does not fit into 8 bytes":     func() { New(space(8), 0, Float32, 3) },
		"float32[1] at byte 6 does not fit into 8 bytes":     func() { New(space(8), 6, Float32, 1) },
		"float32[1] at byte -4 does not fit into 8 bytes":    func() { New(space(8), -4, Float32, 1) },
		"rows [3, 5) of float32[4 6]":                        func() { x.Slice(3, 5) },
		"rows [-1, 2) of float32[4 6]":                       func() { x.Slice(-1, 2) },
		"rows [3, 2) of float32[4 6]":                        func() { x.Slice(3, 2) },
		"float32[4 6] reshaped to [5 5]":                     func() { x.Reshape(5, 5) },
		"float32[4 6] reshaped to [1 1 1 4 6]":               func() { x.Reshape(1, 1, 1, 4, 6) },
	} {
		func() {
			defer func() {
				if got, _ := recover().(string); !strings.HasPrefix(got, "tensor: ") || !strings.Contains(got, want) {
					t.Errorf("panicked with %q, want %q", got, want)
				}
			}()
			f()
		}()
	}
}

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		dtype DType
		dims  []int
		want  int // -1 for an error
	}{
		{Float32, []int{2, 3}, 24}, {BFloat16, []int{5}, 10}, {Float64, nil, 8}, {Int32, []int{0, 3}, 0}, {Int32, []int{3, 0}, 0},
		{Float64, []int{1 << 59}, 1 << 62}, {Float64, []int{1 << 60}, -1}, {BFloat16, []int{1 << 31, 1 << 31}, -1}, {BFloat16, []int{1 << 31, 1 << 30}, 1 << 62},
		{Float32, []int{1 << 32, 1 << 32}, -1}, {Float32, []int{1 << 62, 4, 0}, -1}, {Float32, []int{-1}, -1}, {Float32, []int{0, -1}, -1}, {Float32, []int{-2, -3}, -1},
	} {
		got, err := Bytes(c.dtype, c.dims...)
		if (err != nil) != (c.want < 0) || err == nil && got != c.want {
			t.Errorf("%v%v: %d, %v, want %d", c.dtype, c.dims, got, err, c.want)
		}
	}
}

func TestDTypes(t *testing.T) {
	for dtype, want := range map[DType]struct {
		size int
		name string
	}{Float32: {4, "float32"}, BFloat16: {2, "bfloat16"}, Float64: {8, "float64"}, Int32: {4, "int32"}} {
		if dtype.Size() != want.size || dtype.String() != want.name {
			t.Errorf("%v has %d bytes, want %+v", dtype, dtype.Size(), want)
		}
		if parsed, err := ParseDType(want.name); err != nil || parsed != dtype {
			t.Errorf("%s is read as %v, %v", want.name, parsed, err)
		}
	}
	for _, name := range []string{"", "float16", "Float32", "dtype(0)"} {
		if d, err := ParseDType(name); err == nil || d != Invalid || !strings.Contains(err.Error(), "bfloat16") {
			t.Errorf("%q is read as %v, %v", name, d, err)
		}
	}
	if Invalid.Size() != 0 || Invalid.String() != "dtype(0)" {
		t.Errorf("%v has %d bytes", Invalid, Invalid.Size())
	}
}
