package tensor

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestBFloat16OfEveryValue: each of the 65,536 values survives the way through float32, NaN as a quiet NaN of its own sign.
func TestBFloat16OfEveryValue(t *testing.T) {
	for b := range 1 << 16 {
		x := FromBFloat16(uint16(b))
		got := ToBFloat16(x)
		want := uint16(b)
		if exponent, fraction := b>>7&0xff, b&0x7f; exponent == 0xff && fraction != 0 {
			if x == x {
				t.Fatalf("%#04x is %v, want NaN", b, x)
			}
			want |= 0x40
		}
		if got != want {
			t.Fatalf("%#04x became %v and %#04x", b, x, got)
		}
	}
}

// TestBFloat16BetweenNeighbours: of every two neighbours, what lies below the middle goes to the lower, what lies above to the
// upper, and the middle to the even one. Beyond the largest number lies infinity, at the distance of one more step.
func TestBFloat16BetweenNeighbours(t *testing.T) {
	for b := range uint16(0x7f80) {
		for sign := range uint16(2) {
			low, high := b|sign<<15, (b+1)|sign<<15
			bits := uint32(low) << 16
			even := low
			if low&1 == 1 {
				even = high
			}
			for _, c := range []struct {
				bits uint32
				want uint16
			}{{bits + 1, low}, {bits + 0x7fff, low}, {bits + 0x8000, even}, {bits + 0x8001, high}, {bits + 0xffff, high}} {
				x := math.Float32frombits(c.bits)
				if got := ToBFloat16(x); got != c.want {
					t.Fatalf("%v (%#08x), between %#04x and %#04x, became %#04x, want %#04x", x, c.bits, low, high, got, c.want)
				}
			}
		}
	}
}

func TestBFloat16KnownValues(t *testing.T) {
	for x, want := range map[float32]uint16{
		0: 0, 1: 0x3f80, -1: 0xbf80, 2: 0x4000, 0.1: 0x3dcd, 3.14159265: 0x4049, 65504: 0x4780,
		float32(math.Inf(1)): 0x7f80, float32(math.Inf(-1)): 0xff80, math.MaxFloat32: 0x7f80, 0x1p-133: 1, 0x1p-134: 0, 0x1.8p-133: 2,
	} {
		if got := ToBFloat16(x); got != want {
			t.Errorf("%v became %#04x, want %#04x", x, got, want)
		}
	}
	if got := ToBFloat16(float32(math.Copysign(0, -1))); got != 0x8000 {
		t.Errorf("-0 became %#04x", got)
	}
	if got := ToBFloat16(math.Float32frombits(0x7f800001)); got != 0x7fc0 { // the payload is lost, NaN is not
		t.Errorf("a NaN whose payload lies in the lower half became %#04x", got)
	}
}

// TestBFloat16IsMonotone: x <= y implies rounded x <= rounded y, and the relative error is at most 2^-8.
func TestBFloat16IsMonotone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100000 {
		x, y := float32(rng.NormFloat64()), float32(rng.NormFloat64())
		if x > y {
			x, y = y, x
		}
		rx, ry := FromBFloat16(ToBFloat16(x)), FromBFloat16(ToBFloat16(y))
		if rx > ry {
			t.Fatalf("%v <= %v, rounded %v > %v", x, y, rx, ry)
		}
		if math.Abs(float64(rx-x)) > math.Abs(float64(x))/256 {
			t.Fatalf("%v became %v", x, rx)
		}
	}
}
