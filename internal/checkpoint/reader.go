package checkpoint

import (
	"fmt"

	"alfred/internal/checkpoint/safetensors"
)

// pieceBytes bounds the host memory that reading and writing take at a time, whatever the size of a model: one piece of a tensor,
// and another one while it is converted or put together.
const pieceBytes = 16 << 20

// reader reads from a source into memory that it reuses.
type reader struct {
	*stored
	dtype   safetensors.DType // of what is returned
	raw     []byte            // as stored
	scratch []byte            // columns of one part
	out     []byte            // converted
	floats  [4096]float64
}

// rowsAtOnce is the number of rows of the given number of columns that make a piece.
func rowsAtOnce(cols int) int {
	const widest = 8 // bytes of an element
	return max(1, pieceBytes/(widest*max(1, cols)))
}

// pieces calls visit with consecutive pieces of the given rows and columns, converted to dtype. at is the piece's first row. The
// data live until visit returns.
func (r *reader) pieces(t *stored, dtype safetensors.DType, rows, cols safetensors.Range, visit func(at, n int, data []byte) error) error {
	if err := t.onlyFloats(); err != nil {
		return err
	}
	r.stored, r.dtype = t, dtype
	step := rowsAtOnce(cols.Len())
	for at := rows.Lo; at < rows.Hi; at += step {
		n := min(step, rows.Hi-at)
		data, err := r.read(safetensors.Range{Lo: at, Hi: at + n}, cols)
		if err != nil {
			return err
		}
		if err := visit(at, n, data); err != nil {
			return err
		}
	}
	return nil
}

// read is one piece, converted.
func (r *reader) read(rows, cols safetensors.Range) ([]byte, error) {
	width := r.stored.dtype.Bits() / 8
	r.raw = sized(r.raw, rows.Len()*cols.Len()*width)
	along := rows
	if r.dim == 1 {
		along = cols
	}
	for _, p := range r.parts {
		both := safetensors.Range{Lo: max(along.Lo, p.global), Hi: min(along.Hi, p.global+p.count)}
		if both.Len() <= 0 {
			continue
		}
		local := safetensors.Range{Lo: both.Lo - p.global + p.local, Hi: both.Hi - p.global + p.local}
		offset := both.Lo - along.Lo
		if r.dim == 0 {
			stride := cols.Len() * width
			if err := p.entry.Read(r.raw[offset*stride:][:both.Len()*stride], local, cols); err != nil {
				return nil, err
			}
			continue
		}
		if err := r.readColumns(p.entry, rows, local, offset*width, cols.Len()*width); err != nil {
			return nil, err
		}
	}
	if r.stored.dtype == r.dtype {
		return r.raw, nil
	}
	return r.convert()
}

// readColumns puts some columns of a file's tensor to a byte offset of each row of raw.
func (r *reader) readColumns(entry safetensors.Entry, rows, cols safetensors.Range, offset, stride int) error {
	n := cols.Len() * entry.DType.Bits() / 8
	if n == stride { // all that is wanted comes from this part
		return entry.Read(r.raw, rows, cols)
	}
	r.scratch = sized(r.scratch, rows.Len()*n)
	if err := entry.Read(r.scratch, rows, cols); err != nil {
		return err
	}
	for i := range rows.Len() {
		copy(r.raw[i*stride+offset:][:n], r.scratch[i*n:])
	}
	return nil
}

// convert turns raw into the wanted type. Everything fits float64 exactly, so there is one rounding.
func (r *reader) convert() ([]byte, error) {
	from, to := r.stored.dtype.Bits()/8, r.dtype.Bits()/8
	total := len(r.raw) / from
	r.out = sized(r.out, total*to)
	for at := 0; at < total; at += len(r.floats) {
		n := min(len(r.floats), total-at)
		if err := safetensors.Decode(r.floats[:n], r.stored.dtype, r.raw[at*from:][:n*from]); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", r.name, err)
		}
		if err := safetensors.Encode(r.out[at*to:][:n*to], r.dtype, r.floats[:n]); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", r.name, err)
		}
	}
	return r.out, nil
}

// sized is buf with the given length.
func sized(buf []byte, n int) []byte {
	if cap(buf) < n {
		return make([]byte, n)
	}
	return buf[:n]
}
