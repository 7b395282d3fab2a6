package dataset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"alfred/internal/config"
	"alfred/internal/dataset/source"
)

const tree = `{"message_tree_id":"r","tree_state":"ready_for_export","prompt":{"message_id":"r","text":"q","role":"prompter","lang":"en","review_result":true,"replies":[
{"message_id":"b","text":"worst answer","role":"assistant","rank":2},{"message_id":"a","text":"best","role":"assistant","rank":0,"replies":[{"message_id":"p","text":"more?","role":"prompter"}]},
{"message_id":"c","text":"so so","role":"assistant","rank":1}]}}`

// oneLine keeps JSON that is written over several lines on one.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "") + "\n" }

func TestLossMask(t *testing.T) {
	root := folder(t, map[string]string{"data.jsonl": dialogue})
	opts := options(root)
	for turns, want := range map[string]string{
		"":       "\n\nUser: One?\nAlfred: Uno.\nUser: Two?\nIn Latin.\nAlfred:⟦ Duo.<EOD>⟧",
		LossLast: "\n\nUser: One?\nAlfred: Uno.\nUser: Two?\nIn Latin.\nAlfred:⟦ Duo.<EOD>⟧",
		LossAll:  "\n\nUser: One?\nAlfred:⟦ Uno.⟧\nUser: Two?\nIn Latin.\nAlfred:⟦ Duo.<EOD>⟧",
	} {
		opts.LossTurns = turns
		s := all(mustOpen[SFT](t, opts, spec(source.Prompts, "data.jsonl", "chat")))[0]
		if got := s.show(decode); got != paragraph+want {
			t.Errorf("loss_turns %q:\n got %q\nwant %q", turns, got, paragraph+want)
		}
		if len(s.IDs) != len(s.Loss) || s.IDs[len(s.IDs)-1] != eod || slices.Index(s.IDs, eod) != len(s.IDs)-1 {
			t.Errorf("loss_turns %q: %d ids, %d mask entries; one EOD at the end wanted", turns, len(s.IDs), len(s.Loss))
		}
	}
}

// A tokenizer that joins across a boundary shows what is tokenised apart: it gives "ab" one id.
type pairTokenizer struct{ bytesTokenizer }

func (p pairTokenizer) Encode(text string) []int32 {
	var ids []int32
	for len(text) > 0 {
		if strings.HasPrefix(text, "ab") {
			ids, text = append(ids, 300), text[2:]
			continue
		}
		ids, text = append(ids, int32(text[0])), text[1:]
	}
	return ids
}

func TestTokenisedApart(t *testing.T) {
	root := folder(t, map[string]string{"data.jsonl": `{"prompt":"aba","response":"bab"}`})
	opts := options(root)
	opts.Tokenizer = pairTokenizer{}
	for _, turns := range []string{LossLast, LossAll} {
		opts.LossTurns = turns
		s := all(mustOpen[SFT](t, opts, spec(source.Prompts, "data.jsonl", "")))[0]
		if want := []int32{300, 'a', 'b', 300, eod}; !slices.Equal(s.IDs, want) {
			t.Errorf("ids %v, want %v", s.IDs, want)
		}
	}
	p := all(mustOpen[Prompt](t, opts, spec(source.Prompts, "data.jsonl", "")))[0]
	if want := []int32{300, 'a'}; !slices.Equal(p.IDs, want) || p.Reference != "bab" {
		t.Errorf("prompt %v with reference %q, want %v and %q", p.IDs, p.Reference, want, "bab")
	}
}

