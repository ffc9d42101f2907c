/* Gradients of a convolution's weight, bias and input, for one group of images. */

#pragma once

#include "convolution.h"

/* Channels per step, as in the forward pass */
enum { C1_WEIGHT_TILE = REGISTERS == 32 ? 3 : 2, C3_WEIGHT_TILE = REGISTERS == 32 ? 4 : 2 };
enum { S2_GRADIENT_TILE = REGISTERS == 32 ? 2 : 3, C3_CHANNELS_IN_CACHE = 4 };
_Static_assert(C1_CHANNELS % C1_WEIGHT_TILE == 0, "every tile is full");
_Static_assert(C3_CHANNELS % C3_WEIGHT_TILE == 0, "every tile is full");
_Static_assert(C1_CHANNELS % S2_GRADIENT_TILE == 0, "every tile is full");
_Static_assert(C3_CHANNELS % C3_CHANNELS_IN_CACHE == 0, "every tile is full");

/* A band of output rows. C1's backward pass takes two rows at a time, which stay in cache. */
typedef struct {
    int first, count;
} Rows;

/* The gradient at a band of raw outputs, channels x rows x side, from that at the pooled ones: a
 * quarter of it where ReLU let the output through. */
INLINE void unpool(
    const Maps out,
    const Rows rows,
    const float *pooled_gradient,
    const int32_t *relu_words,
    float *raw_gradient
) {
    const Maps pooled = {out.channels, out.side / 2};
    for (int lane = 0; lane < GROUP; lane += LANES) {
        for (int channel = 0; channel < out.channels; channel++) {
            for (int row = 0; row < rows.count; row += 2) {
                for (int column = 0; column < pooled.side; column++) {
                    const int pooled_row = (rows.first + row) / 2;
                    int at = index_of(pooled, channel, pooled_row, column) + lane;
                    int word = relu_word_of(pooled, channel, pooled_row, column) + lane;
                    vec_f32 quarter = load(pooled_gradient + at) * 0.25f;
                    vec_i32 bits = *(const vec_i32 *)(relu_words + word);
                    bits >>= 4 * (column % WINDOWS_PER_WORD);
                    int corner = ((channel * rows.count + row) * out.side + 2 * column) * GROUP;
                    float *window = raw_gradient + corner + lane;
                    UNROLL for (int p = 0; p < 4; p++) {
                        vec_i32 mask = (bits & (1 << p)) != 0;
                        store(window + index_in_window(out.side, p), select_lanes(quarter, mask));
                    }
                }
            }
        }
    }
}

/* Adds to `bias_sums`, channels x 16 lanes, the gradients at a band of raw outputs. */
INLINE void add_bias_gradient(
    const Maps out,
    const Rows rows,
    const float *raw_gradient,
    float *bias_sums
) {
    const int positions = rows.count * out.side;
    for (int lane = 0; lane < GROUP; lane += LANES) {
        for (int channel = 0; channel < out.channels; channel++) {
            const float *gradients = raw_gradient + channel * positions * GROUP + lane;
            float *total = bias_sums + channel * GROUP + lane;
            vec_f32 sum = {0};
            for (int position = 0; position < positions; position++) {
                sum += load(gradients + position * GROUP);
            }
            store(total, load(total) + sum);
        }
    }
}

/* The sums for one row of a kernel, of a tile of output channels, over a band of raw outputs.
 * `input` and `raw_gradient` point to the first element that the band and kernel row use. */
INLINE void kernel_row_sums(
    const Maps in,
    const Maps out,
    const Rows rows,
    const int tile,
    const float *raw_gradient,
    const float *input,
    vec_f32 sum[MAX_TILE][KERNEL]
) {
    UNROLL for (int t = 0; t < tile; t++) {
        UNROLL for (int kx = 0; kx < KERNEL; kx++) sum[t][kx] = (vec_f32){0};
    }
    for (int row = 0; row < rows.count; row++) {
        for (int column = 0; column < out.side; column++) {
            const float *input_at = input + (row * in.side + column) * GROUP;
            const float *gradient_at = raw_gradient + (row * out.side + column) * GROUP;
            vec_f32 x[KERNEL];
            UNROLL for (int kx = 0; kx < KERNEL; kx++) x[kx] = load(input_at + kx * GROUP);
            UNROLL for (int t = 0; t < tile; t++) {
                vec_f32 gradient = load(gradient_at + t * rows.count * out.side * GROUP);
                UNROLL for (int kx = 0; kx < KERNEL; kx++) {
                    sum[t][kx] = multiply_add(gradient, x[kx], sum[t][kx]);
                }
            }
        }
    }
}

