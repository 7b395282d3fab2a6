package task

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"alfred/internal/eval/document"
	"alfred/internal/eval/official"
	"alfred/internal/eval/python"
)

// Source is a file that documents came from.
type Source struct {
	Path   string
	SHA256 string // hexadecimal, of the bytes on disk
	Rows   int
}

// extensions of files of a split, in the order in which they are looked for.
var extensions = []string{".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".parquet"}

// data finds the documents of a task under a folder.
type data struct {
	ctx    context.Context
	folder string
	config *Config
	loaded map[string][]*python.Dict

	Sources []Source
	// Skipped counts rows of official files that were left out, by reason.
	Skipped map[string]int
}

// split is the documents of a split, each with all columns. They are read once.
//
// A task with dataset_path json or parquet names its files, relative to the folder. Any other dataset is looked for in
// DATASET_PATH/DATASET_NAME/SPLIT.jsonl there (default where it has no name; also .jsonl.gz, .jsonl.zst, .json, .parquet). Where there is no such
// file, but the dataset's official files are under the folder, these are read (package official).
func (d *data) split(name string) ([]*python.Dict, error) {
	if docs, ok := d.loaded[name]; ok {
		return docs, nil
	}
	docs, err := d.read(name)
	if err == nil {
		err = document.Align(docs)
	}
	if err == nil && len(docs) == 0 {
		err = errors.New("there are no documents")
	}
	if err != nil {
		return nil, d.config.At.errorf("%s: split %s: %w", d.config.Name, name, err)
	}
	d.loaded[name] = docs
	return docs, nil
}

func (d *data) read(split string) (docs []*python.Dict, err error) {
	patterns, ok := d.config.DataFiles[split]
	if !ok {
		if d.config.DataFiles != nil {
			return nil, fmt.Errorf("dataset_kwargs.data_files has no such split")
		}
		return d.readHub(split)
	}
	for _, pattern := range patterns {
		pattern = strings.TrimPrefix(pattern, "hf://datasets/") // the same file, if somebody has brought it here
		at := pattern
		if !filepath.IsAbs(at) {
			at = filepath.Join(d.folder, filepath.FromSlash(pattern))
		}
		paths, err := filepath.Glob(at)
		if err != nil {
			return nil, err
		}
		if len(paths) == 0 {
			more, found, err := d.readOfficial(filepath.ToSlash(pattern))
			if err != nil {
				return nil, err
			}
			if !found {
				return nil, fmt.Errorf("%s: %w; it is expected there (see --data, and `alfred eval prepare`)", at, fs.ErrNotExist)
			}
			docs = append(docs, more...)
			continue
		}
		for _, path := range paths {
			more, err := d.readFile(path)
			if err != nil {
				return nil, err
			}
			docs = append(docs, more...)
		}
	}
	return docs, nil
}

func (d *data) readFile(path string) ([]*python.Dict, error) {
	file, err := document.Read(d.ctx, path)
	if err != nil {
		return nil, err
	}
	d.Sources = append(d.Sources, Source{Path: path, SHA256: hex.EncodeToString(file.SHA256[:]), Rows: len(file.Documents)})
	return file.Documents, nil
}

// readHub reads a split of a dataset that is named as on the hub.
func (d *data) readHub(split string) ([]*python.Dict, error) {
	if d.config.DatasetPath == "" {
		return nil, errors.New("the task names no dataset_path")
	}
	name := d.config.DatasetName
	if name == "" {
		name = "default"
	}
	base := filepath.Join(d.folder, filepath.FromSlash(d.config.DatasetPath), name, split)
	for _, extension := range extensions {
		if _, err := os.Stat(base + extension); err == nil {
			return d.readFile(base + extension)
		}
	}
	docs, found, err := d.readOfficial(d.config.DatasetPath + "/" + name + "/" + split + ".jsonl")
	if err == nil && !found {
		err = fmt.Errorf("%s.jsonl: %w; it, or one with %s instead of .jsonl, is expected there (see --data, and `alfred eval prepare`)", base, fs.ErrNotExist, strings.Join(extensions[1:], ", "))
	}
	return docs, err
}

// readOfficial reads what `alfred eval prepare` would write to PATH/CONFIG/SPLIT.jsonl from the official files, if they are there.
func (d *data) readOfficial(file string) (docs []*python.Dict, found bool, err error) {
	parts := strings.Split(strings.TrimSuffix(file, ".jsonl"), "/")
	if len(parts) < 3 || !strings.HasSuffix(file, ".jsonl") {
		return nil, false, nil
	}
	n := len(parts)
	set, ok := official.Find(strings.Join(parts[:n-2], "/"), parts[n-2])
	if !ok || !slices.Contains(set.Splits(), parts[n-1]) {
		return nil, false, nil
	}
	docs, report, err := set.Read(d.folder, parts[n-1])
	switch {
	case errors.Is(err, official.ErrNoFiles):
		return nil, false, nil
	case err != nil:
		return nil, true, err
	}
	for _, f := range report.Sources {
		d.Sources = append(d.Sources, Source{Path: f.Path, SHA256: f.SHA256, Rows: len(docs)})
	}
	for reason, n := range report.Skipped {
		if d.Skipped == nil {
			d.Skipped = map[string]int{}
		}
		d.Skipped[string(reason)] += n
	}
	return docs, true, nil
}
