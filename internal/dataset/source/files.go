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

// Expand lists the files of a data path in the order in which they are read: a file, a folder (searched to any depth,
// hidden entries left out), or a glob. Relative paths start at root. Files named by a folder count only when the
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
	for _, m := range matches {
		info, err := os.Stat(m)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("%w: %w", err, ErrData)
		case info.IsDir():
			in, out, err := walk(m, kind)
			if err != nil {
				return nil, nil, fmt.Errorf("%w: %w", err, ErrData)
			}
			files, ignored = append(files, in...), append(ignored, out...)
		case !info.Mode().IsRegular():
			return nil, nil, fmt.Errorf("%s: not a regular file: %w", m, ErrData)
		default:
			files = append(files, m)
		}
	}
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

func walk(dir string, kind Kind) (files, ignored []string, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != dir && hidden(entry.Name()) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			return nil
		}
		info, err := os.Stat(path) // follows links: data caches are often trees of them
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			ignored = append(ignored, path)
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(strings.TrimSuffix(entry.Name(), ".gz"), ".zst")
		if slices.Contains(extensions(kind), filepath.Ext(name)) {
			files = append(files, path)
		} else {
			ignored = append(ignored, path)
		}
		return nil
	})
	return files, ignored, err
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
