// Package cpu is the fast backend for processors: float32 and bfloat16 storage, float32 arithmetic.
//
// Work is divided in two. C kernels (*.c, *.inc.h), compiled for several instruction sets and chosen at run time, compute one
// tile on one thread. Go cuts operations into tiles, hands them to a fixed number of workers, and keeps weights packed in the
// order in which the kernels read them. Without cgo, or off unix, the same tiling runs on kernels in plain Go.
//
// Operations are done when their call returns. A row's bits depend neither on the other rows of the call nor on the number of
// workers nor on how tiles were cut:
//   - an element of a matrix product is one chain of fused multiply-adds over the ascending inner dimension, to which bias and
//     residual (or the old contents, where input gradients are added to them) are added once; weight gradients start their chain from the
//     old contents;
//   - attention walks blocks of 64 keys from key 0 of the sequence, packed or paged alike, and no key after the query has an effect forward;
//   - the vocabulary is walked in blocks of 64 entries, by the same kernels in the sampler and in the log-prob head;
//   - sums over rows (parameter gradients) are cut by the shape of the operands only.
//
// The AVX-512 and AVX2 kernels give the same bits as each other, and so do the baseline and the Go kernels, which have no
// fused multiply-add. Where the processor multiplies pairs of bfloat16 (AVX512_BF16) faster than float32, as Intel's do not (see
// instructionSets), the chains of products of bfloat16 with bfloat16 take two terms at a time: twice as fast, and other bits than
// without. There, gradients of the head's logits are rounded to bfloat16 before they are multiplied.
package cpu
