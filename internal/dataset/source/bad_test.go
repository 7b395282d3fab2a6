package source

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
)

func sha(b []byte) [32]byte { return sha256.Sum256(b) }

const (
	goodPrompt  = `{"prompt":"p"}`
	goodPair    = `{"prompt":"p","chosen":"c","rejected":"r"}`
	goodDolly   = `{"instruction":"i","context":"","response":"r"}`
	goodHH      = `{"chosen":"\n\nHuman: q\n\nAssistant: c","rejected":"\n\nHuman: q\n\nAssistant: r"}`
	goodMessage = `{"message_id":"m","parent_id":null,"text":"t","role":"prompter","lang":"en","review_result":true,"tree_state":"ready_for_export"}`
	goodTree    = `{"message_tree_id":"r","tree_state":"ready_for_export","prompt":{"message_id":"r","text":"q","role":"prompter","lang":"en","review_result":true,"replies":[` +
		`{"message_id":"a","parent_id":"r","text":"x","role":"assistant","rank":0,"replies":[]},{"message_id":"b","parent_id":"r","text":"y","role":"assistant","rank":1,"replies":[]}]}}`
)

// Every class of bad row, in every format where it can occur: the reason it is counted under. Before and after the bad row
// stands a good one: both are read, and the place that is reported is the bad row's.
func TestMalformedRows(t *testing.T) {
	replace := strings.NewReplacer
	for _, c := range []struct {
		name string
		kind Kind
		use  Use
		good string
		bad  string
		want Reason
	}{
		{"comma at the end", Prompts, ForPrompts, goodPrompt, `{"prompt":"p",}`, BrokenJSON},
		{"no comma", Prompts, ForPrompts, goodPrompt, `{"prompt":"p" "id":"q"}`, BrokenJSON},
		{"list is broken", OASST1, ForSFT, goodTree, `["x"`, BrokenJSON},
		{"broken line", Prompts, ForPrompts, goodPrompt, `{"prompt":"p"`, BrokenJSON},
		{"two objects", Prompts, ForPrompts, goodPrompt, goodPrompt + goodPrompt, BrokenJSON},
		{"not JSON", Dolly, ForSFT, goodDolly, `instruction,context,response`, BrokenJSON},
		{"raw NUL byte", HHRLHF, ForRanking, goodHH, "\x00" + goodHH, BrokenJSON},
		{"byte order mark inside", Prompts, ForPrompts, goodPrompt, "\xef\xbb\xbf" + goodPrompt, BrokenJSON},
		{"array", Prompts, ForPrompts, goodPrompt, `["prompt"]`, NotObject},
		{"string", Pairs, ForRanking, goodPair, `"x"`, NotObject},
		{"null", Dolly, ForSFT, goodDolly, `null`, NotObject},
		{"array", OASST1, ForSFT, goodTree, `[]`, NotObject},
		{"invalid UTF-8", Prompts, ForPrompts, goodPrompt, "{\"prompt\":\"\xff\"}", InvalidUTF8},
		{"UTF-8 surrogate", HHRLHF, ForRanking, goodHH, replace("q", "\xed\xa0\x80").Replace(goodHH), InvalidUTF8},
		{"invalid UTF-8", OASST1, ForSFT, goodTree, replace(`"x"`, "\"\xc3\"").Replace(goodTree), InvalidUTF8},
		{"high surrogate", Prompts, ForPrompts, goodPrompt, `{"prompt":"\ud83d"}`, LoneSurrogate},
		{"low surrogate", Dolly, ForSFT, goodDolly, `{"instruction":"i","response":"\ude00\ud83d"}`, LoneSurrogate},
		{"high twice", Pairs, ForRanking, goodPair, `{"prompt":"p","chosen":"\ud83d\ud83d\ude00","rejected":"r"}`, LoneSurrogate},
		{"lone surrogate", OASST1, ForPrompts, goodTree, replace(`"q"`, `"\udfff"`).Replace(goodTree), LoneSurrogate},
		{"NUL escape", Prompts, ForPrompts, goodPrompt, `{"prompt":"a\u0000b"}`, NULInText},
		{"NUL escape", OASST1, ForPrompts, goodTree, replace(`"q"`, `"\u0000"`).Replace(goodTree), NULInText},
		{"NUL in message", Prompts, ForPrompts, goodPrompt, `{"messages":[{"role":"user","content":"\u0000"}]}`, NULInText},

		{"missing", Prompts, ForPrompts, goodPrompt, `{"text":"p"}`, MissingField},
		{"null counts as missing", Prompts, ForPrompts, goodPrompt, `{"prompt":null}`, MissingField},
		{"empty object", OASST1, ForSFT, goodTree, `{}`, MissingField},
		{"missing", Dolly, ForSFT, goodDolly, `{"instruction":"i"}`, MissingField},
		{"missing", HHRLHF, ForRanking, goodHH, `{"chosen":"\n\nHuman: q\n\nAssistant: a"}`, MissingField},
		{"red-team schema", HHRLHF, ForRanking, goodHH, `{"transcript":"\n\nHuman: q","rating":1}`, MissingField},
		{"missing", Pairs, ForRanking, goodPair, `{"prompt":"p","chosen":"c"}`, MissingField},
		{"no response to learn", Prompts, ForSFT, `{"prompt":"p","response":"r"}`, goodPrompt, MissingField},
		{"message without id", OASST1, ForPrompts, goodTree, replace(`"message_id":"r",`, ``).Replace(goodTree), MissingField},
		{"message without text", OASST1, ForPrompts, goodTree, replace(`"text":"q",`, ``).Replace(goodTree), MissingField},
		{"message without role", OASST1, ForPrompts, goodTree, replace(`"role":"prompter",`, ``).Replace(goodTree), MissingField},
		{"content missing", Prompts, ForPrompts, goodPrompt, `{"messages":[{"role":"user"}]}`, MissingField},

		{"number", Prompts, ForPrompts, goodPrompt, `{"prompt":1}`, WrongType},
		{"list", HHRLHF, ForRanking, goodHH, `{"chosen":[],"rejected":""}`, WrongType},
		{"id is a number", Prompts, ForPrompts, goodPrompt, `{"prompt":"p","id":7}`, WrongType},
		{"ids of fractions", Prompts, ForPrompts, goodPrompt, `{"prompt_ids":[1.5]}`, WrongType},
		{"negative id", Prompts, ForPrompts, goodPrompt, `{"prompt_ids":[-1]}`, WrongType},
		{"id outside int32", Prompts, ForPrompts, goodPrompt, `{"prompt_ids":[2147483648]}`, WrongType},
		{"id outside int64", Prompts, ForPrompts, goodPrompt, `{"prompt_ids":[99999999999999999999]}`, WrongType},
		{"messages is a string", Prompts, ForPrompts, goodPrompt, `{"messages":"hi"}`, WrongType},
		{"ids beside text", Pairs, ForRanking, goodPair, `{"prompt_ids":[1],"chosen":"c","rejected":"r"}`, WrongType},
		{"replies is a string", OASST1, ForPrompts, goodTree, `{"tree_state":"ready_for_export","prompt":{"message_id":"r","text":"q","role":"prompter","replies":"none"}}`, WrongType},
		{"prompt is a number", OASST1, ForPrompts, goodTree, `{"prompt":5}`, NotObject},
		{"text is a number", OASST1, ForPrompts, goodTree, replace(`"q"`, `5`).Replace(goodTree), WrongType},
		{"deleted is a string", OASST1, ForPrompts, goodTree, replace(`"role":"prompter"`, `"role":"prompter","deleted":"no"`).Replace(goodTree), WrongType},
		{"unknown role", OASST1, ForPrompts, goodTree, replace(`"prompter"`, `"moderator"`).Replace(goodTree), WrongType},
		{"negative rank", OASST1, ForRanking, goodTree, replace(`"rank":1`, `"rank":-1`).Replace(goodTree), WrongType},
		{"fractional rank", OASST1, ForRanking, goodTree, replace(`"rank":1`, `"rank":0.5`).Replace(goodTree), WrongType},

		{"empty", Prompts, ForPrompts, goodPrompt, `{"prompt":""}`, BlankText},
		{"blank", Prompts, ForPrompts, goodPrompt, `{"prompt":" \n\t "}`, BlankText},
		{"no ids", Prompts, ForPrompts, goodPrompt, `{"prompt_ids":[]}`, BlankText},
		{"no messages", Prompts, ForPrompts, goodPrompt, `{"messages":[]}`, BlankText},
		{"blank", Dolly, ForPrompts, goodDolly, `{"instruction":" ","context":"c","response":"r"}`, BlankText},
		{"blank Human turn", HHRLHF, ForPrompts, goodHH, replace("q", " ").Replace(goodHH), BlankText},
		{"blank message", OASST1, ForPrompts, goodTree, replace(`"q"`, `" "`).Replace(goodTree), BlankText},

		{"no Assistant turn", HHRLHF, ForRanking, goodHH, `{"chosen":"\n\nHuman: q","rejected":"\n\nHuman: q"}`, NoAssistant},
		{"nothing shared", HHRLHF, ForPrompts, goodHH, `{"chosen":"\n\nHuman: q\n\nAssistant: a","rejected":"\n\nHuman: p\n\nAssistant: a"}`, NoAssistant},
		{"no Human turn", HHRLHF, ForPrompts, goodHH, `{"chosen":"\n\nAssistant: a","rejected":"\n\nAssistant: b"}`, NoHuman},
		{"plain text", HHRLHF, ForPrompts, goodHH, `{"chosen":"","rejected":""}`, NoHuman},

		{"key twice", Prompts, ForPrompts, goodPrompt, `{"prompt":"p","prompt":"q"}`, AmbiguousField},
		{"key twice, once escaped", Dolly, ForSFT, goodDolly, `{"instruction":"i","\u0069nstruction":"j","response":"r"}`, AmbiguousField},
		{"key twice in a message", Prompts, ForPrompts, goodPrompt, `{"messages":[{"role":"user","content":"u","role":"system"}]}`, AmbiguousField},
		{"key twice", OASST1, ForPrompts, goodTree, replace(`"text":"x"`, `"text":"x","text":"z"`).Replace(goodTree), AmbiguousField},
		{"two prompts", Prompts, ForPrompts, goodPrompt, `{"prompt":"p","prompt_ids":[1]}`, AmbiguousField},
		{"two systems", Prompts, ForPrompts, goodPrompt, `{"messages":[{"role":"user","content":"u"}],"system":"s"}`, AmbiguousField},
		{"two responses", Prompts, ForSFT, `{"prompt":"p","response":"r"}`, `{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}],"response":"r"}`, AmbiguousField},
		{"pair after the assistant", Pairs, ForRanking, goodPair, `{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}],"chosen":"c","rejected":"r"}`, AmbiguousField},
		{"assistant first", Prompts, ForPrompts, goodPrompt, `{"messages":[{"role":"assistant","content":"a"}]}`, RoleOrder},
		{"user twice", Prompts, ForPrompts, goodPrompt, `{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}`, RoleOrder},
		{"late system", Prompts, ForPrompts, goodPrompt, `{"messages":[{"role":"user","content":"a"},{"role":"system","content":"b"}]}`, RoleOrder},
		{"assistant at the root", OASST1, ForPrompts, goodTree, replace(`"prompter"`, `"assistant"`).Replace(goodTree), RoleOrder},
		{"assistant after assistant", OASST1, ForPrompts, goodTree, replace(`"rank":0,"replies":[]`, `"rank":0,"replies":[{"message_id":"c","text":"z","role":"assistant"}]`).Replace(goodTree), RoleOrder},
		{"parent elsewhere", OASST1, ForPrompts, goodTree, replace(`"message_id":"a","parent_id":"r"`, `"message_id":"a","parent_id":"elsewhere"`).Replace(goodTree), Orphan},
	} {
		t.Run(fmt.Sprintf("%s/%s", c.kind, c.name), func(t *testing.T) {
			renamed := strings.NewReplacer(`_id":"r"`, `_id":"r2"`, `"message_id":"a"`, `"message_id":"a2"`, `"message_id":"b"`, `"message_id":"b2"`)
			content := c.good + "\n" + c.bad + "\n" + renamed.Replace(c.good) + "\n"
			if c.kind == OASST1 { // ids are unique, so the bad row gets its own as well
				content = c.good + "\n" + strings.NewReplacer(`_id":"r"`, `_id":"r3"`, `"message_id":"a"`, `"message_id":"a3"`, `"message_id":"b"`, `"message_id":"b3"`).Replace(c.bad) + "\n" + renamed.Replace(c.good) + "\n"
			}
			good, _ := mustRead(t, c.kind, c.use, c.good)
			if len(good) == 0 {
				t.Fatal("the good row gives no record: the test is wrong")
			}
			records, tally := mustRead(t, c.kind, c.use, content)
			if tally.Malformed[c.want] == 0 || tally.MalformedRows != 1 || len(tally.Malformed) != 1 {
				t.Fatalf("malformed %v in %d rows; want %q in 1\nrow: %s", tally.Malformed, tally.MalformedRows, c.want, c.bad)
			}
			if len(records) < 2*len(good) {
				t.Errorf("%d records; the two good rows alone give %d", len(records), 2*len(good))
			}
			if tally.Rows != 3 {
				t.Errorf("%d rows, want 3", tally.Rows)
			}
			if !strings.Contains(tally.Examples[0], "data.jsonl:2: "+string(c.want)) {
				t.Errorf("example %q names another place or reason", tally.Examples[0])
			}
			_, _, err := readInto(Spec{Kind: c.kind, Use: c.use, Files: []string{writeFile(t, "data.jsonl", []byte(content))}}, &Tally{StopOnBad: true})
			if !errors.Is(err, ErrData) || !strings.Contains(err.Error(), "data.jsonl:2: "+string(c.want)) {
				t.Errorf("on_bad stop: %v", err)
			}
		})
	}
}

