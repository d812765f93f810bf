/** @file mltfr/kernel.h
 *  How hot loops are compiled.  Layer: base. */
#ifndef MLTFR_KERNEL_H
#define MLTFR_KERNEL_H

/** In front of a function with hot loops: it is compiled for several instruction sets and the best
 *  one is chosen when the program starts.  Loops marked `#pragma omp simd reduction(...)` may
 *  reorder their sums; the order is fixed for one build on one machine type.  The names are levels
 * of the instruction set: the name of a CPU (haswell) would match that model alone, and every newer
 * one would fall back to the default. */
#if defined(MLTFR_CLONES) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define MLTFR_KERNEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MLTFR_KERNEL
#endif

/** A helper with loops, or called in loops, of an MLTFR_KERNEL function: only forced inlining lets
 *  it be compiled for the instruction set of each clone. */
#ifdef __GNUC__
#define MLTFR_INLINE static inline __attribute__((always_inline))
#else
#define MLTFR_INLINE static inline
#endif

#endif
