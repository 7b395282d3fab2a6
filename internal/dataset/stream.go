package dataset

import (
	"sync"

	"alfred/internal/random"
)

// Stream is the endless sequence of training samples. It is safe for concurrent use.
type Stream[T Sample] struct {
	parts [][]T // the samples of each source in file order
	mix   *mixture
	key   random.Key

	mu     sync.Mutex
	orders [][2]order // per source: the permutations of its last two epochs in use
}

// order is a permutation of a source, kept because making it costs a step per sample.
type order struct {
	epoch uint64
	of    []int
}

func newStream[T Sample](parts [][]T, weights []float64, seed uint64) *Stream[T] {
	return &Stream[T]{
		parts: parts, mix: newMixture(weights), key: random.Key{Seed: seed, Purpose: random.Data}, orders: make([][2]order, len(parts)),
	}
}

// Len returns the number of different training samples of all sources: one epoch, when sources are weighted by size.
func (s *Stream[T]) Len() int {
	n := 0
	for _, p := range s.parts {
		n += len(p)
	}
	return n
}

// At returns the sample at a position. It is a pure function of seed, data and position; its slices are shared and must not
// be written to.
func (s *Stream[T]) At(position uint64) T {
	source, draw := s.mix.at(position)
	part := s.parts[source]
	n := uint64(len(part))
	return part[s.place(source, draw/n, int(draw%n))]
}

// place returns element i of a source's permutation number epoch. Two are kept, because a batch may reach over the end of an epoch.
func (s *Stream[T]) place(source int, epoch uint64, i int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := &s.orders[source][epoch%2]
	if kept.of == nil || kept.epoch != epoch {
		// Every (epoch, source) has an iteration of its own, as Permutation demands. Sources are numbered as they are mixed, so that
		// one of weight 0 is as good as none.
		iteration := epoch*uint64(len(s.parts)) + uint64(source)
		*kept = order{epoch, s.key.Permutation(uint32(iteration), len(s.parts[source]))}
	}
	return kept.of[i]
}
