package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// openTensor opens a file with one tensor "w" that holds the given bytes.
func openTensor(t interface {
	Helper()
	Fatal(...any)
}, path string, dtype DType, shape []int, data []byte) (*File, Entry) {
	t.Helper()
	if err := writeOne(path, Spec{"w", dtype, shape}, data); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	entry, _ := f.Tensor("w")
	return f, entry
}

func randomBytes(n int, seed uint64) []byte {
	data := make([]byte, n)
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

// Every way in which each reads (one piece, groups of rows, pieces of rows) gives the bytes that a plain walk over
// the data gives.
func TestReadParts(t *testing.T) {
	path := t.TempDir() + "/x"
	rapid.Check(t, func(t *rapid.T) {
		dtype := rapid.SampledFrom([]DType{U8, BF16, F32, F64}).Draw(t, "dtype")
		width := dtype.Bits() / 8
		rows := rapid.IntRange(0, 40).Draw(t, "rows")
		// Row sizes around the limits: a few bytes, 16 KiB, 256 KiB.
		rowBytes := rapid.SampledFrom([]int{8, 24, 4096, 16 << 10, 16<<10 + 8, 64 << 10, 256 << 10, 256<<10 + 8}).Draw(t, "row bytes")
		cols := rowBytes / width
		data := randomBytes(rows*rowBytes, 1)
		f, entry := openTensor(t, path, dtype, []int{rows, cols}, data)
		defer f.Close()
		rowLo := rapid.IntRange(0, rows).Draw(t, "row lo")
		rowHi := rapid.IntRange(rowLo, rows).Draw(t, "row hi")
		colLo := rapid.IntRange(0, cols).Draw(t, "col lo")
		colHi := rapid.IntRange(colLo, cols).Draw(t, "col hi")
		if rapid.Bool().Draw(t, "all columns") {
			colLo, colHi = 0, cols
		}
		var want []byte
		for row := rowLo; row < rowHi; row++ {
			want = append(want, data[row*rowBytes+colLo*width:row*rowBytes+colHi*width]...)
		}
		got := make([]byte, len(want))
		if err := entry.Read(got, Range{rowLo, rowHi}, Range{colLo, colHi}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("Read differs from the data")
		}
		if colLo == 0 && colHi == cols {
			if err := entry.ReadRows(got, rowLo, rowHi); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("ReadRows: %v, or other data", err)
			}
		}
		if dtype == U8 {
			return
		}
		numbers := make([]float64, len(want)/width)
		if err := entry.Float64(numbers, Range{rowLo, rowHi}, Range{colLo, colHi}); err != nil {
			t.Fatal(err)
		}
		direct := make([]float64, len(numbers))
		if err := Decode(direct, dtype, want); err != nil {
			t.Fatal(err)
		}
		for i := range numbers {
			if math.Float64bits(numbers[i]) != math.Float64bits(direct[i]) {
				t.Fatalf("Float64[%d] = %v, want %v", i, numbers[i], direct[i])
			}
		}
	})
}

func TestReadShapes(t *testing.T) {
	for _, test := range []struct {
		shape      []int
		rows, cols int
	}{{[]int{}, 1, 1}, {[]int{5}, 5, 1}, {[]int{2, 3}, 2, 3}, {[]int{2, 3, 4}, 2, 12}, {[]int{0, 3}, 0, 3}, {[]int{3, 0}, 3, 0}} {
		n := test.rows * test.cols
		f, entry := openTensor(t, t.TempDir()+"/x", U8, test.shape, randomBytes(n, 2))
		got := make([]byte, n)
		err := entry.Read(got, entry.Rows(), entry.Cols())
		if entry.Rows() != (Range{0, test.rows}) || entry.Cols() != (Range{0, test.cols}) || entry.NumElements() != n || err != nil || !bytes.Equal(got, entry.Data()) {
			t.Errorf("%v: rows %v, columns %v, %v", test.shape, entry.Rows(), entry.Cols(), err)
		}
		f.Close()
	}
}

func TestReadRefuses(t *testing.T) {
	f, entry := openTensor(t, t.TempDir()+"/x", F32, []int{4, 6}, make([]byte, 96))
	defer f.Close()
	all := entry.Cols()
	for _, test := range []struct {
		rows, cols Range
		size       int
		want       string
	}{
		{Range{0, 5}, all, 120, "rows [0,5) of shape [4 6]"},
		{Range{-1, 1}, all, 48, "rows [-1,1)"},
		{Range{3, 2}, all, 0, "rows [3,2)"},
		{Range{0, 1}, Range{0, 7}, 28, "columns [0,7)"},
		{Range{0, 1}, Range{-1, 2}, 12, "columns [-1,2)"},
		{Range{0, 2}, Range{1, 3}, 17, "are 16 bytes, the destination holds 17"},
		{Range{0, 2}, Range{1, 3}, 0, "are 16 bytes, the destination holds 0"},
	} {
		err := entry.Read(make([]byte, test.size), test.rows, test.cols)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "tensor w of "+f.Path()) {
			t.Errorf("%v %v: %v; want %q and where", test.rows, test.cols, err, test.want)
		}
	}
	if err := entry.Float32(make([]float32, 3), Range{0, 2}, Range{1, 3}); err == nil || !strings.Contains(err.Error(), "are 4 numbers, the destination holds 3") {
		t.Errorf("Float32: %v", err)
	}
	if err := entry.Float32(nil, Range{0, 9}, all); err == nil || !strings.Contains(err.Error(), "rows [0,9)") {
		t.Errorf("Float32: %v", err)
	}
	for _, dtype := range []DType{I32, U32, F8E4M3, Bool} {
		f, entry := openTensor(t, t.TempDir()+"/x", dtype, []int{2}, make([]byte, 2*dtype.Bits()/8))
		if err := entry.Float64(make([]float64, 2), entry.Rows(), entry.Cols()); err == nil || !strings.Contains(err.Error(), string(dtype)+" is no type for weights") {
			t.Errorf("%s: %v", dtype, err)
		}
		f.Close()
	}
	small, entry := openTensor(t, t.TempDir()+"/x", F4, []int{2, 6}, []byte{1, 2, 3, 4, 5, 6})
	defer small.Close()
	got := make([]byte, 4)
	if err := entry.Read(got, Range{0, 2}, Range{2, 6}); err != nil || !bytes.Equal(got, []byte{2, 3, 5, 6}) {
		t.Errorf("F4: %v, %v", got, err)
	}
	if err := entry.Read(got[:2], Range{0, 1}, Range{1, 5}); err == nil || !strings.Contains(err.Error(), "byte boundaries") {
		t.Errorf("F4 within a byte: %v", err)
	}
}

