package source

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// AllLanguages in a language list keeps every language.
const AllLanguages = "*"

// cardLanguages are the languages that Alfred-40B-0723's model card names for oasst1.
var cardLanguages = []string{"en", "fr", "de", "es", "it"}

// maxThread bounds the messages of one thread; the released trees stay under 20.
const maxThread = 256

// message is one message of a conversation tree.
type message struct {
	id, parent, text, language, state string
	user                              bool
	rank                              int // -1 when unranked; 0 is the best among siblings
	deleted, synthetic                bool
	review                            verdict
	at                                Location
	replies                           []*message
}

// verdict is a review result: a message may not have been reviewed.
type verdict int

const (
	unreviewed verdict = iota
	accepted
	rejected
)

// wireMessage is a message as the exports spell it. labels, emojis, detoxify and the like are not read: their form differs
// between the JSONL and parquet releases.
type wireMessage struct {
	TreeID    *string         `json:"message_tree_id"`
	State     *string         `json:"tree_state"`
	ID        *string         `json:"message_id"`
	Parent    *string         `json:"parent_id"`
	Text      json.RawMessage `json:"text"`
	Role      *string         `json:"role"`
	Lang      *string         `json:"lang"`
	Rank      *float64        `json:"rank"`
	Review    *bool           `json:"review_result"`
	Deleted   *bool           `json:"deleted"`
	Synthetic *bool           `json:"synthetic"`
	Replies   []wireMessage   `json:"replies"`
}

// wireRow is any line of an export. Its kind shows by its keys.
type wireRow struct {
	wireMessage
	Prompt   *wireMessage `json:"prompt"`    // a tree
	ThreadID *string      `json:"thread_id"` // a thread
}

// forest reads Open-Assistant exports. Trees are used as they come; flat messages are linked once all files are read.
type forest struct {
	*reader
	flat []*message // messages in the order read
}

func (f *forest) read(s *stream) error {
	if s.parquet {
		return f.readParquet(s)
	}
	return f.eachLine(f.row)(s)
}

func (f *forest) row(at Location, line []byte) (*problem, error) {
	var row wireRow
	if p := decodeRow(line, &row); p != nil {
		return p, nil
	}
	switch {
	case row.Prompt != nil:
		if row.State != nil {
			row.Prompt.State = row.State
		}
		return f.treeRow(at, row.Prompt)
	case row.ThreadID != nil:
		return nil, fmt.Errorf("%s: this is a thread export; alfred reads Open-Assistant's tree (.trees) and message (.messages) exports: %w", at, ErrData)
	case row.ID != nil:
		m, p := f.message(at, &row.wireMessage)
		if p == nil {
			f.flat = append(f.flat, m)
		}
		return p, nil
	}
	return problemf(MissingField, `"prompt" (a tree) or "message_id" (a message)`), nil
}

// message checks one message, without its replies.
func (f *forest) message(at Location, w *wireMessage) (*message, *problem) {
	if w.ID == nil || *w.ID == "" {
		return nil, problemf(MissingField, `"message_id"`)
	}
	text, crlf, p := decodeText("text", w.Text)
	if p != nil {
		return nil, problemf(p.reason, "message %s: %s", *w.ID, p.detail)
	}
	if crlf {
		f.tally.Note(CRLFInText, 1)
	}
	return f.checked(at, w, text)
}

