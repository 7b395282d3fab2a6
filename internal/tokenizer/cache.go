package tokenizer

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

const (
	// maxCachedWord bounds the bytes of a word worth keeping; longer ones rarely come twice.
	maxCachedWord = 32
	cacheSlots    = 1 << 16
)

// encodedWord is a word with its ids and the number of its bytes that have none.
type encodedWord struct {
	word    string
	ids     []int32
	dropped int
}

// wordCache is a two-way set-associative table with one atomic pointer per slot: bounded (at most
// 65,536 words of at most 32 bytes, some 15 MB), and without locks, since a lost update only costs
// an encoding again.
type wordCache struct {
	seed  maphash.Seed
	slots []atomic.Pointer[encodedWord]
}

func newWordCache() *wordCache {
	return &wordCache{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[encodedWord], cacheSlots)}
}

// slot gives the first slot of a word; the second is its neighbour (slot ^ 1).
func (c *wordCache) slot(word string) int {
	return int(maphash.String(c.seed, word) % cacheSlots)
}

func (c *wordCache) find(slot int, word string) *encodedWord {
	if e := c.slots[slot].Load(); e != nil && e.word == word {
		return e
	}
	if e := c.slots[slot^1].Load(); e != nil && e.word == word {
		return e
	}
	return nil
}

// store keeps a copy; what was in the first slot moves to the second.
func (c *wordCache) store(slot int, word string, ids []int32, dropped int) {
	e := &encodedWord{word: strings.Clone(word), ids: append([]int32(nil), ids...), dropped: dropped}
	if old := c.slots[slot].Swap(e); old != nil {
		c.slots[slot^1].Store(old)
	}
}
