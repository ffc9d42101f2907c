/* From images selected from a data set to the layout of the kernels. */

#pragma once

#include "sizes.h"
#include "vectors.h"

typedef uint8_t vec_u8x16 __attribute__((vector_size(16)));

/* Places sixteen images side by side as float32 in [0, 1]; lanes without an image are black.
 *
 * Sixteen bytes of each image at a time are a 16 x 16 matrix, transposed in four rounds:
 * interleaving row i with row i + 8 is a perfect shuffle of all 256 bytes, which rotates the eight
 * bits of their addresses by one. A byte times the rounded 1 / 255, corrected by the remainder, is
 * byte / 255 to the last bit. */
static void gather_group(
    const uint8_t *images,
    const int64_t *indices,
    int64_t group,
    int64_t batch,
    float *pixels
) {
    static const uint8_t black[PIXELS];
    const uint8_t *image[GROUP];
    for (int lane = 0; lane < GROUP; lane++) {
        bool exists = lane < images_in(group, batch);
        image[lane] = exists ? images + indices[group * GROUP + lane] * PIXELS : black;
    }
    for (int pixel = 0; pixel < PIXELS; pixel += 16) {
        vec_u8x16 from[16], to[16];
        UNROLL for (int lane = 0; lane < 16; lane++) memcpy(&from[lane], image[lane] + pixel, 16);
        UNROLL for (int round = 0; round < 4; round++) {
            UNROLL for (int i = 0; i < 8; i++) {
                vec_u8x16 a = from[i];
                vec_u8x16 b = from[i + 8];
                to[2 * i] = __builtin_shufflevector(
                    a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
                );
                to[2 * i + 1] = __builtin_shufflevector(
                    a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
                );
            }
            UNROLL for (int i = 0; i < 16; i++) from[i] = to[i];
        }
        uint8_t transposed[16 * GROUP];
        memcpy(transposed, from, sizeof transposed);
        for (int i = 0; i < 16 * GROUP; i++) {
            float value = transposed[i];
            float quotient = value * (1.0f / 255.0f);
            float remainder = __builtin_fmaf(-255.0f, quotient, value);
            pixels[pixel * GROUP + i] = __builtin_fmaf(remainder, 1.0f / 255.0f, quotient);
        }
    }
}

static bool all_in_range(int64_t batch, const int64_t *indices, int64_t image_count) {
    for (int64_t i = 0; i < batch; i++) {
        if (indices[i] < 0 || indices[i] >= image_count) return false;
    }
    return true;
}
