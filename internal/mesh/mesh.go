// Package mesh maps ranks to coordinates of the (data, pipeline, tensor) grid. It is pure integers: who talks to whom is
// decided here, how they talk in package collective.
package mesh

import (
	"fmt"
	"strings"
)

// Axis is one direction of the grid.
type Axis uint8

// The axes, from the fastest-varying one: ranks that differ in Tensor only are neighbours (the GPUs of one node), then
// Data, then Pipeline. This is the order of Megatron-LM's initialize_model_parallel.
const (
	Tensor Axis = iota
	Data
	Pipeline
	numAxes
)

func (a Axis) String() string { return [...]string{"tensor", "data", "pipeline"}[a] }

// Axes is a set of axes.
type Axes uint8

// Set makes a set.
func Set(axes ...Axis) Axes {
	var s Axes
	for _, a := range axes {
		s |= 1 << a
	}
	return s
}

// Has reports whether a is in the set.
func (s Axes) Has(a Axis) bool { return s&(1<<a) != 0 }

func (s Axes) String() string {
	var names []string
	for a := range numAxes {
		if s.Has(a) {
			names = append(names, a.String())
		}
	}
	return strings.Join(names, "+")
}

// Mesh is the size of the grid along each axis.
type Mesh struct {
	Tensor, Data, Pipeline int
}

// New checks that every size is at least 1.
func New(tensor, data, pipeline int) (Mesh, error) {
	if tensor < 1 || data < 1 || pipeline < 1 {
		return Mesh{}, fmt.Errorf("mesh: tensor %d x data %d x pipeline %d: every size must be at least 1", tensor, data, pipeline)
	}
	return Mesh{Tensor: tensor, Data: data, Pipeline: pipeline}, nil
}

// Ranks is the number of ranks.
func (m Mesh) Ranks() int { return m.Tensor * m.Data * m.Pipeline }

// Size is the length of an axis.
func (m Mesh) Size(a Axis) int { return [...]int{m.Tensor, m.Data, m.Pipeline}[a] }

// Coord is the position of one rank.
type Coord struct {
	Tensor, Data, Pipeline int
}

// At is the position along one axis.
func (c Coord) At(a Axis) int { return [...]int{c.Tensor, c.Data, c.Pipeline}[a] }

// Coord is the position of rank.
func (m Mesh) Coord(rank int) Coord {
	return Coord{
		Tensor:   rank % m.Tensor,
		Data:     rank / m.Tensor % m.Data,
		Pipeline: rank / (m.Tensor * m.Data),
	}
}

// Rank is the inverse of Coord.
func (m Mesh) Rank(c Coord) int { return c.Tensor + m.Tensor*(c.Data+m.Data*c.Pipeline) }

// Group lists, in ascending order along the axes, the ranks that share rank's coordinates on every axis outside the set:
// Group(r, Set(Data)) are the replicas of r, Group(r, Set(Tensor, Pipeline)) the ranks that hold one copy of the model.
func (m Mesh) Group(rank int, axes Axes) []int {
	self := m.Coord(rank)
	var ranks []int
	for r := range m.Ranks() {
		c := m.Coord(r)
		same := true
		for a := range numAxes {
			same = same && (axes.Has(a) || c.At(a) == self.At(a))
		}
		if same {
			ranks = append(ranks, r)
		}
	}
	return ranks
}

func (m Mesh) String() string {
	return fmt.Sprintf("tensor %d x data %d x pipeline %d", m.Tensor, m.Data, m.Pipeline)
}

// Shard is the half-open range of units that position index of size gets when total units are cut as evenly as possible,
// the first ones getting one more.
func Shard(total, index, size int) (lo, hi int) {
	base, extra := total/size, total%size
	lo = index*base + min(index, extra)
	hi = lo + base
	if index < extra {
		hi++
	}
	return lo, hi
}
