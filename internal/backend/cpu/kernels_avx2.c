//go:build cgo && unix && amd64

#pragma GCC target("avx2,fma")
#define ISA "avx2"
#define ISA_AVX2
#define KERNELS alfred_kernels_avx2
#define W 8
#define MR 6
#include "kernels_generic.inc.h"
