//go:build race

package tokenizer

// slowdown is how much longer code takes under the race detector, at most.
const slowdown = 20
