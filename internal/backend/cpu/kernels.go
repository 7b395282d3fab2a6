package cpu

import "unsafe"

// kernels is the seam between the tiling in Go and the arithmetic: each method works on one tile, on one thread, and keeps
// no state. There are two implementations: C for several instruction sets (kernels.h says what each argument means; the
// structs below mirror it field by field), and plain Go.
type kernels interface {
	isa() string
	rowTile() int // rows of the register tile
	panel() int   // columns of the register tile and of a packed panel
	pairs() bool  // bfloat16 is packed in pairs along the inner dimension, and multiplied as such
	pack(packArgs)
	multiply(multiplyArgs)
	layerNorm(layerNormArgs)
	layerNormBackward(layerNormBackwardArgs)
	splitQKV(splitQKVArgs)
	attend(attendArgs)
	attendTokens(attendTokensArgs)
	attendFinish(attendFinishArgs)
	attendBackward(attendBackwardArgs)
	rowDot(rowDotArgs)
	exp(mapArgs)
	gelu(mapArgs)
	geluBackward(mapArgs)
	add(mapArgs)
	copyRows(copyRowsArgs)
	addRows(addRowsArgs)
	sumRows(sumRowsArgs)
	sumSquares(sumSquaresArgs)
	adamw(adamwArgs)
	vocabBlocks(vocabBlocksArgs)
	vocabMerge(vocabMergeArgs)
	logprobGrad(logprobGradArgs)
	peak(*peakArgs)
}

// Element types of kernels, numbered as in package tensor.
const (
	float32Type  = 1
	bfloat16Type = 2
)

// Layouts of multiply's left operand.
const (
	layoutTiles = iota
	layoutRows
	layoutColumns
)

// What multiply does with the product.
const (
	store = iota
	add
	resume
)

// keyBlock is the number of keys of an attention block and of entries of a vocabulary block; kernels have it built in.
const keyBlock = 64

type ptr = unsafe.Pointer

type packArgs struct {
	src, dst         ptr
	ld, k, columns   int64
	width            int64
	srcType, dstType int32
	transposed       int32
	balanced         int32
}

type multiplyArgs struct {
	a, b, y                                ptr
	bias, residual                         ptr
	wide                                   ptr
	k, rows, columns, aLD, ld, panelStride int64
	layout, aType, bType, yType, mode      int32
}

type layerNormArgs struct {
	x, gamma, beta ptr
	y              ptr
	mean, rstd     ptr
	rows, columns  int64
	eps            float64
	dtype          int32
}

type layerNormBackwardArgs struct {
	dy, x, gamma  ptr
	mean, rstd    ptr
	dx            ptr
	dgamma, dbeta ptr
	rows, columns int64
	dtype, mode   int32
}

type splitQKVArgs struct {
	q, k, v, qkv             ptr
	cos, sin                 ptr
	positions                ptr
	rows, heads, groups, dim int64
	dtype                    int32
	backward                 int32
}

type attendArgs struct {
	scores                  ptr
	v                       ptr
	bias                    ptr
	m, l                    ptr
	acc                     ptr
	rows, heads, dim, ld    int64
	keys                    int64
	position, block, biasLD int64
	scale                   float32
}

type attendTokenArgs struct {
	q                                                       ptr
	k, v                                                    ptr
	table                                                   ptr
	bias                                                    ptr
	m, l                                                    ptr
	acc                                                     ptr
	groups, heads, dim, ld, accLD, keys, page, base, biasLD int64
	scale                                                   float32
	dtype                                                   int32
}

type attendTokensArgs struct {
	tokens ptr // attendTokenArgs
	n      int64
}

type attendFinishArgs struct {
	acc, l                        ptr
	o                             ptr
	rows, heads, dim, ld, tokenLD int64
	dtype                         int32
}

type attendBackwardArgs struct {
	scores                                        ptr
	dp                                            ptr
	lse, delta                                    ptr
	bias                                          ptr
	rows, heads, position, block, biasLD, tokenLD int64
	scale                                         float32
}

type rowDotArgs struct {
	a, b          ptr
	out           ptr
	rows, columns int64
	dtype         int32
}

type mapArgs struct {
	y, a, b ptr
	n       int64
	dtype   int32
}

type copyRowsArgs struct {
	dst, src                    ptr
	rows, columns, dstLD, srcLD int64
	dstType, srcType            int32
}

type addRowsArgs struct {
	y, x                               ptr
	rows                               ptr
	n, yRows, columns, yLD, xLD, first int64
	yType, xType                       int32
}

type sumRowsArgs struct {
	out               ptr
	x                 ptr
	rows, columns, ld int64
	dtype             int32
}

type sumSquaresArgs struct {
	x, out ptr
	n      int64
	dtype  int32
}

type adamwArgs struct {
	weight                                                ptr
	master, m, v                                          ptr
	grad                                                  ptr
	n                                                     int64
	dtype                                                 int32
	gradScale, beta1, beta2, oneMinusBeta1, oneMinusBeta2 float32
	decay, rate, invCorrection2, eps                      float32
}

type vocabBlocksArgs struct {
	z                        ptr
	max, sum, moment         ptr
	rows, columns, ld, outLD int64
	scale                    float32
}

type vocabMergeArgs struct {
	max, sum, moment   ptr
	out                ptr
	rows, blocks, inLD int64
}

type logprobGradArgs struct {
	z                             ptr
	lse, entropy, dlogp, dentropy ptr
	targets                       ptr
	rows, columns, ld, first      int64
	scale                         float32
}

type peakArgs struct {
	src   ptr
	n     int64
	work  float64
	x, y  float32
	dtype int32
}
