// Products of bfloat16 in pairs: panels and tiles are [k/2][width][2], and one instruction adds the products of both numbers of a
// pair to a chain, after which it rounds. Subnormal numbers count as 0 in it.

typedef vi vi_any __attribute__((aligned(2), may_alias));
typedef int32_t pair __attribute__((aligned(2), may_alias));

// pairs_from loads up to W pairs that lie next to each other from element i on, of which left elements exist.
INLINE vi pairs_from(const uint16_t *p, int64_t i, int64_t left) {
	if (left >= 2 * W) return *(const vi_any *)(p + i);
	return (vi)_mm512_maskz_loadu_epi16(left <= 0 ? 0 : 0xffffffffu >> (2 * W - left), p + i);
}

// pairs_of joins the elements of two rows to pairs.
INLINE vi pairs_of(const uint16_t *even, const uint16_t *odd, int64_t left) {
	vu low = longer(halves(even, left)), high = {0};
	if (odd) high = longer(halves(odd, left));
	return (vi)(low | high << 16);
}

// put_pairs stores the pairs of n columns.
INLINE void put_pairs(int32_t *to, int64_t n, vi x) {
	if (n >= W) *(vi_any *)to = x;
	else _mm512_mask_storeu_epi32(to, first_lanes(n), (__m512i)x);
}

// put_pair packs rows k and k+1 of a straight source, from column c on.
INLINE void put_pair(const struct pack *p, const char *src, char *dst, int64_t k, int64_t c, int64_t n, int64_t width) {
	const uint16_t *even = (const uint16_t *)src + k * p->ld + c;
	put_pairs((int32_t *)dst + k / 2 * width + c, width - c, pairs_of(even, k + 1 < p->k ? even + p->ld : 0, n - c));
}

// pack_pairs_panel writes one panel of a transposed source: n columns, padded with zeros to width.
INLINE void pack_pairs_panel(const struct pack *p, const char *src, char *dst, int64_t n, int64_t width) {
	for (int64_t c = 0; c < width; c += W)
		for (int64_t k = 0; k < p->k; k += 2 * W) {
			vf x[W];
#pragma GCC unroll 16
			for (int i = 0; i < W; i++)
				x[i] = c + i < n ? (vf)pairs_from((const uint16_t *)src + (c + i) * p->ld, k, p->k - k) : (vf){0};
			transpose(x);
#pragma GCC unroll 16
			for (int i = 0; i < W; i++)
				if (k + 2 * i < p->k) put_pairs((int32_t *)dst + (k / 2 + i) * width + c, width - c, (vi)x[i]);
		}
}

// right reads W columns of row k of a panel.
INLINE vf right(const void *b, const int T, int64_t k, int64_t column) {
	if (T == F32) return load((const float *)b + k * NR + column);
	vi x = *(const vi_any *)((const int32_t *)b + (k / 2) * NR + column);
	return (vf)(k & 1 ? x & (int32_t)0xffff0000 : x << 16);
}

// tile_dot computes c[r][0..NR) for mr rows of bfloat16: pair i of row r is at a[2*(i*mr + r)], or at a[2*i + r*ar] where the rows lie
// far apart; see tile.
INLINE void tile_dot(const int mr, const int far, int64_t ar, int64_t k, const void *restrict left, const void *restrict b, float *restrict c,
		     int64_t ld, int start, const char *next) {
	const uint16_t *a = left, *third[THIRDS];
	for (int r = 0; r < mr; r += 3) third[r / 3] = a + r * ar;
	vf acc[MR][2];
#pragma GCC unroll 16
	for (int r = 0; r < mr; r++) {
		acc[r][0] = start ? load(c + r * ld) : (vf){0};
		acc[r][1] = start ? load(c + r * ld + W) : (vf){0};
	}
	for (int64_t i = 0; i < (k + 1) / 2; i++) {
		__builtin_prefetch(next + i * 64, 0, 2);
		const int32_t *at = (const int32_t *)b + i * NR;
		__m512bh b0 = (__m512bh)_mm512_loadu_si512(at), b1 = (__m512bh)_mm512_loadu_si512(at + W);
#pragma GCC unroll 16
		for (int r = 0; r < mr; r++) {
			__m512bh x = (__m512bh)_mm512_set1_epi32(*(const pair *)(far ? third[r / 3] + r % 3 * ar : a + 2 * r));
			acc[r][0] = (vf)_mm512_dpbf16_ps((__m512)acc[r][0], x, b0);
			acc[r][1] = (vf)_mm512_dpbf16_ps((__m512)acc[r][1], x, b1);
		}
		a += 2 * mr;
		for (int t = 0; t < (mr + 2) / 3; t++) third[t] += 2;
	}
#pragma GCC unroll 16
	for (int r = 0; r < mr; r++) {
		store(c + r * ld, acc[r][0]);
		store(c + r * ld + W, acc[r][1]);
	}
}

#define TILE_DOT(mr)																	\
	static void tile_dot_##mr(int64_t k, const void *restrict a, int64_t a_ld, const void *restrict b, float *restrict c, int64_t ld, int s, const char *x) {	\
		tile_dot(mr, 0, 2, k, a, b, c, ld, s, x);												\
	}																		\
	static void tile_dot_rows_##mr(int64_t k, const void *restrict a, int64_t a_ld, const void *restrict b, float *restrict c, int64_t ld, int s, const char *x) {	\
		tile_dot(mr, 1, a_ld, k, a, b, c, ld, s, x);												\
	}
TILE_DOT(1) TILE_DOT(2) TILE_DOT(3) TILE_DOT(4) TILE_DOT(5) TILE_DOT(6) TILE_DOT(7)
TILE_DOT(8) TILE_DOT(9) TILE_DOT(10) TILE_DOT(11) TILE_DOT(12) TILE_DOT(13) TILE_DOT(14)
