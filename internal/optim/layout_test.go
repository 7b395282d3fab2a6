package optim_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"alfred/internal/backend"
	"alfred/internal/backend/backendtest"
	"alfred/internal/backend/reference"
	"alfred/internal/collective"
	"alfred/internal/collective/inproc"
	"alfred/internal/mesh"
	"alfred/internal/optim"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// The attention of the layouts: 8 query heads in 2 groups, each with a key and a value head, all of 2 rows.
const (
	queryHeads, groups, headDim = 8, 2, 2
	groupRows                   = (queryHeads/groups + 2) * headDim
	qkvRows                     = groups * groupRows
)

// shapes of the whole tensors.
var shapes = map[string][]int{
	"embedding": {10, 3}, "norm": {6}, "qkv.weight": {qkvRows, 3}, "qkv.bias": {qkvRows}, "dense.weight": {6, 11}, "dense.bias": {6}, "score": {1, 6},
}

// sharded are the parameters of one tensor rank, in each of the ways in which models hold them.
func sharded(rank, size int) []*param.Param {
	lo, hi := mesh.Shard(10, rank, size)
	left, right := mesh.Shard(11, rank, size)
	sum, first := mesh.Set(mesh.Tensor), rank == 0
	params := []*param.Param{
		param.Rows("embedding", shapes["embedding"], lo, hi),
		param.Replicated("norm", shapes["norm"], sum, first), // partial gradients everywhere
		{Name: "qkv.weight", Shape: shapes["qkv.weight"], Decay: true},
		{Name: "qkv.bias", Shape: shapes["qkv.bias"]},
		param.Cols("dense.weight", shapes["dense.weight"], left, right),
		param.Replicated("score", shapes["score"], 0, first), // the whole gradient everywhere
	}
	for _, p := range params[2:4] {
		p.Segments = qkvSegments(rank, size)
		last := p.Segments[len(p.Segments)-1]
		p.Local = append([]int{last.Local + last.Count}, p.Shape[1:]...)
	}
	if first { // a bias that is added once
		params = append(params, param.Replicated("dense.bias", shapes["dense.bias"], 0, true))
	}
	return params
}

// qkvSegments: whole groups where they divide by the ranks; otherwise query rows of its own and the group's key and value rows, which
// those ranks share that read them.
func qkvSegments(rank, size int) []param.Segment {
	if groups%size == 0 {
		n := qkvRows / size
		return []param.Segment{{Global: rank * n, Count: n, Owner: true}}
	}
	sharers := size / groups
	group, n := rank/sharers*groupRows, queryHeads/size*headDim
	return []param.Segment{
		{Global: group + rank%sharers*n, Count: n, Owner: true},
		{Global: group + queryHeads/groups*headDim, Local: n, Count: 2 * headDim, Sum: mesh.Set(mesh.Tensor), Owner: rank%sharers == 0},
	}
}

// each visits the elements of a parameter that are held here: at in the local tensor, from in the whole one.
func each(p *param.Param, visit func(seg param.Segment, at, from int)) {
	cols, localCols := 1, 1
	if len(p.Shape) == 2 {
		cols, localCols = p.Shape[1], p.Local[1]
	}
	for _, seg := range p.Segments {
		for at := range p.Len() {
			r, c := at/localCols, at%localCols
			switch {
			case seg.Dim == 1:
				visit(seg, at, r*cols+seg.Global+c)
			case r >= seg.Local && r < seg.Local+seg.Count:
				visit(seg, at, (seg.Global+r-seg.Local)*cols+c)
			}
		}
	}
}

// holders are the tensor ranks that have a segment with this start.
func holders(name string, seg param.Segment, size int) (ranks []int) {
	for r := range size {
		for _, p := range sharded(r, size) {
			if p.Name == name && slices.ContainsFunc(p.Segments, func(s param.Segment) bool { return s.Sum == seg.Sum && s.Global == seg.Global }) {
				ranks = append(ranks, r)
			}
		}
	}
	return ranks
}

