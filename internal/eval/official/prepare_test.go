package official

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeSamples puts the files of all samples under one folder.
func writeSamples(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, s := range samples {
		for name, text := range s.files {
			writeText(t, filepath.Join(dir, name), text)
		}
	}
	return dir
}

func writeText(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

func TestPrepare(t *testing.T) {
	from, written := writeSamples(t), samples
	writeText(t, filepath.Join(from, "notes/README.txt"), "x")
	to := filepath.Join(t.TempDir(), "a", "b")
	calls := 0
	s, err := Prepare(t.Context(), from, to, Options{Progress: func(Output) { calls++ }})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Outputs) != len(written) || calls != len(written) || !slices.Equal(s.Unknown, []string{"notes/README.txt"}) {
		t.Errorf("%d outputs, %d calls, unknown %q; want %d and the README", len(s.Outputs), calls, s.Unknown, len(written))
	}
	for _, c := range written {
		config := c.config
		if config == "" {
			config = "default"
		}
		if got := read(t, filepath.Join(to, c.path, config, c.split+".jsonl")); got != c.want+"\n" {
			t.Errorf("%s: got %s want %s", c.path, got, c.want)
		}
	}
	var m manifest
	if err := json.Unmarshal([]byte(read(t, filepath.Join(to, "MANIFEST.json"))), &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Files) != len(written) || !slices.IsSortedFunc(m.Files, func(a, b manifestEntry) int { return strings.Compare(a.Path, b.Path) }) {
		t.Errorf("%d entries", len(m.Files))
	}
	for _, e := range m.Files {
		text := read(t, filepath.Join(to, e.Path))
		if e.SHA256 != sum(text) || e.Rows != strings.Count(text, "\n") || len(e.Sources) == 0 {
			t.Errorf("entry %+v", e)
		}
		for _, source := range e.Sources {
			if source.SHA256 != sum(read(t, filepath.Join(from, source.Path))) {
				t.Errorf("%s: another SHA-256 of %s", e.Path, source.Path)
			}
		}
	}
	again, err := Prepare(t.Context(), from, to, Options{})
	if err != nil || slices.ContainsFunc(again.Outputs, func(o Output) bool { return o.Written }) {
		t.Errorf("the second time: %v, files written", err)
	}
	if entries, err := filepath.Glob(filepath.Join(to, "*", "*", "*", ".*")); err != nil || len(entries) > 0 {
		t.Errorf("unfinished files: %q, %v", entries, err)
	}
}

// A file with other contents stops everything before anything is written, until Overwrite is set.
func TestPrepareKeepsWhatDiffers(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	writeText(t, filepath.Join(from, "piqa/tests.jsonl"), `{"goal":"g","sol1":"a","sol2":"b"}`)
	writeText(t, filepath.Join(from, "CB/test.jsonl"), `{"premise":"p","hypothesis":"h","idx":0}`)
	mine := filepath.Join(to, "baber/piqa/default/test.jsonl")
	writeText(t, mine, "mine\n")
	if _, err := Prepare(t.Context(), from, to, Options{}); !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), mine) {
		t.Errorf("error %v", err)
	}
	if entries, _ := os.ReadDir(to); len(entries) != 1 || read(t, mine) != "mine\n" {
		t.Errorf("%v, file %q", entries, read(t, mine))
	}
	if _, err := Prepare(t.Context(), from, to, Options{Overwrite: true}); err != nil || !strings.Contains(read(t, mine), `"label": -1`) {
		t.Errorf("overwriting: %v, %q", err, read(t, mine))
	}
}

