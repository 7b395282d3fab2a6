//go:build unix && !(asan && cgo)

package cpu

import "syscall"

// separately is set where every piece of scratch memory is a block of its own.
const separately = false

func mapMemory(size int) ([]byte, error) {
	return syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

func unmapMemory(b []byte) {
	// Only an address that was never mapped fails here.
	_ = syscall.Munmap(b)
}
