package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"alfred/internal/checkpoint/storage"
	"alfred/internal/falcon"
)

// scored is a line that score writes.
type scored struct {
	ID       any        `json:"id"`
	IDs      []int32    `json:"ids"`
	LogProbs []*float64 `json:"logprobs"`
	Sum      *float64   `json:"sum"`
	Score    *float64   `json:"score"`
	Raw      *float64   `json:"raw"`
}

type idsLine struct {
	ID  string  `json:"id,omitempty"`
	IDs []int32 `json:"ids"`
}

// near allows for the float32 of the weights and of the arithmetic.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-5*math.Abs(want)+1e-5 {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// TestScoreMatchesTransformers holds every log-prob of every language form, under two cuts into micro-batches.
func TestScoreMatchesTransformers(t *testing.T) {
	for _, form := range languageForms {
		t.Run(form, func(t *testing.T) {
			g := openGolden(t, form)
			seqs, want := g.Sequences("ids", "offsets"), g.Floats("logp")
			var in []idsLine
			for i, ids := range seqs {
				in = append(in, idsLine{fmt.Sprint("seq", i), ids})
			}
			text := must(t, jsonLines(t, in), "score", "--model", g.dir)
			if other := must(t, jsonLines(t, in), "score", "--model", g.dir, "--micro-batch-tokens", "20", "--threads", "1"); other != text {
				t.Errorf("the cut into micro-batches changes the results:\n%s\n%s", text, other)
			}
			got := lines[scored](t, text)
			if len(got) != len(seqs) {
				t.Fatalf("%d lines for %d sequences", len(got), len(seqs))
			}
			for i, l := range got {
				if l.ID != in[i].ID || !slices.Equal(l.IDs, seqs[i]) || len(l.LogProbs) != len(seqs[i]) || l.LogProbs[0] != nil || l.Score != nil {
					t.Fatalf("line %d: %+v", i+1, l)
				}
				sum := 0.0
				for j, p := range l.LogProbs[1:] {
					near(t, fmt.Sprintf("sequence %d, token %d", i, j+1), *p, want[0])
					sum += *p
					want = want[1:]
				}
				near(t, "sum", *l.Sum, sum)
			}
			if len(want) != 0 {
				t.Errorf("%d log-probs were not computed", len(want))
			}
		})
	}
}

func TestRewardScoreMatchesTransformers(t *testing.T) {
	for _, form := range scoreForms {
		t.Run(form, func(t *testing.T) {
			g := openGolden(t, form)
			seqs, want := g.Sequences("ids", "offsets"), g.Floats("scores")
			var in []idsLine
			for _, ids := range seqs {
				in = append(in, idsLine{"", ids})
			}
			got := lines[scored](t, must(t, jsonLines(t, in), "score", "--model", g.dir))
			for i, l := range got {
				if l.ID != float64(i+1) || l.LogProbs != nil || l.Sum != nil {
					t.Fatalf("line %d: %+v", i+1, l)
				}
				near(t, fmt.Sprintf("sequence %d", i), *l.Score, want[i])
				if *l.Raw != *l.Score {
					t.Errorf("raw %v, score %v without a gain", *l.Raw, *l.Score)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d lines, want %d", len(got), len(want))
			}
		})
	}
}

// TestScoreOfNormalisedModel applies the gain and bias of config.json to the raw output.
func TestScoreOfNormalisedModel(t *testing.T) {
	g, dir := openGolden(t, "form-40b-reward"), t.TempDir()
	cfg := g.config
	cfg.Normalisation = &falcon.Normalisation{Gain: 2.5, Bias: -0.5}
	write(t, filepath.Join(dir, "config.json"), string(cfg.JSON()))
	write(t, filepath.Join(dir, "model.safetensors"), read(t, filepath.Join(g.dir, "model.safetensors")))
	in := jsonLines(t, []idsLine{{"a", []int32{1, 2, 3}}})
	plain, got := lines[scored](t, must(t, in, "score", "--model", g.dir))[0], lines[scored](t, must(t, in, "score", "--model", dir))[0]
	if *got.Raw != *plain.Raw {
		t.Errorf("raw %v, without normalisation %v", *got.Raw, *plain.Raw)
	}
	near(t, "score", *got.Score, 2.5**plain.Raw-0.5)
}

func TestAppendEOD(t *testing.T) {
	g := openGolden(t, "form-40b-reward") // eos_token_id 0
	in := jsonLines(t, []idsLine{{"open", []int32{1, 2}}, {"ended", []int32{1, 2, 0}}, {"empty", []int32{}}})
	got := lines[scored](t, must(t, in, "score", "--model", g.dir, "--append-eod"))
	for i, want := range [][]int32{{1, 2, 0}, {1, 2, 0}, {0}} {
		if !slices.Equal(got[i].IDs, want) {
			t.Errorf("%v became %v", got[i].ID, got[i].IDs)
		}
	}
	if *got[0].Score != *got[1].Score {
		t.Errorf("the same ids score %v and %v", *got[0].Score, *got[1].Score)
	}
}

func TestScoreText(t *testing.T) {
	f := trained(t)
	text := "The <|endoftext|> market"
	got := lines[scored](t, must(t, jsonLines(t, []map[string]string{{"text": text}}), "score", "--model", f.base))[0]
	ids := lines[idsLine](t, must(t, jsonLines(t, []map[string]string{{"text": text}}), "tokenize", "--tokenizer", f.base))[0].IDs
	if !slices.Equal(got.IDs, ids) || slices.Contains(got.IDs, 1000) {
		t.Errorf("scored %v, tokenize gives %v", got.IDs, ids)
	}
	// With weights this small every token has a probability near 1/1024.
	near := -math.Log(1024) * float64(len(ids)-1)
	if math.Abs(*got.Sum-near) > 1 {
		t.Errorf("sum %v, want about %v", *got.Sum, near)
	}
}

// TestScoreReportsAllBadLines at once, each by its number, and writes nothing.
func TestScoreReportsAllBadLines(t *testing.T) {
	g := openGolden(t, "form-40b")
	long := jsonLines(t, []idsLine{{"", make([]int32, 129)}})
	in := strings.Join([]string{
		`{"ids":[1,2]}`, `{"ids":[1,259]}`, ``, `{"text":"a"}`, `{"ids":[null]}`, `{"ids":[]}`, `{"ids":["12"]}`, `x`, `{"ids":[1],"ids":[2]}`,
		strings.TrimSpace(long), `{"ids":[1],"text":"a"}`, `{"id":3}`, `{"ids":[-1]}`, `{"id":[],"ids":[1]}`, `{"ids":3}`, `[1]`, "{\"ids\":[1],\"x\":\"\xff\"}", `{"ids":[1]} 1`,
	}, "\n")
	out := filepath.Join(t.TempDir(), "out.jsonl")
	r := fails(t, exitData, in, []string{"score", "--model", g.dir, "--output", out},
		":2: token 259, at position 1, is outside the vocabulary of 259", ":3: the line is empty", ":4: \"text\" is text", "--tokenizer", ":5: ", "null",
		":6: there are no tokens", ":7: ", ":8: not a JSON object", `:9: key "ids" appears twice`, ":10: 129 tokens are more than the model's context of 128",
		`:11: has both`, ":12: has neither", ":13: ", ":14: \"id\" is neither", ":15: ", ":16: not a JSON object", ":17: not UTF-8", ":18: there is something after")
	if strings.Contains(r.stderr, ":1:") || has(filepath.Dir(out), "out.jsonl") || r.stdout != "" {
		t.Errorf("line 1 is good, and nothing may be written: %s", r.stderr)
	}
	many := fails(t, exitData, strings.Repeat("x\n", 100), []string{"score", "--model", g.dir}, "and 80 more problems")
	if n := strings.Count(many.stderr, "\n"); n != 21 {
		t.Errorf("%d lines of errors", n)
	}
}

func TestScoreAcceptsWhatIsHarmless(t *testing.T) {
	g := openGolden(t, "form-40b")
	plain := must(t, `{"ids":[1,2]}`+"\n"+`{"id":"é","ids":[3]}`+"\n", "score", "--model", g.dir)
	if got := must(t, "\ufeff"+`{"ids":[1,2]}`+"\r\n"+` { "other" : {"a":[1]} , "id":"é","ids" : [ 3 ]}`, "score", "--model", g.dir); got != plain {
		t.Errorf("a byte order mark, CRLF, blanks, other keys, no end of the last line: got %q, want %q", got, plain)
	}
	r := alfred("", "score", "--model", g.dir)
	if r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, "no lines") {
		t.Errorf("empty input: %+v", r)
	}
}

