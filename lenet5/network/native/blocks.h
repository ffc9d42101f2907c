/* The two convolution blocks in training, C1 to S2 and C3 to S4, with batch normalisation and
 * without. */

#pragma once

#include "convolution_backward.h"
#include "layout.h"
#include "norm_backward.h"

/* Sums over the batch, one per lane */
typedef struct {
    float c1_weight[C1_WEIGHTS * GROUP], c1_bias[C1_CHANNELS * GROUP];
    float c3_weight[C3_WEIGHTS * GROUP], c3_bias[C3_CHANNELS * GROUP];
} Sums;

static const Rows ALL_C3_ROWS = {0, C3_SIDE};

/* The two rows of C1 that a row of S2 averages */
INLINE Rows c1_rows(int s2_row) { return (Rows){2 * s2_row, 2}; }

static void add_c1_gradient(int s2_row, const float *c1_gradient, const float *pixels, Sums *sums) {
    const Rows rows = c1_rows(s2_row);
    add_bias_gradient(C1, rows, c1_gradient, sums->c1_bias);
    add_weight_gradient(IMAGE, C1, rows, C1_WEIGHT_TILE, c1_gradient, pixels, sums->c1_weight);
}

static void c3_backward(
    const float *c3_gradient,
    const float *s2,
    const LayerParameters c3,
    Sums *sums,
    float *s2_gradient
) {
    add_bias_gradient(C3, ALL_C3_ROWS, c3_gradient, sums->c3_bias);
    add_weight_gradient(S2, C3, ALL_C3_ROWS, C3_WEIGHT_TILE, c3_gradient, s2, sums->c3_weight);
    s2_gradient_from_c3(c3_gradient, c3.weight, s2_gradient);
}

static void blocks_forward(int64_t batch, const Parameters *p, const Workspace *w) {
    for (int64_t g = 0; g < groups_in(batch); g++) {
        const float *pixels = w->pixels + g * PIXELS * GROUP;
        const ConvolutionResults s2 = {
            .pooled = w->s2 + g * S2_SIZE * GROUP,
            .relu_words = w->s2_relu_words + g * S2_RELU_WORDS * GROUP,
        };
        const ConvolutionResults s4 = {
            .pooled = w->s4 + g * S4_SIZE * GROUP,
            .relu_words = w->s4_relu_words + g * S4_RELU_WORDS * GROUP,
        };
        convolve(IMAGE, C1, C1_TILE, pixels, p->c1, s2);
        convolve(S2, C3, C3_TILE, s2.pooled, p->c3, s4);
    }
}

static void blocks_backward(int64_t batch, const Parameters *p, const Workspace *w, Sums *sums) {
    float raw_gradient[C3_SIZE * GROUP];
    for (int64_t g = 0; g < groups_in(batch); g++) {
        const float *pixels = w->pixels + g * PIXELS * GROUP;
        const float *s2 = w->s2 + g * S2_SIZE * GROUP;
        const float *s4_gradient = w->s4_gradient + g * S4_SIZE * GROUP;
        const int32_t *s2_relu_words = w->s2_relu_words + g * S2_RELU_WORDS * GROUP;
        const int32_t *s4_relu_words = w->s4_relu_words + g * S4_RELU_WORDS * GROUP;
        unpool(C3, ALL_C3_ROWS, s4_gradient, s4_relu_words, raw_gradient);
        c3_backward(raw_gradient, s2, p->c3, sums, w->s2_gradient);
        for (int row = 0; row < S2_SIDE; row++) {
            unpool(C1, c1_rows(row), w->s2_gradient, s2_relu_words, raw_gradient);
            add_c1_gradient(row, raw_gradient, pixels, sums);
        }
    }
}

static void normalised_blocks_forward(
    int64_t batch,
    const Parameters *p,
    const Epsilons *epsilons,
    const Workspace *w,
    Statistics *statistics
) {
    const int64_t groups = groups_in(batch);
    for (int64_t g = 0; g < groups; g++) {
        const ConvolutionResults c1 = {.raw = w->c1_raw + g * C1_SIZE * GROUP};
        convolve(IMAGE, C1, C1_TILE, w->pixels + g * PIXELS * GROUP, p->c1, c1);
    }
    batch_statistics(C1, batch, w->c1_raw, p->c1, epsilons->c1, w->c1_norm, &statistics->c1);
    for (int64_t g = 0; g < groups; g++) {
        const ConvolutionResults c3 = {.raw = w->c3_raw + g * C3_SIZE * GROUP};
        float *s2 = w->s2 + g * S2_SIZE * GROUP;
        normalise_and_pool(C1, w->c1_raw + g * C1_SIZE * GROUP, w->c1_norm, s2);
        convolve(S2, C3, C3_TILE, s2, p->c3, c3);
    }
    batch_statistics(C3, batch, w->c3_raw, p->c3, epsilons->c3, w->c3_norm, &statistics->c3);
    for (int64_t g = 0; g < groups; g++) {
        float *s4 = w->s4 + g * S4_SIZE * GROUP;
        normalise_and_pool(C3, w->c3_raw + g * C3_SIZE * GROUP, w->c3_norm, s4);
    }
}

static void normalised_blocks_backward(
    int64_t batch,
    const Parameters *p,
    const Workspace *w,
    const Parameters *gradient,
    Sums *sums
) {
    const int64_t groups = groups_in(batch);
    float raw_gradient[C3_SIZE * GROUP];
    norm_gradient(C3, batch, w->c3_raw, w->s4_gradient, w->c3_norm, gradient->c3);
    for (int64_t g = 0; g < groups; g++) {
        const float *c3_raw = w->c3_raw + g * C3_SIZE * GROUP;
        const float *s2 = w->s2 + g * S2_SIZE * GROUP;
        const float *s4_gradient = w->s4_gradient + g * S4_SIZE * GROUP;
        float *s2_gradient = w->s2_gradient + g * S2_SIZE * GROUP;
        const int images = images_in(g, batch);
        unpool_normalised(C3, ALL_C3_ROWS, images, c3_raw, s4_gradient, w->c3_norm, raw_gradient);
        c3_backward(raw_gradient, s2, p->c3, sums, s2_gradient);
    }
    norm_gradient(C1, batch, w->c1_raw, w->s2_gradient, w->c1_norm, gradient->c1);
    for (int64_t g = 0; g < groups; g++) {
        const float *pixels = w->pixels + g * PIXELS * GROUP;
        const float *c1_raw = w->c1_raw + g * C1_SIZE * GROUP;
        const float *s2_gradient = w->s2_gradient + g * S2_SIZE * GROUP;
        const int images = images_in(g, batch);
        for (int row = 0; row < S2_SIDE; row++) {
            const Rows rows = c1_rows(row);
            unpool_normalised(C1, rows, images, c1_raw, s2_gradient, w->c1_norm, raw_gradient);
            add_c1_gradient(row, raw_gradient, pixels, sums);
        }
    }
}
