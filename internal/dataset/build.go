package dataset

import (
	"fmt"

	"alfred/internal/dataset/source"
)

// Why samples are dropped after reading.
const (
	TooLong      source.Reason = "over the length limit"
	Duplicate    source.Reason = "duplicate"
	NoTokens     source.Reason = "no tokens"
	NeedsHistory source.Reason = "several turns or a system message, which only render: chat shows"
)

// What is noted.
const (
	LostBytes   source.Reason = "bytes that the tokenizer has no symbol for"
	LongReplies source.Reason = "responses over the length limit left out of rankings"
	FewerShots  source.Reason = "prompts with fewer examples than shots"
)

// builder makes samples out of the records of one source. Each record is built by a copy of its own, in parallel.
type builder struct {
	*rendering
	Options
	source string
	lossy  *[256]bool // bytes that the tokenizer leaves out; nil when it keeps all
	lost   int        // bytes left out so far
}

func newBuilder(r *rendering, o Options, source string) *builder {
	b := &builder{rendering: r, Options: o, source: source}
	if t, ok := o.Tokenizer.(dropper); ok {
		var lossy [256]bool
		for c := range lossy {
			if lossy[c] = t.Dropped(string([]byte{byte(c)})) > 0; lossy[c] {
				b.lossy = &lossy
			}
		}
	}
	return b
}

// dropper is a tokenizer that says how many bytes of a text its ids do not hold.
type dropper interface{ Dropped(text string) int }

// encode is the tokenizer's Encode, counting lost bytes. Asking the tokenizer costs as much as encoding, so it is asked
// only about texts that hold a byte that it left out when asked about that byte alone.
func (b *builder) encode(text string) []int32 {
	if b.lossy != nil {
		for i := range len(text) {
			if b.lossy[text[i]] {
				b.lost += b.Tokenizer.(dropper).Dropped(text)
				break
			}
		}
	}
	return b.Tokenizer.Encode(text)
}

// built is what became of one record.
type built[T Sample] struct {
	sample T
	drop   source.Reason // "" when the sample is good
	notes  map[source.Reason]int
	key    string
}

func build[T Sample](shared *builder, rec *source.Record) (out built[T], err error) {
	own := *shared
	b := &own
	out.key = rec.SplitKey
	if rec.PromptIDs == nil && !b.takes(rec) {
		out.drop = NeedsHistory
		return out, nil
	}
	if rec.PromptIDs == nil && b.Tokenizer == nil {
		return out, fmt.Errorf("%s: the row holds text, but there is no tokenizer (model.tokenizer, or prompt_ids): %w", rec.At, ErrSpec)
	}
	note := func(r source.Reason, n int) {
		if n > 0 && out.notes == nil {
			out.notes = map[source.Reason]int{}
		}
		if n > 0 {
			out.notes[r] = n
		}
	}
	switch sample := any(&out.sample).(type) {
	case *SFT:
		*sample, out.drop, err = b.sft(rec)
	case *Ranked:
		var long int
		*sample, long, out.drop, err = b.ranked(rec)
		note(LongReplies, long)
	case *Prompt:
		*sample, out.drop, err = b.rolloutPrompt(rec)
	}
	if b.name == "few_shot" && len(rec.Examples) < b.shots {
		note(FewerShots, 1)
	}
	note(LostBytes, b.lost)
	return out, err
}

// promptIDs renders and tokenises a prompt as one text.
func (b *builder) promptIDs(rec *source.Record) (ids []int32, text string, err error) {
	if rec.PromptIDs != nil {
		return rec.PromptIDs, "", nil
	}
	parts, err := b.segments(rec)
	if err != nil {
		return nil, "", err
	}
	text = joined(parts)
	return b.encode(text), text, nil
}

// responseIDs renders and tokenises a response and appends EOD.
func (b *builder) responseIDs(text string) ([]int32, error) {
	text, err := b.response(text)
	if err != nil {
		return nil, err
	}
	return exactly(b.encode(text), []int32{b.EOD}), nil
}

// exactly joins ids in memory of just their size. Tokenizers reserve for more tokens than a text turns out to have, and
// samples stay in memory for the whole run.
func exactly(pieces ...[]int32) []int32 {
	n := 0
	for _, ids := range pieces {
		n += len(ids)
	}
	if len(pieces) == 1 && cap(pieces[0]) == n {
		return pieces[0]
	}
	all := make([]int32, 0, n)
	for _, ids := range pieces {
		all = append(all, ids...)
	}
	return all
}

func (b *builder) sft(rec *source.Record) (s SFT, drop source.Reason, err error) {
	var pieces [][]int32
	var learn []bool // by piece
	if b.LossTurns == LossAll {
		parts, err := b.segments(rec)
		if err != nil {
			return s, "", err
		}
		for _, p := range parts {
			pieces, learn = append(pieces, b.encode(p.text)), append(learn, p.assistant)
		}
	} else {
		ids, _, err := b.promptIDs(rec)
		if err != nil {
			return s, "", err
		}
		pieces, learn = append(pieces, ids), append(learn, false)
	}
	response, err := b.responseIDs(rec.Response)
	if err != nil {
		return s, "", err
	}
	n := len(response)
	for _, ids := range pieces {
		n += len(ids)
	}
	switch {
	case n == len(response) || len(response) == 1: // nothing to continue, or nothing but EOD to learn
		return s, NoTokens, nil
	case b.MaxLen > 0 && n > b.MaxLen:
		return s, TooLong, nil
	}
	pieces, learn = append(pieces, response), append(learn, true)
	s = SFT{ID: rec.ID, Source: b.source, IDs: exactly(pieces...), Loss: make([]bool, 0, n)}
	for i, ids := range pieces {
		for range ids {
			s.Loss = append(s.Loss, learn[i])
		}
	}
	s.Loss[0] = false // nothing comes before it that could predict it
	return s, "", nil
}

// ranked drops single responses over the limit, and the whole when fewer than two with different ranks are left.
func (b *builder) ranked(rec *source.Record) (r Ranked, long int, drop source.Reason, err error) {
	r = Ranked{ID: rec.ID, Source: b.source, Responses: make([][]int32, 0, len(rec.Ranked)), Ranks: make([]int, 0, len(rec.Ranked))}
	ids, _, err := b.promptIDs(rec)
	if err != nil {
		return r, 0, "", err
	}
	r.Prompt = exactly(ids)
	if len(r.Prompt) == 0 {
		return r, 0, NoTokens, nil
	}
	for _, alternative := range rec.Ranked {
		response, err := b.responseIDs(alternative.Text)
		if err != nil {
			return r, 0, "", err
		}
		if b.MaxLen > 0 && len(r.Prompt)+len(response) > b.MaxLen {
			long++
			continue
		}
		r.Responses = append(r.Responses, response)
		r.Ranks = append(r.Ranks, alternative.Rank)
	}
	if n := len(r.Ranks); n < 2 || r.Ranks[0] == r.Ranks[n-1] {
		return r, 0, TooLong, nil // the sample is counted, so its responses are not
	}
	return r, long, "", nil
}

func (b *builder) rolloutPrompt(rec *source.Record) (p Prompt, drop source.Reason, err error) {
	ids, text, err := b.promptIDs(rec)
	if err != nil {
		return p, "", err
	}
	p = Prompt{ID: rec.ID, Source: b.source, Text: text, IDs: exactly(ids), Reference: rec.Response}
	switch {
	case len(p.IDs) == 0:
		return p, NoTokens, nil
	case b.PromptMaxLen > 0 && len(p.IDs) > b.PromptMaxLen:
		return p, TooLong, nil
	}
	return p, "", nil
}