func TestScoreFiles(t *testing.T) {
	g, dir := openGolden(t, "form-40b"), t.TempDir()
	in, out := write(t, filepath.Join(dir, "in.jsonl"), `{"ids":[1,2]}`+"\n"), filepath.Join(dir, "out.jsonl")
	write(t, out, "old")
	must(t, "", "score", "--model", g.dir, "--input", in, "--output", out)
	if got := lines[scored](t, read(t, out)); len(got) != 1 || len(got[0].LogProbs) != 2 {
		t.Errorf("%+v", got)
	}
	entries, _ := storage.OS.ReadDir(dir)
	for _, e := range entries {
		if storage.IsTemp(e.Name()) {
			t.Errorf("%s was left behind", e.Name())
		}
	}
	fails(t, exitData, "", []string{"score", "--model", g.dir, "--input", filepath.Join(dir, "none")}, "none")
	fails(t, exitStorage, "", []string{"score", "--model", g.dir, "--input", in, "--output", filepath.Join(dir, "none", "out")}, "none")
	fails(t, exitStorage, "", []string{"score", "--model", g.dir, "--input", in, "--output", dir}, "is a directory")
	fails(t, exitModel, "", []string{"score", "--model", dir}, dir)
	fails(t, exitUsage, "", []string{"score", "--model", g.dir, "--device", "cuda", "--input", in}, "alfred-cuda")
	fails(t, exitUsage, "", []string{"score", "--model", g.dir, "--device", "tpu", "--input", in}, "tpu")
	fails(t, exitUsage, "", []string{"score", "--model", g.dir, "--threads", "-1"}, "--threads")
	fails(t, exitUsage, "", []string{"score", "--model", g.dir, "--micro-batch-tokens", "0"}, "--micro-batch-tokens")
	fails(t, exitModel, "", []string{"score", "--model", g.dir, "--tokenizer", smallTokenizer}, "1001 entries", "259")
}

// TestDamagedModelIsNoNumber gives a model weights that are finite, and too large to compute with.
func TestDamagedModelIsNoNumber(t *testing.T) {
	f := trained(t)
	dir := filepath.Join(t.TempDir(), "huge")
	config := write(t, filepath.Join(t.TempDir(), "config.json"), strings.Replace(tinyConfig, "0.02", "100", 1))
	must(t, "", "init-model", "--config", config, "--tokenizer", f.base, "--out", dir)
	enlarge(t, filepath.Join(dir, "model.safetensors"))
	fails(t, exitNumerical, `{"ids":[1,2,3]}`, []string{"score", "--model", dir}, "standard input:1", "NaN")
}
