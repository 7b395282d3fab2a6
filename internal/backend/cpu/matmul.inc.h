// Matrix products: packing of operands, and a register tile of MR rows by one panel of NR columns.
//
// Every element of a product is one chain of multiply-adds over ascending k, in every tile shape. How rows are cut into tiles
// therefore does not show in the bits.

#define NR (2 * W) // columns of a panel
#ifndef PAIRS
#define PAIRS 0 // whether bfloat16 lies in pairs of neighbours along k; see kernels.h
#endif

// THIRDS is the number of addresses from which all rows of a left operand can be reached that are any distance apart: the processor
// adds once or twice that distance to each.
#define THIRDS ((MR + 2) / 3)

INLINE void transpose(vf x[W]) {
	// log2(W) perfect shuffles of the W rows.
	const vi low = (LANE >> 1) + (LANE & 1) * W, high = low + W / 2;
	for (int s = 1; s < W; s *= 2) {
		vf y[W];
		for (int i = 0; i < W / 2; i++) {
			y[2 * i] = __builtin_shuffle(x[i], x[i + W / 2], low);
			y[2 * i + 1] = __builtin_shuffle(x[i], x[i + W / 2], high);
		}
		for (int i = 0; i < W; i++) x[i] = y[i];
	}
}

// AHEAD is how many rows ahead a straight source is fetched: each lies on a page of its own, beyond what the processor fetches by
// itself.
#define AHEAD 12

#if PAIRS
#include "pairs.inc.h"
#else
#define pack_pairs_panel(p, src, dst, n, width)
#define put_pair(p, src, dst, k, c, n, width)
#endif

// pack_panel writes one panel of a transposed source: n columns, padded with zeros to width.
INLINE void pack_panel(const struct pack *p, const int S, const int D, const char *src, char *dst, int64_t n, int64_t width) {
	for (int64_t c = 0; c < width; c += W)
		for (int64_t k = 0; k < p->k; k += W) {
			vf x[W];
#pragma GCC unroll 16
			for (int i = 0; i < W; i++) x[i] = c + i < n ? get(src, S, (c + i) * p->ld + k, p->k - k) : (vf){0};
			transpose(x);
#pragma GCC unroll 16
			for (int i = 0; i < W; i++)
				if (k + i < p->k) put(dst, D, (k + i) * width + c, width - c, x[i]);
		}
}

// cut gives the width of the panel that starts at column c: full ones and a rest, or balanced ones.
INLINE int64_t cut(int64_t columns, int64_t c, int64_t width, int balanced) {
	if (!balanced) return width;
	int64_t tiles = (columns - c + width - 1) / width; // what is left stays balanced
	return (columns - c + tiles - 1) / tiles;
}

// GROUP is how many panels are written at a time where the source lies as the panels do: each piece of a row is read once then, and
// not a narrow strip of it after the other.
#define GROUP 8

INLINE void pack_group(const struct pack *p, const int S, const int D, const int paired, const char *const *src, char *const *dst,
		       const int64_t *n, const int64_t *width, int count) {
	const int64_t size = S == F32 ? 4 : 2, bytes = src[count - 1] - src[0] + n[count - 1] * size, ahead = AHEAD * p->ld * size;
	for (int64_t k = 0; k < p->k; k += paired ? 2 : 1) {
		for (int64_t i = 0; i < bytes; i += 64)
			for (int r = 0; r < (paired ? 2 : 1); r++) __builtin_prefetch(src[0] + (k + r) * p->ld * size + ahead + i);
		for (int g = 0; g < count; g++)
			for (int64_t c = 0; c < width[g]; c += W) {
				if (paired) put_pair(p, src[g], dst[g], k, c, n[g], width[g]);
				else put(dst[g], D, k * width[g] + c, width[g] - c, get(src[g], S, k * p->ld + c, n[g] - c));
			}
	}
}

