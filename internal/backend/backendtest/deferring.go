package backendtest

import (
	"fmt"
	"slices"
	"sync"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Options of a deferring device.
type Options struct {
	// IgnoreWait makes the n-th Wait of the device (the first is 1) return nil without waiting. A program whose result is right
	// nevertheless has a Wait too many, or a test that looks at too little.
	IgnoreWait int
	// PoisonArenas fills new arenas with NaN, where the host can address them, so that reading what was never written shows.
	// It touches every page.
	PoisonArenas bool
}

// Deferred is a device on which nothing runs until the host waits for it.
//
// Operations are queued. Event.Wait runs its stream's queue up to the event, Sync runs all of it. The memory that a Download
// is going to fill is poisoned, and is filled by the Wait of that Download's own event, or by Sync, not by the Wait of any
// other event. Upload takes a copy of its source.
//
// While a function given to Enqueue runs, the device's other streams run too: a collective waits for ranks that may have
// nothing to wait for themselves. Their downloads stay poisoned all the same.
type Deferred struct {
	inner   backend.Device
	options Options

	mu       sync.Mutex // guards what follows, and the state of all queues
	progress sync.Cond  // an operation of some queue is done
	queues   []*deferredQueue
	blocking int // functions given to Enqueue that are running
	waits    int
}

// Deferring wraps d. Streams of the result may be used by different goroutines, each by one.
func Deferring(d backend.Device, o Options) *Deferred {
	deferred := &Deferred{inner: d, options: o}
	deferred.progress.L = &deferred.mu
	return deferred
}

// Waits is the number of calls of Event.Wait so far, ignored ones included. Sync does not count.
func (d *Deferred) Waits() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waits
}

// Name says what is wrapped.
func (d *Deferred) Name() string { return "deferring " + d.inner.Name() }

// Wide is the inner device's.
func (d *Deferred) Wide() tensor.DType { return d.inner.Wide() }

// Overhead is the inner device's.
func (d *Deferred) Overhead(matrices int, trained bool) int {
	return d.inner.Overhead(matrices, trained)
}

// BatchInvariant is the inner device's.
func (d *Deferred) BatchInvariant() bool { return d.inner.BatchInvariant() }

// Arena is the inner device's.
func (d *Deferred) Arena(name string, bytes int) (*backend.Arena, error) {
	a, err := d.inner.Arena(name, bytes)
	if err != nil || !d.options.PoisonArenas {
		return a, err
	}
	nothing, err := a.Alloc(tensor.Float32, 0)
	if err != nil {
		return nil, fmt.Errorf("backendtest: poison: %w", err)
	}
	if m, ok := nothing.Buffer().(tensor.HostBuffer); ok {
		backend.Raw(tensor.Float32, m.Host()).Poison()
	}
	return a, nil
}

// Stream makes a stream whose queue is deferred.
func (d *Deferred) Stream() *backend.Stream {
	q := &deferredQueue{device: d}
	q.intercept = intercept{
		inner:  d.inner.Stream().Queue(),
		around: func(_ string, _ []tensor.Tensor, run func()) { q.push(work{run: run}) },
	}
	d.mu.Lock()
	d.queues = append(d.queues, q)
	d.mu.Unlock()
	return backend.NewStream(q, d.inner.Wide())
}

// wait counts a Wait and reports whether it is to be done.
func (d *Deferred) wait() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waits++
	return d.waits != d.options.IgnoreWait
}

// work is one operation of a queue. One that blocks may wait for other ranks.
type work struct {
	run    func()
	blocks bool
}

// deferredQueue is the list of what a stream has been asked to do.
type deferredQueue struct {
	intercept
	device *Deferred
	owed   []*deferredDownload // not delivered yet; the stream's own goroutine only

	// Guarded by device.mu.
	pending []work
	pushed  int  // operations ever queued
	done    int  // operations that have run
	running bool // somebody runs an operation
}

// push queues an operation and returns its position: the number of operations that are done once it is.
func (q *deferredQueue) push(w work) (position int) {
	q.device.mu.Lock()
	defer q.device.mu.Unlock()
	q.pending = append(q.pending, w)
	q.pushed++
	q.device.help()
	return q.pushed
}

