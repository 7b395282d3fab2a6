package task

import (
	"fmt"

	"gopkg.in/yaml.v3"

	"alfred/internal/eval/python"
)

// FilterList is an entry of filter_list: filters that a generated answer goes through before it is judged.
type FilterList struct {
	Name    string
	filters []func(answer string) string
}

// apply runs the filters.
func (l FilterList) apply(answer string) string {
	for _, f := range l.filters {
		answer = f(answer)
	}
	return answer
}

// filters reads filter_list. Without one answers are judged as they are, under the name none.
func (r *reader) filters() (lists []FilterList) {
	if !r.has("filter_list") {
		return []FilterList{{Name: "none"}}
	}
	n := r.m.nodes["filter_list"].resolve()
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.fail(n.place().errorf("filter_list: want a list"))
		return nil
	}
	for _, item := range n.Content {
		m, err := readMapping(n.child(item))
		if err != nil {
			r.fail(err)
			continue
		}
		in := &reader{m: m, used: map[string]bool{}}
		list := FilterList{Name: in.text("name", "")}
		if list.Name == "" {
			in.fail(m.at.errorf("an entry of filter_list without a name"))
		}
		steps := m.nodes["filter"]
		if !in.has("filter") || steps.resolve().Kind != yaml.SequenceNode {
			in.fail(m.at.errorf("filter_list: want filter, a list of functions"))
		} else {
			for _, c := range steps.resolve().Content {
				f, err := readFilter(steps.child(c))
				in.fail(err)
				list.filters = append(list.filters, f)
			}
		}
		r.problems = append(r.problems, in.problems...)
		lists = append(lists, list)
	}
	return lists
}

func readFilter(n node) (func(string) string, error) {
	m, err := readMapping(n)
	if err != nil {
		return nil, err
	}
	in := &reader{m: m, used: map[string]bool{}}
	var f func(string) string
	switch name := in.text("function", ""); name {
	case "take_first": // of the responses to one prompt; there is one
		f = func(s string) string { return s }
	case "remove_whitespace":
		f = python.Strip
	case "lowercase":
		f = python.Lower
	case "uppercase":
		f = python.Upper
	case "regex":
		f, err = in.regexFilter()
		in.fail(err)
	default:
		in.fail(m.at.errorf("the filter %q is not supported: take_first, remove_whitespace, lowercase, uppercase or regex", name))
	}
	for _, key := range m.keys {
		if !in.used[key] {
			in.fail(m.nodes[key].place().errorf("the option %s of a filter is not supported", key))
		}
	}
	if len(in.problems) > 0 {
		return nil, in.problems[0]
	}
	return f, nil
}

// regexFilter is the match number group_select of regex_pattern, of several groups the first that is not empty; fallback if there is none.
func (r *reader) regexFilter() (func(string) string, error) {
	pattern, fallback := r.text("regex_pattern", `#### (\-?[0-9\.\,]+)`), r.text("fallback", "[invalid]")
	expression, err := python.CompilePattern(pattern)
	if err != nil {
		return nil, r.m.at.errorf("regex_pattern: %w", err)
	}
	which := 0
	if r.has("group_select") {
		v, err := r.m.nodes["group_select"].value()
		i, ok := v.(int64)
		if err != nil || !ok {
			return nil, r.m.nodes["group_select"].place().errorf("group_select: want an integer")
		}
		which = int(i)
	}
	return func(answer string) string {
		matches := expression.FindAll(answer)
		at := which
		if at < 0 {
			at += len(matches)
		}
		if at < 0 || at >= len(matches) {
			return fallback // the harness fails where there are fewer matches than group_select asks for
		}
		group := func(g int) string {
			if from := matches[at][2*g]; from >= 0 {
				return answer[from:matches[at][2*g+1]]
			}
			return ""
		}
		switch groups := len(matches[at])/2 - 1; groups {
		case 0, 1:
			return python.Strip(group(groups))
		default:
			for g := 1; g <= groups; g++ {
				if s := group(g); s != "" {
					return python.Strip(s)
				}
			}
			return python.Strip(fallback)
		}
	}, nil
}

func (l FilterList) String() string { return fmt.Sprintf("filter %s", l.Name) }
