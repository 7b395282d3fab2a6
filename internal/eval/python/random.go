package python

import (
	"fmt"
	"math/bits"
)

// Random is CPython's random.Random: the Mersenne Twister MT19937 (Matsumoto and Nishimura 1998, doi:10.1145/272991.272995) and the ways
// in which Lib/random.py of Python 3.11 draws from it.
type Random struct {
	state [stateWords]uint32
	next  int // the word of the state that is drawn next
}

const (
	stateWords = 624
	shiftWords = 397
)

// NewRandom is random.Random(seed): the absolute value counts.
func NewRandom(seed int64) *Random {
	size := uint64(seed)
	if seed < 0 {
		size = -size
	}
	key := []uint32{uint32(size)}
	if high := uint32(size >> 32); high != 0 {
		key = append(key, high)
	}
	r := &Random{next: stateWords}
	r.fill(19650218)
	r.mix(key)
	return r
}

// fill is init_genrand of the generator's reference implementation.
func (r *Random) fill(seed uint32) {
	r.state[0] = seed
	for i := 1; i < stateWords; i++ {
		before := r.state[i-1]
		r.state[i] = 1812433253*(before^before>>30) + uint32(i)
	}
}

// mix is the rest of init_by_array there.
func (r *Random) mix(key []uint32) {
	i := 1
	advance := func() {
		if i++; i == stateWords {
			r.state[0] = r.state[stateWords-1]
			i = 1
		}
	}
	for k := range stateWords { // a key has at most two words
		before, j := r.state[i-1], k%len(key)
		r.state[i] = (r.state[i] ^ (before^before>>30)*1664525) + key[j] + uint32(j)
		advance()
	}
	for range stateWords - 1 {
		before := r.state[i-1]
		r.state[i] = (r.state[i] ^ (before^before>>30)*1566083941) - uint32(i)
		advance()
	}
	r.state[0] = 1 << 31
}

// renew draws the next 624 words of the state. It is three loops so that no index has to wrap.
func (r *Random) renew() {
	s := &r.state
	for i := range stateWords - shiftWords {
		s[i] = s[i+shiftWords] ^ twist(s[i], s[i+1])
	}
	for i := stateWords - shiftWords; i < stateWords-1; i++ {
		s[i] = s[i+shiftWords-stateWords] ^ twist(s[i], s[i+1])
	}
	s[stateWords-1] = s[shiftWords-1] ^ twist(s[stateWords-1], s[0])
	r.next = 0
}

func twist(high, low uint32) uint32 {
	y := high&(1<<31) | low&(1<<31-1)
	return y>>1 ^ -(y&1)&0x9908b0df
}

// word is 32 random bits.
func (r *Random) word() uint32 {
	if r.next == stateWords {
		r.renew()
	}
	y := r.state[r.next]
	r.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// Random is random(): uniform in [0, 1), a multiple of 2^-53.
func (r *Random) Random() float64 {
	high, low := r.word()>>5, r.word()>>6
	return float64(uint64(high)<<26|uint64(low)) / (1 << 53)
}

// Bits is getrandbits(k) for k of 0 to 64; outside it is that of the nearer end.
func (r *Random) Bits(k int) uint64 {
	k = min(max(k, 0), 64)
	if k == 0 {
		return 0
	}
	if k <= 32 {
		return uint64(r.word() >> (32 - k))
	}
	low := uint64(r.word())
	return uint64(r.word()>>(64-k))<<32 | low
}

// Below is uniform in [0, n), as randrange(n) draws it: bits until they are small enough. It is 0 for n < 1.
func (r *Random) Below(n int) int {
	if n < 1 {
		return 0
	}
	k := bits.Len(uint(n))
	for {
		if drawn := r.Bits(k); drawn < uint64(n) {
			return int(drawn)
		}
	}
}

// Sample is random.sample(range(n), k): k different indices below n, in the order in which they were drawn.
func (r *Random) Sample(n, k int) ([]int, error) {
	if k < 0 || k > n {
		return nil, fmt.Errorf("random: a sample of %d from %d", k, n)
	}
	// Python estimates the memory of a set, which decides what is drawn: 4 to the power ceil(log(3k, 4)) for large samples.
	setSize := 21
	if k > 5 {
		table := 1
		for table < 3*k {
			table *= 4
		}
		setSize += table
	}
	sample := make([]int, k)
	if n <= setSize {
		pool := make([]int, n)
		for i := range pool {
			pool[i] = i
		}
		for i := range sample {
			j := r.Below(n - i)
			sample[i] = pool[j]
			pool[j] = pool[n-i-1]
		}
		return sample, nil
	}
	selected := make(map[int]bool, k)
	for i := range sample {
		j := r.Below(n)
		for selected[j] {
			j = r.Below(n)
		}
		selected[j] = true
		sample[i] = j
	}
	return sample, nil
}

// Choice is one index below n as choices draws it. It is 0 for n < 1.
func (r *Random) Choice(n int) int { return max(0, int(r.Random()*float64(n))) }

// Choices is random.choices(range(n), k=k): k indices below n, with repetition; none where k < 1.
func (r *Random) Choices(n, k int) []int {
	choices := make([]int, max(k, 0))
	for i := range choices {
		choices[i] = r.Choice(n)
	}
	return choices
}

// Shuffle is random.shuffle of n items.
func (r *Random) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i >= 1; i-- {
		swap(i, r.Below(i+1))
	}
}