// runTo returns when the first n operations of the queue are done. It runs them unless somebody else does.
func (q *deferredQueue) runTo(n int) {
	q.device.mu.Lock()
	defer q.device.mu.Unlock()
	for q.done < n {
		if q.running {
			q.device.progress.Wait()
		} else {
			q.step()
		}
	}
}

// step runs the next operation. device.mu is held, though not during the operation.
func (q *deferredQueue) step() {
	d, w := q.device, q.pending[0]
	q.pending, q.running = q.pending[1:], true
	if w.blocks {
		d.blocking++
		d.help()
	}
	func() {
		d.mu.Unlock()
		defer d.mu.Lock()
		w.run()
	}()
	if w.blocks {
		d.blocking--
	}
	q.running = false
	q.done++
	d.progress.Broadcast()
}

// help runs every idle queue in a goroutine of its own for as long as some operation may be waiting for it. mu is held.
func (d *Deferred) help() {
	for _, q := range d.queues {
		if d.blocking > 0 && !q.running && len(q.pending) > 0 {
			q.running = true
			go func() {
				d.mu.Lock()
				defer d.mu.Unlock()
				for d.blocking > 0 && len(q.pending) > 0 {
					q.step()
				}
				q.running = false
				d.progress.Broadcast()
			}()
		}
	}
}

func (q *deferredQueue) Enqueue(name string, reads, writes []tensor.Tensor, fn func() error) {
	q.push(work{run: func() { q.inner.Enqueue(name, reads, writes, fn) }, blocks: true})
}

func (q *deferredQueue) Upload(dst tensor.Tensor, src backend.Host) {
	src = src.Clone()
	q.push(work{run: func() { q.inner.Upload(dst, src) }})
}

func (q *deferredQueue) Download(dst backend.Host, src tensor.Tensor) backend.Event {
	dst.Poison()
	e := &deferredDownload{dst: dst, dtype: src.DType(), staged: make([]byte, src.Bytes())}
	e.q = q
	e.position = q.push(work{run: func() { e.inner = q.inner.Download(backend.Raw(e.dtype, e.staged), src) }})
	q.owed = append(q.owed, e)
	return e
}

func (q *deferredQueue) Record() backend.Event {
	e := &deferredEvent{q: q}
	e.position = q.push(work{run: func() { e.inner = q.inner.Record() }})
	return e
}

// WaitFor runs the other queue up to the event when this queue gets here.
func (q *deferredQueue) WaitFor(e backend.Event) {
	q.push(work{run: func() {
		if p, ok := e.(interface{ pass() backend.Event }); ok {
			e = p.pass()
		}
		q.inner.WaitFor(e)
	}})
}

func (q *deferredQueue) Sync() error {
	e := q.Record().(*deferredEvent)
	if err := e.pass().Wait(); err != nil {
		return err
	}
	if err := q.inner.Sync(); err != nil {
		return err
	}
	for _, download := range slices.Clone(q.owed) {
		download.deliver()
	}
	return nil
}

// deferredEvent is a position in a queue.
type deferredEvent struct {
	q        *deferredQueue
	position int
	inner    backend.Event // once the position is passed
}

// pass runs the queue up to the event.
func (e *deferredEvent) pass() backend.Event {
	e.q.runTo(e.position)
	return e.inner
}

func (e *deferredEvent) Wait() error {
	if !e.q.device.wait() {
		return nil
	}
	return e.pass().Wait()
}

// deferredDownload holds what has left the device until the host waits for it.
type deferredDownload struct {
	deferredEvent
	dst    backend.Host
	dtype  tensor.DType
	staged []byte
}

func (e *deferredDownload) Wait() error {
	if !e.q.device.wait() {
		return nil
	}
	err := e.pass().Wait()
	if err == nil {
		e.deliver()
	}
	return err
}

// deliver fills the host's memory, once: it may be in use for something else afterwards.
func (e *deferredDownload) deliver() {
	if i := slices.Index(e.q.owed, e); i >= 0 {
		e.q.owed = slices.Delete(e.q.owed, i, i+1)
		e.dst.Decode(e.staged, e.dtype)
	}
}
