package main

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLineReader(t *testing.T) {
	long := strings.Repeat("x", 200_000) // several times the buffer
	for in, want := range map[string][]string{
		"":                       nil,
		"a":                      {"a"},
		"a\n":                    {"a"},
		"a\r\nb":                 {"a", "b"},
		"\n\na":                  {"", "", "a"},
		"\ufeffa\n\ufeffb":       {"a", "\ufeffb"},
		"a\rb\n":                 {"a\rb"},
		long + "\r\n" + long[1:]: {long, long[1:]},
	} {
		for _, source := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
			l := newLineReader("f", source)
			var got []string
			for {
				r, err := l.next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, string(r.line)); r.number != len(got) {
					t.Errorf("line %d is called %d", len(got), r.number)
				}
			}
			if strings.Join(got, "|") != strings.Join(want, "|") || len(got) != len(want) {
				t.Errorf("%.30q: got %.60q", in, got)
			}
		}
	}
	broken := errors.New("broken")
	l := newLineReader("f", io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)))
	if _, err := l.next(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.next(); !errors.Is(err, broken) || !strings.Contains(err.Error(), "f:2") {
		t.Errorf("%v", err)
	}
}

// endless is a line without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestLineWithoutEnd(t *testing.T) {
	l := newLineReader("f", endless{})
	l.most = 2 << 20
	if _, err := l.next(); exitCode(err) != exitData || !strings.Contains(err.Error(), "f:1: the line is longer than 2 MiB") {
		t.Errorf("%v", err)
	}
}

func TestLoneSurrogates(t *testing.T) {
	for in, want := range map[string]bool{
		`"a"`: false, `"\ud83d\ude00"`: false, `"\ud83d"`: true, `"\ude00"`: true, `"\ud83dx"`: true, `"\ud83d\n"`: true, `"\\ud83d"`: false, `"\u0041\ud83d\ud83d"`: true, `"\\\ud83d"`: true,
	} {
		if got := loneSurrogate([]byte(in)); got != want {
			t.Errorf("%s: %v", in, got)
		}
	}
}

// FuzzRow feeds lines to everything that reads fields. What is accepted must be valid JSON and survive being written again.
func FuzzRow(f *testing.F) {
	for _, seed := range []string{`{"id":1,"text":"a","ids":[1,2]}`, `{"text":"\ud800"}`, `{"ids":[null,1.5,-1,"1"]}`, `{"id":"x","id":2}`, `{`, `[]`, "", `{"a":{"b":[1]}} x`, "\xff", `{"text":"\ud83d\ude00"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r := row{name: "f", number: 1, line: line}
		if r.parse() != nil {
			return
		}
		if !json.Valid(line) {
			t.Fatalf("accepted %q", line)
		}
		if text, err := r.text("text"); err == nil {
			again, _ := encodeLine(map[string]string{"text": text})
			copied := row{line: again}
			if err := copied.parse(); err != nil {
				t.Fatal(err)
			}
			if back, err := copied.text("text"); err != nil || back != text {
				t.Fatalf("%q came back as %q, %v", text, back, err)
			}
		}
		if ids, err := r.ids("ids"); err == nil {
			copied := row{line: append(appendIDs([]byte(`{"ids":`), ids), '}')}
			if err := copied.parse(); err != nil {
				t.Fatal(err)
			}
			if back, err := copied.ids("ids"); err != nil || len(back) != len(ids) {
				t.Fatalf("%v came back as %v, %v", ids, back, err)
			}
		}
		if id, err := r.id(); err == nil && !json.Valid(id) {
			t.Fatalf("id %q", id)
		}
		_, _ = r.either("text", "ids")
	})
}
