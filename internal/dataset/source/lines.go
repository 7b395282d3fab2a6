package source

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine bounds the bytes of one line. Far above any real row, far below what would exhaust a machine.
const maxLine = 64 << 20

// lines walks the lines of a stream.
type lines struct {
	s       *stream
	buffer  []byte
	number  int
	tooLong bool // the last line was over maxLine; next returned no bytes of it
}

// next returns the next line without its end (LF or CRLF), valid until the following call; io.EOF after the last.
func (l *lines) next() ([]byte, error) {
	l.buffer, l.tooLong = l.buffer[:0], false
	read := false
	for {
		part, err := l.s.Text.ReadSlice('\n')
		read = read || len(part) > 0
		if len(l.buffer)+len(part) > maxLine+len("\r\n") {
			l.tooLong = true
			l.buffer = l.buffer[:0]
		}
		if !l.tooLong {
			l.buffer = append(l.buffer, part...)
		}
		switch {
		case err == nil, err == io.EOF && read:
			l.number++
			return bytes.TrimSuffix(bytes.TrimSuffix(l.buffer, []byte("\n")), []byte("\r")), nil
		case err == io.EOF:
			return nil, io.EOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, l.s.fail(err)
		}
	}
}
