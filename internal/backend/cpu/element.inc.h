// Operations on single elements and sums over rows.

static void exp_all(const struct map *m) {
	for (int64_t i = 0; i < m->n; i += W) put(m->y, F32, i, m->n - i, exp_(get(m->a, F32, i, m->n - i)));
}

// upper_tail is 1 - Φ(a) for a >= 0, and gives e^(-a²/2) besides. (1 - Φ(a))·e^(a²/2) is smooth and falls slowly; it is taken as
// p(a)/q(a), the minimax rational function of degrees 4 and 5 on [0, 13.3] (Remez, relative error 5.0e-9). All coefficients are
// positive, so nothing cancels, and the tail keeps its relative accuracy, which (1+erf)/2 loses. a² is taken exactly, in two
// parts. Compared with float64 on all float32 numbers, Φ is off by at most 7.1 ulp where it is not subnormal, gelu by 7 ulp for
// x >= -12.5 (where it is -5e-35), and the derivative of gelu by 1.6e-7.
INLINE vf upper_tail(vf a, vf *e) {
	a = min_(a, all(30.0f)); // e^(-450) is 0 already; keeps Inf out
	vf h = (vf)((vi)a & (int32_t)0xfffff000);
	*e = exp_sum(h * h * -0.5f, (a - h) * (a + h) * -0.5f);
	vf p = fma_(a, all(0.00402018753811717f), all(0.03998414799571037f));
	p = fma_(p, a, all(0.18130668997764587f));
	p = fma_(p, a, all(0.4356862008571625f));
	p = fma_(p, a, all(0.5f));
	vf q = fma_(a, all(0.010076972655951977f), all(0.10023277997970581f));
	q = fma_(q, a, all(0.464380145072937f));
	q = fma_(q, a, all(1.1944838762283325f));
	q = fma_(q, a, all(1.669257402420044f));
	q = fma_(q, a, all(1.0f));
	return *e * (p / q);
}

// normal_cdf is Φ(x) and gives e^(-x²/2) besides.
INLINE vf normal_cdf(vf x, vf *e) {
	vf q = upper_tail(abs_(x), e);
	return blend(x > 0.0f, 1.0f - q, q);
}

INLINE void gelu_as(const struct map *m, const int T) {
	for (int64_t i = 0; i < m->n; i += W) {
		vf e, x = get(m->a, T, i, m->n - i);
		put(m->y, T, i, m->n - i, x * normal_cdf(x, &e));
	}
}

static void gelu_(const struct map *m) {
	if (m->type == F32) gelu_as(m, F32);
	else gelu_as(m, BF16);
}

// y = a·(Φ(b) + b·φ(b))
INLINE void gelu_backward_as(const struct map *m, const int T) {
	for (int64_t i = 0; i < m->n; i += W) {
		const int64_t left = m->n - i;
		vf e, x = get(m->b, T, i, left);
		vf cdf = normal_cdf(x, &e);
		vf slope = fma_(x * 0.3989422804014327f, e, cdf); // 1/√(2π)
		put(m->y, T, i, left, get(m->a, T, i, left) * slope);
	}
}

static void gelu_backward_(const struct map *m) {
	if (m->type == F32) gelu_backward_as(m, F32);
	else gelu_backward_as(m, BF16);
}

INLINE void add_as(const struct map *m, const int T) {
	for (int64_t i = 0; i < m->n; i += W) {
		const int64_t left = m->n - i;
		put(m->y, T, i, left, get(m->a, T, i, left) + get(m->b, T, i, left));
	}
}

static void add_(const struct map *m) {
	if (m->type == F32) add_as(m, F32);
	else add_as(m, BF16);
}

INLINE void copy_rows_as(const struct copy_rows *c, const int D, const int S) {
	for (int64_t r = 0; r < c->rows; r++)
		for (int64_t i = 0; i < c->columns; i += W) {
			const int64_t left = c->columns - i;
			put(c->dst, D, r * c->dst_ld + i, left, get(c->src, S, r * c->src_ld + i, left));
		}
}

