package main

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"alfred/internal/falcon"
	"alfred/internal/rollout"
)

// generated is a line that generate writes.
type generated struct {
	ID       any       `json:"id"`
	Prompt   []int32   `json:"prompt_ids"`
	Response []int32   `json:"response_ids"`
	Finish   string    `json:"finish"`
	Text     *string   `json:"text"`
	LogProbs []float64 `json:"logprobs"`
}

type promptLine struct {
	Prompt []int32 `json:"prompt_ids"`
}

func promptsOf(t testing.TB, g golden) (in string, prompts [][]int32) {
	prompts = g.Sequences("greedy_prompt_ids", "greedy_prompt_offsets")
	var all []promptLine
	for _, ids := range prompts {
		all = append(all, promptLine{ids})
	}
	return jsonLines(t, all), prompts
}

func TestGreedyContinuationIsTransformers(t *testing.T) {
	for _, form := range languageForms {
		t.Run(form, func(t *testing.T) {
			g := openGolden(t, form)
			in, prompts := promptsOf(t, g)
			want := g.Ints("greedy_ids")
			got := lines[generated](t, must(t, in, "generate", "--model", g.dir, "--prompts", "-", "--output", "-", "--greedy", "--max-new-tokens", "24"))
			for i, l := range got {
				if !slices.Equal(l.Prompt, prompts[i]) || !slices.Equal(l.Response, want[24*i:24*i+24]) || l.Finish != "length" || l.Text != nil || l.ID != float64(i+1) {
					t.Errorf("prompt %d: got %+v, want %v", i, l, want[24*i:24*i+24])
				}
			}
			if len(got) != len(prompts) {
				t.Errorf("%d responses to %d prompts", len(got), len(prompts))
			}
		})
	}
}

// TestGeneratedLogProbsAreScores holds the log-probs of generate against those of score on the same tokens.
func TestGeneratedLogProbsAreScores(t *testing.T) {
	g := openGolden(t, "form-7b")
	in, _ := promptsOf(t, g)
	for _, l := range lines[generated](t, must(t, in, "generate", "--model", g.dir, "--prompts", "-", "--output", "-", "--max-new-tokens", "12")) {
		whole := append(slices.Clone(l.Prompt), l.Response...)
		s := lines[scored](t, must(t, jsonLines(t, []idsLine{{"", whole}}), "score", "--model", g.dir))[0]
		for i, p := range l.LogProbs {
			if got := *s.LogProbs[len(l.Prompt)+i]; got != p { // the design's promise: one family of kernels
				t.Errorf("token %d: generate says %v, score %v", i, p, got)
			}
		}
		if len(l.LogProbs) != len(l.Response) {
			t.Errorf("%d log-probs of %d tokens", len(l.LogProbs), len(l.Response))
		}
	}
}

// TestGenerateWritesReplayFiles also holds that order, slots and threads do not change a response, and the seed does.
func TestGenerateWritesReplayFiles(t *testing.T) {
	g, dir := openGolden(t, "form-40b"), t.TempDir()
	in, prompts := promptsOf(t, g)
	args := []string{"generate", "--model", g.dir, "--prompts", "-", "--num-return-sequences", "40", "--max-new-tokens", "10", "--temperature", "3", "--output"}
	out := filepath.Join(dir, "out.jsonl")
	must(t, in, append(args, out)...)
	text := read(t, out)
	records, err := rollout.ReadRecords(out, strings.NewReader(text), 0, g.config.VocabSize)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 80 {
		t.Fatalf("%d records", len(records))
	}
	ended := 0
	for i, r := range records {
		if !slices.Equal(r.PromptIDs, prompts[i/40]) {
			t.Errorf("record %d answers %v", i, r.PromptIDs)
		}
		if r.Finish == rollout.FinishEOD {
			ended++
		}
	}
	if ended == 0 || ended == len(records) {
		t.Errorf("%d of %d responses end by themselves: the test shows only one of two cases", ended, len(records))
	}
	// One slot makes lots of 32 responses, so this goes over the border of several lots.
	if other := must(t, in, append(args, "-", "--slots", "1", "--threads", "1")...); other != text {
		t.Error("slots or threads change the responses")
	}
	if other := must(t, in, append(args, "-", "--seed", "2")...); other == text {
		t.Error("the seed does not change the responses")
	}
	for _, l := range lines[generated](t, must(t, in, append(args, "-", "--min-new-tokens", "10")...)) {
		if len(l.Response) != 10 || slices.Contains(l.Response[:9], 0) {
			t.Errorf("--min-new-tokens 10: %v", l.Response)
		}
	}
	plain := []string{"generate", "--model", g.dir, "--prompts", "-", "--output", "-", "--max-new-tokens", "10"}
	greedy := lines[generated](t, must(t, in, append(plain, "--greedy")...))
	for _, one := range [][]string{{"--top-k", "1"}, {"--top-p", "0.000001"}} {
		for i, l := range lines[generated](t, must(t, in, append(plain, one...)...)) {
			if !slices.Equal(l.Response, greedy[i].Response) {
				t.Errorf("%v leaves a choice: %v, the most probable are %v", one, l.Response, greedy[i].Response)
			}
		}
	}
}

