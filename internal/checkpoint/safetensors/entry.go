package safetensors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// Entry is one tensor of an open file. It is a small value; copies are equal.
type Entry struct {
	Name  string
	DType DType
	Shape []int // not to be changed

	file       *File
	begin, end int64 // in the file's data
}

// Range is the half-open interval [Lo, Hi).
type Range struct{ Lo, Hi int }

// Len returns the number of elements in the range.
func (r Range) Len() int { return r.Hi - r.Lo }

// Rows returns the range of all rows: the first dimension; one row for a single number.
func (e Entry) Rows() Range {
	if len(e.Shape) == 0 {
		return Range{0, 1}
	}
	return Range{0, e.Shape[0]}
}

// Cols returns the range of all columns: the product of the dimensions after the first; one column for a vector.
func (e Entry) Cols() Range {
	cols := 1
	for _, dim := range e.Shape[min(1, len(e.Shape)):] {
		cols *= dim
	}
	return Range{0, cols}
}

// NumElements returns the product of the dimensions.
func (e Entry) NumElements() int { return e.Rows().Hi * e.Cols().Hi }

// Size returns the length of the data in bytes.
func (e Entry) Size() int64 { return e.end - e.begin }

// Path returns the file that holds the tensor.
func (e Entry) Path() string { return e.file.path }

// Data returns the tensor's bytes in place: the slice aliases the map of the file, must not be written to, and is
// valid until the file (or the Model it belongs to) is closed. A read error on the disk below it kills the process;
// Read, Float32 and Float64 return it. Nil after Close.
func (e Entry) Data() []byte {
	if e.file.data == nil {
		return nil
	}
	begin, end := e.file.header.size+e.begin, e.file.header.size+e.end
	return e.file.data[begin:end:end]
}

// ReadRows copies the rows [lo, hi) into dst, whose length must be their size in bytes.
func (e Entry) ReadRows(dst []byte, lo, hi int) error { return e.Read(dst, Range{lo, hi}, e.Cols()) }

// Read copies the given rows and columns, row after row, into dst, whose length must be their size in bytes.
func (e Entry) Read(dst []byte, rows, cols Range) error {
	if err := e.check(rows, cols); err != nil {
		return e.wrap("read", err)
	}
	if want := int64(rows.Len()) * int64(cols.Len()) * int64(e.DType.Bits()) / 8; want != int64(len(dst)) {
		return e.wrap("read", fmt.Errorf("rows %v columns %v are %d bytes, the destination holds %d", rows, cols, want, len(dst)))
	}
	if cols == e.Cols() { // one piece: straight into dst
		return e.wrap("read", e.readAt(dst, e.bytes(rows.Lo*cols.Hi)))
	}
	return e.wrap("read", e.each(rows, cols, func(part []byte) error {
		dst = dst[copy(dst, part):]
		return nil
	}))
}

func (e Entry) wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("safetensors: %s tensor %s of %s: %w", operation, e.Name, e.file.path, err)
}

func (e Entry) check(rows, cols Range) error {
	for _, part := range []struct {
		what     string
		got, all Range
	}{{"rows", rows, e.Rows()}, {"columns", cols, e.Cols()}} {
		if part.got.Lo < 0 || part.got.Hi < part.got.Lo || part.got.Hi > part.all.Hi {
			return fmt.Errorf("%s [%d,%d) of shape %v", part.what, part.got.Lo, part.got.Hi, e.Shape)
		}
	}
	for _, element := range []int{rows.Lo * e.Cols().Hi, rows.Hi * e.Cols().Hi, cols.Lo, cols.Hi, e.Cols().Hi} {
		if element*(e.DType.Bits()%8)%8 != 0 { // types smaller than a byte
			return fmt.Errorf("rows %v columns %v of %s do not lie at byte boundaries", rows, cols, e.DType)
		}
	}
	return nil
}

// bytes returns the offset of an element in the tensor. Elements lie within the file, so this cannot overflow:
// multiplying the bytes per 8 elements is exact for types smaller than a byte too.
func (e Entry) bytes(element int) int64 {
	if bits := e.DType.Bits(); bits%8 == 0 {
		return int64(element) * int64(bits/8)
	}
	return int64(element)/8*int64(e.DType.Bits()) + int64(element)%8*int64(e.DType.Bits())/8
}

// readAt fills p from the tensor's bytes at offset.
func (e Entry) readAt(p []byte, offset int64) error {
	if e.file.file == nil {
		return fs.ErrClosed
	}
	if len(p) == 0 {
		return nil
	}
	_, err := e.file.file.ReadAt(p, e.file.header.size+e.begin+offset)
	if errors.Is(err, io.EOF) {
		return errors.New("the file has become shorter since it was opened")
	}
	if err != nil {
		return plain(err)
	}
	return nil
}

// scratch buffers are what is read at once where the bytes are not wanted as they lie in the file.
const scratchBytes = 256 << 10

var scratch = sync.Pool{New: func() any { return new([scratchBytes]byte) }}

// each calls visit with the selected bytes in order, in pieces that hold whole elements and live until visit returns.
func (e Entry) each(rows, cols Range, visit func(part []byte) error) error {
	buffer := scratch.Get().(*[scratchBytes]byte)
	defer scratch.Put(buffer)
	all := e.Cols().Hi
	stride := e.bytes(all)
	lo, hi := e.bytes(cols.Lo), e.bytes(cols.Hi)
	if rows.Len() == 0 || lo == hi {
		return nil
	}
	if lo == 0 && hi == stride { // contiguous
		return e.eachOf(buffer[:], e.bytes(rows.Lo*all), e.bytes(rows.Hi*all), visit)
	}
	// Reading whole rows costs bytes, reading pieces of rows costs calls: for short rows the calls would dominate.
	const shortRow = 16 << 10
	if stride > shortRow && 2*(hi-lo) < stride || stride > scratchBytes {
		for row := rows.Lo; row < rows.Hi; row++ {
			start := e.bytes(row * all)
			if err := e.eachOf(buffer[:], start+lo, start+hi, visit); err != nil {
				return err
			}
		}
		return nil
	}
	group := int(scratchBytes / stride)
	for row := rows.Lo; row < rows.Hi; row += group {
		n := min(group, rows.Hi-row)
		part := buffer[:int64(n)*stride]
		if err := e.readAt(part, e.bytes(row*all)); err != nil {
			return err
		}
		for ; len(part) > 0; part = part[stride:] {
			if err := visit(part[lo:hi]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e Entry) eachOf(buffer []byte, begin, end int64, visit func(part []byte) error) error {
	for begin < end {
		part := buffer[:min(int64(len(buffer)), end-begin)]
		if err := e.readAt(part, begin); err != nil {
			return err
		}
		if err := visit(part); err != nil {
			return err
		}
		begin += int64(len(part))
	}
	return nil
}
