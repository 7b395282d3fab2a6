package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"alfred/internal/tokenizer"
)

// data is where the demo embeds its files from.
const data = "../../internal/demo/data"

// TestFilesAreCurrent compares what the generator makes with what is in the tree.
func TestFilesAreCurrent(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(data, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what scripts/demo writes (%v): run go run ./scripts/demo", name, err)
		}
	}
}

// TestGenerationIsRepeatable: map order must not show.
func TestGenerationIsRepeatable(t *testing.T) {
	first, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		again, err := generate()
		if err != nil {
			t.Fatal(err)
		}
		for name := range first {
			if !bytes.Equal(first[name], again[name]) {
				t.Fatalf("%s differs from one run to the next", name)
			}
		}
	}
}

// TestEveryWordIsAToken: the trainer cuts texts into the words that alfred's tokenizer cuts them into, and the merges that it
// has learnt lead there, in their order.
func TestEveryWordIsAToken(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Parse(files["tokenizer.json"])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range makeConversations() {
		for _, text := range []string{renderPrompt(c.Prompt), " " + c.Response} {
			words := word.FindAllString(text, -1)
			ids := tok.Encode(text)
			if len(ids) != len(words) {
				t.Fatalf("%q: %d tokens, %d words", text, len(ids), len(words))
			}
			for i, id := range ids {
				if got := tok.Decode([]int32{id}); got != words[i] {
					t.Fatalf("%q: token %d is %q, word %d is %q", text, i, got, i, words[i])
				}
			}
		}
	}
}

func TestTrainerByHand(t *testing.T) {
	// "aab" three times and "ab" twice: (a, b) occurs 5 times, then (a, ab) 3 times; nothing is left.
	text, err := trainTokenizer([]string{"aab", "aab", "aab", "ab", "ab"})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if eod, ok := tok.EOD(); !ok || eod != 0 {
		t.Errorf("end of document: %d, %v", eod, ok)
	}
	for word, want := range map[string]int{"ab": 257, "aab": 258} {
		if ids := tok.Encode(word); len(ids) != 1 || int(ids[0]) != want {
			t.Errorf("%q: %v, want [%d]", word, ids, want)
		}
	}
}
