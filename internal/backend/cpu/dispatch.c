//go:build cgo && unix

#include "kernels.h"
#include <string.h>

extern const struct kernels alfred_kernels_base;
#if defined(__x86_64__)
extern const struct kernels alfred_kernels_avx512bf16, alfred_kernels_avx512, alfred_kernels_avx2;
#endif

const struct kernels *kernels_find(const char *isa) {
#if defined(__x86_64__)
	__builtin_cpu_init();
	const int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
			   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
	if (!strcmp(isa, "avx512bf16") && avx512 && __builtin_cpu_supports("avx512bf16")) return &alfred_kernels_avx512bf16;
	if (!strcmp(isa, "avx512") && avx512) return &alfred_kernels_avx512;
	if (!strcmp(isa, "avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &alfred_kernels_avx2;
#endif
	return strcmp(isa, "base") ? 0 : &alfred_kernels_base;
}
