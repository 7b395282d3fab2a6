package task

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"alfred/internal/eval/python"
)

// Request is one question to a model. Which fields count depends on the task's output type.
type Request struct {
	Context      string
	Continuation string // log-likelihood of it; of Rolling, the whole text
}

// Sample is a document and what is asked about it.
type Sample struct {
	Index    int // among the task's documents
	Document *python.Dict
	Requests []Request
	Choices  []string // of tasks with choices
	Target   any      // doc_to_target
	gold     any      // what is right: Target, or for choices that are contexts doc_to_text
}

// Samples builds the requests of the first limit documents, or of all if limit is 0. As the examples of later documents depend on what was
// drawn for earlier ones, it can be called once.
func (t *Task) Samples(limit int) ([]*Sample, error) {
	docs := t.Documents
	if limit > 0 && limit < len(docs) {
		docs = docs[:limit]
	}
	samples := make([]*Sample, len(docs))
	for i, doc := range docs {
		s, err := t.sample(doc)
		if err != nil {
			return nil, t.failed(i, err)
		}
		s.Index = i
		samples[i] = s
	}
	return samples, nil
}

func (t *Task) sample(doc *python.Dict) (s *Sample, err error) {
	s = &Sample{Document: doc}
	if s.Choices, err = t.options(doc); err != nil {
		return nil, err
	}
	if s.Target, err = t.answer(doc); err != nil {
		return nil, err
	}
	s.gold = s.Target
	contexts := []string{""}
	if t.OutputType != Rolling {
		if contexts, err = t.contexts(doc, s.Choices); err != nil {
			return nil, err
		}
	}
	switch t.OutputType {
	case LogLikelihood, Rolling:
		target, ok := s.Target.(string)
		if !ok {
			return nil, t.docToTarget.at.errorf("doc_to_target gives %s, no text", shortened(python.Repr(s.Target)))
		}
		s.Requests = []Request{{contexts[0], target}}
	case GenerateUntil:
		s.Requests = []Request{{Context: contexts[0]}}
	case MultipleChoice:
		err = t.choose(s, contexts)
	}
	return s, err
}

// choose adds the requests of a document with choices.
func (t *Task) choose(s *Sample, contexts []string) (err error) {
	if t.multipleInput {
		if s.gold, err = t.question(s.Document); err != nil {
			return err
		}
		for _, c := range contexts {
			s.Requests = append(s.Requests, Request{c, t.TargetDelimiter + python.Str(s.Target)})
		}
		return nil
	}
	for _, c := range s.Choices {
		s.Requests = append(s.Requests, Request{contexts[0], t.TargetDelimiter + c})
	}
	if t.has("acc_mutual_info") {
		for _, c := range s.Choices {
			s.Requests = append(s.Requests, Request{"", t.TargetDelimiter + c})
		}
	}
	return nil
}

func (t *Task) has(metric string) bool {
	for _, m := range t.Metrics {
		if m.Name == metric {
			return true
		}
	}
	return false
}

// Hashes of a sample, as the harness writes them.
func (s *Sample) Hashes() (document, prompt, target string) {
	first := s.Requests[0].Context
	if first == "" && len(s.Requests) == 1 {
		first = s.Requests[0].Continuation // of a rolling request, the only argument
	}
	return hash(string(python.AppendJSON(nil, s.Document, 2))), hash(first), hash(python.Str(s.Target))
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// right are the numbers of the right choices, -100 for what is none.
func (s *Sample) right() ([]int, error) {
	switch gold := s.gold.(type) {
	case []any:
		var list []int
		for _, g := range gold {
			i, ok := index(g)
			if !ok {
				return nil, fmt.Errorf("the target %s holds something else than numbers of choices", shortened(python.Repr(gold)))
			}
			list = append(list, s.within(i))
		}
		return list, nil
	case string:
		for i, c := range s.Choices {
			if c == gold {
				return []int{i}, nil
			}
		}
		return []int{noChoice}, nil
	default:
		i, ok := index(gold)
		if !ok {
			return nil, fmt.Errorf("the target %s names no choice", shortened(python.Repr(gold)))
		}
		return []int{s.within(i)}, nil
	}
}

// noChoice is the number of a choice that does not exist.
const noChoice = -100

func (s *Sample) within(i int64) int {
	if i < int64(len(s.Choices)) {
		return int(i)
	}
	return noChoice
}
