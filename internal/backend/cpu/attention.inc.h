// Attention over one block of 64 keys. A row is one query head of one token; the rows of a tile are those of `heads` query
// heads that share a key head, token after token. Keys are counted from the block's first key; row r sees `limit` of them.
// Forward, keys beyond the limit add nothing to a row, not even where their values are NaN; whether there are any that no row sees
// makes no difference. Backward, they add 0 times what they hold.

INLINE int64_t limit_of(int64_t position, int64_t block, int64_t row, int64_t heads) {
	int64_t n = position + row / heads - block + 1;
	return n < 0 ? 0 : n > KEYS ? KEYS : n;
}

// score is (q·k + bias)·scale for keys j to j+W, of which left are visible.
INLINE vf score(const float *s, const float *bias, int64_t j, int64_t left, float scale) {
	vf x = load(s + j);
	if (bias) x += get(bias, F32, j, left);
	return x * scale;
}

// attend_softmax turns the scores of a row into exp(s - m) with the running maximum m, and rescales what was summed before
// (Milakov and Gimelshein, arXiv:1805.02867).
INLINE void attend_softmax(const struct attend *a, int64_t row, int64_t limit) {
	float *s = a->scores + row * KEYS;
	const float *bias = a->bias ? a->bias + row % a->heads * a->bias_ld + a->block : 0;
	const vf lowest = all(-__builtin_inff());
	vf x[KEYS / W], m[NV], sum[NV];
	for (int j = 0; j < NV; j++) m[j] = lowest, sum[j] = (vf){0};
	for (int i = 0; i < KEYS / W; i++) {
		x[i] = blend(first_of(limit - i * W), score(s, bias, i * W, limit - i * W, a->scale), lowest);
		m[i % NV] = max_(x[i], m[i % NV]);
	}
	const float before = a->m[row], block = max16(m), now = block > before ? block : before;
	for (int i = 0; i < KEYS / W; i++) {
		vf p = exp_(x[i] - now);
		sum[i % NV] += p;
		store(s + i * W, p);
	}
	a->m[row] = now;
	if (before == now) {
		a->l[row] += sum16(sum); // as below with keep = e^0, which is exactly 1
		return;
	}
	const float keep = exp1(before - now);
	a->l[row] = fma1(a->l[row], keep, sum16(sum));
	float *acc = a->acc + row * a->ld;
	for (int64_t c = 0; c < a->ld; c += W) store(acc + c, load(acc + c) * keep);
}

static void attend_(const struct attend *a) {
	int64_t first = 0;
	while (first < a->rows && limit_of(a->position, a->block, first, a->heads) == 0) first++;
	for (int64_t r = first; r < a->rows; r++) attend_softmax(a, r, limit_of(a->position, a->block, r, a->heads));
	for (int64_t c = 0; c < a->dim; c += NR) {
		const float *v = a->v + c * a->keys;
		for (int64_t r = first; r < a->rows;) {
			const int64_t mr = cut(a->rows, r, MR, 1);
			int64_t own[MR];
			for (int64_t i = 0; i < mr; i++) own[i] = limit_of(a->position, a->block, r + i, a->heads);
			tiles_causal[mr](own[0], own, a->scores + r * KEYS, v, a->acc + r * a->ld + c, a->ld);
			r += mr;
		}
	}
}

INLINE void attend_finish_as(const struct attend_finish *a, const int T) {
	for (int64_t r = 0; r < a->rows; r++) {
		const float inverse = 1.0f / a->l[r];
		const int64_t at = r / a->heads * a->token_ld + r % a->heads * a->dim;
		for (int64_t c = 0; c < a->dim; c += W) put(a->o, T, at + c, a->dim - c, load(a->acc + r * a->ld + c) * inverse);
	}
}

static void attend_finish_(const struct attend_finish *a) {
	if (a->type == F32) attend_finish_as(a, F32);
	else attend_finish_as(a, BF16);
}

// p = exp(s - lse) and ds = p·(dp - delta)·scale, both 0 for keys that a row does not see.
static void attend_backward_(const struct attend_backward *a) {
	for (int64_t r = 0; r < a->rows; r++) {
		const int64_t limit = limit_of(a->position, a->block, r, a->heads);
		const int64_t at = r / a->heads * a->token_ld + r % a->heads;
		const float *bias = a->bias ? a->bias + r % a->heads * a->bias_ld + a->block : 0;
		float *s = a->scores + r * KEYS, *dp = a->dp + r * KEYS;
		for (int i = 0; i < KEYS; i += W) {
			const vi seen = first_of(limit - i);
			vf p = exp_(score(s, bias, i, limit - i, a->scale) - a->lse[at]);
			vf ds = p * (load(dp + i) - a->delta[at]) * a->scale;
			store(s + i, blend(seen, p, (vf){0}));
			store(dp + i, blend(seen, ds, (vf){0}));
		}
	}
}

INLINE void row_dot_as(const struct row_dot *d, const int T) {
	for (int64_t r = 0; r < d->rows; r++) {
		vf sum[NV];
		for (int j = 0; j < NV; j++) sum[j] = (vf){0};
		for (int64_t c = 0; c < d->columns; c += 16)
			for (int j = 0; j < NV; j++) {
				const int64_t i = c + j * W, at = r * d->columns + i, left = d->columns - i;
				sum[j] = fma_(get(d->a, T, at, left), get(d->b, T, at, left), sum[j]);
			}
		d->out[r] = sum16(sum);
	}
}

static void row_dot_(const struct row_dot *d) {
	if (d->type == F32) row_dot_as(d, F32);
	else row_dot_as(d, BF16);
}