// checked is message for a text that has been decoded.
func (f *forest) checked(at Location, w *wireMessage, text string) (*message, *problem) {
	m := &message{id: *w.ID, text: text, at: at, rank: -1}
	switch role := value(w.Role); role {
	case "prompter":
		m.user = true
	case "assistant":
	case "":
		return nil, problemf(MissingField, `message %s: "role"`, m.id)
	default:
		return nil, problemf(WrongType, `message %s: "role" is %q (prompter or assistant)`, m.id, role)
	}
	if blank(text) {
		return nil, problemf(BlankText, "message %s", m.id)
	}
	if w.Rank != nil {
		if *w.Rank < 0 || *w.Rank != math.Trunc(*w.Rank) || *w.Rank > math.MaxInt32 {
			return nil, problemf(WrongType, `message %s: "rank" is %v`, m.id, *w.Rank)
		}
		m.rank = int(*w.Rank)
	}
	if w.Review != nil {
		m.review = rejected
		if *w.Review {
			m.review = accepted
		}
	}
	m.parent, m.language, m.state = value(w.Parent), value(w.Lang), value(w.State)
	m.deleted, m.synthetic = value(w.Deleted), value(w.Synthetic)
	return m, nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// treeRow reads one line of a tree export. A bad message takes its subtree with it and makes the line malformed; the rest
// of the tree stays.
func (f *forest) treeRow(at Location, prompt *wireMessage) (*problem, error) {
	root, err := f.subtree(at, prompt, nil, 1)
	if err != nil || root == nil {
		return nil, err
	}
	return nil, f.tree(root)
}

func (f *forest) subtree(at Location, w *wireMessage, parent *message, depth int) (*message, error) {
	m, p := f.message(at, w)
	switch {
	case p != nil:
	case f.seen(m.id):
		f.tally.Drop(DuplicateID, 1)
		return nil, nil
	case parent != nil && w.Parent != nil && *w.Parent != parent.id:
		p = problemf(Orphan, "message %s names parent %s but is a reply to %s", m.id, *w.Parent, parent.id)
	default:
		p = fits(m, parent, depth)
	}
	if p != nil {
		return nil, f.tally.malformed(at, p)
	}
	for i := range w.Replies {
		reply, err := f.subtree(at, &w.Replies[i], m, depth+1)
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

// finish links flat messages into trees and reads these. Siblings are in the order of the file.
func (f *forest) finish() error {
	byID := make(map[string]*message, len(f.flat))
	kept := f.flat[:0]
	for _, m := range f.flat {
		if f.seen(m.id) {
			f.tally.Drop(DuplicateID, 1)
			continue
		}
		byID[m.id] = m
		kept = append(kept, m)
	}
	var roots []*message
	for _, m := range kept {
		if m.parent == "" {
			roots = append(roots, m)
		} else if parent := byID[m.parent]; parent != nil {
			parent.replies = append(parent.replies, m)
		}
	}
	reached := make(map[*message]bool, len(kept))
	for _, root := range roots {
		if err := f.settle(root, nil, 1, reached); err != nil {
			return err
		}
	}
	known := map[*message]*problem{}
	for _, m := range kept {
		if !reached[m] {
			if err := f.tally.malformed(m.at, lost(m, byID, known)); err != nil {
				return err
			}
		}
	}
	for _, root := range roots {
		if root.user {
			if err := f.tree(root); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle walks a linked tree, taking out what does not fit.
func (f *forest) settle(m, parent *message, depth int, reached map[*message]bool) error {
	reached[m] = true
	var failed error
	m.replies = slices.DeleteFunc(m.replies, func(reply *message) bool {
		if failed != nil {
			return false
		}
		if p := fits(reply, m, depth+1); p != nil {
			failed = f.tally.malformed(reply.at, p)
			markReached(reply, reached)
			return true
		}
		failed = f.settle(reply, m, depth+1, reached)
		return false
	})
	if failed == nil && parent == nil {
		if p := fits(m, nil, depth); p != nil {
			failed = f.tally.malformed(m.at, p)
		}
	}
	return failed
}

// markReached covers a subtree that was taken out as a whole, so that its messages are not reported as lost.
func markReached(m *message, reached map[*message]bool) {
	pending := []*message{m}
	for len(pending) > 0 {
		m, pending = pending[len(pending)-1], pending[:len(pending)-1]
		reached[m] = true
		pending = append(pending, m.replies...)
	}
}

// lost says why a message hangs from no root: an ancestor is missing, or the ancestors form a circle. known holds what
// was found for messages before, so that the whole costs one step per message.
func lost(m *message, byID map[string]*message, known map[*message]*problem) *problem {
	var path []*message
	var p *problem
	for up := m; p == nil; {
		if p = known[up]; p != nil {
			break
		}
		path = append(path, up)
		known[up] = problemf(Cycle, "the ancestors of message %s lead back to it", up.id) // if it is met again on this path
		next := byID[up.parent]
		if next == nil {
			p = problemf(Orphan, "message %s: its parent %s is not in the files", up.id, up.parent)
		}
		up = next
	}
	for _, m := range path {
		known[m] = p
	}
	return p
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
