package source

// pairRow reads one own preference pair: {"prompt" or "messages", "chosen", "rejected"}, "id" and "system" optional.
func (r *reader) pairRow(at Location, line []byte) (*problem, error) {
	o, p := parseObject(line)
	if p != nil {
		return p, nil
	}
	rec := &Record{At: at}
	if p := r.readPrompt(o, rec); p != nil {
		return p, nil
	}
	if rec.PromptIDs != nil && r.Use != ForPrompts {
		return problemf(WrongType, `"prompt_ids" beside responses given as text`), nil
	}
	if rec.HasResponse {
		return problemf(AmbiguousField, "the messages of a pair must end with the user's"), nil
	}
	chosen, rejected, p := o.pair()
	if p != nil {
		return p, nil
	}
	r.noteCRLF(o)
	return nil, r.emitPair(rec, chosen, rejected)
}

// pair returns the two texts of a preference.
func (o *object) pair() (chosen, rejected string, p *problem) {
	if chosen, p = o.text("chosen"); p != nil {
		return "", "", p
	}
	rejected, p = o.text("rejected")
	return chosen, rejected, p
}

// emitPair hands on a record with its responses, of which the chosen one is also the reference. A pair that says nothing, because
// its responses are equal or one is empty, is dropped, unless the prompt is all that is wanted.
func (r *reader) emitPair(rec *Record, chosen, rejected string) error {
	switch {
	case r.Use == ForPrompts:
		return r.emit(rec)
	case chosen == rejected:
		r.tally.Drop(IdenticalPair, 1)
		return nil
	case blank(chosen) || blank(rejected):
		r.tally.Drop(EmptyResponse, 1)
		return nil
	}
	rec.Ranked = []Alternative{{chosen, 0}, {rejected, 1}}
	rec.Response, rec.HasResponse = chosen, true
	return r.emit(rec)
}
