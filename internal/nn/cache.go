package nn

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Cache is the memory of a paged key/value cache: for each layer, pages of PageSize tokens. Which sequences use which
// page is decided elsewhere.
type Cache struct {
	PageSize, Pages int
	Keys, Values    []tensor.Tensor // per layer: [Pages·PageSize G K]
}

// NewCache allocates the pages of layers layers from the stream's current arena.
func NewCache(s *backend.Stream, dtype tensor.DType, layers, pages, pageSize, kvHeads, headDim int) *Cache {
	c := &Cache{PageSize: pageSize, Pages: pages}
	for range layers {
		c.Keys = append(c.Keys, s.Zeros(dtype, pages*pageSize, kvHeads, headDim))
		c.Values = append(c.Values, s.Zeros(dtype, pages*pageSize, kvHeads, headDim))
	}
	return c
}

// Chunk is the next tokens of one sequence that a cached forward pass takes in.
type Chunk struct {
	IDs   []int32
	Start int     // position of IDs[0] in its sequence; everything before is in the cache, or comes there with another chunk of the batch
	Pages []int32 // pages of the sequence in order, enough for Start+len(IDs) tokens; no other chunk writes to a page that this one writes to
	Read  bool    // whether the head is read at the last token
}

// CachedBatch is a set of chunks on the device, packed end to end.
type CachedBatch struct {
	IDs, Positions tensor.Tensor // [N] int32
	Slots          tensor.Tensor // [N] int32: where each token's key and value go in the cache
	Pages          backend.Pages
	Rows           tensor.Tensor // [M] int32: the packed rows at which the head is read
}

// NewCachedBatch uploads chunks into the stream's current arena.
func NewCachedBatch(s *backend.Stream, chunks []Chunk, pageSize int) *CachedBatch {
	b := &CachedBatch{Pages: backend.Pages{PageSize: pageSize}}
	var ids, positions, slots, rows, keys []int32
	offsets := []int32{0}
	widest := 1
	for _, c := range chunks {
		widest = max(widest, len(c.Pages))
	}
	table := make([]int32, len(chunks)*widest)
	for i, c := range chunks {
		ids = append(ids, c.IDs...)
		for t := c.Start; t < c.Start+len(c.IDs); t++ {
			positions = append(positions, int32(t))
			slots = append(slots, c.Pages[t/pageSize]*int32(pageSize)+int32(t%pageSize))
		}
		if c.Read {
			rows = append(rows, int32(len(ids)-1))
		}
		offsets = append(offsets, int32(len(ids)))
		keys = append(keys, int32(c.Start+len(c.IDs)))
		copy(table[i*widest:], c.Pages)
		b.Pages.QueryCounts = append(b.Pages.QueryCounts, len(c.IDs))
		b.Pages.KeyCounts = append(b.Pages.KeyCounts, c.Start+len(c.IDs))
	}
	b.IDs, b.Positions, b.Slots, b.Rows = upload(s, ids), upload(s, positions), upload(s, slots), upload(s, rows)
	b.Pages.Table = upload(s, table).Reshape(len(chunks), widest)
	b.Pages.Queries, b.Pages.KeyLengths = upload(s, offsets), upload(s, keys)
	return b
}
