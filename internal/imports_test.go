package internal_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// layers is the architecture: a package imports only packages of lower layers. See README.md in this folder.
var layers = map[string]int{
	"config": 0, "tensor": 0, "mesh": 0, "ppo": 0, "random": 0, "rundir": 0, "tokenizer": 0, "telemetry": 0, "eval/python": 0, "dataset/packed": 0,
	"backend": 1, "dataset/source": 1, "eval/document": 1, "eval/metric": 1, "eval/jinja": 1, "checkpoint/storage": 1,
	"dataset": 2, "collective": 2, "param": 2, "checkpoint/safetensors": 2,
	"backend/reference": 2, "backend/cpu": 2, "backend/dry": 2, "eval/official": 2,
	"backend/backendtest": 3, "checkpoint/storage/storagetest": 2, "checkpoint/safetensors/goldentest": 3, "collective/inproc": 3,
	"eval/task": 3, "nn": 3, "optim": 3, "collective/collectivetest": 4,
	"falcon": 4, "pipeline": 4,
	"checkpoint": 5,
	"rollout":    6,
	"reward":     7,
	"eval":       8,
	"eval/local": 9,
	"rlhf":       9,
	"demo":       10,
}

func TestImportsPointDownwards(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	const prefix = "alfred/internal/"
	seen := map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(p.ImportPath, prefix)
		if !ok {
			continue
		}
		seen[name] = true
		layer, ok := layers[name]
		if !ok {
			t.Errorf("%s has no layer: give it one here and in README.md", name)
			continue
		}
		for _, imported := range p.Imports {
			if below, ok := strings.CutPrefix(imported, prefix); ok && layers[below] >= layer {
				t.Errorf("%s (layer %d) imports %s (layer %d)", name, layer, below, layers[below])
			}
		}
	}
	for name := range layers {
		if !seen[name] {
			t.Errorf("%s has a layer and does not exist", name)
		}
	}
}
