/* 5x5 convolution with ReLU and 2x2 average pooling, forward and backward, one group of images at a time. */

#pragma once

#include "vectors.h"

enum { SIDE = 32, PIXELS = SIDE * SIDE, KERNEL = 5, TAPS = KERNEL * KERNEL };
enum { C1_OUT = 6, C1_SIDE = 28, S2_SIDE = 14, C3_OUT = 16, C3_SIDE = 10, S4_SIDE = 5 };
enum {
    C1_SIZE = C1_OUT * C1_SIDE * C1_SIDE,
    S2_SIZE = C1_OUT * S2_SIDE * S2_SIDE,
    C3_SIZE = C3_OUT * C3_SIDE * C3_SIDE,
    S4_SIZE = C3_OUT * S4_SIDE * S4_SIDE,
    C1_WEIGHTS = C1_OUT * TAPS,
    C3_WEIGHTS = C3_OUT * C1_OUT * TAPS,
};


/* Convolution of one group, seen through one vector's worth of its images: in_channels x side x side inputs.
 * Each step makes the 2 x 2 outputs of one pooling window for `tile` channels.
 * With `raw` it stores them (out_channels x (side - 4)^2), for batch normalisation; else it stores their ReLU's average
 * in `pooled` and, if `mask` is given, which of the four were positive: bit 2 * dy + dx. */
INLINE void convolve(const int in_channels, const int side, const int out_channels, const int tile, const float *input,
                     const float *weight, const float *bias, float *raw, float *pooled, uint8_t *mask) {
    const int out_side = side - KERNEL + 1, pooled_side = out_side / 2;
    for (int row = 0; row < pooled_side; row++)
        for (int channel = 0; channel < out_channels; channel += tile)
            for (int column = 0; column < pooled_side; column++) {
                vector sum[6][4];
                UNROLL for (int t = 0; t < tile; t++)
                    UNROLL for (int p = 0; p < 4; p++) sum[t][p] = broadcast(bias[channel + t]);
                const float *corner = input + (2 * row * side + 2 * column) * GROUP;
                const float *taps = weight + channel * in_channels * TAPS;
                for (int in = 0; in < in_channels; in++)
                    for (int ky = 0; ky < KERNEL; ky++) {
                        const float *line = corner + (in * side + ky) * side * GROUP;
                        const float *tap = taps + in * TAPS + ky * KERNEL;
                        UNROLL for (int kx = 0; kx < KERNEL; kx++) {
                            vector x[4];
                            UNROLL for (int p = 0; p < 4; p++)
                                x[p] = load(line + ((p / 2) * side + kx + p % 2) * GROUP);
                            UNROLL for (int t = 0; t < tile; t++) {
                                vector w = broadcast(tap[t * in_channels * TAPS + kx]);
                                UNROLL for (int p = 0; p < 4; p++) sum[t][p] = multiply_add(w, x[p], sum[t][p]);
                            }
                        }
                    }
                UNROLL for (int t = 0; t < tile; t++) {
                    if (raw) {
                        float *to = raw + (((channel + t) * out_side + 2 * row) * out_side + 2 * column) * GROUP;
                        UNROLL for (int p = 0; p < 4; p++)
                            store(to + ((p / 2) * out_side + p % 2) * GROUP, sum[t][p]);
                        continue;
                    }
                    int at = (((channel + t) * pooled_side + row) * pooled_side + column) * GROUP;
                    vector total = {0};
                    integers bits = {0};
                    UNROLL for (int p = 0; p < 4; p++) {
                        integers positive = passes(sum[t][p]);
                        total += keep(sum[t][p], positive);
                        bits |= positive & (1 << p);
                    }
                    store(pooled + at, total * 0.25f);
                    if (mask) *(bytes *)(mask + at) = __builtin_convertvector(bits, bytes);
                }
            }
}

/* The gradient at `rows` rows of convolution outputs from that at the pooled ones: a quarter of it where ReLU let the
 * output through. pooled and mask: channels x pooled_side^2, from pooled row `first`; wide: channels x rows x side. */
INLINE void unpool(const int channels, const int side, const int rows, int first, const float *pooled,
                   const uint8_t *mask, float *wide) {
    const int pooled_side = side / 2;
    for (int channel = 0; channel < channels; channel++)
        for (int row = 0; row < rows / 2; row++)
            for (int column = 0; column < pooled_side; column++) {
                int at = ((channel * pooled_side + first + row) * pooled_side + column) * GROUP;
                vector quarter = load(pooled + at) * 0.25f;
                integers bits;
                for (int l = 0; l < LANES; l++) bits[l] = mask[at + l]; /* gcc 12 converts a loop better */
                float *to = wide + ((channel * rows + 2 * row) * side + 2 * column) * GROUP;
                UNROLL for (int p = 0; p < 4; p++)
                    store(to + ((p / 2) * side + p % 2) * GROUP, keep(quarter, (bits & (1 << p)) != 0));
            }
}

