/* 5x5 convolution with ReLU and 2x2 average pooling, forward, for one group of images. */

#pragma once

#include "sizes.h"
#include "vectors.h"

/* channels x side x side activations of each image. Kernels are inlined into callers that pass
 * these constants, so that every loop bound is known to the compiler. */
typedef struct {
    int channels, side;
} Maps;

static const Maps IMAGE = {1, IMAGE_SIDE};
static const Maps C1 = {C1_CHANNELS, C1_SIDE};
static const Maps S2 = {C1_CHANNELS, S2_SIDE};
static const Maps C3 = {C3_CHANNELS, C3_SIDE};

/* Output channels per step: as many as there are registers for their sums. */
enum { C1_TILE = REGISTERS == 32 ? 6 : 3, C3_TILE = REGISTERS == 32 ? 4 : 2, MAX_TILE = 6 };
_Static_assert(C1_CHANNELS % C1_TILE == 0, "every tile is full");
_Static_assert(C3_CHANNELS % C3_TILE == 0, "every tile is full");

/* One layer's parameters, or their gradients; gamma and beta only with batch normalisation. */
typedef struct {
    float *weight, *bias, *gamma, *beta;
} LayerParameters;

/* Which outputs passed ReLU: bit 4 w + p for output p of window w, of eight windows side by side.
 */
enum { WINDOWS_PER_WORD = 8 };
#define RELU_WORDS(side) (((side) + WINDOWS_PER_WORD - 1) / WINDOWS_PER_WORD) /* in a row */
enum {
    S2_RELU_WORDS = C1_CHANNELS * S2_SIDE * RELU_WORDS(S2_SIDE),
    S4_RELU_WORDS = C3_CHANNELS * S4_SIDE * RELU_WORDS(S4_SIDE),
};

/* Where `convolve` stores its results: in `raw` alone, for batch normalisation, or in `pooled` and,
 * for training, in `relu_words`. */
typedef struct {
    float *raw;          /* channels x side x side outputs, before ReLU */
    float *pooled;       /* channels x (side / 2) x (side / 2) averages after ReLU */
    int32_t *relu_words; /* channels x (side / 2) x RELU_WORDS(side / 2) */
} ConvolutionResults;

INLINE int index_of(const Maps maps, int channel, int row, int column) {
    return ((channel * maps.side + row) * maps.side + column) * GROUP;
}

/* The place of a window's bits in `relu_words`. */
INLINE int relu_word_of(const Maps pooled, int channel, int row, int column) {
    const int words = RELU_WORDS(pooled.side);
    return ((channel * pooled.side + row) * words + column / WINDOWS_PER_WORD) * GROUP;
}

/* Outputs 0 to 3 of a pooling window lie at (0, 0), (0, 1), (1, 0) and (1, 1) from its corner. */
INLINE int index_in_window(const int side, int p) { return ((p / 2) * side + p % 2) * GROUP; }

/* The 2 x 2 outputs of one pooling window, for a tile of channels.
 *
 * A window per step: its four outputs share most of their inputs, and they can be pooled without
 * being stored. A tile of channels in registers: each input is loaded once for all channels of the
 * tile, and each weight once for all four outputs. */
INLINE void window_sums(
    const Maps in,
    const int tile,
    const float *input,
    const float *weight,
    const float *bias,
    vec_f32 sum[MAX_TILE][4]
) {
    UNROLL for (int t = 0; t < tile; t++) {
        UNROLL for (int p = 0; p < 4; p++) sum[t][p] = broadcast(bias[t]);
    }
    for (int channel = 0; channel < in.channels; channel++) {
        for (int ky = 0; ky < KERNEL; ky++) {
            const float *input_row = input + index_of(in, channel, ky, 0);
            const float *taps = weight + channel * TAPS + ky * KERNEL;
            UNROLL for (int kx = 0; kx < KERNEL; kx++) {
                BARRIER;
                vec_f32 w[MAX_TILE];
                UNROLL for (int t = 0; t < tile; t++) {
                    w[t] = broadcast(taps[t * in.channels * TAPS + kx]);
                }
                UNROLL for (int p = 0; p < 4; p++) {
                    vec_f32 x = load(input_row + kx * GROUP + index_in_window(in.side, p));
                    UNROLL for (int t = 0; t < tile; t++) {
                        sum[t][p] = multiply_add(w[t], x, sum[t][p]);
                    }
                }
            }
        }
    }
}

INLINE void store_raw(const int side, const vec_f32 sum[4], float *raw) {
    UNROLL for (int p = 0; p < 4; p++) store(raw + index_in_window(side, p), sum[p]);
}

/* `window` is the place of this window in its word; the first one begins the word. */
INLINE void store_pooled(const vec_f32 sum[4], float *pooled, int32_t *relu_word, int window) {
    vec_f32 total = {0};
    vec_i32 bits = {0};
    UNROLL for (int p = 0; p < 4; p++) {
        vec_i32 mask = relu_mask(sum[p]);
        total += select_lanes(sum[p], mask);
        bits |= mask & (1 << p);
    }
    store(pooled, total * 0.25f);
    if (relu_word) {
        vec_i32 *word = (vec_i32 *)relu_word;
        *word = (window ? *word : (vec_i32){0}) | bits << (4 * window);
    }
}

INLINE void convolve(
    const Maps in,
    const Maps out,
    const int tile,
    const float *input,
    const LayerParameters layer,
    const ConvolutionResults results
) {
    const Maps pooled = {out.channels, out.side / 2};
    for (int lane = 0; lane < GROUP; lane += LANES) {
        for (int row = 0; row < pooled.side; row++) {
            for (int channel = 0; channel < out.channels; channel += tile) {
                const float *weight = layer.weight + channel * in.channels * TAPS;
                for (int column = 0; column < pooled.side; column++) {
                    const float *corner = input + index_of(in, 0, 2 * row, 2 * column) + lane;
                    vec_f32 sum[MAX_TILE][4];
                    window_sums(in, tile, corner, weight, layer.bias + channel, sum);
                    UNROLL for (int t = 0; t < tile; t++) {
                        if (results.raw) {
                            int at = index_of(out, channel + t, 2 * row, 2 * column) + lane;
                            store_raw(out.side, sum[t], results.raw + at);
                        } else {
                            int at = index_of(pooled, channel + t, row, column) + lane;
                            int word = relu_word_of(pooled, channel + t, row, column) + lane;
                            int32_t *words = results.relu_words ? results.relu_words + word : NULL;
                            store_pooled(
                                sum[t], results.pooled + at, words, column % WINDOWS_PER_WORD
                            );
                        }
                    }
                }
            }
        }
    }
}
