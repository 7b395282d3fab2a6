package random

import (
	"math/bits"
	"testing"

	"pgregory.net/rapid"
)

// The vectors of Random123's kat_vectors file for "philox4x32 10".
func TestPhiloxKnownAnswers(t *testing.T) {
	const ones = 0xffffffff
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{ones, ones, ones, ones}, [2]uint32{ones, ones}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := Philox4x32(c.counter, c.key); got != c.want {
			t.Errorf("Philox4x32(%08x, %08x) = %08x, want %08x", c.counter, c.key, got, c.want)
		}
	}
}

// Flipping any one bit of the address or the seed changes about half of the 128 output bits. 128 fair coins leave
// 64 ± 40 with probability 1e-12.
func TestPhiloxAvalanche(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in [6]uint32
		for i := range in {
			in[i] = rapid.Uint32().Draw(t, "word")
		}
		bit := rapid.IntRange(0, 191).Draw(t, "bit")
		flipped := in
		flipped[bit/32] ^= 1 << (bit % 32)
		a := Philox4x32([4]uint32(in[:4]), [2]uint32(in[4:]))
		b := Philox4x32([4]uint32(flipped[:4]), [2]uint32(flipped[4:]))
		changed := 0
		for i := range a {
			changed += bits.OnesCount32(a[i] ^ b[i])
		}
		if changed < 24 || changed > 104 {
			t.Fatalf("bit %d of %08x changes %d of 128 bits", bit, in, changed)
		}
	})
}

func BenchmarkPhilox4x32(b *testing.B) {
	var out [4]uint32
	for i := range b.N {
		out = Philox4x32([4]uint32{uint32(i), out[0]}, [2]uint32{1, 2})
	}
}
