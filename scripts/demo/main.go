// Command demo writes the data of `alfred demo`: a tokenizer, and conversations about three dozen things.
//
//	go run ./scripts/demo
//
// Everything is a function of the word lists in texts.go: the same words give the same bytes, on any machine. A test holds the
// files in the repository against that.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("out", filepath.Join("internal", "demo", "data"), "folder to write to")
	flag.Parse()
	files, err := generate()
	if err == nil {
		err = os.MkdirAll(*out, 0o755)
	}
	for name, data := range files {
		if err == nil {
			err = os.WriteFile(filepath.Join(*out, name), data, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// generate returns the generated files by name.
func generate() (map[string][]byte, error) {
	conversations, pairs, prompts := makeConversations(), makePairs(), makePrompts()
	files := map[string][]byte{
		"sft.jsonl":     lines(conversations),
		"pairs.jsonl":   lines(pairs),
		"prompts.jsonl": lines(prompts),
	}
	var texts []string
	for _, c := range conversations {
		texts = append(texts, renderPrompt(c.Prompt), " "+c.Response)
	}
	tokenizer, err := trainTokenizer(texts)
	files["tokenizer.json"] = tokenizer
	return files, err
}
