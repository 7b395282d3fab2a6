package main

import (
	"bufio"
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// vector is a text with the ids that the official library gives it.
type vector struct {
	Text string  `json:"text"`
	IDs  []int32 `json:"ids"`
}

func vectors(t testing.TB) (all []vector) {
	t.Helper()
	file, err := os.Open(filepath.Join(filepath.Dir(smallTokenizer), "small.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if _, err := bufio.NewReader(z).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	_, rows, _ := strings.Cut(b.String(), "\n") // after a line about the file
	return lines[vector](t, rows)
}

// TestTokenizerOfARun: a run serves as a tokenizer wherever a directory with one does.
func TestTokenizerOfARun(t *testing.T) {
	f, dir := trained(t), t.TempDir()
	in := `{"text":"The market"}`
	want := must(t, in, "tokenize", "--tokenizer", smallTokenizer)
	for _, path := range []string{f.base, f.run, filepath.Join(f.run, "checkpoints", "000002")} {
		if got := must(t, in, "tokenize", "--tokenizer", path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := must(t, in, "score", "--model", f.base, "--tokenizer", f.run); got != must(t, in, "score", "--model", f.base) {
		t.Errorf("score --tokenizer: %s", got)
	}
	model := filepath.Join(dir, "model")
	must(t, "", "init-model", "--config", write(t, filepath.Join(dir, "config.json"), tinyConfig), "--tokenizer", f.run, "--out", model)
	if read(t, filepath.Join(model, "tokenizer.json")) != read(t, smallTokenizer) {
		t.Error("init-model copies another tokenizer")
	}
	fails(t, exitModel, in, []string{"tokenize", "--tokenizer", dir}, "has no tokenizer.json")
	set := func(path string) []string {
		return []string{"train", "--config", f.train, "--dry-run", "--set", "run.dir=" + filepath.Join(dir, "run"), "--set", "model.tokenizer=" + path}
	}
	must(t, "", set(f.run)...)
	for _, args := range [][]string{set(dir), {"data", "inspect", "--config", f.train, "--set", "model.tokenizer=" + dir}} {
		fails(t, exitModel, "", args, dir, "has no tokenizer.json")
	}
	run := copyRun(t, f.run)
	for _, step := range []string{"000002", "000004"} {
		damage(t, filepath.Join(run, "checkpoints", step, "policy", "model.safetensors"))
	}
	fails(t, exitModel, in, []string{"tokenize", "--tokenizer", run}, "000002", "000004", "SHA-256")
	if r := fails(t, exitModel, "", []string{"checkpoint", "inspect", run}, "SHA-256"); strings.Count(r.stderr, "000004 is not used") != 1 {
		t.Errorf("inspect says it twice: %s", r.stderr)
	}
}

func TestTokenizeRoundTrip(t *testing.T) {
	want := vectors(t)
	var texts []map[string]string
	for _, v := range want {
		texts = append(texts, map[string]string{"text": v.Text})
	}
	ids := must(t, jsonLines(t, texts), "tokenize", "--tokenizer", smallTokenizer)
	plain := 0
	for i, got := range lines[vector](t, ids) {
		if strings.Contains(want[i].Text, "<|endoftext|>") {
			continue // the vectors read it as a token
		}
		plain++
		if !slices.Equal(got.IDs, want[i].IDs) {
			t.Errorf("%q: got %v, want %v", want[i].Text, got.IDs, want[i].IDs)
		}
	}
	if plain < len(want)/2 {
		t.Fatalf("only %d of %d texts were compared", plain, len(want))
	}
	for i, got := range lines[vector](t, must(t, ids, "tokenize", "--tokenizer", smallTokenizer, "--decode")) {
		if got.Text != want[i].Text {
			t.Errorf("%q came back as %q", want[i].Text, got.Text)
		}
	}
}

func TestTokenizeSpecial(t *testing.T) {
	in := `{"id":"a","text":"x<|endoftext|>"}`
	plain := lines[idsLine](t, must(t, in, "tokenize", "--tokenizer", smallTokenizer))[0]
	special := lines[idsLine](t, must(t, in, "tokenize", "--tokenizer", smallTokenizer, "--special"))[0]
	if plain.ID != "a" || slices.Contains(plain.IDs, 1000) || len(special.IDs) != 2 || special.IDs[1] != 1000 {
		t.Errorf("plain %v, special %v", plain, special)
	}
}

func TestTokenizeStopsAtTheFirstBadLine(t *testing.T) {
	for in, word := range map[string]string{
		`{"text":1}`:          `:2: "text" is not a string`,
		`{}`:                  `:2: has no "text"`,
		``:                    ":2: the line is empty",
		`{"text":"\ud800"}`:   "surrogate",
		"{\"text\":\"\xff\"}": "UTF-8",
	} {
		r := fails(t, exitData, `{"text":"a"}`+"\n"+in+"\n"+`{"text":"b"}`+"\n", []string{"tokenize", "--tokenizer", smallTokenizer}, word)
		if strings.Count(r.stdout, "\n") != 1 {
			t.Errorf("%q: the line before was answered by %q", in, r.stdout)
		}
	}
	fails(t, exitData, `{"ids":[5000]}`, []string{"tokenize", "--tokenizer", smallTokenizer, "--decode"}, ":1: the tokenizer has no token 5000")
	fails(t, exitModel, "", []string{"tokenize", "--tokenizer", "none"}, "none")
	if r := alfred("", "tokenize", "--tokenizer", smallTokenizer); r.code != 0 || r.stdout+r.stderr != "" {
		t.Errorf("empty input: %+v", r)
	}
}

// TestTokenizeCountsWhatIsLost decodes half a character, which no text can hold.
func TestTokenizeCountsWhatIsLost(t *testing.T) {
	ids := lines[idsLine](t, must(t, `{"text":"\u0416"}`, "tokenize", "--tokenizer", smallTokenizer))[0].IDs
	if len(ids) < 2 {
		t.Fatal("the tokenizer has a token for Ж: take a letter that it has to cut")
	}
	r := alfred(jsonLines(t, []idsLine{{"", ids}, {"", ids[:1]}}), "tokenize", "--tokenizer", smallTokenizer, "--decode")
	if r.code != 0 || r.stdout != "{\"text\":\"Ж\"}\n{\"text\":\"\ufffd\"}\n" || !strings.Contains(r.stderr, "bytes=1 first_line=2 lines=1") {
		t.Errorf("%+v", r)
	}
}

// TestTokenizeHugeLine is a text of 10 MB on one line.
func TestTokenizeHugeLine(t *testing.T) {
	text := strings.Repeat("The market. ", 900_000)
	ids := must(t, jsonLines(t, []map[string]string{{"text": text}}), "tokenize", "--tokenizer", smallTokenizer)
	if got := lines[vector](t, must(t, ids, "tokenize", "--tokenizer", smallTokenizer, "--decode"))[0].Text; got != text {
		t.Errorf("%d bytes came back as %d", len(text), len(got))
	}
}
