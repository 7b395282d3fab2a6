package tokenizer

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// checkEncode holds what must be true of any tokenizer and any text.
func checkEncode(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	ids := tok.Encode(text)
	if again := tok.Encode(text); !slices.Equal(ids, again) {
		t.Fatalf("Encode(%q) = %v, then %v", text, ids, again)
	}
	specials := map[int32]bool{}
	for _, pass := range tok.added {
		for _, token := range pass.tokens {
			specials[token.id] = token.special
		}
	}
	for _, id := range ids {
		if _, ok := tok.TokenText(id); !ok {
			t.Fatalf("Encode(%q) has the unknown id %d", text, id)
		}
		if specials[id] {
			t.Fatalf("Encode(%q) has the special id %d", text, id)
		}
	}
	if dropped := tok.Dropped(text); dropped < 0 {
		t.Fatalf("Dropped(%q) = %d", text, dropped)
	}
	checkStream(t, tok, ids)
	checkStream(t, tok, tok.EncodeSpecial(text))
}

func FuzzEncode(f *testing.F) {
	for _, text := range []string{
		"", "Hello, world!", "<|endoftext|> it's  a\n\n test", "\u00bd\xFF\xC3", "1234567", strings.Repeat("ab", 60), "x  <c> the<a><b>s",
	} {
		f.Add(text)
	}
	toks := []*Tokenizer{loadSmall(f)}
	for _, change := range []string{
		`{"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Contiguous"},
			{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},{"type":"Digits","individual_digits":false},
			{"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},"behavior":"Isolated","invert":false}]}}`,
		`{"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?:a|b)+c?|."},"behavior":"MergedWithNext","invert":true},
			{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":true,"use_regex":false}]},
		  "added_tokens":[{"id":1000,"content":"<|endoftext|>","single_word":false,"lstrip":true,"rstrip":true,"normalized":true,"special":true},
			{"id":1001,"content":"<a>","single_word":true,"lstrip":true,"rstrip":true,"normalized":false,"special":false},
			{"id":1002,"content":"the","single_word":true,"lstrip":false,"rstrip":false,"normalized":true,"special":false}]}`,
	} {
		tok, err := Parse(applyChange(f, smallFile(f), json.RawMessage(change)))
		if err != nil {
			f.Fatal(err)
		}
		toks = append(toks, tok)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range toks {
			checkEncode(t, tok, text)
		}
		ids := toks[0].Encode(text)
		if got := string(toks[0].DecodeBytes(ids)); got != text {
			t.Fatalf("DecodeBytes(Encode(%q)) = %q", text, got)
		}
		falcon := toks[1].DecodeBytes(toks[1].EncodeSpecial(text))
		if string(falcon) != text {
			t.Fatalf("Falcon pre-tokenizers: DecodeBytes(EncodeSpecial(%q)) = %q", text, falcon)
		}
	})
}

func FuzzParse(f *testing.F) {
	tiny := `{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":4,"content":"<|endoftext|>",` +
		`"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],"normalizer":null,` +
		`"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Contiguous"},` +
		`{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},{"type":"Digits","individual_digits":false},` +
		`{"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},"behavior":"Isolated","invert":false}]},"post_processor":null,` +
		`"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","unk_token":null,"ignore_merges":true,"vocab":{"a":0,"b":1,"ab":2,"\u0120":3},` +
		`"merges":["a b"]}}`
	f.Add([]byte(tiny))
	f.Add([]byte(strings.Replace(tiny, `"a b"`, `["a","b"]`, 1)))
	f.Add([]byte(strings.Replace(tiny, `"Regex":"[0-9][0-9][0-9]"`, `"String":"a"`, 1)))
	f.Add([]byte(`{"model":{"vocab":{"\ud83d":1}}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Parse(data)
		if err != nil {
			return
		}
		if string(tok.Bytes()) != string(data) {
			t.Fatal("Bytes() differ from the file")
		}
		for _, text := range []string{"ab ab.. 1234 \u00bd<|endoftext|>", string(data)} {
			checkEncode(t, tok, text)
		}
	})
}
