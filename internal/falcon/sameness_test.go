package falcon_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"alfred/internal/checkpoint/safetensors/goldentest"
	"alfred/internal/collective"
	"alfred/internal/collective/inproc"
	"alfred/internal/falcon"
	"alfred/internal/mesh"
	"alfred/internal/optim"
	"alfred/internal/param"
	"alfred/internal/pipeline"
)

// layout is a way to cut one global batch.
type layout struct {
	tensor, data, budget int
	recompute            bool
}

func (l layout) String() string {
	return fmt.Sprintf("tensor %d, data %d, budget %d, recompute %v", l.tensor, l.data, l.budget, l.recompute)
}

// run computes outputs and summed gradients of all sequences under a layout, and joins the gradients of all segments into whole
// tensors. Every replica of a tensor-parallel segment must hold the same sum.
func (l layout) run(t *testing.T, p precision, g golden, a, b []float64) (outputs []float64, gradients map[string][]float64) {
	t.Helper()
	m, err := mesh.New(l.tensor, l.data, 1)
	if err != nil {
		t.Fatal(err)
	}
	seqs := g.sequences()
	starts, total := []int{}, 0
	for _, q := range seqs {
		starts, total = append(starts, total), total+q.To-q.From
	}
	var units []pipeline.Unit
	for i, q := range seqs {
		units = append(units, pipeline.Single(i, q))
	}
	parts := pipeline.Partition(units, l.data, l.budget)
	device := p.device()
	world := inproc.NewWorld(m.Ranks())
	outputs, gradients = make([]float64, total), map[string][]float64{}
	seen := map[string][]bool{}
	var mu sync.Mutex
	err = world.Run(func(id int) error {
		group := func(axes ...mesh.Axis) collective.Group { return world.Group(id, m.Group(id, mesh.Set(axes...))) }
		r, err := buildRank(device, g, falcon.Options{Tensor: group(mesh.Tensor), Recompute: l.recompute})
		if err != nil {
			return err
		}
		groups := optim.Groups{Data: group(mesh.Data), Tensor: group(mesh.Tensor), Model: group(mesh.Tensor, mesh.Pipeline)}
		r.exec.Stream.Use(r.weights)
		opt, err := optim.New(r.exec.Stream, r.stage.Params, groups, optim.Settings{Eps: 1e-8})
		if err != nil {
			return err
		}
		var micros [][]int
		for _, micro := range parts[m.Coord(id).Data] {
			var ids []int
			for _, u := range micro.Units {
				ids = append(ids, u.ID)
			}
			micros = append(micros, ids)
		}
		logp, entropy, value, err := r.train(micros, seqs, a, b, a)
		if err != nil {
			return err
		}
		if _, _, err := opt.Update(r.exec.Stream, 0); err != nil { // sums the gradients; a rate of 0 leaves the weights
			return err
		}
		mine, err := r.gradients()
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, ids := range micros {
			for _, i := range ids {
				for j := starts[i]; j < starts[i]+seqs[i].To-seqs[i].From; j++ {
					outputs[j] = logp[j] + entropy[j] + value[j]
				}
			}
		}
		for _, prm := range r.stage.Params.Params() {
			for _, seg := range prm.Segments {
				if err := place(gradients, seen, prm, seg, mine[prm.Name]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v: %v", l, err)
	}
	for name, s := range seen {
		if slices.Contains(s, false) {
			t.Errorf("%v: no rank holds all of %s", l, name)
		}
	}
	return outputs, gradients
}

// place copies a segment of a local tensor into the whole one; where another rank has put the same elements, they must be equal.
func place(whole map[string][]float64, seen map[string][]bool, p *param.Param, seg param.Segment, local []float64) error {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	if whole[p.Name] == nil {
		whole[p.Name], seen[p.Name] = make([]float64, n), make([]bool, n)
	}
	cols, localCols := n/p.Shape[0], len(local)/max(p.Local[0], 1)
	put := func(at int, x float64) error {
		if seen[p.Name][at] && whole[p.Name][at] != x {
			return fmt.Errorf("%s[%d]: two ranks hold %g and %g", p.Name, at, whole[p.Name][at], x)
		}
		whole[p.Name][at], seen[p.Name][at] = x, true
		return nil
	}
	for i, x := range local {
		r, c := i/localCols, i%localCols
		at := -1
		switch {
		case seg.Dim == 0 && r >= seg.Local && r < seg.Local+seg.Count:
			at = (seg.Global+r-seg.Local)*cols + c
		case seg.Dim == 1:
			at = r*cols + seg.Global + c
		}
		if at >= 0 {
			if err := put(at, x); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestSameUnderAnyLayout is the main test of the project: one global batch under any tensor size, data size, micro-batching and
// recompute gives the same outputs and gradients, for all forms and heads. With one tensor rank the outputs are the same bits.
func TestSameUnderAnyLayout(t *testing.T) {
	eachGolden(t, append(slices.Clone(languageForms), scoreForms...), func(t *testing.T, g golden, p precision) {
		var a, b []float64
		if g.config.Head == falcon.SequenceClassification {
			a = g.Floats("weight_values")
		} else {
			a, b = g.Floats("weight_logp"), g.Floats("weight_entropy")
		}
		everything := 1 << 20
		want, wantGradients := layout{1, 1, everything, false}.run(t, p, g, a, b)
		for _, l := range []layout{
			{1, 1, everything, true}, {1, 1, 1, false}, {1, 1, 60, false}, {1, 2, everything, false}, {1, 2, 40, true},
			{2, 1, everything, false}, {2, 2, 60, true}, {3, 1, everything, false}, {4, 1, everything, false}, {4, 2, 60, true},
		} {
			if err := g.config.Splits(l.tensor); err != nil {
				t.Logf("%v: not possible: %v", l, err)
				continue
			}
			got, gotGradients := l.run(t, p, g, a, b)
			if l.tensor == 1 {
				goldentest.Near(t, l.String()+": outputs", got, want, 0, 0)
			} else {
				goldentest.Near(t, l.String()+": outputs", got, want, p.value, p.value)
			}
			goldentest.NearTensors(t, l.String()+": gradients", gotGradients, wantGradients, p.relative, p.absolute)
			if t.Failed() {
				t.Fatalf("under %v", l)
			}
		}
	})
}