// CheckFinite against a plain loop over decoded values, with NaN and infinities planted anywhere, the last partial
// word included.
func TestCheckFinite(t *testing.T) {
	path := t.TempDir() + "/x"
	bad := map[DType][][]byte{
		F64:    {{0, 0, 0, 0, 0, 0, 0xf0, 0x7f}, {0, 0, 0, 0, 0, 0, 0xf0, 0xff}, {1, 0, 0, 0, 0, 0, 0xf0, 0x7f}, {0, 0, 0, 0, 0, 0, 0xf8, 0xff}},
		F32:    {{0, 0, 0x80, 0x7f}, {0, 0, 0x80, 0xff}, {1, 0, 0x80, 0x7f}, {0xff, 0xff, 0xff, 0xff}},
		BF16:   {{0x80, 0x7f}, {0x80, 0xff}, {0x81, 0x7f}, {0xff, 0xff}},
		F16:    {{0, 0x7c}, {0, 0xfc}, {1, 0x7c}, {0xff, 0xff}},
		F8E5M2: {{0x7c}, {0xfc}, {0x7d}, {0xff}},
		F8E4M3: {{0x7f}, {0xff}},
	}
	largest := map[DType][]byte{
		F64: {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0xff}, F32: {0xff, 0xff, 0x7f, 0xff}, BF16: {0x7f, 0xff},
		F16: {0xff, 0xfb}, F8E5M2: {0xfb}, F8E4M3: {0xfe},
	}
	rapid.Check(t, func(t *rapid.T) {
		dtype := rapid.SampledFrom([]DType{F64, F32, BF16, F16, F8E5M2, F8E4M3}).Draw(t, "dtype")
		width := dtype.Bits() / 8
		shape := []int{rapid.IntRange(1, 5).Draw(t, "rows"), rapid.SampledFrom([]int{1, 3, 7, 70001}).Draw(t, "columns")}
		n := shape[0] * shape[1]
		data := bytes.Repeat(largest[dtype], n) // the neighbours of a bad element must not hide it
		planted := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, min(n, 4), rapid.ID).Draw(t, "planted")
		first := n
		for _, at := range planted {
			copy(data[at*width:], rapid.SampledFrom(bad[dtype]).Draw(t, "value"))
			first = min(first, at)
		}
		f, entry := openTensor(t, path, dtype, shape, data)
		defer f.Close()
		err := f.CheckFinite("w")
		if len(planted) == 0 {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		want := fmt.Sprintf("safetensors: check tensor w of %s: %d of %d elements are NaN or infinite, the first at [%d %d]",
			path, len(planted), n, first/shape[1], first%shape[1])
		if err == nil || err.Error() != want {
			t.Fatalf("got %v\nwant %s", err, want)
		}
		_ = entry
	})
}

func TestCheckFiniteOtherTypes(t *testing.T) {
	for dtype, bits := range dtypeBits {
		if _, tested := exponents[dtype]; tested {
			continue
		}
		f, entry := openTensor(t, t.TempDir()+"/x", dtype, []int{8}, bytes.Repeat([]byte{0xff}, bits))
		err := entry.CheckFinite()
		known := strings.HasPrefix(string(dtype), "I") || strings.HasPrefix(string(dtype), "U") || dtype == Bool || bits < 8
		if known != (err == nil) {
			t.Errorf("%s: %v", dtype, err)
		}
		if err := f.CheckFinite("absent"); err == nil || !strings.Contains(err.Error(), "no such tensor") {
			t.Errorf("absent tensor: %v", err)
		}
		f.Close()
	}
	f, entry := openTensor(t, t.TempDir()+"/x", F32, []int{}, binary.LittleEndian.AppendUint32(nil, 0x7fc00000))
	defer f.Close()
	if err := entry.CheckFinite(); err == nil || !strings.Contains(err.Error(), "1 of 1 elements are NaN or infinite, the first at []") {
		t.Errorf("scalar: %v", err)
	}
}

func BenchmarkFloat32FromBF16(b *testing.B) {
	const rows, cols = 1024, 8192
	f, entry := openTensor(b, b.TempDir()+"/x", BF16, []int{rows, cols}, make([]byte, 2*rows*cols))
	defer f.Close()
	dst := make([]float32, rows*cols)
	b.SetBytes(entry.Size())
	for b.Loop() {
		if err := entry.Float32(dst, entry.Rows(), entry.Cols()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckFinite(b *testing.B) {
	const rows, cols = 1024, 8192
	f, entry := openTensor(b, b.TempDir()+"/x", BF16, []int{rows, cols}, make([]byte, 2*rows*cols))
	defer f.Close()
	b.SetBytes(entry.Size())
	for b.Loop() {
		if err := entry.CheckFinite(); err != nil {
			b.Fatal(err)
		}
	}
}