func total(counts map[Reason]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// A surrogate pair, an escaped backslash before "ud800" and text that merely looks like an escape are no problem.
func TestSurrogatesThatAreFine(t *testing.T) {
	for raw, want := range map[string]string{
		`"\ud83d\ude00"`: "😀", `"\\ud800"`: `\ud800`, `"\\\\ud800"`: `\\ud800`, `"ud800"`: "ud800", `"\u00e9\n"`: "é\n",
		`"a\ud83d\ude00\ud83d\ude00b"`: "a😀😀b", `"\uFFFD"`: "\ufffd",
	} {
		if got, _, p := decodeText("x", []byte(raw)); p != nil || got != want {
			t.Errorf("decodeText(%s) = %q, %v; want %q", raw, got, p, want)
		}
	}
}

// What is dropped rather than malformed, and what becomes of the rest.
func TestDroppedRows(t *testing.T) {
	for _, c := range []struct {
		name string
		kind Kind
		use  Use
		row  string
		want map[Reason]int
		kept int
	}{
		{"empty response", Dolly, ForSFT, `{"instruction":"i","context":"","response":" "}`, map[Reason]int{EmptyResponse: 1}, 0},
		{"its prompt is good", Dolly, ForPrompts, `{"instruction":"i","context":"","response":" "}`, nil, 1},
		{"empty response", Prompts, ForSFT, `{"prompt":"p","response":""}`, map[Reason]int{EmptyResponse: 1}, 0},
		{"identical pair", Pairs, ForRanking, `{"prompt":"p","chosen":"c","rejected":"c"}`, map[Reason]int{IdenticalPair: 1}, 0},
		{"identical pair", Pairs, ForPrompts, `{"prompt":"p","chosen":"c","rejected":"c"}`, nil, 1},
		{"empty chosen", Pairs, ForRanking, `{"prompt":"p","chosen":"","rejected":"c"}`, map[Reason]int{EmptyResponse: 1}, 0},
		{"identical pair", HHRLHF, ForRanking, `{"chosen":"\n\nHuman: q\n\nAssistant: c","rejected":"\n\nHuman: q\n\nAssistant: c"}`, map[Reason]int{IdenticalPair: 1}, 0},
		{"empty chosen", HHRLHF, ForRanking, `{"chosen":"\n\nHuman: q\n\nAssistant:","rejected":"\n\nHuman: q\n\nAssistant: c"}`, map[Reason]int{EmptyResponse: 1}, 0},
		{"differs earlier", HHRLHF, ForRanking, `{"chosen":"\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant: x","rejected":"\n\nHuman: q\n\nAssistant: b"}`, map[Reason]int{DiffersEarlier: 1}, 0},
		{"differs earlier", HHRLHF, ForPrompts, `{"chosen":"\n\nHuman: q\n\nAssistant: a\n\nHuman: r\n\nAssistant: x","rejected":"\n\nHuman: q\n\nAssistant: b"}`, nil, 1},
		{"ends on a Human", HHRLHF, ForRanking, `{"chosen":"\n\nHuman: q\n\nAssistant: a\n\nHuman: r","rejected":"\n\nHuman: q\n\nAssistant: b"}`, map[Reason]int{DiffersEarlier: 1}, 0},
		{"two Assistants", HHRLHF, ForPrompts, `{"chosen":"\n\nHuman: q\n\nAssistant: a\n\nAssistant: x\n\nHuman: r\n\nAssistant: 1","rejected":"\n\nHuman: q\n\nAssistant: a\n\nAssistant: x\n\nHuman: r\n\nAssistant: 2"}`, map[Reason]int{NotAlternating: 1}, 0},
	} {
		records, tally := mustRead(t, c.kind, c.use, c.row)
		if !maps.Equal(tally.Dropped, c.want) || len(records) != c.kept || tally.MalformedRows != 0 {
			t.Errorf("%s, %s for %d: dropped %v, %d records; want %v, %d", c.kind, c.name, c.use, tally.Dropped, len(records), c.want, c.kept)
		}
	}
}

// A row counts as malformed once, however many of its parts are; examples are bounded, and so is what they quote.
func TestMalformedRowCountsOnce(t *testing.T) {
	row := `{"message_tree_id":"r","tree_state":"ready_for_export","prompt":{"message_id":"r","text":"q","role":"prompter","lang":"en","review_result":true,"replies":[` +
		strings.TrimSuffix(strings.Repeat(`{"message_id":"`+strings.Repeat(`long\u001b`, 1000)+`","text":"","role":"assistant"},`, 7), ",") + `]}}`
	records, tally := mustRead(t, OASST1, ForPrompts, row)
	if len(records) != 1 || tally.MalformedRows != 1 || tally.Malformed[BlankText] != 7 || len(tally.Examples) != examplesPerReason {
		t.Errorf("%d records, %d rows, %v, %d examples", len(records), tally.MalformedRows, tally.Malformed, len(tally.Examples))
	}
	for _, e := range tally.Examples {
		if len(e) > 1200 || strings.ContainsRune(e, 0x1b) {
			t.Errorf("example of %d bytes: %q", len(e), e)
		}
	}
}