// pack_as packs S as D, or as pairs.
INLINE void pack_as(const struct pack *p, const int S, const int D, const int paired) {
	const int64_t ssize = S == F32 ? 4 : 2, depth = (paired ? p->k + (p->k & 1) : p->k) * (D == F32 ? 4 : 2);
	char *to = p->dst;
	for (int64_t c = 0; c < p->columns;) {
		const char *src[GROUP];
		char *dst[GROUP];
		int64_t n[GROUP], width[GROUP];
		int count = 0;
		for (; count < GROUP && c < p->columns; count++) {
			width[count] = cut(p->columns, c, p->width, p->balanced);
			n[count] = p->columns - c < width[count] ? p->columns - c : width[count];
			src[count] = (const char *)p->src + c * ssize * (p->transposed ? p->ld : 1);
			dst[count] = to;
			to += depth * width[count];
			c += width[count];
		}
		if (!p->transposed) {
			pack_group(p, S, D, paired, src, dst, n, width, count);
			continue;
		}
		for (int g = 0; g < count; g++) {
			if (paired) pack_pairs_panel(p, src[g], dst[g], n[g], width[g]);
			else pack_panel(p, S, D, src[g], dst[g], n[g], width[g]);
		}
	}
}

static void pack_(const struct pack *p) {
	if (p->src_type == F32) pack_as(p, F32, F32, 0);
	else if (p->dst_type == F32) pack_as(p, BF16, F32, 0);
	else pack_as(p, BF16, BF16, PAIRS);
}

#if !PAIRS
// right reads W columns of row k of a panel.
INLINE vf right(const void *b, const int T, int64_t k, int64_t column) { return get(b, T, k * NR + column, W); }
#endif

// SOON is how many terms ahead the right operand is fetched from the second-level cache: Intel's processors do not do it in time by
// themselves for lines of their full width.
#define SOON 8

// tile computes c[r][0..NR) for mr rows: a(r, k) is at a[k*ak + r*ar]. With every term it fetches a line of next. far says that ar
// is not known when this is compiled.
INLINE void tile(const int mr, const int far, const int64_t ak, const int64_t ar, const int T, int64_t k, const void *restrict left,
		 const void *restrict b, float *restrict c, int64_t ld, int start, const char *next) {
	const float *a = left, *third[THIRDS];
	const int64_t size = T == F32 ? 4 : 2;
	for (int r = 0; r < mr; r += 3) third[r / 3] = a + r * ar;
	vf acc[MR][2];
#pragma GCC unroll 16
	for (int r = 0; r < mr; r++) {
		acc[r][0] = start ? load(c + r * ld) : (vf){0};
		acc[r][1] = start ? load(c + r * ld + W) : (vf){0};
	}
	for (int64_t i = 0; i < k; i++) {
		__builtin_prefetch(next + i * 64, 0, 2);
		if (W == 16)
			for (int j = 0; j < NR * size; j += 64) __builtin_prefetch((const char *)b + (i + SOON) * NR * size + j);
		vf b0 = right(b, T, i, 0), b1 = right(b, T, i, W);
#pragma GCC unroll 16
		for (int r = 0; r < mr; r++) {
			vf x = all(far ? third[r / 3][r % 3 * ar] : a[r * ar]);
			acc[r][0] = fma_(x, b0, acc[r][0]);
			acc[r][1] = fma_(x, b1, acc[r][1]);
		}
		a += ak;
		for (int i = 0; i < (mr + 2) / 3; i++) third[i] += ak;
	}
#pragma GCC unroll 16
	for (int r = 0; r < mr; r++) {
		store(c + r * ld, acc[r][0]);
		store(c + r * ld + W, acc[r][1]);
	}
}

typedef void tile_fn(int64_t k, const void *restrict a, int64_t a_ld, const void *restrict b, float *restrict c, int64_t ld, int start, const char *next);

