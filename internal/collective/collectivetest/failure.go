package collectivetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"alfred/internal/collective"
	"alfred/internal/tensor"
)

// freed is how soon after a failure nobody may wait any more.
const freed = time.Second

var errCause = errors.New("lost its device")

// wait is a call that returns when it is done or when the world ends, with the first error.
type wait struct {
	name string
	call func(p *peer, g collective.Group) error
}

// waits are calls that all ranks of g must make.
var waits = []wait{
	{"all-reduce", onStream(func(p *peer, g collective.Group) { g.AllReduce(p.s, p.s.Zeros(tensor.Float32, 3)) })},
	{"reduce-scatter", onStream(func(p *peer, g collective.Group) {
		g.ReduceScatter(p.s, p.s.Zeros(tensor.Float32, 3), p.s.Zeros(tensor.Float32, 3*g.Size()))
	})},
	{"all-gather", onStream(func(p *peer, g collective.Group) {
		g.AllGather(p.s, p.s.Zeros(tensor.Float32, 3*g.Size()), p.s.Zeros(tensor.Float32, 3))
	})},
	{"broadcast", onStream(func(p *peer, g collective.Group) { g.Broadcast(p.s, p.s.Zeros(tensor.Float32, 3), 0) })},
	{"recv", onStream(func(p *peer, g collective.Group) {
		g.Recv(p.s, p.s.Zeros(tensor.Float32, 3), (g.Rank()+1)%g.Size())
	})},
	{"exchange", func(p *peer, g collective.Group) error { _, err := g.Exchange(nil); return err }},
}

// onStream makes a call on a stream one that waits for its end.
func onStream(enqueue func(p *peer, g collective.Group)) func(p *peer, g collective.Group) error {
	return func(p *peer, g collective.Group) error {
		enqueue(p, g)
		return p.s.Sync()
	}
}

// failures are ways in which a rank ends, or ends the world.
var failures = []struct {
	name string
	fail func(p *peer) error
}{
	{"error", func(*peer) error { return errCause }},
	{"panic", func(*peer) error { panic("boom") }},
	{"stream", func(p *peer) error {
		p.s.Enqueue("failing operation", nil, nil, func() error { return errCause })
		return p.s.Sync()
	}},
	{"collective on a failed stream", func(p *peer) error { // the rank does not look at its stream, and waits for the others
		p.s.Fail(errCause)
		p.group.AllReduce(p.s, tensor.Tensor{})
		if _, err := p.group.Exchange(nil); !errors.Is(err, errCause) {
			return fmt.Errorf("exchange: %w", err)
		}
		return p.s.Err()
	}},
	{"abort", func(p *peer) error { p.group.Abort(errCause); return nil }},
	{"abort from a group of one", func(p *peer) error { p.world.Group(p.rank, []int{p.rank}).Abort(errCause); return nil }},
}

// failingRank: whatever the others wait in, they are free soon after a rank has failed, learn why, and Run says why.
func failingRank(o opener, ranks int) error {
	for _, w := range waits {
		for i, f := range failures {
			failing := i % ranks
			for _, inGroup := range []bool{true, false} {
				if err := failWhile(o, ranks, failing, inGroup, w.call, f.fail); err != nil {
					return fmt.Errorf("%s of rank %d while others wait in %s (of its group: %v): %w", f.name, failing, w.name, inGroup, err)
				}
			}
		}
	}
	return nil
}

// failWhile lets one rank fail while the others wait for it. If not inGroup, they wait for each other in a circle of pairs that
// leads to the failing rank, and are in no group with it but the first of them.
func failWhile(o opener, ranks, failing int, inGroup bool, wait func(*peer, collective.Group) error, fail func(*peer) error) error {
	var mu sync.Mutex
	var problems []error
	var failed time.Time
	var ended []time.Time
	err := o.run(ranks, func(p *peer) error {
		if p.rank == failing {
			time.Sleep(5 * time.Millisecond) // most often, the others wait by now
			mu.Lock()
			failed = time.Now()
			mu.Unlock()
			return fail(p)
		}
		g := p.group
		if !inGroup {
			next := (p.rank + 1) % ranks
			g = p.world.Group(p.rank, []int{p.rank, next})
		}
		err := wait(p, g)
		mu.Lock()
		defer mu.Unlock()
		ended = append(ended, time.Now())
		if !errors.Is(err, collective.ErrAborted) {
			problems = append(problems, fmt.Errorf("rank %d got %w, want %w", p.rank, err, collective.ErrAborted))
		}
		return err
	})
	for _, at := range ended {
		if d := at.Sub(failed); d > freed {
			problems = append(problems, fmt.Errorf("a rank was freed after %v", d))
		}
	}
	if len(ended) != ranks-1 {
		problems = append(problems, fmt.Errorf("%d ranks were freed", len(ended)))
	}
	if !errors.Is(err, errCause) && (err == nil || !strings.Contains(err.Error(), "boom")) {
		problems = append(problems, fmt.Errorf("the cause is not in: %w", err))
	}
	return errors.Join(problems...)
}

