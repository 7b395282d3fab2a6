// Attention of single tokens: for each, the query heads of some groups over all keys of a sequence. There is too little to compute for the keys to
// be packed first: they are read once, row by row where they lie, and turned in registers. The sums are those of the other kernels,
// term by term: q·k over ascending dimensions, softmax by blocks of 64 keys, p·v over ascending keys.

// TOKEN_HEADS is how many query heads are computed at a time.
#define TOKEN_HEADS 8

// token_block is a block of keys of a token: where the rows of keys and values start, in elements. There are n of them; beyond them
// the last one comes again, to be read for nothing.
struct token_block {
	const struct attend_token *a;
	int64_t first, n, at[KEYS];
	int64_t fetched; // lines of keys and values that have been asked for
};

// token_depth is how many numbers the query heads are apart: pairs are whole.
INLINE int64_t token_depth(const struct attend_token *a) { return PAIRS && a->type == BF16 ? (a->dim + 1) / 2 * 2 : a->dim; }

INLINE int64_t token_size(const struct attend_token *a) { return a->type == F32 ? 4 : 2; }

INLINE void token_locate(struct token_block *b, const struct attend_token *a, int64_t first) {
	b->a = a, b->first = first, b->n = a->keys - first < KEYS ? a->keys - first : KEYS, b->fetched = 0;
	for (int64_t i = 0; i < KEYS; i++) {
		const int64_t j = first + (i < b->n ? i : b->n - 1);
		b->at[i] = (a->table ? a->table[j / a->page] * a->page + j % a->page : a->base + j) * a->ld;
	}
}

// token_fetch asks for the next lines of a block that is not needed yet: the memory works while the one before is computed.
INLINE void token_fetch(struct token_block *b, int64_t lines) {
	if (!b) return;
	const int64_t size = token_size(b->a), width = (b->a->groups * b->a->dim * size + 63) / 64, end = 2 * b->n * width;
	for (int64_t i = b->fetched; i < b->fetched + lines && i < end; i++) {
		const int64_t row = i / 2 / width;
		__builtin_prefetch((const char *)(i & 1 ? b->a->v : b->a->k) + b->at[row] * size + (i / 2 - row * width) * 64);
	}
	b->fetched += lines;
}

// token_terms adds q·k to acc for W keys, whose rows start at the offsets at.
INLINE void token_terms(const struct attend_token *a, const int T, const int rows, const float *q, const void *k, const int64_t *at, vf *acc) {
	for (int64_t d = 0; d < a->dim; d += W) {
		const int64_t terms = a->dim - d < W ? a->dim - d : W;
		vf x[W];
#pragma GCC unroll 16
		for (int i = 0; i < W; i++) x[i] = get(k, T, at[i] + d, terms);
		transpose(x);
#pragma GCC unroll 16
		for (int i = 0; i < W; i++)
			if (terms == W || i < terms)
#pragma GCC unroll 8
				for (int r = 0; r < rows; r++) acc[r] = fma_(all(q[r * a->dim + d + i]), x[i], acc[r]);
	}
}

#if PAIRS
// token_pairs is token_terms for bfloat16, q being pairs as well.
INLINE void token_pairs(const struct attend_token *a, const int rows, const int32_t *q, const void *k, const int64_t *at, vf *acc) {
	const int64_t pairs = (a->dim + 1) / 2;
	for (int64_t d = 0; d < pairs; d += W) {
		const int64_t terms = pairs - d < W ? pairs - d : W;
		vf x[W];
#pragma GCC unroll 16
		for (int i = 0; i < W; i++) x[i] = (vf)pairs_from((const uint16_t *)k + at[i], 2 * d, a->dim - 2 * d);
		transpose(x);
#pragma GCC unroll 16
		for (int i = 0; i < W; i++)
			if (terms == W || i < terms)
#pragma GCC unroll 8
				for (int r = 0; r < rows; r++)
					acc[r] = (vf)_mm512_dpbf16_ps((__m512)acc[r], (__m512bh)_mm512_set1_epi32(q[r * pairs + d + i]), (__m512bh)x[i]);
	}
}
#else
#define token_pairs(a, rows, q, k, at, acc)
#endif

// token_scores is scores [rows][64] = q·k for n keys, whose rows start at the offsets at.
INLINE void token_scores(const struct attend_token *a, const int T, const int rows, const void *q, const void *k, const int64_t *at, int64_t n, float *scores,
			 struct token_block *next, int64_t lines) {
	for (int64_t j = 0; j < n; j += W) {
		token_fetch(next, lines);
		vf acc[TOKEN_HEADS];
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++) acc[r] = (vf){0};
		if (PAIRS && T == BF16) token_pairs(a, rows, (const int32_t *)q, k, at + j, acc);
		else token_terms(a, T, rows, q, k, at + j, acc);
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++) store(scores + r * KEYS + j, acc[r]);
	}
}

