package nn

import (
	"alfred/internal/backend"
	"alfred/internal/tensor"
)

// Cache is the memory of a paged key/value cache: for each layer, pages of PageSize tokens, T tokens in all. Which sequences use
// which page is decided elsewhere.
type Cache struct {
	PageSize, Pages int
	Keys, Values    []tensor.Tensor // per layer: [T G K]
	// Kept is what the cache keeps for a backward pass over its tokens; nil if it is a cache of keys and values alone.
	Kept *Activations
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
	Read  bool    // whether the head is read at the last token, to choose the next one
	// Targets are the tokens that follow the chunk's last len(Targets) ones, where the head is read to score them: instead of Read.
	Targets []int32
}

// Slot is where token t of a sequence lies in a cache, by the sequence's pages.
func Slot(pages []int32, t, pageSize int) int32 {
	return pages[t/pageSize]*int32(pageSize) + int32(t%pageSize)
}

// CachedBatch is a set of chunks on the device, packed end to end. One that is done with can be filled again.
type CachedBatch struct {
	IDs, Positions tensor.Tensor // [N] int32
	Slots          tensor.Tensor // [N] int32: where each token's key and value go in the cache
	Pages          backend.Pages
	Rows           tensor.Tensor // [M] int32: the packed rows at which the head is read
	Targets        tensor.Tensor // [M] int32: the token after each of them, of chunks that are scored; otherwise empty

	ids, positions, slots, rows, targets, offsets, keys, table []int32 // the same on the host: room for the next filling
}

// Fill uploads chunks into the stream's current arena.
func (b *CachedBatch) Fill(s *backend.Stream, chunks []Chunk, pageSize int) {
	b.ids, b.positions, b.slots = b.ids[:0], b.positions[:0], b.slots[:0]
	b.rows, b.targets = b.rows[:0], b.targets[:0]
	b.offsets, b.keys, b.table = append(b.offsets[:0], 0), b.keys[:0], b.table[:0]
	b.Pages.PageSize, b.Pages.QueryCounts, b.Pages.KeyCounts = pageSize, b.Pages.QueryCounts[:0], b.Pages.KeyCounts[:0]
	widest := 1
	for _, c := range chunks {
		widest = max(widest, len(c.Pages))
	}
	for _, c := range chunks {
		b.ids = append(b.ids, c.IDs...)
		for t := c.Start; t < c.Start+len(c.IDs); t++ {
			b.positions = append(b.positions, int32(t))
			b.slots = append(b.slots, Slot(c.Pages, t, pageSize))
		}
		if c.Read {
			b.rows = append(b.rows, int32(len(b.ids)-1))
		}
		for i := range c.Targets {
			b.rows = append(b.rows, int32(len(b.ids)-len(c.Targets)+i))
		}
		b.targets = append(b.targets, c.Targets...)
		b.offsets = append(b.offsets, int32(len(b.ids)))
		b.keys = append(b.keys, int32(c.Start+len(c.IDs)))
		b.table = append(b.table, c.Pages...)
		for range widest - len(c.Pages) {
			b.table = append(b.table, 0)
		}
		b.Pages.QueryCounts = append(b.Pages.QueryCounts, len(c.IDs))
		b.Pages.KeyCounts = append(b.Pages.KeyCounts, c.Start+len(c.IDs))
	}
	b.IDs, b.Positions, b.Slots = upload(s, b.ids), upload(s, b.positions), upload(s, b.slots)
	b.Rows, b.Targets = upload(s, b.rows), upload(s, b.targets)
	b.Pages.Table = upload(s, b.table).Reshape(len(chunks), widest)
	b.Pages.Queries, b.Pages.KeyLengths = upload(s, b.offsets), upload(s, b.keys)
}
