// Log-softmax over the vocabulary in blocks of 64 entries.

// origin is what logits are taken relative to, their maximum; 0 where all are -Inf, so that e^(z-origin) is 0 and not NaN.
INLINE float origin(float top) { return top == -__builtin_inff() ? 0 : top; }

// vocab_block gives m = max z, Σ exp(z-m) and Σ exp(z-m)·z of n scaled logits. Those of -Inf take no part.
INLINE void vocab_block(const float *z, int64_t n, float scale, float *max, float *sum, float *moment) {
	const vf lowest = all(-__builtin_inff());
	vf x[KEYS / W], m[NV], s[NV], t[NV];
	for (int j = 0; j < NV; j++) m[j] = lowest, s[j] = t[j] = (vf){0};
	for (int i = 0; i < KEYS / W; i++) {
		x[i] = blend(first_of(n - i * W), get(z, F32, i * W, n - i * W) * scale, lowest);
		m[i % NV] = max_(x[i], m[i % NV]);
	}
	const float top = max16(m);
	for (int i = 0; i < KEYS / W; i++) {
		vf e = exp_(x[i] - origin(top));
		s[i % NV] += e;
		t[i % NV] = fma_(e, blend(x[i] > lowest, x[i], (vf){0}), t[i % NV]);
	}
	*max = top;
	*sum = sum16(s);
	*moment = sum16(t);
}

static void vocab_blocks_(const struct vocab_blocks *v) {
	for (int64_t r = 0; r < v->rows; r++)
		for (int64_t c = 0; c < v->columns; c += KEYS) {
			const int64_t n = v->columns - c < KEYS ? v->columns - c : KEYS, at = r * v->out_ld + c / KEYS;
			vocab_block(v->z + r * v->ld + c, n, v->scale, v->max + at, v->sum + at, v->moment + at);
		}
}

// vocab_merge adds the blocks of a row in ascending order, each rescaled to the maximum of all.
static void vocab_merge_(const struct vocab_merge *v) {
	for (int64_t r = 0; r < v->rows; r++) {
		const float *max = v->max + r * v->in_ld, *sum = v->sum + r * v->in_ld, *moment = v->moment + r * v->in_ld;
		float top = -__builtin_inff(), s = 0, t = 0;
		for (int64_t b = 0; b < v->blocks; b++) top = max[b] > top ? max[b] : top;
		for (int64_t b = 0; b < v->blocks; b += W) {
			const int64_t left = v->blocks - b;
			float e[W];
			store(e, exp_(get(max, F32, b, left) - origin(top)));
			for (int64_t i = 0; i < W && i < left; i++) {
				s = fma1(sum[b + i], e[i], s);
				t = fma1(moment[b + i], e[i], t);
			}
		}
		v->out[4 * r] = top;
		v->out[4 * r + 1] = s;
		v->out[4 * r + 2] = t;
	}
}

// dz·scale with p = exp(z - lse), dz = dlogp·(1[target] - p) - dentropy·p·(z - lse + entropy), over the logits in place.
static void logprob_grad_(const struct logprob_grad *g) {
	for (int64_t r = 0; r < g->rows; r++) {
		float *z = g->z + r * g->ld;
		const float lse = g->lse[r], dlogp = g->dlogp[r];
		const float dent = g->dentropy ? g->dentropy[r] : 0, entropy = g->entropy[r];
		const int64_t target = g->targets[r] - g->first;
		const float hit = target >= 0 && target < g->columns ? z[target] : 0;
		for (int64_t c = 0; c < g->columns; c += W) {
			const int64_t left = g->columns - c;
			vf x = get(z, F32, c, left) * g->scale - lse;
			vf d = fma_(x + entropy, all(-dent), all(-dlogp)) * exp_(x);
			put(z, F32, c, left, d * g->scale);
		}
		if (target >= 0 && target < g->columns) {
			const float x = hit * g->scale - lse, p = exp1(x);
			z[target] = fma1(-dent * p, x + entropy, dlogp * (1.0f - p)) * g->scale;
		}
	}
}
