package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a goroutine that has nothing to do looks for more before it gives its processor back: longer than a stream
// needs from one operation to the next, since waking a thread costs as much as a small operation.
const patience = 100 * time.Microsecond

// timeSlice is how long a goroutine computes before it tells the scheduler that it is alive. After 10 ms the scheduler would take its
// processor away, and look every 20 µs for the next one to take.
const timeSlice = 5 * time.Millisecond

// processors is the number of workers of a device that is not told otherwise.
var processors = runtime.GOMAXPROCS(0)

// spareProcessor keeps one of Go's processors free beside those of the workers. When all of them are in C for more than 20 µs, the
// scheduler takes them away in turn to look for other work, and every kernel call ends with a search for a processor; when one is
// free, it leaves calls of up to 10 ms alone (runtime.retake).
func spareProcessor(workers int) {
	if runtime.GOMAXPROCS(0) <= workers {
		runtime.GOMAXPROCS(workers + 1)
	}
}

// worker is the right to compute, with the temporary memory that goes with it, and at times a goroutine that waits for tiles.
type worker struct {
	scratch scratch
	left    scratch    // tiles
	tiles   ptr        // of a left operand, kept from one part of a product to the next
	holds   packedLeft // which
	index   int
	yielded time.Time           // when its goroutine last told the scheduler that it is alive
	waiting atomic.Bool         // a goroutine waits, and takes next
	next    atomic.Pointer[job] // what it shall help with
}

// pool bounds how many tiles are computed at a time, whichever streams they belong to. The caller of run computes too.
type pool struct {
	size     int
	products atomic.Uint64 // so far; each has a number of its own
	census   sync.Mutex    // held while one caller takes all workers: two of them would wait for each other's

	mu      sync.Mutex
	freed   sync.Cond
	workers []*worker // by index
	free    []bool    // by index
}

func newPool(size int) *pool {
	p := &pool{size: size}
	p.freed.L = &p.mu
	for i := range size {
		p.workers, p.free = append(p.workers, &worker{index: i}), append(p.free, true)
	}
	return p
}

// take waits for a free worker and takes the last one: the first ones are those that help, and may have a goroutine already.
func (p *pool) take() *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for i := p.size - 1; i >= 0; i-- {
			if p.free[i] {
				p.free[i] = false
				return p.workers[i]
			}
		}
		p.freed.Wait()
	}
}

// takeHelper takes the first free worker, nil when there is none.
func (p *pool) takeHelper() *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, free := range p.free {
		if free {
			p.free[i] = false
			return p.workers[i]
		}
	}
	return nil
}

func (p *pool) giveBack(w *worker) {
	p.mu.Lock()
	p.free[w.index] = true
	p.mu.Unlock()
	p.freed.Signal()
}

// run calls tile for each i in [0, n), on as many workers as are free, and returns when all are done. Which worker computes
// which tile is left to chance, so no result may depend on it. A panic in a tile becomes one of the caller.
func (p *pool) run(n int, tile func(w *worker, i int)) {
	if n <= 0 {
		return
	}
	own := p.take()
	if n == 1 {
		defer p.giveBack(own)
		own.scratch.reset()
		tile(own, 0)
		return
	}
	j := &job{pool: p, n: int64(n), tile: tile}
	for range min(n, p.size) - 1 {
		w := p.takeHelper()
		if w == nil {
			break
		}
		j.running.Add(1)
		j.helpers.Add(1)
		if w.waiting.CompareAndSwap(true, false) {
			w.next.Store(j)
		} else {
			go p.help(w, j)
		}
	}
	j.work(own)
	for since := time.Now(); j.running.Load() > 0 && time.Since(since) < patience; {
	}
	j.helpers.Wait()
	if r := j.panicked.Load(); r != nil {
		panic(*r)
	}
}

// help works on j, and on what comes soon after.
func (p *pool) help(w *worker, j *job) {
	for j != nil {
		w.waiting.Store(true)
		j.work(w)
		j.running.Add(-1)
		j.helpers.Done()
		j = w.wait()
	}
}

// wait is the next job, or nil when none came for a while.
func (w *worker) wait() *job {
	for since := time.Now(); time.Since(since) < patience; {
		if j := w.next.Swap(nil); j != nil {
			return j
		}
	}
	if w.waiting.CompareAndSwap(true, false) {
		return nil
	}
	for { // someone has seen the goroutine and is about to hand it a job
		if j := w.next.Swap(nil); j != nil {
			return j
		}
	}
}

// job is one call of run.
type job struct {
	pool     *pool
	n        int64
	tile     func(w *worker, i int)
	next     atomic.Int64
	running  atomic.Int64   // helpers at work
	helpers  sync.WaitGroup // the same, for a caller that has lost its patience
	panicked atomic.Pointer[any]
}

// work computes tiles until none is left and gives the worker back.
func (j *job) work(w *worker) {
	defer func() {
		if r := recover(); r != nil {
			j.panicked.CompareAndSwap(nil, &r)
			j.next.Store(j.n)
		}
		j.pool.giveBack(w)
	}()
	for i := j.next.Add(1) - 1; i < j.n; i = j.next.Add(1) - 1 {
		if time.Since(w.yielded) > timeSlice {
			runtime.Gosched()
			w.yielded = time.Now()
		}
		w.scratch.reset()
		j.tile(w, int(i))
	}
}

// split cuts [0, n) into ranges of at least grain and calls work for each, about four ranges for each worker.
func (p *pool) split(n, grain int, work func(w *worker, lo, hi int)) {
	parts := max(1, min(n/max(grain, 1), 4*p.size))
	p.run(min(parts, n), func(w *worker, i int) { work(w, i*n/parts, (i+1)*n/parts) })
}

func (p *pool) scratchBytes() int {
	p.census.Lock()
	defer p.census.Unlock()
	// Taking every worker keeps their scratch still.
	var total int
	var all []*worker
	for range p.size {
		w := p.take()
		total += w.scratch.size() + w.left.size()
		all = append(all, w)
	}
	for _, w := range all {
		p.giveBack(w)
	}
	return total
}
