package dataset

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// splitHash places a conversation in [0, 1), evenly. It depends on the beginning alone, which is the key.
func splitHash(key string) float64 {
	sum := sha256.Sum256([]byte("held out\x00" + key))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) * 0x1p-53
}

// placed is a sample with the hash that decides its side.
type placed[T Sample] struct {
	sample T
	hash   float64
}

// sortHeldOut orders held-out samples by hash, so that any beginning of the list is a fair draw and the order of files does
// not matter; samples of one prompt stay in the order they were read.
func sortHeldOut[T Sample](held []placed[T]) []T {
	slices.SortStableFunc(held, func(a, b placed[T]) int {
		switch {
		case a.hash < b.hash:
			return -1
		case a.hash > b.hash:
			return 1
		}
		return 0
	})
	out := make([]T, len(held))
	for i, h := range held {
		out[i] = h.sample
	}
	return out
}
