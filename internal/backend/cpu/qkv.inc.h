// Cutting fused projections into heads, with rotary embedding, and back.

// rotate turns a head by the angles of its position, or by their negatives: y = the turned x.
INLINE void rotate(const int T, void *y, int64_t ya, const void *x, int64_t xa, int64_t dim, const float *cos, const float *sin, float sign) {
	const int64_t half = dim / 2;
	for (int64_t c = 0; c < half; c += W) {
		const int64_t left = half - c;
		vf a = get(x, T, xa + c, left), b = get(x, T, xa + half + c, left);
		vf co = get(cos, F32, c, left), si = get(sin, F32, c, left) * sign;
		vf u = fma_(-b, si, a * co), v = fma_(a, si, b * co);
		put(y, T, ya + c, left, u);
		put(y, T, ya + half + c, left, v);
	}
}

INLINE void move(const int T, void *y, int64_t ya, const void *x, int64_t xa, int64_t dim) {
	for (int64_t c = 0; c < dim; c += W) put(y, T, ya + c, dim - c, get(x, T, xa + c, dim - c));
}

INLINE void split_qkv_as(const struct split_qkv *s, const int T) {
	const int64_t each = s->heads / s->groups, half = s->dim / 2;
	for (int64_t n = 0; n < s->rows; n++) {
		const float *cos = 0, *sin = 0;
		if (s->cos) {
			cos = s->cos + s->positions[n] * half;
			sin = s->sin + s->positions[n] * half;
		}
		int64_t at = n * (s->heads + 2 * s->groups) * s->dim;
		for (int64_t g = 0; g < s->groups; g++)
			for (int64_t i = 0; i < each + 2; i++, at += s->dim) {
				void *p = i < each ? s->q : i == each ? s->k : s->v;
				const int64_t head = i < each ? (n * s->heads + g * each + i) * s->dim : (n * s->groups + g) * s->dim;
				const int turn = s->cos && i <= each;
				if (s->backward) {
					if (turn) rotate(T, s->qkv, at, p, head, s->dim, cos, sin, -1.0f);
					else move(T, s->qkv, at, p, head, s->dim);
				} else {
					if (turn) rotate(T, p, head, s->qkv, at, s->dim, cos, sin, 1.0f);
					else move(T, p, head, s->qkv, at, s->dim);
				}
			}
	}
}

static void split_qkv_(const struct split_qkv *s) {
	if (s->type == F32) split_qkv_as(s, F32);
	else split_qkv_as(s, BF16);
}
