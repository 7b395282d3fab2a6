package checkpoint

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/tensor"
)

// source is a set of tensors in files, each whole or cut into segments over several of them. It answers by name, rows and
// columns of the whole tensor. Several goroutines may read from it, each through a reader of its own.
type source struct {
	files  []interface{ Close() error }
	stored map[string]*stored
	names  []string // in the order of the files
}

// stored is one tensor.
type stored struct {
	name  string
	shape []int
	dtype safetensors.DType
	dim   int    // of the segments
	parts []part // in ascending order, covering dim exactly
}

// part is a run of rows or columns that is contiguous both in the whole tensor and in a file.
type part struct {
	entry         safetensors.Entry
	global, local int
	count         int
}

// wholeTensors is the source of the tensors of a Hugging Face directory.
func wholeTensors(m *safetensors.Model) *source {
	src := &source{files: []interface{ Close() error }{m}, stored: map[string]*stored{}}
	for _, name := range m.Names() {
		entry, _ := m.Tensor(name)
		_ = src.add(entry, nil) // a directory has each name once, so there is nothing to contradict
	}
	return src
}

// openSegments is the source of the tensors in files that package checkpoint wrote. Every tensor must be complete.
func openSegments(paths []string) (_ *source, err error) {
	src := &source{stored: map[string]*stored{}}
	defer func() {
		if err != nil {
			src.close()
		}
	}()
	for _, path := range paths {
		f, err := safetensors.Open(path)
		if err != nil {
			return nil, err
		}
		src.files = append(src.files, f)
		if err := src.addFile(f); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	var errs []error
	for _, name := range src.names {
		if err := src.stored[name].complete(); err != nil {
			errs = append(errs, fmt.Errorf("tensor %s: %w", name, err))
		}
	}
	return src, joinFew(errs)
}

func (src *source) addFile(f *safetensors.File) error {
	var cuts map[string]cut
	if text, ok := f.Metadata()[segmentsKey]; ok {
		var err error
		cuts, err = parseSegments(text, func(name string) ([]int, bool) {
			entry, ok := f.Tensor(name)
			return entry.Shape, ok
		})
		if err != nil {
			return err
		}
	}
	for _, name := range f.Names() {
		entry, _ := f.Tensor(name)
		var part *cut // the whole
		if c, ok := cuts[name]; ok {
			part = &c
		}
		if err := src.add(entry, part); err != nil {
			return fmt.Errorf("tensor %s: %w", name, err)
		}
	}
	return nil
}

// add notes the part of a tensor that an entry holds; all of it when c is nil.
func (src *source) add(entry safetensors.Entry, c *cut) error {
	if c == nil {
		c = &cut{Shape: entry.Shape, Runs: [][2]int{{0, entry.Rows().Hi}}}
	}
	t := src.stored[entry.Name]
	if t == nil {
		t = &stored{name: entry.Name, shape: c.Shape, dtype: entry.DType, dim: c.Dim}
		src.stored[entry.Name] = t
		src.names = append(src.names, entry.Name)
	}
	if !slices.Equal(t.shape, c.Shape) || t.dtype != entry.DType || t.dim != c.Dim {
		return fmt.Errorf("%s of shape %v along dimension %d in one file, %s of shape %v along dimension %d in another",
			t.dtype, t.shape, t.dim, entry.DType, c.Shape, c.Dim)
	}
	local := 0
	for _, run := range c.Runs {
		t.parts = append(t.parts, part{entry: entry, global: run[0], local: local, count: run[1]})
		local += run[1]
	}
	return nil
}

// complete demands that the parts cover the tensor exactly once, and sorts them.
func (t *stored) complete() error {
	spans := make([]span, len(t.parts))
	for i, p := range t.parts {
		spans[i] = span{p.global, p.global + p.count, filepath.Base(p.entry.Path())}
	}
	slices.SortFunc(t.parts, func(a, b part) int { return a.global - b.global })
	if err := covers(spans, t.extent(t.dim)); err != nil {
		return fmt.Errorf("%s %w", [...]string{"rows", "columns"}[t.dim], err)
	}
	return nil
}

// extent is the number of rows (0) or columns (1): a vector has one column, a number one row too.
func (t *stored) extent(dim int) int {
	n := 1
	switch {
	case dim == 0 && len(t.shape) > 0:
		return t.shape[0]
	case dim == 1:
		for _, d := range t.shape[min(1, len(t.shape)):] {
			n *= d
		}
	}
	return n
}

// rows and cols are all of them.
func (t *stored) rows() safetensors.Range { return safetensors.Range{Hi: t.extent(0)} }
func (t *stored) cols() safetensors.Range { return safetensors.Range{Hi: t.extent(1)} }

func (src *source) close() error {
	var errs []error
	for _, f := range src.files {
		errs = append(errs, f.Close())
	}
	src.files = nil
	return errors.Join(errs...)
}

// onlyFloats checks that weights of the tensor's type can be read.
func (t *stored) onlyFloats() error {
	switch t.dtype {
	case safetensors.F32, safetensors.BF16, safetensors.F16, safetensors.F64:
		return nil
	}
	return fmt.Errorf("tensor %s has type %s; weights are F32, BF16, F16 or F64", t.name, t.dtype)
}

// hostType is the type under which a stream takes what files hold as dtype; Invalid when it does not know it.
func hostType(dtype safetensors.DType) tensor.DType {
	switch dtype {
	case safetensors.F32:
		return tensor.Float32
	case safetensors.BF16:
		return tensor.BFloat16
	case safetensors.F64:
		return tensor.Float64
	}
	return tensor.Invalid
}

// fileType is the type in files of what a device stores as dtype.
func fileType(dtype tensor.DType) (safetensors.DType, error) {
	switch dtype {
	case tensor.Float32:
		return safetensors.F32, nil
	case tensor.BFloat16:
		return safetensors.BF16, nil
	case tensor.Float64:
		return safetensors.F64, nil
	}
	return "", fmt.Errorf("checkpoint: %s is no type of weights", dtype)
}
