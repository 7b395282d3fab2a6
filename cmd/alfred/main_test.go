package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"alfred/internal/checkpoint/safetensors/goldentest"
	"alfred/internal/falcon"
)

// asMain makes the test binary be alfred itself, for tests that need a process: signals, pipes, exit codes.
const asMain = "ALFRED_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	code := m.Run()
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

const (
	goldens        = "../../internal/falcon/testdata/golden"
	smallTokenizer = "../../internal/tokenizer/testdata/small.tokenizer.json"
)

var (
	languageForms = []string{"form-40b", "form-40b-1ln", "form-7b", "form-rw", "form-rw-4"}
	scoreForms    = []string{"form-40b-reward", "form-rw-reward"}
)

// result is what a command left behind.
type result struct {
	code           int
	stdout, stderr string
}

// alfred runs a command line in this process.
func alfred(stdin string, args ...string) result {
	var out, errs bytes.Buffer
	p := process{args: args, stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, exit: func(int) { panic("exit") }}
	code := p.run()
	return result{code, out.String(), errs.String()}
}

// must runs a command line that has to succeed, and returns its standard output.
func must(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	r := alfred(stdin, args...)
	if r.code != exitDone {
		t.Fatalf("alfred %v: exit code %d\n%s", args, r.code, r.stderr)
	}
	return r.stdout
}

// fails runs a command line that has to end with code, and whose standard error has to hold all the words.
func fails(t testing.TB, code int, stdin string, args []string, words ...string) result {
	t.Helper()
	r := alfred(stdin, args...)
	if r.code != code {
		t.Errorf("alfred %v: exit code %d, want %d\n%s", args, r.code, code, r.stderr)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("alfred %v: standard error lacks %q:\n%s", args, w, r.stderr)
		}
	}
	return r
}

// lines decodes lines of JSON.
func lines[T any](t testing.TB, text string) (all []T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	for {
		var v T
		if err := d.Decode(&v); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatalf("%v in %.200q", err, text)
		}
		all = append(all, v)
	}
}

// jsonLines encodes values as lines of JSON.
func jsonLines[T any](t testing.TB, all []T) string {
	t.Helper()
	var b strings.Builder
	for _, v := range all {
		line, err := encodeLine(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
	}
	return b.String()
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// golden is a model's folder with what transformers computed.
type golden struct {
	dir    string
	config falcon.Config
	goldentest.File
}

func openGolden(t testing.TB, form string) golden {
	t.Helper()
	dir := filepath.Join(goldens, form)
	cfg, _, err := falcon.ParseConfig([]byte(read(t, filepath.Join(dir, "config.json"))))
	if err != nil {
		t.Fatal(err)
	}
	return golden{dir, cfg, goldentest.Open(t, filepath.Join(dir, "golden.safetensors"))}
}

// tinyConfig is a model that the small tokenizer fits, small enough to train in a moment.
const tinyConfig = `{"architectures": ["FalconForCausalLM"], "model_type": "falcon", "hidden_size": 32, "num_hidden_layers": 2,
 "num_attention_heads": 4, "num_kv_heads": 2, "ffn_hidden_size": 48, "vocab_size": 1024, "max_position_embeddings": 256, "new_decoder_architecture": true,
 "parallel_attn": true, "bias": false, "alibi": false, "initializer_range": 0.02, "torch_dtype": "float32", "bos_token_id": 1000, "eos_token_id": 1000}`

// fixture is a base model and a run that fine-tuned it, made once for all tests that only read them.
type fixture struct {
	once                  sync.Once
	dir, base, run, train string
	err                   result
}

var shared fixture

// trained makes the fixture and returns it.
func trained(t testing.TB) *fixture {
	t.Helper()
	f := &shared
	f.once.Do(func() {
		f.dir, _ = os.MkdirTemp("", "alfred-test-")
		f.base, f.run = filepath.Join(f.dir, "base"), filepath.Join(f.dir, "run")
		config := filepath.Join(f.dir, "config.json")
		os.WriteFile(config, []byte(tinyConfig), 0o666)
		if f.err = alfred("", "init-model", "--config", config, "--tokenizer", smallTokenizer, "--out", f.base); f.err.code != 0 {
			return
		}
		f.train = filepath.Join(f.dir, "sft.yaml")
		os.WriteFile(f.train, []byte(sftConfig(f.dir, f.base, f.run)), 0o666)
		f.err = alfred("", "train", "--config", f.train)
	})
	if f.err.code != 0 {
		t.Fatalf("the run that tests share: exit code %d\n%s", f.err.code, f.err.stderr)
	}
	return f
}

// sftConfig writes data for a short run of fine-tuning beside its configuration.
func sftConfig(dir, base, run string) string {
	var data strings.Builder
	for _, word := range []string{"market", "token", "policy", "lamp", "plain", "careful", "sample", "return"} {
		data.WriteString(`{"prompt": "Say ` + word + `.", "response": "The ` + word + `."}` + "\n")
	}
	path := filepath.Join(dir, "data.jsonl")
	os.WriteFile(path, []byte(data.String()), 0o666)
	return `stage: sft
run: {name: tiny, dir: ` + run + `}
model: {policy: ` + base + `}
batching: {micro_batch_tokens: 256}
optimizer: {learning_rate: 1.0e-3, decay: constant, warmup_steps: 1}
trainer: {global_batch: 4, max_steps: 4, max_len: 64, eval_share: 0.0, eval_every: 0}
data: [{source: prompts, path: ` + path + `}]
checkpoint: {every: 2, keep: 2}
`
}
