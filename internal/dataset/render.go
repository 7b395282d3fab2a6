package dataset

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"unicode/utf8"

	"alfred/internal/config"
	"alfred/internal/dataset/source"
)

//go:embed templates/*.tmpl
var builtin embed.FS

// rendering turns records into text.
type rendering struct {
	name   string // chat, instruction, few_shot or plain
	shots  int
	hash   [32]byte // SHA-256 of the template file
	prompt *template.Template
	answer *template.Template
}

// segment is a piece of a rendered prompt that is tokenised on its own when the loss is on all turns.
type segment struct {
	text      string
	assistant bool // an earlier response of the assistant
}

// Marks around the assistant's turns while a prompt is rendered. Neither byte occurs in UTF-8, hence not in any text.
const assistantBegin, assistantEnd = "\xfe", "\xff"

var templateFuncs = template.FuncMap{
	"sentence": sentence,
	"trim":     strings.TrimSpace,
	"number":   func(index int) int { return index + 1 },
}

// newRendering loads a spec's template: the built-in one of its rendering, or its own file (relative to root).
func newRendering(spec config.Source, root string) (*rendering, error) {
	r := &rendering{name: spec.Render, shots: spec.Shots}
	if r.name == "" {
		r.name = "plain"
	}
	data, err := builtin.ReadFile("templates/" + r.name + ".tmpl")
	if err != nil {
		return nil, fmt.Errorf("render %q is unknown (chat, instruction or few_shot): %w", spec.Render, ErrSpec)
	}
	name := r.name
	if spec.Template != "" {
		name = spec.Template
		if !filepath.IsAbs(name) {
			name = filepath.Join(root, name)
		}
		if data, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("template: %w: %w", err, ErrSpec)
		}
		if !utf8.Valid(data) {
			return nil, fmt.Errorf("template %s is not UTF-8: %w", name, ErrSpec)
		}
	}
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	r.hash = sha256.Sum256(data)
	t, err := template.New(filepath.Base(name)).Funcs(templateFuncs).Parse(string(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrSpec)
	}
	r.prompt, r.answer = t.Lookup("prompt"), t.Lookup("response")
	if r.prompt == nil || r.answer == nil {
		return nil, fmt.Errorf(`template %s: wants the blocks {{define "prompt"}} and {{define "response"}}: %w`, name, ErrSpec)
	}
	return r, nil
}

// takes reports whether the rendering can show a record: only chat has room for a history and a system message.
func (r *rendering) takes(rec *source.Record) bool {
	return r.name == "chat" || len(rec.Turns) == 1 && rec.System == ""
}

// response renders the text that follows a prompt, without EOD.
func (r *rendering) response(text string) (string, error) {
	var b strings.Builder
	if err := r.answer.Execute(&b, text); err != nil {
		return "", fmt.Errorf("%w: %w", err, ErrSpec)
	}
	return b.String(), nil
}

// segments renders a prompt as pieces whose texts joined are the prompt.
func (r *rendering) segments(rec *source.Record) ([]segment, error) {
	turns := make([]source.Turn, len(rec.Turns))
	history := 0
	for i, turn := range rec.Turns {
		if !turn.User {
			text, err := r.response(turn.Text)
			if err != nil {
				return nil, err
			}
			turn.Text = assistantBegin + text + assistantEnd
			history++
		}
		turns[i] = turn
	}
	var b strings.Builder
	err := r.prompt.Execute(&b, struct {
		System             string
		Turns              []source.Turn
		Instruction, Input string
		Examples           []source.Example
	}{rec.System, turns, rec.Instruction, rec.Input, rec.Examples[:min(r.shots, len(rec.Examples))]})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrSpec)
	}
	var parts []segment
	for i, piece := range strings.Split(b.String(), assistantBegin) {
		answer, rest, marked := strings.Cut(piece, assistantEnd)
		if marked == (i == 0) {
			return nil, errTurns
		}
		if marked {
			parts = append(parts, segment{answer, true})
			answer = rest
		}
		if answer != "" {
			parts = append(parts, segment{answer, false})
		}
		if marked {
			history--
		}
	}
	if history != 0 {
		return nil, errTurns
	}
	return parts, nil
}

var errTurns = fmt.Errorf("template: it must show each of the assistant's earlier turns once, in order and unchanged: %w", ErrSpec)

// sentence is Tk-Instruct's rule: a full stop is added when the text does not end in punctuation.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || !strings.ContainsRune("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", rune(s[len(s)-1])) {
		s += "."
	}
	return s
}

func joined(parts []segment) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.text)
	}
	return b.String()
}
