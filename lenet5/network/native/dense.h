/* Fully connected layers on groups x features x 16, and conversion from and to rows of features. */

#pragma once

#include "convolution.h"

/* Outputs and vectors of images per step: as many as there are registers for their sums. */
enum { DENSE_TILE = 4, VECTORS = REGISTERS == 32 ? 4 : 2, PER_GROUP = GROUP / LANES };
enum { GROUPS_AT_ONCE = VECTORS > PER_GROUP ? VECTORS / PER_GROUP : 1 };

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

/* The place of vector v of a feature: those of a group lie side by side, the groups `features`
 * apart. */
INLINE int vector_at(const int features, const int feature, const int v) {
    return (v / PER_GROUP * features + feature) * GROUP + v % PER_GROUP * LANES;
}

/* A tile of outputs, from `out`, of some vectors of images: bias + sum over k of weight[k] * x[k],
 * in the order of k. */
INLINE void dense_tile(
    const int tile,
    const int vectors,
    const Affine a,
    const int out,
    const float *x,
    float *y
) {
    const float *weight = a.weight + out * a.row_stride;
    vec_f32 total[DENSE_TILE][VECTORS];
    UNROLL for (int t = 0; t < tile; t++) {
        const vec_f32 bias = broadcast(a.bias ? a.bias[out + t] : 0.0f);
        UNROLL for (int v = 0; v < vectors; v++) total[t][v] = bias;
    }
    for (int start = 0; start < a.inputs; start += PARTIAL_SUM) {
        vec_f32 sum[DENSE_TILE][VECTORS] = {{{0}}};
        for (int k = start; k < a.inputs && k < start + PARTIAL_SUM; k++) {
            vec_f32 input[VECTORS];
            UNROLL for (int v = 0; v < vectors; v++) input[v] = load(x + vector_at(a.inputs, k, v));
            UNROLL for (int t = 0; t < tile; t++) {
                vec_f32 w = broadcast(weight[t * a.row_stride + k * a.column_stride]);
                UNROLL for (int v = 0; v < vectors; v++) {
                    sum[t][v] = multiply_add(w, input[v], sum[t][v]);
                }
            }
        }
        UNROLL for (int t = 0; t < tile; t++) {
            UNROLL for (int v = 0; v < vectors; v++) total[t][v] += sum[t][v];
        }
    }
    UNROLL for (int t = 0; t < tile; t++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            store(y + vector_at(a.outputs, out + t, v), total[t][v]);
        }
    }
}

static void dense(int64_t batch, const Affine a, const float *x, float *y) {
    enum { ALONE = PER_GROUP < VECTORS ? PER_GROUP : VECTORS }; /* of a single group */
    int64_t groups;
    for (int64_t group = 0; group < groups_in(batch); group += groups) {
        groups = group + GROUPS_AT_ONCE <= groups_in(batch) ? GROUPS_AT_ONCE : 1;
        int tile;
        for (int out = 0; out < a.outputs; out += tile) {
            tile = out + DENSE_TILE <= a.outputs ? DENSE_TILE : 1;
            for (int lane = 0; lane < GROUP; lane += groups > 1 ? GROUP : ALONE * LANES) {
                const float *from = x + group * a.inputs * GROUP + lane;
                float *to = y + group * a.outputs * GROUP + lane;
                /* Constants in each call let the compiler keep the sums in registers. */
                if (groups > 1 && tile > 1) {
                    dense_tile(DENSE_TILE, VECTORS, a, out, from, to);
                } else if (groups > 1) {
                    dense_tile(1, VECTORS, a, out, from, to);
                } else if (tile > 1) {
                    dense_tile(DENSE_TILE, ALONE, a, out, from, to);
                } else {
                    dense_tile(1, ALONE, a, out, from, to);
                }
            }
        }
    }
}

/* Columns and rows of a weight's gradient per step, and groups of images. Images are summed one
 * after another, so here the columns, not the images, are the lanes: 16 images x 16 columns of x
 * are transposed first. */
enum { COLUMNS = 16, COLUMN_VECTORS = COLUMNS / LANES, ROW_TILE = 12 / COLUMN_VECTORS };
enum { TRANSPOSED_GROUPS = 4 };
_Static_assert(S4_SIZE % 4 == 0 && C5_UNITS % 4 == 0 && F6_UNITS % 4 == 0, "blocks of 4 x 4");
_Static_assert(CLASSES <= C5_UNITS, "the native backend has at most as many classes as C5 units");

typedef float vec_f32x4 __attribute__((vector_size(16), aligned(4), may_alias));

/* Transposes 4 x 4 numbers: interleaving row i with row i + 2 is a perfect shuffle of all sixteen,
 * which rotates the four bits of their places by one; two rounds exchange rows and columns. */
