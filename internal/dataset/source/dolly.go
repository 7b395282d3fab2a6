package source

// dollyRow reads one row of databricks-dolly-15k: instruction, context ("" when there is none), response.
// Wikipedia's citation marks such as [42] in contexts are kept.
func (r *reader) dollyRow(at Location, line []byte) (*problem, error) {
	o, p := parseObject(line)
	if p != nil {
		return p, nil
	}
	instruction, p := o.text("instruction")
	if p != nil {
		return p, nil
	}
	context, p := o.optionalText("context")
	if p != nil {
		return p, nil
	}
	response, p := o.text("response")
	if p != nil {
		return p, nil
	}
	r.noteCRLF(o)
	if blank(instruction) {
		return problemf(BlankText, `"instruction"`), nil
	}
	if blank(context) {
		context = ""
	}
	rec := &Record{At: at, Response: response, HasResponse: true}
	rec.singleTurn(instruction, context)
	if r.Use == ForSFT && blank(response) {
		r.tally.Drop(EmptyResponse, 1)
		return nil, nil
	}
	return nil, r.emit(rec)
}
