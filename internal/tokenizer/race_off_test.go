//go:build !race

package tokenizer

// slowdown is 1: the race detector is off.
const slowdown = 1
