package checkpoint

import (
	"encoding/json"
	"fmt"
	"slices"

	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/param"
)

// segmentsKey is the key of a safetensors file's metadata under which segments are described. Files that hold whole tensors
// only have none, as those of other programs.
const segmentsKey = "alfred_segments"

// cut describes the part of a tensor that a file holds: runs of rows (Dim 0) or columns (Dim 1), one after the other.
type cut struct {
	Shape []int    `json:"shape"` // of the whole tensor
	Dim   int      `json:"dim"`
	Runs  [][2]int `json:"runs"` // first row or column in the whole tensor, and number of them
}

// piece is what this rank writes of one parameter: the segments that it owns.
type piece struct {
	param *param.Param
	index int // in the store
	dim   int
	runs  []param.Segment
	count int // rows or columns of all runs
}

// owned lists what this rank writes of a store, in the store's order.
func owned(store *param.Store) (pieces []piece) {
	for i, p := range store.Params() {
		pc := piece{param: p, index: i}
		for _, seg := range p.Segments {
			if seg.Owner && seg.Count > 0 {
				pc.dim = seg.Dim
				pc.runs = append(pc.runs, seg)
				pc.count += seg.Count
			}
		}
		if pc.count > 0 {
			pieces = append(pieces, pc)
		}
	}
	return pieces
}

// spec is the tensor that holds the piece in a file.
func (pc piece) spec(dtype safetensors.DType) safetensors.Spec {
	shape := slices.Clone(pc.param.Shape)
	shape[pc.dim] = pc.count
	return safetensors.Spec{Name: pc.param.Name, DType: dtype, Shape: shape}
}

// cut is the piece as the file describes it.
func (pc piece) cut() cut {
	c := cut{Shape: pc.param.Shape, Dim: pc.dim}
	for _, seg := range pc.runs {
		c.Runs = append(c.Runs, [2]int{seg.Global, seg.Count})
	}
	return c
}

// whole reports whether the piece is all of its tensor, in order.
func (c cut) whole() bool {
	return len(c.Runs) == 1 && c.Runs[0] == [2]int{0, c.Shape[c.Dim]}
}

// check compares the cut with the shape that the file's tensor has.
func (c cut) check(shape []int) error {
	if c.Dim < 0 || c.Dim > 1 || c.Dim >= len(c.Shape) || c.Dim == 1 && len(c.Shape) != 2 || !countable(c.Shape) {
		return fmt.Errorf("segments along dimension %d of shape %v", c.Dim, c.Shape)
	}
	count := 0
	for _, run := range c.Runs {
		if run[0] < 0 || run[1] < 1 || run[0] > c.Shape[c.Dim]-run[1] {
			return fmt.Errorf("segment %v along dimension %d of shape %v", run, c.Dim, c.Shape)
		}
		count += run[1]
		if count > c.Shape[c.Dim] {
			return fmt.Errorf("segments of %d along dimension %d of shape %v", count, c.Dim, c.Shape)
		}
	}
	want := slices.Clone(c.Shape)
	want[c.Dim] = count
	if !slices.Equal(shape, want) {
		return fmt.Errorf("the segments need shape %v, the tensor has %v", want, shape)
	}
	return nil
}

// segmentsMetadata is the metadata of a file with the given pieces; nil when all of them are whole tensors.
func segmentsMetadata(pieces []piece) (map[string]string, error) {
	cuts := map[string]cut{}
	for _, pc := range pieces {
		if c := pc.cut(); !c.whole() {
			cuts[pc.param.Name] = c
		}
	}
	if len(cuts) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(cuts)
	if err != nil {
		return nil, err
	}
	return map[string]string{segmentsKey: string(text)}, nil
}

// parseSegments reads what segmentsMetadata wrote, for tensors of the shapes that shapeOf gives. Tensors without an entry are whole.
func parseSegments(text string, shapeOf func(name string) ([]int, bool)) (map[string]cut, error) {
	var cuts map[string]cut
	if err := json.Unmarshal([]byte(text), &cuts); err != nil {
		return nil, fmt.Errorf("metadata %q: %w", segmentsKey, err)
	}
	for name, c := range cuts {
		shape, ok := shapeOf(name)
		if !ok {
			return nil, fmt.Errorf("metadata %q: no tensor %q in the file", segmentsKey, name)
		}
		if err := c.check(shape); err != nil {
			return nil, fmt.Errorf("metadata %q: tensor %q: %w", segmentsKey, name, err)
		}
	}
	return cuts, nil
}

// span is a run of rows or columns of a whole tensor, and who has it.
type span struct {
	lo, hi int
	where  string
}

// covers reports what keeps spans, which it sorts, from covering [0, n) exactly once.
func covers(spans []span, n int) error {
	slices.SortFunc(spans, func(a, b span) int { return a.lo - b.lo })
	next := span{where: "nothing"}
	for _, s := range spans {
		switch {
		case s.lo < next.hi:
			return fmt.Errorf("%d to %d are both in %s and in %s", s.lo, min(s.hi, next.hi), next.where, s.where)
		case s.lo > next.hi:
			return fmt.Errorf("%d to %d are in no file", next.hi, s.lo)
		}
		next = s
	}
	if next.hi != n {
		return fmt.Errorf("%d to %d are in no file", next.hi, n)
	}
	return nil
}
