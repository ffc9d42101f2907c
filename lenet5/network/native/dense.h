/* Fully connected layers on groups x features x 16, and the way between that layout and rows of features. */

#pragma once

#include "vectors.h"

enum { DENSE_TILE = 4, GROUPS_AT_ONCE = REGISTERS == 32 ? 4 : 2, WEIGHT_TILE = REGISTERS == 32 ? 12 : 6, WIDEST_INPUT = 400, SHARE = 32 };

/* `tile` outputs of `together` groups: y = bias + sum over k of weight[k] * x[k], in the order of k, 32 products summed
 * up at a time: one sum of 400 would lose two bits. */
INLINE void dense_tile(const int tile, const int together, int inputs, int outputs, const float *weight, int row_stride,
                       int column_stride, const float *bias, const float *x, float *y) {
    vector total[DENSE_TILE][GROUPS_AT_ONCE];
    UNROLL for (int t = 0; t < tile; t++)
        UNROLL for (int g = 0; g < together; g++) total[t][g] = broadcast(bias ? bias[t] : 0.0f);
    for (int start = 0; start < inputs; start += SHARE) {
        vector sum[DENSE_TILE][GROUPS_AT_ONCE] = {{{0}}};
        for (int k = start; k < inputs && k < start + SHARE; k++) {
            vector from[GROUPS_AT_ONCE];
            UNROLL for (int g = 0; g < together; g++) from[g] = load(x + (g * inputs + k) * GROUP);
            UNROLL for (int t = 0; t < tile; t++) {
                vector w = broadcast(weight[t * row_stride + k * column_stride]);
                UNROLL for (int g = 0; g < together; g++) sum[t][g] = multiply_add(w, from[g], sum[t][g]);
            }
        }
        UNROLL for (int t = 0; t < tile; t++)
            UNROLL for (int g = 0; g < together; g++) total[t][g] += sum[t][g];
    }
    UNROLL for (int t = 0; t < tile; t++)
        UNROLL for (int g = 0; g < together; g++) store(y + (g * outputs + t) * GROUP, total[t][g]);
}

/* y = weight x + bias for a batch, where weight[o][k] is at o * row_stride + k * column_stride: the backward pass comes
 * here with the strides swapped and no bias. */
static void dense(int64_t batch, int inputs, int outputs, const float *weight, int row_stride, int column_stride,
                  const float *bias, const float *x, float *y) {
    for (int64_t group = 0, together; group * GROUP < batch; group += together) {
        together = (group + GROUPS_AT_ONCE - 1) * GROUP < batch ? GROUPS_AT_ONCE : 1;
        for (int out = 0, tile; out < outputs; out += tile) {
            tile = out + DENSE_TILE <= outputs ? DENSE_TILE : 1;
            const float *w = weight + out * row_stride, *b = bias ? bias + out : 0;
            for (int lane = 0; lane < GROUP; lane += LANES) {
                const float *from = x + group * inputs * GROUP + lane;
                float *to = y + (group * outputs + out) * GROUP + lane;
                if (together > 1 && tile > 1)
                    dense_tile(DENSE_TILE, GROUPS_AT_ONCE, inputs, outputs, w, row_stride, column_stride, b, from, to);
                else if (together > 1)
                    dense_tile(1, GROUPS_AT_ONCE, inputs, outputs, w, row_stride, column_stride, b, from, to);
                else if (tile > 1)
                    dense_tile(DENSE_TILE, 1, inputs, outputs, w, row_stride, column_stride, b, from, to);
                else
                    dense_tile(1, 1, inputs, outputs, w, row_stride, column_stride, b, from, to);
            }
        }
    }
}

/* Adds one group's share, images in their order, to `tile` rows of a weight's gradient, one vector of columns. turned: 16
 * images x 16 columns of x; gradient: tile x 16 images. */