// The manifest keeps what an earlier run with other data wrote, and is not taken for one of another version.
func TestPrepareTwoFolders(t *testing.T) {
	first, second, to := t.TempDir(), t.TempDir(), t.TempDir()
	writeText(t, filepath.Join(first, "piqa/tests.jsonl"), `{"goal":"g","sol1":"a","sol2":"b"}`+"\n{}")
	writeText(t, filepath.Join(second, "CB/test.jsonl"), `{"premise":"p","hypothesis":"h","idx":0}`)
	for _, from := range []string{first, second} {
		if _, err := Prepare(t.Context(), from, to, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	text := read(t, filepath.Join(to, "MANIFEST.json"))
	for _, want := range []string{"baber/piqa/default/test.jsonl", "aps/super_glue/cb/test.jsonl", `"missing field": 1`, "piqa/tests.jsonl:2: missing field: goal"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q", text, want)
		}
	}
	for _, bad := range []string{"{", `{"version":2}`} {
		writeText(t, filepath.Join(to, "MANIFEST.json"), bad)
		if _, err := Prepare(t.Context(), first, to, Options{}); err == nil || !strings.Contains(err.Error(), "MANIFEST.json") {
			t.Errorf("manifest %q: %v", bad, err)
		}
	}
}

// All broken sets are named at once, and the good ones are not written.
func TestPrepareNamesAllErrors(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "out")
	writeText(t, filepath.Join(from, "piqa/tests.jsonl"), "{}")
	writeText(t, filepath.Join(from, "piqa/valid.jsonl"), "{}")
	writeText(t, filepath.Join(from, "sciq/test.json"), "[")
	writeText(t, filepath.Join(from, "CB/test.jsonl"), `{"premise":"p","hypothesis":"h","idx":0}`)
	_, err := Prepare(t.Context(), from, to, Options{})
	for _, want := range []string{"baber/piqa, split test", "baber/piqa, split validation", "allenai/sciq, split test"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want %q", err, want)
		}
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if _, err := Prepare(t.Context(), filepath.Join(from, "none"), to, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := Prepare(t.Context(), from, to, Options{}); !errors.Is(err, ErrNoFiles) {
		t.Errorf("an empty folder: %v", err)
	}
	writeText(t, filepath.Join(from, "piqa/tests.jsonl"), `{"goal":"g","sol1":"a","sol2":"b"}`)
	if _, err := Prepare(t.Context(), filepath.Join(from, "piqa/tests.jsonl"), to, Options{}); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("a file as folder: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Prepare(ctx, from, to, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// Prepared files inside of the data folder are not unknown files of the next run.
	inside := filepath.Join(from, "prepared")
	for range 2 {
		if s, err := Prepare(t.Context(), from, inside, Options{}); err != nil || len(s.Unknown) != 0 {
			t.Errorf("inside: %v, unknown %q", err, s.Unknown)
		}
	}
}

// A folder may be a link, and a whole set may stand behind one.
func TestLinkedFolders(t *testing.T) {
	base := t.TempDir()
	writeText(t, filepath.Join(base, "real/tests.jsonl"), `{"goal":"g","sol1":"a","sol2":"b"}`)
	from := filepath.Join(base, "from")
	writeText(t, filepath.Join(from, "x"), "")
	for link, target := range map[string]string{"from/piqa": "real", "linked": "from"} {
		if err := os.Symlink(filepath.Join(base, target), filepath.Join(base, link)); err != nil {
			t.Skipf("no links here: %v", err)
		}
	}
	s, err := Prepare(t.Context(), filepath.Join(base, "linked"), filepath.Join(base, "to"), Options{})
	if err != nil || len(s.Outputs) != 1 || !slices.Equal(s.Unknown, []string{"x"}) {
		t.Errorf("%v, %d outputs, unknown %q", err, len(s.Outputs), s.Unknown)
	}
	d, _ := Find("baber/piqa", "")
	rows, report, err := d.Read(filepath.Join(base, "linked"), "test")
	if err != nil || len(rows) != 1 || report.Rows != 1 || report.Sources[0].Path != "piqa/tests.jsonl" {
		t.Errorf("Read: %d rows, %+v, %v", len(rows), report, err)
	}
	writeText(t, filepath.Join(base, "real/tests.jsonl"), `{}`)
	if _, _, err := d.Read(from, "test"); err == nil || !strings.Contains(err.Error(), "baber/piqa, split test: piqa/tests.jsonl") {
		t.Errorf("Read of a broken file: %v", err)
	}
}
