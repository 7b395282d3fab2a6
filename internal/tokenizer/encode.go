package tokenizer

import (
	"slices"
	"sync"
)

// maxKeptSymbols bounds the scratch memory that an encoder keeps between texts.
const maxKeptSymbols = 1 << 16

// pretokenizer is the part of the pre_tokenizer sequence up to ByteLevel, ByteLevel's own settings,
// and the part after it. What follows the words of ByteLevel depends on the word alone, so it is
// cached together with the merges.
type pretokenizer struct {
	before      []splitter
	prefixSpace bool // ByteLevel puts a space before a piece that has none
	words       bool // ByteLevel cuts words with the GPT-2 pattern
	after       []splitter
}

// encoder is the state of one encoding.
type encoder struct {
	t       *Tokenizer
	merger  merger
	ids     []int32
	dropped int
}

func newEncoderPool(t *Tokenizer) *sync.Pool {
	return &sync.Pool{New: func() any { return &encoder{t: t, merger: merger{merges: t.merges}} }}
}

// Encode gives the ids of text as content: the text of special tokens is plain text, and no id in
// the result is that of a special token. It equals the official encode with encode_special_tokens
// set. Nothing is added at either end; empty text gives no ids.
func (t *Tokenizer) Encode(text string) []int32 {
	return t.AppendEncode(make([]int32, 0, len(text)/3+1), text)
}

// AppendEncode appends the ids that Encode gives to dst.
func (t *Tokenizer) AppendEncode(dst []int32, text string) []int32 {
	ids, _ := t.encode(dst, text, false)
	return ids
}

// EncodeSpecial gives the ids of text with special tokens found in it, as the official encode does
// by default. Use it for templates of one's own, never for text that others wrote.
func (t *Tokenizer) EncodeSpecial(text string) []int32 {
	ids, _ := t.encode(make([]int32, 0, len(text)/3+1), text, true)
	return ids
}

// Dropped gives the number of bytes of text that the ids of Encode do not hold: bytes whose symbol
// the vocabulary lacks, matches of a pre-tokenizer with the behaviour Removed, and white space taken
// by the strip flags of an added token. It is 0 for every text when the vocabulary has all 256
// byte symbols and the file uses neither of the other two.
func (t *Tokenizer) Dropped(text string) int {
	if t.lossless {
		return 0
	}
	_, dropped := t.encode(nil, text, false)
	return dropped
}

func (t *Tokenizer) encode(dst []int32, text string, specials bool) ([]int32, int) {
	e := t.encoders.Get().(*encoder)
	e.ids, e.dropped = dst, 0
	e.text(text, specials, t.added)
	ids, dropped := e.ids, e.dropped
	e.ids = nil
	if cap(e.merger.symbols) > maxKeptSymbols {
		e.merger = merger{merges: t.merges}
	}
	t.encoders.Put(e)
	return ids, dropped
}

// text cuts out added tokens, pass after pass, and hands the rest to the pre-tokenizers.
func (e *encoder) text(s string, specials bool, passes []*addedMatcher) {
	if len(passes) == 0 || !specials && !e.t.plainAdded {
		e.pieces(s, e.t.pretokenizer.before)
		return
	}
	passes[0].cut(s, specials,
		func(plain string) { e.text(plain, specials, passes[1:]) },
		func(token *addedToken, stripped int) {
			e.ids = append(e.ids, token.id)
			e.dropped += stripped
		})
}

// pieces runs the pre-tokenizers before ByteLevel.
func (e *encoder) pieces(s string, splitters []splitter) {
	if len(splitters) == 0 {
		e.byteLevel(s)
		return
	}
	e.dropped += splitters[0].split(s, func(piece string) { e.pieces(piece, splitters[1:]) })
}

// byteLevel cuts a piece into words.
func (e *encoder) byteLevel(s string) {
	if s == "" {
		return
	}
	p := &e.t.pretokenizer
	if p.prefixSpace && s[0] != ' ' {
		s = " " + s
	}
	if !p.words {
		e.word(s)
		return
	}
	for s != "" {
		n := e.t.classes.word(s)
		e.word(s[:n])
		s = s[n:]
	}
}

// word encodes one word, from the cache when it can.
func (e *encoder) word(w string) {
	if len(w) > maxCachedWord {
		e.parts(w, e.t.pretokenizer.after)
		return
	}
	cache := e.t.cache
	slot := cache.slot(w)
	if known := cache.find(slot, w); known != nil {
		e.ids = append(e.ids, known.ids...)
		e.dropped += known.dropped
		return
	}
	ids, dropped := len(e.ids), e.dropped
	e.parts(w, e.t.pretokenizer.after)
	cache.store(slot, w, e.ids[ids:], e.dropped-dropped)
}

// parts runs the pre-tokenizers after ByteLevel.
func (e *encoder) parts(s string, splitters []splitter) {
	if len(splitters) == 0 {
		e.bpe(s)
		return
	}
	e.dropped += splitters[0].split(s, func(piece string) { e.parts(piece, splitters[1:]) })
}

// bpe encodes the bytes of one piece. Missing symbols are left out before merging, so their
// neighbours can merge, as in the official library.
func (e *encoder) bpe(s string) {
	if id, ok := e.t.whole[s]; ok { // ignore_merges
		e.ids = append(e.ids, id)
		return
	}
	symbols := slices.Grow(e.merger.symbols[:0], len(s))
	for _, b := range []byte(s) {
		if id := e.t.symbols[b]; id >= 0 {
			symbols = append(symbols, id)
		} else {
			e.dropped++
		}
	}
	e.merger.symbols = symbols
	e.ids = e.merger.run(e.ids)
}
