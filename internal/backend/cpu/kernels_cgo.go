//go:build cgo && unix

package cpu

/*
// -g1 keeps line numbers; names of variables would take gcc half as long again.
#cgo CFLAGS: -std=c11 -O3 -g1
#include "kernels.h"

#define CALL(name) static void call_##name(const struct kernels *k, const void *args) { k->name(args); }
CALL(pack)
CALL(multiply)
CALL(layer_norm)
CALL(layer_norm_backward)
CALL(split_qkv)
CALL(attend)
CALL(attend_tokens)
CALL(attend_finish)
CALL(attend_backward)
CALL(row_dot)
CALL(exp)
CALL(gelu)
CALL(gelu_backward)
CALL(add)
CALL(copy_rows)
CALL(add_rows)
CALL(sum_rows)
CALL(sum_squares)
CALL(adamw)
CALL(vocab_blocks)
CALL(vocab_merge)
CALL(logprob_grad)

static void call_peak(const struct kernels *k, void *args) { k->peak(args); }

#cgo noescape call_pack
#cgo nocallback call_pack
#cgo noescape call_multiply
#cgo nocallback call_multiply
#cgo noescape call_layer_norm
#cgo nocallback call_layer_norm
#cgo noescape call_layer_norm_backward
#cgo nocallback call_layer_norm_backward
#cgo noescape call_split_qkv
#cgo nocallback call_split_qkv
#cgo noescape call_attend
#cgo nocallback call_attend
#cgo noescape call_attend_tokens
#cgo nocallback call_attend_tokens
#cgo noescape call_attend_finish
#cgo nocallback call_attend_finish
#cgo noescape call_attend_backward
#cgo nocallback call_attend_backward
#cgo noescape call_row_dot
#cgo nocallback call_row_dot
#cgo noescape call_exp
#cgo nocallback call_exp
#cgo noescape call_gelu
#cgo nocallback call_gelu
#cgo noescape call_gelu_backward
#cgo nocallback call_gelu_backward
#cgo noescape call_add
#cgo nocallback call_add
#cgo noescape call_copy_rows
#cgo nocallback call_copy_rows
#cgo noescape call_add_rows
#cgo nocallback call_add_rows
#cgo noescape call_sum_rows
#cgo nocallback call_sum_rows
#cgo noescape call_sum_squares
#cgo nocallback call_sum_squares
#cgo noescape call_adamw
#cgo nocallback call_adamw
#cgo noescape call_vocab_blocks
#cgo nocallback call_vocab_blocks
#cgo noescape call_vocab_merge
#cgo nocallback call_vocab_merge
#cgo noescape call_logprob_grad
#cgo nocallback call_logprob_grad
#cgo noescape call_peak
#cgo nocallback call_peak
#cgo noescape kernels_find
#cgo nocallback kernels_find
*/
import "C"

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"
)

// The structs of both sides have the same size, or this does not compile.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(packArgs{})-unsafe.Sizeof(C.struct_pack{})]
	_ = [1]struct{}{}[unsafe.Sizeof(multiplyArgs{})-unsafe.Sizeof(C.struct_multiply{})]
	_ = [1]struct{}{}[unsafe.Sizeof(layerNormArgs{})-unsafe.Sizeof(C.struct_layer_norm{})]
	_ = [1]struct{}{}[unsafe.Sizeof(layerNormBackwardArgs{})-unsafe.Sizeof(C.struct_layer_norm_backward{})]
	_ = [1]struct{}{}[unsafe.Sizeof(splitQKVArgs{})-unsafe.Sizeof(C.struct_split_qkv{})]
	_ = [1]struct{}{}[unsafe.Sizeof(attendArgs{})-unsafe.Sizeof(C.struct_attend{})]
	_ = [1]struct{}{}[unsafe.Sizeof(attendTokenArgs{})-unsafe.Sizeof(C.struct_attend_token{})]
	_ = [1]struct{}{}[unsafe.Sizeof(attendTokensArgs{})-unsafe.Sizeof(C.struct_attend_tokens{})]
	_ = [1]struct{}{}[unsafe.Sizeof(attendFinishArgs{})-unsafe.Sizeof(C.struct_attend_finish{})]
	_ = [1]struct{}{}[unsafe.Sizeof(attendBackwardArgs{})-unsafe.Sizeof(C.struct_attend_backward{})]
	_ = [1]struct{}{}[unsafe.Sizeof(rowDotArgs{})-unsafe.Sizeof(C.struct_row_dot{})]
	_ = [1]struct{}{}[unsafe.Sizeof(mapArgs{})-unsafe.Sizeof(C.struct_map{})]
	_ = [1]struct{}{}[unsafe.Sizeof(copyRowsArgs{})-unsafe.Sizeof(C.struct_copy_rows{})]
	_ = [1]struct{}{}[unsafe.Sizeof(addRowsArgs{})-unsafe.Sizeof(C.struct_add_rows{})]
	_ = [1]struct{}{}[unsafe.Sizeof(sumRowsArgs{})-unsafe.Sizeof(C.struct_sum_rows{})]
	_ = [1]struct{}{}[unsafe.Sizeof(sumSquaresArgs{})-unsafe.Sizeof(C.struct_sum_squares{})]
	_ = [1]struct{}{}[unsafe.Sizeof(adamwArgs{})-unsafe.Sizeof(C.struct_adamw{})]
	_ = [1]struct{}{}[unsafe.Sizeof(vocabBlocksArgs{})-unsafe.Sizeof(C.struct_vocab_blocks{})]
	_ = [1]struct{}{}[unsafe.Sizeof(vocabMergeArgs{})-unsafe.Sizeof(C.struct_vocab_merge{})]
	_ = [1]struct{}{}[unsafe.Sizeof(logprobGradArgs{})-unsafe.Sizeof(C.struct_logprob_grad{})]
	_ = [1]struct{}{}[unsafe.Sizeof(peakArgs{})-unsafe.Sizeof(C.struct_peak{})]
)

