package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type dict = map[string]any

// sequenceOf puts components before the ByteLevel of a file.
func sequenceOf(spec dict, components ...any) {
	spec["pre_tokenizer"] = dict{"type": "Sequence", "pretokenizers": append(components, spec["pre_tokenizer"])}
}

// Whatever is not supported is refused with its name and its place.
func TestUnsupportedIsRefusedByName(t *testing.T) {
	type change = func(spec, model map[string]any)
	inModel := func(key string, value any) change {
		return func(_, model map[string]any) { model[key] = value }
	}
	atTop := func(key string, value any) change {
		return func(spec, _ map[string]any) { spec[key] = value }
	}
	before := func(component any) change {
		return func(spec, _ map[string]any) { sequenceOf(spec, component) }
	}
	tokens := func(list ...any) change { return atTop("added_tokens", list) }
	without := func(key string) dict {
		token := addedJSON(1000, "<x>")
		delete(token, key)
		return token
	}
	for _, c := range []struct {
		change change
		want   string
	}{
		{atTop("version", "2.0"), `version: want "1.0", got "2.0"`},
		{atTop("surprise", nil), `surprise: unknown key`},
		{atTop("truncation", dict{"max_length": 5}), `truncation: not supported`},
		{atTop("padding", dict{"pad_id": 0}), `padding: not supported`},
		{atTop("normalizer", dict{"type": "NFC"}), `normalizer: type "NFC" is not supported`},
		{atTop("normalizer", dict{"type": "Sequence", "normalizers": []any{}}), `normalizer: type "Sequence" is not supported`},
		{atTop("post_processor", dict{"type": "TemplateProcessing"}), `post_processor: type "TemplateProcessing" is not supported`},
		{atTop("post_processor", dict{"type": "ByteLevel", "x": 1}), `post_processor.x: unknown key`},
		{atTop("decoder", nil), `decoder: missing`},
		{atTop("decoder", dict{"type": "WordPiece"}), `decoder: type "WordPiece" is not supported`},
		{atTop("decoder", "ByteLevel"), `decoder: type "" is not supported`},

		{atTop("pre_tokenizer", nil), `pre_tokenizer: missing; only byte-level`},
		{atTop("pre_tokenizer", dict{"type": "Whitespace"}), `pre_tokenizer: type "Whitespace" is not supported`},
		{atTop("pre_tokenizer", dict{"type": "Sequence"}), `pre_tokenizer.pretokenizers: want an array`},
		{atTop("pre_tokenizer", dict{"type": "Sequence", "pretokenizers": []any{}}), `pre_tokenizer: has no ByteLevel`},
		{atTop("pre_tokenizer", dict{"type": "ByteLevel"}), `pre_tokenizer.add_prefix_space: missing`},
		{atTop("pre_tokenizer", dict{"type": "ByteLevel", "add_prefix_space": 1}), `add_prefix_space: want true or false, got 1`},
		{before(dict{"type": "Metaspace"}), `pre_tokenizer.pretokenizers[0]: type "Metaspace" is not supported`},
		{before(dict{"type": "ByteLevel", "add_prefix_space": false}), `pre_tokenizer.pretokenizers[1]: a second ByteLevel`},
		{before(dict{"type": "Punctuation", "behavior": "contiguous"}), `[0].behavior: "contiguous" is not one of Removed, Isolated`},
		{before(dict{"type": "Digits"}), `[0].individual_digits: missing`},
		{before(dict{"type": "Split", "behavior": "Isolated", "invert": false}), `[0].pattern: missing`},
		{before(dict{"type": "Split", "behavior": "Isolated", "invert": false, "pattern": "x"}), `[0].pattern: want an object, got "x"`},
		{before(dict{"type": "Split", "behavior": "Isolated", "invert": false, "pattern": dict{}}), `[0].pattern: want one of String and Regex`},
		{before(dict{"type": "Split", "behavior": "Isolated", "invert": false, "pattern": dict{"String": ""}}), `[0].pattern.String: an empty pattern`},
		{before(dict{"type": "Split", "behavior": "Isolated", "invert": false, "pattern": dict{"Regex": `\s+(?!\S)`}}), `[0].pattern.Regex: pattern "\\s+(?!\\S)": the escape "\\s"`},
		{before(dict{"type": "Split", "behavior": "Isolated", "pattern": dict{"String": "x"}}), `[0].invert: missing`},
		{before(dict{"type": "Split", "invert": false, "pattern": dict{"String": "x"}}), `[0].behavior: missing`},

		{atTop("model", nil), `model: want an object, got null`},
		{inModel("type", "Unigram"), `model.type: "Unigram" is not supported`},
		{inModel("dropout", 0.1), `model.dropout: 0.1 is not supported`},
		{inModel("byte_fallback", true), `model.byte_fallback: true is not supported`},
		{inModel("continuing_subword_prefix", "##"), `model.continuing_subword_prefix: "##" is not supported`},
		{inModel("end_of_word_suffix", "</w>"), `model.end_of_word_suffix: "</w>" is not supported`},
		{inModel("cache_capacity", 1), `model.cache_capacity: unknown key`},
		{inModel("vocab", []any{}), `model.vocab: want an object`},
		{inModel("vocab", dict{}), `model.vocab: is empty`},
		{inModel("vocab", dict{"a": -1}), `model.vocab["a"]: want an id from 0 to 1048575, got -1`},
		{inModel("vocab", dict{"a": 1 << 20}), `model.vocab["a"]: want an id`},
		{inModel("vocab", dict{"a": 1.5}), `model.vocab["a"]: want an id`},
		{inModel("vocab", dict{"a": "1"}), `model.vocab["a"]: want an id`},
		{inModel("vocab", dict{"a": 1, "b": 1}), `id 1 is also that of`},
		{inModel("merges", nil), `model.merges: want an array`},
		{inModel("merges", []any{"a b c"}), `model.merges[0]: want "a b" or ["a","b"], got "a b c"`},
		{inModel("merges", []any{"ab"}), `model.merges[0]: want "a b"`},
		{inModel("merges", []any{[]any{"a"}}), `model.merges[0]: want "a b"`},
		{inModel("merges", []any{[]any{"a", "b", "c"}}), `model.merges[0]: want "a b"`},
		{inModel("merges", []any{[]any{"a", 1}}), `model.merges[0]: want "a b"`},
		{inModel("merges", []any{"z q"}), `model.merges[0]: "zq" is not in the vocabulary`},
		{func(_, model map[string]any) {
			model["unk_token"] = "<unk>"
			delete(model["vocab"].(map[string]any), "z")
			model["merges"] = []any{}
		}, `model.unk_token: "<unk>" is not supported for a vocabulary without all 256 byte symbols (1 missing)`},

		{atTop("added_tokens", dict{}), `added_tokens: want an array`},
		{tokens(addedJSON(1000, "")), `added_tokens[0].content: is empty`},
		{tokens(addedJSON(1000, "<x>"), addedJSON(1000, "<x>")), `added_tokens[1].content: "<x>" is given twice`},
		{tokens(addedJSON(1005, "<x>")), `added_tokens[0].id: "<x>" has id 1005, but the official library gives it 1000`},
		{tokens(addedJSON(3, "er")), `added_tokens[0].id: "er" has id 3, but the official library gives it`},
		{tokens(without("id")), `added_tokens[0].id: want a number`},
		{tokens(without("content")), `added_tokens[0].content: missing`},
		{tokens(without("special")), `added_tokens[0].special: missing`},
		{tokens(without("lstrip")), `added_tokens[0].lstrip: missing`},
		{func(spec, model map[string]any) {
			id := model["vocab"].(map[string]any)["er"].(float64)
			spec["added_tokens"] = []any{addedJSON(int(id), "er", "special")}
		}, `added_tokens[0]: special token "er" is also made from plain text`},
		{func(spec, model map[string]any) {
			model["vocab"].(map[string]any)["far"] = 1001 // 1001 entries, so the next id is 1001 too
			spec["added_tokens"] = []any{addedJSON(1001, "<x>")}
		}, `added_tokens[0].id: id 1001 of "<x>" is also that of "far"`},
	} {
		_, err := Parse(edit(t, smallFile(t), c.change))
		if err == nil {
			t.Errorf("accepted; want an error with %q", c.want)
		} else if !strings.HasPrefix(err.Error(), "tokenizer: parse: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %q, want %q in it", err, c.want)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Parse(edit(t, smallFile(t), func(spec, model map[string]any) {
		spec["normalizer"] = dict{"type": "NFKC"}
		spec["decoder"] = dict{"type": "Metaspace"}
		model["dropout"] = 0.5
		for range 30 {
			model["merges"] = append(model["merges"].([]any), "?")
		}
	}))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"33 problems", "NFKC", "Metaspace", "model.dropout", "model.merges[", "and 13 more"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
}

// What the official library takes and what changes no id is accepted.
func TestHarmlessSettingsAreAccepted(t *testing.T) {
	want := loadSmall(t).Encode("the river, 1234 bridges")
	for name, change := range map[string]func(spec, model map[string]any){
		"no type":         func(_, model map[string]any) { delete(model, "type") },
		"dropout 0":       func(_, model map[string]any) { model["dropout"] = 0.0 },
		"unk without use": func(_, model map[string]any) { model["unk_token"] = EndOfDocument; model["fuse_unk"] = true },
		"null affixes":    func(_, model map[string]any) { model["continuing_subword_prefix"] = nil },
		"#version line": func(_, model map[string]any) {
			model["merges"] = append([]any{"#version: 0.2"}, model["merges"].([]any)...)
		},
		"no optional keys": func(spec, _ map[string]any) {
			delete(spec, "padding")
			delete(spec, "post_processor")
			delete(spec, "version")
		},
	} {
		if got := parseEdited(t, change).Encode("the river, 1234 bridges"); !slices.Equal(got, want) {
			t.Errorf("%s: ids %v, want %v", name, got, want)
		}
	}
}

// Of a merge given twice the last rank counts, as measured with the official library.
func TestRepeatedMerge(t *testing.T) {
	tok := parseEdited(t, func(spec, model map[string]any) {
		vocab := dict{"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4}
		model["vocab"], model["merges"], spec["added_tokens"] = vocab, []any{"a b", "b c", "a b"}, []any{}
	})
	if got, want := tok.Encode("abc"), []int32{0, 4}; !slices.Equal(got, want) {
		t.Errorf("Encode(abc) = %v, want %v", got, want)
	}
}

func TestMalformedFiles(t *testing.T) {
	small := string(smallFile(t))
	for _, c := range []struct{ data, want string }{
		{"", "unexpected end of JSON input"},
		{"[]", "top level: want an object, got []"},
		{"null", "top level: want an object, got null"},
		{small[:len(small)/2], "unexpected end of JSON input"},
		{"{\n \"version\": x}", "2:13: invalid character 'x'"},
		{"\uFEFF" + small, "1:1: invalid character"},
		{small + "{}", "invalid character '{' after top-level value"},
		{strings.Replace(small, `"vocab"`, "\"vo\xFFcab\"", 1), "not valid UTF-8"},
		{strings.Replace(small, `"!":0`, `"\ud83d":0`, 1), `"\\ud83d" is half a surrogate pair`},
		{strings.Replace(small, `"!":0`, `"\\\udc00":0`, 1), `"\\udc00" is half a surrogate pair`},
		{strings.Replace(small, `"!":0`, `"!":0,"!":0`, 1), `model.vocab["!"]: given twice`},
		{strings.Replace(small, `"padding":null`, `"padding":null,"padding":null`, 1), `padding: given twice`},
		{strings.Replace(small, `"model"`, `"Model"`, 1), `Model: unknown key`},
		{"{\"pre_tokenizer\":" + strings.Repeat(`{"type":"Sequence","pretokenizers":[`, 4000) + strings.Repeat("]}", 4000) + "}", "more than 8 Sequences inside each other"},
		{strings.Repeat("[", 1<<20), "exceeded max depth"},
	} {
		start := cpuTime(t)
		_, err := Parse([]byte(c.data))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q in it", err, c.want)
		}
		if elapsed := cpuTime(t) - start; elapsed > slowdown*time.Second {
			t.Errorf("%q took %v", c.want, elapsed)
		}
	}
}

// Escapes, spacing and order of keys are the writer's choice.
func TestSpellingOfJSONDoesNotMatter(t *testing.T) {
	text := "the \u00bd river\u2019s 1234 \u6f22\n"
	var spaced bytes.Buffer
	if err := json.Indent(&spaced, edit(t, smallFile(t), func(_, _ map[string]any) {}), " ", "\t"); err != nil {
		t.Fatal(err)
	}
	var escaped strings.Builder
	for _, c := range "\r\n" + spaced.String() {
		if c > '~' {
			fmt.Fprintf(&escaped, `\u%04x`, c)
		} else {
			escaped.WriteRune(c)
		}
	}
	tok, err := Parse([]byte(escaped.String()))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Encode(text), loadSmall(t).Encode(text); !slices.Equal(got, want) {
		t.Errorf("Encode(%q) = %v, want %v", text, got, want)
	}
	// An escaped pair is one character.
	pair := bytes.Replace(smallFile(t), []byte(`"<|endoftext|>"`), []byte(`"\ud83e\uDD99"`), 1)
	if tok, err = Parse(pair); err != nil {
		t.Fatal(err)
	}
	if got := tok.EncodeSpecial("\U0001F999"); !slices.Equal(got, []int32{1000}) {
		t.Errorf("EncodeSpecial gave %v, want 1000", got)
	}
}

func TestLoadErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "tokenizer.json")
	if _, err := Load(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v for a missing file", err)
	}
	if err := os.WriteFile(missing, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v does not name the file", err)
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "want a file") {
		t.Errorf("error %v for a directory", err)
	}
	if err := os.Truncate(missing, maxFileSize+1); err != nil { // sparse: takes no room
		t.Skipf("no sparse files here: %v", err)
	}
	if _, err := Load(missing); err == nil || !strings.Contains(err.Error(), "at most 256 MiB") {
		t.Errorf("error %v for a file that is too large", err)
	}
}
