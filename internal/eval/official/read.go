package official

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"

	"alfred/internal/eval/python"
)

// maxFile bounds the bytes of an unpacked file: far above any official one, far below what would exhaust a machine.
const maxFile = 1 << 30

// input is what a reader gets, and where its rows go.
type input struct {
	rowFiles []file // most sets have one
	partners []file
	hidden   bool // rows without an answer are in order
	rows     []*python.Dict
	report   Report
}

// file is an official file, unpacked, without a byte order mark.
type file struct {
	name string
	text []byte
}

func (in *input) keep(row *python.Dict) {
	in.rows = append(in.rows, row)
	in.report.Rows++
}

func dirFS(dir string) fs.FS { return os.DirFS(dir) }

// readFiles opens the files, has them read and refuses a split without a good row.
func (s split) readFiles(dir fs.FS, f found) ([]*python.Dict, Report, error) {
	in := &input{hidden: s.hidden}
	for i, name := range f.all() {
		opened, source, err := openFile(dir, name)
		if err != nil {
			return nil, in.report, err
		}
		in.report.Sources = append(in.report.Sources, source)
		if i < len(f.rows) {
			in.rowFiles = append(in.rowFiles, opened)
		} else {
			in.partners = append(in.partners, opened)
		}
	}
	if err := s.read(in); err != nil {
		return nil, in.report, err
	}
	if len(in.rows) == 0 {
		err := fmt.Errorf("%s: no row is good, %d are malformed", f.rows[0], in.report.SkippedRows())
		if len(in.report.Examples) > 0 {
			err = fmt.Errorf("%w: %s", err, in.report.Examples[0])
		}
		return nil, in.report, err
	}
	return in.rows, in.report, nil
}

// openFile reads a file into memory. Whether it is packed is told by its first bytes, not by its name.
func openFile(dir fs.FS, name string) (file, Source, error) {
	raw, err := fs.ReadFile(dir, name)
	if err != nil {
		return file{}, Source{}, err
	}
	sum := sha256.Sum256(raw)
	text, err := unpack(raw)
	if err != nil {
		return file{}, Source{}, fmt.Errorf("%s: %w", name, err)
	}
	return file{name, bytes.TrimPrefix(text, []byte("\ufeff"))}, Source{name, hex.EncodeToString(sum[:])}, nil
}

func unpack(raw []byte) ([]byte, error) {
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return raw, nil
	}
	packed, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(packed, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("gzip: after %d unpacked bytes: %w", len(text), err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("gzip: more than %d bytes unpacked", maxFile)
	}
	return text, nil
}

// lines walks the lines of a text as Python's text files do: LF, CRLF and a CR alone all end one. Line numbers are from 1.
func (f file) lines(yield func(number int, line []byte) bool) {
	rest := f.text
	for number := 1; len(rest) > 0; number++ {
		line, end := rest, len(rest)
		if i := bytes.IndexAny(rest, "\r\n"); i >= 0 {
			line, end = rest[:i], i+1
			if bytes.HasPrefix(rest[i:], []byte("\r\n")) {
				end++
			}
		}
		rest = rest[end:]
		if !yield(number, line) {
			return
		}
	}
}
