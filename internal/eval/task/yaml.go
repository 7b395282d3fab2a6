package task

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"alfred/internal/eval/python"
)

// Place is a position in a task file.
type Place struct {
	File         string
	Line, Column int
}

func (p Place) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// errorf makes an error that names the place.
func (p Place) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{p}, args...)...)
}

// node is a YAML node, and the file that it is in.
type node struct {
	*yaml.Node
	files fs.FS
	file  string
}

func (n node) place() Place { return Place{shown(n.files, n.file), n.Line, n.Column} }

func (n node) child(c *yaml.Node) node {
	n.Node = c
	return n
}

// mapping is a YAML mapping whose keys are names, in order.
type mapping struct {
	keys  []string
	nodes map[string]node
	at    Place
}

func (m *mapping) set(key string, n node) {
	if _, ok := m.nodes[key]; !ok {
		m.keys = append(m.keys, key)
	}
	m.nodes[key] = n
}

// readFile reads a task file and the files that it includes: keys of its own win, and of its includes the later ones, as in the harness.
func readFile(files fs.FS, name string) (*mapping, error) { return readIncluding(files, name, nil) }

func readIncluding(files fs.FS, name string, above []string) (*mapping, error) {
	for _, other := range above {
		if other == name {
			return nil, fmt.Errorf("%s: includes itself, by way of %s", shown(files, name), strings.Join(above, ", "))
		}
	}
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", shown(files, name), err)
	}
	if document.Kind == 0 {
		return nil, fmt.Errorf("%s: is empty", shown(files, name))
	}
	own, err := readMapping(node{document.Content[0], files, name})
	if err != nil {
		return nil, err
	}
	include, ok := own.nodes["include"]
	if !ok {
		return own, nil
	}
	names, err := texts(include)
	if err != nil {
		return nil, err
	}
	all := &mapping{nodes: map[string]node{}, at: own.at}
	for _, other := range names {
		included, err := readIncluding(files, path.Join(path.Dir(name), other), append(above, name))
		if err != nil {
			return nil, include.place().errorf("include: %w", err)
		}
		for _, key := range included.keys {
			if key != "task_list" {
				all.set(key, included.nodes[key])
			}
		}
	}
	for _, key := range own.keys {
		if key != "include" {
			all.set(key, own.nodes[key])
		}
	}
	return all, nil
}

func readMapping(n node) (*mapping, error) {
	n = n.resolve()
	if n.Kind != yaml.MappingNode {
		return nil, n.place().errorf("want a mapping of keys to values")
	}
	m := &mapping{nodes: map[string]node{}, at: n.place()}
	var problems []error
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.child(n.Content[i])
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			problems = append(problems, key.place().errorf("a key must be a name"))
			continue
		}
		if _, ok := m.nodes[key.Value]; ok {
			problems = append(problems, key.place().errorf("%s comes twice", key.Value))
		}
		m.set(key.Value, n.child(n.Content[i+1]))
	}
	return m, errors.Join(problems...)
}

// resolve follows an alias.
func (n node) resolve() node {
	for n.Kind == yaml.AliasNode {
		n.Node = n.Alias
	}
	return n
}

// function is the name that a value tagged !function has, if it is one.
func (n node) function() (name string, ok bool) {
	n = n.resolve()
	return n.Node.Value, n.Kind == yaml.ScalarNode && n.Tag == "!function"
}

// value is what PyYAML makes of a node: it follows YAML 1.1, where a plain yes is true and 017 is 15.
func (n node) value() (any, error) {
	n = n.resolve()
	switch n.Kind {
	case yaml.ScalarNode:
		return n.scalar()
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			v, err := n.child(c).value()
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	m, err := readMapping(n)
	if err != nil {
		return nil, err
	}
	dict := python.NewDict()
	for _, key := range m.keys {
		v, err := m.nodes[key].value()
		if err != nil {
			return nil, err
		}
		dict.Set(key, v)
	}
	return dict, nil
}

var (
	plainNull  = regexp.MustCompile(`^(~|null|Null|NULL|)$`)
	plainTrue  = regexp.MustCompile(`^(yes|Yes|YES|true|True|TRUE|on|On|ON)$`)
	plainFalse = regexp.MustCompile(`^(no|No|NO|false|False|FALSE|off|Off|OFF)$`)
	plainInt   = regexp.MustCompile(`^[-+]?(0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$`)
	plainFloat = regexp.MustCompile(`^([-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?)$`)
	plainOther = regexp.MustCompile(`^([-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)|\d{4}-\d\d?-\d\d?([Tt \t].*)?|=|<<)$`)
)

func (n node) scalar() (any, error) {
	s := n.Node.Value
	if n.Tag != "" && n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str" {
		if n.Tag == "!function" {
			return nil, n.place().errorf("!function %s: a function cannot stand here", s)
		}
		return nil, n.place().errorf("the tag %s is not supported", n.Tag)
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) != 0 {
		return s, nil
	}
	digits := strings.ReplaceAll(s, "_", "")
	switch {
	case plainNull.MatchString(s):
		return nil, nil
	case plainTrue.MatchString(s):
		return true, nil
	case plainFalse.MatchString(s):
		return false, nil
	case plainInt.MatchString(s):
		v, err := strconv.ParseInt(digits, 0, 64) // base 0 takes a leading 0 for octal, as YAML 1.1 does
		if err != nil {
			return nil, n.place().errorf("%s is no integer of 64 bits", s)
		}
		return v, nil
	case plainFloat.MatchString(s):
		v, err := strconv.ParseFloat(digits, 64)
		if err != nil {
			return nil, n.place().errorf("%s is no number of 64 bits", s)
		}
		return v, nil
	case plainOther.MatchString(s):
		return nil, n.place().errorf("%s is a date, a time or a special number to the harness: put it in quotes if it is text", s)
	}
	return s, nil
}

// text is a value that must be text.
func text(n node) (string, error) {
	v, err := n.value()
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", n.place().errorf("want text, have %s", python.Repr(v))
	}
	return s, nil
}

// texts is a value that must be text or a list of texts.
func texts(n node) ([]string, error) {
	n = n.resolve()
	if n.Kind != yaml.SequenceNode {
		s, err := text(n)
		return []string{s}, err
	}
	var list []string
	for _, c := range n.Content {
		s, err := text(n.child(c))
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// whole is a value that must be an integer of at least least.
func whole(n node, least int64) (int, error) {
	v, err := n.value()
	if err != nil {
		return 0, err
	}
	i, ok := v.(int64)
	if !ok || i < least || i > 1<<31 {
		return 0, n.place().errorf("want an integer of at least %d, have %s", least, python.Repr(v))
	}
	return int(i), nil
}

// truth is a value that must be true or false.
func truth(n node) (bool, error) {
	v, err := n.value()
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, n.place().errorf("want true or false, have %s", python.Repr(v))
	}
	return b, nil
}

// absent tells whether a key is not there or null.
func (m *mapping) absent(key string) bool {
	n, ok := m.nodes[key]
	if !ok {
		return true
	}
	n = n.resolve()
	return n.Kind == yaml.ScalarNode && n.Style == 0 && plainNull.MatchString(n.Node.Value)
}
