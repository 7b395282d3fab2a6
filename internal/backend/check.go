package backend

import (
	"fmt"
	"slices"

	"alfred/internal/tensor"
)

// check collects the first thing that is wrong with the operands of one call. What goes into its message is cloned there, so that a
// call that is right leaves the caller's lists, and the check itself, on the stack.
type check struct {
	op  string
	err error
}

func checking(op string) *check { return &check{op: op} }

func (c *check) failf(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("backend: %s: %s", c.op, fmt.Sprintf(format, args...))
	}
}

// shape demands exact dimensions; -1 leaves one free.
func (c *check) shape(name string, t tensor.Tensor, dims ...int) *check {
	if t.Absent() {
		c.failf("%s is absent", name)
		return c
	}
	ok := t.Rank() == len(dims)
	for i := 0; ok && i < len(dims); i++ {
		ok = dims[i] < 0 || t.Dim(i) == dims[i]
	}
	if !ok {
		c.failf("%s is %v, want shape %v", name, t, slices.Clone(dims))
	}
	return c
}

// optional is shape for an operand that may be absent.
func (c *check) optional(name string, t tensor.Tensor, dims ...int) *check {
	if t.Absent() {
		return c
	}
	return c.shape(name, t, dims...)
}

// dtype demands one of some element types; absent operands pass.
func (c *check) dtype(name string, t tensor.Tensor, allowed ...tensor.DType) *check {
	if !t.Absent() && !slices.Contains(allowed, t.DType()) {
		c.failf("%s is %v, want %v", name, t, slices.Clone(allowed))
	}
	return c
}

// float demands a floating-point type; absent operands pass.
func (c *check) float(name string, t tensor.Tensor) *check {
	return c.dtype(name, t, tensor.Float32, tensor.BFloat16, tensor.Float64)
}

// dim is t.Dim(i), or 0 when there is no such dimension: shape will complain about it.
func dim(t tensor.Tensor, i int) int {
	if i < t.Rank() {
		return t.Dim(i)
	}
	return 0
}
