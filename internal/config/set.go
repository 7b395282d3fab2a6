package config

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// set puts the i-th "a.b=c" into the tree. The value is YAML; nothing after
// the = restores the default. Exactly the key named changes: mappings on the
// way are copied, so that an anchor changed here stays as it was for its
// aliases. What it brings in carries the flag as its place: line -(i+1).
func (d *decoder) set(root *yaml.Node, i int) *yaml.Node {
	path, value, ok := strings.Cut(d.sets[i], "=")
	keys := strings.Split(path, ".")
	failed := func(key, message string) *yaml.Node {
		d.problem(&yaml.Node{Line: -(i + 1)}, key, message)
		return root
	}
	switch {
	case !ok || slices.Contains(keys, ""):
		return failed("", "expects KEY=VALUE, as in trainer.max_steps=10 or data.0.path=own.jsonl")
	case strings.HasPrefix(path, "x-"):
		return failed(shorten(path), "x- keys only hold anchors, which are followed before; set the key that uses it")
	case slices.Contains(keys, "<<"):
		return failed(shorten(path), "a merge cannot be set; set the keys themselves")
	}
	n, err := parseValue(value)
	if err != nil {
		return failed(shorten(path), err.Error())
	}
	place(n, -(i + 1))
	changed, err := put(root, keys, n)
	if err != nil {
		return failed(shorten(path), err.Error())
	}
	return changed
}

// parseValue reads the value of a flag.
func parseValue(value string) (*yaml.Node, error) {
	if p := badCharacter("", []byte(value)); p != nil {
		return nil, errors.New(p.Message)
	}
	documents := yaml.NewDecoder(strings.NewReader(value))
	n, err := next(documents)
	if err == io.EOF {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}, nil
	}
	if err == nil {
		if _, again := next(documents); again != io.EOF {
			err = errors.New("yaml: more than one value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the value is not valid YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return n, nil
}

// place marks a tree as brought in by a flag.
func place(n *yaml.Node, line int) {
	n.Line, n.Column = line, 0
	for _, c := range n.Content {
		place(c, line)
	}
}

// put returns a copy of n in which the value at keys is replaced.
func put(n *yaml.Node, keys []string, value *yaml.Node) (*yaml.Node, error) {
	if len(keys) == 0 {
		return value, nil
	}
	key := keys[0]
	index, err := strconv.Atoi(key)
	isIndex := err == nil && strconv.Itoa(index) == key // 01 and +1 are neither this element nor that
	n = resolve(n)
	if isNull(n) {
		n = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: value.Line}
		if isIndex {
			n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		}
	}
	c := *n
	c.Content, c.Anchor = slices.Clone(n.Content), ""
	null := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	switch n.Kind {
	case yaml.SequenceNode:
		if !isIndex || index < 0 || index > len(c.Content) {
			if len(c.Content) == 0 {
				return nil, fmt.Errorf("%q is not an index of a list that the file leaves out or empty; set all of it, as in KEY=[a, b]", shorten(key))
			}
			return nil, fmt.Errorf("%q is not an index of a list of %d (one past the end appends)", shorten(key), len(c.Content))
		}
		if index == len(c.Content) {
			c.Content = append(c.Content, null)
		}
		c.Content[index], err = put(c.Content[index], keys[1:], value)
		return &c, err
	case yaml.MappingNode:
		for i := 0; i+1 < len(c.Content); i += 2 {
			if resolve(c.Content[i]).Value == key {
				c.Content[i+1], err = put(c.Content[i+1], keys[1:], value)
				return &c, err
			}
		}
		// A key that << merges in is changed in a copy that wins over the merge.
		old := null
		quiet := &decoder{bad: map[string]bool{}, budget: maxValues}
		for _, p := range quiet.pairs(n, "") {
			if p.name == key {
				old = p.value
			}
		}
		changed, err := put(old, keys[1:], value)
		if err != nil {
			return nil, err
		}
		name := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key, Line: value.Line}
		c.Content = append(c.Content, name, changed)
		return &c, nil
	}
	return nil, fmt.Errorf("cannot set %q inside %s", shorten(key), describe(n))
}

// flag is how messages name the i-th --set.
func (d *decoder) flag(i int) string { return "--set " + shorten(d.sets[i]) }
