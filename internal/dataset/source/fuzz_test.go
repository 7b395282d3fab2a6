package source

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// fuzzRows feeds arbitrary files to a reader. Whatever the input, the reader returns; a record that it lets through keeps
// the promises that Record makes; the counts add up.
func fuzzRows(f *testing.F, kind Kind, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Add([]byte("\xef\xbb\xbf{}\r\n\n[1]\n\x00"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x00"))
	path := filepath.Join(f.TempDir(), "fuzz")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, use := range []Use{ForSFT, ForRanking, ForPrompts} {
			if !kind.Serves(use) {
				continue
			}
			tally := &Tally{}
			err := Read(context.Background(), Spec{Kind: kind, Use: use, Files: []string{path}}, tally, func(r *Record) error {
				checkRecord(t, r, use)
				return nil
			})
			malformed := 0
			for _, n := range tally.Malformed {
				malformed += n
			}
			if err == nil && (tally.MalformedRows > tally.Rows || malformed < tally.MalformedRows) {
				t.Errorf("%d malformed rows of %d, by reason %v", tally.MalformedRows, tally.Rows, tally.Malformed)
			}
		}
	})
}

func checkRecord(t *testing.T, r *Record, use Use) {
	texts := []string{r.System, r.Instruction, r.Input, r.Response}
	for _, turn := range r.Turns {
		texts = append(texts, turn.Text)
	}
	for _, a := range r.Ranked {
		texts = append(texts, a.Text)
	}
	for _, s := range texts {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) || strings.Contains(s, "\r\n") {
			t.Errorf("text %q", s)
		}
	}
	switch {
	case r.ID == "" || r.SplitKey == "":
		t.Errorf("no id or split key: %+v", r)
	case r.PromptIDs == nil && !alternates(r.Turns):
		t.Errorf("turns do not alternate: %+v", r.Turns)
	case r.PromptIDs == nil && blank(r.Turns[len(r.Turns)-1].Text):
		t.Errorf("blank prompt: %+v", r)
	case use == ForSFT && (!r.HasResponse || blank(r.Response)):
		t.Errorf("no response to learn: %+v", r)
	case use == ForRanking && (len(r.Ranked) < 2 || r.Ranked[0].Rank >= r.Ranked[len(r.Ranked)-1].Rank):
		t.Errorf("no ranking: %+v", r.Ranked)
	}
}

func FuzzOasst(f *testing.F) {
	fuzzRows(f, OASST1, goodTree, goodMessage, flatRow("r", "", "prompter", "")+flatRow("a", "r", "assistant", `,"rank":0`)+flatRow("b", "r", "assistant", `,"rank":1`),
		flatRow("a", "b", "prompter", "")+flatRow("b", "a", "assistant", ""), `{"thread_id":"x"}`)
}

func FuzzHH(f *testing.F) {
	fuzzRows(f, HHRLHF, goodHH, `{"chosen":"\n\nHuman:\n\nAssistant:\n\nHuman: \n\nAssistant:","rejected":"\n\nHuman:\n\nAssistant:"}`,
		`{"chosen":"\n\nHuman: a\n\nHuman: b\n\nAssistant: é","rejected":"\n\nHuman: a\n\nHuman: b\n\nAssistant: è"}`)
}

func FuzzDolly(f *testing.F) {
	fuzzRows(f, Dolly, goodDolly, `{"instruction":"\ud83d\ude00","response":"\u0000"}`)
}

func FuzzPrompts(f *testing.F) {
	fuzzRows(f, Prompts, goodPrompt, `{"prompt_ids":[1,2]}`, `{"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"},{"role":"assistant","content":"a"}]}`,
		`{"prompt":"p","system":"s","response":"r","id":"i"}`)
}

func FuzzPairs(f *testing.F) { fuzzRows(f, Pairs, goodPair, goodPair+"\n"+goodPair) }

func FuzzNatInst(f *testing.F) {
	fuzzRows(f, NatInst, sumTask, `{"Definition":"d","Instances":[{"input":"i","output":"o"}]}`)
}

// FuzzLoneSurrogate holds the scanner of escapes against the decoder: a string without a lone surrogate decodes to no more
// replacement characters than were written.
func FuzzLoneSurrogate(f *testing.F) {
	for _, s := range []string{`\ud83d\ude00`, `\ud800`, `\\ud800`, `\udc00\ud800`, `a\n\ud83d\ud83d\ude00`, `\uFFFD`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		raw := []byte(`"` + s + `"`)
		text, _, p := decodeText("x", raw)
		if p != nil && p.reason != LoneSurrogate || !utf8.ValidString(s) {
			return
		}
		written := strings.Count(s, "\ufffd") + strings.Count(strings.ToLower(s), `\ufffd`)
		switch {
		case p == nil && strings.Count(text, "\ufffd") > written:
			t.Errorf("%s decodes to %q without complaint", raw, text)
		case p != nil:
			// Then the decoder must have something to replace.
			if decoded := unquote(raw); decoded != "" && strings.Count(decoded, "\ufffd") <= strings.Count(s, "\ufffd") && !strings.Contains(strings.ToLower(s), `\ufffd`) {
				t.Errorf("%s has no lone surrogate: %q", raw, decoded)
			}
		}
	})
}

func unquote(raw []byte) (s string) {
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