func TestRanked(t *testing.T) {
	root := folder(t, map[string]string{"t.jsonl": oneLine(tree), "p.jsonl": `{"id":"i","prompt":"q","chosen":"c","rejected":"r"}`})
	r := all(mustOpen[Ranked](t, options(root), spec(source.OASST1, "t.jsonl", "chat")))[0]
	if !slices.Equal(r.Ranks, []int{0, 1, 2}) || r.ID != "r" || r.Source != "oasst1" {
		t.Errorf("ranked %+v", r)
	}
	for i, want := range []string{" best<EOD>", " so so<EOD>", " worst answer<EOD>"} {
		if got := decode(r.Sequence(i)); got != paragraph+"\n\nUser: q\nAlfred:"+want {
			t.Errorf("sequence %d: %q", i, got)
		}
	}
	p := all(mustOpen[Ranked](t, options(root), spec(source.Pairs, "p.jsonl", "")))[0]
	if decode(p.Prompt) != "q" || decode(p.Responses[0]) != "c<EOD>" || decode(p.Responses[1]) != "r<EOD>" || !slices.Equal(p.Ranks, []int{0, 1}) || p.ID != "i" {
		t.Errorf("pair %+v", p)
	}
}

// The limits count the EOD and hold to the token; nothing is cut.
func TestLengthLimits(t *testing.T) {
	root := folder(t, map[string]string{
		"sft.jsonl":    `{"prompt":"123","response":"45"}` + "\n" + `{"prompt":"123","response":"456"}`,
		"prompt.jsonl": `{"prompt":"123"}` + "\n" + `{"prompt":"1234"}`,
		"ids.jsonl":    `{"prompt_ids":[1,2,3]}` + "\n" + `{"prompt_ids":[1,2,3,4]}`,
		"pairs.jsonl":  `{"prompt":"123","chosen":"45","rejected":"6"}` + "\n" + `{"prompt":"123","chosen":"4","rejected":"567"}`,
		"tree.jsonl":   oneLine(tree),
	})
	opts := options(root)
	opts.MaxLen, opts.PromptMaxLen = 6, 3
	check := func(name string, kept int, sources []SourceReport, want int, notes map[string]int) {
		t.Helper()
		if got := reasons(sources[0].Dropped)[string(TooLong)]; kept != 1 || got != want || fmt.Sprint(reasons(sources[0].Notes)) != fmt.Sprint(notes) {
			t.Errorf("%s: %d kept, %d too long, notes %v; want 1, %d, %v", name, kept, got, sources[0].Notes, want, notes)
		}
	}
	sft := mustOpen[SFT](t, opts, spec(source.Prompts, "sft.jsonl", ""))
	check("sft", len(all(sft)), sft.Report().Sources, 1, nil)
	for _, name := range []string{"prompt.jsonl", "ids.jsonl"} {
		prompts := mustOpen[Prompt](t, opts, spec(source.Prompts, name, ""))
		check(name, len(all(prompts)), prompts.Report().Sources, 1, nil)
	}
	pairs := mustOpen[Ranked](t, opts, spec(source.Pairs, "pairs.jsonl", ""))
	check("pairs", len(all(pairs)), pairs.Report().Sources, 1, nil)

	// A list loses the reply that is too long and keeps the others.
	opts.MaxLen = len(paragraph+"\n\nUser: q\nAlfred: so so") + 1
	lists := mustOpen[Ranked](t, opts, spec(source.OASST1, "tree.jsonl", "chat"))
	check("tree", len(all(lists)), lists.Report().Sources, 0, map[string]int{string(LongReplies): 1})
	if got := all(lists)[0].Ranks; !slices.Equal(got, []int{0, 1}) {
		t.Errorf("ranks %v, want 0 and 1", got)
	}
}

func TestDuplicates(t *testing.T) {
	root := folder(t, map[string]string{
		"a.jsonl": `{"prompt":"x","response":"1"}` + "\n" + `{"prompt":"x","response":"1"}` + "\n" + `{"prompt":"x","response":"2"}`,
		"b.jsonl": `{"prompt":"x","response":"2"}` + "\n" + `{"prompt":"y","response":"2"}`,
	})
	a, b := spec(source.Prompts, "a.jsonl", ""), spec(source.Prompts, "b.jsonl", "")
	set := mustOpen[SFT](t, options(root), a, b)
	for i, want := range []int{1, 1} {
		if got := reasons(set.Report().Sources[i].Dropped)[string(Duplicate)]; got != want {
			t.Errorf("source %d: %d duplicates, want %d", i, got, want)
		}
	}
	if set.Train().Len() != 3 {
		t.Errorf("%d samples, want 3", set.Train().Len())
	}
	if prompts := mustOpen[Prompt](t, options(root), a, b); prompts.Train().Len() != 2 {
		t.Errorf("%d prompts, want 2: a prompt counts once whatever its responses", prompts.Train().Len())
	}
}

