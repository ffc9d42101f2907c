/* Fully connected layers on groups x features x 16, and conversion from and to rows of features. */

#pragma once

#include "convolution.h"

/* Outputs and groups per step, and rows of a weight's gradient per step: as many as there are
 * registers for their sums. */
enum { DENSE_TILE = 4, GROUPS_AT_ONCE = REGISTERS == 32 ? 4 : 2 };
enum { WEIGHT_TILE = REGISTERS == 32 ? 12 : 6 };

/* Products per partial sum: a single sum of 400 products would lose two bits. */
enum { PARTIAL_SUM = 32 };

/* y = weight x + bias, where weight[o][k] is at o * row_stride + k * column_stride. */
typedef struct {
    int inputs, outputs;
    const float *weight;
    int row_stride, column_stride;
    const float *bias; /* or NULL */
} Affine;

static Affine affine(int inputs, int outputs, const LayerParameters layer) {
    return (Affine){inputs, outputs, layer.weight, inputs, 1, layer.bias};
}

/* For the backward pass: the transposed weight, without a bias. */
static Affine transposed(const Affine a) {
    return (Affine){a.outputs, a.inputs, a.weight, a.column_stride, a.row_stride, NULL};
}

/* A tile of outputs, from `out`, of some groups: bias + sum over k of weight[k] * x[k], in the
 * order of k. */
INLINE void dense_tile(
    const int tile,
    const int groups,
    const Affine a,
    const int out,
    const float *x,
    float *y
) {
    const float *weight = a.weight + out * a.row_stride;
    vec_f32 total[DENSE_TILE][GROUPS_AT_ONCE];
    UNROLL for (int t = 0; t < tile; t++) {
        const vec_f32 bias = broadcast(a.bias ? a.bias[out + t] : 0.0f);
        UNROLL for (int g = 0; g < groups; g++) total[t][g] = bias;
    }
    for (int start = 0; start < a.inputs; start += PARTIAL_SUM) {
        vec_f32 sum[DENSE_TILE][GROUPS_AT_ONCE] = {{{0}}};
        for (int k = start; k < a.inputs && k < start + PARTIAL_SUM; k++) {
            vec_f32 input[GROUPS_AT_ONCE];
            UNROLL for (int g = 0; g < groups; g++) input[g] = load(x + (g * a.inputs + k) * GROUP);
            UNROLL for (int t = 0; t < tile; t++) {
                vec_f32 w = broadcast(weight[t * a.row_stride + k * a.column_stride]);
                UNROLL for (int g = 0; g < groups; g++) {
                    sum[t][g] = multiply_add(w, input[g], sum[t][g]);
                }
            }
        }
        UNROLL for (int t = 0; t < tile; t++) {
            UNROLL for (int g = 0; g < groups; g++) total[t][g] += sum[t][g];
        }
    }
    UNROLL for (int t = 0; t < tile; t++) {
        UNROLL for (int g = 0; g < groups; g++) {
            store(y + (g * a.outputs + out + t) * GROUP, total[t][g]);
        }
    }
}

static void dense(int64_t batch, const Affine a, const float *x, float *y) {
    int64_t groups;
    for (int64_t group = 0; group < groups_in(batch); group += groups) {
        groups = group + GROUPS_AT_ONCE <= groups_in(batch) ? GROUPS_AT_ONCE : 1;
        int tile;
        for (int out = 0; out < a.outputs; out += tile) {
            tile = out + DENSE_TILE <= a.outputs ? DENSE_TILE : 1;
            for (int lane = 0; lane < GROUP; lane += LANES) {
                const float *from = x + group * a.inputs * GROUP + lane;
                float *to = y + group * a.outputs * GROUP + lane;
                /* Constants in each call let the compiler keep the sums in registers. */
                if (groups > 1 && tile > 1) {
                    dense_tile(DENSE_TILE, GROUPS_AT_ONCE, a, out, from, to);
                } else if (groups > 1) {
                    dense_tile(1, GROUPS_AT_ONCE, a, out, from, to);
                } else if (tile > 1) {
                    dense_tile(DENSE_TILE, 1, a, out, from, to);
                } else {
                    dense_tile(1, 1, a, out, from, to);
                }
            }
        }
    }
}

/* Columns of a weight's gradient per step. Images are summed one after another, so here the
 * columns, not the images, are the lanes: 16 images x 16 columns of x are transposed first. */
enum { COLUMNS = 16 };
#define PADDED(count) (((count) + COLUMNS - 1) / COLUMNS * COLUMNS)

enum { WEIGHT_SUMS = C5_UNITS * PADDED(S4_SIZE), BIAS_SUMS = C5_UNITS * GROUP };
_Static_assert(PADDED(C5_UNITS) * F6_UNITS <= WEIGHT_SUMS, "F6's weight is smaller than C5's");
_Static_assert(F6_UNITS <= C5_UNITS, "F6's bias is not larger than C5's");
_Static_assert(CLASSES <= C5_UNITS, "the native backend has at most as many classes as C5 units");

