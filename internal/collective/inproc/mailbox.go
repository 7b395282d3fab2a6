package inproc

import "sync"

// mailbox is an unbounded queue of messages from one rank to another.
type mailbox struct {
	mu      sync.Mutex
	queue   []call
	waiting bool          // the receiver waits
	some    chan struct{} // holds a token while the queue may be non-empty
}

func newMailbox() *mailbox { return &mailbox{some: make(chan struct{}, 1)} }

func (m *mailbox) put(c call) {
	m.mu.Lock()
	m.queue = append(m.queue, c)
	m.mu.Unlock()
	select {
	case m.some <- struct{}{}:
	default:
	}
}

// take waits for the oldest message from rank from to rank to.
func (m *mailbox) take(w *World, from, to int) (call, error) {
	for {
		if err := w.err(); err != nil {
			return call{}, err
		}
		c, ok, lost := m.oldest(w, from)
		if ok {
			return c, nil
		}
		if lost {
			w.Abort(never(from, to, "recv"))
		}
		select {
		case <-m.some:
		case <-w.aborted:
		}
	}
}

// oldest takes the first message off the queue. lost tells that there is none and that the sender has returned.
func (m *mailbox) oldest(w *World, from int) (c call, ok, lost bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting = len(m.queue) == 0; m.waiting {
		return call{}, false, w.hasEnded(from)
	}
	c, m.queue[0] = m.queue[0], call{}
	m.queue = m.queue[1:]
	return c, true, false
}

// starved reports whether the receiver waits.
func (m *mailbox) starved() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiting && len(m.queue) == 0
}
