package source

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The fixtures hold the same messages as JSONL and in two forms of parquet; scripts/golden/oasst1_parquet.py writes them.
const (
	fixtureJSONL   = "testdata/messages.jsonl"
	fixtureParquet = "testdata/messages.parquet"
	fixtureMinimal = "testdata/minimal.parquet"
	fixtureEmpty   = "testdata/empty-group.parquet" // the middle one of three row groups is empty
)

func readFixture(t *testing.T, use Use, files ...string) ([]*Record, *Tally) {
	t.Helper()
	records, tally, err := readFiles(t, Spec{Kind: OASST1, Use: use, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	return records, tally
}

// withoutPlaces makes records from different files comparable.
func withoutPlaces(records []*Record) []Record {
	out := make([]Record, len(records))
	for i, r := range records {
		out[i] = *r
		out[i].At = Location{}
	}
	return out
}

// What each use makes of the fixture's 14 messages, worked out by hand from Open-Assistant's rules.
func TestOasstUses(t *testing.T) {
	sft, tally := readFixture(t, ForSFT, fixtureJSONL)
	// kite: the thread over b2 holds a deleted message; c is a leaf. pain: the one over b is synthetic.
	if want := []string{"kite-a2", "kite-c", "pain-a"}; !slices.Equal(ids(sft), want) {
		t.Errorf("fine-tuning: %q, want %q", ids(sft), want)
	}
	if want := (map[Reason]int{DeletedMessage: 1, SyntheticMessage: 1, Language: 1, TreeState: 1}); !maps.Equal(tally.Dropped, want) {
		t.Errorf("fine-tuning drops %v, want %v", tally.Dropped, want)
	}
	if want := (map[Reason]int{CRLFInText: 1}); !maps.Equal(tally.Notes, want) || tally.Rows != 14 {
		t.Errorf("notes %v in %d rows, want %v in 14", tally.Notes, tally.Rows, want)
	}
	first := sft[0]
	wantTurns := []Turn{
		{true, "How do I keep a kite in the air?"},
		{false, "Let the line out when it pulls,\nand take it in when it sinks."},
		{true, "And when the wind drops?"},
	}
	if !slices.Equal(first.Turns, wantTurns) || first.Response != "Walk backwards until it climbs again." || first.Language != "en" || !first.HasResponse {
		t.Errorf("first thread: %+v", first)
	}

	ranked, tally := readFixture(t, ForRanking, fixtureJSONL)
	if want := []string{"kite-root", "pain-root"}; !slices.Equal(ids(ranked), want) {
		t.Errorf("rankings: %q, want %q", ids(ranked), want)
	}
	if got := ranked[0].Ranked; len(got) != 3 || got[0].Rank != 0 || got[1].Text != "Wait for wind 🌬 and hold the line short." || got[2].Text != "Run." {
		t.Errorf("ranked replies: %+v", got)
	}
	if got := tally.Dropped[FewRanked]; got != 2 { // kite-a1, kite-b1
		t.Errorf("%d prompts with fewer than two ranked replies, want 2", got)
	}

	prompts, tally := readFixture(t, ForPrompts, fixtureJSONL)
	// Prompts may wait in the lottery, but an unlisted language stays out.
	if want := []string{"kite-root", "kite-a1", "kite-b1", "pain-root", "wait-root"}; !slices.Equal(ids(prompts), want) {
		t.Errorf("prompts: %q, want %q", ids(prompts), want)
	}
	if want := (map[Reason]int{Language: 1}); !maps.Equal(tally.Dropped, want) {
		t.Errorf("prompts drop %v, want %v", tally.Dropped, want)
	}
	if prompts[0].SplitKey != prompts[1].SplitKey || prompts[0].SplitKey == prompts[3].SplitKey {
		t.Error("split keys: one per tree wanted")
	}
}

func TestOasstLanguages(t *testing.T) {
	for _, c := range []struct {
		languages []string
		want      []string
	}{
		{nil, []string{"kite-root", "kite-a1", "kite-b1", "pain-root", "wait-root"}},
		{[]string{"fr"}, []string{"pain-root"}},
		{[]string{"ZH"}, []string{"far-root"}},
		{[]string{AllLanguages}, []string{"kite-root", "kite-a1", "kite-b1", "pain-root", "far-root", "wait-root"}},
		{[]string{"sv"}, []string{}},
	} {
		records, _, err := readFiles(t, Spec{Kind: OASST1, Use: ForPrompts, Files: []string{fixtureJSONL}, Languages: c.languages})
		if err != nil || !slices.Equal(ids(records), c.want) {
			t.Errorf("languages %q: %q, %v; want %q", c.languages, ids(records), err, c.want)
		}
	}
}

// flatRow writes a flat message; what more gives replaces the default.
func flatRow(id, parent, role string, more string) string {
	p := "null"
	if parent != "" {
		p = `"` + parent + `"`
	}
	for _, field := range []string{`"review_result":true`, `"tree_state":"ready_for_export"`} {
		if name, _, _ := strings.Cut(field, ":"); !strings.Contains(more, name) {
			more += "," + field
		}
	}
	return fmt.Sprintf(`{"message_id":%q,"parent_id":%s,"text":"text of %s","role":%q,"lang":"en"%s}`+"\n", id, p, id, role, more)
}

// blanked is flatRow for a message without text.
func blanked(id, parent, role string) string {
	return strings.Replace(flatRow(id, parent, role, ""), "text of "+id, " ", 1)
}

func TestOasstFlatStructure(t *testing.T) {
	root := flatRow("r", "", "prompter", "")
	for _, c := range []struct {
		name      string
		rows      string
		malformed map[Reason]int
		dropped   map[Reason]int
		want      []string // prompts
	}{
		{"children before parents", flatRow("q", "a", "prompter", "") + flatRow("a", "r", "assistant", "") + root, nil, nil, []string{"r", "q"}},
		{"orphan and its reply", root + flatRow("a", "gone", "assistant", "") + flatRow("q", "a", "prompter", ""), map[Reason]int{Orphan: 1}, map[Reason]int{BelowLeftOut: 1}, []string{"r"}},
		{"cycle of two, and a message below it", root + flatRow("a", "q", "assistant", "") + flatRow("q", "a", "prompter", "") + flatRow("b", "q", "assistant", ""), map[Reason]int{Cycle: 3}, nil, []string{"r"}},
		{"its own parent", root + flatRow("a", "a", "assistant", ""), map[Reason]int{Cycle: 1}, nil, []string{"r"}},
		{"duplicate id", root + flatRow("a", "r", "assistant", "") + flatRow("a", "r", "assistant", "") + flatRow("q", "a", "prompter", ""), nil, map[Reason]int{DuplicateID: 1}, []string{"r", "q"}},
		{"assistant at the root", root + flatRow("s", "", "assistant", "") + flatRow("q", "s", "prompter", ""), map[Reason]int{RoleOrder: 1}, map[Reason]int{BelowLeftOut: 1}, []string{"r"}},
		{"prompter replies to prompter", root + flatRow("q", "r", "prompter", "") + flatRow("a", "q", "assistant", "") + flatRow("p", "a", "prompter", ""), map[Reason]int{RoleOrder: 1}, map[Reason]int{BelowLeftOut: 2}, []string{"r"}},
		{"blank message with replies", root + blanked("a", "r", "assistant") + flatRow("q", "a", "prompter", "") + flatRow("b", "q", "assistant", ""), map[Reason]int{BlankText: 1}, map[Reason]int{BelowLeftOut: 2}, []string{"r"}},
		{"blank root, read last", flatRow("a", "r", "assistant", "") + flatRow("q", "a", "prompter", "") + blanked("r", "", "prompter"), map[Reason]int{BlankText: 1}, map[Reason]int{BelowLeftOut: 2}, []string{}},
		{"a message of the wrong type", root + flatRow("a", "r", "assistant", `,"deleted":"no"`) + flatRow("q", "a", "prompter", ""), map[Reason]int{WrongType: 1}, map[Reason]int{BelowLeftOut: 1}, []string{"r"}},
		{"a good copy of a blank message", root + blanked("a", "r", "assistant") + flatRow("a", "r", "assistant", "") + flatRow("q", "a", "prompter", ""), map[Reason]int{BlankText: 1}, nil, []string{"r", "q"}},
		{"rejected root", flatRow("r", "", "prompter", `,"review_result":false`), nil, map[Reason]int{ReviewResult: 1}, []string{}},
		{"unreviewed root", flatRow("r", "", "prompter", `,"review_result":null`), nil, map[Reason]int{NotReviewed: 1}, []string{}},
		{"growing tree", flatRow("r", "", "prompter", `,"tree_state":"growing"`), nil, map[Reason]int{TreeState: 1}, []string{}},
		{"no tree state", flatRow("r", "", "prompter", `,"tree_state":null`), nil, map[Reason]int{TreeState: 1}, []string{}},
		{"synthetic root", flatRow("r", "", "prompter", `,"synthetic":true`) + flatRow("a", "r", "assistant", "") + flatRow("q", "a", "prompter", ""), nil, map[Reason]int{SyntheticMessage: 2}, []string{}},
		{"rejected reply", root + flatRow("a", "r", "assistant", `,"review_result":false`) + flatRow("q", "a", "prompter", ""), nil, map[Reason]int{ReviewResult: 1}, []string{"r"}},
	} {
		records, tally := mustRead(t, OASST1, ForPrompts, c.rows)
		if tally.MalformedRows != total(tally.Malformed) {
			t.Errorf("%s: %d malformed rows, by reason %v", c.name, tally.MalformedRows, tally.Malformed)
		}
		if !slices.Equal(ids(records), c.want) || !maps.Equal(tally.Malformed, c.malformed) || !maps.Equal(tally.Dropped, c.dropped) {
			t.Errorf("%s: prompts %q, malformed %v, dropped %v; want %q, %v, %v", c.name, ids(records), tally.Malformed, tally.Dropped, c.want, c.malformed, c.dropped)
		}
	}
}

// Leaves: a prompter leaf is cut off; of several prompter leaves below one answer only the first stands for the thread.
func TestOasstLeaves(t *testing.T) {
	rows := flatRow("r", "", "prompter", "") + flatRow("a", "r", "assistant", "") + flatRow("p", "a", "prompter", "") + flatRow("q", "a", "prompter", "") +
		flatRow("s", "a", "prompter", "") + flatRow("b", "q", "assistant", "") + flatRow("lonely", "", "prompter", "")
	records, tally := mustRead(t, OASST1, ForSFT, rows)
	if got, want := ids(records), []string{"a", "b"}; !slices.Equal(got, want) || tally.Dropped[NoReply] != 1 || tally.Notes[SkippedPrompts] != 1 {
		t.Errorf("threads %q, dropped %v, notes %v; want %q, one without reply, one prompt skipped", got, tally.Dropped, tally.Notes, want)
	}
}

func TestOasstRankings(t *testing.T) {
	rows := func(replies ...string) string { return flatRow("r", "", "prompter", "") + strings.Join(replies, "") }
	reply := func(id, more string) string { return flatRow(id, "r", "assistant", more) }
	for _, c := range []struct {
		name    string
		rows    string
		want    []Alternative
		dropped map[Reason]int
		notes   map[Reason]int
	}{
		{"by rank, ties in file order", rows(reply("a", `,"rank":1`), reply("b", `,"rank":0.0`), reply("c", `,"rank":1`)),
			[]Alternative{{"text of b", 0}, {"text of a", 1}, {"text of c", 1}}, nil, nil},
		{"unranked replies do not count", rows(reply("a", `,"rank":0`), reply("b", ``)), nil, map[Reason]int{FewRanked: 1}, nil},
		{"no preference", rows(reply("a", `,"rank":0`), reply("b", `,"rank":0`)), nil, map[Reason]int{FewRanked: 1}, nil},
		{"a deleted and a rejected reply", rows(reply("a", `,"rank":0`), reply("b", `,"rank":1,"deleted":true`), reply("c", `,"rank":2`), reply("d", `,"rank":3,"review_result":false`)),
			[]Alternative{{"text of a", 0}, {"text of c", 2}}, nil, map[Reason]int{RemovedReplies: 2}},
		{"a synthetic reply is as good to rank as any", rows(reply("a", `,"rank":0`), reply("b", `,"rank":1,"synthetic":true`)),
			[]Alternative{{"text of a", 0}, {"text of b", 1}}, nil, nil},
	} {
		records, tally := mustRead(t, OASST1, ForRanking, c.rows)
		var got []Alternative
		if len(records) == 1 {
			got = records[0].Ranked
		}
		if !slices.Equal(got, c.want) || !maps.Equal(tally.Dropped, c.dropped) || !maps.Equal(tally.Notes, c.notes) {
			t.Errorf("%s: %v, dropped %v, notes %v; want %v, %v, %v", c.name, got, tally.Dropped, tally.Notes, c.want, c.dropped, c.notes)
		}
	}
}

func TestOasstThreadExportIsRefused(t *testing.T) {
	_, _, err := readText(t, OASST1, ForSFT, `{"thread_id":"x","thread":[]}`)
	if err == nil || !strings.Contains(err.Error(), "thread export") {
		t.Errorf("error %v, want one that names the thread export", err)
	}
}

// A chain, an orphaned chain and a circle of many messages take a step per message: quadratic, this would not end.
func TestOasstLinksInLinearTime(t *testing.T) {
	if testing.Short() {
		t.Skip("links 900,000 messages")
	}
	const n = 300_000
	for _, c := range []struct {
		firstParent        string
		malformed, dropped map[Reason]int
	}{
		{"", map[Reason]int{TooDeep: 1}, map[Reason]int{BelowLeftOut: n - maxThread - 1, TreeState: 1}},
		{"gone", map[Reason]int{Orphan: 1}, map[Reason]int{BelowLeftOut: n - 1}},
		{strconv.Itoa(n - 1), map[Reason]int{Cycle: n}, nil},
	} {
		f := &forest{reader: &reader{tally: &Tally{}, ids: map[string]struct{}{}}}
		for i := range n {
			m := &message{id: strconv.Itoa(i), parent: strconv.Itoa(i - 1), user: i%2 == 0}
			if i == 0 {
				m.parent = c.firstParent
			}
			f.flat = append(f.flat, m)
		}
		if err := f.finish(); err != nil || !maps.Equal(f.tally.Malformed, c.malformed) || !maps.Equal(f.tally.Dropped, c.dropped) {
			t.Errorf("first parent %q: malformed %v, dropped %v, %v; want %v and %v", c.firstParent, f.tally.Malformed, f.tally.Dropped, err, c.malformed, c.dropped)
		}
	}
}

// The depth of a tree is bounded: what hangs deeper is taken off, the rest stays.
func TestOasstDeepTree(t *testing.T) {
	if testing.Short() {
		t.Skip("decodes lists within lists thousands of times")
	}
	var deep strings.Builder
	const levels = 4000 // the JSON decoder itself refuses 10,000 nested lists and objects
	for i := range levels {
		fmt.Fprintf(&deep, `{"message_id":"%d","text":"t","role":%q,"replies":[`, i, []string{"assistant", "prompter"}[i%2])
	}
	deep.WriteString(strings.Repeat("]}", levels))
	row := `{"tree_state":"ready_for_export","prompt":{"message_id":"root","text":"t","role":"prompter","lang":"en","review_result":true,"replies":[` + deep.String() + `]}}`
	if !json.Valid([]byte(row)) {
		t.Fatal("the test's row is not JSON")
	}
	records, tally := mustRead(t, OASST1, ForPrompts, row)
	if len(records) != maxThread/2 || tally.Malformed[TooDeep] != 1 {
		t.Errorf("deep tree: %d prompts, malformed %v; want %d and one too deep", len(records), tally.Malformed, maxThread/2)
	}
}

// Trees beside a fuller flat export: what hangs from a message of a tree, or from one that a tree refused, is left out, not
// malformed, because its parent is there.
func TestOasstFlatBesideTrees(t *testing.T) {
	trees := strings.Replace(goodTree, `"text":"y"`, `"text":" "`, 1) // b is refused
	flat := flatRow("r", "", "prompter", "") + flatRow("q", "a", "prompter", "") + flatRow("c", "q", "assistant", "") + flatRow("p", "b", "prompter", "") +
		flatRow("lost", "nowhere", "assistant", "")
	records, tally := mustRead(t, OASST1, ForPrompts, trees+"\n"+flat)
	if want := []string{"r"}; !slices.Equal(ids(records), want) {
		t.Errorf("prompts %q, want %q", ids(records), want)
	}
	if want := (map[Reason]int{BlankText: 1, Orphan: 1}); !maps.Equal(tally.Malformed, want) {
		t.Errorf("malformed %v, want %v", tally.Malformed, want)
	}
	if want := (map[Reason]int{DuplicateID: 1, BelowLeftOut: 3}); !maps.Equal(tally.Dropped, want) {
		t.Errorf("dropped %v, want %v", tally.Dropped, want)
	}
}

// Names of fields are matched to the letter, as in parquet.
func TestOasstFieldNamesAreExact(t *testing.T) {
	_, tally := mustRead(t, OASST1, ForPrompts, strings.Replace(flatRow("r", "", "prompter", ""), `"text"`, `"Text"`, 1))
	if want := (map[Reason]int{MissingField: 1}); !maps.Equal(tally.Malformed, want) {
		t.Errorf("malformed %v, want %v", tally.Malformed, want)
	}
	records, _ := mustRead(t, OASST1, ForPrompts, flatRow("r", "", "prompter", `,"Message_ID":"x","DELETED":true`))
	if want := []string{"r"}; !slices.Equal(ids(records), want) {
		t.Errorf("prompts %q, want %q", ids(records), want)
	}
}
