/*
 * The interface between Go and the shim. Every function that computes is a "kernel": it takes an
 * array of pointers and an array of integers, so that Go calls all of them alike. A kernel uses only
 * the calling thread. Activations are [rows][channel blocks][pixels][BLOCK], channels above the
 * tensor's own are zero; statistics and coefficients are [rows][channel blocks x BLOCK] floats.
 */
#ifndef METRIX_SHIM_H
#define METRIX_SHIM_H

#include <stdint.h>

/* The number of this interface: raise it, here and in library.go, when a function changes its meaning. */
#define METRIX_ABI 2

typedef void kernel(void *const *p, const int64_t *n);

typedef struct {
    const char *name;
    kernel *f32, *bf16;
} entry;

typedef struct {
    int64_t block;
    const entry *entries; /* ends with a nameless entry */
    kernel *winograd[2], *winograd_weights[2], *winograd_pack; /* f32 and bf16: see winograd.h */
    int64_t (*winograd_scratch)(const int64_t *n, int weights);
} kernels;

/* The same kernels compiled for several instruction sets. */
extern const kernels kernels_plain;
#ifdef METRIX_X86
extern const kernels kernels_avx2, kernels_avx512;
#endif

#endif
