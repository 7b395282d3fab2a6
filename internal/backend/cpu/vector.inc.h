// Vectors of W floats and the few operations on them that differ between targets. W is 16, 8 or 4; sums along rows always go
// over 16 lanes, NV = 16/W vectors, so that the result does not depend on W.

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define NV (16 / W)
#define KEYS 64 // keys of an attention block, entries of a vocabulary block

typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));
typedef uint32_t vu __attribute__((vector_size(4 * W)));
typedef uint16_t vh __attribute__((vector_size(2 * W)));
typedef float vf_any __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef uint16_t vh_any __attribute__((vector_size(2 * W), aligned(2), may_alias));

// LANE numbers the lanes. It is written out because the compiler does not fold a loop that fills it.
#if W == 16
#define LANE ((vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#elif W == 8
#define LANE ((vi){0, 1, 2, 3, 4, 5, 6, 7})
#else
#define LANE ((vi){0, 1, 2, 3})
#endif

INLINE vf load(const float *p) { return *(const vf_any *)p; }
INLINE void store(float *p, vf x) { *(vf_any *)p = x; }
INLINE vf all(float x) { return x - (vf){0}; }

// longer and shorter widen lanes to 32 bits and cut them to 16. Left to itself, the compiler does it by halves of a vector.
#if defined(ISA_AVX512)
#include <immintrin.h>
INLINE vf fma_(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE vf max_(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vf sqrt_(vf a) { return (vf)_mm512_sqrt_ps((__m512)a); }
INLINE vi select_(vi m, vi a, vi b) { return (vi)_mm512_ternarylogic_epi32((__m512i)m, (__m512i)a, (__m512i)b, 0xCA); }
INLINE __mmask16 first_lanes(int64_t n) { return n <= 0 ? 0 : (__mmask16)(0xffff >> (n >= 16 ? 0 : 16 - n)); }
INLINE vf load_part(const float *p, int64_t n) { return (vf)_mm512_maskz_loadu_ps(first_lanes(n), p); }
INLINE void store_part(float *p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), (__m512)x); }
INLINE vh load_half(const uint16_t *p, int64_t n) { return (vh)_mm256_maskz_loadu_epi16(first_lanes(n), p); }
INLINE void store_half(uint16_t *p, vh x, int64_t n) { _mm256_mask_storeu_epi16(p, first_lanes(n), (__m256i)x); }
INLINE vu longer(vh h) { return (vu)_mm512_cvtepu16_epi32((__m256i)h); }
INLINE vh shorter(vu x) { return (vh)_mm512_cvtepi32_epi16((__m512i)x); }
#else
#if defined(ISA_AVX2)
#include <immintrin.h>
INLINE vf fma_(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE vf max_(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vf sqrt_(vf a) { return (vf)_mm256_sqrt_ps((__m256)a); }
INLINE vu longer(vh h) { return (vu)_mm256_cvtepu16_epi32((__m128i)h); }
#else
INLINE vf fma_(vf a, vf b, vf c) { return a * b + c; }
INLINE vu longer(vh h) { return __builtin_convertvector(h, vu); }
INLINE vf max_(vf a, vf b) {
	vi m = a > b;
	return (vf)((m & (vi)a) | (~m & (vi)b));
}
#if defined(__SSE2__)
#include <emmintrin.h>
INLINE vf sqrt_(vf a) { return (vf)_mm_sqrt_ps((__m128)a); }
#else
INLINE vf sqrt_(vf a) {
	for (int i = 0; i < W; i++) a[i] = __builtin_sqrtf(a[i]);
	return a;
}
#endif
#endif
INLINE vi select_(vi m, vi a, vi b) { return (m & a) | (~m & b); }
INLINE vh shorter(vu x) { return __builtin_convertvector(x, vh); }
INLINE vf load_part(const float *p, int64_t n) {
	vf x = {0};
	for (int64_t i = 0; i < n; i++) x[i] = p[i];
	return x;
}
INLINE void store_part(float *p, vf x, int64_t n) {
	for (int64_t i = 0; i < n; i++) p[i] = x[i];
}
INLINE vh load_half(const uint16_t *p, int64_t n) {
	vh x = {0};
	for (int64_t i = 0; i < n; i++) x[i] = p[i];
	return x;
}
INLINE void store_half(uint16_t *p, vh x, int64_t n) {
	for (int64_t i = 0; i < n; i++) p[i] = x[i];
}
#endif

#if defined(ISA_AVX512) || defined(ISA_AVX2)
INLINE float fma1(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
INLINE float fma1(float a, float b, float c) { return a * b + c; }
#endif

INLINE vf min_(vf a, vf b) { return -max_(-a, -b); }
INLINE vf widen(vh h) { return (vf)(longer(h) << 16); }
INLINE vf blend(vi m, vf a, vf b) { return (vf)select_(m, (vi)a, (vi)b); }
INLINE vf abs_(vf a) { return (vf)((vi)a & 0x7fffffff); }

// first_of is a mask of the first n lanes.
INLINE vi first_of(int64_t n) { return LANE < (int32_t)(n < 0 ? 0 : n > W ? W : n); }

// narrow rounds to bfloat16, ties to even; NaN stays NaN.
INLINE vh narrow(vf x) {
	vu bits = (vu)x;
	vu rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
	vu nan = (bits >> 16) | 0x40;
	return shorter((vu)select_(x != x, (vi)nan, (vi)rounded));
}

// halves reads up to W elements of 16 bits, of which left exist; the others are 0.
INLINE vh halves(const uint16_t *p, int64_t left) {
	if (left >= W) return *(const vh_any *)p;
	return load_half(p, left);
}

// get reads up to W elements of type T from element i on, of which left exist; the others are 0.
INLINE vf get(const void *p, const int T, int64_t i, int64_t left) {
	if (T == F32) {
		const float *f = (const float *)p + i;
		return left >= W ? load(f) : load_part(f, left);
	}
	return widen(halves((const uint16_t *)p + i, left));
}

// put writes what get reads.
INLINE void put(void *p, const int T, int64_t i, int64_t left, vf x) {
	if (T == F32) {
		float *f = (float *)p + i;
		if (left >= W) store(f, x);
		else store_part(f, x, left);
		return;
	}
	uint16_t *h = (uint16_t *)p + i;
	if (left >= W) *(vh_any *)h = narrow(x);
	else store_half(h, narrow(x), left);
}

// rolled turns the lanes by s: lane i gets lane i+s.
INLINE vf rolled(vf x, const int s) { return __builtin_shuffle(x, (LANE + s) & (W - 1)); }

// sum16 adds the 16 lanes in a fixed tree: i and i+8, then i and i+4, and so on.
INLINE float sum16(const vf lanes[NV]) {
	vf x[NV];
	for (int j = 0; j < NV; j++) x[j] = lanes[j];
	for (int n = NV / 2; n > 0; n /= 2)
		for (int j = 0; j < n; j++) x[j] += x[j + n];
	vf t = x[0];
#pragma GCC unroll 4
	for (int s = W / 2; s > 0; s /= 2) t += rolled(t, s);
	return t[0];
}

// max16 is the largest of 16 lanes; its order does not matter.
INLINE float max16(const vf x[NV]) {
	vf t = x[0];
	for (int j = 1; j < NV; j++) t = max_(t, x[j]);
#pragma GCC unroll 4
	for (int s = W / 2; s > 0; s /= 2) t = max_(t, rolled(t, s));
	return t[0];
}

// exp_sum is e^(hi+lo) for |lo| much smaller than |hi|: Cody and Waite's reduction to |r| <= ln2/2, then
// 1 + r + r²·q(r) with the minimax q of degree 4 (Remez on |r| <= 1.002·ln2/2, relative error of the whole 3.1e-9).
// Below -87.33 the result is 0, above 88.7228 it is Inf; NaN stays NaN. Between the two the error is at most 1.02 ulp (all
// float32 numbers compared with float64).
INLINE vf exp_sum(vf hi, vf lo) {
	const float shift = 12582912.0f; // 1.5·2²³: adding it rounds to an integer
	vf x = hi + lo;
	vf t = fma_(x, all(1.44269504088896341f), all(shift));
	vu n = (vu)t - (vu)all(shift); // unsigned: of numbers that are selected away below it wraps
	vf k = t - shift;
	vf r = fma_(k, all(-0x1.62e4p-1f), hi) + lo; // the upper 15 bits of ln 2: k times it is exact
	r = fma_(k, all(-0x1.7f7d1cp-20f), r);
	vf q = fma_(r, all(0x1.6a2256p-10f), all(0x1.123b02p-7f));
	q = fma_(q, r, all(0x1.5558f8p-5f));
	q = fma_(q, r, all(0x1.55549p-3f));
	q = fma_(q, r, all(0x1.fffffcp-2f));
	vf p = fma_(r * r, q, r) + 1.0f;
	vi bits = (vi)((vu)p + (n << 23));
	bits = select_(x < -87.33f, (vi){0}, bits);
	bits = select_(x > 88.7228f, (vi)all(__builtin_inff()), bits);
	return (vf)select_(x != x, (vi)x, bits);
}

INLINE vf exp_(vf x) { return exp_sum(x, (vf){0}); }

INLINE float exp1(float x) { return exp_(all(x))[0]; }
INLINE float sqrt1(float x) { return sqrt_(all(x))[0]; }
