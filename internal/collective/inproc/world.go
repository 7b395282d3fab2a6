// Package inproc connects ranks that are goroutines of one process. It serves training on a CPU, tests of every parallel
// layout, and the planner.
package inproc

import (
	"errors"
	"fmt"
	"maps"
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
	ended   []bool        // ranks that have returned from Run's body
	cause   error         // why the world was aborted
	aborted chan struct{} // closed then
}

// NewWorld makes a world of ranks 0 to ranks-1.
func NewWorld(ranks int) *World {
	return &World{ranks: ranks, groups: map[string]*shared{}, ended: make([]bool, ranks), aborted: make(chan struct{})}
}

// Group is rank's handle on the group of members, which every member opens with the same list. A group of one costs nothing.
func (w *World) Group(rank int, members []int) collective.Group {
	at := slices.Index(members, rank)
	if at < 0 {
		panic(fmt.Sprintf("inproc: rank %d is not among %v", rank, members))
	}
	for i, m := range members {
		if m < 0 || m >= w.ranks || slices.Contains(members[:i], m) {
			panic(fmt.Sprintf("inproc: %v are not different ranks of %d", members, w.ranks))
		}
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

// Abort ends every collective of the world, now and later. The first cause counts.
func (w *World) Abort(cause error) {
	if cause == nil {
		cause = errors.New("inproc: no cause given")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause == nil {
		w.cause = cause
		close(w.aborted)
	}
}

// err is what an aborted collective reports; nil while the world goes on.
func (w *World) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", collective.ErrAborted, w.cause)
}

// Run runs body once per rank, each in a goroutine of its own, and waits for all of them. When one returns an error, panics,
// or returns while others wait for it, they are freed from their collectives. The result joins the errors that ranks caused
// themselves; of a world that was aborted otherwise it is the cause.
func (w *World) Run(body func(rank int) error) error {
	w.mu.Lock()
	clear(w.ended)
	w.mu.Unlock()
	errs := make([]error, w.ranks)
	var wg sync.WaitGroup
	for rank := range w.ranks {
		wg.Go(func() {
			errs[rank] = errors.New("the goroutine of the rank was ended (runtime.Goexit)") // unless it gets further
			defer func() { w.end(rank, errs[rank]) }()
			errs[rank] = guard(rank, body)
		})
	}
	wg.Wait()
	var own []error
	for rank, err := range errs {
		switch {
		case errors.Is(err, collective.ErrAborted): // another's fault
		case err != nil && w.ranks > 1:
			own = append(own, fmt.Errorf("rank %d: %w", rank, err))
		case err != nil:
			own = append(own, err)
		}
	}
	if own == nil { // nobody's own fault: say once why the world has ended, if it has, whether or not a rank has noticed
		return w.err()
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

// end frees the others of a rank that has returned.
func (w *World) end(rank int, err error) {
	if err != nil {
		w.Abort(fmt.Errorf("rank %d: %w", rank, err))
		return
	}
	w.mu.Lock()
	w.ended[rank] = true
	groups := slices.Collect(maps.Values(w.groups))
	w.mu.Unlock()
	for _, g := range groups {
		if waits, name, ok := g.waitsFor(rank); ok {
			w.Abort(never(rank, waits, name))
		}
	}
}

func (w *World) hasEnded(rank int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended[rank]
}

// waitsFor is a rank that waits for another one, and in what; false when there is none.
func (g *shared) waitsFor(rank int) (waits int, name string, ok bool) {
	member := slices.Index(g.members, rank)
	if member < 0 {
		return 0, "", false
	}
	for to, box := range g.boxes[member] {
		if box.starved() {
			return g.members[to], "recv", true
		}
	}
	if waits, name, ok = g.tensors.waitsFor(member); ok {
		return waits, name, ok
	}
	return g.bytes.waitsFor(member)
}

// never is the cause of a world that ends because one rank waits for another that will not come.
func never(missing, waits int, name string) error {
	return fmt.Errorf("collective: rank %d has returned, and rank %d waits for it in %s", missing, waits, name)
}

// solo is a group of one that can still abort its world.
type solo struct {
	collective.Solo
	world *World
}

func (g solo) Abort(cause error) { g.world.Abort(cause) }