// token_values is acc [rows][acc_ld] += p·v for n keys.
INLINE void token_values(const struct attend_token *a, const int T, const int rows, const void *v, const int64_t *at, int64_t n, const float *p, float *out) {
	for (int64_t c = 0; c < a->dim; c += NR) {
		vf acc[TOKEN_HEADS][2];
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++) {
			acc[r][0] = load(out + r * a->acc_ld + c);
			acc[r][1] = load(out + r * a->acc_ld + c + W);
		}
		for (int64_t j = 0; j < n; j++) {
			vf x0 = get(v, T, at[j] + c, a->dim - c), x1 = get(v, T, at[j] + c + W, a->dim - c - W);
#pragma GCC unroll 8
			for (int r = 0; r < rows; r++) {
				vf w = all(p[r * KEYS + j]);
				acc[r][0] = fma_(w, x0, acc[r][0]);
				acc[r][1] = fma_(w, x1, acc[r][1]);
			}
		}
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++) {
			store(out + r * a->acc_ld + c, acc[r][0]);
			store(out + r * a->acc_ld + c + W, acc[r][1]);
		}
	}
}

// token_rows does a block for some heads of a group: scores, softmax, values.
INLINE void token_rows(const int rows, const int T, const struct token_block *b, int64_t head, struct token_block *next, int64_t lines) {
	const struct attend_token *a = b->a;
	const int64_t offset = head / a->heads * a->dim * token_size(a);
	float scores[TOKEN_HEADS * KEYS] __attribute__((aligned(64)));
	token_scores(a, T, rows, (const char *)a->q + head * token_depth(a) * (PAIRS ? token_size(a) : 4), (const char *)a->k + offset, b->at, b->n, scores, next, lines);
	const struct attend s = {
		.scores = scores, .bias = a->bias ? a->bias + head * a->bias_ld : 0, .m = a->m + head, .l = a->l + head,
		.acc = a->acc + head * a->acc_ld, .heads = rows, .ld = a->acc_ld, .block = b->first, .bias_ld = a->bias_ld, .scale = a->scale,
	};
	for (int64_t r = 0; r < rows; r++) attend_softmax(&s, r, b->n);
	token_values(a, T, rows, (const char *)a->v + offset, b->at, b->n, scores, s.acc);
}

typedef void token_fn(const struct token_block *, int64_t head, struct token_block *next, int64_t lines);

#define TOKEN_ROWS(rows)                                                                                                      \
	static void token_rows_##rows(const struct token_block *b, int64_t head, struct token_block *next, int64_t lines) {        \
		if (b->a->type == F32) token_rows(rows, F32, b, head, next, lines);                                                  \
		else token_rows(rows, BF16, b, head, next, lines);                                                                    \
	}
TOKEN_ROWS(1) TOKEN_ROWS(2) TOKEN_ROWS(3) TOKEN_ROWS(4) TOKEN_ROWS(5) TOKEN_ROWS(6) TOKEN_ROWS(7) TOKEN_ROWS(8)
static token_fn *const tokens_rows[TOKEN_HEADS + 1] = {0,	       token_rows_1, token_rows_2, token_rows_3, token_rows_4,
						       token_rows_5, token_rows_6, token_rows_7, token_rows_8};

static void attend_tokens_(const struct attend_tokens *t) {
	struct token_block blocks[2], *b = &blocks[0], *next = &blocks[1];
	if (t->n > 0) token_locate(b, t->tokens, 0);
	for (int64_t i = 0; i < t->n;) {
		const struct attend_token *a = t->tokens + i;
		const int64_t first = b->first + KEYS;
		struct token_block *after = next;
		if (first < a->keys) token_locate(next, a, first);
		else if (++i < t->n) token_locate(next, t->tokens + i, 0);
		else after = 0;
		const int64_t turns = (a->groups * ((a->heads + TOKEN_HEADS - 1) / TOKEN_HEADS)) * ((b->n + W - 1) / W);
		const int64_t lines = after ? (2 * after->n * ((after->a->groups * after->a->dim * token_size(after->a) + 63) / 64) + turns - 1) / turns : 0;
		for (int64_t head = 0; head < a->groups * a->heads;) {
			const int64_t left = a->heads - head % a->heads, rows = left < TOKEN_HEADS ? left : TOKEN_HEADS;
			tokens_rows[rows](b, head, after, lines);
			head += rows;
		}
		struct token_block *done = b;
		b = next, next = done;
	}
}