// instructionSets in order of preference. Intel's vector units start a product of pairs of bfloat16 every other cycle, and two of
// float32 every cycle: widening is faster there.
var instructionSets = func() []string {
	names := []string{"avx512bf16", "avx512", "avx2", "base", "go"}
	if cpuid.CPU.VendorID == cpuid.Intel {
		names[0], names[1] = names[1], names[0]
	}
	return names
}()

// cKernels calls the C kernels of one instruction set.
type cKernels struct{ table *C.struct_kernels }

// findKernels gives the kernels for isa, or nil when this machine or this build has none.
func findKernels(isa string) kernels {
	if isa == "go" {
		return goKernels{}
	}
	name := append([]byte(isa), 0)
	if t := C.kernels_find((*C.char)(unsafe.Pointer(&name[0]))); t != nil {
		return cKernels{t}
	}
	return nil
}

func (k cKernels) isa() string  { return C.GoString(k.table.isa) }
func (k cKernels) rowTile() int { return int(k.table.row_tile) }
func (k cKernels) panel() int   { return int(k.table.panel) }
func (k cKernels) pairs() bool  { return k.table.pairs != 0 }

func (k cKernels) pack(a packArgs)           { C.call_pack(k.table, unsafe.Pointer(&a)) }
func (k cKernels) multiply(a multiplyArgs)   { C.call_multiply(k.table, unsafe.Pointer(&a)) }
func (k cKernels) layerNorm(a layerNormArgs) { C.call_layer_norm(k.table, unsafe.Pointer(&a)) }
func (k cKernels) layerNormBackward(a layerNormBackwardArgs) {
	C.call_layer_norm_backward(k.table, unsafe.Pointer(&a))
}
func (k cKernels) splitQKV(a splitQKVArgs)         { C.call_split_qkv(k.table, unsafe.Pointer(&a)) }
func (k cKernels) attend(a attendArgs)             { C.call_attend(k.table, unsafe.Pointer(&a)) }
func (k cKernels) attendTokens(a attendTokensArgs) { C.call_attend_tokens(k.table, unsafe.Pointer(&a)) }
func (k cKernels) attendFinish(a attendFinishArgs) { C.call_attend_finish(k.table, unsafe.Pointer(&a)) }
func (k cKernels) attendBackward(a attendBackwardArgs) {
	C.call_attend_backward(k.table, unsafe.Pointer(&a))
}
func (k cKernels) rowDot(a rowDotArgs)           { C.call_row_dot(k.table, unsafe.Pointer(&a)) }
func (k cKernels) exp(a mapArgs)                 { C.call_exp(k.table, unsafe.Pointer(&a)) }
func (k cKernels) gelu(a mapArgs)                { C.call_gelu(k.table, unsafe.Pointer(&a)) }
func (k cKernels) geluBackward(a mapArgs)        { C.call_gelu_backward(k.table, unsafe.Pointer(&a)) }
func (k cKernels) add(a mapArgs)                 { C.call_add(k.table, unsafe.Pointer(&a)) }
func (k cKernels) copyRows(a copyRowsArgs)       { C.call_copy_rows(k.table, unsafe.Pointer(&a)) }
func (k cKernels) addRows(a addRowsArgs)         { C.call_add_rows(k.table, unsafe.Pointer(&a)) }
func (k cKernels) sumRows(a sumRowsArgs)         { C.call_sum_rows(k.table, unsafe.Pointer(&a)) }
func (k cKernels) sumSquares(a sumSquaresArgs)   { C.call_sum_squares(k.table, unsafe.Pointer(&a)) }
func (k cKernels) adamw(a adamwArgs)             { C.call_adamw(k.table, unsafe.Pointer(&a)) }
func (k cKernels) vocabBlocks(a vocabBlocksArgs) { C.call_vocab_blocks(k.table, unsafe.Pointer(&a)) }
func (k cKernels) vocabMerge(a vocabMergeArgs)   { C.call_vocab_merge(k.table, unsafe.Pointer(&a)) }
func (k cKernels) logprobGrad(a logprobGradArgs) { C.call_logprob_grad(k.table, unsafe.Pointer(&a)) }
func (k cKernels) peak(a *peakArgs)              { C.call_peak(k.table, unsafe.Pointer(a)) }
