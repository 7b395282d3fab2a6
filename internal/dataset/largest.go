package dataset

// MaxTokens returns the size of the largest sample, training or held out: the tokens of all its sequences together. A
// micro-batch must hold it, because a sample is never cut.
func (s *Set[T]) MaxTokens() int {
	most := 0
	for _, part := range append(s.train.parts[:len(s.train.parts):len(s.train.parts)], s.heldOut) {
		for _, sample := range part {
			most = max(most, tokens(sample))
		}
	}
	return most
}

// HeldOutTokens returns the size of all held-out samples together.
func (s *Set[T]) HeldOutTokens() (n int) {
	for _, sample := range s.heldOut {
		n += tokens(sample)
	}
	return n
}

func tokens[T Sample](sample T) (n int) {
	for _, l := range sample.lengths() {
		n += l
	}
	return n
}
