package source

import (
	"encoding/json"
	"math"
	"strings"
)

// promptRow reads one own prompt: exactly one of
//
//	{"prompt": text}                                   one user turn
//	{"prompt_ids": [ids]}                              token ids, used as they are
//	{"messages": [{"role", "content"}, ...]}           a dialogue: system? user (assistant user)*, perhaps a last assistant turn
//
// with "id", "system" (not beside "messages" or "prompt_ids") and "response" optional. The reference response is "response"
// or the last assistant message; supervised fine-tuning needs one, the other uses leave it aside.
func (r *reader) promptRow(at Location, line []byte) (*problem, error) {
	o, p := parseObject(line)
	if p != nil {
		return p, nil
	}
	rec := &Record{At: at}
	if p := r.readPrompt(o, rec); p != nil {
		return p, nil
	}
	if o.has("response") {
		if rec.HasResponse {
			return problemf(AmbiguousField, `"response" and a last assistant message`), nil
		}
		if rec.Response, p = o.text("response"); p != nil {
			return p, nil
		}
		rec.HasResponse = true
	}
	r.noteCRLF(o)
	if r.Use == ForSFT {
		switch {
		case rec.PromptIDs != nil:
			return problemf(WrongType, `"prompt_ids" cannot be used for fine-tuning, which needs the response as text`), nil
		case !rec.HasResponse:
			return problemf(MissingField, `"response" (or a last assistant message)`), nil
		case blank(rec.Response):
			r.tally.Drop(EmptyResponse, 1)
			return nil, nil
		}
	}
	return nil, r.emit(rec)
}

// readPrompt fills in the prompt of an own row.
func (r *reader) readPrompt(o *object, rec *Record) (p *problem) {
	var given []string
	for _, key := range []string{"prompt", "prompt_ids", "messages"} {
		if o.has(key) {
			given = append(given, key)
		}
	}
	switch {
	case len(given) == 0:
		return problemf(MissingField, `"prompt", "prompt_ids" or "messages"`)
	case len(given) > 1:
		return problemf(AmbiguousField, "%s", strings.Join(given, " and "))
	case o.has("system") && given[0] != "prompt":
		return problemf(AmbiguousField, `"system" beside %q`, given[0])
	}
	if rec.ID, p = o.optionalText("id"); p != nil {
		return p
	}
	switch given[0] {
	case "prompt_ids":
		return r.readIDs(o.fields["prompt_ids"], rec)
	case "messages":
		return readMessages(o, rec)
	}
	system, p := o.optionalText("system")
	if p != nil {
		return p
	}
	text, p := o.text("prompt")
	if p != nil {
		return p
	}
	if blank(text) {
		return problemf(BlankText, `"prompt"`)
	}
	rec.conversation(system, []Turn{{User: true, Text: text}})
	return nil
}

func (r *reader) readIDs(raw json.RawMessage, rec *Record) *problem {
	var ids []int64
	if err := json.Unmarshal(raw, &ids); err != nil {
		return problemf(WrongType, `"prompt_ids" is not a list of whole numbers`)
	}
	if len(ids) == 0 {
		return problemf(BlankText, `"prompt_ids"`)
	}
	bound := int64(math.MaxInt32) + 1
	if r.VocabSize > 0 {
		bound = int64(r.VocabSize)
	}
	rec.PromptIDs = make([]int32, len(ids))
	key := make([]byte, 0, 4*len(ids)+2)
	key = append(key, "i\x00"...)
	for i, id := range ids {
		if id < 0 || id >= bound {
			return problemf(WrongType, `"prompt_ids": %d is outside [0, %d)`, id, bound)
		}
		rec.PromptIDs[i] = int32(id)
		key = append(key, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
	}
	rec.SplitKey = string(key)
	return nil
}

func readMessages(o *object, rec *Record) *problem {
	messages, p := o.list("messages")
	if p != nil {
		return p
	}
	var system string
	var turns []Turn
	for i, raw := range messages {
		about := func(p *problem) *problem { return problemf(p.reason, "message %d: %s", i+1, p.detail) }
		m, p := members(raw)
		if p != nil {
			return about(p)
		}
		role, p := m.text("role")
		if p != nil {
			return about(p)
		}
		content, p := m.text("content")
		if p != nil {
			return about(p)
		}
		o.crlf = o.crlf || m.crlf
		switch {
		case role == "system" && i == 0:
			system = content
		case role == "user" && len(turns)%2 == 0:
			if blank(content) {
				return problemf(BlankText, "message %d", i+1)
			}
			turns = append(turns, Turn{User: true, Text: content})
		case role == "assistant" && len(turns)%2 == 1:
			turns = append(turns, Turn{Text: content})
		default:
			return problemf(RoleOrder, "message %d is by %q (wanted system? user (assistant user)*)", i+1, role)
		}
	}
	if len(turns) == 0 {
		return problemf(BlankText, `"messages"`)
	}
	if last := len(turns) - 1; !turns[last].User {
		rec.Response, rec.HasResponse = turns[last].Text, true
		turns = turns[:last]
	}
	rec.conversation(system, turns)
	return nil
}
