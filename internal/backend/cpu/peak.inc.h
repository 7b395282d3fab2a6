// The most that the processor can do: multiply-adds that need nothing but registers, and reading without doing anything else.

#define CHAINS 12 // more than latency times units

static void peak_f32(struct peak *p) {
	vf acc[CHAINS], x = all(p->x), y = all(p->y), sum = {0};
	for (int j = 0; j < CHAINS; j++) acc[j] = x;
	for (int64_t i = 0; i < p->n; i++)
#pragma GCC unroll 12
		for (int j = 0; j < CHAINS; j++) acc[j] = fma_(acc[j], y, x);
	for (int j = 0; j < CHAINS; j++) sum += acc[j];
	p->x = sum[0];
	p->work = 2.0 * W * CHAINS * p->n;
}

#if PAIRS
static void peak_bf16(struct peak *p) {
	vf acc[CHAINS], sum = {0};
	const __m512bh x = (__m512bh)_mm512_set1_epi32((int32_t)p->x), y = (__m512bh)_mm512_set1_epi32((int32_t)p->y);
	for (int j = 0; j < CHAINS; j++) acc[j] = all(p->x);
	for (int64_t i = 0; i < p->n; i++)
#pragma GCC unroll 12
		for (int j = 0; j < CHAINS; j++) acc[j] = (vf)_mm512_dpbf16_ps((__m512)acc[j], x, y);
	for (int j = 0; j < CHAINS; j++) sum += acc[j];
	p->x = sum[0];
	p->work = 4.0 * W * CHAINS * p->n;
}
#else
#define peak_bf16 peak_f32 // bfloat16 is widened
#endif

static void peak_read(struct peak *p) {
	vf acc[CHAINS] = {{0}}, sum = {0};
	for (int64_t i = 0; i + CHAINS * W <= p->n; i += CHAINS * W)
#pragma GCC unroll 12
		for (int j = 0; j < CHAINS; j++) acc[j] += load(p->src + i + j * W);
	for (int j = 0; j < CHAINS; j++) sum += acc[j];
	p->x = sum[0];
	p->work = 4.0 * (p->n - p->n % (CHAINS * W));
}

static void peak_(struct peak *p) {
	if (p->src) peak_read(p);
	else if (p->type == F32) peak_f32(p);
	else peak_bf16(p);
}
