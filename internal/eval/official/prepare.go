package official

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"alfred/internal/checkpoint/storage"

	"alfred/internal/eval/python"
)

// ErrDiffers is wrapped by the error of Prepare when a file that it would write is there with other contents.
var ErrDiffers = errors.New("it is there with other contents")

// Options change what Prepare does.
type Options struct {
	Overwrite bool         // replace files that differ
	Progress  func(Output) // called after each split is read; may be nil
}

// Summary says what Prepare did.
type Summary struct {
	Outputs []Output // every split that was found, in the order of Datasets
	Unknown []string // files under from that no split was read from, relative to it
}

// Output is one prepared split.
type Output struct {
	Path    string // of the JSON lines, relative to the folder that was written to
	Dataset Dataset
	Split   string
	SHA256  string
	Report  Report
	Written bool // it was written, or will be; false: the file was there with these contents

	text []byte
}

// Prepare reads every split whose official files are under from and writes it to PATH/CONFIG/SPLIT.jsonl under to (CONFIG is
// "default" where there is none), one document per line, and MANIFEST.json, which says what came from what. All splits are read
// before any file is written, so that errors of all of them come out at once, and with an error nothing is written; only errors of
// writing itself can leave some of the files. Each file appears whole or not at all. Entries of an earlier MANIFEST.json for other
// files stay in it. A file that is there with other contents is an error (ErrDiffers) unless Options.Overwrite is set.
func Prepare(ctx context.Context, from, to string, o Options) (Summary, error) {
	var s Summary
	used := map[string]bool{}
	var problems []error
	if info, err := os.Stat(from); err != nil {
		return s, err
	} else if !info.IsDir() {
		return s, fmt.Errorf("%s is no folder", from)
	}
	dir := dirFS(from)
	for _, d := range Datasets() {
		for _, split := range d.splits {
			if err := ctx.Err(); err != nil {
				return s, err
			}
			output, err := prepareSplit(dir, d, split, used)
			switch {
			case errors.Is(err, ErrNoFiles):
				continue
			case err != nil:
				problems = append(problems, fmt.Errorf("%s, split %s: %w", d.Name(), split.name, err))
				continue
			}
			if output.Written, err = output.compare(to, o.Overwrite); err != nil {
				problems = append(problems, err)
				continue
			}
			s.Outputs = append(s.Outputs, output)
			if o.Progress != nil {
				o.Progress(output)
			}
		}
	}
	manifest, err := readManifest(filepath.Join(to, manifestName))
	unknown, walkErr := unknownFiles(from, to, used)
	if err := errors.Join(append(problems, err, walkErr)...); err != nil {
		return s, err
	}
	s.Unknown = unknown
	if len(s.Outputs) == 0 {
		return s, fmt.Errorf("%s: %w of any dataset", from, ErrNoFiles)
	}
	return s, s.write(ctx, to, manifest)
}

// prepareSplit reads and encodes a split, and marks its files as used, whatever becomes of them.
func prepareSplit(dir fs.FS, d Dataset, s split, used map[string]bool) (Output, error) {
	found, err := s.find(dir)
	if err != nil {
		return Output{}, err
	}
	for _, name := range found.all() {
		used[name] = true
	}
	rows, report, err := s.readFiles(dir, found)
	if err != nil {
		return Output{}, err
	}
	config := d.Config
	if config == "" {
		config = "default"
	}
	output := Output{Path: path.Join(d.Path, config, s.name+".jsonl"), Dataset: d, Split: s.name, Report: report}
	for _, row := range rows {
		output.text = append(python.AppendJSON(output.text, row, 0), '\n')
	}
	sum := sha256.Sum256(output.text)
	output.SHA256 = hex.EncodeToString(sum[:])
	return output, nil
}

// compare says whether the file has to be written.
func (o Output) compare(to string, overwrite bool) (write bool, err error) {
	name := filepath.Join(to, filepath.FromSlash(o.Path))
	old, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	case bytes.Equal(old, o.text):
		return false, nil
	case !overwrite:
		return false, fmt.Errorf("%s: %w", name, ErrDiffers)
	}
	return true, nil
}

func (s *Summary) write(ctx context.Context, to string, m manifest) error {
	for i := range s.Outputs {
		output := &s.Outputs[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		if output.Written {
			if err := writeFile(filepath.Join(to, filepath.FromSlash(output.Path)), output.text); err != nil {
				return err
			}
		}
		output.text = nil
		m.add(*output)
	}
	text, err := m.encode()
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(to, manifestName), text)
}

func writeFile(name string, text []byte) error {
	if err := storage.MkdirAll(storage.OS, filepath.Dir(name)); err != nil {
		return err
	}
	return storage.WriteFile(storage.OS, name, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// unknownFiles lists the files under from that were not used. What lies under to is left out, should that be inside of from.
func unknownFiles(from, to string, used map[string]bool) ([]string, error) {
	inside, err := filepath.Abs(to)
	if err != nil {
		return nil, err
	}
	base, err := filepath.Abs(from)
	if err != nil {
		return nil, err
	}
	var unknown []string
	err = fs.WalkDir(dirFS(from), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && filepath.Join(base, filepath.FromSlash(name)) == inside:
			return fs.SkipDir
		case entry.Type() == fs.ModeSymlink && usedBelow(used, name):
		case !entry.IsDir() && !used[name]:
			unknown = append(unknown, name)
		}
		return nil
	})
	slices.Sort(unknown)
	return unknown, err
}

// usedBelow says whether a link leads to a folder from which files were read.
func usedBelow(used map[string]bool, link string) bool {
	for name := range used {
		if strings.HasPrefix(name, link+"/") {
			return true
		}
	}
	return false
}
