package official

import (
	"strings"
	"unicode/utf8"

	"alfred/internal/eval/python"
)

// logiQABlock is the lines of one example between its blank lines.
const logiQABlock = 7

// logiQA: LogiQA's own files, blocks of a blank line, the answer's letter, context, question and four options "A.text"; the hub's
// logiqa.py (EleutherAI), which puts a space behind every full stop, strips every text, and cuts the first two characters off each
// option whether or not they are its letter. That is kept, for it is what the harness asks, and noted.
func logiQA(in *input) error {
	f := in.rowFiles[0]
	var block []string
	start := 0
	end := func() {
		if len(block) > 0 {
			in.logiQABlock(place{f.name, start}, block)
		}
		block = nil
	}
	for number, line := range f.lines {
		if len(line) == 0 {
			end()
			continue
		}
		if block == nil {
			start = number
		}
		block = append(block, string(line))
	}
	end()
	return nil
}

func (in *input) logiQABlock(at place, block []string) {
	f := newFields(nil)
	if len(block) != logiQABlock {
		in.report.skip(at, problemf(WrongBlock, "%d, not %d", len(block), logiQABlock))
		return
	}
	for _, line := range block {
		if !utf8.ValidString(line) {
			in.report.skip(at, &problem{reason: NotUTF8})
			return
		}
	}
	label := python.Strip(block[0])
	if len(label) != 1 || label[0] < 'a' || label[0] > 'd' {
		f.fail(UnknownAnswer, "%q", label)
	}
	options := []any{}
	for i, option := range block[3:] {
		switch letter := optionLetter(option, i); {
		case letter < 0:
			f.note(CutOption, "%q", option)
		case letter != i:
			f.note(MovedOption, "%q is number %d", option, i+1)
		}
		text := spaceStops(string([]rune(option)[min(2, len([]rune(option))):]))
		if text == "" {
			f.note(EmptyChoice, "option %d", i)
		}
		options = append(options, text)
	}
	in.finish(at, f.row, python.NewDict("label", label, "context", spaceStops(block[1]), "question", spaceStops(block[2]), "options", options))
}

// optionLetter is the number of the letter that option i starts with, or -1. The letter ends with a full stop or a question mark, and
// that of its own place with a space as well: "A small town" as third option has none.
func optionLetter(option string, i int) int {
	if len(option) < 2 {
		return -1
	}
	letter := strings.IndexByte("ABCDabcd", option[0])
	if letter >= 0 {
		letter %= 4
	}
	if end := option[1]; end == '.' || end == '?' || end == ' ' && letter == i {
		return letter
	}
	return -1
}

// spaceStops is the normalize of logiqa.py.
func spaceStops(s string) string { return python.Strip(strings.ReplaceAll(s, ".", ". ")) }
