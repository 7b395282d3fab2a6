package checkpoint

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/checkpoint/storage"
)

// TestFilesThatContradictEachOther: one tensor in two files, each of which holds all of it.
func TestFilesThatContradictEachOther(t *testing.T) {
	for name, c := range map[string]struct {
		other safetensors.Spec
		want  string
	}{
		"another type":  {safetensors.Spec{Name: "a", DType: safetensors.BF16, Shape: []int{2}}, "F32 of shape [2] along dimension 0 in one file, BF16"},
		"another shape": {safetensors.Spec{Name: "a", DType: safetensors.F32, Shape: []int{3}}, "of shape [3] along dimension 0 in another"},
		"the same":      {safetensors.Spec{Name: "a", DType: safetensors.F32, Shape: []int{2}}, "rows"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var paths []string
			for file, spec := range map[string]safetensors.Spec{"1.safetensors": {Name: "a", DType: safetensors.F32, Shape: []int{2}}, "2.safetensors": c.other} {
				path := filepath.Join(dir, file)
				w, err := safetensors.Create(storage.OS, path, []safetensors.Spec{spec}, nil)
				if err != nil {
					t.Fatal(err)
				}
				size, _ := spec.Bytes()
				if err := w.Write("a", make([]byte, size)); err != nil {
					t.Fatal(err)
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				paths = append(paths, path)
			}
			slices.Sort(paths)
			src, err := openSegments(paths)
			if err == nil {
				src.close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), "tensor a: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}
