package source

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// ErrData is wrapped by every error that the data cause: missing or unreadable files, malformed rows under StopOnBad,
// too many of them, or nothing left after the filters.
var ErrData = errors.New("bad data")

// Reason names why a row was malformed, why a sample was dropped, or what a note counts.
type Reason string

// Malformed rows.
const (
	BrokenJSON     Reason = "broken JSON"
	NotObject      Reason = "not a JSON object"
	InvalidUTF8    Reason = "invalid UTF-8"
	LoneSurrogate  Reason = "lone surrogate"
	NULInText      Reason = "NUL in text"
	LineTooLong    Reason = "line too long"
	MissingField   Reason = "missing field"
	WrongType      Reason = "wrong type"
	BlankText      Reason = "blank text"
	NoAssistant    Reason = "no shared Assistant turn"
	NoHuman        Reason = "no leading Human turn"
	Orphan         Reason = "parent not found"
	Cycle          Reason = "cycle of parents"
	RoleOrder      Reason = "roles do not alternate"
	TooDeep        Reason = "conversation too deep"
	AmbiguousField Reason = "ambiguous fields"
)

// Dropped samples.
const (
	TreeState        Reason = "tree state"
	ReviewResult     Reason = "review result false"
	Language         Reason = "language"
	DeletedMessage   Reason = "deleted message"
	SyntheticMessage Reason = "synthetic message"
	NoReply          Reason = "no assistant reply"
	FewRanked        Reason = "fewer than two ranked replies"
	DuplicateID      Reason = "duplicate id"
	EmptyResponse    Reason = "empty response"
	IdenticalPair    Reason = "identical pair"
	DiffersEarlier   Reason = "pair differs before the last turn"
	NotAlternating   Reason = "turns do not alternate"
	NotReviewed      Reason = "not reviewed"
	BelowLeftOut     Reason = "below a message left out"
)

// Notes: what was seen and kept.
const (
	BlankLines     Reason = "blank lines"
	CRLFInText     Reason = "texts with CRLF"
	RepeatedID     Reason = "repeated ids"
	RemovedReplies Reason = "deleted or rejected replies left out of rankings"
	SkippedPrompts Reason = "unanswered prompts beside another, which stands for their thread"
	BadExamples    Reason = "unreadable examples left out of tasks"
)

// problem is why a row is malformed.
type problem struct {
	reason Reason
	detail string
}

func problemf(r Reason, format string, args ...any) *problem {
	return &problem{r, fmt.Sprintf(format, args...)}
}

// examplesPerReason bounds how many malformed rows are remembered by place.
const examplesPerReason = 3

// File is one file that was read.
type File struct {
	Path   string
	SHA256 [32]byte // of the bytes on disk
	Rows   int
}

// Tally counts what reading and filtering one source did. The zero value is ready for use.
type Tally struct {
	StopOnBad bool // the first malformed row is an error

	Rows          int // lines, task instances or parquet rows; blank lines are not rows
	MalformedRows int
	Malformed     map[Reason]int
	Dropped       map[Reason]int
	Notes         map[Reason]int
	Examples      []string // the first malformed rows of each reason: "file:line: reason: detail"
	Files         []File

	lastBad Location
}

// malformed counts a malformed row or a part of one.
func (t *Tally) malformed(at Location, p *problem) error {
	text := fmt.Sprintf("%s: %s", at, p.reason)
	if p.detail != "" {
		text += ": " + clip(p.detail)
	}
	if t.StopOnBad {
		return fmt.Errorf("%s: %w (on_bad: stop)", text, ErrData)
	}
	if t.Malformed == nil {
		t.Malformed = map[Reason]int{}
	}
	if t.Malformed[p.reason]++; t.Malformed[p.reason] <= examplesPerReason {
		t.Examples = append(t.Examples, text)
	}
	if at != t.lastBad { // one row counts once, however many of its parts are bad
		t.MalformedRows++
		t.lastBad = at
	}
	return nil
}

// clip bounds what a message quotes of the data, and keeps control characters out of it.
func clip(s string) string {
	const most = 200
	r := []rune(s[:min(len(s), 4*most)])
	if len(r) > most || len(s) > 4*most {
		r = append(r[:min(len(r), most)], '…')
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return unicode.ReplacementChar
		}
		return c
	}, string(r))
}

// Drop counts samples that a filter left out.
func (t *Tally) Drop(r Reason, n int) {
	if t.Dropped == nil {
		t.Dropped = map[Reason]int{}
	}
	t.Dropped[r] += n
}

// Note counts something worth knowing that changed nothing.
func (t *Tally) Note(r Reason, n int) {
	if t.Notes == nil {
		t.Notes = map[Reason]int{}
	}
	t.Notes[r] += n
}

// Counts renders a map of counts as "12 language, 3 duplicate id", largest first.
func Counts(m map[Reason]int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b Reason) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		return strings.Compare(string(a), string(b))
	})
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = fmt.Sprintf("%d %s", m[k], k)
	}
	return strings.Join(parts, ", ")
}
