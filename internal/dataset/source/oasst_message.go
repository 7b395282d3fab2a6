package source

import (
	"encoding/json"
	"math"
)

// message is one message of a conversation tree.
type message struct {
	id, parent, text, language, state string
	user                              bool
	rank                              int // -1 when unranked; 0 is the best among siblings
	deleted, synthetic                bool
	review                            verdict
	at                                Location
	replies                           []*message
	settled                           bool // of flat messages: it has its place in a tree, or is counted as left out
}

// verdict is a review result: a message may not have been reviewed.
type verdict int

const (
	unreviewed verdict = iota
	accepted
	rejected
)

// wireMessage is a message as the exports spell it; nil is absent or null.
type wireMessage struct {
	id, text, role, parent, lang, state *string
	rank                                *float64
	review, deleted, synthetic          *bool
	crlf                                bool // a text held CRLF
}

// messageField is a field under its name in JSON and parquet, with the place for its value: a **string, **float64 or **bool.
type messageField struct {
	name string
	to   func(*wireMessage) any
}

// messageFields are the fields of a message that are read. labels, emojis, detoxify and the like are left alone: their form
// differs between the releases.
var messageFields = []messageField{
	{"message_id", func(w *wireMessage) any { return &w.id }}, // first, so that problems of the others can name it
	{"text", func(w *wireMessage) any { return &w.text }},
	{"role", func(w *wireMessage) any { return &w.role }},
	{"parent_id", func(w *wireMessage) any { return &w.parent }},
	{"lang", func(w *wireMessage) any { return &w.lang }},
	{"tree_state", func(w *wireMessage) any { return &w.state }},
	{"rank", func(w *wireMessage) any { return &w.rank }},
	{"review_result", func(w *wireMessage) any { return &w.review }},
	{"deleted", func(w *wireMessage) any { return &w.deleted }},
	{"synthetic", func(w *wireMessage) any { return &w.synthetic }},
}

// readJSON fills in a message from its object. Beside a problem it holds what came before.
func (w *wireMessage) readJSON(o *object) *problem {
	for _, field := range messageFields {
		if !o.has(field.name) {
			continue
		}
		var p *problem
		switch to := field.to(w).(type) {
		case **string:
			var s string
			s, p = o.text(field.name)
			*to = &s
		case **float64:
			p = o.decode(field.name, to, "a number")
		case **bool:
			p = o.decode(field.name, to, "true or false")
		}
		if p != nil {
			return w.about(p)
		}
	}
	w.crlf = o.crlf
	return nil
}

// decode decodes a field into a pointer.
func (o *object) decode(key string, into any, wanted string) *problem {
	if json.Unmarshal(o.fields[key], into) != nil {
		return problemf(WrongType, "%q is not %s", key, wanted)
	}
	return nil
}

// about names the message that a problem is about, when its id is known.
func (w *wireMessage) about(p *problem) *problem {
	if id := value(w.id); id != "" {
		return problemf(p.reason, "message %s: %s", id, p.detail)
	}
	return p
}

// message checks a message, without its replies.
func (w *wireMessage) message(at Location) (*message, *problem) {
	m := &message{
		id: value(w.id), text: value(w.text), at: at, rank: -1, parent: value(w.parent), language: value(w.lang), state: value(w.state),
		deleted: value(w.deleted), synthetic: value(w.synthetic),
	}
	bad := func(r Reason, format string, args ...any) (*message, *problem) {
		return nil, w.about(problemf(r, format, args...))
	}
	switch {
	case m.id == "":
		return bad(MissingField, `"message_id"`)
	case w.text == nil:
		return bad(MissingField, `"text"`)
	case blank(m.text):
		return bad(BlankText, `"text"`)
	}
	switch role := value(w.role); role {
	case "prompter":
		m.user = true
	case "assistant":
	case "":
		return bad(MissingField, `"role"`)
	default:
		return bad(WrongType, `"role" is %q (prompter or assistant)`, role)
	}
	if w.rank != nil {
		if *w.rank < 0 || *w.rank != math.Trunc(*w.rank) || *w.rank > math.MaxInt32 {
			return bad(WrongType, `"rank" is %v`, *w.rank)
		}
		m.rank = int(*w.rank)
	}
	if w.review != nil {
		m.review = rejected
		if *w.review {
			m.review = accepted
		}
	}
	return m, nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
