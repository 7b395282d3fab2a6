package task

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"alfred/internal/config"
)

//go:embed builtin
var builtin embed.FS

const builtinFolder = "builtin"

// Builtin are the task files that come with alfred, and the Python file beside them: as they are, the harness can load them.
func Builtin() fs.FS {
	sub, err := fs.Sub(builtin, builtinFolder)
	if err != nil {
		panic(err)
	}
	return sub
}

// Library is all tasks and groups that can be named. Later folders win over earlier ones.
type Library struct {
	entries map[string]*entry
	tags    map[string][]string // names of tasks
	// Broken are files that could not be read. They matter to who asks for one of them.
	Broken map[string]error
}

// entry is a task or a group: its file.
type entry struct {
	m     *mapping
	group bool
}

// Open reads the tasks that come with alfred, and then those of the folders, to any depth.
func Open(folders ...string) (*Library, error) {
	l := &Library{entries: map[string]*entry{}, tags: map[string][]string{}, Broken: map[string]error{}}
	if err := l.add(Builtin()); err != nil {
		return nil, err
	}
	for _, folder := range folders {
		if info, err := os.Stat(folder); err != nil {
			return nil, err
		} else if !info.IsDir() {
			return nil, fmt.Errorf("%s is no folder", folder)
		}
		if err := l.add(rooted{os.DirFS(folder), folder}); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// rooted is a folder whose files are named with the folder in messages.
type rooted struct {
	fs.FS
	folder string
}

// shown is a file's name for a message.
func shown(files fs.FS, name string) string {
	if r, ok := files.(rooted); ok {
		return filepath.Join(r.folder, name)
	}
	return name
}

func (l *Library) add(files fs.FS) error {
	own := map[string]*entry{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".yaml" {
			return err
		}
		m, err := readFile(files, name)
		if err != nil {
			l.Broken[shown(files, name)] = err
			return nil
		}
		if name, e := named(m); e != nil && own[name] == nil {
			own[name] = e
		}
		return nil
	})
	for _, name := range slices.Sorted(maps.Keys(own)) {
		l.enter(name, own[name])
	}
	return err
}

// named is the name of a task or group; files that others include have none.
func named(m *mapping) (string, *entry) {
	key := "task"
	group := !m.absent("group")
	if group {
		key = "group"
	}
	if m.absent(key) {
		return "", nil
	}
	name, err := text(m.nodes[key])
	if err != nil || name == "" {
		return "", nil
	}
	return name, &entry{m: m, group: group}
}

func (l *Library) enter(name string, e *entry) {
	l.entries[name] = e
	if e.group || e.m.absent("tag") {
		return
	}
	tags, err := texts(e.m.nodes["tag"])
	if err != nil {
		return // told when the task is asked for
	}
	for _, tag := range tags {
		if !slices.Contains(l.tags[tag], name) {
			l.tags[tag] = append(l.tags[tag], name)
			slices.Sort(l.tags[tag])
		}
	}
}

// Names are all tasks, groups and tags, sorted.
func (l *Library) Names() (tasks, groups, tags []string) {
	for name, e := range l.entries {
		if e.group {
			groups = append(groups, name)
		} else {
			tasks = append(tasks, name)
		}
	}
	slices.Sort(tasks)
	slices.Sort(groups)
	return tasks, groups, slices.Sorted(maps.Keys(l.tags))
}

// Selection is what was asked for: each task once, in the order in which it came first.
type Selection struct {
	Tasks  []*Config
	Groups []*Group // those that were named; theirs are inside
	// Named are the tasks that were asked for by name, by tag or by pattern, not as part of a group.
	Named map[string]bool
}

// Select finds tasks by name of task, group or tag, by a pattern with * and ?, or by the path of a YAML file.
func (l *Library) Select(names []string) (*Selection, error) {
	s := &Selection{Named: map[string]bool{}}
	var problems []error
	for _, name := range names {
		problems = append(problems, l.selectOne(s, name))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if len(s.Tasks) == 0 {
		return nil, fmt.Errorf("no task is asked for")
	}
	return s, nil
}

func (l *Library) selectOne(s *Selection, name string) error {
	if path.Ext(name) == ".yaml" {
		files := rooted{os.DirFS(filepath.Dir(name)), filepath.Dir(name)}
		m, err := readFile(files, filepath.Base(name))
		if err != nil {
			return err
		}
		own, e := named(m)
		if e == nil {
			return fmt.Errorf("%s has neither task nor group", name)
		}
		l.enter(own, e)
		name = own
	}
	if strings.ContainsAny(name, "*?[") {
		found := false
		for _, other := range slices.Sorted(maps.Keys(l.entries)) {
			if ok, err := path.Match(name, other); err != nil {
				return fmt.Errorf("the pattern %q: %w", name, err)
			} else if ok {
				found = true
				if err := l.selectOne(s, other); err != nil {
					return err
				}
			}
		}
		if !found {
			return fmt.Errorf("no task is called like %q", name)
		}
		return nil
	}
	if e := l.entries[name]; e != nil && e.group {
		g, err := l.group(s, name, nil, e.m, nil)
		if err == nil {
			s.Groups = append(s.Groups, g)
		}
		return err
	}
	return l.tasks(s, name, nil, nil)
}

// tasks adds the task or the tasks of the tag that a name stands for, to a group if there is one.
func (l *Library) tasks(s *Selection, name string, overrides *mapping, g *Group) error {
	if e := l.entries[name]; e != nil {
		return l.task(s, name, e, overrides, g)
	}
	if names := l.tags[name]; len(names) > 0 {
		for _, other := range names {
			if err := l.task(s, other, l.entries[other], overrides, g); err != nil {
				return err
			}
		}
		return nil
	}
	for file, err := range l.Broken {
		if strings.TrimSuffix(filepath.Base(file), ".yaml") == name {
			return fmt.Errorf("no task %q: its file cannot be read: %w", name, err)
		}
	}
	tasks, groups, tags := l.Names()
	return fmt.Errorf("no task, group or tag is called %q%s; `alfred eval list` shows all", name, config.DidYouMean(name, slices.Concat(tasks, groups, tags)))
}

func (l *Library) task(s *Selection, name string, e *entry, overrides *mapping, g *Group) error {
	m := e.m
	if overrides != nil {
		m = &mapping{nodes: maps.Clone(e.m.nodes), keys: slices.Clone(e.m.keys), at: e.m.at}
		for _, key := range overrides.keys {
			m.set(key, overrides.nodes[key])
		}
	}
	c, err := readConfig(m)
	if err != nil {
		return err
	}
	if g != nil {
		g.Tasks = append(g.Tasks, c.Name)
	} else {
		s.Named[c.Name] = true
	}
	if !slices.ContainsFunc(s.Tasks, func(t *Config) bool { return t.Name == c.Name }) {
		s.Tasks = append(s.Tasks, c)
	}
	return nil
}