// layout is a way to spread the parameters and their gradients over ranks.
type layout struct{ tensor, data int }

// number is element i of a whole tensor.
type number func(name string, i int) float64

// share is what one rank of a layout has of the gradient of an element: random parts that add up to the whole. They are integers, so
// that every sum is exact and comparisons are too.
func (l layout) share(whole float64, name string, seg param.Segment, from int, c mesh.Coord) float64 {
	n, position := l.data, c.Data
	if seg.Sum.Has(mesh.Tensor) {
		with := holders(name, seg, l.tensor)
		n, position = l.data*len(with), c.Data*len(with)+slices.Index(with, c.Tensor)
	}
	rng := rand.New(rand.NewPCG(uint64(from), uint64(len(name)*1000+n)))
	rest := whole
	for piece := range n - 1 {
		part := float64(rng.IntN(2001) - 1000)
		if piece == position {
			return part
		}
		rest -= part
	}
	return rest
}

// outcome is what a layout computed: whole tensors, which all ranks that hold a part agreed on.
type outcome struct {
	norms     []float64
	applied   []bool
	weights   map[string][]float64
	gradients map[string][]float64 // of the last step, summed
}

// train takes one step for each of the gradients and joins what the ranks have. spoil, if any, is called before the step, with the
// gradients that are about to be uploaded.
func (l layout) train(d backend.Device, dtype tensor.DType, start number, gradients []number, settings optim.Settings, spoil func(step int, c mesh.Coord, name string, gradient []float64)) (outcome, error) {
	m, err := mesh.New(l.tensor, l.data, 1)
	if err != nil {
		return outcome{}, err
	}
	world := inproc.NewWorld(m.Ranks())
	result := outcome{weights: map[string][]float64{}, gradients: map[string][]float64{}}
	var mu sync.Mutex
	err = world.Run(func(id int) error {
		c := m.Coord(id)
		group := func(axes ...mesh.Axis) collective.Group { return world.Group(id, m.Group(id, mesh.Set(axes...))) }
		params := sharded(c.Tensor, l.tensor)
		weights := map[string][]float64{}
		for _, p := range params {
			weights[p.Name] = make([]float64, p.Len())
			each(p, func(_ param.Segment, at, from int) { weights[p.Name][at] = start(p.Name, from) })
		}
		tr, err := newTrainee(d, dtype, optim.Groups{Data: group(mesh.Data), Tensor: group(mesh.Tensor), Model: group(mesh.Tensor, mesh.Pipeline)}, settings, weights, params...)
		if err != nil {
			return err
		}
		var norms []float64
		var applied []bool
		for step, g := range gradients {
			mine := map[string][]float64{}
			for _, p := range params {
				mine[p.Name] = make([]float64, p.Len())
				each(p, func(seg param.Segment, at, from int) {
					mine[p.Name][at] = l.share(g(p.Name, from), p.Name, seg, from, c)
				})
				if spoil != nil {
					spoil(step, c, p.Name, mine[p.Name])
				}
			}
			norm, ok, err := tr.update(mine, 0.01)
			if err != nil {
				return err
			}
			norms, applied = append(norms, norm), append(applied, ok)
		}
		mu.Lock()
		defer mu.Unlock()
		return result.join(tr, norms, applied)
	})
	return result, err
}

