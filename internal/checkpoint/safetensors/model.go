package safetensors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Model is the weights of an open Hugging Face directory: one file, or several and an index.
type Model struct {
	// Warnings are things that do no harm to the weights read and that a person should know.
	Warnings []string

	dir     string
	files   []*File
	names   []string
	tensors map[string]Entry
}

// OpenModel opens model.safetensors, or the files that model.safetensors.index.json names, and checks that index and
// files agree: each tensor in exactly one file, the one that the index names, and no others. Files are opened
// only inside the directory (symbolic links that lead out of it are refused, except within a Hugging Face cache, where
// the files of a snapshot are links to blobs). A directory with pickled weights only is refused with ErrPickle.
func OpenModel(dir string) (_ *Model, err error) {
	m := &Model{dir: dir, tensors: map[string]Entry{}}
	defer func() {
		if err != nil {
			m.Close()
			err = fmt.Errorf("safetensors: open model %s: %w", dir, err)
		}
	}()
	entries, err := listModel(dir)
	if err != nil {
		return nil, err
	}
	root, prefix, err := openRoot(dir)
	if err != nil {
		return nil, plain(err)
	}
	defer root.Close()
	open := func(name string) (*File, error) {
		f, err := openAs(filepath.Join(dir, name), func(flag int) (*os.File, error) {
			return root.OpenFile(filepath.Join(prefix, name), flag, 0)
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w%s", name, err, linkHint(filepath.Join(dir, name)))
		}
		m.files = append(m.files, f)
		return f, nil
	}
	hasSingle, hasIndex := slices.Contains(entries, singleName), slices.Contains(entries, indexName)
	switch {
	case hasIndex:
		return m, m.openShards(root, prefix, entries, open)
	case hasSingle:
		f, err := open(singleName)
		if err != nil {
			return nil, err
		}
		m.add(f)
		return m, nil
	}
	return nil, noWeights(dir, entries)
}

// listModel lists the directory, or explains why dir is not one.
func listModel(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		info, statErr := os.Stat(dir)
		switch {
		case statErr == nil && !info.IsDir() && isPickleName(dir):
			return nil, pickleError("not a directory but a pickle file", filepath.Dir(dir))
		case statErr == nil && !info.IsDir():
			return nil, fmt.Errorf("not a directory: name the one that holds %s and config.json", filepath.Base(dir))
		}
		return nil, plain(err)
	}
	names := make([]string, len(list))
	for i, entry := range list {
		names[i] = entry.Name()
	}
	return names, nil
}

// openRoot confines file access to dir; in a Hugging Face cache (models--x/snapshots/revision) to the model's part
// of the cache. prefix leads from the root to dir.
func openRoot(dir string) (root *os.Root, prefix string, err error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, "", err
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, "", err
	}
	snapshots, revision := filepath.Split(real)
	snapshots = filepath.Clean(snapshots)
	repository := filepath.Dir(snapshots)
	if filepath.Base(snapshots) == "snapshots" && strings.HasPrefix(filepath.Base(repository), "models--") {
		root, err = os.OpenRoot(repository)
		return root, filepath.Join("snapshots", revision), err
	}
	root, err = os.OpenRoot(real)
	return root, ".", err
}

func linkHint(path string) string {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return " (a symbolic link; links may not lead out of the directory: copy the file itself into it, for example with cp -rL)"
	}
	return ""
}

func noWeights(dir string, entries []string) error {
	var pickles, others []string
	for _, name := range entries {
		switch {
		case isPickleName(name):
			pickles = append(pickles, name)
		case strings.HasSuffix(name, extension):
			others = append(others, name)
		}
	}
	switch {
	case len(others) > 0:
		return fmt.Errorf("neither %s nor %s is there; %s cannot be told to be a whole model", singleName, indexName, few(others))
	case len(pickles) > 0:
		return pickleError("only pickled weights are there ("+few(pickles)+")", dir)
	}
	return fmt.Errorf("neither %s nor %s is there", singleName, indexName)
}

func (m *Model) add(f *File) {
	for _, entry := range f.header.entries {
		m.names = append(m.names, entry.Name)
		m.tensors[entry.Name] = entry
	}
}

func (m *Model) openShards(root *os.Root, prefix string, present []string, open func(name string) (*File, error)) error {
	ix, err := readIndex(root, prefix)
	if err != nil {
		return fmt.Errorf("%s: %w%s", indexName, err, linkHint(filepath.Join(m.dir, indexName)))
	}
	if slices.Contains(present, singleName) && !slices.Contains(ix.shards, singleName) {
		return fmt.Errorf("both %s and %s are there, and the index does not name the former: remove the one that is out of date", singleName, indexName)
	}
	var errs []error
	var total int64
	for _, shard := range ix.shards {
		if !slices.Contains(present, shard) {
			errs = append(errs, fmt.Errorf("shard %s is missing", shard))
			continue
		}
		f, err := open(shard)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, m.addShard(ix, shard, f)...)
	}
	if len(errs) == 0 {
		for _, name := range ix.names {
			entry, ok := m.tensors[name]
			if !ok {
				errs = append(errs, fmt.Errorf("tensor %q: the index places it in %s, which does not hold it", name, ix.shardOf[name]))
				continue
			}
			total += entry.Size()
		}
	}
	if len(errs) > 0 {
		return joinFew(errs)
	}
	if ix.totalSize >= 0 && ix.totalSize != total {
		m.Warnings = append(m.Warnings, fmt.Sprintf("%s: total_size is %d, but the tensors have %d bytes", indexName, ix.totalSize, total))
	}
	for _, name := range present {
		if strings.HasSuffix(name, extension) && !slices.Contains(ix.shards, name) {
			m.Warnings = append(m.Warnings, fmt.Sprintf("%s is not named by %s and was not read", name, indexName))
		}
	}
	return nil
}

