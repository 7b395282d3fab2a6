package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// golden opens a file written by the official package; see scripts/golden/safetensors_files.py.
func golden(t *testing.T, name string) *File {
	t.Helper()
	f, err := Open("testdata/golden/" + name)
	if err != nil {
		t.Fatalf("%v (rewrite with scripts/golden/safetensors_files.py)", err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func numbers[T float32 | float64](t *testing.T, f *File, name string) []T {
	t.Helper()
	entry, ok := f.Tensor(name)
	if !ok {
		t.Fatalf("no tensor %s in %s", name, f.Path())
	}
	values := make([]T, entry.NumElements())
	if err := floats(entry, values, entry.Rows(), entry.Cols()); err != nil {
		t.Fatal(err)
	}
	return values
}

func TestOfficialFile(t *testing.T) {
	f := golden(t, "dtypes.safetensors")
	var want map[string]struct {
		Shape  []int
		Values []float64
	}
	text, err := os.ReadFile("testdata/golden/dtypes.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if len(want) < 6 {
		t.Fatalf("only %d tensors in the golden values", len(want))
	}
	for name, tensor := range want {
		entry, _ := f.Tensor(name)
		if got := numbers[float64](t, f, name); !slices.Equal(entry.Shape, tensor.Shape) || !slices.Equal(got, tensor.Values) {
			t.Errorf("%s: shape %v values %v, want %v", name, entry.Shape, got, tensor)
		}
		for i, got := range numbers[float32](t, f, name) {
			if got != float32(tensor.Values[i]) {
				t.Errorf("%s: Float32[%d] = %v, want %v", name, i, got, float32(tensor.Values[i]))
			}
		}
	}
	for name, dtype := range map[string]DType{
		"bool": Bool, "int8": I8, "int16": I16, "int32": I32, "int64": I64, "uint8": U8, "uint16": U16, "uint32": U32, "uint64": U64,
		"float8_e4m3fn": F8E4M3, "float8_e5m2": F8E5M2, "float8_e4m3fnuz": F8E4M3FNUZ, "float8_e5m2fnuz": F8E5M2FNUZ,
		"float8_e8m0fnu": F8E8M0, "complex64": C64,
	} {
		if entry, _ := f.Tensor(name); entry.DType != dtype {
			t.Errorf("%s has type %q, want %s", name, entry.DType, dtype)
		}
	}
	entry, _ := f.Tensor("int64")
	if got := binary.LittleEndian.Uint64(entry.Data()[16:]); got != 2 {
		t.Errorf("int64[2] = %d", got)
	}
	if got := f.Metadata()["text"]; got != "quote \" backslash \\ newline \n umlaut ü clef \U0001d11e" {
		t.Errorf("metadata %q", got)
	}
}

// torch's rounding of float32 to bfloat16, and its reading of float16.
func TestRoundingAsTorch(t *testing.T) {
	f := golden(t, "rounding.safetensors")
	single := numbers[float32](t, f, "single")
	want, _ := f.Tensor("bfloat")
	got := make([]byte, 2*len(single))
	if err := Encode(got, BF16, single); err != nil {
		t.Fatal(err)
	}
	for i, x := range single {
		bits, wantBits := binary.LittleEndian.Uint16(got[2*i:]), binary.LittleEndian.Uint16(want.Data()[2*i:])
		if x != x {
			if bits&0x7fff <= 0x7f80 {
				t.Errorf("NaN %#08x became %#04x", math.Float32bits(x), bits)
			}
		} else if bits != wantBits {
			t.Errorf("%g (%#08x) became %#04x, torch gives %#04x", x, math.Float32bits(x), bits, wantBits)
		}
	}
	half, halfWant := numbers[float32](t, f, "half"), numbers[float32](t, f, "half_as_single")
	for i := range half {
		if half[i] != halfWant[i] && (half[i] == half[i] || halfWant[i] == halfWant[i]) {
			t.Errorf("float16 %d is %g, torch reads %g", i, half[i], halfWant[i])
		}
	}
}

// All 65,536 float16 patterns against the definition: (-1)^s 2^(e-15) (1 + f/1024).
func TestFloat16Definition(t *testing.T) {
	for pattern := range 1 << 16 {
		exponent, fraction := pattern>>10&0x1f, float64(pattern&0x3ff)/1024
		want := math.Ldexp(1+fraction, exponent-15)
		switch {
		case exponent == 0:
			want = math.Ldexp(fraction, -14)
		case exponent == 31 && fraction == 0:
			want = math.Inf(1)
		case exponent == 31:
			want = math.NaN()
		}
		if pattern>>15 == 1 {
			want = -want
		}
		got := float64(float16(uint16(pattern)))
		if got != want && (got == got || want == want) || math.Signbit(got) != (pattern>>15 == 1) {
			t.Fatalf("%#04x is %g, want %g", pattern, got, want)
		}
	}
}

// nearest finds the bfloat16 nearest to a finite x by comparing with the two neighbours in exact arithmetic: float64
// holds their differences from x exactly enough, because x is within one unit of them.
func nearest(x float64) uint16 {
	down := uint16(math.Float32bits(float32(math.Abs(x))) >> 16) // at or just above |x|: walk down to at or below
	value := func(u uint16) float64 {
		if u == 0x7f80 {
			return 0x1p128 // where rounding to infinity begins to be nearer
		}
		return float64(math.Float32frombits(uint32(u) << 16))
	}
	for down > 0 && value(down) > math.Abs(x) {
		down--
	}
	below, above := math.Abs(x)-value(down), value(down+1)-math.Abs(x)
	if above < below || above == below && down&1 == 1 {
		down++
	}
	if math.Signbit(x) {
		down |= 0x8000
	}
	return down
}

func TestBFloat16IsNearest(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 300_000 {
		single := math.Float32frombits(rng.Uint32())
		if single == single && !math.IsInf(float64(single), 0) {
			if got, want := bfloat16(single), nearest(float64(single)); got != want {
				t.Fatalf("float32 %g: %#04x, want %#04x", single, got, want)
			}
		}
	}
	// float64 values at and next to the midpoint of two bfloat16 numbers, where rounding twice goes wrong.
	for range 300_000 {
		u := uint32(rng.Uint32N(0x7f80)) << 16
		middle := (float64(math.Float32frombits(u)) + float64(math.Float32frombits(u+0x10000))) / 2
		if u == 0x7f7f0000 {
			middle = (float64(math.Float32frombits(u)) + 0x1p128) / 2
		}
		for _, x := range []float64{middle, math.Nextafter(middle, 0), math.Nextafter(middle, math.MaxFloat64), -middle} {
			if got, want := bfloat16(x), nearest(x); got != want {
				t.Fatalf("float64 %g: %#04x, want %#04x", x, got, want)
			}
		}
	}
	for x, want := range map[float64]uint16{0: 0, math.Inf(1): 0x7f80, math.Inf(-1): 0xff80, 1e300: 0x7f80, -1e300: 0xff80, 1e-300: 0} {
		if got := bfloat16(x); got != want {
			t.Errorf("%g became %#04x, want %#04x", x, got, want)
		}
	}
	// A NaN whose upper half is that of infinity, and the one that a carry would clear.
	for _, u := range []uint32{0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff, 0x7fc00000} {
		if got := bfloat16(math.Float32frombits(u)); got&0x7fff <= 0x7f80 {
			t.Errorf("NaN %#08x became %#04x", u, got)
		}
	}
}

func TestCodecRoundTrip(t *testing.T) {
	values := []float64{0, 1, -2.5, 0x1p-126, 3, math.Inf(-1)}
	for _, dtype := range []DType{F32, F64, BF16} {
		data := make([]byte, len(values)*dtype.Bits()/8)
		if err := Encode(data, dtype, values); err != nil {
			t.Fatal(err)
		}
		got := make([]float64, len(values))
		if err := Decode(got, dtype, data); err != nil || !slices.Equal(got, values) {
			t.Errorf("%s: %v, %v", dtype, got, err)
		}
	}
}

func TestCodecRefuses(t *testing.T) {
	big := binary.LittleEndian.AppendUint64(nil, math.Float64bits(1e300))
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"encode integers": {Encode(make([]byte, 4), I32, []float32{1}), "I32 is no type for weights"},
		"encode float16":  {Encode(make([]byte, 2), F16, []float32{1}), "not written as F16"},
		"encode size":     {Encode(make([]byte, 3), BF16, []float32{1}), "1 numbers of BF16 need 2 bytes, not 3"},
		"decode integers": {Decode([]float32{1}, U8, make([]byte, 1)), "U8 is no type for weights"},
		"decode size":     {Decode([]float32{1, 2}, F32, make([]byte, 4)), "2 numbers of F32 need 8 bytes, not 4"},
		"decode overflow": {Decode([]float32{1}, F64, big), "1e+300 is too large"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: %v; want %q", name, test.err, test.want)
		}
	}
	infinite := binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.Inf(1)))
	single := make([]float32, 1)
	if err := Decode(single, F64, infinite); err != nil || !math.IsInf(float64(single[0]), 1) {
		t.Errorf("infinity: %v, %v", single, err)
	}
}
