package collectivetest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"alfred/internal/mesh"
	"alfred/internal/tensor"
)

const (
	buffers     = 3 // of either size
	smallLength = 5 // elements; a large buffer has as many per rank
	steps       = 60
)

// step is one thing that a program does. All ranks do it, but for messages and waits.
type step struct {
	op           string
	large, small int
	from, to     int
}

// newProgram draws steps. At its end no message is under way.
func newProgram(rng *rand.Rand, ranks int) (program []step) {
	ops := []string{"all-reduce", "reduce-scatter", "all-gather", "broadcast", "copy", "exchange", "wait"}
	if ranks > 1 {
		ops = append(ops, "send", "recv")
	}
	var underway []step
	receive := func() {
		i := rng.IntN(len(underway)) // messages of a pair keep their order: take the pair's first
		i = slices.IndexFunc(underway, func(s step) bool { return s.from == underway[i].from && s.to == underway[i].to })
		s := underway[i]
		underway = slices.Delete(underway, i, i+1)
		program = append(program, step{op: "recv", small: rng.IntN(buffers), from: s.from, to: s.to})
	}
	for range steps {
		s := step{op: ops[rng.IntN(len(ops))], large: rng.IntN(buffers), small: rng.IntN(buffers), from: rng.IntN(ranks)}
		switch s.op {
		case "send":
			s.to = (s.from + 1 + rng.IntN(ranks-1)) % ranks
			underway = append(underway, s)
		case "recv":
			if len(underway) > 0 {
				receive()
			}
			continue
		}
		program = append(program, s)
	}
	for len(underway) > 0 {
		receive()
	}
	return program
}

// simulation is what the buffers of all ranks must hold, computed without any ranks.
type simulation struct {
	large, small [][][]byte // [rank][buffer]
	letters      map[[2]int][][]byte
}

func newSimulation(ranks int, seed uint64) simulation {
	m := simulation{letters: map[[2]int][][]byte{}, large: make([][][]byte, ranks), small: make([][][]byte, ranks)}
	for b := range buffers {
		for r, part := range parts(tensor.Float32, ranks*smallLength, ranks, 100*seed+uint64(b)) {
			m.large[r] = append(m.large[r], part)
		}
		for r, part := range parts(tensor.Float32, smallLength, ranks, 100*seed+50+uint64(b)) {
			m.small[r] = append(m.small[r], part)
		}
	}
	return m
}

func (m simulation) do(s step) {
	ranks := len(m.large)
	bytesOf := 4 * smallLength
	column := func(all [][][]byte, b int) (column [][]byte) {
		for r := range all {
			column = append(column, all[r][b])
		}
		return column
	}
	pair := [2]int{s.from, s.to}
	switch s.op {
	case "all-reduce":
		total := sum(tensor.Float32, column(m.large, s.large))
		for r := range ranks {
			m.large[r][s.large] = total
		}
	case "reduce-scatter":
		total := sum(tensor.Float32, column(m.large, s.large))
		for r := range ranks {
			m.small[r][s.small] = total[r*bytesOf : (r+1)*bytesOf]
		}
	case "all-gather":
		whole := slices.Concat(column(m.small, s.small)...)
		for r := range ranks {
			m.large[r][s.large] = whole
		}
	case "broadcast":
		for r := range ranks {
			m.large[r][s.large] = m.large[s.from][s.large]
		}
	case "copy":
		for r := range ranks {
			m.small[r][s.small] = m.large[r][s.large][:bytesOf]
		}
	case "send":
		m.letters[pair] = append(m.letters[pair], m.small[s.from][s.small])
	case "recv":
		m.small[s.to][s.small] = m.letters[pair][0]
		m.letters[pair] = m.letters[pair][1:]
	}
}

