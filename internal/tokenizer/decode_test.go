package tokenizer

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// checkStream holds the streaming decoder against Decode, and every part against UTF-8.
func checkStream(t interface {
	Helper()
	Errorf(string, ...any)
}, tok *Tokenizer, ids []int32) {
	t.Helper()
	stream := tok.NewStream()
	for range 2 { // a flushed stream is as good as new
		var b strings.Builder
		for _, id := range ids {
			part := stream.Push(id)
			if !utf8.ValidString(part) {
				t.Errorf("Push(%d) of %v = %q splits a character", id, ids, part)
			}
			b.WriteString(part)
		}
		b.WriteString(stream.Flush())
		if got, want := b.String(), tok.Decode(ids); got != want {
			t.Errorf("streaming %v\n got %q\nwant %q", ids, got, want)
		}
	}
}

func TestStreamNeverSplitsACharacter(t *testing.T) {
	tok := loadSmall(t)
	text := "a\u00e9\u6f22\U0001F999"
	stream := tok.NewStream()
	var parts []string
	for _, b := range []byte(text) {
		id := tok.symbols[b]
		if part := stream.Push(id); part != "" {
			parts = append(parts, part)
		}
	}
	if got, want := strings.Join(parts, "|"), "a|\u00e9|\u6f22|\U0001F999"; got != want {
		t.Errorf("parts %q, want %q", got, want)
	}
	if got := stream.Flush(); got != "" {
		t.Errorf("Flush() = %q after whole characters", got)
	}
	stream.Push(tok.symbols[0xF0])
	if got := stream.Push(tok.symbols[0x9F]); got != "" {
		t.Errorf("half a character gave %q", got)
	}
	if got := stream.Flush(); got != "\uFFFD" {
		t.Errorf("Flush() = %q in the middle of a character, want U+FFFD", got)
	}
}

// The examples of the Unicode standard, section 3.9, tables 3-8 to 3-11.
func TestDecodeIllFormed(t *testing.T) {
	tok := loadSmall(t)
	for _, c := range []struct{ bytes, want string }{
		{"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82A", "????????A"},
		{"\xED\xA0\x80\xED\xBF\xBF\xED\xAFA", "????????A"},
		{"\xF4\x91\x92\x93\xFFA\x80\xBFB", "?????A??B"},
		{"\xE1\x80\xE2\xF0\x91\x92\xF1\xBFA", "????A"},
		{"a\xF0\x90\x80", "a?"},
		{"\xE2\x82", "?"},
		{"\xF4\x8F\xBF", "?"},
		{"\xF5\x80", "??"},
	} {
		want := strings.ReplaceAll(c.want, "?", "\uFFFD")
		ids := tok.Encode(c.bytes)
		if got := tok.Decode(ids); got != want {
			t.Errorf("Decode of % X = %q, want %q", c.bytes, got, want)
		}
		checkStream(t, tok, ids)
	}
}

func TestDecodeUnknownIDs(t *testing.T) {
	tok := loadSmall(t)
	ids := []int32{-1, tok.symbols['a'], int32(tok.VocabSize()), tok.symbols[0xC3], 1 << 30}
	if got, want := tok.Decode(ids), "\uFFFDa\uFFFD\uFFFD\uFFFD"; got != want {
		t.Errorf("Decode(%v) = %q, want %q", ids, got, want)
	}
	checkStream(t, tok, ids)
	if text, ok := tok.TokenText(-1); ok {
		t.Errorf("TokenText(-1) = %q, true", text)
	}
}

// anyText draws valid text, text with special tokens and contractions in it, and loose bytes.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.OneOf(
			rapid.SampledFrom([]string{EndOfDocument, "'s", "'re", " ", "  ", "\n", "123", "\u00bd", "the", ">>TITLE<<", "..."}),
			rapid.StringN(0, 3, -1),
		)), func(parts []string) string { return strings.Join(parts, "") }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	)
}

// With all byte symbols in the vocabulary, decoding gives back every byte, valid UTF-8 or not.
func TestDecodeIsExact(t *testing.T) {
	tok := loadSmall(t)
	rapid.Check(t, func(r *rapid.T) {
		text := anyText().Draw(r, "text")
		for _, ids := range [][]int32{tok.Encode(text), tok.EncodeSpecial(text)} {
			if got := tok.DecodeBytes(ids); string(got) != text {
				r.Fatalf("DecodeBytes(%v) = %q, want %q", ids, got, text)
			}
			if want := strings.ToValidUTF8(text, "\uFFFD"); utf8.ValidString(text) && tok.Decode(ids) != want {
				r.Fatalf("Decode(%v) = %q, want %q", ids, tok.Decode(ids), want)
			}
			checkStream(r, tok, ids)
		}
		if n := tok.Dropped(text); n != 0 {
			r.Fatalf("Dropped(%q) = %d for a full alphabet", text, n)
		}
	})
}

// Falcon lacks 28 byte symbols; whatever else is in a text comes back.
func TestFalconDecodeIsExactButForMissingBytes(t *testing.T) {
	tok := loadFalcon(t)
	missing := "\x03\x04\x05\x0B\x11\x13\x14\x15\x16\x17\x19\x1C\x1D\x1E\xC0\xC1\xF2\xF5\xF6\xF7\xF8\xF9\xFA\xFB\xFC\xFD\xFE\xFF"
	rapid.Check(t, func(r *rapid.T) {
		text := anyText().Draw(r, "text")
		var want []byte
		for _, b := range []byte(text) {
			if strings.IndexByte(missing, b) < 0 {
				want = append(want, b)
			}
		}
		ids := tok.Encode(text)
		if got := tok.DecodeBytes(ids); !bytes.Equal(got, want) {
			r.Fatalf("DecodeBytes(Encode(%q)) = %q, want %q", text, got, want)
		}
		if got := tok.Dropped(text); got != len(text)-len(want) {
			r.Fatalf("Dropped(%q) = %d, want %d", text, got, len(text)-len(want))
		}
		checkStream(r, tok, ids)
	})
}
