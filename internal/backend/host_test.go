package backend_test

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

var floatTypes = []tensor.DType{tensor.Float32, tensor.BFloat16, tensor.Float64}

// TestHostConverts moves numbers that every type holds through every pair of types, and back.
func TestHostConverts(t *testing.T) {
	numbers := []float64{0, 1, -2.5, 1.0078125, -0x1p100, math.Inf(1)}
	for _, device := range floatTypes {
		memory := make([]byte, len(numbers)*device.Size())
		f32s := make([]float32, len(numbers))
		for i, v := range numbers {
			f32s[i] = float32(v)
		}
		for name, src := range map[string]backend.Host{"float64": backend.Float64s(numbers), "float32": backend.Float32s(f32s)} {
			clear(memory)
			src.Encode(memory, device)
			for _, host := range floatTypes {
				raw := make([]byte, len(numbers)*host.Size())
				backend.Raw(host, raw).Decode(memory, device)
				again := make([]byte, len(memory))
				backend.Raw(host, raw).Encode(again, device)
				if !slices.Equal(again, memory) {
					t.Errorf("%s to %v to %v and back: % x became % x", name, device, host, memory, again)
				}
			}
			back64, back32 := make([]float64, len(numbers)), make([]float32, len(numbers))
			backend.Float64s(back64).Decode(memory, device)
			backend.Float32s(back32).Decode(memory, device)
			if !slices.Equal(back64, numbers) || !slices.Equal(back32, f32s) {
				t.Errorf("%s to %v: %v, %v", name, device, back64, back32)
			}
		}
	}
}

// TestHostAnywhereInMemory: elements begin at any byte, on both sides, and each is rounded once, as math/big rounds it.
func TestHostAnywhereInMemory(t *testing.T) {
	const n = 1100 // several of the pieces that are moved to aligned memory
	precision := map[tensor.DType]uint{tensor.BFloat16: 8, tensor.Float32: 24, tensor.Float64: 53}
	rounded := func(v float64, dtype tensor.DType) float64 {
		x, _ := new(big.Float).SetPrec(precision[dtype]).SetMode(big.ToNearestEven).SetFloat64(v).Float64()
		return x
	}
	rng := rand.New(rand.NewPCG(5, 6))
	numbers := make([]float64, n)
	for i := range numbers {
		numbers[i] = math.Ldexp(rng.NormFloat64(), rng.IntN(80)-40)
	}
	for _, from := range floatTypes {
		for _, to := range floatTypes {
			for at := range 9 {
				host, device := make([]byte, at+n*from.Size()), make([]byte, 8-at+n*to.Size())
				there, back := device[8-at:], make([]byte, 1+n*from.Size())[1:]
				backend.Float64s(numbers).Encode(host[at:], from)
				backend.Raw(from, host[at:]).Encode(there, to)
				backend.Raw(from, back).Decode(there, to)
				got, gotBack := make([]float64, n), make([]float64, n)
				backend.Float64s(got).Decode(there, to)
				backend.Float64s(gotBack).Decode(back, from)
				for i, v := range numbers {
					v = rounded(rounded(v, from), to)
					if want := rounded(v, from); got[i] != v || gotBack[i] != want {
						t.Fatalf("%v to %v, %d bytes on: %v became %v and %v, want %v and %v", from, to, at, numbers[i], got[i], gotBack[i], v, want)
					}
				}
			}
		}
	}
}

// TestHostLayout: little-endian, as tensors lie in files.
func TestHostLayout(t *testing.T) {
	memory := make([]byte, 8)
	backend.Float32s([]float32{1, -2}).Encode(memory, tensor.BFloat16)
	if want := []byte{0x80, 0x3f, 0x00, 0xc0}; !slices.Equal(memory[:4], want) {
		t.Errorf("bfloat16 1, -2 is % x, want % x", memory[:4], want)
	}
	backend.Int32s([]int32{1, -2}).Encode(memory, tensor.Int32)
	if want := []byte{1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff}; !slices.Equal(memory, want) {
		t.Errorf("int32 1, -2 is % x, want % x", memory, want)
	}
	ids := make([]int32, 2)
	backend.Int32s(ids).Decode(memory, tensor.Int32)
	if !slices.Equal(ids, []int32{1, -2}) {
		t.Errorf("int32 1, -2 came back as %v", ids)
	}
	backend.Float64s([]float64{0.1}).Encode(memory, tensor.Float64)
	if binary.LittleEndian.Uint64(memory) != math.Float64bits(0.1) {
		t.Errorf("float64 0.1 is % x", memory)
	}
}