func TestGenerateText(t *testing.T) {
	f := trained(t)
	one := must(t, "", "generate", "--model", f.base, "--prompt", "The market", "--max-new-tokens", "8")
	l := lines[generated](t, must(t, "", "generate", "--model", f.base, "--prompt", "The market", "--max-new-tokens", "8", "--output", "-"))[0]
	if one != *l.Text+"\n" {
		t.Errorf("text %q, in JSON %q", one, *l.Text)
	}
	decoded := lines[map[string]string](t, must(t, jsonLines(t, []idsLine{{"", l.Response}}), "tokenize", "--decode", "--tokenizer", f.base))[0]["text"]
	if decoded != *l.Text && l.Finish == "length" {
		t.Errorf("text %q, the tokenizer says %q", *l.Text, decoded)
	}
	two := must(t, "", "generate", "--model", f.base, "--prompt", "The market", "--max-new-tokens", "8", "--num-return-sequences", "2")
	if !strings.HasPrefix(two, "=== prompt 1, response 1, ended by length\n"+one+"=== prompt 1, response 2, ") {
		t.Errorf("%q", two)
	}
}

func TestGenerateRefuses(t *testing.T) {
	g, f := openGolden(t, "form-40b"), trained(t)
	r := fails(t, exitUsage, "", []string{"generate", "--model", g.dir, "--prompt", "a", "--max-new-tokens", "0", "--temperature", "0", "--top-k", "-1", "--top-p", "1.5",
		"--num-return-sequences", "0", "--slots", "0", "--precision", "int8"},
		"--max-new-tokens 0", "--temperature must be at least 0.001, is 0", "--top-k must be at least 0, is -1", "--top-p must be above 0 and at most 1, is 1.5", "--num-return-sequences 0", "--slots 0", `"int8"`)
	if strings.Count(r.stderr, "\n") != 7 {
		t.Errorf("%s", r.stderr)
	}
	fails(t, exitUsage, "", []string{"generate", "--model", g.dir, "--prompt", "a", "--greedy", "--top-k", "2"}, "--greedy", "--top-k")
	fails(t, exitUsage, "", []string{"generate", "--model", g.dir, "--prompt", "a", "--min-new-tokens", "200"}, "--min-new-tokens 200")
	fails(t, exitUsage, "", []string{"generate", "--model", g.dir, "--prompt", "a"}, "no tokenizer.json", "--output")
	fails(t, exitUsage, "", []string{"generate", "--model", f.base, "--prompt", "\xff"}, "UTF-8")
	fails(t, exitModel, "", []string{"generate", "--model", filepath.Join(goldens, "form-rw-reward"), "--prompt", "a"}, "FalconForSequenceClassification")
	fails(t, exitData, "", []string{"generate", "--model", f.base, "--prompt", ""}, "no tokens")
	fails(t, exitData, "", []string{"generate", "--model", f.base, "--prompts", t.TempDir()}, "is a directory")
	fails(t, exitUsage, "", []string{"generate", "--model", f.base, "--prompt", "a", "--output", ""}, "--output is empty")
	fails(t, exitData, `{"prompt_ids":[1]}`+"\n"+`{"prompt_ids":[300]}`+"\n"+`{"prompt":1}`+"\n"+`{}`,
		[]string{"generate", "--model", g.dir, "--prompts", "-", "--output", "-", "--max-new-tokens", "128"},
		":1: a prompt of 1 tokens and --max-new-tokens 128 are longer than the model's context of 128", ":2: token 300", `:3: "prompt" is not a string`, `:4: has neither "prompt" nor "prompt_ids"`)
	if r := alfred("", "generate", "--model", g.dir, "--prompts", "-", "--output", "-"); r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, "no prompts") {
		t.Errorf("empty input: %+v", r)
	}
}