// join adds what one rank has, and demands that it is what other ranks have of the same.
func (o *outcome) join(tr *trainee, norms []float64, applied []bool) error {
	if o.norms == nil {
		o.norms, o.applied = norms, applied
	}
	if !slices.EqualFunc(o.norms, norms, sameNumber) || !slices.Equal(o.applied, applied) {
		return fmt.Errorf("one rank has norms %v (%v), another %v (%v)", o.norms, o.applied, norms, applied)
	}
	for _, p := range tr.store.Params() {
		for what, x := range map[*map[string][]float64]tensor.Tensor{&o.weights: p.Weight(), &o.gradients: p.Grad()} {
			local := make([]float64, p.Len())
			if err := tr.s.Download(backend.Float64s(local), x).Wait(); err != nil {
				return err
			}
			whole := (*what)[p.Name]
			if whole == nil {
				whole = make([]float64, length(p.Shape))
				for i := range whole {
					whole[i] = math.Inf(-1) // nobody has been here
				}
				(*what)[p.Name] = whole
			}
			var err error
			each(p, func(_ param.Segment, at, from int) {
				if !math.IsInf(whole[from], -1) && !sameNumber(whole[from], local[at]) {
					err = fmt.Errorf("%s[%d] is %v on one rank and %v on another", p.Name, from, whole[from], local[at])
				}
				whole[from] = local[at]
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func sameNumber(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// small are random integers, different for each element and purpose.
func small(purpose uint64) number {
	return func(name string, i int) float64 {
		rng := rand.New(rand.NewPCG(purpose, uint64(len(name)*1000+i)))
		return float64(rng.IntN(201) - 100)
	}
}

var layouts = []layout{{1, 1}, {1, 2}, {1, 3}, {2, 1}, {2, 2}, {4, 1}, {4, 2}, {8, 1}}

// TestSameStepUnderAnyLayout: however the parameters lie, also when several ranks hold the same key and value rows, summed
// gradients, their norm and the new weights are the same bits. Gradients are integers, so every order of a sum is exact.
func TestSameStepUnderAnyLayout(t *testing.T) {
	devices := map[string]precision{"deferring": {device: func() backend.Device {
		return backendtest.Deferring(reference.New(), backendtest.Options{PoisonArenas: true})
	}, dtype: tensor.Float64}}
	for _, p := range precisions {
		devices[p.name] = p
	}
	start, gradients := small(1), []number{small(2), small(3)}
	settings := optim.Settings{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, MaxGradNorm: 100}
	for name, p := range devices {
		t.Run(name, func(t *testing.T) {
			var want outcome
			for _, l := range layouts {
				got := must(l.train(p.device(), p.dtype, start, gradients, settings, nil))(t)
				for step, g := range gradients {
					squares := 0.0
					for name, shape := range shapes {
						for i := range length(shape) {
							squares += g(name, i) * g(name, i)
							if step == 1 && got.gradients[name][i] != g(name, i) {
								t.Fatalf("%+v: gradient of %s[%d] is %v, want %v", l, name, i, got.gradients[name][i], g(name, i))
							}
						}
					}
					if got.norms[step] != math.Sqrt(squares) || !got.applied[step] {
						t.Fatalf("%+v: norm %v, want %v", l, got.norms[step], math.Sqrt(squares))
					}
				}
				if want.weights == nil {
					want = got
				}
				sameBits(t, fmt.Sprintf("weights under %+v", l), got.weights, want.weights)
			}
		})
	}
}

func length(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// TestNonFiniteOnOneRankStopsAll: a bad number in the gradient of any one rank, in whatever it holds, keeps all ranks from stepping,
// and leaves the weights as if the step had not been.
func TestNonFiniteOnOneRankStopsAll(t *testing.T) {
	start, good := small(1), []number{small(2), small(3), small(4)}
	settings := optim.Settings{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, MaxGradNorm: 100}
	for _, l := range []layout{{2, 2}, {4, 1}} {
		want := must(l.train(reference.New(), tensor.Float64, start, []number{good[0], good[2]}, settings, nil))(t)
		for tensorRank := range l.tensor {
			for name := range shapes {
				if name == "score" && tensorRank > 0 {
					continue // all ranks compute the same there, bad numbers included, and the first one's is looked at
				}
				bad := math.Inf(1)
				if tensorRank%2 == 0 {
					bad = math.NaN()
				}
				hit := false
				spoil := func(step int, c mesh.Coord, which string, gradient []float64) {
					same := which == "score" // on all tensor ranks
					if step == 1 && (c.Tensor == tensorRank || same) && c.Data == l.data-1 && which == name {
						gradient[len(gradient)-1] = bad
						if c.Tensor == tensorRank {
							hit = true
						}
					}
				}
				got := must(l.train(reference.New(), tensor.Float64, start, good, settings, spoil))(t)
				if !hit { // this rank has none of it
					continue
				}
				if !slices.Equal(got.applied, []bool{true, false, true}) || !math.IsNaN(got.norms[1]) && !math.IsInf(got.norms[1], 1) {
					t.Errorf("%+v, %s of tensor rank %d: norms %v, applied %v", l, name, tensorRank, got.norms, got.applied)
				}
				sameBits(t, fmt.Sprintf("%+v, %s of tensor rank %d", l, name, tensorRank), got.weights, want.weights)
			}
		}
	}
}

// TestReplicasStayTheSame: with gradients that are no integers, and sums that are rounded, all ranks that hold the same weights have
// the same bits after several steps; and other layouts come near: each sums at most 8 numbers in another order.
func TestReplicasStayTheSame(t *testing.T) {
	uneven := func(purpose uint64) number {
		return func(name string, i int) float64 { return small(purpose)(name, i) / 7 }
	}
	settings := optim.Settings{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxGradNorm: 1}
	var want outcome
	for _, l := range layouts {
		got := must(l.train(reference.New(), tensor.Float64, small(1), []number{uneven(2), uneven(3), uneven(4)}, settings, nil))(t) // join compares replicas
		if want.weights == nil {
			want = got
		}
		within(t, fmt.Sprintf("norms under %+v", l), got.norms, want.norms, func(i int) float64 { return 1e-12 * want.norms[i] })
		for name := range shapes {
			// Up to 8 parts of up to 8000 add up to a gradient with an error of 1e-11 at most. A gradient is 0 exactly or at least 1/7,
			// so Adam divides it with a relative error of 1e-10, and a step is about the rate, 0.01.
			within(t, fmt.Sprintf("%s under %+v", name, l), got.weights[name], want.weights[name], func(int) float64 { return 3 * 0.01 * 1e-10 })
		}
	}
}

// TestRanksThatShareDifferently find out when the optimizer is made, instead of waiting for each other later.
func TestRanksThatShareDifferently(t *testing.T) {
	world := inproc.NewWorld(2)
	errs := make([]error, 2)
	err := world.Run(func(id int) error {
		all := world.Group(id, []int{0, 1})
		params := []*param.Param{param.Replicated("norm", []int{6}, mesh.Set(mesh.Tensor), id == 0)}
		weights := map[string][]float64{"norm": make([]float64, 6), "more": make([]float64, 6)}
		if id == 1 {
			params = append(params, param.Replicated("more", []int{6}, mesh.Set(mesh.Tensor), false))
		}
		_, errs[id] = newTrainee(reference.New(), tensor.Float64, optim.Groups{Data: collective.Solo{}, Tensor: all, Model: all}, optim.Settings{}, weights, params...)
		return errs[id]
	})
	for id, e := range errs {
		if e == nil || !strings.Contains(e.Error(), "sums 1 segments") && !strings.Contains(e.Error(), "sums 2 segments") {
			t.Errorf("rank %d: %v", id, e)
		}
	}
	if err == nil {
		t.Error("no error")
	}
}

// TestFailureOfAnotherRankIsReported: the norm is a collective, and ends with the world.
func TestFailureOfAnotherRankIsReported(t *testing.T) {
	world, lost := inproc.NewWorld(2), errors.New("lost its device")
	err := world.Run(func(id int) error {
		all := world.Group(id, []int{0, 1})
		tr, err := newTrainee(reference.New(), tensor.Float64, optim.Groups{Data: all, Tensor: collective.Solo{}, Model: collective.Solo{}}, optim.Settings{},
			map[string][]float64{"scalar": {1}}, goldenParams()[2])
		if err != nil {
			return err
		}
		if id == 1 {
			return lost
		}
		_, applied, err := tr.update(map[string][]float64{"scalar": {1}}, 0.1)
		if applied || !errors.Is(err, lost) {
			t.Errorf("applied %v, %v", applied, err)
		}
		return err
	})
	if !errors.Is(err, lost) {
		t.Error(err)
	}
}
