package optim

import (
	"encoding/binary"
	"fmt"

	"alfred/internal/backend"
	"alfred/internal/collective"
	"alfred/internal/mesh"
	"alfred/internal/param"
	"alfred/internal/tensor"
)

// Groups are the ranks that gradients and norms are summed over.
type Groups struct {
	Data   collective.Group // replicas of this rank
	Tensor collective.Group // ranks that split this rank's layers
	Model  collective.Group // ranks that hold one copy of the model together
}

// Solo is the Groups of a single rank.
func Solo() Groups {
	return Groups{Data: collective.Solo{}, Tensor: collective.Solo{}, Model: collective.Solo{}}
}

// sums adds up the gradients of a store over the ranks: over the replicas all of them, over the tensor group those segments
// that say so.
type sums struct {
	store  *param.Store
	groups Groups
	shares []share
	room   tensor.Tensor // for the parts of all ranks of the largest share that is not the same everywhere
}

// share is a segment whose gradient is summed over the tensor group. with lists the ranks that hold the same segment; nil
// when all do.
type share struct {
	param   *param.Param
	segment param.Segment
	with    []int
}

func newSums(s *backend.Stream, store *param.Store, groups Groups) (sums, error) {
	u := sums{store: store, groups: groups}
	if groups.Tensor.Size() == 1 {
		return u, nil
	}
	for _, p := range store.Params() {
		for _, seg := range p.Segments {
			if seg.Sum.Has(mesh.Tensor) {
				u.shares = append(u.shares, share{param: p, segment: seg})
			}
		}
	}
	return u, u.meet(s)
}

// meet finds out which ranks hold which share: a key/value head may be replicated on some of the ranks only.
func (u *sums) meet(s *backend.Stream) error {
	mine := make([]byte, 0, 8*len(u.shares))
	for _, sh := range u.shares {
		mine = binary.LittleEndian.AppendUint64(mine, uint64(sh.segment.Global))
	}
	all, err := u.groups.Tensor.Exchange(mine)
	if err != nil {
		return err
	}
	largest := 0
	for i := range u.shares {
		sh := &u.shares[i]
		for r, theirs := range all {
			if len(theirs) != len(mine) {
				return fmt.Errorf("rank %d sums %d segments over the tensor group, this rank %d", r, len(theirs)/8, len(mine)/8)
			}
			if binary.LittleEndian.Uint64(theirs[8*i:]) == uint64(sh.segment.Global) {
				sh.with = append(sh.with, r)
			}
		}
		if len(sh.with) == len(all) {
			sh.with = nil
		} else {
			largest = max(largest, sh.grad(sh.param.Weight()).Len())
		}
	}
	if largest > 0 {
		u.room = s.Alloc(s.Wide(), len(all)*largest)
	}
	return s.Err()
}

// grad is the share's part of t, a tensor of the parameter's local shape.
func (sh share) grad(t tensor.Tensor) tensor.Tensor { return sh.param.Part(t, sh.segment) }

// reduce makes every gradient the sum over all ranks that have a part in it.
func (u *sums) reduce(s *backend.Stream) {
	u.groups.Data.AllReduce(s, u.store.Grads().Slice(0, u.store.Len()))
	for _, sh := range u.shares {
		g := sh.grad(sh.param.Grad())
		if sh.with == nil {
			u.groups.Tensor.AllReduce(s, g)
			continue
		}
		n := g.Len()
		all := u.room.Slice(0, n*u.groups.Tensor.Size())
		u.groups.Tensor.AllGather(s, all, g.Reshape(n))
		s.Zero(g)
		for _, r := range sh.with {
			s.Add(g.Reshape(n), g.Reshape(n), all.Slice(r*n, (r+1)*n))
		}
	}
}
