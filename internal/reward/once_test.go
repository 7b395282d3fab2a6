package reward

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"alfred/internal/collective"
	"alfred/internal/collective/inproc"
)

// scorerFunc is a function that scores.
type scorerFunc func(context.Context, []Item) ([]float64, error)

func (f scorerFunc) Score(ctx context.Context, items []Item) ([]float64, error) { return f(ctx, items) }

// onRanks runs Once on so many ranks and returns what each of them got. It fails when they are not done in time.
func onRanks(t *testing.T, ranks int, s Scorer, items func(rank int) []Item) (scores [][]float64, errs []error) {
	t.Helper()
	world, everybody := inproc.NewWorld(ranks), make([]int, ranks)
	for r := range everybody {
		everybody[r] = r
	}
	scores, errs = make([][]float64, ranks), make([]error, ranks)
	done := make(chan error, 1)
	go func() {
		done <- world.Run(func(rank int) error {
			scores[rank], errs[rank] = Once{Scorer: s, World: world.Group(rank, everybody)}.Score(t.Context(), items(rank))
			return nil
		})
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the ranks wait for each other")
	}
	return scores, errs
}

func TestOnceAsksOnceAndTellsAll(t *testing.T) {
	want := []float64{0.1, math.Inf(-1), math.Float64frombits(0x7ff8_0000_0000_1234), math.Copysign(0, -1)}
	for ranks := 1; ranks <= 4; ranks++ {
		var asked atomic.Int64
		scores, errs := onRanks(t, ranks, scorerFunc(func(_ context.Context, items []Item) ([]float64, error) {
			asked.Add(1)
			return want[:len(items)], nil
		}), func(int) []Item { return numbered(len(want)) })
		for r := range ranks {
			if errs[r] != nil || len(scores[r]) != len(want) {
				t.Fatalf("rank %d of %d: %v, %v", r, ranks, scores[r], errs[r])
			}
			for i, x := range scores[r] {
				if math.Float64bits(x) != math.Float64bits(want[i]) {
					t.Errorf("rank %d of %d: scores[%d] = %g, want %g", r, ranks, i, x, want[i])
				}
			}
		}
		if asked.Load() != 1 {
			t.Errorf("%d ranks asked %d times", ranks, asked.Load())
		}
	}
}

func TestOnceTellsAllOfAnError(t *testing.T) {
	refused := errors.New("the service refused")
	for _, cause := range []error{refused, fmt.Errorf("within: %w", context.Canceled), context.DeadlineExceeded, fmt.Errorf("%w: gone", ErrService)} {
		_, errs := onRanks(t, 3, scorerFunc(func(context.Context, []Item) ([]float64, error) { return nil, cause }), func(int) []Item { return numbered(2) })
		if !errors.Is(errs[0], cause) {
			t.Errorf("rank 0: %v, want %v", errs[0], cause)
		}
		for r := 1; r < 3; r++ {
			if errs[r] == nil || !strings.Contains(errs[r].Error(), "rank 0: "+cause.Error()) {
				t.Errorf("rank %d: %v, want %v", r, errs[r], cause)
			}
			for _, kind := range []error{context.Canceled, context.DeadlineExceeded, ErrService} {
				if errors.Is(errs[r], kind) != errors.Is(cause, kind) {
					t.Errorf("rank %d: %v is not %v alike", r, errs[r], kind)
				}
			}
		}
	}
}

func TestOnceFindsWhatDoesNotFit(t *testing.T) {
	one := scorerFunc(func(context.Context, []Item) ([]float64, error) { return []float64{1}, nil })
	_, errs := onRanks(t, 2, one, func(int) []Item { return numbered(2) })
	for r, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "1 scores for 2 items") {
			t.Errorf("rank %d: %v", r, err)
		}
	}
	_, errs = onRanks(t, 2, one, func(rank int) []Item { return numbered(1 + rank) })
	if errs[0] != nil || errs[1] == nil || !strings.Contains(errs[1].Error(), "rank 0 scored 1 items, rank 1 has 2") {
		t.Errorf("%v", errs)
	}
	for _, b := range [][]byte{nil, {9}, {scored, 1}, {scored, 1, 2, 3, 4, 5, 6, 7}} {
		if scores, err := decodeOutcome(b); err == nil {
			t.Errorf("% x: %v", b, scores)
		}
	}
}

// TestOnceOfAWorldThatEnds: the ranks that wait for rank 0 are freed when it will not come.
func TestOnceOfAWorldThatEnds(t *testing.T) {
	world := inproc.NewWorld(2)
	lost := errors.New("lost its device")
	err := world.Run(func(rank int) error {
		if rank == 0 {
			return lost
		}
		_, err := Once{World: world.Group(rank, []int{0, 1})}.Score(t.Context(), numbered(1))
		if !errors.Is(err, collective.ErrAborted) || !errors.Is(err, lost) {
			t.Errorf("got %v", err)
		}
		return err
	})
	if !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
}