// tile_causal adds to c[r][0..NR) the products of a[r*KEYS + i] and row i of a panel, for i below own[r], which never falls; all rows
// have the first k terms.
INLINE void tile_causal(const int mr, int64_t k, const int64_t *own, const float *restrict a, const float *restrict b, float *restrict c, int64_t ld) {
	vf acc[MR][2];
#pragma GCC unroll 16
	for (int r = 0; r < mr; r++) {
		acc[r][0] = load(c + r * ld);
		acc[r][1] = load(c + r * ld + W);
	}
	for (int64_t i = 0; i < k; i++) {
		vf b0 = load(b + i * NR), b1 = load(b + i * NR + W);
#pragma GCC unroll 16
		for (int r = 0; r < mr; r++) {
			vf x = all(a[r * KEYS + i]);
			acc[r][0] = fma_(x, b0, acc[r][0]);
			acc[r][1] = fma_(x, b1, acc[r][1]);
		}
	}
	for (int64_t i = k; i < own[mr - 1]; i++) {
		vf b0 = load(b + i * NR), b1 = load(b + i * NR + W);
#pragma GCC unroll 16
		for (int r = 0; r < mr; r++) {
			const vi seen = (vi){0} - (i < own[r]);
			vf x = all(a[r * KEYS + i]);
			acc[r][0] = blend(seen, fma_(x, b0, acc[r][0]), acc[r][0]);
			acc[r][1] = blend(seen, fma_(x, b1, acc[r][1]), acc[r][1]);
		}
	}
#pragma GCC unroll 16
	for (int r = 0; r < mr; r++) {
		store(c + r * ld, acc[r][0]);
		store(c + r * ld + W, acc[r][1]);
	}
}

typedef void causal_fn(int64_t, const int64_t *, const float *restrict, const float *restrict, float *restrict, int64_t);

#define TILES(mr)																	\
	static void tile_f32_##mr(int64_t k, const void *restrict a, int64_t a_ld, const void *restrict b, float *restrict c, int64_t ld, int s, const char *x) {	\
		tile(mr, 0, mr, 1, F32, k, a, b, c, ld, s, x);											\
	}																		\
	static void tile_bf16_##mr(int64_t k, const void *restrict a, int64_t a_ld, const void *restrict b, float *restrict c, int64_t ld, int s, const char *x) {	\
		tile(mr, 0, mr, 1, BF16, k, a, b, c, ld, s, x);											\
	}																		\
	static void tile_rows_##mr(int64_t k, const void *restrict a, int64_t a_ld, const void *restrict b, float *restrict c, int64_t ld, int s, const char *x) {	\
		tile(mr, 1, 1, a_ld, F32, k, a, b, c, ld, s, x);											\
	}																		\
	static void tile_cols_##mr(int64_t k, const void *restrict a, int64_t a_ld, const void *restrict b, float *restrict c, int64_t ld, int s, const char *x) {	\
		tile(mr, 0, a_ld, 1, F32, k, a, b, c, ld, s, x);											\
	}																		\
	static void tile_causal_##mr(int64_t k, const int64_t *own, const float *restrict a, const float *restrict b, float *restrict c, int64_t ld) {	\
		tile_causal(mr, k, own, a, b, c, ld);													\
	}

TILES(1) TILES(2) TILES(3) TILES(4)
#if MR > 4
TILES(5) TILES(6)
#endif
#if MR > 6
TILES(7) TILES(8) TILES(9) TILES(10) TILES(11) TILES(12) TILES(13) TILES(14)
#endif

#define LIST_4(f) 0, f##1, f##2, f##3, f##4
#if MR == 4
#define LIST(f) {LIST_4(f)}
#elif MR == 6
#define LIST(f) {LIST_4(f), f##5, f##6}
#else
#define LIST(f) {LIST_4(f), f##5, f##6, f##7, f##8, f##9, f##10, f##11, f##12, f##13, f##14}
#endif
static tile_fn *const tiles_f32[MR + 1] = LIST(tile_f32_);
static tile_fn *const tiles_bf16[MR + 1] = LIST(tile_bf16_);
static tile_fn *const tiles_rows[MR + 1] = LIST(tile_rows_);
static tile_fn *const tiles_cols[MR + 1] = LIST(tile_cols_);
static causal_fn *const tiles_causal[MR + 1] = LIST(tile_causal_);
#if PAIRS
static tile_fn *const tiles_dot[MR + 1] = LIST(tile_dot_), *const tiles_dot_rows[MR + 1] = LIST(tile_dot_rows_);
#else
static tile_fn *const *const tiles_dot = 0, *const *const tiles_dot_rows = 0; // not asked for
#endif

