package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// maxTaskFile bounds the bytes of one task file; the collection's own limit is 50 MB.
const maxTaskFile = 512 << 20

// taskFile reads one Natural Instructions v2 task: a JSON object with Definition (a list of strings; a string in early
// files), "Positive Examples" (of which unreadable ones are left out) and Instances. The response is an instance's first output.
// A task is kept when its input, output and instruction languages are all wanted; they are English names ("French") or codes.
func (r *reader) taskFile(s *stream) error {
	data, err := io.ReadAll(io.LimitReader(s.Text, maxTaskFile+1))
	switch {
	case err != nil:
		return s.fail(err)
	case len(data) > maxTaskFile:
		return s.fail(fmt.Errorf("a task file over %d MiB", maxTaskFile>>20))
	case len(data) == 0:
		return nil // an empty file, named in the report
	}
	o, p := members(data) // instance by instance UTF-8 is checked, so that one of them cannot spoil the file
	if p != nil {
		return s.fail(fmt.Errorf("a task file is one JSON object: %s: %s", p.reason, clip(p.detail)))
	}
	if !o.has("Instances") {
		return s.fail(errors.New(`no "Instances": this is not a Natural Instructions v2 task`))
	}
	instances, p := o.list("Instances")
	if p != nil {
		return s.fail(errors.New(p.detail))
	}
	r.tally.Rows += len(instances)
	t := &task{name: taskName(s.path)}
	header := t.read(o)
	wanted := header == nil && r.wantsTask(o)
	if wanted && t.badExamples > 0 {
		r.tally.Note(BadExamples, t.badExamples)
	}
	for i, raw := range instances {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		at := Location{File: s.path, Unit: "instance", Number: i + 1}
		p := header
		switch {
		case p != nil:
		case !wanted:
			r.tally.Drop(Language, 1)
		default:
			if p, err = r.instance(t, at, raw); err != nil {
				return err
			}
		}
		if p != nil {
			if err := r.tally.malformed(at, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// task is what the instances of a file share.
type task struct {
	name        string
	language    string
	definition  string
	examples    []Example
	badExamples int // left out
}

func (t *task) read(o *object) *problem {
	definition, p := firstText("Definition", o.fields["Definition"])
	if p != nil {
		return p
	}
	if blank(definition) {
		return problemf(BlankText, `"Definition"`)
	}
	t.definition = definition
	if names := languageNames(o.fields["Input_language"]); len(names) > 0 {
		t.language = names[0]
	}
	examples, p := o.list("Positive Examples")
	if p != nil {
		return p
	}
	for _, raw := range examples {
		if e, p := example(raw); p != nil {
			t.badExamples++
		} else {
			t.examples = append(t.examples, e)
		}
	}
	return nil
}

func example(raw json.RawMessage) (e Example, p *problem) {
	o, p := parseObject(raw)
	if p != nil {
		return e, p
	}
	if e.Input, p = firstText("input", o.fields["input"]); p != nil {
		return e, p
	}
	e.Output, p = firstText("output", o.fields["output"])
	return e, p
}

func (r *reader) instance(t *task, at Location, raw json.RawMessage) (*problem, error) {
	o, p := parseObject(raw)
	if p != nil {
		return p, nil
	}
	input, p := o.text("input")
	if p != nil {
		return p, nil
	}
	output, p := firstText("output", o.fields["output"])
	if p != nil {
		return p, nil
	}
	rec := &Record{At: at, Language: t.language, Examples: t.examples, Response: output, HasResponse: true}
	if rec.ID, p = o.optionalText("id"); p != nil {
		return p, nil
	}
	r.noteCRLF(o)
	if blank(input) {
		return problemf(BlankText, `"input"`), nil
	}
	if r.Use == ForSFT && blank(output) {
		r.tally.Drop(EmptyResponse, 1)
		return nil, nil
	}
	if rec.ID == "" {
		rec.ID = fmt.Sprintf("%s-%d", t.name, at.Number)
	}
	rec.singleTurn(t.definition, input)
	return nil, r.emit(rec)
}

// firstText reads a text that some files hold as a string and some as a list of strings, whose first counts.
func firstText(key string, raw json.RawMessage) (string, *problem) {
	if p := checkRow(raw); p != nil {
		return "", p
	}
	if len(raw) > 0 && raw[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
			return "", problemf(MissingField, "%q is an empty list", key)
		}
		raw = list[0]
	}
	text, _, p := decodeText(key, raw)
	return text, p
}

// wantsTask applies the language filter. A language field that is absent says nothing against a task.
func (r *reader) wantsTask(o *object) bool {
	if len(r.Languages) == 0 || slices.Contains(r.Languages, AllLanguages) {
		return true
	}
	wanted := map[string]bool{}
	for _, l := range r.Languages {
		wanted[strings.ToLower(l)] = true
		if tag, err := language.Parse(l); err == nil {
			wanted[strings.ToLower(display.English.Languages().Name(tag))] = true
		}
	}
	for _, key := range []string{"Input_language", "Output_language", "Instruction_language"} {
		for _, name := range languageNames(o.fields[key]) {
			if !wanted[strings.ToLower(name)] {
				return false
			}
		}
	}
	return true
}

func languageNames(raw json.RawMessage) []string {
	var names []string
	if json.Unmarshal(raw, &names) == nil {
		return names
	}
	var name string
	if json.Unmarshal(raw, &name) == nil && name != "" {
		return []string{name}
	}
	return nil
}

func taskName(path string) string {
	name := filepath.Base(path)
	for _, ext := range []string{".gz", ".zst", ".json"} {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}
