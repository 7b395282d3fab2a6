package jinja

import (
	"strings"

	"alfred/internal/eval/python"
)

// Template is a parsed template. It may be rendered by many goroutines.
type Template struct {
	name, source string
	body         []node
}

// Bounds of one rendering: bytes of the result, and pieces of template that are evaluated.
const (
	maxOutput = 16 << 20
	maxSteps  = 1_000_000
)

// Render gives the template's text for a document, whose columns are its names.
func (t *Template) Render(doc *python.Dict) (string, error) {
	r := &renderer{scope: &scope{doc: doc, names: map[string]any{}}}
	if err := r.run(t.body); err != nil {
		return "", t.located(err)
	}
	return r.out.String(), nil
}

// scope is what names stand for: in the innermost loop, and around it.
type scope struct {
	doc   *python.Dict // of the outermost
	names map[string]any
	outer *scope
}

func (s *scope) get(name string) (any, bool) {
	for ; s != nil; s = s.outer {
		if v, ok := s.names[name]; ok {
			return v, true
		}
		if s.doc != nil {
			return s.doc.Get(name)
		}
	}
	return nil, false
}

type renderer struct {
	out   strings.Builder
	scope *scope
	steps int
}

// step counts what is evaluated, so that no template runs forever.
func (r *renderer) step(at int) error {
	if r.steps++; r.steps > maxSteps {
		return problemf(at, "the template does too much")
	}
	return nil
}

func (r *renderer) run(body []node) error {
	for _, n := range body {
		if err := r.runOne(n); err != nil {
			return err
		}
	}
	return nil
}

func (r *renderer) runOne(n node) error {
	switch n := n.(type) {
	case dataNode:
		r.out.WriteString(n.text)
	case outputNode:
		v, err := r.defined(n.value)
		if err != nil {
			return err
		}
		s, err := show(v)
		if err != nil {
			return problemf(n.value.at, "%w", err)
		}
		if r.out.WriteString(s); r.out.Len() > maxOutput {
			return problemf(n.value.at, "the text is longer than %d bytes", maxOutput)
		}
	case ifNode:
		for i, test := range n.tests {
			yes, err := r.truth(test)
			if err != nil {
				return err
			}
			if yes {
				return r.run(n.bodies[i])
			}
		}
		return r.run(n.orElse)
	case setNode:
		v, err := r.defined(n.value)
		if err != nil {
			return err
		}
		return r.assign(n.targets, v, n.value.at)
	case forNode:
		return r.loop(n)
	}
	return nil
}

// assign gives names their values in the innermost scope.
func (r *renderer) assign(names []string, v any, at int) error {
	if len(names) == 1 {
		r.scope.names[names[0]] = v
		return nil
	}
	items, err := iterate(v)
	if err != nil {
		return problemf(at, "%w", err)
	}
	if len(items) != len(names) {
		return problemf(at, "%d values for %d names", len(items), len(names))
	}
	for i, name := range names {
		r.scope.names[name] = items[i]
	}
	return nil
}

func (r *renderer) loop(n forNode) error {
	v, err := r.defined(n.in)
	if err != nil {
		return err
	}
	items, err := iterate(v)
	if err != nil {
		return problemf(n.in.at, "%w", err)
	}
	outer := r.scope
	defer func() { r.scope = outer }()
	if n.filter.node != nil {
		var kept []any
		for _, item := range items {
			r.scope = &scope{names: map[string]any{}, outer: outer}
			if err := r.assign(n.targets, item, n.in.at); err != nil {
				return err
			}
			yes, err := r.truth(n.filter)
			if err != nil {
				return err
			}
			if yes {
				kept = append(kept, item)
			}
		}
		items = kept
	}
	if len(items) == 0 {
		r.scope = outer
		return r.run(n.orElse)
	}
	for i, item := range items {
		if err := r.step(n.in.at); err != nil {
			return err
		}
		r.scope = &scope{names: map[string]any{"loop": loop{i, len(items)}}, outer: outer}
		if err := r.assign(n.targets, item, n.in.at); err != nil {
			return err
		}
		if err := r.run(n.body); err != nil {
			return err
		}
	}
	return nil
}

// loop is the variable of that name.
type loop struct{ index, length int }

// attributes of loop.
var loopAttributes = map[string]func(l loop) any{
	"index":     func(l loop) any { return int64(l.index + 1) },
	"index0":    func(l loop) any { return int64(l.index) },
	"revindex":  func(l loop) any { return int64(l.length - l.index) },
	"revindex0": func(l loop) any { return int64(l.length - l.index - 1) },
	"first":     func(l loop) any { return l.index == 0 },
	"last":      func(l loop) any { return l.index == l.length-1 },
	"length":    func(l loop) any { return int64(l.length) },
}
