package reward

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"alfred/internal/collective"
)

// Once asks a scorer on one rank, rank 0 of World, for all ranks: a service must not be asked by each of them, and might not
// answer all of them alike. Every rank of World calls Score with the same items.
type Once struct {
	Scorer Scorer
	World  collective.Group
}

// Score gives every rank the scores, or the error, that rank 0 got. errors.Is finds ErrService and a cancelled or expired context
// on the other ranks too.
func (o Once) Score(ctx context.Context, items []Item) ([]float64, error) {
	var mine []byte
	var own error
	if o.World.Rank() == 0 {
		var scores []float64
		if scores, own = o.Scorer.Score(ctx, items); own == nil && len(scores) != len(items) {
			own = fmt.Errorf("reward: %d scores for %d items", len(scores), len(items))
		}
		mine = encodeOutcome(scores, own)
	}
	all, err := o.World.Exchange(mine) // on rank 0 also after an error, which the others wait for
	switch {
	case own != nil:
		return nil, own
	case err != nil:
		return nil, fmt.Errorf("reward: %w", err)
	}
	scores, err := decodeOutcome(all[0])
	if err == nil && len(scores) != len(items) {
		err = fmt.Errorf("reward: rank 0 scored %d items, rank %d has %d", len(scores), o.World.Rank(), len(items))
	}
	return scores, err
}

// What an outcome consists of is said by its first byte: scores in float64 bits, or the text of an error.
const (
	scored = iota
	failed
	cancelled
	expired
	unserved
)

// causes are what an error of rank 0 is on the other ranks too, by the first byte of its outcome.
var causes = []error{cancelled: context.Canceled, expired: context.DeadlineExceeded, unserved: ErrService}

func encodeOutcome(scores []float64, err error) []byte {
	if err == nil {
		b := make([]byte, 1, 1+8*len(scores))
		b[0] = scored
		for _, x := range scores {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
		return b
	}
	kind := slices.IndexFunc(causes, func(cause error) bool { return cause != nil && errors.Is(err, cause) })
	return append([]byte{byte(max(kind, failed))}, err.Error()...)
}

func decodeOutcome(b []byte) ([]float64, error) {
	if len(b) == 0 || int(b[0]) >= len(causes) || b[0] == scored && len(b)%8 != 1 {
		return nil, fmt.Errorf("reward: rank 0 sent %d bytes that are no outcome", len(b))
	}
	kind, rest := b[0], b[1:]
	if kind != scored {
		return nil, elsewhere{text: "reward: rank 0: " + string(rest), cause: causes[kind]}
	}
	scores := make([]float64, len(rest)/8)
	for i := range scores {
		scores[i] = math.Float64frombits(binary.LittleEndian.Uint64(rest[8*i:]))
	}
	return scores, nil
}

// elsewhere is an error that another rank had.
type elsewhere struct {
	text  string
	cause error // nil when it cannot be named here
}

func (e elsewhere) Error() string { return e.text }
func (e elsewhere) Unwrap() error { return e.cause }