/* Adds to `weight_sums`, out x in x 25 x 16 lanes, what a band of raw outputs contributes. */
INLINE void add_weight_gradient(
    const Maps in,
    const Maps out,
    const Rows rows,
    const int tile,
    const float *raw_gradient,
    const float *input,
    float *weight_sums
) {
    for (int lane = 0; lane < GROUP; lane += LANES) {
        for (int channel = 0; channel < out.channels; channel += tile) {
            const float *gradients = raw_gradient + channel * rows.count * out.side * GROUP + lane;
            for (int in_channel = 0; in_channel < in.channels; in_channel++) {
                for (int ky = 0; ky < KERNEL; ky++) {
                    const float *inputs =
                        input + index_of(in, in_channel, rows.first + ky, 0) + lane;
                    vec_f32 sum[MAX_TILE][KERNEL];
                    kernel_row_sums(in, out, rows, tile, gradients, inputs, sum);
                    UNROLL for (int t = 0; t < tile; t++) {
                        int kernel = (channel + t) * in.channels + in_channel;
                        float *total = weight_sums + (kernel * TAPS + ky * KERNEL) * GROUP + lane;
                        UNROLL for (int kx = 0; kx < KERNEL; kx++) {
                            store(total + kx * GROUP, load(total + kx * GROUP) + sum[t][kx]);
                        }
                    }
                }
            }
        }
    }
}

/* Adds to `sum`, a part of a row of S2's gradient for a tile of its channels, what one channel of
 * C3 contributes. The part has `width` numbers, from `first`. */
INLINE void add_s2_row_gradient(
    const int first,
    const int width,
    const int row,
    const float *c3_gradient,
    const float *weight,
    vec_f32 sum[S2_GRADIENT_TILE][S2_SIDE]
) {
    const int first_ky = row < C3_SIDE ? 0 : row - C3_SIDE + 1;
    for (int ky = first_ky; ky <= row && ky < KERNEL; ky++) {
        const float *gradient_row = c3_gradient + (row - ky) * C3_SIDE * GROUP;
        const float *taps = weight + ky * KERNEL;
        UNROLL for (int kx = KERNEL - 1; kx >= 0; kx--) {
            BARRIER;
            vec_f32 w[S2_GRADIENT_TILE];
            UNROLL for (int t = 0; t < S2_GRADIENT_TILE; t++) w[t] = broadcast(taps[t * TAPS + kx]);
            UNROLL for (int i = 0; i < width; i++) {
                const int x = first + i - kx;
                if (x < 0 || x >= C3_SIDE) continue;
                vec_f32 gradient = load(gradient_row + x * GROUP);
                UNROLL for (int t = 0; t < S2_GRADIENT_TILE; t++) {
                    sum[t][i] = multiply_add(w[t], gradient, sum[t][i]);
                }
            }
        }
    }
}

/* Adds to a part of a row of S2's gradient what four of C3's channels contribute. */
INLINE void add_s2_part(
    const int first,
    const int width,
    const int row,
    const bool new,
    const float *c3_gradient,
    const float *weight,
    float *s2_row
) {
    enum { TILE = S2_GRADIENT_TILE };
    vec_f32 sum[TILE][S2_SIDE] = {{{0}}};
    if (!new) {
        UNROLL for (int t = 0; t < TILE; t++) {
            UNROLL for (int i = 0; i < width; i++) sum[t][i] =
                load(s2_row + index_of(S2, t, 0, first + i));
        }
    }
    for (int out = 0; out < C3_CHANNELS_IN_CACHE; out++) {
        const float *gradients = c3_gradient + index_of(C3, out, 0, 0);
        add_s2_row_gradient(first, width, row, gradients, weight + out * C1_CHANNELS * TAPS, sum);
    }
    UNROLL for (int t = 0; t < TILE; t++) {
        UNROLL for (int i = 0; i < width; i++)
            store(s2_row + index_of(S2, t, 0, first + i), sum[t][i]);
    }
}

/* The gradient at S2 from that at C3's raw outputs. The sums stay in registers; four of
 * C3's channels stay in the first-level cache while all of S2 is visited. */
INLINE void s2_gradient_from_c3(const float *c3_gradient, const float *weight, float *s2_gradient) {
    enum { TILE = S2_GRADIENT_TILE };
    for (int lane = 0; lane < GROUP; lane += LANES) {
        for (int out = 0; out < C3_CHANNELS; out += C3_CHANNELS_IN_CACHE) {
            const float *gradients = c3_gradient + index_of(C3, out, 0, 0) + lane;
            for (int in = 0; in < C1_CHANNELS; in += TILE) {
                const float *kernels = weight + (out * C1_CHANNELS + in) * TAPS;
                for (int row = 0; row < S2_SIDE; row++) {
                    float *s2_row = s2_gradient + index_of(S2, in, row, 0) + lane;
                    if (REGISTERS == 32) {
                        add_s2_part(0, S2_SIDE, row, !out, gradients, kernels, s2_row);
                    } else {
                        add_s2_part(0, 4, row, !out, gradients, kernels, s2_row);
                        add_s2_part(4, 3, row, !out, gradients, kernels, s2_row);
                        add_s2_part(7, 3, row, !out, gradients, kernels, s2_row);
                        add_s2_part(10, 4, row, !out, gradients, kernels, s2_row);
                    }
                }
            }
        }
    }
}
