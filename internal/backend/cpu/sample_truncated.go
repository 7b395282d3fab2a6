package cpu

import (
	"cmp"
	"math"
	"slices"
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// firstRanked is how many of the largest entries are ranked at first when only TopP limits them. It nearly always suffices;
// otherwise four times as many are tried, and so on.
const firstRanked = 256

// SampleTruncated draws from the largest entries; the cumulative distribution is walked from the largest down.
func (q *queue) SampleTruncated(tokens, stats, logits, uniforms, banned tensor.Tensor, d backend.Draw) {
	if !q.begin("sample truncated", tokens, stats, logits, uniforms, banned) {
		return
	}
	defer q.end()
	if !q.bannable(banned) || !q.unit(uniforms, d) {
		return
	}
	q.draw(drawing{tokens: tokens, stats: stats, logits: logits, uniforms: uniforms, banned: banned, draw: d, choose: (*drawing).truncated})
}

// truncated draws from the TopK largest entries, cut to the smallest set of largest ones that reaches TopP.
func (o *drawing) truncated(w *worker, z row32, n int) (int, bool) {
	d, u := &o.draw, doubles(o.uniforms)[n]
	f := w.scratch.floats(2 * len(z.logits))
	weights, zs := f[:len(z.logits)], f[len(z.logits):]
	top := negInf
	for v := range zs {
		zs[v] = float32(z.at(v))
		top = max(top, zs[v])
	}
	if !peaks(top) {
		return z.any(d.First)
	}
	for v, x := range zs {
		weights[v] = x - top
	}
	w.kernels.exp(mapArgs{y: start(weights), a: start(weights), n: int64(len(weights)), dtype: float32Type})
	size, total := min(d.TopK, len(zs)), 0.0
	if d.Greedy {
		size = 1
	} else if size == 0 {
		size = len(zs)
		for _, e := range weights {
			total += float64(e)
		}
		if d.TopP < 1 {
			size = min(firstRanked, size)
		}
	}
	for {
		ranked := largest(unsafe.Slice((*candidate)(w.scratch.bytes(size*int(unsafe.Sizeof(candidate{})))), size), zs)
		weight := func(i int) float64 { return float64(weights[ranked[i].v]) }
		if d.TopK > 0 {
			total = 0
			for i := range ranked {
				total += weight(i)
			}
		}
		kept, sum := 0, 0.0
		for kept < len(ranked) && (kept == 0 || d.TopP == 1 || sum < d.TopP*total) {
			sum += weight(kept)
			kept++
		}
		if d.TopK == 0 && !d.Greedy && sum < d.TopP*total && size < len(zs) {
			size = min(4*size, len(zs))
			continue
		}
		i, _ := walk(kept, u*sum, weight)
		if i == none {
			return none, false
		}
		return ranked[i].v, true
	}
}

// candidate is an entry that may be drawn.
type candidate struct {
	z float32
	v int
}

// byRank puts the largest first, of equals the lower id.
func byRank(a, b candidate) int {
	if c := cmp.Compare(b.z, a.z); c != 0 {
		return c
	}
	return cmp.Compare(a.v, b.v)
}

// largest puts the largest entries that are not banned into room, as many as there is room for, ranked: a heap with the last of them
// at its root sees every entry.
func largest(room []candidate, zs []float32) []candidate {
	heap, size := room[:0], len(room)
	for v, z := range zs {
		switch {
		case math.IsInf(float64(z), -1):
		case len(heap) < size:
			heap = append(heap, candidate{z, v})
			if len(heap) == size {
				for i := size/2 - 1; i >= 0; i-- {
					sift(heap, i)
				}
			}
		case z > heap[0].z: // of equals the earlier one stays
			heap[0] = candidate{z, v}
			sift(heap, 0)
		}
	}
	slices.SortFunc(heap, byRank)
	return heap
}

// sift moves entry i down to its place in the heap.
func sift(heap []candidate, i int) {
	for {
		last := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(heap) && byRank(heap[child], heap[last]) > 0 {
				last = child
			}
		}
		if last == i {
			return
		}
		heap[i], heap[last] = heap[last], heap[i]
		i = last
	}
}
