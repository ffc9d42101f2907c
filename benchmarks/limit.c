/* The limit of one core: multiply-adds in registers, as many as it can do at a time. */

#include "vectors.h"

/* A multiply-add takes 4 or 5 cycles, and two to four can start in each: with this many sums no
 * unit waits for the result of another. */
enum { LIMIT_SUMS = REGISTERS == 32 ? 16 : 12 };

/* Does at least `count` multiply-adds, of single numbers. The result depends on all of them. */
__attribute__((visibility("default"))) float multiply_adds(
    int64_t count,
    float factor,
    float term
) {
    vec_f32 sum[LIMIT_SUMS], total = {0};
    const vec_f32 factors = broadcast(factor), terms = broadcast(term);
    UNROLL for (int i = 0; i < LIMIT_SUMS; i++) sum[i] = broadcast((float)i);
    for (int64_t done = 0; done < count; done += LIMIT_SUMS * LANES) {
        UNROLL for (int i = 0; i < LIMIT_SUMS; i++) sum[i] = multiply_add(sum[i], factors, terms);
    }
    UNROLL for (int i = 0; i < LIMIT_SUMS; i++) total += sum[i];
    float result = 0.0f;
    for (int lane = 0; lane < LANES; lane++) result += total[lane];
    return result;
}
