package safetensors

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"alfred/internal/checkpoint/storage"
	"alfred/internal/checkpoint/storage/storagetest"
)

// writeOne writes a file with one tensor over what is there.
func writeOne(path string, spec Spec, data []byte) error {
	w, err := Create(storage.OS, path, []Spec{spec}, nil)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := w.Write(spec.Name, data); err != nil {
		return err
	}
	return w.Close()
}

// The official package's files come out byte for byte when their tensors are written again.
func TestWriterGivesOfficialBytes(t *testing.T) {
	paths, err := filepath.Glob("testdata/golden/sharded/*.safetensors")
	if err != nil || len(paths) != 3 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var specs []Spec
		for _, name := range f.Names() {
			entry, _ := f.Tensor(name)
			specs = append(specs, Spec{name, entry.DType, entry.Shape})
		}
		copied := filepath.Join(t.TempDir(), "copy")
		w, err := Create(storage.OS, copied, specs, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range f.Names() {
			entry, _ := f.Tensor(name)
			if err := w.Write(name, entry.Data()); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		want, _ := os.ReadFile(path)
		got, _ := os.ReadFile(copied)
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", path, got, want)
		}
	}
}

func TestWriterRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	specs := []Spec{{"b", BF16, []int{3}}, {"d", F64, nil}, {`quote " \ ü`, F32, []int{2, 1}}, {"none", F32, []int{0, 7}}, {"f", F4, []int{2}}}
	w, err := Create(storage.OS, path, specs, map[string]string{"note": "a\nb"})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for i, spec := range w.Specs() {
		order = append(order, spec.Name)
		size, _ := spec.Bytes()
		data := bytes.Repeat([]byte{byte(i + 1)}, int(size))
		err := w.WriteTensor(spec.Name, func(to io.Writer) error { // byte by byte
			for i := range data {
				if _, err := to.Write(data[i : i+1]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"d", `quote " \ ü`, "none", "b", "f"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q: wide types first, else as given", order, want)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is there before Close")
	}
	if err := errors.Join(w.Close(), w.Close(), w.Abort()); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.header.size%8 != 0 {
		t.Errorf("data begin at byte %d", f.header.size)
	}
	if got := f.Metadata(); len(got) != 2 || got["format"] != "pt" || got["note"] != "a\nb" {
		t.Errorf("metadata %q", got)
	}
	for i, name := range order {
		entry, ok := f.Tensor(name)
		at := slices.IndexFunc(specs, func(s Spec) bool { return s.Name == name })
		if !ok || entry.DType != specs[at].DType || !slices.Equal(entry.Shape, specs[at].Shape) {
			t.Fatalf("%s: %+v", name, entry)
		}
		if size, _ := specs[at].Bytes(); !bytes.Equal(entry.Data(), bytes.Repeat([]byte{byte(i + 1)}, int(size))) {
			t.Errorf("%s: data %v", name, entry.Data())
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	a := Spec{"a", F32, []int{1}}
	for _, test := range []struct {
		specs    []Spec
		metadata map[string]string
		want     string
	}{
		{[]Spec{a, a}, nil, `tensor "a": name is taken`},
		{[]Spec{{"__metadata__", F32, nil}}, nil, `"__metadata__": name is taken`},
		{[]Spec{{"a", "F33", nil}}, nil, `unknown dtype "F33"`},
		{[]Spec{{"a", "", nil}}, nil, `unknown dtype ""`},
		{[]Spec{{"a", F32, []int{-1}}}, nil, "negative dimension"},
		{[]Spec{{"a", F32, []int{1 << 40, 1 << 40}}}, nil, "overflows"},
		{[]Spec{{"a", U8, []int{1 << 59}}, {"b", U8, []int{1 << 62}}}, nil, "overflows"},
		{[]Spec{{"a", F32, make([]int, 33)}}, nil, "33 dimensions"},
		{[]Spec{{"a\xff", F32, nil}}, nil, "not valid UTF-8"},
		{[]Spec{a, {"b", "X", nil}, {"c", "Y", nil}}, nil, "unknown dtype \"X\"\ntensor \"c\""},
		{[]Spec{a}, map[string]string{"format": "np"}, `always "pt"`},
		{[]Spec{a}, map[string]string{"k": "\xff"}, "not valid UTF-8"},
		{make([]Spec, maxTensors+1), nil, "65537 tensors"},
		{[]Spec{a}, map[string]string{"k": strings.Repeat("x", maxHeader)}, "the format allows"},
	} {
		disk := storagetest.NewDisk()
		_, err := Create(disk, "x", test.specs, test.metadata)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v; want %q", few(namesOf(test.specs)), err, test.want)
		}
		if len(disk.Files()) != 0 {
			t.Errorf("left %d files", len(disk.Files()))
		}
	}
	if _, err := Create(storage.OS, filepath.Join(t.TempDir(), "absent", "x"), []Spec{a}, nil); err == nil {
		t.Error("created in a directory that does not exist")
	}
}

func namesOf(specs []Spec) (names []string) {
	for _, spec := range specs {
		names = append(names, spec.Name)
	}
	return names
}

func TestWriterMisuse(t *testing.T) {
	specs := []Spec{{"a", F32, []int{2}}, {"b", F32, []int{1}}}
	cause := errors.New("source failed")
	for name, test := range map[string]struct {
		use  func(w *Writer) error
		want string
	}{
		"wrong order":  {func(w *Writer) error { return w.Write("b", make([]byte, 4)) }, "the next tensor is a"},
		"too short":    {func(w *Writer) error { return w.Write("a", make([]byte, 7)) }, "1 of its 8 bytes were not written"},
		"too long":     {func(w *Writer) error { return w.Write("a", make([]byte, 9)) }, "1 bytes more than the tensor has"},
		"source fails": {func(w *Writer) error { return w.WriteTensor("a", func(io.Writer) error { return cause }) }, "source failed"},
		"one too many": {func(w *Writer) error {
			return errors.Join(w.Write("a", make([]byte, 8)), w.Write("b", make([]byte, 4)), w.Write("c", nil))
		}, "all tensors are written already"},
		"unfinished": {func(w *Writer) error { return errors.Join(w.Write("a", make([]byte, 8)), w.Close()) }, "closed with 1 of 2 tensors written"},
	} {
		disk := storagetest.NewDisk()
		w, err := Create(disk, "x", specs, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = test.use(w)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), " x") {
			t.Errorf("%s: %v; want %q", name, err, test.want)
		}
		if name == "source fails" && !errors.Is(err, cause) {
			t.Errorf("the cause is lost: %v", err)
		}
		if err := w.Write("a", make([]byte, 8)); err == nil {
			t.Errorf("%s: the error did not stick", name)
		}
		if err := w.Close(); err == nil || len(disk.Files()) != 0 {
			t.Errorf("%s: Close %v, files %v", name, err, disk.Files())
		}
	}
}

func TestWriterNoSpace(t *testing.T) {
	disk := storagetest.NewDisk()
	w, err := Create(&storagetest.Faulty{FS: disk, Space: 1000}, "x", []Spec{{"a", U8, []int{4 << 20}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write("a", make([]byte, 4<<20)), w.Close()); !errors.Is(err, syscall.ENOSPC) || len(disk.Files()) != 0 {
		t.Errorf("%v, files %v", err, len(disk.Files()))
	}
}