/* Adds to weight_sums (out x in x 25 x 16 lanes) and bias_sums (out x 16) what `rows` rows of output gradients, wide:
 * out x rows x (in_side - 4), give with the inputs: in x in_side^2, from row `first`. */
INLINE void weight_gradient(const int in_channels, const int in_side, const int out_channels, const int rows,
                            const int tile, int first, const float *wide, const float *input, float *weight_sums,
                            float *bias_sums) {
    const int side = in_side - KERNEL + 1;
    for (int channel = 0; channel < out_channels; channel++) {
        vector sum = {0};
        for (int place = 0; place < rows * side; place++) sum += load(wide + (channel * rows * side + place) * GROUP);
        store(bias_sums + channel * GROUP, load(bias_sums + channel * GROUP) + sum);
    }
    for (int channel = 0; channel < out_channels; channel += tile)
        for (int in = 0; in < in_channels; in++)
            for (int ky = 0; ky < KERNEL; ky++) {
                vector sum[4][KERNEL] = {{{0}}};
                for (int row = 0; row < rows; row++) {
                    const float *line = input + (in * in_side + first + row + ky) * in_side * GROUP;
                    const float *from = wide + (channel * rows + row) * side * GROUP;
                    for (int column = 0; column < side; column++) {
                        vector x[KERNEL];
                        UNROLL for (int kx = 0; kx < KERNEL; kx++) x[kx] = load(line + (column + kx) * GROUP);
                        UNROLL for (int t = 0; t < tile; t++) {
                            vector gradient = load(from + (t * rows * side + column) * GROUP);
                            UNROLL for (int kx = 0; kx < KERNEL; kx++)
                                sum[t][kx] = multiply_add(gradient, x[kx], sum[t][kx]);
                        }
                    }
                }
                UNROLL for (int t = 0; t < tile; t++) {
                    float *to = weight_sums + (((channel + t) * in_channels + in) * TAPS + ky * KERNEL) * GROUP;
                    UNROLL for (int kx = 0; kx < KERNEL; kx++)
                        store(to + kx * GROUP, load(to + kx * GROUP) + sum[t][kx]);
                }
            }
}

/* The gradient at S2 from that at C3's outputs: a row of S2 at a time, 14 sums in registers, for `tile` channels. Four
 * of C3's channels at a time, so that they stay in the first-level cache while all of S2 passes by. */
INLINE void input_gradient(const int tile, const float *wide, const float *weight, float *s2_gradient) {
    for (int quarter = 0; quarter < C3_OUT; quarter += 4)
        for (int in = 0; in < C1_OUT; in += tile)
            for (int row = 0; row < S2_SIDE; row++) {
                vector sum[2][S2_SIDE] = {{{0}}};
                if (quarter)
                    UNROLL for (int t = 0; t < tile; t++)
                        UNROLL for (int x = 0; x < S2_SIDE; x++)
                            sum[t][x] = load(s2_gradient + (((in + t) * S2_SIDE + row) * S2_SIDE + x) * GROUP);
                for (int out = quarter; out < quarter + 4; out++)
                    for (int ky = row < C3_SIDE ? 0 : row - C3_SIDE + 1; ky <= row && ky < KERNEL; ky++) {
                        const float *from = wide + (out * C3_SIDE + row - ky) * C3_SIDE * GROUP;
                        const float *tap = weight + (out * C1_OUT + in) * TAPS + ky * KERNEL;
                        UNROLL for (int x = 0; x < C3_SIDE; x++) {
                            vector gradient = load(from + x * GROUP);
                            UNROLL for (int t = 0; t < tile; t++)
                                UNROLL for (int kx = 0; kx < KERNEL; kx++)
                                    sum[t][x + kx] =
                                        multiply_add(broadcast(tap[t * TAPS + kx]), gradient, sum[t][x + kx]);
                        }
                    }
                UNROLL for (int t = 0; t < tile; t++)
                    UNROLL for (int x = 0; x < S2_SIDE; x++)
                        store(s2_gradient + (((in + t) * S2_SIDE + row) * S2_SIDE + x) * GROUP, sum[t][x]);
            }
}
