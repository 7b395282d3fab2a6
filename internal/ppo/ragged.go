package ppo

import (
	"fmt"
	"math"
)

// Ragged holds one number per response token: Ragged[s][t] for sequence s and token t < T_s.
type Ragged [][]float64

// Tokens counts the tokens of the sequences that are not excluded. A nil exclude excludes none.
func (r Ragged) Tokens(exclude []bool) int {
	n := 0
	for s, row := range r {
		if !excluded(exclude, s) {
			n += len(row)
		}
	}
	return n
}

// Moments returns the number, mean and population variance of the tokens of the sequences that are not excluded. No
// tokens have mean and variance 0. The variance is summed from deviations, in a second pass.
func (r Ragged) Moments(exclude []bool) (n int, mean, variance float64) {
	n = r.Tokens(exclude)
	if n == 0 {
		return 0, 0, 0
	}
	sum := 0.0
	for s, row := range r {
		if !excluded(exclude, s) {
			for _, x := range row {
				sum += x
			}
		}
	}
	mean = sum / float64(n)
	squares := 0.0
	for s, row := range r {
		if !excluded(exclude, s) {
			for _, x := range row {
				squares += (x - mean) * (x - mean)
			}
		}
	}
	return n, mean, squares / float64(n)
}

// zeros returns a Ragged of r's shape in one piece of memory.
func (r Ragged) zeros() Ragged {
	flat := make([]float64, r.Tokens(nil))
	out := make(Ragged, len(r))
	for s, row := range r {
		out[s], flat = flat[:len(row):len(row)], flat[len(row):]
	}
	return out
}

func excluded(exclude []bool, s int) bool { return exclude != nil && exclude[s] }

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// named is a per-token argument and its name in an error.
type named struct {
	name string
	r    Ragged
}

// checkShapes tells the first place where an argument's shape differs from the first argument's. exclude may be nil.
func checkShapes(operation string, exclude []bool, first named, others ...named) error {
	if exclude != nil && len(exclude) != len(first.r) {
		return fmt.Errorf("ppo: %s: %d exclusions for %d sequences of %s", operation, len(exclude), len(first.r), first.name)
	}
	for _, o := range others {
		if len(o.r) != len(first.r) {
			return fmt.Errorf("ppo: %s: %d sequences of %s but %d of %s", operation, len(first.r), first.name, len(o.r), o.name)
		}
		for s, row := range first.r {
			if len(o.r[s]) != len(row) {
				return fmt.Errorf("ppo: %s: sequence %d has %d %s but %d %s", operation, s, len(row), first.name, len(o.r[s]), o.name)
			}
		}
	}
	return nil
}

// checkDenominator refuses a denominator that cannot be that of a mini-batch with n tokens (lists, ...) in this part.
func checkDenominator(operation, unit string, n, denominator int) error {
	if denominator < n || denominator < 0 {
		return fmt.Errorf("ppo: %s: denominator %d is smaller than the %d %s given; it counts those of the whole mini-batch",
			operation, denominator, n, unit)
	}
	return nil
}
