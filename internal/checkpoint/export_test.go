package checkpoint_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/cpu"
	"alfred/internal/checkpoint"
	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/checkpoint/storage/storagetest"
	"alfred/internal/collective"
	"alfred/internal/falcon"
	"alfred/internal/mesh"
	"alfred/internal/tensor"
)

// TestExport: what comes out of any checkpoint is a plain directory that holds, bit for bit, what the original held; configuration
// without code, tokenizer files byte for byte.
func TestExport(t *testing.T) {
	assets := t.TempDir()
	writeFile(t, filepath.Join(assets, "tokenizer.json"), words(map[string]int{"<pad>": 4}))
	writeFile(t, filepath.Join(assets, "special_tokens_map.json"), "{ \"eos_token\":  \"<|endoftext|>\"}\n")
	writeFile(t, filepath.Join(assets, "notes.txt"), "not the tokenizer's")
	for _, form := range forms {
		for _, size := range []int{1, 2} {
			run := t.TempDir()
			layout := mesh.Mesh{Tensor: size, Data: 1, Pipeline: 1}
			original, err := checkpoint.OpenModel(golden(form))
			if err != nil {
				t.Fatal(err)
			}
			err = ranks(layout, func(world, group collective.Group, _ mesh.Coord) error {
				tr, err := newTrainee(cpu.New(1), original.Config, tensor.Float32, group, nil)
				if err := errors.Join(err, original.Load(tr.stream, tr.store)); err != nil {
					return err
				}
				snap := snapshot(10, tr)
				if snap.Assets, err = checkpoint.TokenizerFiles(assets); err != nil {
					return err
				}
				_, err = (&checkpoint.Saver{FS: quickOS, Dir: filepath.Join(run, "checkpoints"), Mesh: layout, World: world}).Save(tr.stream, snap)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			original.Close()
			m, err := checkpoint.OpenModel(run)
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "new", "model")
			warnings, err := checkpoint.Export(nil, m, out, tensor.Invalid)
			if err != nil || len(warnings) > 0 {
				t.Fatalf("warnings %q, %v", warnings, err)
			}
			want, got := readAll(t, golden(form)), readAll(t, out)
			if len(want) != len(got) {
				t.Errorf("%s: %d tensors, want %d", form, len(got), len(want))
			}
			for name, b := range want {
				if g := got[name]; g.dtype != b.dtype || !slices.Equal(g.shape, b.shape) || string(g.data) != string(b.data) {
					t.Errorf("%s, tensor size %d: %s differs", form, size, name)
				}
			}
			files := tree(t, out)
			for _, name := range []string{"tokenizer.json", "special_tokens_map.json"} {
				if files[name] != tree(t, assets)[name] {
					t.Errorf("%s: %s differs", form, name)
				}
			}
			if _, ok := files["notes.txt"]; ok || strings.Contains(files["config.json"], "auto_map") {
				t.Errorf("%s: config %s, notes %v", form, files["config.json"], ok)
			}
			if score := m.Config.Head == falcon.SequenceClassification; score == strings.Contains(files["config.json"], `"pad_token_id": null`) {
				t.Errorf("%s: config %s", form, files["config.json"])
			} else if _, ok := files["generation_config.json"]; ok == score {
				t.Errorf("%s: generation_config.json there: %v", form, ok)
			}
			again, err := checkpoint.OpenModel(out)
			if err != nil {
				t.Fatal(err)
			}
			again.Close()
			if _, err := checkpoint.Export(nil, m, out, tensor.Invalid); err == nil || !strings.Contains(err.Error(), "not empty") {
				t.Errorf("exported over a model: %v", err)
			}
			m.Close()
		}
	}
}

// TestExportPrecision converts with one rounding, and says so in the configuration.
func TestExportPrecision(t *testing.T) {
	m, err := checkpoint.OpenModel(golden("form-rw"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out := filepath.Join(t.TempDir(), "empty")
	if err := os.Mkdir(out, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.Export(nil, m, out, tensor.BFloat16); err != nil {
		t.Fatal(err)
	}
	for name, b := range readAll(t, golden("form-rw")) {
		want := make([]byte, len(b.data)/2)
		backend.Raw(tensor.Float32, b.data).Encode(want, tensor.BFloat16)
		if got := readAll(t, out)[name]; got.dtype != safetensors.BF16 || string(got.data) != string(want) {
			t.Errorf("%s differs", name)
		}
	}
	again, err := checkpoint.OpenModel(out)
	if err != nil || again.Config.DType != "bfloat16" {
		t.Errorf("%+v, %v", again, err)
	}
	again.Close()
}

// TestExportOfFloat16 gives float32, which holds it exactly; the other tensors stay as they are.
func TestExportOfFloat16(t *testing.T) {
	all := readAll(t, golden("form-7b"))
	all[falcon.FinalNormBiasName] = blob{safetensors.F16, []int{48}, bytes.Repeat([]byte{5, 0x3c}, 48)}
	low := make([]byte, 96)
	backend.Raw(tensor.Float32, all[falcon.FinalNormWeightName].data).Encode(low, tensor.BFloat16)
	all[falcon.FinalNormWeightName] = blob{safetensors.BF16, []int{48}, low}
	m, err := checkpoint.OpenModel(all.write(t, goldenConfig("form-7b"), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out := filepath.Join(t.TempDir(), "out")
	if _, err := checkpoint.Export(quickOS, m, out, tensor.Invalid); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 4*48)
	for i := range 48 {
		copy(want[4*i:], []byte{0, 0xa0, 0x80, 0x3f}) // 1 + 5/1024
	}
	all[falcon.FinalNormBiasName] = blob{safetensors.F32, []int{48}, want}
	for name, got := range readAll(t, out) {
		if b := all[name]; got.dtype != b.dtype || string(got.data) != string(b.data) {
			t.Errorf("%s differs", name)
		}
	}
}

// TestExportFails at every operation: nothing is left, except a whole model when only the last sync failed.
func TestExportFails(t *testing.T) {
	m, err := checkpoint.OpenModel(golden("form-rw-reward"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for k := 1; ; k++ {
		dir := t.TempDir()
		fault := &storagetest.Faulty{FS: quickOS, FailAt: k}
		_, err := checkpoint.Export(fault, m, filepath.Join(dir, "out"), tensor.Invalid)
		if fault.Ops() < k {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		if !errors.Is(err, checkpoint.ErrStorage) {
			t.Errorf("operation %d (%s): %v", k, fault.Trace()[k-1], err)
		}
		switch left := names(t, dir); {
		case len(left) == 0:
		case slices.Equal(left, []string{"out"}) && k == fault.Ops()-1: // and then RemoveAll of what is gone
			readAll(t, filepath.Join(dir, "out"))
		default:
			t.Errorf("operation %d (%s) left %v", k, fault.Trace()[k-1], left)
		}
	}
}
