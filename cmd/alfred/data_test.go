package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDataInspect(t *testing.T) {
	f := trained(t)
	text := must(t, "", "data", "inspect", "--config", f.train)
	for _, want := range []string{"data.jsonl", "Say market.", "⟦", "∎⟧", "fingerprint "} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	// With a tokenizer of its own a configuration needs no model yet.
	r := alfred("", "data", "inspect", "--config", f.train, "--set", "model.policy=none", "--set", "model.tokenizer="+smallTokenizer)
	if r.code != 0 || r.stdout != text || !strings.Contains(r.stderr, "the model cannot be opened") {
		t.Errorf("%+v", r)
	}
	fails(t, exitModel, "", []string{"data", "inspect", "--config", f.train, "--set", "model.policy=none"}, "none")
}

func TestDataInspectShowsBadData(t *testing.T) {
	f := trained(t)
	path := write(t, filepath.Join(t.TempDir(), "bad.jsonl"), `{"prompt":"a","response":"b"}`+"\n"+`{"prompt":`+"\n")
	r := fails(t, exitData, "", []string{"data", "inspect", "--config", f.train, "--set", "data.0.path=" + path}, "bad.jsonl")
	if !strings.Contains(r.stdout, path+":2") {
		t.Errorf("the report does not name the bad row:\n%s", r.stdout)
	}
	fails(t, exitData, "", []string{"data", "inspect", "--config", f.train, "--set", "data.0.path=none.jsonl"}, "none.jsonl")
	fails(t, exitUsage, "", []string{"data", "inspect", "--config", f.train, "--set", "data="}, "data: a run needs")
}

// TestDataInspectRealData reads what a shipped configuration reads.
func TestDataInspectRealData(t *testing.T) {
	root, err := filepath.Abs("../../../shared/data")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root); err != nil {
		t.Skip("the real data are not here:", err)
	}
	tokenizer := filepath.Join(root, "falcon", "tokenizer.json")
	text := must(t, "", "data", "inspect", "--config", "../../configs/hh-reward.yaml", "--set", "data_root="+root, "--set", "model.tokenizer="+tokenizer)
	for _, w := range []string{"hh-rlhf", "oasst1", "rank 0: ⟦", "Prompts of normalise", "Alfred:"} {
		if !strings.Contains(text, w) {
			t.Errorf("the report lacks %q", w)
		}
	}
}
