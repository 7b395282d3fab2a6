//go:build cgo && unix

// The kernels of the CPU backend: single-threaded, re-entrant and without state. Each works on one tile of an operation; which
// tiles there are and who works on them is decided in Go. The structs mirror those in kernels.go field by field.
//
// Rules that all of them keep, so that a row has the same bits whatever surrounds it:
//   - products are accumulated by one fused multiply-add per term, in ascending order of the summation index (targets without
//     such an instruction multiply, round, add and round);
//   - a sum along a row goes over 16 lanes, element i into lane i mod 16, and the lanes are added in a fixed tree;
//   - bfloat16 is widened when loaded and rounded to nearest even once when stored;
//   - kernels with pairs set multiply bfloat16 by bfloat16 with an instruction that adds two neighbouring terms to a chain at a
//     time: terms 2i and 2i+1 for ascending i, a missing last one being 0. Their bfloat16 panels and tiles are
//     [k/2][width][2], with k rounded up to even.
#ifndef ALFRED_KERNELS_H
#define ALFRED_KERNELS_H

#if !defined(__GNUC__) || defined(__clang__)
#error "the kernels are written for gcc: build with CC=gcc, or with CGO_ENABLED=0 for the slow ones in Go"
#endif

#include <stdint.h>

// Element types, numbered as in package tensor.
enum { F32 = 1, BF16 = 2 };

// How the left operand of multiply is laid out.
enum {
	A_TILES = 0,   // tiles as pack makes them
	A_ROWS = 1,    // a[row*a_ld + k], of the type of b; bfloat16 with an even k
	A_COLUMNS = 2, // a[k*a_ld + row], float32
};

// What multiply does with the product.
enum {
	STORE = 0,    // y = product + bias + residual
	ADD = 1,      // y += product
	CONTINUE = 2, // the chains of multiply-adds start from y, which is float32
};

struct pack {
	const void *src; // transposed: src[column*ld + k], else src[k*ld + column]
	void *dst;       // panels [k][width]
	int64_t ld, k, columns;
	int64_t width;    // columns of one panel
	int32_t src_type, dst_type;
	int32_t transposed;
	int32_t balanced; // widths differ by at most one instead of padding the last panel
};

struct multiply {
	const void *a; // of a_type: float32, or bfloat16 where b is and the kernels have pairs set
	const void *b; // panels [k][panel width], panel_stride elements apart
	void *y;
	const void *bias;     // [columns] of b_type, or null
	const void *residual; // like y, or null
	float *wide;          // room for k rows of a panel, to which panels of bfloat16 are widened before they meet float32, or null
	int64_t k, rows, columns, a_ld, ld, panel_stride;
	int32_t layout, a_type, b_type, y_type, mode;
};

struct layer_norm {
	const void *x, *gamma, *beta;
	void *y;
	float *mean, *rstd;
	int64_t rows, columns;
	double eps;
	int32_t type;
};

struct layer_norm_backward {
	const void *dy, *x, *gamma;
	const float *mean, *rstd;
	void *dx;
	float *dgamma, *dbeta; // overwritten with the sums over these rows
	int64_t rows, columns;
	int32_t type, mode; // dx is stored or added to
};

struct split_qkv {
	void *q, *k, *v, *qkv;
	const float *cos, *sin; // null: no rotation
	const int32_t *positions;
	int64_t rows, heads, groups, dim;
	int32_t type;
	int32_t backward;
};

struct attend {
	float *scores;     // [rows][64] products q·k, overwritten
	const float *v;    // panels [keys][panel width] of the block's values
	const float *bias; // of the first head, or null
	float *m, *l;      // [rows] maximum and sum so far
	float *acc;        // [rows][ld]
	int64_t rows, heads, dim, ld;
	int64_t keys;
	int64_t position, block, bias_ld; // position of row 0, first key of the block
	float scale;
};

struct attend_token {
	const void *q;          // [groups*heads][dim]: the query heads of one token, float32; bfloat16 in whole pairs where kernels multiply those
	const void *k, *v;      // key 0 of the first group is at k[0], rows are ld apart
	const int32_t *table;   // key j is in row table[j/page]*page + j%page, or in row base+j where there is no table
	const float *bias;      // of the first head, or null
	float *m, *l;           // [groups*heads] maximum and sum so far
	float *acc;             // [groups*heads][acc_ld], whole panels
	int64_t groups, heads, dim, ld, acc_ld, keys, page, base, bias_ld; // heads of a group
	float scale;
	int32_t type; // of k and v
};

