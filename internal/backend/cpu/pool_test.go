package cpu

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Several callers at a time, who take the workers that helpers wait to be, with and without pauses in which helpers go away: every tile
// is computed once, by no more workers at a time than there are, each with its own worker, and no goroutine is left.
func TestPoolComputesEachTileOnce(t *testing.T) {
	const size, callers, rounds = 3, 4, 300
	p, before := newPool(nil, size), runtime.NumGoroutine()
	var inUse [size]atomic.Bool
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			q := &queue{pool: p}
			for round := range rounds {
				n := 1 + (c*31+round)%17
				counts := make([]atomic.Int32, n)
				run(q, n, function(func(w *worker, i int) {
					if inUse[w.index].Swap(true) {
						t.Errorf("worker %d computes two tiles at a time", w.index)
					}
					counts[i].Add(1)
					runtime.Gosched()
					inUse[w.index].Store(false)
				}))
				for i := range counts {
					if k := counts[i].Load(); k != 1 {
						t.Errorf("tile %d of %d was computed %d times", i, n, k)
					}
				}
				if round%50 == 0 {
					time.Sleep(2 * patience)
				}
			}
		})
	}
	group.Wait()
	for i, free := range p.free {
		if !free {
			t.Errorf("worker %d was not given back", i)
		}
	}
	helpersEnd(t, before)
}

// A panic in a tile, or in the only one, reaches the caller, whoever computed it. The workers live on, and the operation is not kept.
func TestPoolPanicReachesCaller(t *testing.T) {
	q := &queue{pool: newPool(nil, 2)}
	for round := range 100 {
		func() {
			defer func() {
				if r := recover(); r != "tile" {
					t.Fatalf("round %d: recovered %v", round, r)
				}
			}()
			run(q, 1+round%5, function(func(_ *worker, i int) {
				if i == round%5 {
					panic("tile")
				}
			}))
		}()
		if i := slices.Index(q.pool.free, false); i >= 0 {
			t.Fatalf("round %d: worker %d was not given back", round, i)
		}
		if f := place[function](&q.job); *f != nil {
			t.Fatalf("round %d: the queue holds an operation after its end", round)
		}
	}
	var done atomic.Int32
	run(q, 4, function(func(*worker, int) { done.Add(1) }))
	if done.Load() != 4 {
		t.Errorf("%d tiles of 4", done.Load())
	}
}

// Helpers wait for a while and end: a device that is not used holds no goroutine.
func TestPoolHelpersEnd(t *testing.T) {
	q := &queue{pool: newPool(nil, 4)}
	before := runtime.NumGoroutine()
	run(q, 8, function(func(*worker, int) { time.Sleep(time.Millisecond) }))
	helpersEnd(t, before)
}

// helpersEnd waits until there are no more goroutines than before.
func helpersEnd(t *testing.T, before int) {
	t.Helper()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * patience)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// A worker's goroutine that was dismissed, and has not heard of it yet, takes a job that is handed to the worker meanwhile. Were a second
// one started, one of the two would wait for ever.
func TestPoolDismissedHelperTakesJob(t *testing.T) {
	q := &queue{pool: newPool(nil, 1)}
	w := q.pool.workers[0]
	w.waiting.Store(true) // as when a goroutine comes from a tile
	q.pool.giveBack(q.pool.take())
	before := runtime.NumGoroutine()
	j := job{pool: q.pool, op: &nothing{}, tiles: 1}
	j.running.Add(1)
	j.helpers.Add(1)
	w.start(&j)
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	w.help() // what that goroutine does next
	if n := j.running.Load(); n != 0 {
		t.Errorf("%d helpers at work after the job", n)
	}
}

type nothing struct{}

func (*nothing) compute(*worker, int, int) {}
