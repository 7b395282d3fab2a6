//go:build !unix

package cpu

import "unsafe"

const separately = false

// mapMemory aligns to 64 bytes.
func mapMemory(size int) ([]byte, error) {
	b := make([]byte, size+64)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & 63
	return b[skip : skip+size : skip+size], nil
}

func unmapMemory([]byte) {}
