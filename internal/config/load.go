package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxBytes bounds a file. A config of a hundred data sets has some 20 kB; at
// a megabyte somebody has passed the wrong file.
const maxBytes = 1 << 20

// Load reads the config at path, with sets ("a.b=c", in order, later ones
// winning) put in before anything is checked. What the file leaves out has its
// default. Everything that is wrong is in the error, an *Errors.
func Load(path string, sets []string) (*Config, error) { return load(path, sets, false) }

// LoadRunnable is Load for a config that is to be run: what it lacks for that
// is reported with everything else.
func LoadRunnable(path string, sets []string) (*Config, error) { return load(path, sets, true) }

func load(path string, sets []string, runnable bool) (*Config, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, &Errors{[]Problem{{File: path, Message: err.Error()}}}
	}
	return decode(path, data, sets, runnable)
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	return data, cause(err)
}

// cause drops the operation and path of a file error; the caller names the path.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("cannot be read: %w", p.Err)
	}
	return err
}

// Parse is Load on bytes; name stands for the file in messages.
func Parse(name string, data []byte, sets []string) (*Config, error) {
	return decode(name, data, sets, false)
}

func decode(name string, data []byte, sets []string, runnable bool) (*Config, error) {
	d := &decoder{file: name, sets: sets, given: map[string]*yaml.Node{}, bad: map[string]bool{}, budget: maxValues}
	root, problem := parse(name, data)
	if problem != nil {
		return nil, &Errors{[]Problem{*problem}}
	}
	for i := range sets {
		root = d.set(root, i)
	}
	c := d.config(root)
	if lacks := c.lacks(); runnable && lacks != "" {
		d.conflict(lacks, "data", "trajectory.replay")
	}
	if len(d.problems) > 0 {
		return nil, d.errors()
	}
	return c, nil
}

// parse turns the text into the tree of its one document, a mapping. An empty
// file is an empty mapping. A syntax error is the only problem that hides
// others, as nothing after it can be told.
func parse(name string, data []byte) (*yaml.Node, *Problem) {
	if len(data) > maxBytes {
		return nil, &Problem{File: name, Message: fmt.Sprintf("larger than %d bytes: not a config", maxBytes)}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if p := badCharacter(name, data); p != nil {
		return nil, p
	}
	documents := yaml.NewDecoder(bytes.NewReader(data))
	root, err := next(documents)
	if err == io.EOF || err == nil && isNull(root) {
		root = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1}
	} else if err != nil {
		return nil, syntaxProblem(name, data, err)
	}
	if root.Kind != yaml.MappingNode {
		return nil, &Problem{name, root.Line, root.Column, "", "a config is a mapping of keys (stage: ...), this is " + describe(root)}
	}
	switch second, err := next(documents); {
	case err == io.EOF:
	case err != nil:
		return nil, syntaxProblem(name, data, err)
	default:
		return nil, &Problem{name, second.Line, second.Column, "", "a second document begins; a config file holds one"}
	}
	return root, nil
}

// next reads one document. The parser is known to panic on some malformed
// input; that is a syntax error to us.
func next(documents *yaml.Decoder) (root *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, fmt.Errorf("yaml: cannot be parsed (%v)", r)
		}
	}()
	var document yaml.Node
	if err := documents.Decode(&document); err != nil {
		return nil, err
	}
	return document.Content[0], nil
}

// badCharacter finds the first byte that is not UTF-8 or not allowed in YAML.
func badCharacter(name string, data []byte) *Problem {
	line, col := 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return &Problem{name, line, col, "", fmt.Sprintf("byte %#02x is not UTF-8; save the file as UTF-8", data[i])}
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f, r == 0xfffe, r == 0xffff:
			return &Problem{name, line, col, "", fmt.Sprintf("control character %U is not allowed", r)}
		}
		i += size
		if col++; r == '\n' {
			line, col = line+1, 1
		}
	}
	return nil
}

var (
	errorLine     = regexp.MustCompile(`^line (\d+): `)
	grammarError  = regexp.MustCompile(`^did not find expected (<|node content|key|'-' indicator|',' or)`)
	unknownAnchor = regexp.MustCompile(`unknown anchor '(.*)' referenced`)
)

// syntaxProblem places an error of the YAML parser, which names a line at
// best, and often one beside the slip. It counts lines from 1 in what its
// scanner finds, from 0 in what does not follow the grammar.
func syntaxProblem(name string, data []byte, err error) *Problem {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	p := &Problem{File: name, Line: 1, Col: 1}
	if m := errorLine.FindStringSubmatch(message); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
		if grammarError.MatchString(message) {
			p.Line++
		}
	}
	lines := strings.Split(string(data), "\n")
	for i := max(0, p.Line-2); i < min(len(lines), p.Line+1); i++ {
		indent := lines[i][:len(lines[i])-len(strings.TrimLeft(lines[i], " \t"))]
		if tab := strings.IndexByte(indent, '\t'); tab >= 0 {
			p.Line, p.Col = i+1, tab+1
			p.Message = "a tab cannot indent YAML; use spaces"
			return p
		}
	}
	p.Line = min(p.Line, 1+strings.Count(strings.TrimRight(string(data), " \t\r\n"), "\n")) // the end of the file is the end of its text
	line := lines[p.Line-1]
	p.Col = 1 + len(line) - len(strings.TrimLeft(line, " "))
	if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		if at := strings.Index(string(data), "*"+m[1]); at >= 0 {
			before := string(data[:at])
			p.Line = strings.Count(before, "\n") + 1
			p.Col = utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
		}
	}
	p.Message = "not valid YAML near here: " + message
	return p
}