/* Adds one group's share, images in their order, to one vector of columns of a tile of rows.
 * columns: 16 images x 16 columns; gradient: tile x 16 images. */
INLINE void add_weight_tile(
    const int tile,
    const float *columns,
    const float *gradient,
    int stride,
    float *sums
) {
    vec_f32 sum[WEIGHT_TILE];
    UNROLL for (int t = 0; t < tile; t++) sum[t] = load(sums + t * stride);
    for (int image = 0; image < GROUP; image++) {
        vec_f32 x = load(columns + image * COLUMNS);
        UNROLL for (int t = 0; t < tile; t++) {
            sum[t] = multiply_add(broadcast(gradient[t * GROUP + image]), x, sum[t]);
        }
    }
    UNROLL for (int t = 0; t < tile; t++) store(sums + t * stride, sum[t]);
}

/* Gradients of weight (outputs x inputs) and bias from that of y, which is zero for lanes without
 * an image. */
static void dense_weight_gradient(
    int64_t batch,
    const Affine a,
    const float *x,
    const float *y_gradient,
    const LayerParameters gradient
) {
    const int inputs = a.inputs, outputs = a.outputs;
    const int stride = PADDED(inputs);
    float weight_sums[WEIGHT_SUMS], bias_sums[BIAS_SUMS] = {0};
    memset(weight_sums, 0, (size_t)(outputs * stride) * sizeof(float));
    for (int64_t group = 0; group < groups_in(batch); group++) {
        const float *group_gradient = y_gradient + group * outputs * GROUP;
        for (int i = 0; i < outputs * GROUP; i++) bias_sums[i] += group_gradient[i];
        for (int column = 0; column < inputs; column += COLUMNS) {
            const float *features = x + (group * inputs + column) * GROUP;
            float columns[GROUP * COLUMNS] = {0};
            for (int k = 0; k < COLUMNS && column + k < inputs; k++) {
                for (int image = 0; image < GROUP; image++) {
                    columns[image * COLUMNS + k] = features[k * GROUP + image];
                }
            }
            for (int lane = 0; lane < COLUMNS; lane += LANES) {
                int tile;
                for (int out = 0; out < outputs; out += tile) {
                    tile = out + WEIGHT_TILE <= outputs ? WEIGHT_TILE : 1;
                    const float *rows = group_gradient + out * GROUP;
                    float *sums = weight_sums + out * stride + column + lane;
                    if (tile > 1) {
                        add_weight_tile(WEIGHT_TILE, columns + lane, rows, stride, sums);
                    } else {
                        add_weight_tile(1, columns + lane, rows, stride, sums);
                    }
                }
            }
        }
    }
    for (int out = 0; out < outputs; out++) {
        const float *row = weight_sums + out * stride;
        memcpy(gradient.weight + out * inputs, row, (size_t)inputs * sizeof(float));
    }
    join_lanes(outputs, bias_sums, gradient.bias);
}

/* batch x features to groups x features x 16, with zeros in lanes without an image. */
static void rows_to_groups(int64_t batch, int features, const float *rows, float *groups) {
    for (int64_t group = 0; group < groups_in(batch); group++) {
        for (int lane = 0; lane < GROUP; lane++) {
            const int64_t image = group * GROUP + lane;
            for (int k = 0; k < features; k++) {
                float value = image < batch ? rows[image * features + k] : 0.0f;
                groups[(group * features + k) * GROUP + lane] = value;
            }
        }
    }
}

/* groups x features x 16 to batch x features. */
static void groups_to_rows(int64_t batch, int features, const float *groups, float *rows) {
    for (int64_t image = 0; image < batch; image++) {
        const float *lane = groups + image / GROUP * features * GROUP + image % GROUP;
        for (int k = 0; k < features; k++) rows[image * features + k] = lane[k * GROUP];
    }
}

/* ReLU, then dropout: `noise` holds its factors, 0 or 1 / (1 - probability), or is NULL. */
static void relu_dropout(int64_t size, const float *noise, float *y) {
    for (int64_t at = 0; at < size; at += LANES) {
        vec_f32 value = load(y + at);
        value = select_lanes(value, relu_mask(value));
        if (noise) value *= load(noise + at);
        store(y + at, value);
    }
}

/* Replaces the gradient at y, the output of ReLU and dropout, by that at their input: y is zero
 * where either of them is. */
static void relu_dropout_backward(
    int64_t size,
    const float *noise,
    const float *y,
    float *gradient
) {
    for (int64_t at = 0; at < size; at += LANES) {
        vec_f32 value = select_lanes(load(gradient + at), relu_mask(load(y + at)));
        if (noise) value *= load(noise + at);
        store(gradient + at, value);
    }
}
