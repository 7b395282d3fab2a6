package official

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"alfred/internal/eval/python"
)

// ErrNoFiles is wrapped by the errors of Read and Prepare when none of the files they look for is there.
var ErrNoFiles = errors.New("no official file found")

// Dataset is one configuration of a dataset, under the names that the harness's task files use (dataset_path, dataset_name).
type Dataset struct {
	Path   string // as on the hub: "allenai/ai2_arc"
	Config string // "ARC-Easy"; empty where the hub has only one
	splits []split
}

// split says in which files a split is published, and what reads them.
type split struct {
	name   string
	hidden bool   // the authors keep the answers of this split to themselves
	forms  []form // the ways in which it is published; the files of only one may be there
	read   reader
}

// form is the files that together make a split: the first holds the rows, the others what belongs to them. Each is a pattern of
// path.Match, relative to the data directory; the file may also be there with .gz behind its name. Only the first may match
// several files.
type form []string

// reader turns the files of a split into rows.
type reader func(*input) error

// Name is path and configuration in one, as messages give it.
func (d Dataset) Name() string { return path.Join(d.Path, d.Config) }

// Splits are the names of the splits that the official files can give, in the order train, validation, test.
func (d Dataset) Splits() []string {
	names := make([]string, len(d.splits))
	for i, s := range d.splits {
		names[i] = s.name
	}
	return names
}

// Files are the patterns of the files that a split is read from, each beside its partners: what to look for, in what folder.
func (d Dataset) Files(split string) [][]string {
	var files [][]string
	for _, s := range d.splits {
		if s.name == split {
			for _, f := range s.forms {
				files = append(files, slices.Clone(f))
			}
		}
	}
	return files
}

// Find is the dataset of a task's dataset_path and dataset_name. An empty config and "default" are the same.
func Find(path, config string) (Dataset, bool) {
	if config == "default" {
		config = ""
	}
	for _, d := range Datasets() {
		if d.Path == path && d.Config == config {
			return d, true
		}
	}
	return Dataset{}, false
}

// Read reads one split from the official files under dir, in the order of the files. It fails with ErrNoFiles if none is there, if
// a form's files are incomplete or two forms are there at once, if a file is unreadable as a whole, and if no row is good. What it
// skipped and noted of single rows is in the report, which also names the files.
func (d Dataset) Read(dir, split string) ([]*python.Dict, Report, error) {
	s, err := d.split(split)
	if err != nil {
		return nil, Report{}, err
	}
	found, err := s.find(dirFS(dir))
	if err != nil {
		return nil, Report{}, fmt.Errorf("%s, split %s: %w", d.Name(), split, err)
	}
	rows, report, err := s.readFiles(dirFS(dir), found)
	if err != nil {
		return nil, report, fmt.Errorf("%s, split %s: %w", d.Name(), split, err)
	}
	return rows, report, nil
}

func (d Dataset) split(name string) (split, error) {
	for _, s := range d.splits {
		if s.name == name {
			return s, nil
		}
	}
	return split{}, fmt.Errorf("%s has no split %q, only %s", d.Name(), name, strings.Join(d.Splits(), ", "))
}

// found is the files of one form, as they are named on disk.
type found struct {
	rows     []string // in the order in which they are read
	partners []string
}

func (f found) all() []string { return slices.Concat(f.rows, f.partners) }

// find picks the form whose files are there. Two forms at once are an error, for nobody could tell which one was evaluated.
func (s split) find(dir fs.FS) (found, error) {
	var hit found
	var problems []error
	for _, form := range s.forms {
		rows, err := match(dir, form[0])
		if err != nil {
			return found{}, err
		}
		if len(rows) == 0 {
			continue
		}
		here := found{rows: rows}
		for _, partner := range form[1:] {
			names, err := match(dir, partner)
			if err != nil {
				return found{}, err
			}
			if len(names) == 0 {
				problems = append(problems, fmt.Errorf("%s is there without %s", rows[0], partner))
			}
			here.partners = append(here.partners, names...)
		}
		if hit.rows != nil {
			return found{}, fmt.Errorf("%s and %s are both there: keep one of them", hit.rows[0], rows[0])
		}
		hit = here
	}
	switch {
	case hit.rows == nil:
		return found{}, fmt.Errorf("%w: looked for %s", ErrNoFiles, s.wanted())
	case problems != nil:
		return found{}, errors.Join(problems...)
	}
	return hit, nil
}

func (s split) wanted() string {
	var names []string
	for _, f := range s.forms {
		names = append(names, strings.Join(f, " with "))
	}
	return strings.Join(names, ", or ")
}

// match finds the files of a pattern, sorted by name as text, which is also the order in which the hub's scripts read folders.
// A file that is there packed and unpacked is an error.
func match(dir fs.FS, pattern string) ([]string, error) {
	plain, err := fs.Glob(dir, pattern)
	if err != nil {
		return nil, err
	}
	packed, err := fs.Glob(dir, pattern+".gz")
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(slices.Values(append(plain, packed...)))
	for _, name := range packed {
		if twin := strings.TrimSuffix(name, ".gz"); slices.Contains(plain, twin) {
			return nil, fmt.Errorf("%s and %s are both there: keep one of them", twin, name)
		}
	}
	return names, nil
}
