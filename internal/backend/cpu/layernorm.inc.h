// Layer normalisation of rows: mean, then the variance of the deviations.

INLINE void layer_norm_as(const struct layer_norm *n, const int T) {
	const int64_t d = n->columns;
	for (int64_t r = 0; r < n->rows; r++) {
		const int64_t row = r * d;
		vf sum[NV], squares[NV];
		for (int j = 0; j < NV; j++) sum[j] = squares[j] = (vf){0};
		for (int64_t c = 0; c < d; c += 16)
			for (int j = 0; j < NV; j++) sum[j] += get(n->x, T, row + c + j * W, d - c - j * W);
		const float mean = sum16(sum) / (float)d;
		for (int64_t c = 0; c < d; c += 16)
			for (int j = 0; j < NV; j++) {
				const int64_t i = c + j * W;
				vf x = blend(first_of(d - i), get(n->x, T, row + i, d - i) - mean, (vf){0});
				squares[j] = fma_(x, x, squares[j]);
			}
		const float rstd = 1.0f / sqrt1((float)(sum16(squares) / (float)d + n->eps));
		n->mean[r] = mean;
		n->rstd[r] = rstd;
		for (int64_t c = 0; c < d; c += W) {
			vf x = (get(n->x, T, row + c, d - c) - mean) * rstd;
			put(n->y, T, row + c, d - c, fma_(x, get(n->gamma, T, c, d - c), get(n->beta, T, c, d - c)));
		}
	}
}

static void layer_norm_(const struct layer_norm *n) {
	if (n->type == F32) layer_norm_as(n, F32);
	else layer_norm_as(n, BF16);
}

INLINE void layer_norm_backward_as(const struct layer_norm_backward *n, const int T) {
	const int64_t d = n->columns;
	memset(n->dgamma, 0, d * sizeof(float));
	memset(n->dbeta, 0, d * sizeof(float));
	for (int64_t r = 0; r < n->rows; r++) {
		const int64_t row = r * d;
		const float mean = n->mean[r], rstd = n->rstd[r];
		vf sum[NV], dot[NV];
		for (int j = 0; j < NV; j++) sum[j] = dot[j] = (vf){0};
		for (int64_t c = 0; c < d; c += 16)
			for (int j = 0; j < NV; j++) {
				// Beyond the row dy is 0, and with it everything else.
				const int64_t i = c + j * W, left = d - i;
				vf dy = get(n->dy, T, row + i, left), x = (get(n->x, T, row + i, left) - mean) * rstd;
				vf g = dy * get(n->gamma, T, i, left);
				sum[j] += g;
				dot[j] = fma_(g, x, dot[j]);
				if (left > 0) {
					put(n->dgamma, F32, i, left, fma_(dy, x, get(n->dgamma, F32, i, left)));
					put(n->dbeta, F32, i, left, get(n->dbeta, F32, i, left) + dy);
				}
			}
		const float mean_g = sum16(sum) / (float)d, mean_gx = sum16(dot) / (float)d;
		for (int64_t c = 0; c < d; c += W) {
			const int64_t left = d - c;
			vf x = (get(n->x, T, row + c, left) - mean) * rstd;
			vf g = get(n->dy, T, row + c, left) * get(n->gamma, T, c, left) - mean_g;
			vf dx = fma_(x, all(-mean_gx), g) * rstd;
			if (n->mode == ADD) dx += get(n->dx, T, row + c, left);
			put(n->dx, T, row + c, left, dx);
		}
	}
}

static void layer_norm_backward_(const struct layer_norm_backward *n) {
	if (n->type == F32) layer_norm_backward_as(n, F32);
	else layer_norm_backward_as(n, BF16);
}
