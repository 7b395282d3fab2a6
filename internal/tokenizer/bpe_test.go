package tokenizer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// mergeByDefinition is BPE as the paper has it (Sennrich et al. 2016, algorithm 1), one merge at a
// time: the pair of lowest rank, and of those the leftmost.
func mergeByDefinition(merges map[uint64]merge, symbols []int32) []int32 {
	out := slices.Clone(symbols)
	for {
		at, best := -1, merge{rank: noMerge}
		for i := 0; i+1 < len(out); i++ {
			if found, ok := merges[pair(out[i], out[i+1])]; ok && found.rank < best.rank {
				at, best = i, found
			}
		}
		if at < 0 {
			return out
		}
		out = slices.Replace(out, at, at+2, best.id)
	}
}

// Both ways of merging give what the definition gives, for rules in any order: also rules whose
// result takes part in a rule of lower rank, which a trained file would not have.
func TestMergesFollowTheDefinition(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := merger{merges: map[uint64]merge{}}
		letters := rapid.Int32Range(1, 4).Draw(r, "letters")
		texts := map[int32]string{} // so that a result means the same however it is reached
		ids := map[string]int32{}
		add := func(text string) int32 {
			if id, ok := ids[text]; ok {
				return id
			}
			id := int32(len(ids))
			ids[text], texts[id] = id, text
			return id
		}
		for i := range letters {
			add(string('a' + rune(i)))
		}
		rules := rapid.IntRange(0, 30).Draw(r, "rules")
		ranks := rapid.Permutation(slices.Collect(func(yield func(uint32) bool) {
			for i := range rules {
				if !yield(uint32(i)) {
					return
				}
			}
		})).Draw(r, "ranks")
		for _, rank := range ranks {
			known := rapid.Int32Range(0, int32(len(ids))-1)
			left, right := known.Draw(r, "left"), known.Draw(r, "right")
			m.merges[pair(left, right)] = merge{rank: rank, id: add(texts[left] + texts[right])}
		}
		word := rapid.SliceOfN(rapid.Int32Range(0, letters-1), 0, 150).Draw(r, "word")
		want := mergeByDefinition(m.merges, word)
		for name, run := range map[string]func([]int32) []int32{"short": m.runShort, "long": m.runLong} {
			m.symbols = slices.Clone(word)
			if got := run([]int32{-7}); got[0] != -7 || !slices.Equal(got[1:], want) {
				r.Fatalf("%s: %v gives %v, want %v after -7", name, word, got, want)
			}
		}
	})
}
