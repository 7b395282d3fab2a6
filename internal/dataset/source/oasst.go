package source

import (
	"encoding/json"
	"fmt"
	"strings"
)

// AllLanguages in a language list keeps every language.
const AllLanguages = "*"

// cardLanguages are the languages that Alfred-40B-0723's model card names for oasst1.
var cardLanguages = []string{"en", "fr", "de", "es", "it"}

// maxThread bounds the messages of one thread; the released trees stay under 20.
const maxThread = 256

// forest reads Open-Assistant exports. Trees are used as they come; flat messages are linked once all files are read.
type forest struct {
	*reader
	flat    []*message          // messages in the order read
	leftOut map[string]struct{} // ids of malformed messages
}

func (f *forest) read(s *stream) error {
	if s.Parquet {
		return f.readParquet(s)
	}
	return f.eachLine(f.row)(s)
}

// row reads any line of a JSONL export. Its kind shows by its keys.
func (f *forest) row(at Location, line []byte) (*problem, error) {
	o, p := parseObject(line)
	switch {
	case p != nil:
		return p, nil
	case o.has("prompt"):
		return f.treeRow(at, o)
	case o.has("thread_id"):
		return nil, fmt.Errorf("%s: this is a thread export; alfred reads Open-Assistant's tree (.trees) and message (.messages) exports: %w", at, ErrData)
	case o.has("message_id"):
		var w wireMessage
		return f.flatMessage(at, &w, w.readJSON(o)), nil
	}
	return problemf(MissingField, `"prompt" (a tree) or "message_id" (a message)`), nil
}

// check finishes a message that was read with problem p.
func (f *forest) check(at Location, w *wireMessage, p *problem) (*message, *problem) {
	var m *message
	if p == nil {
		m, p = w.message(at)
	}
	if p != nil {
		if id := value(w.id); id != "" {
			f.leftOut[id] = struct{}{}
		}
		return nil, p
	}
	if w.crlf {
		f.tally.Note(CRLFInText, 1)
	}
	return m, nil
}

// flatMessage keeps a message of its own row until all are read.
func (f *forest) flatMessage(at Location, w *wireMessage, p *problem) *problem {
	m, p := f.check(at, w, p)
	if p == nil {
		f.flat = append(f.flat, m)
	}
	return p
}

// treeRow reads one line of a tree export. A bad message takes its subtree with it and makes the line malformed; the rest
// of the tree stays.
func (f *forest) treeRow(at Location, o *object) (*problem, error) {
	state, p := o.optionalText("tree_state")
	if p != nil {
		return p, nil
	}
	root, err := f.subtree(at, o.fields["prompt"], nil, 1)
	if err != nil || root == nil {
		return nil, err
	}
	if state != "" {
		root.state = state
	}
	return nil, f.tree(root)
}

func (f *forest) subtree(at Location, raw json.RawMessage, parent *message, depth int) (m *message, err error) {
	var w wireMessage
	o, p := members(raw)
	if p == nil {
		m, p = f.check(at, &w, w.readJSON(o))
	}
	switch {
	case p != nil:
	case f.seen(m.id):
		f.tally.Drop(DuplicateID, 1)
		return nil, nil
	case parent != nil && m.parent != "" && m.parent != parent.id:
		p = problemf(Orphan, "message %s names parent %s but is a reply to %s", m.id, m.parent, parent.id)
	default:
		p = fits(m, parent, depth)
	}
	var replies []json.RawMessage
	if p == nil {
		replies, p = o.list("replies")
	}
	if p != nil {
		return nil, f.tally.malformed(at, p)
	}
	for _, raw := range replies {
		reply, err := f.subtree(at, raw, m, depth+1)
		if err != nil {
			return nil, err
		}
		if reply != nil {
			m.replies = append(m.replies, reply)
		}
	}
	return m, nil
}

// seen reports whether a message id was there before, and remembers it.
func (f *forest) seen(id string) bool {
	_, seen := f.ids[id]
	f.ids[id] = struct{}{}
	return seen
}

// fits checks a message's place in its tree: prompter and assistant alternate, the prompter begins.
func fits(m, parent *message, depth int) *problem {
	switch {
	case parent == nil && !m.user:
		return problemf(RoleOrder, "message %s: a tree starts with an assistant", m.id)
	case parent != nil && m.user == parent.user:
		return problemf(RoleOrder, "message %s has the role of its parent", m.id)
	case depth > maxThread:
		return problemf(TooDeep, "message %s: more than %d messages in a thread", m.id, maxThread)
	}
	return nil
}

// keepsLanguage applies the language filter to a tree.
func (f *forest) keepsLanguage(language string) bool {
	wanted := f.Languages
	if len(wanted) == 0 {
		wanted = cardLanguages
	}
	for _, w := range wanted {
		if w == AllLanguages || strings.EqualFold(w, language) {
			return true
		}
	}
	return false
}
