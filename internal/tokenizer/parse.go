package tokenizer

// parse builds a Tokenizer from the text of a tokenizer.json, and reports all problems at once.
func parse(src string) (*Tokenizer, error) {
	root, err := validJSON(src)
	if err != nil {
		return nil, err
	}
	p := &problems{}
	top, ok := p.object("", root, "version", "truncation", "padding", "added_tokens", "normalizer",
		"pre_tokenizer", "post_processor", "decoder", "model")
	if !ok {
		return nil, p.err()
	}
	if top.has("version") && top.fields["version"] != `"1.0"` {
		p.add("version", "want \"1.0\", got %s", top.fields["version"].brief())
	}
	for _, key := range []string{"truncation", "padding"} {
		if top.has(key) {
			p.add(key, "not supported, because it would change texts silently; set it to null")
		}
	}
	if top.has("normalizer") {
		p.add("normalizer", "type %q is not supported; only null is", top.fields["normalizer"].kind())
	}
	t := &Tokenizer{src: src, classes: loadClasses()}
	p.parsePostProcessor(top)
	p.parseDecoder(top)
	t.pretokenizer = p.parsePretokenizer(t.classes, top)
	m := p.parseModel(top)
	added := p.parseAddedTokens(top, m)
	p.checkSpecials(added, m)
	if err := p.err(); err != nil {
		return nil, err
	}
	t.setVocabulary(m, added)
	t.setAdded(added)
	t.symbols, t.merges = m.symbols, m.merges
	if m.ignoreMerges {
		t.setWhole(m, added)
	}
	t.lossless = t.isLossless(added)
	t.cache = newWordCache()
	t.encoders = newEncoderPool(t)
	return t, nil
}

// parsePostProcessor accepts what leaves ids alone: null, and ByteLevel, which trims offsets only.
func (p *problems) parsePostProcessor(top object) {
	if !top.has("post_processor") {
		return
	}
	v := top.fields["post_processor"]
	if v.kind() != "ByteLevel" {
		p.add("post_processor", "type %q is not supported; only null and ByteLevel are", v.kind())
		return
	}
	p.object("post_processor", v, byteLevelKeys...)
}

// parseDecoder accepts ByteLevel, whose settings do not change what it does.
func (p *problems) parseDecoder(top object) {
	if !top.has("decoder") {
		p.add("decoder", "missing; only ByteLevel is supported")
		return
	}
	v := top.fields["decoder"]
	if v.kind() != "ByteLevel" {
		p.add("decoder", "type %q is not supported; only ByteLevel is", v.kind())
		return
	}
	p.object("decoder", v, byteLevelKeys...)
}

// setVocabulary fills the tables between ids and token texts.
func (t *Tokenizer) setVocabulary(m *model, added []addedToken) {
	size := int32(0)
	t.ids = m.ids
	for _, token := range added {
		t.ids[token.content] = token.id
	}
	for _, id := range t.ids {
		size = max(size, id+1)
	}
	t.tokens = make([]token, size)
	for text, id := range t.ids {
		bytes, _ := tokenBytes(text)
		t.tokens[id] = token{text: text, bytes: bytes, known: true}
	}
	t.eod = -1
	if id, ok := t.ids[EndOfDocument]; ok {
		t.eod = id
	}
}

// setAdded prepares the passes over added tokens.
func (t *Tokenizer) setAdded(added []addedToken) {
	var first, second []addedToken
	t.specials = map[int32]bool{}
	for _, token := range added {
		if token.normalized {
			second = append(second, token)
		} else {
			first = append(first, token)
		}
		t.plainAdded = t.plainAdded || !token.special
		if token.special {
			t.specials[token.id] = true
		}
	}
	for _, tokens := range [][]addedToken{first, second} {
		if len(tokens) > 0 {
			t.added = append(t.added, newAddedMatcher(t.classes, tokens))
		}
	}
}

// setWhole prepares ignore_merges: a piece that is a token needs no merges. Special tokens are left
// out, so that plain text never becomes one.
func (t *Tokenizer) setWhole(m *model, added []addedToken) {
	special := map[string]bool{}
	for _, token := range added {
		special[token.content] = token.special
	}
	t.whole = make(map[string]int32, len(m.ids))
	for text, id := range m.ids {
		if bytes, mapped := tokenBytes(text); mapped && !special[text] {
			t.whole[bytes] = id
		}
	}
}

// isLossless tells whether Encode keeps every byte of every text.
func (t *Tokenizer) isLossless(added []addedToken) bool {
	for _, id := range t.symbols {
		if id < 0 {
			return false
		}
	}
	for _, splitters := range [][]splitter{t.pretokenizer.before, t.pretokenizer.after} {
		for _, s := range splitters {
			if s.behavior == removed {
				return false
			}
		}
	}
	for _, token := range added {
		if !token.special && (token.lstrip || token.rstrip) {
			return false
		}
	}
	return true
}
