package source

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// readFiles reads files of a kind and returns the records, the tally and the error.
func readFiles(t testing.TB, spec Spec) ([]*Record, *Tally, error) {
	t.Helper()
	return readInto(spec, &Tally{})
}

func readInto(spec Spec, tally *Tally) ([]*Record, *Tally, error) {
	var records []*Record
	err := Read(context.Background(), spec, tally, func(r *Record) error {
		records = append(records, r)
		return nil
	})
	return records, tally, err
}

// readText reads one file of the given content.
func readText(t testing.TB, kind Kind, use Use, content string) ([]*Record, *Tally, error) {
	t.Helper()
	return readFiles(t, Spec{Kind: kind, Use: use, Files: []string{writeFile(t, "data.jsonl", []byte(content))}})
}

func mustRead(t testing.TB, kind Kind, use Use, content string) ([]*Record, *Tally) {
	t.Helper()
	records, tally, err := readText(t, kind, use, content)
	if err != nil {
		t.Fatal(err)
	}
	return records, tally
}

func writeFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func gzipped(t testing.TB, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t testing.TB, s string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(s), nil)
}

func ids(records []*Record) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = r.ID
	}
	return out
}

const twoPrompts = `{"id":"a","prompt":"one"}` + "\n" + `{"id":"b","prompt":"two"}` + "\n"

