// Package reference is the executable specification of every operation: float64 throughout, single-threaded, and written
// straight from the formulas in package backend, so that it can be read beside them. It is what other backends are held
// against, and models and training run on it where exactness matters more than time.
//
// Sums are taken in ascending order of their index, one term at a time. Work is done at the moment of the call, so events
// are always past; errors nevertheless surface where every backend reports them, in Sync and in Wait.
//
// All floating-point operands are Float64. Zero, Copy, Upload and Download also take the other element types, so that
// numbers can be rounded to them on purpose.
package reference
