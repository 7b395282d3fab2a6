package rollout

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Record is one line of a replay file: a trajectory, and its score if it has one. Files hold one iteration each, one line per
// sequence in rollout order; fields that are not here are ignored.
type Record struct {
	PromptIDs   []int32  `json:"prompt_ids"`
	ResponseIDs []int32  `json:"response_ids"` // with the end-of-document token if and only if finish is "eod"
	Finish      Finish   `json:"finish"`
	Score       *float64 `json:"score,omitempty"`
}

// WriteRecords writes one line per record.
func WriteRecords(w io.Writer, records []Record) error {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	for _, r := range records {
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("rollout: record: %w", err)
		}
	}
	return b.Flush()
}

// ReadRecords reads a replay file and checks every line; all problems are reported, each with name:line. eod is the
// end-of-document token, vocabulary the number of entries of the model's vocabulary.
func ReadRecords(name string, r io.Reader, eod int32, vocabulary int) ([]Record, error) {
	var records []Record
	var problems []error
	lines := bufio.NewReader(r)
	for line := 1; ; line++ {
		text, err := lines.ReadBytes('\n')
		if len(text) == 0 && err == io.EOF {
			break
		}
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("rollout: %s:%d: %w", name, line, err)
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		var rec Record
		if err := json.Unmarshal(text, &rec); err != nil {
			problems = append(problems, fmt.Errorf("rollout: %s:%d: %w", name, line, err))
		} else if err := rec.check(eod, vocabulary); err != nil {
			problems = append(problems, fmt.Errorf("rollout: %s:%d: %w", name, line, err))
		}
		records = append(records, rec)
	}
	return records, errors.Join(problems...)
}

func (r Record) check(eod int32, vocabulary int) error {
	if _, err := ParseFinish(string(r.Finish)); err != nil {
		return err
	}
	if len(r.PromptIDs) == 0 || len(r.ResponseIDs) == 0 {
		return errors.New("prompt_ids and response_ids must not be empty")
	}
	for _, ids := range [][]int32{r.PromptIDs, r.ResponseIDs} {
		for _, id := range ids {
			if id < 0 || int(id) >= vocabulary {
				return fmt.Errorf("token %d is outside the vocabulary of %d", id, vocabulary)
			}
		}
	}
	at, last := slices.Index(r.ResponseIDs, eod), len(r.ResponseIDs)-1
	if (r.Finish == FinishEOD) != (at == last) || at >= 0 && at < last {
		return fmt.Errorf("finish is %q, response_ids has %d tokens and the token that ends documents, %d, is number %d of them", r.Finish, last+1, eod, at+1)
	}
	return nil
}
