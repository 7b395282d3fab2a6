package source

import "strings"

const (
	humanMark     = "\n\nHuman:"
	assistantMark = "\n\nAssistant:"
)

// hhRow reads one preference pair of Anthropic's hh-rlhf: two transcripts "\n\nHuman: ...\n\nAssistant: ..." that share
// their beginning. The prompt is the longest common prefix cut back to its last "\n\nAssistant:".
//
// The real data hold odd rows, each counted under its own reason and left out:
// turns that do not alternate in the prompt; pairs that differ before the last turn (a response holds further turns),
// empty responses and identical pairs. The last three concern responses, so such a row still gives a prompt.
func (r *reader) hhRow(at Location, line []byte) (*problem, error) {
	o, p := parseObject(line)
	if p != nil {
		return p, nil
	}
	chosen, rejected, p := o.pair()
	if p != nil {
		return p, nil
	}
	r.noteCRLF(o)
	if !strings.HasPrefix(chosen, humanMark) || !strings.HasPrefix(rejected, humanMark) {
		return problemf(NoHuman, "a transcript starts with %q", head(chosen)), nil
	}
	cut := strings.LastIndex(chosen[:commonPrefix(chosen, rejected)], assistantMark)
	if cut < 0 {
		return problemf(NoAssistant, "the transcripts share no %q", assistantMark), nil
	}
	end := cut + len(assistantMark)
	turns := transcriptTurns(chosen[:cut])
	for _, t := range turns {
		if t.User && blank(t.Text) {
			return problemf(BlankText, "a Human turn"), nil
		}
	}
	if !alternates(turns) {
		r.tally.Drop(NotAlternating, 1)
		return nil, nil
	}
	rec := &Record{At: at}
	rec.conversation("", turns)
	if r.Use != ForPrompts && (hasTurn(chosen[end:]) || hasTurn(rejected[end:])) {
		r.tally.Drop(DiffersEarlier, 1)
		return nil, nil
	}
	return nil, r.emitPair(rec, afterMark(chosen[end:]), afterMark(rejected[end:]))
}

// transcriptTurns splits a transcript at its marks. The space after a mark belongs to the mark.
func transcriptTurns(s string) []Turn {
	var turns []Turn
	for s != "" {
		user := strings.HasPrefix(s, humanMark)
		if user {
			s = s[len(humanMark):]
		} else {
			s = s[len(assistantMark):]
		}
		end := len(s)
		for _, mark := range []string{humanMark, assistantMark} {
			if i := strings.Index(s, mark); i >= 0 {
				end = min(end, i)
			}
		}
		turns = append(turns, Turn{User: user, Text: afterMark(s[:end])})
		s = s[end:]
	}
	return turns
}

func afterMark(s string) string { return strings.TrimPrefix(s, " ") }

func hasTurn(s string) bool {
	return strings.Contains(s, humanMark) || strings.Contains(s, assistantMark)
}

// alternates reports whether turns run user, assistant, ..., user.
func alternates(turns []Turn) bool {
	for i, t := range turns {
		if t.User != (i%2 == 0) {
			return false
		}
	}
	return len(turns)%2 == 1
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// head is the beginning of a text, for messages.
func head(s string) string {
	const most = 20
	r := []rune(s[:min(len(s), 4*most)])
	return string(r[:min(len(r), most)])
}
