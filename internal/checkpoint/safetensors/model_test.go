package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"alfred/internal/checkpoint/storage"

	"golang.org/x/sys/unix"
)

var modelSpecs = []Spec{
	{"transformer.word_embeddings.weight", F32, []int{10, 4}},
	{"transformer.h.0.mlp.dense_h_to_4h.weight", F32, []int{16, 4}},
	{"transformer.ln_f.weight", BF16, []int{4}},
	{"transformer.ln_f.bias", BF16, []int{4}},
}

// contentOf gives a tensor data that differ from every other's and are finite.
func contentOf(spec Spec) []byte {
	size, _ := spec.Bytes()
	return bytes.Repeat([]byte{byte(len(spec.Name))}, int(size))
}

func fetchContent(spec Spec, to io.Writer) error {
	_, err := to.Write(contentOf(spec))
	return err
}

// writeTestModel writes the model in three shards: 160 + 256 + 16 bytes.
func writeTestModel(t *testing.T, shardBytes int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := WriteModel(storage.OS, dir, modelSpecs, shardBytes, fetchContent); err != nil {
		t.Fatal(err)
	}
	return dir
}

func checkTestModel(t *testing.T, dir string) *Model {
	t.Helper()
	m, err := OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if len(m.Names()) != len(modelSpecs) {
		t.Fatalf("tensors %v", m.Names())
	}
	for _, spec := range modelSpecs {
		entry, ok := m.Tensor(spec.Name)
		if !ok || entry.DType != spec.DType || !slices.Equal(entry.Shape, spec.Shape) || !bytes.Equal(entry.Data(), contentOf(spec)) {
			t.Errorf("%s: %+v", spec.Name, entry)
		}
	}
	if err := errors.Join(m.CheckFinite(), m.Check(modelSpecs)); err != nil {
		t.Error(err)
	}
	return m
}

