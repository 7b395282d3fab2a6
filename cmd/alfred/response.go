package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode"

	"alfred/internal/rollout"
)

// responseWriter writes responses, as text for people or as lines of JSON.
type responseWriter struct {
	model    *openModel
	lines    bool
	terminal bool // where texts are shown
	many     bool // texts need headings
	returns  int
	prompts  []generatePrompt
	out      *output
}

// responseLine is a line of output; its first keys make it a line of a replay file.
type responseLine struct {
	ID json.RawMessage `json:"id"`
	rollout.Record
	Text     *string   `json:"text,omitempty"`
	LogProbs []float32 `json:"logprobs"`
}

func (w *responseWriter) write(tr rollout.Trajectory) error {
	id := w.prompts[tr.Sequence/w.returns].id
	for _, x := range tr.LogProb {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return failf(exitNumerical, "prompt %s: the model computes %v: its weights are damaged, or too large for this precision", id, x)
		}
	}
	text := w.text(tr)
	if !w.lines {
		heading := ""
		if w.many {
			heading = fmt.Sprintf("=== prompt %d, response %d, ended by %s\n", tr.Sequence/w.returns+1, tr.Sequence%w.returns+1, tr.Finish)
		}
		shown := *text
		if w.terminal {
			shown = printable(shown)
		}
		_, err := io.WriteString(w.out, heading+shown+"\n")
		return err
	}
	line := responseLine{
		ID:     id,
		Record: rollout.Record{PromptIDs: tr.Prompt, ResponseIDs: tr.Response, Finish: tr.Finish},
		Text:   text,
	}
	for _, x := range tr.LogProb {
		line.LogProbs = append(line.LogProbs, float32(x))
	}
	b, err := encodeLine(line)
	if err != nil {
		return err
	}
	_, err = w.out.Write(b)
	return err
}

// text is a response without its end of document; nil without a tokenizer.
func (w *responseWriter) text(tr rollout.Trajectory) *string {
	if w.model.tokenizer == nil {
		return nil
	}
	ids := tr.Response
	if tr.Finish == rollout.FinishEOD {
		ids = ids[:len(ids)-1]
	}
	text := w.model.tokenizer.Decode(ids)
	return &text
}

// printable shows control and format characters as escapes, but keeps lines and tabs: what a model writes must not drive a terminal.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
