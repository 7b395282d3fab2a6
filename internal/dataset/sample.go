package dataset

import (
	"encoding/binary"
	"io"

	"alfred/internal/dataset/source"
)

// SFT is a sequence for supervised fine-tuning: prompt, response, EOD.
type SFT struct {
	ID, Source string
	IDs        []int32 // [T]
	// Loss [T] marks the tokens to be learnt: Loss[t] means that -log p(IDs[t] | IDs[:t]) counts. Loss[0] is false; the EOD
	// counts. With LossTurns "all" it also marks the assistant's earlier turns, which have no EOD.
	Loss []bool
}

// Ranked is a prompt with two or more responses, best first.
type Ranked struct {
	ID, Source string
	Prompt     []int32
	Responses  [][]int32 // each ends with EOD
	Ranks      []int     // Ranks[i] of Responses[i], ascending; equal ranks mean no preference
}

// Sequence returns prompt and response i as one new sequence.
func (r Ranked) Sequence(i int) []int32 {
	return append(append(make([]int32, 0, len(r.Prompt)+len(r.Responses[i])), r.Prompt...), r.Responses[i]...)
}

// Prompt is a prompt to be continued by a policy.
type Prompt struct {
	ID, Source string
	Text       string // rendered; "" for prompts given as ids
	IDs        []int32
	Reference  string // the data's own response, "" when there is none
}

// Sample is one of the kinds of samples that Open makes.
type Sample interface {
	SFT | Ranked | Prompt
	lengths() []int                          // tokens of each of its sequences
	identify(w io.Writer)                    // what makes two samples duplicates
	show(decode func([]int32) string) string // for a reader
	use() source.Use
}

func (SFT) use() source.Use    { return source.ForSFT }
func (Ranked) use() source.Use { return source.ForRanking }
func (Prompt) use() source.Use { return source.ForPrompts }

func (s SFT) lengths() []int    { return []int{len(s.IDs)} }
func (p Prompt) lengths() []int { return []int{len(p.IDs)} }
func (r Ranked) lengths() []int {
	n := make([]int, len(r.Responses))
	for i := range n {
		n[i] = len(r.Prompt) + len(r.Responses[i])
	}
	return n
}

func (s SFT) identify(w io.Writer)    { writeIDs(w, s.IDs) }
func (p Prompt) identify(w io.Writer) { writeIDs(w, p.IDs) }
func (r Ranked) identify(w io.Writer) {
	writeIDs(w, r.Prompt)
	for i, ids := range r.Responses {
		writeIDs(w, ids)
		writeIDs(w, []int32{int32(r.Ranks[i])})
	}
}

func writeIDs(w io.Writer, ids []int32) {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 4*len(ids)+4), uint32(len(ids)))
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	w.Write(b)
}
