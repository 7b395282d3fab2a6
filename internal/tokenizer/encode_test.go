package tokenizer

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func smallFile(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/small.tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// parseEdited parses the small tokenizer after a change.
func parseEdited(t testing.TB, change func(spec, model map[string]any)) *Tokenizer {
	t.Helper()
	tok, err := Parse(edit(t, smallFile(t), change))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func addedJSON(id int, content string, flags ...string) map[string]any {
	token := map[string]any{"id": id, "content": content, "single_word": false, "lstrip": false,
		"rstrip": false, "normalized": false, "special": false}
	for _, flag := range flags {
		token[flag] = true
	}
	return token
}

// Text that looks like a control token stays text: no id of a special token comes out of Encode.
func TestEncodeTakesSpecialTokensAsText(t *testing.T) {
	tok := loadFalcon(t)
	eod, ok := tok.EOD()
	if !ok || eod != 11 {
		t.Fatalf("EOD() = %d, %v, want 11", eod, ok)
	}
	for _, text := range []string{
		"<|endoftext|>", "a<|endoftext|>b", ">>TITLE<<", "x >>MIDDLE<<<|endoftext|>", "User: hi\n\nHuman: hello",
	} {
		for _, id := range tok.Encode(text) {
			if id <= 11 {
				t.Errorf("Encode(%q) has the special id %d", text, id)
			}
		}
		if got := tok.Decode(tok.Encode(text)); got != text {
			t.Errorf("Encode(%q) decodes to %q", text, got)
		}
	}
	if got, want := tok.EncodeSpecial("a<|endoftext|>b"), []int32{76, 11, 77}; !slices.Equal(got, want) {
		t.Errorf("EncodeSpecial gave %v, want %v", got, want)
	}
}

// The same when ignore_merges could take a whole piece for the token, and when the file does not
// call the end of a document special.
func TestEncodeNeverGivesEOD(t *testing.T) {
	tok := parseEdited(t, func(spec, model map[string]any) {
		vocab := model["vocab"].(map[string]any)
		model["ignore_merges"] = true
		vocab[EndOfDocument] = len(vocab)
		spec["added_tokens"] = []any{addedJSON(len(vocab)-1, EndOfDocument)}
		spec["pre_tokenizer"].(map[string]any)["use_regex"] = false
	})
	eod, ok := tok.EOD()
	if !ok {
		t.Fatal("no EOD")
	}
	if got := tok.EncodeSpecial(EndOfDocument); !slices.Equal(got, []int32{eod}) {
		t.Errorf("EncodeSpecial gave %v, want %d", got, eod)
	}
	if got := tok.Encode(EndOfDocument); slices.Contains(got, eod) || len(got) < 2 {
		t.Errorf("Encode gave %v, which holds %d", got, eod)
	}
}

func TestDropped(t *testing.T) {
	falcon := loadFalcon(t)
	for text, want := range map[string]int{
		"": 0, "plain": 0, "a\x0Bb": 1, "\x03\x04\x05\x1E": 4, "\U00090000": 1, // F2 90 80 80, F2 is missing
	} {
		if got := falcon.Dropped(text); got != want {
			t.Errorf("falcon: Dropped(%q) = %d, want %d", text, got, want)
		}
	}
	removing := parseEdited(t, func(spec, _ map[string]any) {
		spec["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Punctuation", "behavior": "Removed"}, spec["pre_tokenizer"],
		}}
	})
	if got := removing.Dropped("a, b... (c)"); got != 6 {
		t.Errorf("Removed: Dropped = %d, want 6", got)
	}
	stripping := parseEdited(t, func(spec, model map[string]any) {
		spec["added_tokens"] = []any{addedJSON(len(model["vocab"].(map[string]any)), "<x>", "lstrip", "rstrip")}
	})
	if got := stripping.Dropped("a  <x>\t\u3000<x> b"); got != 7 { // 2 + 1 + 3 + 1
		t.Errorf("strip flags: Dropped = %d, want 7", got)
	}
	if got := loadSmall(t).Dropped("\xFF\x00\x0B\u3000"); got != 0 {
		t.Errorf("full alphabet: Dropped = %d, want 0", got)
	}
}

