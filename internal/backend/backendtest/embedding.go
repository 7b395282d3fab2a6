package backendtest

func embeddingCases() []testCase {
	var cases []testCase
	for _, s := range []struct{ n, v, d, first int }{
		{0, 5, 3, 0}, {1, 1, 1, 0}, {7, 33, 17, 0}, {65, 64, 64, 64}, {130, 17, 65, 128}, {200, 70, 33, 64}, {33, 130, 7, 192}, {manyRows, 150, 300, 64},
	} {
		// A third of the ids lies below or above the rows held here; those held occur several times.
		ids := func(r *rig) *operand {
			return r.ints("ids", func(int) int { return max(0, s.first-s.v/4+r.rng.IntN(s.v+s.v/2)) }, rows)
		}
		cases = append(cases,
			testCase{label("Embedding", s), s.n, func(r *rig) {
				table, ids := r.random("table", r.storage, 1, s.v, s.d), ids(r)
				y := r.output(exact, "y", r.storage, rows, s.d)
				r.do(func(side side) { side.Embedding(side.of(y), side.of(table), side.of(ids), s.first) })
			}},
			testCase{label("EmbeddingBackward", s), s.n, func(r *rig) {
				dy, ids := r.random("dy", r.storage, 1, rows, s.d), ids(r)
				dtable := r.added(arithmetic, "dtable", r.wide, s.v, s.d)
				r.do(func(side side) { side.EmbeddingBackward(side.of(dtable), side.of(dy), side.of(ids), s.first) })
			}},
		)
	}
	return cases
}
