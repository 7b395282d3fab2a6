package cpu

import (
	"sync"
	"sync/atomic"
)

// worker is the right to compute, with the temporary memory that goes with it.
type worker struct{ scratch scratch }

// pool bounds how many tiles are computed at a time, whichever streams they belong to. It holds workers, not goroutines: the
// caller of run computes too, and helpers live as long as one operation.
type pool struct {
	size    int
	workers []*worker
	idle    chan *worker
	census  sync.Mutex // held while one caller takes all workers: two of them would wait for each other's
}

func newPool(size int) *pool {
	p := &pool{size: size, idle: make(chan *worker, size)}
	for range size {
		w := &worker{}
		p.workers = append(p.workers, w)
		p.idle <- w
	}
	return p
}

// run calls tile for each i in [0, n), on as many workers as are idle, and returns when all are done. Which worker computes
// which tile is left to chance, so no result may depend on it. A panic in a tile becomes one of the caller.
func (p *pool) run(n int, tile func(w *worker, i int)) {
	if n <= 0 {
		return
	}
	own := <-p.idle
	if n == 1 {
		defer func() { p.idle <- own }()
		own.scratch.reset()
		tile(own, 0)
		return
	}
	j := &job{pool: p, n: int64(n), tile: tile}
	for helpers := min(n, p.size) - 1; helpers > 0; helpers-- {
		select {
		case w := <-p.idle:
			j.helpers.Add(1)
			go j.help(w)
			continue
		default:
		}
		break
	}
	j.work(own)
	j.helpers.Wait()
	if r := j.panicked.Load(); r != nil {
		panic(*r)
	}
}

// job is one call of run.
type job struct {
	pool     *pool
	n        int64
	tile     func(w *worker, i int)
	next     atomic.Int64
	helpers  sync.WaitGroup
	panicked atomic.Pointer[any]
}

func (j *job) help(w *worker) {
	defer j.helpers.Done()
	j.work(w)
}

// work computes tiles until none is left and gives the worker back.
func (j *job) work(w *worker) {
	defer func() {
		if r := recover(); r != nil {
			j.panicked.CompareAndSwap(nil, &r)
			j.next.Store(j.n)
		}
		j.pool.idle <- w
	}()
	for i := j.next.Add(1) - 1; i < j.n; i = j.next.Add(1) - 1 {
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
	for range p.workers {
		<-p.idle
	}
	for _, w := range p.workers {
		total += w.scratch.size()
	}
	for _, w := range p.workers {
		p.idle <- w
	}
	return total
}
