package source

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// realRoot is where the real data lie beside the repository.
const realRoot = "../../../../shared/data"

func readReal(t *testing.T, kind Kind, use Use, path string) ([]*Record, *Tally) {
	t.Helper()
	files, _, err := Expand(realRoot, path, kind)
	if err != nil {
		t.Skipf("no real data: %v", err)
	}
	records, tally, err := readFiles(t, Spec{Kind: kind, Use: use, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	if tally.MalformedRows != 0 {
		t.Errorf("%s: %d malformed rows: %v", path, tally.MalformedRows, tally.Examples)
	}
	return records, tally
}

// The figures were counted by a separate script in Python over the same 100 trees, written from the rules of
// Open-Assistant's loader: 555 leaves of which 17 hold a synthetic message; 212 prompts with more than one ranked reply
// and 480 prompts in all, of which 5 each follow a synthetic message; 624 ranked replies.
func TestRealOasst(t *testing.T) {
	for _, c := range []struct {
		use     Use
		want    int
		dropped map[Reason]int
	}{
		{ForSFT, 538, map[Reason]int{SyntheticMessage: 17}},
		{ForRanking, 207, map[Reason]int{SyntheticMessage: 5, FewRanked: 480 - 212}},
		{ForPrompts, 475, map[Reason]int{SyntheticMessage: 5}},
	} {
		trees, tally := readReal(t, OASST1, c.use, "oasst1/en_100_trees.jsonl.gz")
		if len(trees) != c.want || !maps.Equal(tally.Dropped, c.dropped) || tally.Rows != 100 {
			t.Errorf("trees for %d: %d records of %d rows, dropped %v; want %d of 100, %v", c.use, len(trees), tally.Rows, tally.Dropped, c.want, c.dropped)
		}
		flat, flatTally := readReal(t, OASST1, c.use, "oasst1/messages-flat.jsonl.gz")
		if flatTally.Rows != 1167 || !maps.Equal(flatTally.Dropped, c.dropped) {
			t.Errorf("messages for %d: %d rows, dropped %v; want 1167, %v", c.use, flatTally.Rows, flatTally.Dropped, c.dropped)
		}
		if !reflect.DeepEqual(withoutPlaces(trees), withoutPlaces(flat)) {
			t.Errorf("for %d the flat messages give other records than the trees", c.use)
		}
		keys, replies := map[string]bool{}, 0
		for _, r := range trees {
			keys[r.SplitKey] = true
			replies += len(r.Ranked)
			if !alternates(r.Turns) || r.Language != "en" {
				t.Errorf("record %s: turns %+v, language %q", r.ID, r.Turns, r.Language)
			}
		}
		if c.use == ForRanking && replies != 624 {
			t.Errorf("%d ranked replies, want 624", replies)
		}
		if len(keys) > 100 {
			t.Errorf("%d split keys of 100 trees", len(keys))
		}
	}
}

// Both exports in one folder: the second is dropped message by message.
func TestRealOasstTwice(t *testing.T) {
	once, _ := readReal(t, OASST1, ForPrompts, "oasst1/en_100_trees.jsonl.gz")
	both, tally := readReal(t, OASST1, ForPrompts, "oasst1")
	if len(both) != len(once) || tally.Dropped[DuplicateID] != 1167 {
		t.Errorf("%d records, %d duplicate ids; want %d and 1167", len(both), tally.Dropped[DuplicateID], len(once))
	}
}

// Of the first 1,800 rows of harmless-base's test split (the whole has 2,312): 3 have turns that do not alternate in the
// prompt, 2 differ before the last turn (with the former: 5 chosen transcripts whose turns do not alternate), 4 chosen
// responses are empty, no pair is identical.
func TestRealHH(t *testing.T) {
	ranked, tally := readReal(t, HHRLHF, ForRanking, "hh-rlhf/harmless-base-test-a.jsonl.gz")
	want := map[Reason]int{NotAlternating: 3, DiffersEarlier: 2, EmptyResponse: 4}
	if len(ranked) != 1800-9 || !maps.Equal(tally.Dropped, want) || tally.Rows != 1800 {
		t.Errorf("%d records of %d rows, dropped %v; want 1791 of 1800, %v", len(ranked), tally.Rows, tally.Dropped, want)
	}
	prompts, tally := readReal(t, HHRLHF, ForPrompts, "hh-rlhf/harmless-base-test-a.jsonl.gz")
	if want := (map[Reason]int{NotAlternating: 3}); len(prompts) != 1797 || !maps.Equal(tally.Dropped, want) {
		t.Errorf("%d prompts, dropped %v; want 1797, %v", len(prompts), tally.Dropped, want)
	}
	// A transcript is its prompt's turns and the chosen response put together again.
	whole := map[int]string{}
	l := &lines{s: mustOpen(t, filepath.Join(realRoot, "hh-rlhf/harmless-base-test-a.jsonl.gz"))}
	defer l.s.Close()
	for line, err := l.next(); err == nil; line, err = l.next() {
		o, _ := parseObject(line)
		whole[l.number], _ = o.text("chosen")
	}
	for _, r := range ranked {
		var b strings.Builder
		for i, turn := range append(slices.Clone(r.Turns), Turn{Text: r.Response}) {
			b.WriteString([]string{humanMark, assistantMark}[i%2] + " " + turn.Text)
		}
		if b.String() != whole[r.At.Number] {
			t.Fatalf("%s: rebuilt %q, want %q", r.At, b.String(), whole[r.At.Number])
		}
	}
}

func mustOpen(t *testing.T, path string) *stream {
	t.Helper()
	s, err := openStream(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRealDolly(t *testing.T) {
	records, _ := readReal(t, Dolly, ForSFT, "dolly-15k/official-sample.jsonl")
	if len(records) != 25 {
		t.Errorf("official sample: %d records, want 25", len(records))
	}
	records, _ = readReal(t, Dolly, ForSFT, "dolly-15k/rekeyed-sample.jsonl")
	with := 0
	for _, r := range records {
		if r.Input != "" {
			with++
		}
	}
	if len(records) != 151 || with != 47 {
		t.Errorf("re-keyed sample: %d records, %d with context; want 151 and 47", len(records), with)
	}
	// Rows of another schema: prompt and response, a user's own data.
	records, _ = readReal(t, Prompts, ForSFT, "dolly-15k/dolly_hhrlhf_train_small.jsonl.gz")
	if len(records) != 1000 {
		t.Errorf("prompt and response: %d records, want 1000", len(records))
	}
}

func TestRealNatInst(t *testing.T) {
	records, tally := readReal(t, NatInst, ForSFT, "natural-instructions")
	const instances = 1100 + 1075 + 381 + 1100 + 160 + 1100 + 1100 + 1100 + 142 + 1100
	if len(records) != instances || tally.Rows != instances || len(tally.Files) != 10 || len(tally.Dropped)+len(tally.Notes) != 0 {
		t.Errorf("%d records of %d rows in %d files, dropped %v, notes %v; want %d of %d in 10", len(records), tally.Rows, len(tally.Files), tally.Dropped, tally.Notes, instances, instances)
	}
	for _, r := range records {
		if len(r.Examples) < 2 || r.Language != "English" || r.Instruction == "" || r.Input == "" || r.Response == "" {
			t.Fatalf("record %s: %d examples, language %q", r.ID, len(r.Examples), r.Language)
		}
	}
}
