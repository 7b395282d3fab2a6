package rlhf

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"

	"alfred/internal/ppo"
)

// Errors that end a run with an exit code of their own.
var (
	// ErrStopped: asked to stop; what was done is saved and the run can go on later.
	ErrStopped = errors.New("stopped on request")
	// ErrNumerical: three bad updates in a row, or a ratio that is not 1 where it must be.
	ErrNumerical = errors.New("numerical failure")
	// ErrMismatch: models, tokenizers, data or a checkpoint that do not go together.
	ErrMismatch = errors.New("inputs do not fit together")
	// ErrUnsupported: a request that cannot be served as it is made.
	ErrUnsupported = errors.New("not possible")
	// ErrRefused: the run needs more memory than there is.
	ErrRefused = errors.New("refused by the memory plan")
)

// State is all that a run carries from one step to the next besides weights and optimizer state. It is saved and restored whole.
type State struct {
	Step        int               `json:"step"`         // steps or iterations done
	Position    uint64            `json:"position"`     // samples or prompts drawn from the data
	PromptsSeen int64             `json:"prompts_seen"` // prompts rolled out
	TokensSeen  int64             `json:"tokens_seen"`  // tokens trained on
	KL          ppo.KLController  `json:"kl"`
	Skipped     int               `json:"skipped"` // optimizer steps that were dropped; a dropped iteration counts once
	Streak      map[string]int    `json:"streak"`  // by model: how many were dropped in a row
	Updates     map[string]int    `json:"updates"` // by model: optimizer steps taken
	FailedSaves int               `json:"failed_saves"`
	Origin      string            `json:"origin,omitempty"` // the run whose checkpoint this run started from
	Data        string            `json:"data"`             // fingerprint of the data
	Read        map[string]string `json:"read"`             // by role: SHA-256 of the models that the run began with, the tokenizer, a replay
}

// clone is a copy that shares nothing.
func (st *State) clone() *State {
	c := *st
	c.Streak, c.Updates, c.Read = maps.Clone(st.Streak), maps.Clone(st.Updates), maps.Clone(st.Read)
	return &c
}

// newState is the state before the first step.
func newState() *State {
	return &State{Streak: map[string]int{}, Updates: map[string]int{}}
}

// limit of consecutive bad updates.
const badInARow = 3

// bad counts a dropped update of a model (or of an iteration) and says when it is one too many. where names the samples.
func (st *State) bad(what string, where []string) error {
	st.Skipped++
	st.Streak[what]++
	if st.Streak[what] < badInARow {
		return nil
	}
	return fmt.Errorf("%w: %s: %d updates in a row had NaN or infinite numbers; the last one's samples: %s",
		ErrNumerical, what, badInARow, strings.Join(where, ", "))
}

// good ends a streak.
func (st *State) good(what string) { st.Streak[what] = 0 }

func finite(xs ...float64) bool {
	for _, x := range xs {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}