func listDir(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestModelRoundTrip(t *testing.T) {
	three := []string{"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors", indexName}
	for shardBytes, want := range map[int64][]string{0: {singleName}, 432: {singleName}, 431: {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", indexName}, 256: three, 200: three} {
		dir := writeTestModel(t, shardBytes)
		if got := listDir(t, dir); !slices.Equal(got, want) {
			t.Errorf("shards of %d bytes: %v, want %v", shardBytes, got, want)
		}
		if m := checkTestModel(t, dir); len(m.Warnings) != 0 || m.Size() != 432 || m.Dir() != dir {
			t.Errorf("warnings %v, size %d", m.Warnings, m.Size())
		}
	}
}

func TestOfficialModel(t *testing.T) {
	m, err := OpenModel("testdata/golden/sharded")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if len(m.Warnings) != 0 || len(m.Files()) != 3 || m.Size() != 712 {
		t.Errorf("warnings %v, %d files, %d bytes", m.Warnings, len(m.Files()), m.Size())
	}
	entry, _ := m.Tensor("d.weight")
	got := make([]float32, 4)
	if err := entry.Float32(got, Range{3, 5}, Range{8, 10}); err != nil || !slices.Equal(got, []float32{76, 78, 96, 98}) {
		t.Errorf("rows 3-4, columns 8-9 of d.weight: %v, %v", got, err)
	}
}

// edit changes the index of a model of three shards.
func edit(change func(weights map[string]string)) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, indexName)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var index struct {
			Metadata map[string]int    `json:"metadata"`
			Weights  map[string]string `json:"weight_map"`
		}
		if err := json.Unmarshal(text, &index); err != nil {
			t.Fatal(err)
		}
		change(index.Weights)
		text, _ = json.Marshal(index)
		if err := os.WriteFile(path, text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	shard1 = "model-00001-of-00003.safetensors"
	shard2 = "model-00002-of-00003.safetensors"
	shard3 = "model-00003-of-00003.safetensors"
)

func TestOpenModelRefuses(t *testing.T) {
	toShard2 := func(name string) func(t *testing.T, dir string) {
		return edit(func(w map[string]string) { w["transformer.h.0.mlp.dense_h_to_4h.weight"] = name })
	}
	index := func(text string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, indexName), []byte(text), 0o666))
		}
	}
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   []string
	}{
		{"missing shards", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, shard1)))
			must(t, os.Remove(filepath.Join(dir, shard3)))
		}, []string{"shard " + shard1 + " is missing", "shard " + shard3 + " is missing"}},
		{"broken shard", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, shard2), 200)) },
			[]string{shard2 + ": the tensors need 256 bytes"}},
		{"tensor absent from its shard", edit(func(w map[string]string) { w["transformer.extra"] = shard2 }),
			[]string{`tensor "transformer.extra": the index places it in ` + shard2 + ", which does not hold it"}},
		{"tensor not in the index", edit(func(w map[string]string) { delete(w, "transformer.ln_f.bias") }),
			[]string{`tensor "transformer.ln_f.bias": in ` + shard3 + ", but not in the index"}},
		{"tensor in another shard", edit(func(w map[string]string) { w["transformer.ln_f.bias"] = shard1 }),
			[]string{`tensor "transformer.ln_f.bias": in ` + shard3 + ", but the index places it in " + shard1}},
		{"tensor in two shards", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, shard2)))
			must(t, WriteModel(storage.OS, filepath.Join(dir, "sub"), modelSpecs[:2], 0, fetchContent))
			must(t, os.Rename(filepath.Join(dir, "sub", singleName), filepath.Join(dir, shard2)))
		}, []string{`tensor "transformer.word_embeddings.weight": in ` + shard2 + ", but the index places it in " + shard1}},
		{"tensor twice in the index", index(`{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}`),
			[]string{`tensor "a" appears twice, in "x.safetensors" and in "y.safetensors"`}},
		{"parent directory", toShard2("../model.safetensors"), []string{"not a plain file name", "dense_h_to_4h"}},
		{"absolute path", toShard2("/etc/passwd"), []string{`shard name "/etc/passwd" is not a plain file name`}},
		{"subdirectory", toShard2("sub/x.safetensors"), []string{"not a plain file name"}},
		{"backslash", toShard2(`..\x.safetensors`), []string{"not a plain file name"}},
		{"dots", toShard2(`..`), []string{"not a plain file name"}},
		{"no name", toShard2(``), []string{"not a plain file name"}},
		{"pickle shard", toShard2("pytorch_model-00001-of-00002.bin"), []string{"never read"}},
		{"other file", toShard2("config.json"), []string{"does not end in .safetensors"}},
		{"directory as shard", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, shard2)))
			must(t, os.Mkdir(filepath.Join(dir, shard2), 0o777))
		}, []string{shard2 + ": is a directory"}},
		{"pipe as shard", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, shard2)))
			must(t, unix.Mkfifo(filepath.Join(dir, shard2), 0o666))
		}, []string{shard2 + ": is not a regular file"}},
		{"pipe as index", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, indexName)))
			must(t, unix.Mkfifo(filepath.Join(dir, indexName), 0o666))
		}, []string{indexName + ": is not a regular file"}},
		{"huge index", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, indexName), maxIndex+1)) },
			[]string{"33554433 bytes; at most"}},
		{"link out of the directory", func(t *testing.T, dir string) {
			outside := filepath.Join(t.TempDir(), shard2)
			must(t, os.Rename(filepath.Join(dir, shard2), outside))
			must(t, os.Symlink(outside, filepath.Join(dir, shard2)))
		}, []string{shard2, "a symbolic link", "cp -rL"}},
		{"relative link out of the directory", func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, shard2), filepath.Join(dir, "..", "outside")))
			must(t, os.Symlink("../outside", filepath.Join(dir, shard2)))
		}, []string{shard2, "a symbolic link"}},
		{"single and index", func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, singleName), build("{}", 0), 0o666))
		}, []string{"both model.safetensors and model.safetensors.index.json", "out of date"}},
		{"index: empty file", index(""), []string{"expected '{', found the end"}},
		{"index: list", index("[]"), []string{"expected '{', found '['"}},
		{"index: no weight_map", index(`{"metadata":{}}`), []string{`"weight_map" is missing`}},
		{"index: empty weight_map", index(`{"weight_map":{}}`), []string{`"weight_map" is empty`}},
		{"index: weight_map twice", index(`{"weight_map":{"a":"x.safetensors"},"weight_map":{"a":"y.safetensors"}}`), []string{`"weight_map" appears twice`}},
		{"index: number as shard", index(`{"weight_map":{"a":1}}`), []string{`tensor "a": byte 19`}},
		{"index: deep", index(`{"x":` + strings.Repeat("[", 1<<20)), []string{"nested too deeply"}},
		{"index: deep metadata", index(`{"metadata":{"x":` + strings.Repeat(`{"a":`, 1<<20)), []string{"nested too deeply"}},
		{"index: rest", index(`{"weight_map":{"a":"x.safetensors"}} x`), []string{"expected the end"}},
		{"index: not JSON", index(`{"x":nul}`), []string{"expected a value"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "model")
			must(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o777))
			must(t, WriteModel(storage.OS, dir, modelSpecs, 200, fetchContent))
			test.change(t, dir)
			m, err := OpenModel(dir)
			if err == nil {
				m.Close()
				t.Fatal("opened")
			}
			for _, want := range append(test.want, dir) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q:\n%v", want, err)
				}
			}
		})
	}
}

