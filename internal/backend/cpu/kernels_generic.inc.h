// All kernels for one target. The including file sets ISA, W, MR and the target options. -std=c11 keeps the compiler from fusing
// multiplications and additions by itself: which ones are fused is written out.

#include "kernels.h"
#include "vector.inc.h"

#include "matmul.inc.h"

#include "attention.inc.h"
#include "attention_token.inc.h"
#include "element.inc.h"
#include "layernorm.inc.h"
#include "logprob.inc.h"
#include "peak.inc.h"
#include "qkv.inc.h"

const struct kernels KERNELS = {
	.isa = ISA,
	.row_tile = MR,
	.panel = NR,
	.pairs = PAIRS,
	.pack = pack_,
	.multiply = multiply_,
	.layer_norm = layer_norm_,
	.layer_norm_backward = layer_norm_backward_,
	.split_qkv = split_qkv_,
	.attend = attend_,
	.attend_tokens = attend_tokens_,
	.attend_finish = attend_finish_,
	.attend_backward = attend_backward_,
	.row_dot = row_dot_,
	.exp = exp_all,
	.gelu = gelu_,
	.gelu_backward = gelu_backward_,
	.add = add_,
	.copy_rows = copy_rows_,
	.add_rows = add_rows_,
	.sum_rows = sum_rows_,
	.sum_squares = sum_squares_,
	.adamw = adamw_,
	.vocab_blocks = vocab_blocks_,
	.vocab_merge = vocab_merge_,
	.logprob_grad = logprob_grad_,
	.peak = peak_,
};