func (m *Model) addShard(ix *index, shard string, f *File) (errs []error) {
	for _, name := range f.Names() {
		switch place, known := ix.shardOf[name]; {
		case !known:
			errs = append(errs, fmt.Errorf("tensor %q: in %s, but not in the index", name, shard))
		case place != shard:
			errs = append(errs, fmt.Errorf("tensor %q: in %s, but the index places it in %s", name, shard, place))
		}
	}
	m.add(f)
	return errs
}

func readIndex(root *os.Root, prefix string) (*index, error) {
	file, err := root.OpenFile(filepath.Join(prefix, indexName), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, plain(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, plain(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("is not a regular file (%s)", info.Mode().Type())
	}
	if info.Size() > maxIndex {
		return nil, fmt.Errorf("%d bytes; at most %d are read", info.Size(), maxIndex)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		return nil, plain(err)
	}
	return parseIndex(data)
}

// few lists at most five names.
func few(names []string) string {
	if len(names) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:5], ", "), len(names)-5)
	}
	return strings.Join(names, ", ")
}

// joinFew joins errors; a wrong index can produce one for each of thousands of tensors.
func joinFew(errs []error) error {
	const most = 10
	if len(errs) > most {
		errs = append(errs[:most:most], fmt.Errorf("and %d more problems", len(errs)-most))
	}
	return errors.Join(errs...)
}

// Dir returns the directory that the model was opened with.
func (m *Model) Dir() string { return m.dir }

// Files returns the open files in the order of the index.
func (m *Model) Files() []*File { return slices.Clone(m.files) }

// Names returns the tensors, file by file, in the order of their data.
func (m *Model) Names() []string { return slices.Clone(m.names) }

// Tensor returns the entry of a tensor, and whether there is one.
func (m *Model) Tensor(name string) (Entry, bool) {
	entry, ok := m.tensors[name]
	return entry, ok
}

// Size returns the bytes of all tensors.
func (m *Model) Size() int64 {
	var total int64
	for _, entry := range m.tensors {
		total += entry.Size()
	}
	return total
}

// CheckFinite reads the named tensors (all of them if none is named) and reports every one that holds NaN or
// infinite elements, with its file, the number of such elements and the index of the first.
func (m *Model) CheckFinite(names ...string) error {
	if len(names) == 0 {
		names = m.names
	}
	var errs []error
	for _, name := range names {
		entry, ok := m.tensors[name]
		if !ok {
			errs = append(errs, fmt.Errorf("safetensors: check tensor %s of %s: %w", name, m.dir, errNoTensor))
			continue
		}
		if err := entry.CheckFinite(); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return joinFew(errs)
}

// Check compares the model with what is wanted and reports all differences: tensors that are missing, that are there
// and not wanted, or that have another shape or type. An empty DType in a Spec admits every type that Float32 reads.
// The optional tensors may be absent, but must be as specified if present.
func (m *Model) Check(want []Spec, optional ...Spec) error {
	var errs []error
	known := map[string]bool{}
	for i, spec := range slices.Concat(want, optional) {
		known[spec.Name] = true
		entry, ok := m.tensors[spec.Name]
		switch {
		case !ok && i < len(want):
			errs = append(errs, fmt.Errorf("tensor %s %v is missing", spec.Name, spec.Shape))
		case !ok:
		case !slices.Equal(entry.Shape, spec.Shape):
			errs = append(errs, fmt.Errorf("tensor %s of %s has shape %v, not %v", spec.Name, filepath.Base(entry.Path()), entry.Shape, spec.Shape))
		case spec.DType == "" && checkCodec(0, entry.DType, 0) != nil:
			errs = append(errs, fmt.Errorf("tensor %s of %s: %w", spec.Name, filepath.Base(entry.Path()), checkCodec(0, entry.DType, 0)))
		case spec.DType != "" && entry.DType != spec.DType:
			errs = append(errs, fmt.Errorf("tensor %s of %s has type %s, not %s", spec.Name, filepath.Base(entry.Path()), entry.DType, spec.DType))
		}
	}
	for _, name := range m.names {
		if !known[name] {
			entry := m.tensors[name]
			errs = append(errs, fmt.Errorf("tensor %s %v of %s does not belong to this model", name, entry.Shape, filepath.Base(entry.Path())))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("safetensors: check model %s: %w", m.dir, joinFew(errs))
}

// Close closes the files; the slices that Entry.Data gave out become invalid.
func (m *Model) Close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.Close())
	}
	m.files = nil
	return errors.Join(errs...)
}
