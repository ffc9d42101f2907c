/* Vectors of the machine's width. Every kernel is written once, in terms of these. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
enum { LANES = 16, REGISTERS = 32 };
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
enum { LANES = 8, REGISTERS = 16 };
#elif defined(__ARM_NEON)
#include <arm_neon.h>
enum { LANES = 4, REGISTERS = 32 };
#else
enum { LANES = 4, REGISTERS = 16 };
#endif

/* Sixteen images form a group, and an image's place in its group is the innermost dimension of
 * every array. One or six input channels cannot fill a vector; sixteen images fill one of any
 * width. */
enum { GROUP = 16 };
_Static_assert(GROUP % LANES == 0, "a group is a whole number of vectors");

typedef float vec_f32 __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t vec_i32 __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Keeps the compiler from carrying loaded values further in registers, which it would spill. */
#define BARRIER __asm__ volatile("" ::: "memory")

/* Makes BARRIER apply to a local array. While no other code has its address, nothing else can
 * change it, and the compiler ignores the barrier for it. */
#define SHOW_TO_BARRIER(array) __asm__ volatile("" : : "r"(array) : "memory")

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

INLINE vec_f32 load(const float *from) { return *(const vec_f32 *)from; }
INLINE void store(float *to, vec_f32 value) { *(vec_f32 *)to = value; }
INLINE vec_f32 broadcast(float value) { return value - (vec_f32){0}; } /* x - 0 is x, even for -0 */

/* a * b + c with one rounding. C has no fused multiply-add on vectors, hence the intrinsics. */
INLINE vec_f32 multiply_add(vec_f32 a, vec_f32 b, vec_f32 c) {
#if defined(__AVX512F__)
    return (vec_f32)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__)
    return (vec_f32)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
    return (vec_f32)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    for (int lane = 0; lane < LANES; lane++) c[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
    return c;
#endif
}

/* All ones in the lanes that ReLU lets through. NaN passes, as in PyTorch: a diverged model must
 * not look healthy. */
INLINE vec_i32 relu_mask(vec_f32 value) { return ~(vec_i32)(value <= 0.0f); }

/* The value where the mask is all ones, else 0. */
INLINE vec_f32 select_lanes(vec_f32 value, vec_i32 mask) {
    return (vec_f32)((vec_i32)value & mask);
}

static int64_t groups_in(int64_t batch) { return (batch + GROUP - 1) / GROUP; }

static int images_in(int64_t group, int64_t batch) {
    int64_t left = batch - group * GROUP;
    return left < GROUP ? (int)left : GROUP;
}

/* Joins the sixteen lanes of each of `count` sums in a fixed tree: those 8 apart, then 4, 2 and 1.
 */
static void join_lanes(int count, const float *sums, float *joined) {
    for (int i = 0; i < count; i++) {
        const float *lane = sums + i * GROUP;
        float eight[8], four[4];
        UNROLL for (int k = 0; k < 8; k++) eight[k] = lane[k] + lane[k + 8];
        UNROLL for (int k = 0; k < 4; k++) four[k] = eight[k] + eight[k + 4];
        joined[i] = (four[0] + four[2]) + (four[1] + four[3]);
    }
}
