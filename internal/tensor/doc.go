// Package tensor describes blocks of numbers: their element type, their shape and the backend memory that holds them.
// It does no arithmetic.
//
// A Tensor is contiguous, row-major, and has at most four dimensions. Views exist along the leading axis only (Slice), so
// no kernel ever sees a stride. Comments and variable names all over alfred use one key for dimensions, as a suffix
// without underscore where it helps (qNHK, logitsNV):
//
//	B batch (sequences)      N tokens of a batch, packed end to end     T tokens of one sequence
//	D hidden size            F feed-forward size                        V vocabulary
//	H query heads            G key/value heads                          K head dimension
//	L layers                 O, I output and input features of a matrix product
package tensor
