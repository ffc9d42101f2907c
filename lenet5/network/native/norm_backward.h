/* Gradients of batch normalisation with ReLU and average pooling. */

#pragma once

#include "convolution_backward.h"
#include "norm.h"

/* The gradients of beta, sum(dy), and of gamma, sum(dy * (z - mean)) * inverse, over the batch,
 * where dy, the gradient at y, is a quarter of the pooled one where ReLU let y through. */
INLINE void norm_gradient(
    const Maps maps,
    int64_t batch,
    const float *raw,
    const float *pooled_gradient,
    Norm *norm,
    const LayerParameters gradient
) {
    const Maps pooled = {maps.channels, maps.side / 2};
    const double count = (double)batch * maps.side * maps.side;
    for (int channel = 0; channel < maps.channels; channel++) {
        double sum = 0.0, product = 0.0;
        for (int64_t group = 0; group < groups_in(batch); group++) {
            const float *of_group = raw + group * index_of(maps, maps.channels, 0, 0);
            const float *gradients =
                pooled_gradient + group * index_of(pooled, pooled.channels, 0, 0);
            double sums[GROUP] = {0}, products[GROUP] = {0};
            for (int lane = 0; lane < GROUP; lane += LANES) {
                for (int row = 0; row < pooled.side; row++) {
                    vec_f32 row_sum = {0}, row_product = {0};
                    for (int column = 0; column < pooled.side; column++) {
                        int corner = index_of(maps, channel, 2 * row, 2 * column) + lane;
                        int at = index_of(pooled, channel, row, column) + lane;
                        vec_f32 quarter = load(gradients + at) * 0.25f;
                        UNROLL for (int p = 0; p < 4; p++) {
                            vec_f32 z = load(of_group + corner + index_in_window(maps.side, p));
                            vec_f32 dy =
                                select_lanes(quarter, relu_mask(normalised(z, norm, channel)));
                            row_sum += dy;
                            row_product = multiply_add(dy, z - norm->mean[channel], row_product);
                        }
                    }
                    for (int l = 0; l < LANES; l++) {
                        sums[lane + l] += (double)row_sum[l];
                        products[lane + l] += (double)row_product[l];
                    }
                }
            }
            sum += join_doubles(sums, images_in(group, batch));
            product += join_doubles(products, images_in(group, batch));
        }
        gradient.beta[channel] = (float)sum;
        gradient.gamma[channel] = (float)(product * norm->inverse[channel]);
        norm->mean_dy[channel] = (float)(gradient.beta[channel] / count);
        norm->slope[channel] = -norm->scale[channel] * norm->inverse[channel] *
                               (float)(gradient.gamma[channel] / count);
    }
}

/* As `unpool`, through normalisation too: dz = scale * (dy - mean(dy) - (z - mean) * inverse *
 * mean(dy * (z - mean) * inverse)). Lanes without an image, where dy is zero, are reset to zero. */
INLINE void unpool_normalised(
    const Maps maps,
    const Rows rows,
    int images,
    const float *raw,
    const float *pooled_gradient,
    const Norm *norm,
    float *raw_gradient
) {
    const Maps pooled = {maps.channels, maps.side / 2};
    for (int lane = 0; lane < GROUP; lane += LANES) {
        vec_i32 valid_lanes;
        for (int l = 0; l < LANES; l++) valid_lanes[l] = lane + l < images ? -1 : 0;
        for (int channel = 0; channel < maps.channels; channel++) {
            const vec_f32 scale = broadcast(norm->scale[channel]);
            const vec_f32 slope = broadcast(norm->slope[channel]);
            const vec_f32 mean_dy = broadcast(norm->mean_dy[channel]);
            for (int row = 0; row < rows.count; row += 2) {
                for (int column = 0; column < pooled.side; column++) {
                    int from = index_of(maps, channel, rows.first + row, 2 * column) + lane;
                    int to = ((channel * rows.count + row) * maps.side + 2 * column) * GROUP + lane;
                    int at = index_of(pooled, channel, (rows.first + row) / 2, column) + lane;
                    vec_f32 quarter = load(pooled_gradient + at) * 0.25f;
                    UNROLL for (int p = 0; p < 4; p++) {
                        int offset = index_in_window(maps.side, p);
                        vec_f32 z = load(raw + from + offset);
                        vec_f32 dy = select_lanes(quarter, relu_mask(normalised(z, norm, channel)));
                        vec_f32 deviation = z - norm->mean[channel];
                        vec_f32 dz = multiply_add(deviation, slope, (dy - mean_dy) * scale);
                        store(raw_gradient + to + offset, select_lanes(dz, valid_lanes));
                    }
                }
            }
        }
    }
}

/* Replaces the gradient at y by that at z. Lanes without an image hold zero before and after. */
static void normalise_c5_backward(
    int64_t batch,
    const float *raw,
    const Norm *norm,
    const LayerParameters parameter_gradient,
    float *gradient
) {
    for (int unit = 0; unit < C5_UNITS; unit++) {
        const float unit_mean = norm->mean[unit];
        double sums[GROUP] = {0}, products[GROUP] = {0};
        for (int64_t group = 0; group < groups_in(batch); group++) {
            int64_t at = (group * C5_UNITS + unit) * GROUP;
            for (int lane = 0; lane < GROUP; lane++) {
                float dy = gradient[at + lane];
                sums[lane] += (double)dy;
                products[lane] += (double)(dy * (raw[at + lane] - unit_mean));
            }
        }
        double sum = join_doubles(sums, GROUP);
        double product = join_doubles(products, GROUP) * norm->inverse[unit];
        parameter_gradient.beta[unit] = (float)sum;
        parameter_gradient.gamma[unit] = (float)product;
        float mean_dy = (float)(sum / (double)batch);
        float scale = norm->scale[unit];
        float slope = -scale * norm->inverse[unit] * (float)(product / (double)batch);
        for (int64_t group = 0; group < groups_in(batch); group++) {
            int64_t at = (group * C5_UNITS + unit) * GROUP;
            for (int lane = 0; lane < images_in(group, batch); lane++) {
                float centred = (gradient[at + lane] - mean_dy) * scale;
                gradient[at + lane] = __builtin_fmaf(raw[at + lane] - unit_mean, slope, centred);
            }
        }
    }
}
