package dataset

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Signs in shown samples: around what counts for the loss, and the end of a document.
const (
	lossBegin, lossEnd = "⟦", "⟧"
	endOfDocument      = "∎"
)

var escapeSigns = strings.NewReplacer(lossBegin, `\u27e6`, lossEnd, `\u27e7`, endOfDocument, `\u220e`)

// decoder shows ids as text when the tokenizer can, as numbers otherwise. A text cannot imitate the signs: those that it holds are
// escaped, and "<|endoftext|>" typed by a user shows as it is typed, the end of a document as ∎.
func decoder(o Options) func([]int32) string {
	d, ok := o.Tokenizer.(interface{ Decode([]int32) string })
	if !ok {
		return func(ids []int32) string { return strings.Trim(fmt.Sprint(ids), "[]") + " " }
	}
	return func(ids []int32) string {
		var b strings.Builder
		for {
			end := slices.Index(ids, o.EOD)
			if end < 0 {
				b.WriteString(escapeSigns.Replace(d.Decode(ids)))
				return b.String()
			}
			b.WriteString(escapeSigns.Replace(d.Decode(ids[:end])) + endOfDocument)
			ids = ids[end+1:]
		}
	}
}

func (s SFT) show(decode func([]int32) string) string {
	var b strings.Builder
	for from := 0; from < len(s.IDs); {
		to := from + 1
		for to < len(s.IDs) && s.Loss[to] == s.Loss[from] {
			to++
		}
		text := decode(s.IDs[from:to])
		if s.Loss[from] {
			text = lossBegin + text + lossEnd
		}
		b.WriteString(text)
		from = to
	}
	return b.String()
}

func (r Ranked) show(decode func([]int32) string) string {
	var b strings.Builder
	b.WriteString(decode(r.Prompt))
	for i, ids := range r.Responses {
		fmt.Fprintf(&b, "\nrank %d: %s%s%s", r.Ranks[i], lossBegin, decode(ids), lossEnd)
	}
	return b.String()
}

func (p Prompt) show(decode func([]int32) string) string { return decode(p.IDs) }

// printable shows control characters (other than line feed and tab) as escapes, so that data cannot drive a terminal.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
