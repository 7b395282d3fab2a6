package dataset

// MaxTokens returns the size of the largest sample, training or held out: the tokens of all its sequences together. A
// micro-batch must hold it, because a sample is never cut.
func (s *Set[T]) MaxTokens() int {
	most := 0
	for _, part := range append(s.train.parts[:len(s.train.parts):len(s.train.parts)], s.heldOut) {
		for _, sample := range part {
			n := 0
			for _, l := range sample.lengths() {
				n += l
			}
			most = max(most, n)
		}
	}
	return most
}
