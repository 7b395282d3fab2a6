package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"alfred/internal/checkpoint/storage"
	"alfred/internal/checkpoint/storage/storagetest"
)

func TestModelCheck(t *testing.T) {
	m := checkTestModel(t, writeTestModel(t, 200))
	want := slices.Clone(modelSpecs)
	want[0].Shape = []int{4, 10}
	want[1].DType = BF16
	want[2].Name = "transformer.ln_f.gain"
	err := m.Check(want)
	for _, part := range []string{
		"check model " + m.Dir(),
		"tensor transformer.word_embeddings.weight of " + shard1 + " has shape [10 4], not [4 10]",
		"tensor transformer.h.0.mlp.dense_h_to_4h.weight of " + shard2 + " has type F32, not BF16",
		"tensor transformer.ln_f.gain [4] is missing",
		"tensor transformer.ln_f.weight [4] of " + shard3 + " does not belong to this model",
	} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("lacks %q: %v", part, err)
		}
	}
	anyType := slices.Clone(modelSpecs)
	for i := range anyType {
		anyType[i].DType = ""
	}
	head := Spec{"lm_head.weight", "", []int{10, 4}}
	if err := m.Check(anyType, head); err != nil {
		t.Errorf("an optional tensor that is absent: %v", err)
	}
	if err := m.Check(anyType[:3], anyType[3], head); err != nil {
		t.Errorf("an optional tensor that is present: %v", err)
	}
	if err := m.Check(anyType[:3], Spec{anyType[3].Name, "", []int{5}}); err == nil || !strings.Contains(err.Error(), "has shape [4], not [5]") {
		t.Errorf("an optional tensor of another shape: %v", err)
	}

	dir := t.TempDir()
	integers := Spec{"a", I32, []int{1}}
	must(t, WriteModel(storage.OS, dir, []Spec{integers}, 0, fetchContent))
	m, err = OpenModel(dir)
	must(t, err)
	defer m.Close()
	if err := m.Check([]Spec{{"a", "", []int{1}}}); err == nil || !strings.Contains(err.Error(), "I32 is no type for weights") {
		t.Errorf("integers as weights: %v", err)
	}
	if err := m.Check([]Spec{integers}); err != nil {
		t.Errorf("integers where integers are wanted: %v", err)
	}
}

func TestModelCheckFinite(t *testing.T) {
	dir := t.TempDir()
	must(t, WriteModel(storage.OS, dir, modelSpecs, 200, func(spec Spec, to io.Writer) error {
		data := contentOf(spec)
		switch spec.Name {
		case "transformer.h.0.mlp.dense_h_to_4h.weight":
			binary.LittleEndian.PutUint32(data[4*13:], math.Float32bits(float32(math.Inf(-1))))
			binary.LittleEndian.PutUint32(data[4*15:], 0x7fc00000)
		case "transformer.ln_f.bias":
			binary.LittleEndian.PutUint16(data[2:], 0x7fc0)
		}
		_, err := to.Write(data)
		return err
	}))
	m, err := OpenModel(dir)
	must(t, err)
	defer m.Close()
	err = m.CheckFinite()
	for _, want := range []string{
		"tensor transformer.h.0.mlp.dense_h_to_4h.weight of " + filepath.Join(dir, shard2) + ": 2 of 64 elements are NaN or infinite, the first at [3 1]",
		"tensor transformer.ln_f.bias of " + filepath.Join(dir, shard3) + ": 1 of 4 elements are NaN or infinite, the first at [1]",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q: %v", want, err)
		}
	}
	if err := m.CheckFinite("transformer.ln_f.weight"); err != nil {
		t.Error(err)
	}
	if err := m.CheckFinite("absent"); err == nil || !strings.Contains(err.Error(), "no such tensor") {
		t.Errorf("absent tensor: %v", err)
	}
}

func TestWriteModelRefuses(t *testing.T) {
	a := Spec{"a", F32, []int{1}}
	for _, test := range []struct {
		specs []Spec
		shard int64
		want  string
	}{
		{nil, 0, "no tensors"},
		{[]Spec{a}, -1, "shards of -1 bytes"},
		{[]Spec{a, a}, 1, `tensor "a": name is taken`},
		{[]Spec{a, {"b", "F31", nil}}, 0, `tensor "b": unknown dtype`},
		{[]Spec{{"a", U8, []int{1 << 59}}, {"b", U8, []int{1 << 59}}, {"__metadata__", U8, nil}}, 0, `"__metadata__": name is taken`},
	} {
		disk := storagetest.NewDisk()
		if err := WriteModel(disk, ".", test.specs, test.shard, fetchContent); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v; want %q", namesOf(test.specs), err, test.want)
		}
		if len(disk.Files()) != 0 {
			t.Errorf("left %v", disk.Files())
		}
	}
	dir := writeTestModel(t, 200)
	before := listDir(t, dir)
	if err := WriteModel(storage.OS, dir, modelSpecs, 0, fetchContent); err == nil || !strings.Contains(err.Error(), shard1+" is there already") {
		t.Errorf("over another model: %v", err)
	}
	if got := listDir(t, dir); !slices.Equal(got, before) {
		t.Errorf("directory changed: %v", got)
	}
	if err := WriteModel(storage.OS, filepath.Join(dir, "absent"), modelSpecs, 0, fetchContent); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent directory: %v", err)
	}
}

// Whatever operation fails, with or without a power failure after it, the directory opens as the whole model or not
// at all; without a power failure, and if only one operation failed, no weights are left behind.
func TestWriteModelFailsAtEveryOperation(t *testing.T) {
	for _, mode := range []struct{ sticky, effect bool }{{false, false}, {true, false}, {false, true}} {
		k := 1
		for ; ; k++ {
			disk := storagetest.NewDisk()
			faulty := &storagetest.Faulty{FS: disk, FailAt: k, Sticky: mode.sticky, Effect: mode.effect}
			err := WriteModel(faulty, ".", modelSpecs, 200, fetchContent)
			done := faulty.Ops() < k
			if done != (err == nil) || !done && !errors.Is(err, syscall.EIO) {
				t.Fatalf("%+v, operation %d: %v\n%s", mode, k, err, strings.Join(faulty.Trace(), "\n"))
			}
			if files := disk.Files(); !done && !mode.sticky && !mode.effect && len(files) > 0 {
				t.Errorf("operation %d left %d files", k, len(files))
			}
			opens(t, fmt.Sprintf("%+v, operation %d", mode, k), disk, done)
			for seed := range uint64(3) {
				opens(t, fmt.Sprintf("%+v, operation %d, crash %d", mode, k, seed), disk.Crash(storagetest.Some, seed), done)
			}
			opens(t, fmt.Sprintf("%+v, operation %d, crash", mode, k), disk.Crash(storagetest.Nothing, 0), done)
			opens(t, fmt.Sprintf("%+v, operation %d, crash with names", mode, k), disk.Crash(storagetest.Names, 0), done)
			if done {
				break
			}
		}
		if k < 20 {
			t.Errorf("only %d operations were seen", k)
		}
	}
}

func opens(t *testing.T, when string, disk *storagetest.Disk, must bool) {
	t.Helper()
	dir := t.TempDir()
	if err := disk.Dump(dir); err != nil {
		t.Fatal(err)
	}
	m, err := OpenModel(dir)
	if err != nil {
		if must {
			t.Errorf("%s: %v", when, err)
		}
		return
	}
	m.Close()
	checkTestModel(t, dir)
}
