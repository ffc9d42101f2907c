/* Batch normalisation, y = (z - mean) / sqrt(variance + epsilon) * gamma + beta, with mean and variance of a channel over
 * images and places, then ReLU and, after a convolution, average pooling.
 *
 * The outputs z of the layer before are kept (groups x channels x side x side x 16), since the statistics need all of
 * them before the first can be normalised. Sums over a row are float32, sums of those float64. */

#pragma once

#include <math.h>

#include "convolution.h"

enum { WIDEST = 120 };

typedef struct {
    float mean[WIDEST], unbiased[WIDEST]; /* of the batch, for the running averages; the variance with n - 1 */
    float inverse[WIDEST];                /* 1 / sqrt(variance + epsilon), with n */
    float scale[WIDEST], beta[WIDEST];    /* y = (z - mean) * scale + beta */
} Norm;

/* Adds up the lanes that hold an image. */
static double join_doubles(const double *lanes, int images) {
    double total = 0.0;
    for (int lane = 0; lane < images; lane++) total += lanes[lane];
    return total;
}

/* One channel's sum over the batch: of z or, if `squares`, of (z - mean)^2. */
INLINE double channel_sum(const int channels, const int side, const int squares, int channel, int64_t batch,
                          const float *raw, float mean) {
    double total = 0.0;
    for (int64_t group = 0; group * GROUP < batch; group++) {
        const float *from = raw + (group * channels + channel) * side * side * GROUP;
        double lanes[GROUP] = {0};
        for (int lane = 0; lane < GROUP; lane += LANES)
            for (int row = 0; row < side; row++) {
                vector sum = {0};
                for (int column = 0; column < side; column++) {
                    vector z = load(from + (row * side + column) * GROUP + lane);
                    if (squares)
                        sum = multiply_add(z - mean, z - mean, sum);
                    else
                        sum += z;
                }
                for (int l = 0; l < LANES; l++) lanes[lane + l] += (double)sum[l];
            }
        total += join_doubles(lanes, images_in(group, batch));
    }
    return total;
}

INLINE void batch_statistics(const int channels, const int side, int64_t batch, const float *raw, const float *gamma,
                             const float *beta, double epsilon, Norm *norm) {
    double count = (double)batch * side * side;
    for (int c = 0; c < channels; c++) {
        norm->mean[c] = (float)(channel_sum(channels, side, 0, c, batch, raw, 0.0f) / count);
        double squares = channel_sum(channels, side, 1, c, batch, raw, norm->mean[c]);
        norm->inverse[c] = (float)(1.0 / sqrt(squares / count + epsilon));
        norm->unbiased[c] = (float)(squares / (count - 1.0));
        norm->scale[c] = gamma[c] * norm->inverse[c];
        norm->beta[c] = beta[c];
    }
}

INLINE vector normalised(vector z, const Norm *norm, int channel) {
    return multiply_add(z - norm->mean[channel], broadcast(norm->scale[channel]), broadcast(norm->beta[channel]));
}

/* Where the four outputs of a pooling window are: channel, row and column are the window's. */
INLINE int corner(const int side, int channel, int row, int column) {
    return ((channel * side + 2 * row) * side + 2 * column) * GROUP;
}

/* Normalises, ReLU, average pooling: raw: channels x side^2 to pooled: channels x (side / 2)^2, one group. */
INLINE void normalise(const int channels, const int side, const float *raw, const Norm *norm, float *pooled) {
    for (int channel = 0; channel < channels; channel++)
        for (int row = 0; row < side / 2; row++)
            for (int column = 0; column < side / 2; column++) {
                const float *z = raw + corner(side, channel, row, column);
                vector total = {0};
                UNROLL for (int p = 0; p < 4; p++) {
                    vector y = normalised(load(z + ((p / 2) * side + p % 2) * GROUP), norm, channel);
                    total += keep(y, passes(y));
                }
                store(pooled + ((channel * (side / 2) + row) * (side / 2) + column) * GROUP, total * 0.25f);
            }
}

/* The gradients of beta, sum(dy), and of gamma, sum(dy * (z - mean)) * inverse, over the batch. dy, the gradient at y,
 * is a quarter of the pooled one where ReLU let y through. */
