// Package param is how the rest of alfred sees a model's weights: each Param is a list of segments of a tensor that has a
// name and a shape in a Hugging Face checkpoint. Checkpoints, ZeRO, gradient clipping and resharding read only that list, so
// a fused projection whose key/value rows are replicated, or a vocabulary cut into uneven shards, is no special case.
//
// The package names mesh axes but holds no groups: it says what must be summed, not how.
package param

import (
	"fmt"
	"slices"

	"alfred/internal/mesh"
	"alfred/internal/tensor"
)

// Segment is a run of rows or columns of a Hugging Face tensor that this rank holds.
type Segment struct {
	Dim    int       // 0: rows (or elements of a vector); 1: columns
	Global int       // first row or column in the Hugging Face tensor
	Local  int       // first row or column in this rank's tensor
	Count  int       // number of rows or columns
	Sum    mesh.Axes // axes over which its gradient is summed, besides mesh.Data
	Owner  bool      // of the ranks that hold the segment, this one counts it in norms and saves it
}

// Param is one weight tensor, or the part of it that this rank holds.
type Param struct {
	Name     string // in Hugging Face checkpoints
	Shape    []int  // there
	Local    []int  // here
	Segments []Segment
	Decay    bool // matrices decay; norms and biases do so on request only

	weight, grad tensor.Tensor
	stamp        *tensor.Stamp
}

// Rows is a parameter of which this rank holds rows lo to hi, nobody else holds them, and each rank's gradient is its own.
func Rows(name string, shape []int, lo, hi int) *Param {
	local := slices.Clone(shape)
	local[0] = hi - lo
	return &Param{Name: name, Shape: shape, Local: local, Decay: len(shape) > 1,
		Segments: []Segment{{Global: lo, Count: hi - lo, Owner: true}}}
}

// Cols is Rows for columns of a matrix.
func Cols(name string, shape []int, lo, hi int) *Param {
	return &Param{Name: name, Shape: shape, Local: []int{shape[0], hi - lo}, Decay: true,
		Segments: []Segment{{Dim: 1, Global: lo, Count: hi - lo, Owner: true}}}
}

// Replicated is a parameter that every rank of the tensor group holds whole. sum names the axes over which the ranks'
// gradients are parts of one sum (none when each rank computes the whole gradient); owner marks one of the ranks.
func Replicated(name string, shape []int, sum mesh.Axes, owner bool) *Param {
	return &Param{Name: name, Shape: shape, Local: slices.Clone(shape), Decay: len(shape) > 1,
		Segments: []Segment{{Count: shape[0], Sum: sum, Owner: owner}}}
}

// Len is the number of elements held here.
func (p *Param) Len() int {
	n := 1
	for _, d := range p.Local {
		n *= d
	}
	return n
}

// Weight is the tensor to compute with. Its stamp identifies it to backends that keep packed copies.
func (p *Param) Weight() tensor.Tensor { return p.weight.WithStamp(p.stamp) }

// Grad is where gradients are summed, of Local's shape and wide; absent while no gradients are lent.
func (p *Param) Grad() tensor.Tensor { return p.grad }

// Touch tells that the weight was written.
func (p *Param) Touch() { p.stamp.Version++ }

// Part is the piece of a tensor of Local's shape that segment seg describes. It exists for row segments only, because
// views are along the leading axis; a column segment always spans its whole local tensor.
func (p *Param) Part(t tensor.Tensor, seg Segment) tensor.Tensor {
	if seg.Dim == 1 {
		return t
	}
	return t.Slice(seg.Local, seg.Local+seg.Count)
}

// check panics when the segments do not cover the local tensor exactly once: the model's own mistake.
func (p *Param) check() {
	next := 0
	for _, s := range p.Segments {
		if s.Dim >= len(p.Shape) || s.Local != next || s.Global < 0 || s.Global+s.Count > p.Shape[s.Dim] || s.Dim == 1 && len(p.Segments) > 1 {
			panic(fmt.Sprintf("param: %s: bad segment %+v of %v in %v", p.Name, s, p.Shape, p.Local))
		}
		next += s.Count
	}
	if len(p.Segments) == 0 || next != p.Local[p.Segments[0].Dim] {
		panic(fmt.Sprintf("param: %s: segments cover %d of %v", p.Name, next, p.Local))
	}
}
