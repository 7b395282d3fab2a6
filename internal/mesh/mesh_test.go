package mesh

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// meshes are all grids with sizes of 1 to 4.
func meshes() []Mesh {
	var all []Mesh
	for t := range 4 {
		for d := range 4 {
			for p := range 4 {
				all = append(all, Mesh{Tensor: t + 1, Data: d + 1, Pipeline: p + 1})
			}
		}
	}
	return all
}

func TestCoordAndRankAreInverse(t *testing.T) {
	for _, m := range meshes() {
		seen := map[Coord]bool{}
		for rank := range m.Ranks() {
			c := m.Coord(rank)
			for a := range numAxes {
				if c.At(a) < 0 || c.At(a) >= m.Size(a) {
					t.Errorf("%v: rank %d is at %+v", m, rank, c)
				}
			}
			if seen[c] || m.Rank(c) != rank {
				t.Errorf("%v: rank %d is at %+v, where rank %d is", m, rank, c, m.Rank(c))
			}
			seen[c] = true
		}
	}
}

// TestTensorRanksAreNeighbours: the target run has 8 x 4 x 4 ranks on nodes of 8.
func TestTensorRanksAreNeighbours(t *testing.T) {
	m, err := New(8, 4, 4)
	if err != nil || m.Ranks() != 128 {
		t.Fatalf("%v, %v", m, err)
	}
	for rank, want := range map[int]Coord{0: {}, 7: {Tensor: 7}, 8: {Data: 1}, 31: {Tensor: 7, Data: 3}, 32: {Pipeline: 1}, 127: {7, 3, 3}} {
		if got := m.Coord(rank); got != want {
			t.Errorf("rank %d is at %+v, want %+v", rank, got, want)
		}
	}
	if got := m.Group(13, Set(Tensor)); !slices.Equal(got, []int{8, 9, 10, 11, 12, 13, 14, 15}) {
		t.Errorf("the tensor group of rank 13 is %v, not its node", got)
	}
	if got := m.Group(13, Set(Data)); !slices.Equal(got, []int{5, 13, 21, 29}) {
		t.Errorf("the replicas of rank 13 are %v", got)
	}
	if got := m.Group(13, Set(Pipeline)); !slices.Equal(got, []int{13, 45, 77, 109}) {
		t.Errorf("the stages of rank 13 are %v", got)
	}
}

// TestGroupsPartitionTheRanks: for every set of axes, groups are equal or disjoint, contain the rank that asks, are ascending,
// have the product of the axes' sizes, and their ranks agree on every other axis.
func TestGroupsPartitionTheRanks(t *testing.T) {
	for _, m := range meshes() {
		for axes := range Axes(1 << numAxes) {
			size := 1
			for a := range numAxes {
				if axes.Has(a) {
					size *= m.Size(a)
				}
			}
			for rank := range m.Ranks() {
				group := m.Group(rank, axes)
				if len(group) != size || !slices.Contains(group, rank) || !slices.IsSorted(group) {
					t.Fatalf("%v: group of %d along %v is %v, want %d ranks", m, rank, axes, group, size)
				}
				for _, other := range group {
					if !slices.Equal(m.Group(other, axes), group) {
						t.Fatalf("%v: ranks %d and %d disagree about their group along %v", m, rank, other, axes)
					}
					for a := range numAxes {
						if !axes.Has(a) && m.Coord(other).At(a) != m.Coord(rank).At(a) {
							t.Fatalf("%v: ranks %d and %d differ along %v, their group is along %v", m, rank, other, a, axes)
						}
					}
				}
			}
		}
	}
}

func TestNew(t *testing.T) {
	if m, err := New(2, 3, 4); err != nil || m != (Mesh{Tensor: 2, Data: 3, Pipeline: 4}) || m.String() != "tensor 2 x data 3 x pipeline 4" {
		t.Errorf("got %v, %v", m, err)
	}
	for _, sizes := range [][3]int{{0, 1, 1}, {1, 0, 1}, {1, 1, 0}, {-1, 1, 1}} {
		if _, err := New(sizes[0], sizes[1], sizes[2]); err == nil || !strings.Contains(err.Error(), "at least 1") {
			t.Errorf("%v: %v", sizes, err)
		}
	}
}

func TestAxes(t *testing.T) {
	for text, axes := range map[string]Axes{"": Set(), "tensor": Set(Tensor), "tensor+pipeline": Set(Pipeline, Tensor), "tensor+data+pipeline": Set(Data, Tensor, Pipeline)} {
		if axes.String() != text {
			t.Errorf("%q is written %q", text, axes)
		}
	}
	if s := Set(Data); s.Has(Tensor) || !s.Has(Data) || s.Has(Pipeline) {
		t.Errorf("%v", s)
	}
	if got := fmt.Sprint(Tensor, Data, Pipeline); got != "tensor data pipeline" {
		t.Errorf("got %s", got)
	}
}

// TestShard: parts follow each other, cover everything, and differ by one unit at most, the longer ones first.
func TestShard(t *testing.T) {
	for total := range 40 {
		for size := 1; size <= 9; size++ {
			next, previous := 0, total+1
			for index := range size {
				lo, hi := Shard(total, index, size)
				if lo != next || hi-lo < total/size || hi-lo > (total+size-1)/size || hi-lo > previous {
					t.Errorf("%d units in %d parts: part %d is [%d, %d), want it to begin at %d", total, size, index, lo, hi, next)
				}
				next, previous = hi, hi-lo
			}
			if next != total {
				t.Errorf("%d units in %d parts end at %d", total, size, next)
			}
		}
	}
}