// emptyTokenizer has no symbol for digits; it says so.
type emptyTokenizer struct{ bytesTokenizer }

func (emptyTokenizer) Encode(text string) []int32 {
	return bytesTokenizer{}.Encode(strings.Trim(text, "0123456789"))
}
func (emptyTokenizer) Dropped(text string) int {
	return len(text) - len(strings.Trim(text, "0123456789"))
}

func TestNoTokens(t *testing.T) {
	root := folder(t, map[string]string{"d.jsonl": `{"prompt":"1","response":"x"}` + "\n" + `{"prompt":"x","response":"22"}` + "\n" + `{"prompt":"x3","response":"y"}`})
	opts := options(root)
	opts.Tokenizer = emptyTokenizer{}
	set := mustOpen[SFT](t, opts, spec(source.Prompts, "d.jsonl", ""))
	r := set.Report().Sources[0]
	if len(all(set)) != 1 || reasons(r.Dropped)[string(NoTokens)] != 2 || reasons(r.Notes)[string(LostBytes)] != 1 {
		t.Errorf("%d samples, dropped %v, notes %v; want 1, two without tokens, one lost byte", len(all(set)), r.Dropped, r.Notes)
	}
}

// roomyTokenizer reserves far more than it fills, as tokenizers do that guess a text's length in tokens.
type roomyTokenizer struct{ bytesTokenizer }

func (roomyTokenizer) Encode(text string) []int32 {
	return append(make([]int32, 0, 4*len(text)+100), bytesTokenizer{}.Encode(text)...)
}

// Samples stay in memory for a whole run: their ids take no more than they need.
func TestSamplesHoldNoSpareMemory(t *testing.T) {
	root := folder(t, map[string]string{"p.jsonl": `{"prompt":"a prompt","chosen":"chosen","rejected":"rejected"}`, "d.jsonl": dialogue})
	opts := options(root)
	opts.Tokenizer = roomyTokenizer{}
	check := func(name string, n, capacity int) {
		t.Helper()
		if n == 0 || n != capacity {
			t.Errorf("%s: %d of %d places used", name, n, capacity)
		}
	}
	p := all(mustOpen[Prompt](t, opts, spec(source.Pairs, "p.jsonl", "")))[0]
	check("prompt", len(p.IDs), cap(p.IDs))
	r := all(mustOpen[Ranked](t, opts, spec(source.Pairs, "p.jsonl", "")))[0]
	check("prompt of a ranking", len(r.Prompt), cap(r.Prompt))
	check("ranks", len(r.Ranks), cap(r.Ranks))
	for _, response := range r.Responses {
		check("response", len(response), cap(response))
	}
	for _, turns := range []string{LossLast, LossAll} {
		opts.LossTurns = turns
		s := all(mustOpen[SFT](t, opts, spec(source.Prompts, "d.jsonl", "chat")))[0]
		check("sequence", len(s.IDs), cap(s.IDs))
		check("mask", len(s.Loss), cap(s.Loss))
	}
}

func TestIDsNeedNoTokenizer(t *testing.T) {
	root := folder(t, map[string]string{"ids.jsonl": `{"prompt_ids":[7,8]}`, "text.jsonl": `{"prompt":"x"}`})
	opts := options(root)
	opts.Tokenizer = nil
	set := mustOpen[Prompt](t, opts, spec(source.Prompts, "ids.jsonl", ""))
	if p := all(set)[0]; !slices.Equal(p.IDs, []int32{7, 8}) || p.Text != "" {
		t.Errorf("prompt %+v", p)
	}
	if text := set.Report().Sources[0].Samples[0].Text; text != "7 8 " {
		t.Errorf("shown as %q", text)
	}
	_, err := Open[Prompt](context.Background(), []config.Source{spec(source.Prompts, "text.jsonl", "")}, opts)
	if !errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), "text.jsonl:1") {
		t.Errorf("text without a tokenizer: %v", err)
	}
}