// TestContextShortensTheDefault: --max-new-tokens is 128 unless given, and form-40b has a context of 128.
func TestContextShortensTheDefault(t *testing.T) {
	g := openGolden(t, "form-40b")
	ids := make([]int32, 120)
	in := jsonLines(t, []promptLine{{ids}, {ids[:100]}})
	args := []string{"generate", "--model", g.dir, "--prompts", "-", "--output", "-", "--min-new-tokens", "8"}
	r := alfred(in, args...)
	got := lines[generated](t, r.stdout)
	if r.code != 0 || len(got) != 2 || len(got[0].Response) != 8 || len(got[1].Response) < 8 || len(got[1].Response) > 28 {
		t.Errorf("%+v", r)
	}
	for _, want := range []string{"prompts=2", "shortest=8", "default=128", "--max-new-tokens"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("%q is not in %s", want, r.stderr)
		}
	}
	if longer := must(t, in, append(args, "--max-new-tokens", "8")...); lines[generated](t, longer)[0].Finish == "" || !strings.HasPrefix(r.stdout, longer[:strings.IndexByte(longer, '\n')]) {
		t.Errorf("the first response differs from that under --max-new-tokens 8")
	}
	fails(t, exitData, jsonLines(t, []promptLine{{append(ids, 1)}}), args, "leaves 7 of the model's context of 128", "at least 8 (--min-new-tokens)")
	fails(t, exitData, jsonLines(t, []promptLine{{make([]int32, 130)}}), args[:len(args)-2], "leaves 0 of the model's context of 128")
}

// TestLowestTemperature is greedy, and finite.
func TestLowestTemperature(t *testing.T) {
	g := openGolden(t, "form-40b")
	in, _ := promptsOf(t, g)
	args := []string{"generate", "--model", g.dir, "--prompts", "-", "--output", "-", "--max-new-tokens", "16"}
	cold, greedy := lines[generated](t, must(t, in, append(args, "--temperature", "0.001")...)), lines[generated](t, must(t, in, append(args, "--greedy")...))
	for i, l := range cold {
		if !slices.Equal(l.Response, greedy[i].Response) {
			t.Errorf("prompt %d: %v, the most probable tokens are %v", i, l.Response, greedy[i].Response)
		}
	}
	fails(t, exitUsage, in, append(args, "--temperature", "1e-300"), "--temperature must be at least 0.001, is 1e-300")
}

func TestPrintable(t *testing.T) {
	if got := printable("a\n\tb\x1b[2J\u202e\r"); got != "a\n\tb\\u001b[2J\\u202e\\u000d" {
		t.Errorf("%q", got)
	}
}

// enlarge sets the final layer norm of a float32 model to the largest number: finite, and too large to multiply with.
func enlarge(t testing.TB, path string) {
	t.Helper()
	data := []byte(read(t, path))
	start := 8 + int(binary.LittleEndian.Uint64(data))
	var header map[string]struct {
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(data[8:start], &header); err != nil {
		t.Fatal(err)
	}
	norm, ok := header[falcon.FinalNormWeightName]
	if !ok {
		t.Fatal("no final layer norm")
	}
	for at := start + norm.Offsets[0]; at < start+norm.Offsets[1]; at += 4 {
		binary.LittleEndian.PutUint32(data[at:], math.Float32bits(math.MaxFloat32))
	}
	write(t, path, string(data))
}
