package tokenizer

import (
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds the length of an error.
const maxProblems = 20

// problems collects what is wrong with a file, each with its place in the JSON.
type problems struct {
	lines []string
	more  int
}

func (p *problems) add(path, format string, args ...any) {
	if len(p.lines) == maxProblems {
		p.more++
		return
	}
	if path == "" {
		path = "top level"
	}
	p.lines = append(p.lines, path+": "+fmt.Sprintf(format, args...))
}

// err gives nil when there are no problems.
func (p *problems) err() error {
	switch {
	case len(p.lines) == 0:
		return nil
	case len(p.lines) == 1:
		return fmt.Errorf("%s", p.lines[0])
	}
	text := fmt.Sprintf("%d problems:\n\t%s", len(p.lines)+p.more, strings.Join(p.lines, "\n\t"))
	if p.more > 0 {
		text += fmt.Sprintf("\n\tand %d more", p.more)
	}
	return fmt.Errorf("%s", text)
}

// object is a JSON object whose keys are all known; its methods report what is missing or wrong.
type object struct {
	path     string
	fields   map[string]jsonValue
	problems *problems
}

// object checks that v is an object with no other keys than these, and none twice.
func (p *problems) object(path string, v jsonValue, keys ...string) (object, bool) {
	o := object{path: path, fields: map[string]jsonValue{}, problems: p}
	if !v.isObject() {
		p.add(path, "want an object, got %s", v.brief())
		return o, false
	}
	for key, value := range v.members() {
		if !slices.Contains(keys, key) {
			p.add(o.at(key), "unknown key; known here: %s", strings.Join(keys, ", "))
			continue
		}
		if _, again := o.fields[key]; again {
			p.add(o.at(key), "given twice")
		}
		o.fields[key] = value
	}
	return o, true
}

func (o object) at(key string) string {
	if o.path == "" {
		return key
	}
	return o.path + "." + key
}

// has tells whether the key is there and not null.
func (o object) has(key string) bool {
	v, ok := o.fields[key]
	return ok && !v.isNull()
}

// flag gives a required boolean.
func (o object) flag(key string) bool {
	if _, ok := o.fields[key]; !ok {
		o.problems.add(o.at(key), "missing")
		return false
	}
	return o.flagOr(key, false)
}

// flagOr gives a boolean that may be left out.
func (o object) flagOr(key string, otherwise bool) bool {
	v, ok := o.fields[key]
	switch {
	case !ok:
		return otherwise
	case v == "true":
		return true
	case v == "false":
		return false
	}
	o.problems.add(o.at(key), "want true or false, got %s", v.brief())
	return otherwise
}

// text gives a required string.
func (o object) text(key string) string {
	v, ok := o.fields[key]
	if !ok {
		o.problems.add(o.at(key), "missing")
		return ""
	}
	s, ok := v.text()
	if !ok {
		o.problems.add(o.at(key), "want a string, got %s", v.brief())
	}
	return s
}

// kind gives the type of a component without complaint, "" when it has none.
func (v jsonValue) kind() string {
	if v.isObject() {
		for key, value := range v.members() {
			if key == "type" {
				s, _ := value.text()
				return s
			}
		}
	}
	return ""
}

// brief gives a value for an error message.
func (v jsonValue) brief() string {
	const most = 40
	if len(v) <= most {
		return string(v)
	}
	return strings.ToValidUTF8(string(v[:most]), "") + "..."
}
