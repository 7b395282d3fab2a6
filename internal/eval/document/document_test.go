package document_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"alfred/internal/eval/document"
	"alfred/internal/eval/python"
)

// plain is a value with dicts as alternating keys and values, to compare with order.
func plain(v any) any {
	switch v := v.(type) {
	case *python.Dict:
		var pairs []any
		for _, key := range v.Keys() {
			item, _ := v.Get(key)
			pairs = append(pairs, key, plain(item))
		}
		return pairs
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	}
	return v
}

func plains(docs []*python.Dict) (out []any) {
	for _, d := range docs {
		out = append(out, plain(d))
	}
	return out
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const lines = "{\"q\": \"caf\\u00e9\", \"n\": 1}\r\n\n{\"n\": 2.5, \"q\": null, \"c\": {\"text\": [\"x\"], \"label\": []}}\n"

func TestReadJSON(t *testing.T) {
	want := []any{[]any{"q", "café", "n", int64(1)}, []any{"n", 2.5, "q", nil, "c", []any{"text", []any{"x"}, "label", []any{}}}}
	list := "[" + strings.Replace(strings.TrimSpace(lines), "\r\n\n", ",\n", 1) + "]"
	for name, data := range map[string][]byte{"plain.jsonl": []byte(lines), "packed.jsonl.gz": zipped(t, lines), "bom.jsonl": []byte("\ufeff" + lines), "list.json": []byte(list)} {
		file, err := document.Read(context.Background(), write(t, name, data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, plains(file.Documents)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAlign(t *testing.T) {
	file, err := document.Read(context.Background(), write(t, "a.jsonl", []byte(lines)))
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Align(file.Documents); err != nil {
		t.Fatal(err)
	}
	want := []any{[]any{"q", "café", "n", 1.0, "c", nil}, []any{"q", nil, "n", 2.5, "c", []any{"text", []any{"x"}, "label", []any{}}}}
	if diff := cmp.Diff(want, plains(file.Documents)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	mixed := []*python.Dict{python.NewDict("a", python.NewDict("b", "x")), python.NewDict("a", python.NewDict("b", int64(1)))}
	if err := document.Align(mixed); err == nil || !strings.Contains(err.Error(), "document 1: a: b: int where other documents have text") {
		t.Errorf("a column of text and numbers: %v", err)
	}
}

func TestReadParquet(t *testing.T) {
	type answer struct {
		Text string  `parquet:"text"`
		At   *int64  `parquet:"at,optional"`
		P    float32 `parquet:"p"`
	}
	type row struct {
		Q       string   `parquet:"q"`
		Choices []string `parquet:"choices,list"`
		Answers []answer `parquet:"answers,list"`
		Yes     bool     `parquet:"yes"`
		N       int32    `parquet:"n"`
	}
	at := int64(3)
	path := filepath.Join(t.TempDir(), "rows.parquet")
	rows := []row{{"first", []string{"a", "b"}, []answer{{"x", &at, 0.5}, {"y", nil, 1}}, true, 7}, {Q: "second"}}
	if err := parquet.WriteFile(path, rows); err != nil {
		t.Fatal(err)
	}
	file, err := document.Read(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	want := []any{
		[]any{"q", "first", "choices", []any{"a", "b"}, "answers", []any{[]any{"text", "x", "at", int64(3), "p", 0.5}, []any{"text", "y", "at", nil, "p", 1.0}}, "yes", true, "n", int64(7)},
		[]any{"q", "second", "choices", []any{}, "answers", []any{}, "yes", false, "n", int64(0)},
	}
	if diff := cmp.Diff(want, plains(file.Documents)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(data); n += 7 {
		if _, err := document.Read(context.Background(), write(t, "cut.parquet", data[:n])); err == nil && n > 0 {
			t.Errorf("%d of %d bytes are read without an error", n, len(data))
		}
	}
}

func TestReadFails(t *testing.T) {
	for text, want := range map[string]string{
		"{\"a\": 1}\n{\"a\": }\n": ":2: ", "{\"a\": 1}\n[1]\n": ":2: want a JSON object", "[{\"a\": 1}, 2]": "element 1 is no object",
		"{\"a\": 1": ":1: ", "\xff\xfe{": "UTF-16", "{\"a\": \"\xff\"}": ":1: ",
	} {
		path := write(t, "bad.jsonl", []byte(text))
		_, err := document.Read(context.Background(), path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%q: %v, want an error that begins with the path and has %q", text, err, want)
		}
	}
	if _, err := document.Read(context.Background(), filepath.Join(t.TempDir(), "none.jsonl")); err == nil {
		t.Error("a missing file is read")
	}
}
