package tokenizer

import (
	"bufio"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var documentsFile = flag.String("documents", "", "file of lines {\"text\": ...} for BenchmarkDocuments")

// documents gives the texts of -documents, in order.
func documents(b *testing.B) (texts []string) {
	b.Helper()
	if *documentsFile == "" {
		b.Skip("no -documents; scripts/bench/encoding.py gives them")
	}
	file, err := os.Open(*documentsFile)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var line struct{ Text string }
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			b.Fatalf("%s:%d: %v", *documentsFile, len(texts)+1, err)
		}
		texts = append(texts, line.Text)
	}
	if err := scanner.Err(); err != nil {
		b.Fatalf("%s: %v", *documentsFile, err)
	}
	return texts
}

// Our side of scripts/bench/encoding.py: a pass over all documents, each encoded or decoded alone.
func BenchmarkDocuments(b *testing.B) {
	texts := documents(b)
	tok := loadFalcon(b)
	size := int64(0)
	for _, text := range texts {
		size += int64(len(text))
	}
	ids := make([][]int32, len(texts))
	encode := func() {
		for i, text := range texts {
			ids[i] = tok.Encode(text)
		}
	}
	decoded := make([]string, len(texts))
	for _, pass := range []struct {
		name string
		run  func()
	}{
		{"first", func() { tok.cache = newWordCache(); encode() }}, // no word is known
		{"again", encode},
		{"decode", func() {
			for i := range ids {
				decoded[i] = tok.Decode(ids[i])
			}
		}},
	} {
		b.Run(pass.name, func(b *testing.B) {
			encode()
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				pass.run()
			}
		})
	}
}
