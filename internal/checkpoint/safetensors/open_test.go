package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// build returns a file with the given header text and so many zero bytes of data.
func build(header string, data int) []byte {
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(file, header...), make([]byte, data)...)
}

func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// one returns the header of a single tensor "a" with the given members after dtype F32.
func one(members string) string { return `{"a":{"dtype":"F32",` + members + `}}` }

func TestOpenRefuses(t *testing.T) {
	length := func(n uint64, rest string) []byte { return append(binary.LittleEndian.AppendUint64(nil, n), rest...) }
	pair := func(a, b string) string {
		return fmt.Sprintf(`{"a":{"dtype":"U8","shape":[4],"data_offsets":%s},"b":{"dtype":"U8","shape":[4],"data_offsets":%s}}`, a, b)
	}
	const good = `"shape":[2],"data_offsets":[0,8]`
	for _, test := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "0 bytes are too few"},
		{"seven bytes", make([]byte, 7), "7 bytes are too few"},
		{"length 0", length(0, ""), "does not begin with {"},
		{"length 7 of 2", length(7, "{}"), "header length 7 is more than the file's 10 bytes"},
		{"length 2^63", length(1<<63, "{}"), "above the format's limit"},
		{"length 2^64-1", length(1<<64-1, "{}"), "above the format's limit"},
		{"length 2^64-8", length(1<<64-8, "{}"), "above the format's limit"},
		{"length above the limit", length(100_000_001, "{}"), "above the format's limit of 100000000"},
		{"space first", build(" {}", 0), "does not begin with {"},
		{"list", build("[]", 0), "does not begin with {"},
		{"word", build("null", 0), "does not begin with {"},
		{"unfinished", build(`{`, 0), `expected '"', found the end`},
		{"unfinished name", build(`{"a`, 0), "string without an end"},
		{"unfinished escape", build(`{"a\`, 0), "string without an end"},
		{"comma at the end", build(`{"__metadata__":{},}`, 0), `expected '"', found '}'`},
		{"text after the header", build(`{} {}`, 0), "expected the end, found '{'"},
		{"overlap", build(pair("[0,4]", "[2,6]"), 6), `tensor "b": overlaps tensor "a" by 2 bytes`},
		{"the same bytes", build(pair("[0,4]", "[0,4]"), 4), `tensor "b": overlaps tensor "a" by 4 bytes`},
		{"hole", build(pair("[0,4]", "[6,10]"), 10), `tensor "b": hole of 2 bytes between tensor "a" and it`},
		{"hole at the start", build(pair("[1,5]", "[5,9]"), 9), `tensor "a": hole of 1 bytes between the header and it`},
		{"bytes after the end", build(pair("[0,4]", "[4,8]"), 9), `1 bytes follow tensor "b"`},
		{"bytes without tensors", build(`{}`, 1), "1 bytes follow the header"},
		{"cut short", build(pair("[0,4]", "[4,8]"), 7), "the tensors need 8 bytes, the file has 7"},
		{"far beyond the end", build(one(`"shape":[1000000000],"data_offsets":[0,4000000000]`), 8), "need 4000000000 bytes, the file has 8"},
		{"negative offset", build(one(`"shape":[2],"data_offsets":[-8,0]`), 8), "expected a non-negative integer, found '-'"},
		{"fraction", build(one(`"shape":[2],"data_offsets":[0,8.0]`), 8), "a fraction or an exponent"},
		{"exponent", build(one(`"shape":[2],"data_offsets":[0,8e0]`), 8), "a fraction or an exponent"},
		{"text offset", build(one(`"shape":[2],"data_offsets":[0,"8"]`), 8), "expected a non-negative integer"},
		{"leading zero", build(one(`"shape":[02],"data_offsets":[0,8]`), 8), "leading zero"},
		{"offset 2^63", build(one(`"shape":[2],"data_offsets":[0,9223372036854775808]`), 8), "integer overflows"},
		{"offset 10^30", build(one(`"shape":[2],"data_offsets":[0,1000000000000000000000000000000]`), 8), "integer overflows"},
		{"reversed offsets", build(one(`"shape":[2],"data_offsets":[8,0]`), 8), "not a begin and an end"},
		{"one offset", build(one(`"shape":[2],"data_offsets":[8]`), 8), "not a begin and an end"},
		{"three offsets", build(one(`"shape":[2],"data_offsets":[0,8,8]`), 8), "more than 2 numbers"},
		{"shape product 2^64", build(one(`"shape":[4294967296,4294967296],"data_offsets":[0,0]`), 0), "overflows"},
		{"shape product 2^63 bits", build(one(`"shape":[288230376151711744],"data_offsets":[0,0]`), 0), "overflows"},
		{"overflow hidden by a zero", build(one(`"shape":[0,4611686018427387904,4611686018427387904],"data_offsets":[0,0]`), 0), "overflows"},
		{"negative dimension", build(one(`"shape":[-2],"data_offsets":[0,8]`), 8), "expected a non-negative integer"},
		{"nested shape", build(one(`"shape":[[2]],"data_offsets":[0,8]`), 8), "expected a non-negative integer, found '['"},
		{"33 dimensions", build(one(`"shape":[`+strings.Repeat("1,", 32)+`2],"data_offsets":[0,8]`), 8), "more than 32 numbers"},
		{"size and shape differ", build(one(`"shape":[3],"data_offsets":[0,8]`), 8), "hold 8 bytes, but shape [3] of F32 needs 12"},
		{"half a byte", build(`{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}`, 2), "does not end at a byte"},
		{"tensor twice", build(`{"a":{"dtype":"F32",`+good+`},"a":{"dtype":"F32",`+good+`}}`, 8), `"a" appears twice`},
		{"tensor twice, escaped", build(`{"a":{"dtype":"F32",`+good+`},"\u0061":{"dtype":"F32",`+good+`}}`, 8), `"a" appears twice`},
		{"metadata twice", build(`{"__metadata__":{},"__metadata__":{}}`, 0), `"__metadata__" appears twice`},
		{"metadata key twice", build(`{"__metadata__":{"k":"1","k":"2"}}`, 0), `metadata key "k" appears twice`},
		{"metadata number", build(`{"__metadata__":{"k":1}}`, 0), `metadata key "k": byte 21: expected '"', found '1'`},
		{"metadata null", build(`{"__metadata__":null}`, 0), "expected '{', found 'n'"},
		{"dtype twice", build(one(`"dtype":"F32",`+good), 8), `"dtype" appears twice`},
		{"unknown dtype", build(`{"a":{"dtype":"F128",`+good+`}}`, 8), `tensor "a": unknown dtype "F128"`},
		{"lower-case dtype", build(`{"a":{"dtype":"f32",`+good+`}}`, 8), `unknown dtype "f32"`},
		{"dtype number", build(`{"a":{"dtype":32,`+good+`}}`, 8), `expected '"', found '3'`},
		{"unknown key", build(one(good+`,"more":1`), 8), `unknown key "more"`},
		{"no dtype", build(`{"a":{`+good+`}}`, 8), `"dtype" is missing`},
		{"no shape", build(one(`"data_offsets":[0,8]`), 8), `"shape" is missing`},
		{"no offsets", build(one(`"shape":[2]`), 8), `"data_offsets" is missing`},
		{"tensor null", build(`{"a":null}`, 0), "expected '{', found 'n'"},
		{"deep tensor", build(`{"a":`+strings.Repeat(`[`, 1<<20), 0), "expected '{', found '['"},
		{"deep objects", build(strings.Repeat(`{"a":`, 1<<20), 0), `unknown key "a"`},
		{"deep shape", build(one(`"shape":`+strings.Repeat(`[`, 1<<20)), 0), "expected a non-negative integer"},
		{"deep metadata", build(`{"__metadata__":{"a":`+strings.Repeat(`{"a":`, 1<<20), 0), `expected '"', found '{'`},
		{"invalid UTF-8", build("{\"\xff\":{}}", 0), "not valid UTF-8"},
		{"control character", build("{\"a\nb\":{}}", 0), "control character"},
		{"zero byte", build("{\"a\":\x00{}}", 0), `found '\x00'`},
		{"bad escape", build(`{"\x41":{}}`, 0), "invalid escape"},
		{"short escape", build(`{"\u12":{}}`, 0), "invalid escape"},
		{"half a surrogate pair", build(`{"\ud834x":{}}`, 0), "unpaired surrogate"},
		{"low surrogate first", build(`{"\udd1e\ud834":{}}`, 0), "unpaired surrogate"},
		{"comment", build(`{/**/}`, 0), `expected '"', found '/'`},
		{"zip archive", append([]byte("PK\x03\x04"), make([]byte, 100)...), "PyTorch file"},
		{"torch file", append([]byte("PK\x03\x04\x00\x00\x08\x08"), make([]byte, 100)...), "PyTorch file"},
		{"pickle", append([]byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20"), make([]byte, 100)...), "PyTorch file"},
		{"LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"), "git lfs pull"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := writeFile(t, "model.safetensors", test.file)
			f, err := Open(path)
			if err == nil {
				f.Close()
				t.Fatalf("opened; want an error with %q", test.want)
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q; want the path and %q", err, test.want)
			}
			if isPickle := test.want == "PyTorch file"; errors.Is(err, ErrPickle) != isPickle {
				t.Errorf("errors.Is(err, ErrPickle) = %v", !isPickle)
			}
		})
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                            "is a directory",
		pipe:                           "not a regular file",
		"/dev/zero":                    "not a regular file",
		filepath.Join(dir, "absent"):   "no such file",
		filepath.Join(pipe, "absent"):  "not a directory",
		filepath.Join(dir, "a\x00.st"): "invalid argument",
	} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q): %v; want %q", path, err, want)
		}
	}
	if _, err := Open(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

func TestOpenAccepts(t *testing.T) {
	for _, test := range []struct {
		name, header string
		data         int
		names        string // in order of data
	}{
		{"no tensors", `{}`, 0, ""},
		{"metadata only", `{"__metadata__":{"format":"pt"}}`, 0, ""},
		{"spaces", "{ \"a\" :\t{ \"shape\" : [ 2 , 1 ] ,\n\"data_offsets\":[0,8],\"dtype\":\"F32\"\r} }   ", 8, "a"},
		{"order of data", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"b":{"dtype":"I16","shape":[1],"data_offsets":[0,2]}}`, 3, "b a"},
		{"scalar", `{"a":{"dtype":"F64","shape":[],"data_offsets":[0,8]}}`, 8, "a"},
		{"empty tensors", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[0,5],"data_offsets":[1,1]},"c":{"dtype":"F32","shape":[5,0],"data_offsets":[0,0]}}`, 1, "c a b"},
		{"not aligned", `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}`, 5, "a b"},
		{"escaped name", `{"\u0061\/\ud834\udd1e\"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1, "a/\U0001d11e\""},
		{"sub-byte type", `{"a":{"dtype":"F6_E2M3","shape":[2,4],"data_offsets":[0,6]}}`, 6, "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := Open(writeFile(t, "x", build(test.header, test.data)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if got := strings.Join(f.Names(), " "); got != test.names {
				t.Errorf("names %q, want %q", got, test.names)
			}
			for _, name := range f.Names() {
				entry, ok := f.Tensor(name)
				if data := entry.Data(); !ok || int64(len(data)) != entry.Size() || cap(data) != len(data) {
					t.Errorf("%s: found %v, %d bytes of data", name, ok, len(data))
				}
			}
			if _, ok := f.Tensor("absent"); ok {
				t.Error("found a tensor that is not there")
			}
		})
	}
}

func TestAllTypesAreKnown(t *testing.T) {
	for dtype, bits := range dtypeBits {
		header := fmt.Sprintf(`{"a":{"dtype":%q,"shape":[8],"data_offsets":[0,%d]}}`, dtype, bits)
		f, err := Open(writeFile(t, "x", build(header, bits)))
		if err != nil {
			t.Error(err)
			continue
		}
		f.Close()
	}
}

func TestMetadataIsACopy(t *testing.T) {
	f, err := Open(writeFile(t, "x", build(`{"__metadata__":{"format":"pt"}}`, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Metadata()["format"] = "changed"
	if got := f.Metadata()["format"]; got != "pt" {
		t.Errorf("format is %q", got)
	}
}

func TestAfterClose(t *testing.T) {
	f, err := Open(writeFile(t, "x", build(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8)))
	if err != nil {
		t.Fatal(err)
	}
	entry, _ := f.Tensor("a")
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if entry.Data() != nil {
		t.Error("Data gives bytes after Close")
	}
	if err := entry.ReadRows(make([]byte, 8), 0, 2); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("ReadRows after Close: %v", err)
	}
	if err := entry.Float32(make([]float32, 2), entry.Rows(), entry.Cols()); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Float32 after Close: %v", err)
	}
}

// A file that is cut short while it is open must give errors, not end the process.
func TestFileBecomesShorter(t *testing.T) {
	path := writeFile(t, "x", build(`{"a":{"dtype":"F32","shape":[65536],"data_offsets":[0,262144]}}`, 262144))
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, 20000); err != nil {
		t.Fatal(err)
	}
	entry, _ := f.Tensor("a")
	if err := entry.Float32(make([]float32, 65536), entry.Rows(), entry.Cols()); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("Float32: %v", err)
	}
	if err := entry.CheckFinite(); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("CheckFinite: %v", err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	err = withoutFaults(f.data, func() error {
		_, err := parseHeader(f.data)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "read error at byte 0") {
		t.Errorf("parsing a map without a file behind it: %v", err)
	}
}

// Faults elsewhere are defects of the program and must not be taken for read errors.
func TestOtherFaultsPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a nil pointer was reported as a read error")
		}
	}()
	withoutFaults(make([]byte, 8), func() error {
		var h *header
		h.size++
		return nil
	})
}