INLINE void transpose_block(const float *from, int from_stride, float *to, int to_stride) {
    vec_f32x4 row[4], shuffled[4];
    UNROLL for (int i = 0; i < 4; i++) row[i] = *(const vec_f32x4 *)(from + i * from_stride);
    UNROLL for (int round = 0; round < 2; round++) {
        UNROLL for (int i = 0; i < 2; i++) {
            shuffled[2 * i] = __builtin_shufflevector(row[i], row[i + 2], 0, 4, 1, 5);
            shuffled[2 * i + 1] = __builtin_shufflevector(row[i], row[i + 2], 2, 6, 3, 7);
        }
        UNROLL for (int i = 0; i < 4; i++) row[i] = shuffled[i];
    }
    UNROLL for (int i = 0; i < 4; i++) * (vec_f32x4 *)(to + i * to_stride) = row[i];
}

/* `count` features x 16 images, at most 16 features and a multiple of 4, to images x 16 columns. */
INLINE void transpose_features(int count, const float *features, float *columns) {
    for (int k = 0; k < count; k += 4) {
        for (int image = 0; image < GROUP; image += 4) {
            const float *block = features + k * GROUP + image;
            transpose_block(block, GROUP, columns + image * COLUMNS + k, COLUMNS);
        }
    }
}

/* Where a block of a weight's gradient is summed: 16 columns, rows `stride` apart. */
typedef struct {
    float *sums;
    int stride;
    bool begun; /* or else zero, whatever is stored there */
} Block;

/* Adds the share of some groups, images in their order, to a tile of rows of a block. columns:
 * groups x 16 images x 16 columns; gradient: groups x outputs x 16 images, from the first row. */
INLINE void add_weight_tile(
    const int tile,
    const int groups,
    const int outputs,
    const float *columns,
    const float *gradient,
    const Block block
) {
    vec_f32 sum[ROW_TILE][COLUMN_VECTORS] = {{{0}}};
    if (block.begun) {
        UNROLL for (int t = 0; t < tile; t++) {
            UNROLL for (int v = 0; v < COLUMN_VECTORS; v++) {
                sum[t][v] = load(block.sums + t * block.stride + v * LANES);
            }
        }
    }
    for (int group = 0; group < groups; group++) {
        for (int image = 0; image < GROUP; image++) {
            const float *factor = gradient + group * outputs * GROUP + image;
            vec_f32 x[COLUMN_VECTORS];
            UNROLL for (int v = 0; v < COLUMN_VECTORS; v++) {
                x[v] = load(columns + (group * GROUP + image) * COLUMNS + v * LANES);
            }
            UNROLL for (int t = 0; t < tile; t++) {
                vec_f32 f = broadcast(factor[t * GROUP]);
                UNROLL for (int v = 0; v < COLUMN_VECTORS; v++) {
                    sum[t][v] = multiply_add(f, x[v], sum[t][v]);
                }
            }
        }
    }
    UNROLL for (int t = 0; t < tile; t++) {
        UNROLL for (int v = 0; v < COLUMN_VECTORS; v++) {
            store(block.sums + t * block.stride + v * LANES, sum[t][v]);
        }
    }
}

/* Adds the share of some groups to a block of all rows. */
static void add_weight_block(
    const int groups,
    const int outputs,
    const float *columns,
    const float *gradient,
    Block block
) {
    int tile;
    for (int out = 0; out < outputs; out += tile) {
        tile = out + ROW_TILE <= outputs ? ROW_TILE : 1;
        if (tile > 1) {
            add_weight_tile(ROW_TILE, groups, outputs, columns, gradient + out * GROUP, block);
        } else {
            add_weight_tile(1, groups, outputs, columns, gradient + out * GROUP, block);
        }
        block.sums += tile * block.stride;
    }
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
    float columns[TRANSPOSED_GROUPS * GROUP * COLUMNS] = {0}, last[C5_UNITS * COLUMNS];
    float bias_sums[C5_UNITS * GROUP] = {0};
    for (int column = 0; column < inputs; column += COLUMNS) {
        const int count = inputs - column < COLUMNS ? inputs - column : COLUMNS;
        float *weights = gradient.weight + column;
        Block block = {count == COLUMNS ? weights : last, count == COLUMNS ? inputs : COLUMNS, 0};
        for (int64_t group = 0; group < groups_in(batch); group += TRANSPOSED_GROUPS) {
            const int64_t left = groups_in(batch) - group;
            const int groups = left < TRANSPOSED_GROUPS ? (int)left : TRANSPOSED_GROUPS;
            for (int g = 0; g < groups; g++) {
                const float *features = x + ((group + g) * inputs + column) * GROUP;
                transpose_features(count, features, columns + g * GROUP * COLUMNS);
            }
            add_weight_block(groups, outputs, columns, y_gradient + group * outputs * GROUP, block);
            block.begun = true;
        }
        for (int i = 0; block.sums == last && i < outputs * count; i++) {
            weights[i / count * inputs + i % count] = last[i / count * COLUMNS + i % count];
        }
    }
    for (int64_t group = 0; group < groups_in(batch); group++) {
        const float *group_gradient = y_gradient + group * outputs * GROUP;
        for (int i = 0; i < outputs * GROUP; i++) bias_sums[i] += group_gradient[i];
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
