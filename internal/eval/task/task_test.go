package task

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"alfred/internal/eval/python"
)

const shared = "../../../../shared/data/eval"

func golden(t *testing.T, name string) *python.Dict {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := python.ParseJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	return v.(*python.Dict)
}

func get(d *python.Dict, key string) any {
	v, _ := d.Get(key)
	return v
}

// checksum is that of scripts/golden/eval_prompts.py.
func checksum(samples []*Sample) string {
	total := sha256.New()
	for _, s := range samples {
		document, _, _ := s.Hashes()
		record := []any{document, python.Str(s.Target)}
		for _, r := range s.Requests {
			record = append(record, r.Context, r.Continuation)
		}
		total.Write(python.AppendJSON(nil, record, 0))
	}
	return hex.EncodeToString(total.Sum(nil))
}

// TestPromptsAreTheHarness: documents, prompts, continuations and targets of all tasks that there are data of, without and with examples,
// are those of the harness, byte for byte.
func TestPromptsAreTheHarness(t *testing.T) {
	if _, err := os.Stat(shared); err != nil {
		t.Skipf("no evaluation data beside the project: %v", err)
	}
	g := golden(t, "prompts.json")
	limit := int(get(g, "limit").(int64))
	library, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	tasks := get(g, "tasks").(*python.Dict)
	for _, name := range tasks.Keys() {
		entry := get(tasks, name).(*python.Dict)
		for _, c := range get(entry, "of").([]any) {
			want := c.(*python.Dict)
			shots, seed := int(get(want, "shots").(int64)), get(want, "seed").(int64)
			selection, err := library.Select([]string{name})
			if err != nil {
				t.Fatal(err)
			}
			folder := filepath.Join(shared, get(entry, "folder").(string))
			tk, err := selection.Tasks[0].Open(context.Background(), Settings{Folder: folder, Shots: &shots, Seed: seed})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
			samples, err := tk.Samples(limit)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if n := int(get(want, "documents").(int64)); len(samples) != n || checksum(samples) != get(want, "sha256") {
				t.Errorf("%s with %d examples, seed %d: %d documents of %d, and other prompts than the harness's", name, shots, seed, len(samples), n)
			}
		}
	}
}

// TestFunctionsAreTheHarness: what Python functions are replaced by gives what they give.
func TestFunctionsAreTheHarness(t *testing.T) {
	covered := map[string]bool{}
	for _, r := range get(golden(t, "functions.json"), "records").([]any) {
		record := r.(*python.Dict)
		file, name := get(record, "sha256").(string), get(record, "function").(string)
		f, ok := pythonFiles[file][name]
		if !ok {
			t.Errorf("%s %s is not known by %s", get(record, "file"), name, file)
			continue
		}
		covered[file+name] = true
		var docs []*python.Dict
		for _, d := range get(record, "documents").([]any) {
			docs = append(docs, d.(*python.Dict))
		}
		out := []any{}
		if f.documents != nil {
			made, err := f.documents(docs)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, d := range made {
				out = append(out, d)
			}
		} else {
			for i, d := range docs {
				v, err := f.field(d)
				if err != nil {
					t.Errorf("%s, document %d: %v", name, i, err)
				}
				out = append(out, v)
			}
		}
		if diff := cmp.Diff(string(python.AppendJSON(nil, get(record, "out"), 1)), string(python.AppendJSON(nil, out, 1))); diff != "" {
			t.Errorf("%s (-harness +here):\n%s", name, diff)
		}
	}
	for file, functions := range pythonFiles {
		for name, f := range functions {
			if !covered[file+name] && f.aggregate == "" {
				t.Errorf("%s of %s has no golden", name, file)
			}
		}
	}
}

// TestBuiltinTasksAreWhole: every task and group that comes with alfred can be read, and is in a category.
func TestBuiltinTasksAreWhole(t *testing.T) {
	library, err := Open()
	if err != nil || len(library.Broken) > 0 {
		t.Fatal(err, library.Broken)
	}
	all, err := library.Select([]string{"alfred"})
	if err != nil {
		t.Fatal(err)
	}
	tasks, _, _ := library.Names()
	if len(all.Tasks) != len(tasks) || len(all.Groups) != 1 || len(all.Groups[0].Groups) != 7 || len(all.Named) != 0 {
		t.Errorf("%d of %d tasks are in the group alfred, which has %d categories", len(all.Tasks), len(tasks), len(all.Groups[0].Groups))
	}
	for _, c := range all.Tasks {
		if c.Primary == "" {
			t.Errorf("%s names no main metric", c.Name)
		}
	}
	if _, err := json.Marshal(all.Groups[0].All()); err != nil {
		t.Error(err)
	}
}