// ownCauses: the error of Run holds what ranks failed of themselves, named, and not what that did to the others.
func ownCauses(o opener, ranks int) error {
	first, second := errors.New("first cause"), errors.New("second cause")
	var both sync.WaitGroup
	both.Add(2)
	err := o.run(ranks, func(p *peer) error {
		switch p.rank {
		case 0, ranks - 1:
			both.Done()
			both.Wait() // neither learns of the other
			if p.rank == 0 {
				return first
			}
			return fmt.Errorf("wrapped: %w", second)
		}
		p.group.AllReduce(p.s, p.s.Zeros(tensor.Float32, 1))
		return p.s.Sync()
	})
	text := fmt.Sprint(err)
	switch {
	case !errors.Is(err, first) || !errors.Is(err, second) || !strings.Contains(text, "rank 0: first cause") || !strings.Contains(text, fmt.Sprintf("rank %d: wrapped", ranks-1)):
		return fmt.Errorf("want the causes of ranks 0 and %d: %w", ranks-1, err)
	case errors.Is(err, collective.ErrAborted) || strings.Contains(text, "rank 1"):
		return fmt.Errorf("rank 1 caused nothing: %w", err)
	}
	err = o.run(ranks, func(p *peer) error {
		if p.rank == 1 {
			panic(fmt.Sprintf("boom on %d", p.rank))
		}
		_, err := p.group.Exchange(nil)
		return err
	})
	if text := fmt.Sprint(err); !strings.Contains(text, "rank 1: panic: boom on 1") || !strings.Contains(text, "failure.go") || errors.Is(err, collective.ErrAborted) {
		return fmt.Errorf("want the panic of rank 1 and where it was: %w", err)
	}
	if err := o.run(ranks, func(p *peer) error { _, err := p.group.Exchange(nil); return err }); err != nil {
		return fmt.Errorf("nobody failed: %w", err)
	}
	return nil
}

// afterAbort: every operation of a world that was aborted fails with the first cause, in groups old and new, also where
// it would not have to wait.
func afterAbort(o opener, ranks int) error {
	later := errors.New("later cause")
	var ready, aborted sync.WaitGroup
	ready.Add(ranks)
	aborted.Add(1)
	world, device := o.open(ranks)
	return o.runToEndIn(world, device, ranks, func(p *peer) error {
		next, before := (p.rank+1)%ranks, (p.rank+ranks-1)%ranks
		p.group.Send(p.s, p.s.Zeros(tensor.Float32, 3), next)
		if err := p.s.Sync(); err != nil {
			return err
		}
		ready.Done()
		ready.Wait()
		if p.rank == 0 {
			p.group.Abort(errCause)
			p.group.Abort(later)
			world.Abort(later)
			aborted.Done()
		}
		aborted.Wait()
		calls := append(slices.Clone(waits),
			wait{"send", onStream(func(p *peer, g collective.Group) { g.Send(p.s, p.s.Zeros(tensor.Float32, 3), (g.Rank()+1)%g.Size()) })},
			wait{"recv of what was sent before", onStream(func(p *peer, _ collective.Group) { p.group.Recv(p.s, p.s.Zeros(tensor.Float32, 3), before) })})
		for _, members := range [][]int{nil, {min(p.rank, next), max(p.rank, next)}} {
			for _, c := range calls {
				fresh, err := o.newPeer(world, device(p.rank), p.rank, ranks) // a stream does no more after an error
				if err != nil {
					return err
				}
				g := fresh.group
				if members != nil {
					g = world.Group(p.rank, members)
				}
				if err := c.call(fresh, g); !errors.Is(err, collective.ErrAborted) || !errors.Is(err, errCause) || errors.Is(err, later) {
					return fmt.Errorf("%s: %v (group of %d)", c.name, err, g.Size())
				}
			}
		}
		return nil
	})
}

// abortAtTheEnd: when no rank calls anything any more, Run still says that the world was aborted, and why.
func abortAtTheEnd(o opener, ranks int) error {
	err := o.run(ranks, func(p *peer) error {
		if p.rank == ranks-1 {
			p.group.Abort(errCause)
		}
		return nil
	})
	if !errors.Is(err, errCause) || !errors.Is(err, collective.ErrAborted) {
		return fmt.Errorf("Run says: %v", err)
	}
	return nil
}

// abortFromOutside: whoever holds the world can end it, and Run says why, once.
func abortFromOutside(o opener, ranks int) error {
	for _, w := range waits {
		world, device := o.open(ranks)
		var ready sync.WaitGroup
		ready.Add(ranks - 1)
		go func() {
			ready.Wait()
			world.Abort(errCause)
		}()
		err := o.runIn(world, device, ranks, func(p *peer) error {
			if p.rank == 0 { // waits elsewhere, for a rank that will not come
				_, err := p.world.Group(p.rank, []int{1, 0}).Exchange(nil)
				return err
			}
			ready.Done()
			return w.call(p, p.group)
		})
		if !errors.Is(err, errCause) || !errors.Is(err, collective.ErrAborted) || strings.Count(err.Error(), errCause.Error()) != 1 {
			return fmt.Errorf("%s: want the cause once: %w", w.name, err)
		}
	}
	return nil
}