INLINE void norm_gradient(const int channels, const int side, int64_t batch, const float *raw, const float *pooled,
                          const Norm *norm, float *gamma_gradient, float *beta_gradient) {
    for (int channel = 0; channel < channels; channel++) {
        double sum = 0.0, product = 0.0;
        for (int64_t group = 0; group * GROUP < batch; group++) {
            const float *gradients = pooled + (group * channels + channel) * (side / 2) * (side / 2) * GROUP;
            double sums[GROUP] = {0}, products[GROUP] = {0};
            for (int lane = 0; lane < GROUP; lane += LANES)
                for (int row = 0; row < side / 2; row++) {
                    vector row_sum = {0}, row_product = {0};
                    for (int column = 0; column < side / 2; column++) {
                        const float *from = raw + group * channels * side * side * GROUP + lane +
                                            corner(side, channel, row, column);
                        vector quarter = load(gradients + (row * (side / 2) + column) * GROUP + lane) * 0.25f;
                        UNROLL for (int p = 0; p < 4; p++) {
                            vector z = load(from + ((p / 2) * side + p % 2) * GROUP);
                            vector dy = keep(quarter, passes(normalised(z, norm, channel)));
                            row_sum += dy;
                            row_product = multiply_add(dy, z - norm->mean[channel], row_product);
                        }
                    }
                    for (int l = 0; l < LANES; l++) {
                        sums[lane + l] += (double)row_sum[l];
                        products[lane + l] += (double)row_product[l];
                    }
                }
            sum += join_doubles(sums, images_in(group, batch));
            product += join_doubles(products, images_in(group, batch));
        }
        beta_gradient[channel] = (float)sum;
        gamma_gradient[channel] = (float)(product * norm->inverse[channel]);
    }
}

/* What `unpool` does, through normalisation as well: dz = scale * (dy - mean(dy) - (z - mean) * inverse * mean(dy * (z -
 * mean) * inverse)), zero for lanes without an image. raw and pooled: one group; wide: channels x rows x side. */
INLINE void unpool_normalised(const int channels, const int side, const int rows, int first, int images, double count,
                              const float *raw, const float *pooled, const Norm *norm, const float *gamma_gradient,
                              const float *beta_gradient, float *wide) {
    integers there;
    for (int l = 0; l < LANES; l++) there[l] = l < images ? -1 : 0;
    for (int channel = 0; channel < channels; channel++) {
        float mean_dy = (float)(beta_gradient[channel] / count);
        float slope = -norm->scale[channel] * norm->inverse[channel] * (float)(gamma_gradient[channel] / count);
        vector scale = broadcast(norm->scale[channel]);
        for (int row = 0; row < rows / 2; row++)
            for (int column = 0; column < side / 2; column++) {
                const float *from = raw + corner(side, channel, first + row, column);
                float *to = wide + ((channel * rows + 2 * row) * side + 2 * column) * GROUP;
                vector quarter =
                    load(pooled + ((channel * (side / 2) + first + row) * (side / 2) + column) * GROUP) * 0.25f;
                UNROLL for (int p = 0; p < 4; p++) {
                    vector z = load(from + ((p / 2) * side + p % 2) * GROUP);
                    vector dy = keep(quarter, passes(normalised(z, norm, channel)));
                    vector dz = multiply_add(z - norm->mean[channel], broadcast(slope), (dy - mean_dy) * scale);
                    store(to + ((p / 2) * side + p % 2) * GROUP, keep(dz, there));
                }
            }
    }
}

/* The same for a layer without places and pooling, C5: y = (z - mean) * scale + beta, groups x channels x 16. */
static void normalise_layer(int channels, int64_t batch, const float *raw, const Norm *norm, float *y) {
    for (int64_t group = 0; group * GROUP < batch; group++)
        for (int channel = 0; channel < channels; channel++)
            for (int lane = 0; lane < GROUP; lane += LANES) {
                int64_t at = (group * channels + channel) * GROUP + lane;
                store(y + at, normalised(load(raw + at), norm, channel));
            }
}

/* Turns the gradient at y into that at z, in place; it is zero for lanes without an image before and after. */
static void normalise_layer_backward(int channels, int64_t batch, const float *raw, const Norm *norm, float *gradient,
                                     float *gamma_gradient, float *beta_gradient) {
    for (int channel = 0; channel < channels; channel++) {
        double sums[GROUP] = {0}, products[GROUP] = {0};
        for (int64_t group = 0; group * GROUP < batch; group++) {
            int64_t at = (group * channels + channel) * GROUP;
            for (int lane = 0; lane < GROUP; lane++) {
                sums[lane] += (double)gradient[at + lane];
                products[lane] += (double)(gradient[at + lane] * (raw[at + lane] - norm->mean[channel]));
            }
        }
        double sum = join_doubles(sums, GROUP), product = join_doubles(products, GROUP) * norm->inverse[channel];
        beta_gradient[channel] = (float)sum;
        gamma_gradient[channel] = (float)product;
        float mean = (float)(sum / (double)batch), scale = norm->scale[channel];
        float slope = -scale * norm->inverse[channel] * (float)(product / (double)batch);
        for (int64_t group = 0; group * GROUP < batch; group++) {
            int64_t at = (group * channels + channel) * GROUP;
            for (int lane = 0; lane < images_in(group, batch); lane++)
                gradient[at + lane] = __builtin_fmaf(raw[at + lane] - norm->mean[channel], slope,
                                                     (gradient[at + lane] - mean) * scale);
        }
    }
}
