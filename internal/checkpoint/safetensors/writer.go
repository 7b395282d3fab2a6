package safetensors

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"

	"alfred/internal/checkpoint/storage"
)

// Writer writes one file, tensor by tensor, without holding more than a buffer of it. The file appears under its name
// at Close, whole and on stable storage. The first error sticks.
type Writer struct {
	path   string
	file   *storage.AtomicFile
	buffer *bufio.Writer
	specs  []Spec // in the order of the data
	sizes  []int64
	done   int // tensors written
	err    error
}

// Create starts a file with the given tensors and metadata, to which "format": "pt" is added: transformers refuses
// files without it. As in files of the reference implementation, wider types come first, so that all data is
// aligned; Specs gives the resulting order, which is the given one if all have one type.
func Create(fsys storage.FS, path string, specs []Spec, metadata map[string]string) (*Writer, error) {
	w := &Writer{path: path, specs: slices.Clone(specs)}
	slices.SortStableFunc(w.specs, func(a, b Spec) int { return b.DType.Bits() - a.DType.Bits() })
	header, sizes, err := makeHeader(w.specs, metadata)
	if err != nil {
		return nil, fmt.Errorf("safetensors: create %s: %w", path, err)
	}
	w.sizes = sizes
	if w.file, err = storage.CreateAtomic(fsys, path); err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	w.buffer = bufio.NewWriterSize(w.file, 1<<20)
	w.buffer.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) // bufio keeps the error
	if _, err := w.buffer.Write(header); err != nil {
		w.Abort()
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	return w, nil
}

// makeHeader checks the tensors, reports all that is wrong, and returns the header's text and the tensors' sizes.
func makeHeader(specs []Spec, metadata map[string]string) (header []byte, sizes []int64, err error) {
	metadata = maps.Clone(metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	if format, given := metadata["format"]; given && format != "pt" {
		return nil, nil, fmt.Errorf(`metadata "format" is always "pt", not %q`, format)
	}
	metadata["format"] = "pt"
	for key, value := range metadata {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return nil, nil, fmt.Errorf("metadata %q: %q is not valid UTF-8", key, value)
		}
	}
	if len(specs) > maxTensors {
		return nil, nil, fmt.Errorf("%d tensors; at most %d are written to one file", len(specs), maxTensors)
	}
	var errs []error
	header = appendJSON([]byte(`{"`+metadataKey+`":`), metadata)
	names := map[string]bool{metadataKey: true}
	var begin int64
	for _, spec := range specs {
		size, err := spec.Bytes()
		switch {
		case err != nil:
		case !utf8.ValidString(spec.Name):
			err = errors.New("name is not valid UTF-8")
		case names[spec.Name]:
			err = errors.New("name is taken")
		case begin+size < begin:
			err = errors.New("the file would be too large")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("tensor %q: %w", spec.Name, err))
			continue
		}
		names[spec.Name] = true
		sizes = append(sizes, size)
		header = appendJSON(append(header, ','), spec.Name)
		header = appendJSON(append(header, `:{"dtype":`...), spec.DType)
		header = appendJSON(append(header, `,"shape":`...), append([]int{}, spec.Shape...)) // [], never null
		header = fmt.Appendf(header, `,"data_offsets":[%d,%d]}`, begin, begin+size)
		begin += size
	}
	if len(errs) > 0 {
		return nil, nil, joinFew(errs)
	}
	header = append(header, '}')
	for len(header)%8 != 0 { // so that the data is aligned to 8 bytes
		header = append(header, ' ')
	}
	if len(header) > maxHeader {
		return nil, nil, fmt.Errorf("header of %d bytes; the format allows %d", len(header), maxHeader)
	}
	return header, sizes, nil
}

// appendJSON appends strings, numbers and maps of them, which cannot fail to encode.
func appendJSON(dst []byte, value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return append(dst, text...)
}

// Specs returns the tensors in the order in which their data must be written.
func (w *Writer) Specs() []Spec { return slices.Clone(w.specs) }

// Write writes the data of the next tensor, whose name must be given as a check.
func (w *Writer) Write(name string, data []byte) error {
	return w.WriteTensor(name, func(to io.Writer) error {
		_, err := to.Write(data)
		return err
	})
}

// WriteTensor writes the next tensor's data in pieces: write is called once and must write exactly its size.
func (w *Writer) WriteTensor(name string, write func(io.Writer) error) error {
	if w.err != nil {
		return w.err
	}
	if w.done == len(w.specs) {
		return w.fail(name, errors.New("all tensors are written already"))
	}
	if next := w.specs[w.done].Name; name != next {
		return w.fail(name, fmt.Errorf("the next tensor is %s", next))
	}
	body := &exactly{to: w.buffer, left: w.sizes[w.done]}
	if err := write(body); err != nil {
		return w.fail(name, err)
	}
	if body.left != 0 {
		return w.fail(name, fmt.Errorf("%d of its %d bytes were not written", body.left, w.sizes[w.done]))
	}
	w.done++
	return nil
}

func (w *Writer) fail(name string, err error) error {
	w.err = fmt.Errorf("safetensors: write tensor %s to %s: %w", name, w.path, err)
	return w.err
}

// exactly passes on at most left bytes.
type exactly struct {
	to   io.Writer
	left int64
}

func (e *exactly) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, fmt.Errorf("%d bytes more than the tensor has", int64(len(p))-e.left)
	}
	n, err := e.to.Write(p)
	e.left -= int64(n)
	return n, err
}

// Close makes the file appear. After an error, or with tensors missing, it discards the file and says why.
func (w *Writer) Close() error {
	if w.err == nil && w.done < len(w.specs) {
		w.fail(w.specs[w.done].Name, fmt.Errorf("closed with %d of %d tensors written", w.done, len(w.specs)))
	}
	if w.err == nil {
		if err := w.buffer.Flush(); err != nil {
			w.err = fmt.Errorf("safetensors: %w", err)
		}
	}
	if w.err != nil {
		w.file.Abort() // the first error is the one that matters
		return w.err
	}
	if err := w.file.Commit(); err != nil {
		w.err = fmt.Errorf("safetensors: %w", err)
	}
	return w.err
}

// Abort discards the file. After Close it does nothing, so it can be deferred.
func (w *Writer) Abort() error { return w.file.Abort() }