func TestOpenModelLinks(t *testing.T) {
	// A link within the directory is fine, and so is a link to the directory.
	dir := writeTestModel(t, 200)
	must(t, os.Rename(filepath.Join(dir, shard2), filepath.Join(dir, "elsewhere")))
	must(t, os.Symlink("elsewhere", filepath.Join(dir, shard2)))
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(dir, link))
	checkTestModel(t, link)

	// In a Hugging Face cache every file of a snapshot is a link to a blob of the same repository.
	repository := filepath.Join(t.TempDir(), "models--tiiuae--falcon")
	snapshot := filepath.Join(repository, "snapshots", "abc")
	must(t, os.MkdirAll(snapshot, 0o777))
	must(t, os.Mkdir(filepath.Join(repository, "blobs"), 0o777))
	source := writeTestModel(t, 200)
	for _, name := range listDir(t, source) {
		must(t, os.Rename(filepath.Join(source, name), filepath.Join(repository, "blobs", "blob-of-"+name)))
		must(t, os.Symlink("../../blobs/blob-of-"+name, filepath.Join(snapshot, name)))
	}
	checkTestModel(t, snapshot)
	outside := filepath.Join(repository, "..", shard1)
	must(t, os.Rename(filepath.Join(repository, "blobs", "blob-of-"+shard1), outside))
	must(t, os.Remove(filepath.Join(snapshot, shard1)))
	must(t, os.Symlink("../../../"+shard1, filepath.Join(snapshot, shard1)))
	if _, err := OpenModel(snapshot); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a link out of the cache: %v", err)
	}
}

func TestOpenModelWarns(t *testing.T) {
	dir := writeTestModel(t, 200)
	path := filepath.Join(dir, indexName)
	text, _ := os.ReadFile(path)
	must(t, os.WriteFile(path, bytes.Replace(text, []byte("432"), []byte("433"), 1), 0o666))
	must(t, os.WriteFile(filepath.Join(dir, "consolidated.safetensors"), build("{}", 0), 0o666))
	m := checkTestModel(t, dir)
	if len(m.Warnings) != 2 || !strings.Contains(m.Warnings[0], "total_size is 433, but the tensors have 432 bytes") || !strings.Contains(m.Warnings[1], "consolidated.safetensors is not named") {
		t.Errorf("warnings %q", m.Warnings)
	}
	for _, size := range []string{"432.0", `"432"`, "null", "-1"} { // of no meaning to us, and found in the wild
		must(t, os.WriteFile(path, bytes.Replace(text, []byte("432"), []byte(size), 1), 0o666))
		checkTestModel(t, dir)
	}
}

func TestOpenModelWithoutWeights(t *testing.T) {
	for _, test := range []struct {
		files  []string
		want   []string
		pickle bool
	}{
		{nil, []string{"neither model.safetensors nor"}, false},
		{[]string{"config.json"}, []string{"neither model.safetensors nor"}, false},
		{[]string{"pytorch_model.bin"}, []string{"pytorch_model.bin", "run code when loaded", "save_pretrained", "-safetensors"}, true},
		{[]string{"a.pt", "b.PTH", "c.ckpt", "d.pkl"}, []string{"a.pt, b.PTH, c.ckpt, d.pkl", "never read"}, true},
		{[]string{"1.bin", "2.bin", "3.bin", "4.bin", "5.bin", "6.bin", "7.bin", "modelling_RW.py"}, []string{"5.bin and 2 more"}, true},
		{[]string{"adapter_model.safetensors", "x.bin"}, []string{"adapter_model.safetensors cannot be told"}, false},
	} {
		dir := t.TempDir()
		for _, name := range test.files {
			must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o666))
		}
		_, err := OpenModel(dir)
		if errors.Is(err, ErrPickle) != test.pickle {
			t.Errorf("%v: %v", test.files, err)
		}
		for _, want := range append(test.want, dir) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v; want %q", test.files, err, want)
			}
		}
	}
	for path, want := range map[string]string{"pytorch_model.bin": "never read", "model.safetensors": "not a directory: name the one that holds"} {
		path = writeFile(t, path, []byte("x"))
		if _, err := OpenModel(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := OpenModel(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent directory: %v", err)
	}
}
