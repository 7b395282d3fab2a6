package rollout_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"alfred/internal/falcon"
	"alfred/internal/nn"
	"alfred/internal/random"
	"alfred/internal/rollout"
	"github.com/google/go-cmp/cmp"
)

// alike are prompts that begin alike, for pages of every size: equal ones, one inside another, some that part in the middle of a
// page, some that end with a page. All fit the model's context together with their responses.
func alike(cfg falcon.Config) (rs []rollout.Request) {
	r := rand.New(rand.NewPCG(8, 8))
	text := func(n int) []int32 {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = int32(r.IntN(cfg.VocabSize))
		}
		return ids
	}
	a, b := text(300), text(300)
	for _, prompt := range [][]int32{
		a[:70], a[:70], a[:70], // equal
		a[:20], a[:100], a[:16], a[:32], a[:64], // nested, and whole pages
		b[:64], b[:64], b[:65], b[:15], b[:15],
		slices.Concat(a[:40], text(50)), slices.Concat(a[:33], text(1)), slices.Concat(a[:48], b[:10]), // parting
		slices.Concat(b[:16], a[16:60]), slices.Concat(a[:31], text(1), a[32:60]), // a page in common, or all but a token of it, that is not enough
		a[:128], b[:128], a[:128], a[:129], a[:150], slices.Concat(a[:128], text(30)),
		a[:70], b[:64], // once more, after the others
	} {
		most := 4 + r.IntN(12)
		if len(prompt)+most <= cfg.MaxPositions {
			rs = append(rs, rollout.Request{Sequence: len(rs), Prompt: prompt, Max: most, Min: r.IntN(4)})
		}
	}
	return rs
}

// common is how many prompt tokens need not be fed if no page is ever lost: of each prompt, but for its last token, the whole
// pages with which a prompt before it begins too.
func common(rs []rollout.Request, pageSize int) (tokens int) {
	for i, r := range rs {
		most := 0
		for _, before := range rs[:i] {
			n := 0
			for n < min(len(before.Prompt), len(r.Prompt)) && before.Prompt[n] == r.Prompt[n] {
				n++
			}
			most = max(most, min(n, len(r.Prompt)-1)/pageSize*pageSize)
		}
		tokens += most
	}
	return tokens
}

// TestSharedPrefixesChangeNothing: responses to prompts that begin alike have the tokens and the bits that each has when it is
// sampled by itself, in a cache where there is nothing to share.
func TestSharedPrefixesChangeNothing(t *testing.T) {
	each(t, forms, func(t *testing.T, form string, p precision) {
		e, cfg, _ := open(t, form, p)
		rs := alike(cfg)
		sampling := rollout.Sampling{Draw: nn.Draw{Temperature: 0.9, TopP: 1}, Key: random.Key{Seed: 5, Purpose: random.Rollout}, Iteration: 2, LogProbs: true}
		run := func(limits rollout.Limits, requests ...rollout.Request) ([]rollout.Trajectory, rollout.Stats) {
			t.Helper()
			limits.Longest, limits.EOD = 176, 3
			for _, page := range rand.New(rand.NewPCG(1, 2)).Perm(limits.CachePages()) {
				limits.Pages = append(limits.Pages, int32(page))
			}
			got, stats, err := generate(e, requests, limits, sampling, nil)
			if err != nil {
				t.Fatal(err)
			}
			return got, stats
		}
		var want []rollout.Trajectory
		for _, r := range rs {
			got, stats := run(rollout.Limits{Slots: 1, Tokens: 1000, PageSize: 64}, r)
			if stats.Shared != 0 {
				t.Errorf("sequence %d shares %d tokens with nobody", r.Sequence, stats.Shared)
			}
			want = append(want, got...)
		}
		for _, limits := range []rollout.Limits{
			{Slots: len(rs), Tokens: 5000, PageSize: 16}, // all in the first step
			{Slots: len(rs), Tokens: 40, PageSize: 16},
			{Slots: len(rs), Tokens: 5000, PageSize: 64},
			{Slots: len(rs), Tokens: 40, PageSize: 128},
			{Slots: 3, Tokens: 1000, PageSize: 16},
			{Slots: 3, Tokens: 7, PageSize: 16},
			{Slots: 2, Tokens: 30, PageSize: 64},
			{Slots: 1, Tokens: 1, PageSize: 16},
			{Slots: 4, Tokens: 11, PageSize: 128},
		} {
			got, stats := run(limits, rs...)
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%+v:\n%s", limits, d)
			}
			all := common(rs, limits.PageSize)
			if limits.Slots == len(rs) && stats.Shared != all || stats.Shared > all {
				t.Errorf("%+v: %d of %d tokens shared, want %d", limits, stats.Shared, stats.Prompt, all)
			}
		}
	})
}
