package tokenizer

import (
	"fmt"
	"strings"
)

// model is the BPE model of a file.
type model struct {
	ids          map[string]int32 // by token text
	texts        map[int32]string
	symbols      [256]int32       // id of each byte symbol, -1 where there is none
	merges       map[uint64]merge // by pair(left, right)
	ignoreMerges bool
}

// parseModel reads the model; it always gives one, to let later checks go on.
func (p *problems) parseModel(top object) *model {
	m := &model{ids: map[string]int32{}, texts: map[int32]string{}, merges: map[uint64]merge{}}
	for b := range m.symbols {
		m.symbols[b] = -1
	}
	v, ok := top.fields["model"]
	if !ok {
		p.add("model", "missing")
		return m
	}
	o, ok := p.object("model", v, "type", "dropout", "unk_token", "continuing_subword_prefix",
		"end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges")
	if !ok {
		return m
	}
	// Files older than the type key have merges only when they are BPE.
	if o.has("type") && o.text("type") != "BPE" {
		p.add("model.type", "%q is not supported; only BPE is", o.text("type"))
		return m
	}
	if v := o.fields["dropout"]; o.has("dropout") && v != "0" && v != "0.0" {
		p.add("model.dropout", "%s is not supported, because ids would be random; only null is", v.brief())
	}
	for _, key := range []string{"continuing_subword_prefix", "end_of_word_suffix"} {
		if v := o.fields[key]; o.has(key) && v != `""` { // GPT-2 files have the empty string
			p.add(o.at(key), "%s is not supported; only null and \"\" are", v.brief())
		}
	}
	if o.flagOr("byte_fallback", false) {
		p.add("model.byte_fallback", "true is not supported")
	}
	o.flagOr("fuse_unk", false) // says nothing without unk_token
	m.ignoreMerges = o.flagOr("ignore_merges", false)
	p.parseVocabulary(o, m)
	p.parseMerges(o, m)
	if v := o.fields["unk_token"]; o.has("unk_token") && m.missingSymbols() > 0 {
		p.add("model.unk_token", "%s is not supported for a vocabulary without all 256 byte symbols (%d missing); "+
			"only null is", v.brief(), m.missingSymbols())
	}
	return m
}

func (m *model) missingSymbols() (n int) {
	for _, id := range m.symbols {
		if id < 0 {
			n++
		}
	}
	return n
}

func (p *problems) parseVocabulary(o object, m *model) {
	vocab := o.fields["vocab"]
	if !vocab.isObject() {
		p.add("model.vocab", "want an object of token texts and ids, got %s", vocab.brief())
		return
	}
	const entry = 16 // bytes of a short entry: a guess at the size saves growing
	m.ids = make(map[string]int32, len(vocab)/entry)
	m.texts = make(map[int32]string, len(vocab)/entry)
	for text, v := range vocab.members() {
		id, ok := v.integer(maxVocabSize)
		if !ok {
			p.add(fmt.Sprintf("model.vocab[%q]", text), "want an id from 0 to %d, got %s", maxVocabSize-1, v.brief())
			continue
		}
		if _, again := m.ids[text]; again {
			p.add(fmt.Sprintf("model.vocab[%q]", text), "given twice")
		}
		if other, again := m.texts[id]; again {
			p.add(fmt.Sprintf("model.vocab[%q]", text), "id %d is also that of %q", id, other)
		}
		m.ids[text] = id
		m.texts[id] = text
		if b, ok := symbolByte(text); ok {
			m.symbols[b] = id
		}
	}
	if len(m.ids) == 0 {
		p.add("model.vocab", "is empty")
	}
}

