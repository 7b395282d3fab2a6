package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
)

// endOfDocument is the one special token.
const endOfDocument = "<|endoftext|>"

// word is the GPT-2 pattern as far as the demo's texts need it: no digits, no contractions, single spaces.
var word = regexp.MustCompile(` ?[A-Za-z]+| ?[^\sA-Za-z]+|\s+`)

// trainTokenizer learns a byte-level BPE (Sennrich et al., arXiv:1508.07909, over the bytes of words): again and again the
// most frequent pair of neighbouring symbols becomes a symbol; of equally frequent ones, the first in the order of their
// texts. It ends when no pair occurs twice: every word of the demo is a token then. The result is a tokenizer.json.
func trainTokenizer(texts []string) ([]byte, error) {
	counts := map[string]int{}
	for _, text := range texts {
		for _, w := range word.FindAllString(text, -1) {
			counts[w]++
		}
	}
	vocabulary := []string{endOfDocument}
	for b := range 256 {
		vocabulary = append(vocabulary, symbol(byte(b)))
	}
	words := make([][]string, 0, len(counts))
	weights := make([]int, 0, len(counts))
	for w, n := range counts { // in no order: only sums are taken over it
		var symbols []string
		for _, b := range []byte(w) {
			symbols = append(symbols, symbol(b))
		}
		words, weights = append(words, symbols), append(weights, n)
	}
	var rules []string
	for {
		left, right := mostFrequent(words, weights)
		if left == "" {
			return tokenizerFile(vocabulary, rules)
		}
		rules = append(rules, left+" "+right)
		vocabulary = append(vocabulary, left+right)
		for i, w := range words {
			words[i] = merge(w, left, right)
		}
	}
}

// mostFrequent is the pair of neighbours that occurs most often, and more than once; empty when there is none.
func mostFrequent(words [][]string, weights []int) (left, right string) {
	counts := map[[2]string]int{}
	for i, w := range words {
		for j := 1; j < len(w); j++ {
			counts[[2]string{w[j-1], w[j]}] += weights[i]
		}
	}
	var best [2]string
	most := 1
	for pair, n := range counts {
		if n > most || n == most && best[0] != "" && slices.Compare(pair[:], best[:]) < 0 {
			best, most = pair, n
		}
	}
	return best[0], best[1]
}

// merge replaces every occurrence of a pair, from the left.
func merge(w []string, left, right string) (out []string) {
	for i := 0; i < len(w); i++ {
		if i+1 < len(w) && w[i] == left && w[i+1] == right {
			out = append(out, left+right)
			i++
		} else {
			out = append(out, w[i])
		}
	}
	return out
}

// symbol is the character that stands for a byte in a tokenizer.json: itself where it is printable, otherwise the next free
// one from U+0100 on, as in GPT-2.
func symbol(b byte) string {
	printable := func(b byte) bool { return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae }
	if printable(b) {
		return string(rune(b))
	}
	n := 0
	for c := range b {
		if !printable(c) {
			n++
		}
	}
	return string(rune(0x100 + n))
}

// tokenizerFile writes a tokenizer.json whose ids are the places in the vocabulary.
func tokenizerFile(vocabulary, rules []string) ([]byte, error) {
	var vocab bytes.Buffer
	for id, text := range vocabulary {
		quoted, err := json.Marshal(text)
		if err != nil {
			return nil, err
		}
		if id > 0 {
			vocab.WriteByte(',')
		}
		fmt.Fprintf(&vocab, "%s:%d", quoted, id)
	}
	byteLevel := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	file := map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil, "post_processor": nil,
		"pre_tokenizer": byteLevel, "decoder": byteLevel,
		"added_tokens": []any{map[string]any{
			"id": 0, "content": endOfDocument, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true,
		}},
		"model": map[string]any{
			"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
			"vocab": json.RawMessage("{" + vocab.String() + "}"), "merges": rules,
		},
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(file)
	return out.Bytes(), err
}
