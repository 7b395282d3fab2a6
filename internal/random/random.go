// Package random gives every random number of a run an address instead of a place in a stream.
//
// A number is a pure function of (seed, purpose, iteration, sequence, token): the counter-based generator
// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011) encrypts the
// address under the seed. There is no state to save, so a crash, a resume, the composition of a batch and the order in
// which sequences end cannot change a number, and any rank can compute any of them.
//
// The layout of an address is part of the format of a run; changing it changes every run:
//
//	key     = (low 32 bits of the seed, high 32 bits of the seed)
//	counter = (iteration, sequence, token, purpose)
//
// What iteration, sequence and token mean is the purpose's own affair: for Rollout they are the PPO iteration, the
// index in rollout order and the index in the response. Two uses of one purpose must not share an address.
package random

import (
	"math"
	"math/bits"
)

// Purpose separates the uses of one seed; it is the last word of the counter.
type Purpose uint32

// The purposes of a run. Their numbers are part of the address and never change.
const (
	Init      Purpose = 1 // weights of a new model
	Data      Purpose = 2 // choice and order of training data and prompts
	Rollout   Purpose = 3 // sampled tokens of a PPO iteration
	Permute   Purpose = 4 // order of mini-batches from the second epoch on
	Normalise Purpose = 5 // sampled tokens when a reward model is normalised
	HeldOut   Purpose = 6 // sampled tokens of an evaluation on held-out prompts
)

// Key selects one family of numbers: the seed of a run and what they are for.
type Key struct {
	Seed    uint64
	Purpose Purpose
}

// Block returns 128 random bits at an address.
func (k Key) Block(iteration, sequence, token uint32) [4]uint32 {
	counter := [4]uint32{iteration, sequence, token, uint32(k.Purpose)}
	return Philox4x32(counter, [2]uint32{uint32(k.Seed), uint32(k.Seed >> 32)})
}

// Uniform returns a number in [0, 1): the top 53 bits of the block's first two words (the second is the more
// significant) as a multiple of 2^-53. Every such multiple is equally likely; 1 never occurs.
func (k Key) Uniform(iteration, sequence, token uint32) float64 {
	b := k.Block(iteration, sequence, token)
	return unit(b[0], b[1])
}

// Normal returns a number of the standard normal distribution by the cosine half of Box and Muller's transform,
// sqrt(-2 ln u)·cos(2πv), with u in (0, 1] from the block's first two words and v in [0, 1) from the last two. One
// address gives one number, so the sine half is not used. |Normal| never exceeds sqrt(106 ln 2) = 8.58.
//
// The bits are those of math.Log and math.Cos, which Go does not promise to be equal on different architectures.
func (k Key) Normal(iteration, sequence, token uint32) float64 {
	b := k.Block(iteration, sequence, token)
	u := 1 - unit(b[0], b[1]) // exact, and never 0
	v := unit(b[2], b[3])
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v)
}

// Permutation returns the numbers 0..n-1 in an order drawn uniformly from all n! (n of at most 2^32; none for n <= 0):
// Fisher and Yates' shuffle from the top down. The partner of place i is drawn at the addresses (iteration, i, 0),
// (iteration, i, 1), ... until one is accepted, so it takes the whole iteration of its purpose: a key that is used
// for permutations serves nothing else.
func (k Key) Permutation(iteration uint32, n int) []int {
	order := make([]int, max(n, 0))
	for i := range order {
		order[i] = i
	}
	for i := n - 1; i > 0; i-- {
		attempt := uint32(0)
		j := below(uint64(i)+1, func() uint64 {
			b := k.Block(iteration, uint32(i), attempt)
			attempt++
			return uint64(b[1])<<32 | uint64(b[0])
		})
		order[i], order[j] = order[j], order[i]
	}
	return order
}

// below returns a number in [0, n) without bias, n > 0 (Lemire, "Fast Random Integer Generation in an Interval", ACM
// TOMACS 2019): the high word of draw·n, drawing again in the 2^64 mod n cases that would favour some results.
func below(n uint64, draw func() uint64) uint64 {
	high, low := bits.Mul64(draw(), n)
	if low < n {
		surplus := -n % n // 2^64 mod n
		for low < surplus {
			high, low = bits.Mul64(draw(), n)
		}
	}
	return high
}

func unit(low, high uint32) float64 {
	return float64((uint64(high)<<32|uint64(low))>>11) * 0x1p-53
}
