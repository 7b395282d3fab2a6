package official

import (
	"fmt"
	"strings"
	"unicode"
)

// Reason names why a row was skipped, or what about it was noted.
type Reason string

// Reasons for which a row is skipped.
const (
	BrokenJSON    Reason = "broken JSON"
	NotObject     Reason = "not a JSON object"
	NotUTF8       Reason = "not UTF-8"
	MissingField  Reason = "missing field"
	WrongType     Reason = "wrong type"
	UnknownAnswer Reason = "answer is none of the choices"
	NoAnswer      Reason = "no answer"
	WrongColumns  Reason = "wrong number of columns"
	WrongBlock    Reason = "wrong number of lines"
	NoBlank       Reason = "no blank in the sentence"
	WrongForm     Reason = "text of another form"
	Disagreement  Reason = "answer differs from its partner file"
)

// What is noted about rows that are kept.
const (
	EmptyChoice Reason = "empty choice"
	BlankLine   Reason = "blank line" // no row, and not counted as one
	CutOption   Reason = "option without its letter: its first two characters are cut, as on the hub"
	MovedOption Reason = "option in another place than its letter says: its place counts, as on the hub"
	TwoAnswers  Reason = "two correct answers: the last one counts, as on the hub"
	NoOffsets   Reason = "no offsets of the word (start1, start2, end1, end2)"
)

// Source is one official file that was read.
type Source struct {
	Path   string `json:"path"`   // relative to the data directory
	SHA256 string `json:"sha256"` // of the bytes on disk
}

// Report counts what reading one split did.
type Report struct {
	Rows     int            // rows that were good
	Skipped  map[Reason]int // malformed rows; each counts once
	Noted    map[Reason]int // oddities of rows that were kept
	Examples []string       // the first places of each reason: "file:line: reason: detail"
	Sources  []Source
}

// examplesPerReason bounds how many places are remembered.
const examplesPerReason = 3

// place is where a row stands.
type place struct {
	file string
	line int // from 1; 0 for the whole file
}

func (p place) String() string {
	if p.line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}

// problem is a reason with what makes it understandable.
type problem struct {
	reason Reason
	detail string
}

func problemf(r Reason, format string, args ...any) *problem {
	return &problem{r, fmt.Sprintf(format, args...)}
}

func (r *Report) skip(at place, p *problem) {
	if r.Skipped == nil {
		r.Skipped = map[Reason]int{}
	}
	r.Skipped[p.reason]++
	r.example(at, p, r.Skipped[p.reason])
}

func (r *Report) note(at place, p *problem) {
	if r.Noted == nil {
		r.Noted = map[Reason]int{}
	}
	r.Noted[p.reason]++
	r.example(at, p, r.Noted[p.reason])
}

func (r *Report) example(at place, p *problem, count int) {
	if count > examplesPerReason {
		return
	}
	text := fmt.Sprintf("%s: %s", at, p.reason)
	if p.detail != "" {
		text += ": " + clip(p.detail)
	}
	r.Examples = append(r.Examples, text)
}

// SkippedRows is the number of malformed rows.
func (r Report) SkippedRows() int {
	n := 0
	for _, count := range r.Skipped {
		n += count
	}
	return n
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
