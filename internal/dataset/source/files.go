package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Expand lists the files of a data path in the order in which they are read: a file, a folder (searched to any depth, through
// links, hidden entries left out), or a glob. Relative paths start at root. Files named by a folder count only when the
// format can hold them (by extension, under .gz or .zst); the others come back as ignored.
func Expand(root, path string, kind Kind) (files, ignored []string, err error) {
	if path == "" {
		return nil, nil, fmt.Errorf("no path given: %w", ErrData)
	}
	full := path
	if !filepath.IsAbs(path) {
		full = filepath.Join(root, path)
	}
	matches := []string{full}
	if _, statErr := os.Stat(full); statErr != nil {
		if !strings.ContainsAny(path, "*?[") {
			return nil, nil, fmt.Errorf("%w: %w", statErr, ErrData)
		}
		if matches, err = filepath.Glob(globPath(root, path)); err != nil {
			return nil, nil, fmt.Errorf("%s: %w: %w", full, err, ErrData)
		}
		matches = slices.DeleteFunc(matches, func(m string) bool { // as a shell does
			return hidden(filepath.Base(m)) && !hidden(filepath.Base(full))
		})
	}
	w := walk{kind: kind, entered: map[string]bool{}}
	for _, m := range matches {
		info, err := os.Stat(m)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("%w: %w", err, ErrData)
		case info.IsDir():
			if err := w.folder(m); err != nil {
				return nil, nil, fmt.Errorf("%w: %w", err, ErrData)
			}
		case !info.Mode().IsRegular():
			return nil, nil, fmt.Errorf("%s: not a regular file: %w", m, ErrData)
		default:
			w.files = append(w.files, m)
		}
	}
	files, ignored = w.files, w.ignored
	slices.SortFunc(files, comparePaths)
	files = slices.Compact(files)
	if len(files) == 0 {
		return nil, ignored, fmt.Errorf("%s: no data files (wanted %s, also as .gz or .zst): %w", full, strings.Join(extensions(kind), " "), ErrData)
	}
	return files, ignored, nil
}

// globPath is the pattern below a root whose own name may hold special characters.
func globPath(root, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(root), path)
}

// comparePaths orders by slash-separated names, so that the order is the same on every system.
func comparePaths(a, b string) int { return strings.Compare(filepath.ToSlash(a), filepath.ToSlash(b)) }

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// walk collects the files below folders. Links are followed, because data caches are often trees of them; a folder is entered
// once, so a link that leads back ends the way, and one that leads to a folder read elsewhere adds nothing.
type walk struct {
	kind           Kind
	entered        map[string]bool // folders without links in their names
	files, ignored []string
}

func (w *walk) folder(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	if real, err = filepath.Abs(real); err != nil {
		return err
	}
	if w.entered[real] {
		w.ignored = append(w.ignored, dir)
		return nil
	}
	w.entered[real] = true
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if hidden(entry.Name()) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // a link to nowhere
			w.ignored = append(w.ignored, path)
		case err != nil:
			return err
		case info.IsDir():
			if err := w.folder(path); err != nil {
				return err
			}
		case info.Mode().IsRegular() && w.holds(entry.Name()):
			w.files = append(w.files, path)
		default:
			w.ignored = append(w.ignored, path)
		}
	}
	return nil
}

// holds reports whether a file of this name can hold the format.
func (w *walk) holds(name string) bool {
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	return slices.Contains(extensions(w.kind), filepath.Ext(name))
}

// commonFolder is the deepest folder that all files are below.
func commonFolder(files []string) (folder string) {
	for i, file := range files {
		dir := filepath.Dir(file)
		if i == 0 {
			folder = dir
		}
		for folder != filepath.Dir(folder) {
			if name, err := filepath.Rel(folder, dir); err == nil && filepath.IsLocal(name) {
				break
			}
			folder = filepath.Dir(folder)
		}
	}
	return folder
}

func extensions(kind Kind) []string {
	switch kind {
	case NatInst:
		return []string{".json"}
	case OASST1:
		return []string{".jsonl", ".parquet"}
	}
	return []string{".jsonl"}
}