static void copy_rows_(const struct copy_rows *c) {
	if (c->dst_type == F32 && c->src_type == F32) copy_rows_as(c, F32, F32);
	else if (c->dst_type == F32) copy_rows_as(c, F32, BF16);
	else if (c->src_type == F32) copy_rows_as(c, BF16, F32);
	else copy_rows_as(c, BF16, BF16);
}

INLINE void add_rows_as(const struct add_rows *a, const int Y, const int X) {
	for (int64_t n = 0; n < a->n; n++) {
		const int64_t row = a->rows[n] - a->first;
		if (row < 0 || row >= a->y_rows) continue;
		for (int64_t i = 0; i < a->columns; i += W) {
			const int64_t left = a->columns - i, at = row * a->y_ld + i;
			put(a->y, Y, at, left, get(a->y, Y, at, left) + get(a->x, X, n * a->x_ld + i, left));
		}
	}
}

static void add_rows_(const struct add_rows *a) {
	if (a->y_type == F32 && a->x_type == F32) add_rows_as(a, F32, F32);
	else if (a->y_type == F32) add_rows_as(a, F32, BF16);
	else if (a->x_type == F32) add_rows_as(a, BF16, F32);
	else add_rows_as(a, BF16, BF16);
}

INLINE void sum_rows_as(const struct sum_rows *s, const int T) {
	for (int64_t c = 0; c < s->columns; c += W) {
		const int64_t left = s->columns - c;
		vf sum = {0};
		for (int64_t r = 0; r < s->rows; r++) sum += get(s->x, T, r * s->ld + c, left);
		put(s->out, F32, c, left, sum);
	}
}

static void sum_rows_(const struct sum_rows *s) {
	if (s->type == F32) sum_rows_as(s, F32);
	else sum_rows_as(s, BF16);
}

// sum_squares adds in float64, element i into lane i mod 16.
INLINE void sum_squares_as(const struct sum_squares *s, const int T) {
	typedef double vd __attribute__((vector_size(8 * W)));
	vd sum[NV];
	double t[16];
	for (int j = 0; j < NV; j++) sum[j] = (vd){0};
	for (int64_t i = 0; i < s->n; i += 16)
		for (int j = 0; j < NV; j++) {
			vd x = __builtin_convertvector(get(s->x, T, i + j * W, s->n - i - j * W), vd);
			sum[j] += x * x;
		}
	memcpy(t, sum, sizeof t);
	for (int w = 8; w > 0; w /= 2)
		for (int i = 0; i < w; i++) t[i] += t[i + w];
	*s->out = t[0];
}

static void sum_squares_(const struct sum_squares *s) {
	if (s->type == F32) sum_squares_as(s, F32);
	else sum_squares_as(s, BF16);
}

INLINE void adamw_as(const struct adamw *a, const int T) {
	for (int64_t i = 0; i < a->n; i += W) {
		const int64_t left = a->n - i;
		vf g = get(a->grad, F32, i, left) * a->grad_scale;
		vf w = get(a->master, F32, i, left);
		w = fma_(w, all(-a->decay), w);
		vf m = fma_(g, all(a->one_minus_beta1), get(a->m, F32, i, left) * a->beta1);
		vf v = fma_(g * g, all(a->one_minus_beta2), get(a->v, F32, i, left) * a->beta2);
		w -= m * a->rate / (sqrt_(v * a->inv_correction2) + a->eps);
		put(a->m, F32, i, left, m);
		put(a->v, F32, i, left, v);
		put(a->master, F32, i, left, w);
		if (a->weight != a->master) put(a->weight, T, i, left, w);
	}
}

static void adamw_(const struct adamw *a) {
	if (a->type == F32) adamw_as(a, F32);
	else adamw_as(a, BF16);
}