// finish stores n columns of mr rows: acc + bias + residual, or y + acc, rounded once.
INLINE void finish(const struct multiply *m, const int Y, const float *acc, int64_t row, int64_t col, int64_t mr, int64_t n) {
	for (int64_t r = 0; r < mr; r++) {
		int64_t at = (row + r) * m->ld + col;
		for (int64_t c = 0; c < n; c += W) {
			vf x = load(acc + r * NR + c);
			if (m->mode == ADD) x = get(m->y, Y, at + c, n - c) + x;
			if (m->bias) x += m->b_type == F32 ? get(m->bias, F32, col + c, n - c) : get(m->bias, BF16, col + c, n - c);
			if (m->residual) x += get(m->residual, Y, at + c, n - c);
			put(m->y, Y, at + c, n - c, x);
		}
	}
}

// fetch asks for what a tile adds to, mr rows of n columns, while the one before is computed.
INLINE void fetch(const struct multiply *m, const char *y, int64_t row, int64_t col, int64_t n) {
	const int64_t size = m->y_type == F32 ? 4 : 2, mr = cut(m->rows, row, MR, 1);
	for (int64_t r = row; r < row + mr; r++)
		for (int64_t c = 0; c < n * size; c += 64) __builtin_prefetch(y + (r * m->ld + col) * size + c, 1);
}

// widen_panel gives k rows of a panel of bfloat16 as float32.
static void widen_panel(float *restrict to, const void *restrict b, int64_t k) {
	for (int64_t i = 0; i < k; i++)
		for (int c = 0; c < NR; c += W) store(to + i * NR + c, right(b, BF16, i, c));
}

static void multiply_(const struct multiply *m) {
	tile_fn *const *tiles = m->layout == A_COLUMNS	    ? tiles_cols
			      : m->layout == A_ROWS	    ? (m->a_type == BF16 ? tiles_dot_rows : tiles_rows)
			      : m->a_type == BF16	    ? tiles_dot
			      : m->b_type == F32 || m->wide ? tiles_f32
							    : tiles_bf16;
	const int64_t asize = m->a_type == F32 ? 4 : 2, bsize = m->b_type == F32 ? 4 : 2;
	const int64_t row = asize * (m->layout == A_ROWS ? m->a_ld : m->layout == A_COLUMNS ? 1 : m->a_type == BF16 ? m->k + (m->k & 1) : m->k); // bytes
	const int plain = m->y_type == F32 && m->mode != ADD && !m->bias && !m->residual;
	float acc[MR * NR] __attribute__((aligned(64)));
	for (int64_t c = 0; c < m->columns; c += NR) {
		const char *b = (const char *)m->b + c / NR * m->panel_stride * bsize;
		const int64_t n = m->columns - c < NR ? m->columns - c : NR, steps = m->a_type == BF16 ? (m->k + 1) / 2 : m->k;
		const char *following = b + m->panel_stride * bsize;
		int64_t fetched = c + NR < m->columns ? 0 : INT64_MAX / 2;
		if (m->wide) {
			widen_panel(m->wide, b, m->k);
			b = (const char *)m->wide;
		}
		for (int64_t r = 0; r < m->rows;) {
			const int64_t mr = cut(m->rows, r, MR, 1);
			const char *a = (const char *)m->a + r * row;
			float *y = (float *)m->y + r * m->ld + c;
			// The first tiles of a panel fetch the next panel, a part each.
			const char *next = fetched < m->k * NR * bsize ? following + fetched : b;
			fetched += 64 * steps;
			if (r + mr < m->rows) fetch(m, m->y, r + mr, c, n);
			if (m->residual && r + mr < m->rows) fetch(m, m->residual, r + mr, c, n);
			if (plain && n == NR) {
				tiles[mr](m->k, a, m->a_ld, b, y, m->ld, m->mode == CONTINUE, next);
			} else {
				if (m->mode == CONTINUE)
					for (int64_t i = 0; i < mr; i++)
						for (int64_t j = 0; j < NR; j += W) store(acc + i * NR + j, get(y, F32, i * m->ld + j, n - j));
				tiles[mr](m->k, a, m->a_ld, b, acc, NR, m->mode == CONTINUE, next);
				if (m->y_type == F32) finish(m, F32, acc, r, c, mr, n);
				else finish(m, BF16, acc, r, c, mr, n);
			}
			r += mr;
		}
	}
}
