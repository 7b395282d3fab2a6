package eval

import (
	"fmt"

	"alfred/internal/eval/python"
	"alfred/internal/eval/task"
)

// encoder turns requests in text into requests in tokens, by the harness's rules.
type encoder struct {
	tokenizer Tokenizer
	maxLength int
	prefix    int32

	truncated int // requests that were cut at their beginning to fit the context
}

// pair is the tokens of a context and its continuation. White space at the end of the context belongs to the continuation, so that a
// word's leading space stays with it. What the continuation's tokens are is read off the tokens of both together.
func (e *encoder) pair(r task.Request) (Score, error) {
	if r.Context == "" {
		ids, err := e.tokenizer.Encode(r.Continuation)
		switch {
		case err != nil:
			return Score{}, err
		case len(ids) > 0 && ids[0] != e.prefix:
			return e.fit([]int32{e.prefix}, ids)
		case len(ids) > 0:
			return e.fit(ids[:1], ids[1:])
		}
		return Score{}, errEmpty
	}
	context := python.RStrip(r.Context)
	continuation := r.Context[len(context):] + r.Continuation
	whole, err := e.tokenizer.Encode(context + continuation)
	if err != nil {
		return Score{}, err
	}
	before, err := e.tokenizer.Encode(context)
	if err != nil {
		return Score{}, err
	}
	return e.fit(before, whole[min(len(before), len(whole)):])
}

// errEmpty is a continuation without tokens.
var errEmpty = fmt.Errorf("there is no token to score: a choice or an answer is empty")

// fit cuts tokens off the beginning of what the model's context cannot hold. The last token is only predicted and needs no place.
func (e *encoder) fit(context, continuation []int32) (Score, error) {
	switch {
	case len(continuation) == 0 || len(context) == 0:
		return Score{}, errEmpty
	case len(continuation) > e.maxLength:
		return Score{}, fmt.Errorf("a continuation of %d tokens does not fit the model's context of %d", len(continuation), e.maxLength)
	}
	ids := append(append(make([]int32, 0, len(context)+len(continuation)), context...), continuation...)
	if over := len(ids) - (e.maxLength + 1); over > 0 {
		ids = ids[over:]
		e.truncated++
	}
	return Score{IDs: ids, From: len(ids) - len(continuation)}, nil
}

// rolling is the windows that a text is scored in: as many tokens as the context holds at a time, the first after the prefix token, later
// ones after the token before. Only the last window is shorter, and has as much before it as fits.
func (e *encoder) rolling(text string) (windows []Score, err error) {
	ids, err := e.tokenizer.Encode(text)
	if err != nil {
		return nil, err
	}
	ids = append([]int32{e.prefix}, ids...)
	for from := 1; from < len(ids); {
		end := min(from+e.maxLength, len(ids))
		first := from - 1
		if from > 1 {
			first = end - e.maxLength - 1
		}
		windows = append(windows, Score{IDs: ids[first:end], From: from - first})
		from = end
	}
	return windows, nil
}

// prompt is the tokens of a text to continue, cut at the beginning so that most more tokens fit.
func (e *encoder) prompt(text string, most int) ([]int32, error) {
	ids, err := e.tokenizer.Encode(text)
	if err != nil {
		return nil, err
	}
	room := e.maxLength - most
	switch {
	case room <= 0:
		return nil, fmt.Errorf("%d tokens to generate leave nothing of the model's context of %d for the prompt", most, e.maxLength)
	case len(ids) == 0:
		return nil, fmt.Errorf("the prompt has no tokens")
	case len(ids) > room:
		e.truncated++
		ids = ids[len(ids)-room:]
	}
	return ids, nil
}
