package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gorgonia "gorgonia.org/tensor"

	"alfred/internal/checkpoint"
	"alfred/internal/falcon"
)

func TestCheckpointInspect(t *testing.T) {
	f := trained(t)
	newest := filepath.Join(f.run, "checkpoints", "000004")
	text := must(t, "", "checkpoint", "inspect", f.run)
	for _, want := range []string{newest, "sft", "step           4", "policy: 19 tensors, 45376 parameters", "float32", "4 updates", "all as the manifest says"} {
		if !strings.Contains(text, want) {
			t.Errorf("the description lacks %q:\n%s", want, text)
		}
	}
	if got := must(t, "", "checkpoint", "inspect", newest); got != text {
		t.Errorf("of the checkpoint itself: %s", got)
	}
	text = must(t, "", "checkpoint", "inspect", filepath.Join(goldens, "form-rw-reward"))
	for _, want := range []string{"FalconForSequenceClassification", "19216 in", "vocabulary     67", "512 tokens"} {
		if !strings.Contains(text, want) {
			t.Errorf("the description of a model lacks %q:\n%s", want, text)
		}
	}
	fails(t, exitModel, "", []string{"checkpoint", "inspect", "none"}, "none")
	fails(t, exitModel, "", []string{"checkpoint", "inspect", t.TempDir()}, "neither checkpoints nor manifest.json nor config.json")
	fails(t, exitUsage, "", []string{"checkpoint", "inspect"}, "arg")
}

func TestCheckpointInspectTensor(t *testing.T) {
	dir := filepath.Join(goldens, "form-40b")
	m, err := checkpoint.OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const name = "transformer.ln_f.bias"
	want, err := m.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := want.At(0)
	if text := must(t, "", "checkpoint", "inspect", dir, "--tensor", name); !strings.HasPrefix(text, name+" (64)\n") || !strings.Contains(text, fmt.Sprint(first)) {
		t.Errorf("printed %q, element 0 is %v", text, first)
	}
	npy := filepath.Join(t.TempDir(), "bias.npy")
	must(t, "", "checkpoint", "inspect", dir, "--tensor", name, "--npy", npy)
	f, err := os.Open(npy)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := gorgonia.New(gorgonia.Of(gorgonia.Float32))
	if err := got.ReadNpy(f); err != nil || !got.Eq(want) {
		t.Errorf("the numpy file holds %v (%v), want %v", got, err, want)
	}
	fails(t, exitModel, "", []string{"checkpoint", "inspect", dir, "--tensor", "none"}, "none")
	fails(t, exitUsage, "", []string{"checkpoint", "inspect", dir, "--npy", npy}, "--tensor")
	fails(t, exitStorage, "", []string{"checkpoint", "inspect", dir, "--tensor", name, "--npy", filepath.Join(npy, "below", "a-file.npy")})
}

// copyRun copies a run, so that it can be damaged.
func copyRun(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// damage flips a bit in the middle of a file.
func damage(t testing.TB, path string) {
	t.Helper()
	data := []byte(read(t, path))
	data[len(data)/2] ^= 1
	write(t, path, string(data))
}

func TestCheckpointVerify(t *testing.T) {
	f := trained(t)
	text := must(t, "", "checkpoint", "verify", f.run)
	if strings.Count(text, ": good: ") != 2 || !strings.Contains(text, "000002: good") || !strings.Contains(text, "000004: good") {
		t.Errorf("%s", text)
	}
	if text := must(t, "", "checkpoint", "verify", f.base); !strings.Contains(text, "19 tensors") {
		t.Errorf("%s", text)
	}
	run := copyRun(t, f.run)
	file := filepath.Join("checkpoints", "000004", "policy", "model.safetensors")
	damage(t, filepath.Join(run, file))
	r := fails(t, exitModel, "", []string{"checkpoint", "verify", run}, "000004", "policy/model.safetensors", "SHA-256", "1 of 2 checkpoints are damaged")
	if !strings.Contains(r.stdout, "000002: good") || strings.Contains(r.stdout, "000004") {
		t.Errorf("%s", r.stdout)
	}
	fails(t, exitModel, "", []string{"checkpoint", "verify", filepath.Join(run, "checkpoints", "000004")}, "SHA-256")
	// Commands that take a model fall back to the checkpoint before, and say so.
	in := `{"ids":[1,2]}`
	r = alfred(in, "score", "--model", run)
	want := must(t, in, "score", "--model", filepath.Join(f.run, "checkpoints", "000002"))
	if r.code != 0 || r.stdout != want || !strings.Contains(r.stderr, "000004") {
		t.Errorf("%+v, want %s", r, want)
	}
	if text := must(t, "", "checkpoint", "inspect", run); !strings.Contains(text, "000002") {
		t.Errorf("%s", text)
	}
	damage(t, filepath.Join(run, "checkpoints", "000002", "policy", "model.safetensors"))
	fails(t, exitModel, in, []string{"score", "--model", run}, "000002", "000004", "SHA-256")
}

func TestCheckpointExport(t *testing.T) {
	f, dir := trained(t), t.TempDir()
	whole, narrow := filepath.Join(dir, "whole"), filepath.Join(dir, "narrow")
	must(t, "", "checkpoint", "export", f.run, "--model", "policy", "--out", whole)
	must(t, "", "checkpoint", "export", f.run, "--precision", "bfloat16", "--out", narrow)
	in := `{"text":"The market"}`
	if got, want := must(t, in, "score", "--model", whole), must(t, in, "score", "--model", f.run); got != want {
		t.Errorf("the export scores %s, the run %s", got, want)
	}
	m, err := checkpoint.OpenModel(narrow)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Config.DType != "bfloat16" || m.Config.Head != falcon.CausalLM || !has(narrow, "tokenizer.json") {
		t.Errorf("%+v", m.Config)
	}
	fails(t, exitUsage, "", []string{"checkpoint", "export", f.run, "--out", whole}, "not empty")
	fails(t, exitModel, "", []string{"checkpoint", "export", f.run, "--model", "value", "--out", filepath.Join(dir, "x")}, `no model "value"`, "policy")
	fails(t, exitUsage, "", []string{"checkpoint", "export", f.run, "--precision", "float64", "--out", filepath.Join(dir, "x")}, "float64")
	fails(t, exitModel, "", []string{"checkpoint", "export", "none", "--out", filepath.Join(dir, "x")}, "none")
}
