package param_test

import (
	"testing"

	"alfred/internal/backend"
	"alfred/internal/mesh"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

type buffer int

func (b buffer) Size() int { return int(b) }

// quiet is a queue for code that only allocates.
type quiet struct{ backend.Queue }

func (quiet) Zero(tensor.Tensor) {}

func testStore(t *testing.T) *param.Store {
	t.Helper()
	st := param.NewStore([]*param.Param{
		param.Rows("embedding", []int{100, 3}, 64, 100),
		param.Replicated("norm", []int{3}, mesh.Set(mesh.Tensor), false),
		param.Cols("dense", []int{3, 8}, 2, 7),
	})
	s := backend.NewStream(quiet{}, tensor.Float32)
	s.Use(backend.NewArena("weights", buffer(1<<20)))
	st.Bind(s, tensor.BFloat16)
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return st
}

func TestFlatBuffersHoldEveryParameterOnce(t *testing.T) {
	st := testStore(t)
	grads := tensor.New(buffer(4*st.Len()), 0, tensor.Float32, st.Len())
	st.Lend(grads)
	usedW, usedG := make([]bool, st.Len()), make([]bool, st.Len())
	lastGrad := st.Len()
	for _, p := range st.Params() {
		w, g := p.Weight(), p.Grad()
		if w.DType() != tensor.BFloat16 || g.DType() != tensor.Float32 || w.String()[8:] != g.String()[7:] {
			t.Errorf("%s: weight %v, gradient %v", p.Name, w, g)
		}
		if at := g.Offset() / 4; at >= lastGrad {
			t.Errorf("%s: gradient at %d is not before that of the layer below it (%d)", p.Name, at, lastGrad)
		} else {
			lastGrad = at
		}
		if w.Offset()%128 != 0 || g.Offset()%256 != 0 {
			t.Errorf("%s: unaligned: %d, %d", p.Name, w.Offset(), g.Offset())
		}
		for i := range p.Len() {
			wi, gi := w.Offset()/2+i, g.Offset()/4+i
			if usedW[wi] || usedG[gi] {
				t.Fatalf("%s: element %d overlaps another parameter", p.Name, i)
			}
			usedW[wi], usedG[gi] = true, true
		}
	}
	st.Lend(tensor.Tensor{})
	if !st.Params()[0].Grad().Absent() {
		t.Error("a gradient that was taken back is still there")
	}
}

func TestStampFollowsWrites(t *testing.T) {
	p := testStore(t).Params()[0]
	before := p.Weight().Stamp().Version
	p.Touch()
	if w := p.Weight(); w.Stamp() == nil || w.Stamp().Version != before+1 {
		t.Errorf("stamp %+v after a write, version was %d", w.Stamp(), before)
	}
	if p.Weight().Slice(0, 1).Stamp() != nil {
		t.Error("a part of a weight carries the weight's stamp")
	}
}

func TestSegmentsMustCoverTheLocalTensor(t *testing.T) {
	for name, p := range map[string]*param.Param{
		"hole":      {Name: "w", Shape: []int{8, 2}, Local: []int{4, 2}, Segments: []param.Segment{{Global: 0, Count: 2}, {Global: 4, Local: 3, Count: 1}}},
		"too short": {Name: "w", Shape: []int{8, 2}, Local: []int{4, 2}, Segments: []param.Segment{{Global: 0, Count: 3}}},
		"outside":   {Name: "w", Shape: []int{8, 2}, Local: []int{4, 2}, Segments: []param.Segment{{Global: 6, Count: 4}}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			param.NewStore([]*param.Param{p})
		}()
	}
}