struct attend_tokens {
	const struct attend_token *tokens;
	int64_t n;
};

struct attend_finish {
	const float *acc, *l;
	void *o; // row r goes to o[(r/heads)*token_ld + (r%heads)*dim]
	int64_t rows, heads, dim, ld, token_ld;
	int32_t type;
};

struct attend_backward {
	float *scores;            // in: q·k, out: p
	float *dp;                // in: do·v, out: ds
	const float *lse, *delta; // of row 0; token_ld apart from token to token
	const float *bias;
	int64_t rows, heads, position, block, bias_ld, token_ld;
	float scale;
};

struct row_dot {
	const void *a, *b;
	float *out;
	int64_t rows, columns;
	int32_t type;
};

struct map {
	void *y;
	const void *a, *b;
	int64_t n;
	int32_t type;
};

struct copy_rows {
	void *dst;
	const void *src;
	int64_t rows, columns, dst_ld, src_ld;
	int32_t dst_type, src_type;
};

struct add_rows {
	void *y;
	const void *x;
	const int32_t *rows;
	int64_t n, y_rows, columns, y_ld, x_ld, first;
	int32_t y_type, x_type;
};

struct sum_rows {
	float *out; // [columns], overwritten
	const void *x;
	int64_t rows, columns, ld;
	int32_t type;
};

struct sum_squares {
	const void *x;
	double *out;
	int64_t n;
	int32_t type;
};

struct adamw {
	void *weight;
	float *master, *m, *v;
	const float *grad;
	int64_t n;
	int32_t type;
	float grad_scale, beta1, beta2, one_minus_beta1, one_minus_beta2;
	float decay, rate, inv_correction2, eps;
};

struct vocab_blocks {
	const float *z; // [rows][ld]
	float *max, *sum, *moment; // [rows][out_ld], one entry for each block of 64
	int64_t rows, columns, ld, out_ld;
	float scale;
};

struct vocab_merge {
	const float *max, *sum, *moment; // [rows][in_ld]
	float *out;                      // [rows][4], the first three are written
	int64_t rows, blocks, in_ld;
};

struct logprob_grad {
	float *z; // in: logits, out: gradient
	const float *lse, *entropy, *dlogp, *dentropy;
	const int32_t *targets;
	int64_t rows, columns, ld, first;
	float scale;
};

struct peak {
	const float *src; // to be read, or null: multiply and add
	int64_t n;        // elements, or rounds
	double work;      // out: bytes, or floating-point operations
	float x, y; // 0 and 1
	int32_t type;
};

struct kernels {
	const char *isa;
	int32_t row_tile, panel, pairs;
	void (*pack)(const struct pack *);
	void (*multiply)(const struct multiply *);
	void (*layer_norm)(const struct layer_norm *);
	void (*layer_norm_backward)(const struct layer_norm_backward *);
	void (*split_qkv)(const struct split_qkv *);
	void (*attend)(const struct attend *);
	void (*attend_tokens)(const struct attend_tokens *);
	void (*attend_finish)(const struct attend_finish *);
	void (*attend_backward)(const struct attend_backward *);
	void (*row_dot)(const struct row_dot *);
	void (*exp)(const struct map *);
	void (*gelu)(const struct map *);
	void (*gelu_backward)(const struct map *);
	void (*add)(const struct map *);
	void (*copy_rows)(const struct copy_rows *);
	void (*add_rows)(const struct add_rows *);
	void (*sum_rows)(const struct sum_rows *);
	void (*sum_squares)(const struct sum_squares *);
	void (*adamw)(const struct adamw *);
	void (*vocab_blocks)(const struct vocab_blocks *);
	void (*vocab_merge)(const struct vocab_merge *);
	void (*logprob_grad)(const struct logprob_grad *);
	void (*peak)(struct peak *);
};

// kernels_find gives the kernels of an instruction set if this machine has it, else null.
const struct kernels *kernels_find(const char *isa);

#endif