// An invalid byte is a character of its own that is no letter, number, space or punctuation, and
// keeps its own symbol.
func TestEncodeInvalidUTF8(t *testing.T) {
	tok := loadSmall(t)
	symbol := func(b byte) int32 { return tok.symbols[b] }
	for text, want := range map[string][]int32{
		"\xFF":         {symbol(0xFF)},
		"a\x80b":       {symbol('a'), symbol(0x80), symbol('b')},
		"\xE6\xBC!":    {symbol(0xE6), symbol(0xBC), symbol('!')},
		"\xED\xA0\x80": {symbol(0xED), symbol(0xA0), symbol(0x80)},
	} {
		if got := tok.Encode(text); !slices.Equal(got, want) {
			t.Errorf("Encode(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestAppendEncode(t *testing.T) {
	tok := loadSmall(t)
	ids := tok.AppendEncode([]int32{-5}, "the river")
	if want := append([]int32{-5}, tok.Encode("the river")...); !slices.Equal(ids, want) {
		t.Errorf("AppendEncode gave %v, want %v", ids, want)
	}
	if got := tok.Encode(""); got == nil || len(got) != 0 {
		t.Errorf("Encode(\"\") = %#v, want an empty slice", got)
	}
}

// A cached word gives the same ids as a fresh one, whatever else went through the cache.
func TestCacheChangesNothing(t *testing.T) {
	warm := loadSmall(t)
	rapid.Check(t, func(r *rapid.T) {
		text := anyText().Draw(r, "text")
		first := warm.Encode(text)
		again := warm.Encode(text)
		warm.cache = newWordCache()
		fresh := warm.Encode(text)
		if !slices.Equal(first, again) || !slices.Equal(first, fresh) {
			r.Fatalf("Encode(%q) = %v, then %v, and %v with an empty cache", text, first, again, fresh)
		}
	})
}

// Words that share a slot push each other out and stay right.
func TestCacheIsBounded(t *testing.T) {
	cache := newWordCache()
	for i := range 3 {
		word := fmt.Sprint("word", i)
		cache.store(6, word, []int32{int32(i)}, i)
		got := cache.find(6, word)
		if got == nil || got.ids[0] != int32(i) || got.dropped != i {
			t.Fatalf("find(%q) = %+v right after store", word, got)
		}
	}
	if got := cache.find(6, "word1"); got == nil || got.ids[0] != 1 {
		t.Errorf("the word before the last is gone: %+v", got)
	}
	if got := cache.find(6, "word0"); got != nil {
		t.Errorf("three words in two slots: %+v", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := loadSmall(t)
	lines := readGolden(t, "small.jsonl.gz")[1:2001]
	want := make([][]int32, len(lines))
	for i := range lines {
		want[i] = loadSmallOnce(t).Encode(lines[i].Text)
	}
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range lines {
				at := (i*7 + worker*501) % len(lines)
				text := lines[at].Text
				if got := tok.Encode(text); !slices.Equal(got, want[at]) {
					t.Errorf("worker %d: Encode(%q) = %v, want %v", worker, text, got, want[at])
					return
				}
				tok.EncodeSpecial(text)
				tok.Decode(want[at])
				tok.Dropped(text)
			}
		})
	}
	group.Wait()
}

var loadSmallOnce = func() func(t testing.TB) *Tokenizer {
	var once sync.Once
	var tok *Tokenizer
	return func(t testing.TB) *Tokenizer {
		once.Do(func() { tok = loadSmall(t) })
		return tok
	}
}()

func TestAccessors(t *testing.T) {
	data := smallFile(t)
	tok := loadSmall(t)
	if got := tok.VocabSize(); got != 1001 {
		t.Errorf("VocabSize() = %d, want 1001", got)
	}
	if id, ok := tok.EOD(); !ok || id != 1000 {
		t.Errorf("EOD() = %d, %v, want 1000", id, ok)
	}
	if got := tok.Bytes(); string(got) != string(data) {
		t.Error("Bytes() differ from the file")
	}
	tok.Bytes()[0] = 'X' // a copy
	if got := tok.Bytes()[0]; got != '{' {
		t.Error("Bytes() gives away the tokenizer's own memory")
	}
	var file struct {
		Model struct{ Vocab map[string]int32 }
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for text, want := range file.Model.Vocab {
		if id, ok := tok.ID(text); !ok || id != want {
			t.Errorf("ID(%q) = %d, %v, want %d", text, id, ok, want)
		}
		if got, ok := tok.TokenText(want); !ok || got != text {
			t.Errorf("TokenText(%d) = %q, %v, want %q", want, got, ok, text)
		}
	}
	if _, ok := tok.ID("no such token"); ok {
		t.Error("ID of an unknown token")
	}
	none := parseEdited(t, func(spec, _ map[string]any) { spec["added_tokens"] = []any{} })
	if id, ok := none.EOD(); ok || id != 0 {
		t.Errorf("EOD() = %d, %v without the token", id, ok)
	}
	if a, b := tok.SHA256(), none.SHA256(); a == b || len(a) != 64 || strings.ToLower(a) != a {
		t.Errorf("SHA256() = %s and %s", a, b)
	}
}