func TestHostRoundsToNearestEven(t *testing.T) {
	memory := make([]byte, 8)
	for v, want := range map[float32]uint16{1 + 1.0/256: 0x3f80, 1 + 3.0/256: 0x3f82, 1 + 1.01/256: 0x3f81, -1 - 1.0/256: 0xbf80} {
		backend.Float32s([]float32{v}).Encode(memory, tensor.BFloat16)
		if got := binary.LittleEndian.Uint16(memory); got != want {
			t.Errorf("%v became %#x, want %#x", v, got, want)
		}
	}
	backend.Float64s([]float64{1 + 0x1p-24, 1 + 3*0x1p-24}).Encode(memory, tensor.Float32)
	if a, b := binary.LittleEndian.Uint32(memory), binary.LittleEndian.Uint32(memory[4:]); a != 0x3f800000 || b != 0x3f800002 {
		t.Errorf("ties became %#x, %#x", a, b)
	}
}

func TestHostPoison(t *testing.T) {
	f32s, f64s, ids, raw := []float32{1, 2}, []float64{1, 2}, []int32{1, 2}, make([]byte, 16)
	for _, h := range []backend.Host{backend.Float32s(f32s), backend.Float64s(f64s), backend.Int32s(ids), backend.Raw(tensor.Float32, raw)} {
		h.Poison()
	}
	for i := range 2 {
		if f32s[i] == f32s[i] || f64s[i] == f64s[i] || ids[i] >= -1 {
			t.Errorf("element %d: %v, %v, %v", i, f32s[i], f64s[i], ids[i])
		}
	}
	for _, dtype := range floatTypes {
		numbers := make([]float64, 16/dtype.Size())
		backend.Float64s(numbers).Decode(raw, dtype)
		for _, v := range numbers {
			if !math.IsNaN(v) {
				t.Errorf("poisoned bytes are %v as %v", v, dtype)
			}
		}
	}
}

func TestHostClone(t *testing.T) {
	f32s, f64s, ids, raw := []float32{1}, []float64{1}, []int32{1}, []byte{1, 1, 1, 1}
	for _, h := range []backend.Host{backend.Float32s(f32s), backend.Float64s(f64s), backend.Int32s(ids), backend.Raw(tensor.Int32, raw)} {
		c := h.Clone()
		c.Poison()
		if c.Len() != 1 || h.Len() != 1 {
			t.Errorf("lengths %d and %d", h.Len(), c.Len())
		}
	}
	if f32s[0] != 1 || f64s[0] != 1 || ids[0] != 1 || raw[0] != 1 {
		t.Errorf("poisoning the clones reached %v, %v, %v, %v", f32s, f64s, ids, raw)
	}
}

// TestHostOfNothing: empty and nil slices of every kind have no elements and do no harm.
func TestHostOfNothing(t *testing.T) {
	for _, h := range []backend.Host{
		backend.Float32s(nil), backend.Float64s(nil), backend.Int32s(nil), backend.Raw(tensor.BFloat16, nil),
		backend.Float32s([]float32{}), backend.Float64s([]float64{}), backend.Int32s([]int32{}), backend.Raw(tensor.Int32, []byte{}),
	} {
		for _, c := range []backend.Host{h, h.Clone()} {
			c.Poison()
			c.Encode(nil, tensor.Float32)
			c.Decode(nil, tensor.Float32)
			if c.Len() != 0 {
				t.Errorf("%+v has %d elements", c, c.Len())
			}
		}
	}
}
