// Package collective is how ranks exchange tensors and bytes. It holds the contract; packages below it implement it:
// inproc for ranks that are goroutines of one process, dry for ranks that only count, nccl for GPUs.
package collective

import (
	"errors"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// ErrAborted is the cause of every collective that ends because some rank of the world failed: errors.Is(err, ErrAborted).
var ErrAborted = errors.New("collective: aborted")

// Group is a set of ranks that exchange data. All its ranks make the same calls in the same order. A group of one rank does
// nothing, at no cost, so that callers never ask how many ranks there are.
//
// Tensor operations are enqueued on the caller's stream and run in its order. Sums are taken in rank order, so the result
// is the same on all ranks and in every run. When a rank fails, its stream or the group is aborted, and the others get
// ErrAborted instead of waiting.
type Group interface {
	// Rank is the caller's position in the group, Size the number of ranks.
	Rank() int
	Size() int
	// AllReduce replaces x by the sum over ranks, accumulated wide and rounded once. Int32 tensors too.
	AllReduce(s *backend.Stream, x tensor.Tensor)
	// ReduceScatter: dst = this rank's part of the sum of src over ranks. len(src) = Size·len(dst); dst may be this rank's own
	// part of src.
	ReduceScatter(s *backend.Stream, dst, src tensor.Tensor)
	// AllGather: dst = the parts src of all ranks in rank order. len(dst) = Size·len(src); src may be its place in dst.
	AllGather(s *backend.Stream, dst, src tensor.Tensor)
	// Broadcast replaces x by the x of rank root.
	Broadcast(s *backend.Stream, x tensor.Tensor, root int)
	// Send hands x to rank to; it never waits for the Recv. Recv fills x with what rank from sent next.
	Send(s *backend.Stream, x tensor.Tensor, to int)
	Recv(s *backend.Stream, x tensor.Tensor, from int)
	// Exchange gives every rank the bytes of all ranks, in rank order. It waits for all of them. Lengths may differ. It has an order
	// of its own, apart from that of streams.
	Exchange(data []byte) ([][]byte, error)
	// Abort ends all collectives of the world, now and later, with an error that wraps cause and ErrAborted.
	Abort(cause error)
}

// Solo is the group of one rank.
type Solo struct{}

// Rank is 0.
func (Solo) Rank() int { return 0 }

// Size is 1.
func (Solo) Size() int { return 1 }

// AllReduce does nothing.
func (Solo) AllReduce(*backend.Stream, tensor.Tensor) {}

// ReduceScatter copies src to dst unless they are the same memory.
func (Solo) ReduceScatter(s *backend.Stream, dst, src tensor.Tensor) { copyApart(s, dst, src) }

// AllGather copies src to dst unless they are the same memory.
func (Solo) AllGather(s *backend.Stream, dst, src tensor.Tensor) { copyApart(s, dst, src) }

// Broadcast does nothing.
func (Solo) Broadcast(*backend.Stream, tensor.Tensor, int) {}

// Send fails: there is nobody to send to.
func (Solo) Send(s *backend.Stream, _ tensor.Tensor, _ int) { s.Fail(errSolo) }

// Recv fails: there is nobody to receive from.
func (Solo) Recv(s *backend.Stream, _ tensor.Tensor, _ int) { s.Fail(errSolo) }

// Exchange returns data alone.
func (Solo) Exchange(data []byte) ([][]byte, error) { return [][]byte{data}, nil }

// Abort does nothing: no other rank waits.
func (Solo) Abort(error) {}

var errSolo = errors.New("collective: send or receive in a group of one rank")

func copyApart(s *backend.Stream, dst, src tensor.Tensor) {
	if dst.Buffer() != src.Buffer() || dst.Offset() != src.Offset() {
		s.Copy(dst, src)
	}
}
