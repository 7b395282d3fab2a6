package eval

import (
	"context"
	"strings"

	"alfred/internal/eval/task"
)

// Model answers requests in tokens. Answers come in any order; what visit is given is valid until it returns, and an error of visit stops
// the work. A request is answered the same whatever else is asked.
type Model interface {
	// Score gives the log-prob of each token IDs[From:], summed, and whether each is the most probable one.
	Score(ctx context.Context, requests []Score, visit func(i int, a task.Answer) error) error
	// Generate continues prompts greedily.
	Generate(ctx context.Context, requests []Generate, visit func(i int, text string) error) error
}

// Tokenizer turns text into tokens. The text of special tokens stands for them, as in the harness.
type Tokenizer interface {
	Encode(text string) ([]int32, error)
}

// Score is a request for the log-likelihood of tokens: 1 ≤ From < len(IDs).
type Score struct {
	IDs  []int32
	From int
}

// Generate is a request for a continuation: up to Most tokens, until the text has one of Stop or the end of the document. The text goes up to
// the first of them and has no special tokens.
type Generate struct {
	Prompt []int32
	Most   int
	Stop   []string
}

// Description of a model, as far as results depend on it.
type Description struct {
	Name       string // as it is shown
	Source     string // alfred, or the address of a server
	Dir        string
	Precision  string
	Parameters int64
	MaxLength  int   // tokens of its context
	Prefix     int32 // the token before a text that has nothing before it
	// Weights and tokenizer by SHA-256, hexadecimal; "" where they cannot be had.
	Weights, TokenizerSHA string
}

// Cut is text up to the first occurrence of each of stop, one after the other, as the harness does it.
func Cut(text string, stop []string) string {
	for _, s := range stop {
		if s != "" {
			text, _, _ = strings.Cut(text, s)
		}
	}
	return text
}
