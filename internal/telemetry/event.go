package telemetry

import (
	"encoding/json"
	"log/slog"
	"time"
)

// Event is one thing that a run says. Exactly one of the pointers is set.
type Event struct {
	Time     time.Time
	Run      *Run      `json:",omitempty"`
	Record   *Record   `json:",omitempty"`
	Phase    *Phase    `json:",omitempty"`
	Progress *Progress `json:",omitempty"`
	Message  *Message  `json:",omitempty"`
	Samples  *Samples  `json:",omitempty"`
}

// Run announces a run, or its continuation.
type Run struct {
	Name  string
	Stage string // sft, reward, ppo
	Unit  Unit
	Done  int // steps that are already behind: 0, or those of the checkpoint that the run resumes from
	Total int // steps at the end; 0 when that is not known
}

// Record is one step's metrics and timing. Steps count from 1; 0 stands for what was measured before the first.
type Record struct {
	Unit    Unit
	Index   int
	Total   int // as in Run
	Metrics Metrics
	Timing  Timing
}

// Timing is where a step's time went.
type Timing struct {
	Seconds float64 // since the record before this one, or since the run began
	Tokens  int64   // that the step worked on
	Phases  []Phase `json:",omitempty"` // in order of first use, one entry per name
}

// TokensPerSecond returns the step's throughput, 0 when it is not known.
func (t Timing) TokensPerSecond() float64 {
	if t.Seconds <= 0 || t.Tokens <= 0 {
		return 0
	}
	return float64(t.Tokens) / t.Seconds
}

// Phase is a finished part of a step, such as rollout or policy_update.
type Phase struct {
	Name    string
	Seconds float64
	Tokens  int64 // 0 when they were not counted
}

// Progress is how far a task inside a step, or a command without steps, has come.
type Progress struct {
	Task   string // rollout, score, ...
	Unit   string // what Done and Total count: responses, tokens, lines, ...
	Done   int64
	Total  int64 // 0 when it is not known
	Tokens int64 // tokens so far, for the throughput; 0 when they are not counted
}

// Message is a log record.
type Message struct {
	Level slog.Level
	Text  string
	Attrs []Attr `json:",omitempty"`
}

// Attr is one attribute of a message: its key, with groups joined by dots, and a string, bool, integer or float.
type Attr struct {
	Key   string
	Value any
}

// Samples is a table of prompts, responses and scores at a step.
type Samples struct {
	Index int
	Table Table
}

// UnmarshalJSON keeps integers integers, which JSON alone would turn into floats.
func (a *Attr) UnmarshalJSON(data []byte) error {
	var raw struct {
		Key   string
		Value json.RawMessage
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	a.Key = raw.Key
	var n int64
	if json.Unmarshal(raw.Value, &n) == nil {
		a.Value = n
		return nil
	}
	return json.Unmarshal(raw.Value, &a.Value)
}
