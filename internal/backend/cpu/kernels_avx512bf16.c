//go:build cgo && unix && amd64

// AVX-512 with a dot product of bfloat16 pairs, which doubles the speed of such products. All else is as in kernels_avx512.c.
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")
#define ISA "avx512bf16"
#define ISA_AVX512
#define PAIRS 1
#define KERNELS alfred_kernels_avx512bf16
#define W 16
#define MR 14
#include "kernels_generic.inc.h"