// programs: random sequences of operations, with messages under way and ranks that wait at different times.
func programs(o opener, ranks int) error {
	for seed := range uint64(12) {
		program := newProgram(rand.New(rand.NewPCG(seed, uint64(ranks))), ranks)
		if err := o.run(ranks, func(p *peer) error { return p.execute(program, newSimulation(ranks, seed)) }); err != nil {
			return fmt.Errorf("program %d: %w", seed, err)
		}
	}
	return nil
}

// execute does this rank's part of a program and compares with the simulation where the program waits, and at the end.
func (p *peer) execute(program []step, m simulation) error {
	var large, small []field
	for b := range buffers {
		large, small = append(large, p.put(tensor.Float32, m.large[p.rank][b])), append(small, p.put(tensor.Float32, m.small[p.rank][b]))
	}
	for i, s := range program {
		m.do(s)
		l, sm := large[s.large].Tensor, small[s.small].Tensor
		switch s.op {
		case "all-reduce":
			p.group.AllReduce(p.s, l)
		case "reduce-scatter":
			p.group.ReduceScatter(p.s, sm, l)
		case "all-gather":
			p.group.AllGather(p.s, l, sm)
		case "broadcast":
			p.group.Broadcast(p.s, l, s.from)
		case "copy":
			p.s.Copy(sm, l.Slice(0, smallLength))
		case "exchange":
			all, err := p.group.Exchange(binary.LittleEndian.AppendUint32(nil, uint32(100*i+p.rank)))
			if err != nil {
				return err
			}
			for r, got := range all {
				if n := binary.LittleEndian.Uint32(got); n != uint32(100*i+r) {
					return fmt.Errorf("step %d: rank %d got %d from rank %d", i, p.rank, n, r)
				}
			}
		case "wait":
			if p.rank == s.from {
				if err := large[s.large].holds(m.large[p.rank][s.large]); err != nil {
					return fmt.Errorf("step %d: %w", i, err)
				}
			}
		case "send":
			if p.rank == s.from {
				p.group.Send(p.s, sm, s.to)
			}
		case "recv":
			if p.rank == s.to {
				p.group.Recv(p.s, sm, s.from)
			}
		}
	}
	for b := range buffers {
		p.later("large buffer", large[b], m.large[p.rank][b])
		p.later("small buffer", small[b], m.small[p.rank][b])
	}
	return p.settle()
}

// meshGroups: the groups of a mesh work at the same time, each at its own pace.
func meshGroups(o opener, ranks int) error {
	m := map[int]mesh.Mesh{6: {Tensor: 2, Data: 3, Pipeline: 1}, 8: {Tensor: 2, Data: 2, Pipeline: 2}}[ranks]
	axes := []mesh.Axes{
		mesh.Set(mesh.Tensor), mesh.Set(mesh.Data), mesh.Set(mesh.Pipeline), mesh.Set(mesh.Tensor, mesh.Pipeline),
		mesh.Set(mesh.Tensor, mesh.Data), mesh.Set(mesh.Tensor, mesh.Data, mesh.Pipeline), 0,
	}
	return o.run(ranks, func(p *peer) error {
		for i, a := range axes {
			members := m.Group(p.rank, a)
			g := p.world.Group(p.rank, members)
			for round := range 3 + 9*members[0] {
				all := parts(tensor.Float32, 17, ranks, uint64(10000+1000*i+round))
				var theirs [][]byte
				for _, r := range members {
					theirs = append(theirs, all[r])
				}
				x := p.put(tensor.Float32, all[p.rank])
				g.AllReduce(p.s, x.Tensor)
				p.later(fmt.Sprintf("all-reduce over %v of %v", members, m), x, sum(tensor.Float32, theirs))
				if round%5 == 0 {
					got, err := g.Exchange([]byte{byte(p.rank)})
					if err != nil {
						return err
					}
					for j, r := range members {
						if len(got) != len(members) || len(got[j]) != 1 || int(got[j][0]) != r {
							return fmt.Errorf("exchange over %v: %v", members, got)
						}
					}
				}
			}
		}
		return p.settle()
	})
}
