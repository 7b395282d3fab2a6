//go:build cgo && unix && amd64

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define ISA "avx512"
#define ISA_AVX512
#define KERNELS alfred_kernels_avx512
#define W 16
#define MR 14
#include "kernels_generic.inc.h"
