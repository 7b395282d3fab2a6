package task

import (
	"fmt"
	"strings"

	"alfred/internal/eval/python"
)

// pool is where examples are drawn from: the split or the samples that the task names for it, else the training, validation or test split.
func (t *Task) pool(d *data) ([]*python.Dict, error) {
	f := t.fewshot
	switch {
	case f.split != "":
		return d.processed(f.split, f.processDocs)
	case f.samples != nil:
		return f.samples, nil
	}
	for _, split := range []string{t.TrainingSplit, t.ValidationSplit, t.TestSplit} {
		if split != "" {
			return d.processed(split, t.processDocs)
		}
	}
	return nil, t.At.errorf("%s: there is no split to draw examples from", t.Name)
}

// sampler draws examples. Its random numbers go on from document to document, so documents must be asked for in order, from the first.
type sampler struct {
	docs   []*python.Dict
	first  bool // the first ones instead of random ones
	random *python.Random
}

// draw draws n examples, none of which is doc unless doc is nil.
func (s *sampler) draw(n int, doc *python.Dict) ([]*python.Dict, error) {
	if s.first {
		pool := s.docs
		if doc != nil {
			pool = others(pool, doc)
		}
		if n > len(pool) {
			return nil, fmt.Errorf("%d examples are asked for, there are %d", n, len(pool))
		}
		return pool[:n], nil
	}
	want := n
	if doc != nil {
		want++ // one for doc itself
	}
	drawn, err := s.sample(s.docs, want)
	if err != nil || doc == nil {
		return drawn, err
	}
	drawn = others(drawn, doc)
	if len(drawn) < n { // doc is there more than once
		return s.sample(others(s.docs, doc), n)
	}
	return drawn[:n], nil
}

func (s *sampler) sample(docs []*python.Dict, n int) ([]*python.Dict, error) {
	if n > len(docs) {
		return nil, fmt.Errorf("%d examples are to be drawn from %d documents", n, len(docs))
	}
	places, err := s.random.Sample(len(docs), n)
	drawn := make([]*python.Dict, len(places))
	for i, at := range places {
		drawn[i] = docs[at]
	}
	return drawn, err
}

// others are the documents that do not equal doc.
func others(docs []*python.Dict, doc *python.Dict) (list []*python.Dict) {
	for _, d := range docs {
		if !python.Equal(d, doc) {
			list = append(list, d)
		}
	}
	return list
}

// contexts are the prompts of a document: one, or one for each choice where the choices are contexts.
func (t *Task) contexts(doc *python.Dict, choices []string) ([]string, error) {
	description, err := t.description.word(doc)
	if err != nil {
		return nil, err
	}
	var prompt strings.Builder
	prompt.WriteString(description)
	if t.Shots > 0 {
		var itself *python.Dict
		if t.fewshot.split == t.TestSplit { // also where both are absent
			itself = doc
		}
		examples, err := t.examples.draw(t.Shots, itself)
		if err != nil {
			return nil, err
		}
		for i, example := range examples {
			if err := t.example(&prompt, example); err != nil {
				return nil, fmt.Errorf("example %d: %w", i, err)
			}
		}
	}
	prefix, err := t.genPrefix.word(doc)
	if err != nil {
		return nil, err
	}
	if t.multipleInput {
		var list []string
		for _, q := range choices {
			list = append(list, prompt.String()+turn(q, prefix, ""))
		}
		return list, nil
	}
	q, err := t.question(doc)
	if err != nil {
		return nil, err
	}
	s, ok := q.(string)
	if !ok {
		return nil, t.docToText.at.errorf("doc_to_text gives %s, no text", shortened(python.Repr(q)))
	}
	prompt.WriteString(turn(s, prefix, t.TargetDelimiter))
	return []string{prompt.String()}, nil
}

// turn is a question without its answer, and the beginning of the answer if there is one.
func turn(question, prefix, delimiter string) string {
	if prefix == "" {
		return question
	}
	if question == "" || spaceBetween(question, prefix) {
		delimiter = ""
	}
	return question + delimiter + prefix
}

// spaceBetween tells whether white space already stands where two texts meet. Neither is empty.
func spaceBetween(before, after string) bool {
	a, b := []rune(before), []rune(after)
	return python.IsSpace(a[len(a)-1]) || python.IsSpace(b[0])
}

// example writes an example with its answer.
func (t *Task) example(to *strings.Builder, doc *python.Dict) error {
	f, withChoices := t.fewshot, t.docToChoice != nil
	q, err := f.docToText.question(doc, t.columns, withChoices)
	if err != nil {
		return err
	}
	var choices []string
	if f.docToChoice != nil {
		if choices, err = f.docToChoice.options(doc, t.columns); err != nil {
			return err
		}
	}
	a, err := f.docToTarget.answer(doc, t.columns, withChoices)
	if err != nil {
		return err
	}
	prefix, err := f.genPrefix.word(doc)
	if err != nil {
		return err
	}
	if t.multipleInput {
		if q, err = choice(choices, q); err != nil {
			return err
		}
		choices = nil
	}
	question, ok := q.(string)
	if !ok {
		return f.docToText.at.errorf("doc_to_text gives %s, no text", shortened(python.Repr(q)))
	}
	if a == nil || a == "" {
		to.WriteString(turn(question, prefix, f.targetDelimiter))
		return nil
	}
	if i, isNumber := index(a); isNumber && len(choices) > 0 {
		if a, err = choice(choices, i); err != nil {
			return err
		}
	} else if list, isList := a.([]any); isList && len(list) > 0 {
		a = list[0]
	}
	answer, ok := a.(string)
	if !ok {
		return f.docToTarget.at.errorf("doc_to_target gives %s, no text", shortened(python.Repr(a)))
	}
	if prefix == "" || answer == "" || spaceBetween(prefix, answer) {
		answer = prefix + answer
	} else {
		answer = prefix + " " + answer
	}
	delimiter := f.targetDelimiter
	if prefix != "" && (question == "" || spaceBetween(question, prefix)) {
		delimiter = ""
	}
	to.WriteString(question + delimiter + answer + f.delimiter)
	return nil
}

// index is a number as Python indexes with it: True is 1.
func index(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		return number(v), true
	}
	return 0, false
}

// choice is the choice of a number; a negative one counts from the end.
func choice(choices []string, v any) (any, error) {
	i, ok := index(v)
	if i < 0 {
		i += int64(len(choices))
	}
	if !ok || i < 0 || i >= int64(len(choices)) {
		return nil, fmt.Errorf("there is no choice %s among %d", python.Repr(v), len(choices))
	}
	return choices[i], nil
}
