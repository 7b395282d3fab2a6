package official

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"

	"alfred/internal/eval/python"
)

// qa4mre: the gold standards of QA4MRE (CLEF 2011 to 2013), test-set / topic t_id t_name / reading-test r_id / doc d_id, q q_id
// {q_str, answer a_id [correct]}; the hub's qa4mre.py gives one row per question, with the document in each. All ids are texts. An
// answer is right if it has the attribute correct, whatever that says; of two right ones the last counts.
func qa4mre(in *input) error {
	f := in.rowFiles[0]
	root, err := parseXML(f.text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	for _, topic := range root.children {
		for _, test := range topic.children {
			var document *element
			for doc := range test.named("doc") {
				document = doc
			}
			for q := range test.named("q") {
				fields := newFields(nil)
				row := question(fields, topic, test, document, q)
				in.finish(place{f.name, q.line}, fields.row, row)
			}
		}
	}
	return nil
}

func question(f *fields, topic, test, document, q *element) *python.Dict {
	if document == nil {
		f.fail(MissingField, "the reading test has no doc")
		document = test
	}
	row := python.NewDict("topic_id", topic.attr(f, "t_id"), "topic_name", topic.attr(f, "t_name"), "test_id", test.attr(f, "r_id"),
		"document_id", document.attr(f, "d_id"), "document_str", document.text, "question_id", q.attr(f, "q_id"))
	if python.Strip(document.text) == "" {
		f.fail(MissingField, "the doc is empty")
	}
	text := ""
	for e := range q.named("q_str") {
		text = e.text
	}
	if text == "" {
		f.fail(MissingField, "q_str")
	}
	ids, texts := []any{}, []any{}
	var right *element
	for a := range q.named("answer") {
		ids, texts = append(ids, a.attr(f, "a_id")), append(texts, a.text)
		if python.Strip(a.text) == "" {
			f.note(EmptyChoice, "answer %d", len(ids))
		}
		if _, ok := a.attributes["correct"]; ok {
			if right != nil {
				f.note(TwoAnswers, "")
			}
			right = a
		}
	}
	if right == nil {
		f.fail(NoAnswer, "none of the %d answers is marked correct", len(ids))
		return nil
	}
	row.Set("question_str", text)
	row.Set("answer_options", python.NewDict("answer_id", ids, "answer_str", texts))
	row.Set("correct_answer_id", right.attr(f, "a_id"))
	row.Set("correct_answer_str", right.text)
	return row
}

// element is what Python's ElementTree makes of an XML element.
type element struct {
	name       string
	attributes map[string]string
	text       string // up to the first child
	children   []*element
	line       int
}

// attr is an attribute that must be there.
func (e *element) attr(f *fields, name string) string {
	v, ok := e.attributes[name]
	if !ok {
		f.fail(MissingField, "attribute %s of %s", name, e.name)
	}
	return v
}

// named walks the element and what is below it, in the order of the text.
func (e *element) named(name string) iter.Seq[*element] {
	return func(yield func(*element) bool) { e.walk(name, yield) }
}

func (e *element) walk(name string, yield func(*element) bool) bool {
	if e.name == name && !yield(e) {
		return false
	}
	for _, child := range e.children {
		if !child.walk(name, yield) {
			return false
		}
	}
	return true
}

// maxDepth bounds the nesting of XML; the official files have five levels.
const maxDepth = 100

// parseXML reads a whole document, which must be well-formed and have one root.
func parseXML(text []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	var root *element
	var open []*element
	fail := func(format string, args ...any) error {
		line, column := d.InputPos()
		return fmt.Errorf("XML: line %d, column %d: %w", line, column, fmt.Errorf(format, args...))
	}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var syntax *xml.SyntaxError
			if errors.As(err, &syntax) { // its line is in the message already
				return nil, fail("%s", syntax.Msg)
			}
			return nil, fail("%w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			line, _ := d.InputPos()
			e := &element{name: t.Name.Local, attributes: map[string]string{}, line: line}
			for _, a := range t.Attr {
				e.attributes[a.Name.Local] = a.Value
			}
			switch {
			case len(open) >= maxDepth:
				return nil, fail("more than %d levels", maxDepth)
			case len(open) > 0:
				parent := open[len(open)-1]
				parent.children = append(parent.children, e)
			case root != nil:
				return nil, fail("a second root, <%s>", e.name)
			default:
				root = e
			}
			open = append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			switch {
			case len(open) == 0 && len(bytes.TrimSpace(t)) > 0:
				return nil, fail("text outside of the root")
			case len(open) > 0 && len(open[len(open)-1].children) == 0:
				open[len(open)-1].text += string(t)
			}
		}
	}
	if root == nil {
		return nil, fail("no element")
	}
	return root, nil
}
