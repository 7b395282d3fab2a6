//go:build asan && cgo && unix

package cpu

/*
#define _POSIX_C_SOURCE 200112L
#include <stdlib.h>
#include <string.h>
*/
import "C"

import (
	"errors"
	"unsafe"
)

// separately makes every piece of scratch memory a block of its own, so that the sanitizer sees where it ends.
const separately = true

func mapMemory(size int) ([]byte, error) {
	var p unsafe.Pointer
	if C.posix_memalign(&p, 64, C.size_t(size)) != 0 {
		return nil, errors.New("out of memory")
	}
	C.memset(p, 0, C.size_t(size))
	return unsafe.Slice((*byte)(p), size), nil
}

func unmapMemory(b []byte) { C.free(unsafe.Pointer(unsafe.SliceData(b))) }
