// Package inproc connects ranks that are goroutines of one process. It serves training on a CPU, tests of every parallel
// layout, and the planner.
package inproc

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"alfred/internal/collective"
)

// World is a set of ranks that can form groups.
type World struct {
	ranks int

	mu      sync.Mutex
	groups  map[string]*shared
	cause   error         // why the world was aborted
	aborted chan struct{} // closed then
}

// NewWorld makes a world of ranks 0 to ranks-1.
func NewWorld(ranks int) *World {
	return &World{ranks: ranks, groups: map[string]*shared{}, aborted: make(chan struct{})}
}

// Group is rank's handle on the group of members, which every member opens with the same list. A group of one costs nothing.
func (w *World) Group(rank int, members []int) collective.Group {
	at := slices.Index(members, rank)
	if at < 0 {
		panic(fmt.Sprintf("inproc: rank %d is not among %v", rank, members))
	}
	if len(members) == 1 {
		return solo{world: w}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	key := fmt.Sprint(members)
	if w.groups[key] == nil {
		w.groups[key] = newShared(w, members)
	}
	return &group{shared: w.groups[key], rank: at}
}

// Abort ends every collective of the world, now and later.
func (w *World) Abort(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause == nil {
		w.cause = cause
		close(w.aborted)
	}
}

// err is what an aborted collective reports.
func (w *World) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Errorf("%w: %w", collective.ErrAborted, w.cause)
}

// Run runs body once per rank, each in a goroutine of its own, and waits for all of them. When one returns an error or
// panics, the others are freed from their collectives. The result joins the errors that ranks caused themselves.
func (w *World) Run(body func(rank int) error) error {
	errs := make([]error, w.ranks)
	var wg sync.WaitGroup
	for rank := range w.ranks {
		wg.Go(func() {
			errs[rank] = guard(rank, body)
			if errs[rank] != nil {
				w.Abort(fmt.Errorf("rank %d: %w", rank, errs[rank]))
			}
		})
	}
	wg.Wait()
	var own []error
	for rank, err := range errs {
		if err != nil && !errors.Is(err, collective.ErrAborted) {
			if w.ranks > 1 {
				err = fmt.Errorf("rank %d: %w", rank, err)
			}
			own = append(own, err)
		}
	}
	if own == nil { // somebody outside aborted the world
		return errors.Join(errs...)
	}
	return errors.Join(own...)
}

// guard turns a panic of one rank into its error, so that its peers are told.
func guard(rank int, body func(rank int) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return body(rank)
}

// solo is a group of one that can still abort its world.
type solo struct {
	collective.Solo
	world *World
}

func (g solo) Abort(cause error) { g.world.Abort(cause) }
