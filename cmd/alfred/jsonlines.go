package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"unicode/utf8"
)

// maxLine bounds the bytes of one line: far above any text, far below what would exhaust a machine.
const maxLine = 256 << 20

// lineReader reads lines that end in LF or CRLF. A byte order mark at the start is passed over.
type lineReader struct {
	name   string
	r      *bufio.Reader
	number int // of the line that next returned last, from 1
	most   int // bytes of a line
}

func newLineReader(name string, r io.Reader) *lineReader {
	return &lineReader{name: name, r: bufio.NewReaderSize(r, 1<<16), most: maxLine}
}

// next returns the next line without its end; io.EOF after the last one.
func (l *lineReader) next() (row, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil || err == io.EOF && len(line) > 0 {
			break
		}
		if err == io.EOF {
			return row{}, io.EOF
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return row{}, failf(exitData, "%s:%d: %w", l.name, l.number+1, err)
		}
		if len(line) > l.most {
			return row{}, failf(exitData, "%s:%d: the line is longer than %d MiB", l.name, l.number+1, l.most>>20)
		}
	}
	if l.number == 0 {
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
	}
	l.number++
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	return row{name: l.name, number: l.number, line: line}, nil
}

// waits reports whether the next line is not there yet, so that next may wait for it.
func (l *lineReader) waits() bool {
	buffered, _ := l.r.Peek(l.r.Buffered())
	return bytes.IndexByte(buffered, '\n') < 0
}

// openLines opens a file of lines; "-" is standard input.
func (a *app) openLines(ctx context.Context, path string) (_ *lineReader, closeFile func(), err error) {
	if path == "-" {
		return newLineReader("standard input", newPatientReader(ctx, a.stdin)), func() {}, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, fail(exitData, err)
	}
	return newLineReader(path, file), func() { file.Close() }, nil
}

// readRows reads the input to its end, and reports all lines that read refuses.
func readRows[T any](in *lineReader, read func(row) (T, error)) (items []T, err error) {
	var problems []error
	for {
		r, err := in.next()
		if err == io.EOF {
			return items, few(problems)
		}
		if err != nil {
			return items, errors.Join(few(problems), err)
		}
		item, err := read(r)
		if err != nil {
			problems = append(problems, err)
		}
		items = append(items, item)
	}
}

// row is one line of input, a JSON object.
type row struct {
	name   string
	number int
	line   []byte
	fields map[string]json.RawMessage
}

// errorf makes an error that names the line.
func (r row) errorf(format string, args ...any) error {
	return failf(exitData, "%s:%d: %w", r.name, r.number, fmt.Errorf(format, args...))
}

// parse reads the object. What a JSON decoder would mend or drop in silence is an error.
func (r *row) parse() error {
	if len(bytes.TrimSpace(r.line)) == 0 {
		return r.errorf("the line is empty")
	}
	if !utf8.Valid(r.line) {
		return r.errorf("not UTF-8")
	}
	r.fields = map[string]json.RawMessage{}
	d := json.NewDecoder(bytes.NewReader(r.line))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return r.errorf("not a JSON object")
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return r.errorf("not JSON: %w", err)
		}
		key := token.(string) // the decoder admits nothing else here
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return r.errorf("not JSON at key %q: %w", key, err)
		}
		if _, twice := r.fields[key]; twice {
			return r.errorf("key %q appears twice", key)
		}
		r.fields[key] = value
	}
	if _, err := d.Token(); err != nil {
		return r.errorf("not JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return r.errorf("there is something after the JSON object")
	}
	return nil
}

func (r row) has(key string) bool {
	raw, ok := r.fields[key]
	return ok && string(raw) != "null"
}

// text is a field that must be a string.
func (r row) text(key string) (string, error) {
	raw := r.fields[key]
	var text string
	switch {
	case len(raw) == 0:
		return "", r.errorf("has no %q", key)
	case raw[0] != '"' || json.Unmarshal(raw, &text) != nil:
		return "", r.errorf("%q is not a string", key)
	case loneSurrogate(raw):
		return "", r.errorf("%q holds half of a surrogate pair, which is no character", key)
	}
	return text, nil
}

// ids is a field that must be a list of token ids.
func (r row) ids(key string) ([]int32, error) {
	raw := r.fields[key]
	if len(raw) == 0 {
		return nil, r.errorf("has no %q", key)
	}
	var entries []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &entries) != nil {
		return nil, r.errorf("%q is not a list of token ids", key)
	}
	ids := make([]int32, len(entries))
	for i, entry := range entries {
		id, err := strconv.ParseInt(string(entry), 10, 32)
		if err != nil || id < 0 {
			return nil, r.errorf("%q: entry %d, %.40q, is no token id", key, i, entry)
		}
		ids[i] = int32(id)
	}
	return ids, nil
}

// id is what names the row in the output: its "id", a string or a number, or else the number of its line.
func (r row) id() (json.RawMessage, error) {
	if !r.has("id") {
		return strconv.AppendInt(nil, int64(r.number), 10), nil
	}
	raw := r.fields["id"]
	if c := raw[0]; c != '"' && c != '-' && (c < '0' || c > '9') {
		return nil, r.errorf(`"id" is neither a string nor a number`)
	}
	return raw, nil
}

// either tells which of two fields the row has; it must have one.
func (r row) either(a, b string) (string, error) {
	switch hasA, hasB := r.has(a), r.has(b); {
	case hasA && hasB:
		return "", r.errorf("has both %q and %q", a, b)
	case hasA:
		return a, nil
	case hasB:
		return b, nil
	}
	return "", r.errorf("has neither %q nor %q", a, b)
}

// loneSurrogate reports whether a JSON string has a \uD800-\uDFFF escape that is not part of a pair. A decoder would make it U+FFFD.
func loneSurrogate(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		switch unit := unicodeEscape(raw[i:]); {
		case unit < 0xd800 || unit > 0xdfff:
			i++ // over the escaped character, which may be another backslash
		case unit >= 0xdc00:
			return true
		default:
			if low := unicodeEscape(raw[min(i+6, len(raw)):]); low < 0xdc00 || low > 0xdfff {
				return true
			}
			i += 11
		}
	}
	return false
}

// unicodeEscape reads \uXXXX at the start of b; 0 if there is none.
func unicodeEscape(b []byte) uint64 {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return v
}

// appendIDs appends a JSON list of ids.
func appendIDs(b []byte, ids []int32) []byte {
	b = append(b, '[')
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(id), 10)
	}
	return append(b, ']')
}

// encodeLine is v as one line of JSON, with < and > as they are.
func encodeLine(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
