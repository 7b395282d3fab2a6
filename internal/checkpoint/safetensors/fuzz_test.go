package safetensors

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func addFiles(f *testing.F, pattern string) {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		f.Fatalf("no files %s: %v", pattern, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

// FuzzOpen opens any bytes. What is accepted must read the same with encoding/json, its tensors must tile the data,
// and every operation on them must work.
func FuzzOpen(f *testing.F) {
	addFiles(f, "testdata/golden/dtypes.safetensors")
	addFiles(f, "testdata/golden/sharded/*.safetensors")
	f.Add(build(`{"a":{"dtype":"F6_E2M3","shape":[2,4],"data_offsets":[0,6]},"\u00e9":{"dtype":"BF16","shape":[0],"data_offsets":[6,6]}}`, 6))
	f.Add(build(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   `, 4))
	path := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := parseHeader(data); err != nil {
			return // most inputs, and no need to write them to a file
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		file, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var members map[string]json.RawMessage
		if err := json.Unmarshal(data[8:file.header.size], &members); err != nil {
			t.Fatalf("accepted, but encoding/json says %v", err)
		}
		delete(members, metadataKey)
		if len(members) != len(file.Names()) {
			t.Fatalf("%d tensors, encoding/json has %d", len(file.Names()), len(members))
		}
		var tiled []byte
		for _, name := range file.Names() {
			var want struct {
				DType   DType    `json:"dtype"`
				Shape   []int    `json:"shape"`
				Offsets [2]int64 `json:"data_offsets"`
			}
			if err := json.Unmarshal(members[name], &want); err != nil {
				t.Fatal(err)
			}
			entry, ok := file.Tensor(name)
			if !ok || entry.DType != want.DType || !slices.Equal(entry.Shape, want.Shape) || entry.begin != want.Offsets[0] || entry.end != want.Offsets[1] {
				t.Fatalf("%q: %+v, encoding/json has %+v", name, entry, want)
			}
			whole := make([]byte, entry.Size())
			if err := entry.Read(whole, entry.Rows(), entry.Cols()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(whole, entry.Data()) {
				t.Fatalf("%q: Read and Data differ", name)
			}
			tiled = append(tiled, whole...)
			entry.CheckFinite() // may find something, must not panic
			values := make([]float32, entry.NumElements())
			entry.Float32(values, entry.Rows(), entry.Cols())
		}
		if !slices.Equal(tiled, data[file.header.size:]) {
			t.Fatal("the tensors do not tile the data")
		}
	})
}

// FuzzIndex parses any bytes as an index. What is accepted must read the same with encoding/json and name only plain
// files.
func FuzzIndex(f *testing.F) {
	addFiles(f, "testdata/golden/sharded/*.json")
	f.Add([]byte(`{"x":[1,-2.5e3,true,null,{"y":"\n"}],"weight_map":{"a":"b.safetensors"},"metadata":{"total_size":1.0}}`))
	f.Add([]byte(`{"weight_map":{"a":"../b.safetensors"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ix, err := parseIndex(data)
		if err != nil {
			return
		}
		var want struct {
			WeightMap map[string]string `json:"weight_map"`
		}
		var exact map[string]json.RawMessage // encoding/json matches struct fields without regard to case
		if err := json.Unmarshal(data, &exact); err != nil {
			t.Fatalf("accepted, but encoding/json says %v", err)
		}
		if err := json.Unmarshal(exact["weight_map"], &want.WeightMap); err != nil {
			t.Fatalf("accepted, but encoding/json says %v", err)
		}
		if len(want.WeightMap) != len(ix.names) {
			t.Fatalf("%d tensors, encoding/json has %d", len(ix.names), len(want.WeightMap))
		}
		for name, shard := range want.WeightMap {
			if ix.shardOf[name] != shard {
				t.Errorf("%q in %q, encoding/json has %q", name, ix.shardOf[name], shard)
			}
			if filepath.Base(shard) != shard || filepath.IsAbs(shard) || filepath.Ext(shard) != extension {
				t.Errorf("accepted the shard name %q", shard)
			}
		}
	})
}
