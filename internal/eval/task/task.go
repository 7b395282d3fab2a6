package task

import (
	"context"
	"fmt"

	"alfred/internal/eval/python"
)

// Task is a task with its documents.
type Task struct {
	*Config
	Documents []*python.Dict // those it is evaluated on
	Shots     int            // examples before each
	Sources   []Source
	Skipped   map[string]int

	columns        map[string]bool
	examples       *sampler
	multipleInput  bool // choices are contexts, and there is one continuation
	multipleTarget bool // several answers are right
}

// Settings of an evaluation that tasks depend on.
type Settings struct {
	Folder string // where data files are
	Shots  *int   // instead of what tasks say, unless that is 0
	Seed   int64  // of few-shot examples
}

// Open reads a task's documents.
func (c *Config) Open(ctx context.Context, s Settings) (*Task, error) {
	d := &data{ctx: ctx, folder: s.Folder, config: c, loaded: map[string][]*python.Dict{}}
	t := &Task{Config: c, columns: map[string]bool{}}
	split := c.TestSplit
	if split == "" {
		split = c.ValidationSplit
	}
	var err error
	if t.Documents, err = d.processed(split, c.processDocs); err != nil {
		return nil, err
	}
	for _, key := range t.Documents[0].Keys() {
		t.columns[key] = true
	}
	switch {
	case c.NumFewshot != nil && (s.Shots == nil || *c.NumFewshot == 0):
		t.Shots = *c.NumFewshot
	case s.Shots != nil:
		t.Shots = *s.Shots
	}
	if t.Shots > 0 {
		docs, err := t.pool(d)
		if err != nil {
			return nil, err
		}
		t.examples = &sampler{docs: docs, first: c.fewshot.sampler == "first_n", random: python.NewRandom(s.Seed)}
	}
	t.Sources, t.Skipped = d.Sources, d.Skipped
	return t, t.probe()
}

// processed is a split after process_docs.
func (d *data) processed(split string, process *function) ([]*python.Dict, error) {
	docs, err := d.split(split)
	if err != nil || process == nil {
		return docs, err
	}
	docs, err = process.documents(docs)
	if err == nil && len(docs) == 0 {
		err = fmt.Errorf("it leaves no document")
	}
	if err != nil {
		return nil, d.config.At.errorf("%s: split %s: %s: %w", d.config.Name, split, process.name, err)
	}
	return docs, nil
}

// probe finds out from the first document what kind of task it is, as the harness does.
func (t *Task) probe() error {
	doc := t.Documents[0]
	if t.docToText != nil && t.docToChoice != nil {
		q, err := t.question(doc)
		if err != nil {
			return t.failed(0, err)
		}
		_, t.multipleInput = q.(int64)
	}
	a, err := t.answer(doc)
	if err != nil {
		return t.failed(0, err)
	}
	_, t.multipleTarget = a.([]any)
	return nil
}

// failed says in which document something went wrong.
func (t *Task) failed(i int, err error) error {
	return fmt.Errorf("task %s, document %d: %w", t.Name, i, err)
}

func (t *Task) question(doc *python.Dict) (any, error) {
	return t.docToText.question(doc, t.columns, t.docToChoice != nil)
}

func (t *Task) answer(doc *python.Dict) (any, error) {
	return t.docToTarget.answer(doc, t.columns, t.docToChoice != nil)
}

func (t *Task) options(doc *python.Dict) ([]string, error) {
	if t.docToChoice == nil {
		return nil, nil
	}
	list, err := t.docToChoice.options(doc, t.columns)
	if err == nil && len(list) == 0 {
		err = t.docToChoice.at.errorf("doc_to_choice gives no choices")
	}
	return list, err
}
