/* Vectors of the machine's width, on which every kernel is written once. */

#pragma once

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

enum { GROUP = 16 }; /* images side by side in an array's innermost dimension */

typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t integers __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint8_t line __attribute__((vector_size(16)));
typedef uint8_t bytes __attribute__((vector_size(LANES), aligned(1), may_alias));

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

INLINE vector load(const float *from) { return *(const vector *)from; }
INLINE void store(float *to, vector value) { *(vector *)to = value; }
INLINE vector broadcast(float value) { return value - (vector){0}; } /* x - 0 is x, -0 included */

/* a * b + c with one rounding. The only intrinsics here: C has no fused multiply-add on vectors. */
INLINE vector multiply_add(vector a, vector b, vector c) {
#if defined(__AVX512F__)
    return (vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__) && defined(__FMA__)
    return (vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
    return (vector)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    for (int lane = 0; lane < LANES; lane++) c[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
    return c;
#endif
}

/* All ones where ReLU lets a value through. A NaN passes, as in PyTorch: a diverged training must not look healthy. */
INLINE integers passes(vector value) { return ~(integers)(value <= 0.0f); }
INLINE vector keep(vector value, integers mask) { return (vector)((integers)value & mask); }

static int images_in(int64_t group, int64_t batch) {
    int64_t left = batch - group * GROUP;
    return left < GROUP ? (int)left : GROUP;
}

/* Joins the sixteen lanes of each sum: first those 8 apart, then 4, 2 and 1. */
static void join_lanes(int count, const float *sums, float *to) {
    for (int i = 0; i < count; i++) {
        const float *lane = sums + i * GROUP;
        float eight[8], four[4];
        UNROLL for (int k = 0; k < 8; k++) eight[k] = lane[k] + lane[k + 8];
        UNROLL for (int k = 0; k < 4; k++) four[k] = eight[k] + eight[k + 4];
        to[i] = (four[0] + four[2]) + (four[1] + four[3]);
    }
}
