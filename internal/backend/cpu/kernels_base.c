//go:build cgo && unix

#define ISA "base"
#define KERNELS alfred_kernels_base
#define W 4
#define MR 4
#include "kernels_generic.inc.h"