// parseMerges reads merges as "a b" (before tokenizers 0.20) or ["a","b"]. Ranks are positions; of
// a pair given twice the last counts, as in the official library.
func (p *problems) parseMerges(o object, m *model) {
	merges := o.fields["merges"]
	if !merges.isArray() {
		p.add("model.merges", "want an array of pairs, got %s", merges.brief())
		return
	}
	m.merges = make(map[uint64]merge, len(m.ids))
	rank := uint32(0)
	for i, v := range merges.elements() {
		left, right, ok := mergePair(v)
		if !ok {
			p.add(fmt.Sprintf("model.merges[%d]", i), "want \"a b\" or [\"a\",\"b\"], got %s", v.brief())
			continue
		}
		if v[0] == '"' && strings.HasPrefix(left, "#version") {
			continue // the first line of a merges.txt, skipped by the official library
		}
		var ids [3]int32
		for k, text := range [3]string{left, right, left + right} {
			if ids[k], ok = m.ids[text]; !ok {
				p.add(fmt.Sprintf("model.merges[%d]", i), "%q is not in the vocabulary", text)
				break
			}
		}
		m.merges[pair(ids[0], ids[1])] = merge{rank: rank, id: ids[2]}
		rank++
	}
}

// mergePair reads one merge. The string form has exactly one space.
func mergePair(v jsonValue) (left, right string, ok bool) {
	if s, isText := v.text(); isText {
		left, right, ok = strings.Cut(s, " ")
		return left, right, ok && left != "" && right != "" && !strings.Contains(right, " ")
	}
	if !v.isArray() {
		return "", "", false
	}
	n := 0
	for i, part := range v.elements() {
		s, isText := part.text()
		if !isText || s == "" || i > 1 {
			return "", "", false
		}
		if i == 0 {
			left = s
		} else {
			right = s
		}
		n++
	}
	return left, right, n == 2
}

// parseAddedTokens reads added_tokens. The official library does not read their ids: a token of the
// vocabulary keeps its id there, another one gets the next free id. A file that says otherwise would
// mean different ids to different readers, so it is refused.
func (p *problems) parseAddedTokens(top object, m *model) (added []addedToken) {
	if !top.has("added_tokens") {
		return nil
	}
	list := top.fields["added_tokens"]
	if !list.isArray() {
		p.add("added_tokens", "want an array, got %s", list.brief())
		return nil
	}
	seen := map[string]bool{}
	next := int32(len(m.ids))
	for i, v := range list.elements() {
		o, ok := p.object(fmt.Sprintf("added_tokens[%d]", i), v,
			"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")
		if !ok {
			continue
		}
		token := addedToken{
			content:    o.text("content"),
			singleWord: o.flag("single_word"),
			lstrip:     o.flag("lstrip"),
			rstrip:     o.flag("rstrip"),
			normalized: o.flag("normalized"),
			special:    o.flag("special"),
		}
		token.id, ok = o.fields["id"].integer(maxVocabSize)
		want, inVocabulary := m.ids[token.content]
		if !inVocabulary {
			want = next
		}
		switch {
		case !ok:
			p.add(o.at("id"), "want a number from 0 to %d, got %q", maxVocabSize-1, o.fields["id"].brief())
		case token.content == "":
			p.add(o.at("content"), "is empty")
		case seen[token.content]:
			p.add(o.at("content"), "%q is given twice", token.content)
		case token.id != want:
			p.add(o.at("id"), "%q has id %d, but the official library gives it %d", token.content, token.id, want)
		case !inVocabulary && m.texts[token.id] != "":
			p.add(o.at("id"), "id %d of %q is also that of %q", token.id, token.content, m.texts[token.id])
		}
		next = max(next, token.id+1)
		seen[token.content] = true
		// The end of a document must not be written by whoever writes a text.
		token.special = token.special || token.content == EndOfDocument
		added = append(added, token)
	}
	return added
}

// checkSpecials refuses a special token that merges, or a single byte, make out of plain text: then
// Encode could not keep its promise.
func (p *problems) checkSpecials(added []addedToken, m *model) {
	plain := map[int32]bool{}
	for _, id := range m.symbols {
		plain[id] = true
	}
	for _, merge := range m.merges {
		plain[merge.id] = true
	}
	for i, token := range added {
		if id, inVocabulary := m.ids[token.content]; inVocabulary && token.special && plain[id] {
			p.add(fmt.Sprintf("added_tokens[%d]", i), "special token %q is also made from plain text by the model, "+
				"so the two cannot be told apart", token.content)
		}
	}
}
