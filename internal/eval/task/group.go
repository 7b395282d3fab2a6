package task

import (
	"errors"
	"slices"

	"gopkg.in/yaml.v3"
)

// Group is a set of tasks and groups with figures of its own.
type Group struct {
	Name, Alias string
	Tasks       []string // names of the tasks directly in it, in order
	Groups      []*Group
	Aggregates  []Aggregate
	Version     any

	path []string // names of the groups around it, and its own
}

// All are the names of the tasks in a group, at any depth.
func (g *Group) All() []string {
	names := slices.Clone(g.Tasks)
	for _, sub := range g.Groups {
		names = append(names, sub.All()...)
	}
	return names
}

// Members are the names of the tasks and groups directly in a group.
func (g *Group) Members() []string {
	names := slices.Clone(g.Tasks)
	for _, sub := range g.Groups {
		names = append(names, sub.Name)
	}
	return names
}

// Aggregate is an entry of a group's aggregate_metric_list: the mean of a metric over the tasks that have it.
type Aggregate struct {
	Metric       string
	Filters      []string // nil: whatever filters the tasks have
	WeightBySize bool
}

// group reads a group and what is in it. Keys that a group does not have are settings of all its tasks.
func (l *Library) group(s *Selection, name string, above []string, m, overrides *mapping) (*Group, error) {
	r := &reader{m: m, used: map[string]bool{}}
	g := &Group{Name: name, Alias: r.text("group_alias", name), path: append(slices.Clone(above), name)}
	r.has("group")
	r.has("tag")
	if r.has("metadata") {
		if meta, err := readMapping(m.nodes["metadata"]); err != nil {
			r.fail(err)
		} else if n, ok := meta.nodes["version"]; ok {
			g.Version, err = n.value()
			r.fail(err)
		}
	}
	g.Aggregates = r.aggregates()
	r.has("task")
	inner := overrides
	for _, key := range m.keys {
		if !r.used[key] {
			if inner == overrides {
				inner = &mapping{nodes: map[string]node{}, at: m.at}
			}
			inner.set(key, m.nodes[key])
		}
	}
	if overrides != nil && inner != overrides {
		for _, key := range overrides.keys {
			inner.set(key, overrides.nodes[key])
		}
	}
	if !r.m.absent("task") {
		list := m.nodes["task"].resolve()
		items := []*yaml.Node{list.Node}
		if list.Kind == yaml.SequenceNode {
			items = list.Content
		}
		for _, item := range items {
			r.fail(l.member(s, g, list.child(item), inner))
		}
	}
	return g, errors.Join(r.problems...)
}

// member adds one entry of a group's list of tasks.
func (l *Library) member(s *Selection, g *Group, n node, overrides *mapping) error {
	n = n.resolve()
	if n.Kind == yaml.ScalarNode {
		name, err := text(n)
		if err != nil {
			return err
		}
		if e := l.entries[name]; e != nil && e.group {
			return l.subgroup(s, g, name, e.m, overrides)
		}
		return l.tasks(s, name, overrides, g)
	}
	m, err := readMapping(n)
	if err != nil {
		return err
	}
	merged := &mapping{nodes: map[string]node{}, at: m.at}
	for _, from := range []*mapping{overrides, m} {
		if from != nil {
			for _, key := range from.keys {
				merged.set(key, from.nodes[key])
			}
		}
	}
	switch {
	case !m.absent("group"):
		name, err := text(m.nodes["group"])
		if err != nil {
			return err
		}
		if e := l.entries[name]; e != nil && e.group {
			delete(merged.nodes, "group")
			merged.keys = slices.DeleteFunc(merged.keys, func(key string) bool { return key == "group" })
			return l.subgroup(s, g, name, e.m, merged)
		}
		return l.subgroup(s, g, g.Name+"::"+name, m, overrides)
	case !m.absent("task"):
		name, err := text(m.nodes["task"])
		if err != nil {
			return err
		}
		if l.entries[name] == nil && len(l.tags[name]) == 0 {
			return n.place().errorf("a task %q that is written inside a group is not supported: give it a file of its own", name)
		}
		delete(merged.nodes, "task")
		merged.keys = slices.DeleteFunc(merged.keys, func(key string) bool { return key == "task" })
		return l.tasks(s, name, merged, g)
	}
	return n.place().errorf("an entry of a group needs task or group")
}

func (l *Library) subgroup(s *Selection, g *Group, name string, m, overrides *mapping) error {
	if slices.Contains(g.path, name) {
		return m.at.errorf("the group %s is inside itself", name)
	}
	sub, err := l.group(s, name, g.path, m, overrides)
	if err == nil {
		g.Groups = append(g.Groups, sub)
	}
	return err
}

// aggregates reads aggregate_metric_list.
func (r *reader) aggregates() (list []Aggregate) {
	if !r.has("aggregate_metric_list") {
		return nil
	}
	n := r.m.nodes["aggregate_metric_list"].resolve()
	items := []*yaml.Node{n.Node}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	for _, item := range items {
		m, err := readMapping(n.child(item))
		if err != nil {
			r.fail(err)
			continue
		}
		in := &reader{m: m, used: map[string]bool{}}
		a := Aggregate{Metric: in.text("metric", ""), WeightBySize: true}
		if a.Metric == "" {
			in.fail(m.at.errorf("aggregate_metric_list: an entry without metric"))
		}
		if how := in.text("aggregation", "mean"); how != "mean" {
			in.fail(m.nodes["aggregation"].place().errorf("aggregation %q: groups have means only", how))
		}
		if in.has("filter_list") {
			a.Filters, err = texts(m.nodes["filter_list"])
			in.fail(err)
		}
		if in.has("weight_by_size") {
			a.WeightBySize, err = truth(m.nodes["weight_by_size"])
			in.fail(err)
		}
		for _, key := range m.keys {
			if !in.used[key] {
				in.fail(m.nodes[key].place().errorf("aggregate_metric_list: unknown key %s", key))
			}
		}
		r.problems = append(r.problems, in.problems...)
		list = append(list, a)
	}
	return list
}
