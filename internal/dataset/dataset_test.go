package dataset

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"alfred/internal/config"
	"alfred/internal/dataset/source"
)

// bytesTokenizer gives every byte its value as id; 256 is the end of a document.
type bytesTokenizer struct{}

const eod = 256

func (bytesTokenizer) Encode(text string) []int32 {
	ids := make([]int32, len(text))
	for i := range len(text) {
		ids[i] = int32(text[i])
	}
	return ids
}

func (bytesTokenizer) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		if id == eod {
			b.WriteString("<EOD>")
		} else {
			b.WriteByte(byte(id))
		}
	}
	return b.String()
}

func decode(ids []int32) string { return bytesTokenizer{}.Decode(ids) }

// folder writes files into a folder and returns it.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func options(root string) Options { return Options{Root: root, Tokenizer: bytesTokenizer{}, EOD: eod} }

// spec is a data entry as the config would give it.
func spec(kind source.Kind, path, render string) config.Source {
	s := config.Source{Source: string(kind), Path: path, Weight: 1, Render: render, OnBad: "skip"}
	if kind == source.HHRLHF || kind == source.Pairs {
		s.Use = "chosen"
	}
	if render == "few_shot" {
		s.Shots = 2
	}
	return s
}

func mustOpen[T Sample](t testing.TB, opts Options, specs ...config.Source) *Set[T] {
	t.Helper()
	set, err := Open[T](context.Background(), specs, opts)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// all returns the training samples in file order.
func all[T Sample](s *Set[T]) []T {
	var out []T
	for _, p := range s.train.parts {
		out = append(out, p...)
	}
	return out
}

// reasons turns the counts of a report into a map.
func reasons(counts []Count) map[string]int {
	m := map[string]int{}
	for _, c := range counts {
		m[c.Reason] = c.N
	}
	return m
}
