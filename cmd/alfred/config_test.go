package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"alfred/internal/config"
)

func shippedConfigs(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no configs: %v", err)
	}
	return paths
}

func TestConfigCheckAcceptsWhatIsShipped(t *testing.T) {
	for _, path := range shippedConfigs(t) {
		if got := must(t, "", "config", "check", "--config", path); !strings.HasPrefix(got, path+": no problems found (stage ") {
			t.Errorf("%q", got)
		}
	}
}

func TestConfigShowIsAConfig(t *testing.T) {
	for _, path := range shippedConfigs(t) {
		shown := must(t, "", "config", "show", "--config", path, "--set", "run.seed=77")
		cfg, err := config.Parse("shown", []byte(shown), nil)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Run.Seed != 77 || string(cfg.YAML()) != shown {
			t.Errorf("%s: what is shown reads as something else", path)
		}
	}
}

func TestConfigCheckReportsEverythingAtOnce(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "bad.yaml"), "stage: ppo\nmodel: {policy: p, reward: r}\ntrainer:\n  kl_ceof: 1\n  gamma: 2\ndata: [{source: dolly, path: x}]\n")
	for _, command := range []string{"check", "show"} {
		r := fails(t, exitUsage, "", []string{"config", command, "--config", path, "--set", "run.seed=-1"},
			path+`:4:3: trainer.kl_ceof: unknown key; did you mean "kl_coef"?`, path+":5:", "--set run.seed=-1")
		if r.stdout != "" || strings.Count(r.stderr, "\n") != 3 {
			t.Errorf("%+v", r)
		}
	}
	fails(t, exitUsage, "", []string{"config", "check", "--config", "none.yaml"}, "none.yaml")
	// What keeps a config from being run belongs to everything; one without data can be shown.
	write(t, path, "stage: sft\nrun: {nmae: x}\nmodel: {policy: p}\n")
	for _, command := range [][]string{{"config", "check"}, {"train"}, {"data", "inspect"}} {
		fails(t, exitUsage, "", append(command, "--config", path), path+":1:1: data: a run needs at least one source", path+":2:7: run.nmae")
	}
	must(t, "", "config", "show", "--config", write(t, path, "stage: sft\nmodel: {policy: p}\n"))
}

func TestConfigSchema(t *testing.T) {
	text := must(t, "", "config", "schema")
	var schema map[string]any
	if err := json.Unmarshal([]byte(text), &schema); err != nil || schema["$schema"] == nil || !strings.HasSuffix(text, "}\n") || strings.HasSuffix(text, "\n\n") {
		t.Errorf("%v: %.100s", err, text)
	}
}
