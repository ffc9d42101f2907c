/* Batch normalisation, y = (z - mean) / sqrt(variance + epsilon) * gamma + beta, with the mean and
 * variance of a channel over images and positions, then ReLU and, after a convolution, average
 * pooling.
 *
 * The raw outputs z of the layer before are kept, groups x channels x side x side x 16, since the
 * statistics need all of them before the first can be normalised. Sums over a row are float32, sums
 * of those float64. */

#pragma once

#include <math.h>

#include "convolution.h"

static const Maps C5 = {C5_UNITS, 1};

/* Batch statistics, for the running averages in Python. The variance is unbiased: divided by n - 1.
 */
typedef struct {
    float mean[WIDEST_NORM], variance[WIDEST_NORM];
} BatchStatistics;

/* Of the three normalisations: epsilon, which is added to a variance, and batch statistics. */
typedef struct {
    double c1, c3, c5;
} Epsilons;

typedef struct {
    BatchStatistics c1, c3, c5;
} Statistics;

/* Forward, y = (z - mean) * scale + beta; backward, after a convolution,
 * dz = (dy - mean_dy) * scale + (z - mean) * slope. */
typedef struct {
    float mean[WIDEST_NORM];
    float inverse[WIDEST_NORM]; /* 1 / sqrt(variance + epsilon), the variance divided by n */
    float scale[WIDEST_NORM], beta[WIDEST_NORM];
    float mean_dy[WIDEST_NORM], slope[WIDEST_NORM];
} Norm;

typedef enum { VALUES, SQUARED_DEVIATIONS } Summand;

/* Adds up the lanes that hold an image. */
static double join_doubles(const double *lanes, int valid_lanes) {
    double total = 0.0;
    for (int lane = 0; lane < valid_lanes; lane++) total += lanes[lane];
    return total;
}

/* One channel's sum over the batch, of z or of (z - mean)^2. */
INLINE double channel_sum(
    const Maps maps,
    const Summand summand,
    int channel,
    int64_t batch,
    const float *raw,
    float mean
) {
    double total = 0.0;
    for (int64_t group = 0; group < groups_in(batch); group++) {
        const float *of_group = raw + group * index_of(maps, maps.channels, 0, 0);
        double lanes[GROUP] = {0};
        for (int lane = 0; lane < GROUP; lane += LANES) {
            for (int row = 0; row < maps.side; row++) {
                vec_f32 sum = {0};
                for (int column = 0; column < maps.side; column++) {
                    vec_f32 z = load(of_group + index_of(maps, channel, row, column) + lane);
                    if (summand == SQUARED_DEVIATIONS) {
                        sum = multiply_add(z - mean, z - mean, sum);
                    } else {
                        sum += z;
                    }
                }
                for (int l = 0; l < LANES; l++) lanes[lane + l] += (double)sum[l];
            }
        }
        total += join_doubles(lanes, images_in(group, batch));
    }
    return total;
}

INLINE void batch_statistics(
    const Maps maps,
    int64_t batch,
    const float *raw,
    const LayerParameters layer,
    double epsilon,
    Norm *norm,
    BatchStatistics *statistics
) {
    const double count = (double)batch * maps.side * maps.side;
    for (int c = 0; c < maps.channels; c++) {
        float mean = (float)(channel_sum(maps, VALUES, c, batch, raw, 0.0f) / count);
        double squares = channel_sum(maps, SQUARED_DEVIATIONS, c, batch, raw, mean);
        statistics->mean[c] = mean;
        statistics->variance[c] = (float)(squares / (count - 1.0));
        norm->mean[c] = mean;
        norm->inverse[c] = (float)(1.0 / sqrt(squares / count + epsilon));
        norm->scale[c] = layer.gamma[c] * norm->inverse[c];
        norm->beta[c] = layer.beta[c];
    }
}

INLINE vec_f32 normalised(vec_f32 z, const Norm *norm, int channel) {
    vec_f32 scale = broadcast(norm->scale[channel]);
    return multiply_add(z - norm->mean[channel], scale, broadcast(norm->beta[channel]));
}

/* One group's raw outputs, channels x side^2, to pooled ones, channels x (side / 2)^2. */
INLINE void normalise_and_pool(const Maps maps, const float *raw, const Norm *norm, float *pooled) {
    const Maps pooled_maps = {maps.channels, maps.side / 2};
    for (int lane = 0; lane < GROUP; lane += LANES) {
        for (int channel = 0; channel < maps.channels; channel++) {
            for (int row = 0; row < pooled_maps.side; row++) {
                for (int column = 0; column < pooled_maps.side; column++) {
                    const float *window = raw + index_of(maps, channel, 2 * row, 2 * column) + lane;
                    vec_f32 total = {0};
                    UNROLL for (int p = 0; p < 4; p++) {
                        vec_f32 z = load(window + index_in_window(maps.side, p));
                        vec_f32 y = normalised(z, norm, channel);
                        total += select_lanes(y, relu_mask(y));
                    }
                    int at = index_of(pooled_maps, channel, row, column) + lane;
                    store(pooled + at, total * 0.25f);
                }
            }
        }
    }
}

/* C5 has neither positions nor pooling: y = (z - mean) * scale + beta, groups x 120 x 16. */
static void normalise_c5(int64_t batch, const float *raw, const Norm *norm, float *y) {
    for (int64_t group = 0; group < groups_in(batch); group++) {
        for (int unit = 0; unit < C5_UNITS; unit++) {
            for (int lane = 0; lane < GROUP; lane += LANES) {
                int64_t at = (group * C5_UNITS + unit) * GROUP + lane;
                store(y + at, normalised(load(raw + at), norm, unit));
            }
        }
    }
}
