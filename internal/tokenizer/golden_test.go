package tokenizer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// How the golden files are made again; the first line of each says seed and library version.
const regenerate = "if the change is meant, run scripts/golden/tokenizer.py again (its docstring says how)"

const falconDir = "../../../shared/data/falcon"

// goldenLine is a line of a golden file: a header, the start of a variant, an encoding or a decoding.
type goldenLine struct {
	Tokenizers string `json:"tokenizers"`
	SHA256     string `json:"sha256"`

	Variant string          `json:"variant"`
	Change  json.RawMessage `json:"change"`

	Text    string  `json:"text"`
	IDs     []int32 `json:"ids"`
	Content []int32 `json:"content"` // ids with special tokens as plain text, when they differ

	Decode  []int32 `json:"decode"`
	Decoded string  `json:"decoded"`
}

func readGolden(t *testing.T, name string) []goldenLine {
	t.Helper()
	lines := readGoldenLines[goldenLine](t, name)
	if lines[0].Tokenizers == "" {
		t.Fatalf("%s: header %+v", name, lines[0])
	}
	return lines
}

func readGoldenLines[Line any](t *testing.T, name string) []Line {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []Line
	scanner := bufio.NewScanner(unzipped)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var line Line
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		lines = append(lines, line)
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	if len(lines) < 1000 {
		t.Fatalf("%s: only %d lines", name, len(lines))
	}
	return lines
}

// check holds one golden line against the tokenizer.
func (g *goldenLine) check(t *testing.T, tok *Tokenizer) {
	t.Helper()
	if g.Decode != nil {
		if got := tok.Decode(g.Decode); got != g.Decoded {
			t.Errorf("Decode(%v)\n got %q\nwant %q", g.Decode, got, g.Decoded)
		}
		checkStream(t, tok, g.Decode)
		return
	}
	if got := tok.EncodeSpecial(g.Text); !slices.Equal(got, g.IDs) {
		t.Errorf("EncodeSpecial(%q)\n got %v\nwant %v", g.Text, got, g.IDs)
	}
	content := g.Content
	if content == nil {
		content = g.IDs
	}
	if got := tok.Encode(g.Text); !slices.Equal(got, content) {
		t.Errorf("Encode(%q)\n got %v\nwant %v", g.Text, got, content)
	}
}

func checkAll(t *testing.T, tok *Tokenizer, lines []goldenLine) {
	t.Helper()
	for i := range lines {
		lines[i].check(t, tok)
		if t.Failed() {
			t.Fatalf("case %d; %s", i+1, regenerate)
		}
	}
}

func loadSmall(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := Load("testdata/small.tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func loadFalcon(t testing.TB) *Tokenizer {
	t.Helper()
	path := filepath.Join(falconDir, "tokenizer.json")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no Falcon tokenizer: %v", err)
	}
	tok, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestGoldenSmall(t *testing.T) {
	tok, lines := loadSmall(t), readGolden(t, "small.jsonl.gz")
	if got := tok.SHA256(); got != lines[0].SHA256 {
		t.Fatalf("SHA256() = %s, golden file was made for %s; %s", got, lines[0].SHA256, regenerate)
	}
	checkAll(t, tok, lines[1:])
}

func TestGoldenFalcon(t *testing.T) {
	tok, lines := loadFalcon(t), readGolden(t, "falcon.jsonl.gz")
	if got := tok.SHA256(); got != lines[0].SHA256 {
		t.Fatalf("SHA256() = %s, golden file was made for %s; %s", got, lines[0].SHA256, regenerate)
	}
	checkAll(t, tok, lines[1:])
}

// The vocabulary of the small tokenizer under every component, behaviour and flag.
func TestGoldenVariants(t *testing.T) {
	lines := readGolden(t, "variants.jsonl.gz")
	small, err := os.ReadFile("testdata/small.tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	lines = lines[1:]
	for len(lines) > 0 {
		head := lines[0]
		end := 1
		for end < len(lines) && lines[end].Variant == "" {
			end++
		}
		cases := lines[1:end]
		lines = lines[end:]
		t.Run(head.Variant, func(t *testing.T) {
			tok, err := Parse(applyChange(t, small, head.Change))
			if err != nil {
				t.Fatal(err)
			}
			checkAll(t, tok, cases)
		})
	}
}

// applyChange changes a tokenizer.json as build_variant of scripts/golden/tokenizer.py does.
func applyChange(t testing.TB, file []byte, raw json.RawMessage) []byte {
	t.Helper()
	var change struct {
		Pretokenizer any      `json:"pre_tokenizer"`
		AddedTokens  any      `json:"added_tokens"`
		Pairs        bool     `json:"pairs"`
		IgnoreMerges bool     `json:"ignore_merges"`
		Whole        []string `json:"whole"`
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&change); err != nil {
		t.Fatal(err)
	}
	return edit(t, file, func(spec, model map[string]any) {
		if change.Pretokenizer != nil {
			spec["pre_tokenizer"] = change.Pretokenizer
		}
		if change.AddedTokens != nil {
			spec["added_tokens"] = change.AddedTokens
		}
		if change.Pairs {
			for i, merge := range model["merges"].([]any) {
				left, right, _ := bytes.Cut([]byte(merge.(string)), []byte(" "))
				model["merges"].([]any)[i] = []string{string(left), string(right)}
			}
		}
		if change.IgnoreMerges {
			model["ignore_merges"] = true
			vocab := model["vocab"].(map[string]any)
			for _, token := range change.Whole {
				if _, ok := vocab[token]; !ok {
					vocab[token] = len(vocab) + 1
				}
			}
			spec["added_tokens"] = []any{}
		}
	})
}

// edit decodes a tokenizer.json, lets change work on it, and encodes it again.
func edit(t testing.TB, file []byte, change func(spec, model map[string]any)) []byte {
	t.Helper()
	var spec map[string]any
	if err := json.Unmarshal(file, &spec); err != nil {
		t.Fatal(err)
	}
	change(spec, spec["model"].(map[string]any))
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(spec); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// The published llama.cpp vectors for the Falcon vocabulary.
func TestFalconVectors(t *testing.T) {
	tok := loadFalcon(t)
	file, err := os.Open(filepath.Join(falconDir, "tokenizer_vectors.jsonl"))
	if err != nil {
		t.Skipf("no vectors: %v", err)
	}
	defer file.Close()
	n := 0
	for scanner := bufio.NewScanner(file); scanner.Scan(); n++ {
		var line goldenLine
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		line.check(t, tok)
		if got := tok.Decode(line.IDs); got != line.Text {
			t.Errorf("Decode(%v) = %q, want %q", line.IDs, got, line.Text)
		}
	}
	if n != 47 {
		t.Errorf("%d vectors, want 47", n)
	}
}