INLINE void weight_tile(const int tile, const float *turned, const float *gradient, int stride, float *sums) {
    vector sum[WEIGHT_TILE];
    UNROLL for (int t = 0; t < tile; t++) sum[t] = load(sums + t * stride);
    for (int image = 0; image < GROUP; image++) {
        vector x = load(turned + image * GROUP);
        UNROLL for (int t = 0; t < tile; t++)
            sum[t] = multiply_add(broadcast(gradient[t * GROUP + image]), x, sum[t]);
    }
    UNROLL for (int t = 0; t < tile; t++) store(sums + t * stride, sum[t]);
}

/* Gradients of weight (outputs x inputs) and bias from that of y, which is zero for lanes without an image. */
static void dense_weight_gradient(int64_t batch, int inputs, int outputs, const float *x, const float *gradient,
                                  float *weight_gradient, float *bias_gradient) {
    const int stride = (inputs + 15) / 16 * 16;
    float sums[WIDEST_INPUT * 120] = {0}, bias_sums[120 * GROUP] = {0};
    for (int64_t group = 0; group * GROUP < batch; group++) {
        const float *of_group = gradient + group * outputs * GROUP;
        for (int i = 0; i < outputs * GROUP; i++) bias_sums[i] += of_group[i];
        for (int column = 0; column < inputs; column += 16) {
            const float *from = x + (group * inputs + column) * GROUP;
            float turned[16 * GROUP] = {0};
            for (int k = 0; k < 16 && column + k < inputs; k++)
                for (int image = 0; image < GROUP; image++) turned[image * GROUP + k] = from[k * GROUP + image];
            for (int lane = 0; lane < 16; lane += LANES)
                for (int out = 0, tile; out < outputs; out += tile) {
                    tile = out + WEIGHT_TILE <= outputs ? WEIGHT_TILE : 1;
                    float *to = sums + out * stride + column + lane;
                    if (tile > 1)
                        weight_tile(WEIGHT_TILE, turned + lane, of_group + out * GROUP, stride, to);
                    else
                        weight_tile(1, turned + lane, of_group + out * GROUP, stride, to);
                }
        }
    }
    for (int out = 0; out < outputs; out++)
        memcpy(weight_gradient + out * inputs, sums + out * stride, (size_t)inputs * sizeof(float));
    join_lanes(outputs, bias_sums, bias_gradient);
}

/* Rows of features, batch x features, to groups x features x 16 with zeros for images that are not there, and back. */
static void rows_to_groups(int64_t batch, int features, const float *rows, float *groups) {
    for (int64_t group = 0; group * GROUP < batch; group++)
        for (int lane = 0; lane < GROUP; lane++)
            for (int k = 0; k < features; k++)
                groups[(group * features + k) * GROUP + lane] =
                    lane < images_in(group, batch) ? rows[(group * GROUP + lane) * features + k] : 0.0f;
}

static void groups_to_rows(int64_t batch, int features, const float *groups, float *rows) {
    for (int64_t image = 0; image < batch; image++)
        for (int k = 0; k < features; k++)
            rows[image * features + k] = groups[(image / GROUP * features + k) * GROUP + image % GROUP];
}

/* ReLU, then dropout by the factors in `noise`, if given: 0 or 1 / (1 - probability). */
static void relu_dropout(int64_t size, const float *noise, float *y) {
    for (int64_t at = 0; at < size; at += LANES) {
        vector value = load(y + at);
        value = keep(value, passes(value));
        if (noise) value *= load(noise + at);
        store(y + at, value);
    }
}

/* The gradient before ReLU and dropout, in place: y, their output, is zero where either of them is. */
static void relu_dropout_backward(int64_t size, const float *noise, const float *y, float *gradient) {
    for (int64_t at = 0; at < size; at += LANES) {
        vector value = keep(load(gradient + at), passes(load(y + at)));
        if (noise) value *= load(noise + at);
        store(gradient + at, value);
    }
}
