package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// patience is how long a goroutine that has nothing to do looks for more before it gives its processor back: longer than a stream
// needs from one operation to the next, since waking a thread costs as much as a small operation.
const patience = 200 * time.Microsecond

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
	kernels kernels
	scratch scratch
	left    scratch    // tiles
	tiles   ptr        // of a left operand, kept from one part of a product to the next
	holds   packedLeft // which
	index   int
	yielded time.Time           // when its goroutine last told the scheduler that it is alive
	waiting atomic.Bool         // a goroutine waits, and takes next
	next    atomic.Pointer[job] // what it shall help with
	helping func()              // help, for its goroutine: made once, since starting one with arguments allocates
}

// pool bounds how many tiles are computed at a time, whichever streams they belong to. Who has tiles to compute computes too.
type pool struct {
	size     int
	products atomic.Uint64 // so far; each has a number of its own
	census   sync.Mutex    // held while one caller takes all workers: two of them would wait for each other's

	mu      sync.Mutex
	freed   sync.Cond
	workers []*worker // by index
	free    []bool    // by index
}

func newPool(k kernels, size int) *pool {
	p := &pool{size: size}
	p.freed.L = &p.mu
	for i := range size {
		w := &worker{kernels: k, index: i}
		w.helping = w.help
		p.workers, p.free = append(p.workers, w), append(p.free, true)
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
				p.workers[i].dismiss()
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

// operation is something that is computed in tiles: compute does elements lo to hi of it. Which worker gets which tile is left to
// chance, so no result may depend on it.
type operation interface {
	compute(w *worker, lo, hi int)
}

// operationOn is an operation whose operands are a T.
type operationOn[T any] interface {
	*T
	operation
}

// run computes op, each of its n elements as a tile, on as many workers as are free, and returns when all are done. A panic in a
// tile becomes one of the caller.
func run[T any, O operationOn[T]](q *queue, n int, op T) {
	share[T, O](q, n, n, op)
}

// split is run for tiles of at least grain elements, about four for each worker.
func split[T any, O operationOn[T]](q *queue, n, grain int, op T) {
	share[T, O](q, n, min(n, max(1, min(n/max(grain, 1), 4*q.pool.size))), op)
}

// share computes the n elements of op in so many tiles. Helpers look at op, so it cannot lie on the caller's stack, where a closure
// would be allocated for each operation: it is copied to a place that the queue keeps for operations of its type.
func share[T any, O operationOn[T]](q *queue, n, tiles int, op T) {
	if n <= 0 {
		return
	}
	at := place[T](&q.job)
	*at = op
	defer func() { *at = *new(T) }() // the operands are not kept, whatever happens
	q.job.run(q.pool, O(at), n, tiles)
}

// place is j's for operations of type T.
func place[T any](j *job) *T {
	for _, p := range j.places {
		if t, ok := p.(*T); ok {
			return t
		}
	}
	t := new(T)
	j.places = append(j.places, t)
	return t
}

// job is what a queue has for the pool to do, one operation after the other. It can be used again, since a helper looks at it only
// between being counted by the caller and its Done, for which the caller waits.
type job struct {
	places []any // of operations that have run, one of each type

	pool     *pool
	op       operation // at work
	n, tiles int64
	next     atomic.Int64   // tile
	running  atomic.Int64   // helpers at work
	helpers  sync.WaitGroup // the same, for a caller that has lost its patience
	panicked atomic.Pointer[any]
}

func (j *job) run(p *pool, op operation, n, tiles int) {
	own := p.take()
	if tiles == 1 {
		defer p.giveBack(own)
		own.scratch.reset()
		op.compute(own, 0, n)
		return
	}
	j.pool, j.op, j.n, j.tiles = p, op, int64(n), int64(tiles)
	j.next.Store(0)
	for range min(tiles, p.size) - 1 {
		w := p.takeHelper()
		if w == nil {
			break
		}
		j.running.Add(1)
		j.helpers.Add(1)
		w.start(j)
	}
	j.work(own)
	for since := time.Now(); j.running.Load() > 0 && time.Since(since) < patience; {
	}
	j.helpers.Wait()
	if r := j.panicked.Load(); r != nil {
		j.panicked.Store(nil)
		panic(*r)
	}
}

// work computes tiles until none is left and gives the worker back.
func (j *job) work(w *worker) {
	defer j.leave(w)
	for i := j.next.Add(1) - 1; i < j.tiles; i = j.next.Add(1) - 1 {
		if time.Since(w.yielded) > timeSlice {
			runtime.Gosched()
			w.yielded = time.Now()
		}
		w.scratch.reset()
		j.op.compute(w, int(i*j.n/j.tiles), int((i+1)*j.n/j.tiles))
	}
}

// leave gives the worker back. When it has panicked, no more tiles are begun.
func (j *job) leave(w *worker) {
	if r := recover(); r != nil {
		cause := r // r itself stays on the stack
		j.panicked.CompareAndSwap(nil, &cause)
		j.next.Store(j.tiles)
	}
	j.pool.giveBack(w)
}

// start makes w's goroutine help with j, a new one unless one is waiting.
func (w *worker) start(j *job) {
	waits := w.waiting.CompareAndSwap(true, false)
	if w.next.Swap(j) != &dismissal && !waits { // who has not heard yet that it is dismissed stays
		go w.helping()
	}
}

// dismissal is handed to a goroutine that nothing will come for, since someone else is now the worker that it waits to be.
var dismissal job

// dismiss sends w's goroutine home, if one waits: it would take processor time from those who compute.
func (w *worker) dismiss() {
	if w.waiting.CompareAndSwap(true, false) {
		w.next.Store(&dismissal)
	}
}

// help works on the next job, and on what comes soon after.
func (w *worker) help() {
	for j := w.next.Swap(nil); j != nil && j != &dismissal; j = w.wait() {
		w.waiting.Store(true)
		j.work(w)
		j.running.Add(-1)
		j.helpers.Done()
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
