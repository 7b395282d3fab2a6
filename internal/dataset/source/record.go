package source

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Use says what the records will be made into. It decides which parts of a conversation tree or of a pair are read.
type Use int

const (
	ForSFT     Use = iota // a prompt and the response to learn
	ForRanking            // a prompt and several responses, best first
	ForPrompts            // a prompt alone
)

// Kind is a data set's format, by the name that the config uses.
type Kind string

// The formats that Read knows.
const (
	OASST1  Kind = "oasst1"
	HHRLHF  Kind = "hh-rlhf"
	Dolly   Kind = "dolly"
	NatInst Kind = "natinst"
	Prompts Kind = "prompts"
	Pairs   Kind = "pairs"
)

// Kinds lists the formats in the order of the documentation.
var Kinds = []Kind{OASST1, HHRLHF, Dolly, NatInst, Prompts, Pairs}

// Licence returns the licence under which the public data set of this kind is published, or "" for a user's own data.
func (k Kind) Licence() string {
	switch k {
	case OASST1, NatInst:
		return "Apache-2.0"
	case HHRLHF:
		return "MIT"
	case Dolly:
		return "CC BY-SA 3.0"
	}
	return ""
}

// Serves reports whether the format holds what the use needs.
func (k Kind) Serves(u Use) bool {
	switch u {
	case ForRanking:
		return k == OASST1 || k == HHRLHF || k == Pairs
	}
	return true
}

// HasLanguage reports whether rows of this format name their language.
func (k Kind) HasLanguage() bool { return k == OASST1 || k == NatInst }

// Turn is one message of a conversation.
type Turn struct {
	User bool // written by the user; otherwise by the assistant
	Text string
}

// Example is a solved instance of a task, shown in few-shot prompts.
type Example struct{ Input, Output string }

// Alternative is one of several responses to the same prompt.
type Alternative struct {
	Text string
	Rank int // 0 is the best; equal ranks mean no preference
}

// Record is one prompt with what is known about good responses to it. Texts hold valid UTF-8, no NUL, and LF line ends.
type Record struct {
	ID       string // unique within a source where the data allow it, never empty
	At       Location
	Language string // as the data name it; "" when they do not
	System   string // "" when there is none

	// Turns is the conversation that the response continues: user and assistant alternate, the user begins and ends.
	Turns []Turn
	// Instruction and Input are the same prompt seen as a task, for single-turn prompts: the instruction (or task
	// definition) and the material it is about ("" when there is none).
	Instruction, Input string
	Examples           []Example // Natural Instructions: the task's positive examples in file order

	PromptIDs []int32 // given token ids; then Turns is empty and nothing is rendered

	Response    string // the reference response
	HasResponse bool
	Ranked      []Alternative // best first

	// SplitKey decides the side of the held-out split: records that must stay together have equal keys. It is the system message
	// and the first user turn, or the given ids.
	SplitKey string
}

// Location is where a row was read.
type Location struct {
	File   string
	Unit   string // "" for lines; "instance" or "row" otherwise
	Number int    // from 1
}

// String gives file:line, or file: unit number.
func (l Location) String() string {
	switch {
	case l.Number == 0:
		return l.File
	case l.Unit == "":
		return fmt.Sprintf("%s:%d", l.File, l.Number)
	}
	return fmt.Sprintf("%s: %s %d", l.File, l.Unit, l.Number)
}

// conversationKey is the split key of everything that starts with the same system message and user turn, whatever the source,
// the rendering and what follows: public data hold many rows that are one conversation cut at different turns, and what one
// row asks for stands in another's history. So a tree of messages stays on one side, too.
func conversationKey(system, first string) string {
	if system != "" {
		system = "s\x00" + system + "\x00"
	}
	return system + "u\x00" + first + "\x00" // texts hold no NUL, so the key is unambiguous
}

// singleTurn fills in the prompt of a task: one user turn made of instruction and input.
func (r *Record) singleTurn(instruction, input string) {
	r.Instruction, r.Input = instruction, input
	text := instruction
	if input != "" {
		text += "\n\n" + input
	}
	r.Turns = []Turn{{User: true, Text: text}}
	r.SplitKey = conversationKey(r.System, text)
}

// conversation fills in the prompt of a dialogue; a dialogue of one turn is a task, too.
func (r *Record) conversation(system string, turns []Turn) {
	r.System, r.Turns = system, turns
	if len(turns) == 1 {
		r.Instruction = turns[0].Text
	}
	r.SplitKey = conversationKey(system, turns[0].Text)
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

// below is the location with its file named from a folder on: stable across machines, so that it can name a record.
func (l Location) below(folder string) string {
	if name, err := filepath.Rel(folder, l.File); err == nil {
		l.File = filepath.ToSlash(name)
	}
	return strings.ReplaceAll(l.String(), ": ", ":")
}