// The same rows come out of a file however it is packed and named, and the hash is the one of the bytes on disk.
func TestPacking(t *testing.T) {
	for name, data := range map[string][]byte{
		"plain.jsonl":        []byte(twoPrompts),
		"no-newline.jsonl":   []byte(strings.TrimSuffix(twoPrompts, "\n")),
		"gzip.jsonl.gz":      gzipped(t, twoPrompts),
		"two-members.gz":     append(gzipped(t, twoPrompts[:10]), gzipped(t, twoPrompts[10:])...),
		"zstd.jsonl.zst":     zstandard(t, twoPrompts),
		"gzip-by-content":    gzipped(t, twoPrompts),
		"bom.jsonl":          []byte("\xef\xbb\xbf" + twoPrompts),
		"bom.jsonl.gz":       gzipped(t, "\xef\xbb\xbf"+twoPrompts),
		"crlf.jsonl":         []byte(strings.ReplaceAll(twoPrompts, "\n", "\r\n")),
		"blank-lines.jsonl":  []byte("\n  \n" + strings.ReplaceAll(twoPrompts, "\n", "\n\r\n")),
		"spaces-around.json": []byte("  " + twoPrompts),
	} {
		path := writeFile(t, name, data)
		records, tally, err := readFiles(t, Spec{Kind: Prompts, Use: ForPrompts, Files: []string{path}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := ids(records); !slices.Equal(got, []string{"a", "b"}) || tally.Rows != 2 || tally.MalformedRows != 0 {
			t.Errorf("%s: ids %q, rows %d, malformed %d", name, got, tally.Rows, tally.MalformedRows)
		}
		if want := sha(data); tally.Files[0].SHA256 != want || tally.Files[0].Rows != 2 {
			t.Errorf("%s: file entry %x %d, want %x 2", name, tally.Files[0].SHA256, tally.Files[0].Rows, want)
		}
	}
}

// A packed file that ends too early fails the read at every cut: nothing is lost in silence. (A cut within the first
// bytes leaves no packed file but an empty or an unreadable one.)
func TestTruncated(t *testing.T) {
	for name, data := range map[string][]byte{"gzip": gzipped(t, twoPrompts), "zstd": zstandard(t, twoPrompts)} {
		for cut := 4; cut < len(data); cut++ {
			_, _, err := readFiles(t, Spec{Kind: Prompts, Use: ForPrompts, Files: []string{writeFile(t, "cut", data[:cut])}})
			if !errors.Is(err, ErrData) {
				t.Errorf("%s cut to %d of %d bytes: %v, want an error that wraps ErrData", name, cut, len(data), err)
			}
		}
		for cut := 1; cut < 4; cut++ {
			records, tally, err := readFiles(t, Spec{Kind: Prompts, Use: ForPrompts, Files: []string{writeFile(t, "cut", data[:cut])}})
			if err == nil && (len(records) > 0 || tally.MalformedRows != 1) {
				t.Errorf("%s cut to %d bytes: %d records, %d malformed, no error", name, cut, len(records), tally.MalformedRows)
			}
		}
		flipped := slices.Clone(data)
		flipped[len(flipped)-3] ^= 1 // in the checksum or the last block
		_, tally, err := readFiles(t, Spec{Kind: Prompts, Use: ForPrompts, Files: []string{writeFile(t, "flipped", flipped)}})
		if err == nil && tally.MalformedRows == 0 {
			t.Errorf("%s with a flipped bit: no error", name)
		}
	}
}

// What follows a gzip file's last member is named as such: the data themselves are whole.
func TestGzipFollowedByOtherBytes(t *testing.T) {
	for name, tail := range map[string]string{"text": twoPrompts, "zeros": "\x00\x00\x00\x00", "one byte": "\n"} {
		_, _, err := readFiles(t, Spec{Kind: Prompts, Use: ForPrompts, Files: []string{writeFile(t, "d.jsonl.gz", append(gzipped(t, twoPrompts), tail...))}})
		if !errors.Is(err, ErrData) || !strings.Contains(err.Error(), "other bytes follow") || strings.Contains(err.Error(), "too early") {
			t.Errorf("%s after the data: %v", name, err)
		}
	}
	for cut := 1; cut < 12; cut++ { // in the header of a second member
		data := append(gzipped(t, twoPrompts), gzipped(t, twoPrompts)[:cut]...)
		_, _, err := readFiles(t, Spec{Kind: Prompts, Use: ForPrompts, Files: []string{writeFile(t, "d.jsonl.gz", data)}})
		if !errors.Is(err, ErrData) || !strings.Contains(err.Error(), "too early") {
			t.Errorf("second member cut to %d bytes: %v", cut, err)
		}
	}
}

// Rows without an id are named by their place below what all files have in common, so that two files of one name do not collide.
func TestIDsOfFilesOfOneName(t *testing.T) {
	root := t.TempDir()
	var files []string
	for _, name := range []string{"hh/harmless/train.jsonl", "hh/helpful/train.jsonl"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(goodHH+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	records, tally, err := readFiles(t, Spec{Kind: HHRLHF, Use: ForRanking, Files: files})
	if want := []string{"harmless/train.jsonl:1", "helpful/train.jsonl:1"}; err != nil || !slices.Equal(ids(records), want) || len(tally.Notes) != 0 {
		t.Errorf("ids %q, notes %v, %v; want %q", ids(records), tally.Notes, err, want)
	}
}

func TestCommonFolder(t *testing.T) {
	for want, files := range map[string][]string{
		"":     nil,
		"/a/b": {"/a/b/x"},
		"/a":   {"/a/b/x", "/a/bc/x", "/a/b/y"},
		"/":    {"/x", "/y/x"},
		".":    {"a", "b/c"},
		"d/e":  {"d/e/f", "d/e/g/h"},
	} {
		if got := filepath.ToSlash(commonFolder(files)); got != want {
			t.Errorf("common folder of %q: %q, want %q", files, got, want)
		}
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	utf16 := writeFile(t, "utf16.jsonl", []byte("\xff\xfe{\x00}\x00"))
	if _, _, err := readFiles(t, Spec{Kind: Prompts, Use: ForPrompts, Files: []string{utf16}}); err == nil || !strings.Contains(err.Error(), "UTF-16") {
		t.Errorf("UTF-16: %v", err)
	}
	if _, _, err := readFiles(t, Spec{Kind: Prompts, Use: ForPrompts, Files: []string{filepath.Join(dir, "absent")}}); !errors.Is(err, ErrData) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	if _, _, err := readFiles(t, Spec{Kind: Dolly, Use: ForRanking}); err == nil {
		t.Error("dolly for ranking: no error")
	}
	if _, _, err := readFiles(t, Spec{Kind: Dolly, Use: ForSFT, Files: []string{"testdata/messages.parquet"}}); err == nil || !strings.Contains(err.Error(), "parquet") {
		t.Errorf("dolly from parquet: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := Read(ctx, Spec{Kind: Prompts, Use: ForPrompts, Files: []string{writeFile(t, "p.jsonl", []byte(twoPrompts))}}, &Tally{}, func(*Record) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// An empty file, a file of blank lines and an empty packed file hold no rows and say so.
func TestEmpty(t *testing.T) {
	for name, data := range map[string][]byte{"empty": nil, "blank": []byte("\n \n"), "gz": gzipped(t, ""), "zst": zstandard(t, ""), "bom": []byte("\ufeff")} {
		for _, kind := range Kinds {
			if kind == NatInst && name != "empty" {
				continue
			}
			records, tally, err := readFiles(t, Spec{Kind: kind, Use: ForPrompts, Files: []string{writeFile(t, name, data)}})
			if err != nil || len(records) != 0 || tally.Rows != 0 || len(tally.Files) != 1 || tally.Files[0].Rows != 0 {
				t.Errorf("%s, %s: %d records, %+v, %v", kind, name, len(records), tally, err)
			}
		}
	}
}

// A row of 10 MB is read as any other; one over the limit is skipped without being held and the next row is intact.
func TestLongLines(t *testing.T) {
	long := strings.Repeat("x", 10<<20)
	records, tally := mustRead(t, Prompts, ForPrompts, `{"prompt":"`+long+`"}`+"\n"+twoPrompts)
	if len(records) != 3 || records[0].Turns[0].Text != long || tally.MalformedRows != 0 {
		t.Errorf("10 MB: %d records, %d malformed", len(records), tally.MalformedRows)
	}
	if testing.Short() {
		t.Skip("writes 64 MiB")
	}
	over := `{"prompt":"` + strings.Repeat("y", maxLine) + `"}` + "\n"
	records, tally = mustRead(t, Prompts, ForPrompts, over+twoPrompts)
	if got := ids(records); !slices.Equal(got, []string{"a", "b"}) || tally.Malformed[LineTooLong] != 1 || records[0].At.Number != 2 {
		t.Errorf("over %d bytes: ids %q, malformed %v", maxLine, got, tally.Malformed)
	}
}

func TestExpand(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a[b]") // a root whose name would be a pattern
	for _, name := range []string{"d/b.jsonl.gz", "d/a.jsonl", "d/sub/c.jsonl.zst", "d/README.md", "d/.hidden.jsonl", "d/.git/x.jsonl", "d/t.json", "d/p.parquet", "one.txt", "e/none.md"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(root, "d/a.jsonl"), filepath.Join(root, "d/link.jsonl")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path    string
		kind    Kind
		want    []string
		ignored int
	}{
		{"d", Dolly, []string{"d/a.jsonl", "d/b.jsonl.gz", "d/link.jsonl", "d/sub/c.jsonl.zst"}, 3},
		{"d", OASST1, []string{"d/a.jsonl", "d/b.jsonl.gz", "d/link.jsonl", "d/p.parquet", "d/sub/c.jsonl.zst"}, 2},
		{"d", NatInst, []string{"d/t.json"}, 6},
		{"one.txt", Prompts, []string{"one.txt"}, 0},
		{"d/*.jsonl*", Dolly, []string{"d/a.jsonl", "d/b.jsonl.gz", "d/link.jsonl"}, 0},
		{"*", NatInst, []string{"d/t.json", "one.txt"}, 7},
		{filepath.Join(root, "one.txt"), Prompts, []string{"one.txt"}, 0},
	} {
		files, ignored, err := Expand(root, c.path, c.kind)
		if err != nil {
			t.Errorf("%s %s: %v", c.kind, c.path, err)
			continue
		}
		var got []string
		for _, f := range files {
			rel, _ := filepath.Rel(root, f)
			got = append(got, filepath.ToSlash(rel))
		}
		if !slices.Equal(got, c.want) || len(ignored) != c.ignored {
			t.Errorf("%s %s: files %q, ignored %q; want %q and %d", c.kind, c.path, got, ignored, c.want, c.ignored)
		}
	}
	for _, path := range []string{"", "absent", "absent/*.jsonl", "e", "[", "/dev/null"} {
		if files, _, err := Expand(root, path, Dolly); !errors.Is(err, ErrData) {
			t.Errorf("Expand(%q) = %q, %v; want ErrData", path, files, err)
		}
	}
}

// Links are followed, at the root and below; a folder is entered once, so that a link upwards ends.
func TestExpandFollowsLinks(t *testing.T) {
	root := t.TempDir()
	write := func(name string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("cache/blobs/one.jsonl")
	write("cache/blobs/deep/two.jsonl")
	write("data/three.jsonl")
	link := func(target, name string) {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("data", "link")                // a root that is a link
	link("../cache/blobs", "data/blob") // a folder elsewhere
	link("../../data", "cache/blobs/back")
	link(".", "data/self")
	link("nowhere", "data/dangling.jsonl")
	for _, path := range []string{"link", "data", filepath.Join(root, "link"), "lin*"} {
		files, ignored, err := Expand(root, path, Dolly)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		base := filepath.Join(root, strings.ReplaceAll(filepath.Base(path), "*", "k"))
		var got []string
		for _, f := range files {
			name, _ := filepath.Rel(base, f)
			got = append(got, filepath.ToSlash(name))
		}
		if want := []string{"blob/deep/two.jsonl", "blob/one.jsonl", "three.jsonl"}; !slices.Equal(got, want) {
			t.Errorf("%s: files %q, want %q", path, got, want)
		}
		if len(ignored) != 3 { // back, self, dangling
			t.Errorf("%s: ignored %q, want the two links that lead back and the one that leads nowhere", path, ignored)
		}
	}
}
