package rlhf_test

import (
	"fmt"
	"testing"

	"alfred/internal/backend/cpu"
	"alfred/internal/tensor"
)

// TestStepsAllocateNothing: a training step (forward, backward, AdamW; several micro-batches, the last one smaller) and a decoding step
// of several sequences leave the Go heap alone, whoever computes.
func TestStepsAllocateNothing(t *testing.T) {
	z := benchSizes[0]
	z.batch = 17
	for _, dtype := range []tensor.DType{tensor.Float32, tensor.BFloat16} {
		for workers := 1; workers <= 3; workers++ {
			t.Run(fmt.Sprintf("%v/%d", dtype, workers), func(t *testing.T) {
				if dtype == tensor.BFloat16 && cpu.InstructionSets()[0] == "go" {
					t.Skip("kernels in Go widen bfloat16 to memory that they allocate")
				}
				_, e, adam := benchModel(t, z, dtype, workers)
				train := training(t, z, e, adam, 8*z.length)
				decode, done := decoding(t, e, 5, z.prompt)
				defer done()
				if got := allocations(train); got > 0 {
					t.Errorf("a training step allocates %v objects", got)
				}
				if got := allocations(decode); got > 0 {
					t.Errorf("a decoding step allocates %v objects", got)
				}
			})
		}
	}
}

// allocations of one step once every worker has grown its scratch memory. Which of them gets a tile is left to chance.
func allocations(step func()) (n float64) {
	for range 20 {
		if n = testing.AllocsPerRun(5, step); n == 0 {
			break
		}
	}
	return n
}
