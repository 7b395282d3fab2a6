package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"

	"alfred/internal/collective"
)

// report is what one rank tells all others.
type report[T any] struct {
	Error   string `json:"error,omitempty"`
	Storage bool   `json:"storage,omitempty"` // the error wraps ErrStorage
	Body    T      `json:"body"`
}

// meet gives every rank the bodies of all ranks, or, when one of them comes with an error, an error: its own to a rank that has one,
// to the others one that tells whose it is and wraps collective.ErrAborted, so that a failure of one rank is one failure. All ranks
// get an error or none does.
func meet[T any](g collective.Group, body T, err error) ([]T, error) {
	mine := report[T]{Body: body}
	if err != nil {
		mine.Error, mine.Storage = err.Error(), errors.Is(err, ErrStorage)
	}
	text, jsonErr := json.Marshal(mine)
	if jsonErr != nil {
		panic(jsonErr) // bodies are structs of numbers and strings
	}
	all, exchangeErr := g.Exchange(text)
	if err != nil || exchangeErr != nil {
		return nil, errors.Join(err, exchangeErr)
	}
	bodies := make([]T, len(all))
	for rank, text := range all {
		var theirs report[T]
		if err := json.Unmarshal(text, &theirs); err != nil {
			return nil, fmt.Errorf("rank %d sent what cannot be read: %w", rank, err)
		}
		switch {
		case theirs.Storage:
			return nil, fmt.Errorf("rank %d: %s (%w, %w)", rank, theirs.Error, ErrStorage, collective.ErrAborted)
		case theirs.Error != "":
			return nil, fmt.Errorf("rank %d: %s (%w)", rank, theirs.Error, collective.ErrAborted)
		}
		bodies[rank] = theirs.Body
	}
	return bodies, nil
}
