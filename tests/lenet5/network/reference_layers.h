/* The layers of reference.c, which explains the order of every sum. n is the number of images. */

#pragma once

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "sizes.h"

#define FOR(i, count) for (int i = 0; i < (count); i++)
#define FOR2(i, I, j, J) \
    FOR (i, I)           \
        FOR (j, J)
#define FOR3(i, I, j, J, k, K) \
    FOR2 (i, I, j, J)          \
        FOR (k, K)
#define FOR4(i, I, j, J, k, K, l, L) \
    FOR2 (i, I, j, J)                \
        FOR2 (k, K, l, L)

enum { MAX_BATCH = 128, LANES = 16, PARTIAL_SUM = 32, WIDTH = WIDEST_NORM };

typedef struct {
    float *weight, *bias, *gamma, *beta;
} Parameters;

/* A layer: z = weight x + bias, then batch normalisation, then y = ReLU(z). A convolution also
 * averages y over 2 x 2 windows; a dense layer multiplies it by noise, the factors of dropout. dx
 * is the gradient at x. */
typedef struct {
    int in, out, side; /* side x side outputs per channel, 1 for a dense layer */
    int band;          /* rows per sum in the gradients of a convolution */
    float *x, *y, *dx, *dy;
    Parameters p, gradient;
    bool batch_norm;
    double epsilon;
    float (*statistics)[WIDTH]; /* mean and unbiased variance of the batch */
    float mean[WIDTH], inverse[WIDTH], scale[WIDTH];
    float z[MAX_BATCH * C1_SIZE], dz[MAX_BATCH * C1_SIZE], noise[MAX_BATCH * C5_UNITS];
} Layer;

static bool passes(float value) { return !(value <= 0.0f); /* NaN passes */ }

static float normalised(const Layer *l, int channel, float z) {
    return l->batch_norm ? fmaf(z - l->mean[channel], l->scale[channel], l->p.beta[channel]) : z;
}

static float join(float lanes[LANES]) {
    for (int half = LANES / 2; half > 0; half /= 2) {
        FOR (lane, half) lanes[lane] += lanes[lane + half];
    }
    return lanes[0];
}

static double sum_rows(int n, int rows, float row_sum[n][rows]) {
    double total = 0.0;
    for (int first = 0; first < n; first += LANES) {
        double of_group = 0.0;
        for (int image = first; image < n && image < first + LANES; image++) {
            double of_image = 0.0;
            FOR (row, rows) of_image += (double)row_sum[image][row];
            of_group += of_image;
        }
        total += of_group;
    }
    return total;
}

static void batch_statistics(int n, Layer *l) {
    if (!l->batch_norm) return;
    const int side = l->side;
    const double count = (double)n * side * side;
    float (*z)[l->out][side][side] = (void *)l->z;
    float sums[n][side], squares[n][side];
    FOR (c, l->out) {
        FOR2 (image, n, row, side) {
            sums[image][row] = 0.0f;
            FOR (column, side) sums[image][row] += z[image][c][row][column];
        }
        const float mean = (float)(sum_rows(n, side, sums) / count);
        FOR2 (image, n, row, side) {
            squares[image][row] = 0.0f;
            FOR (column, side) {
                const float deviation = z[image][c][row][column] - mean;
                squares[image][row] = fmaf(deviation, deviation, squares[image][row]);
            }
        }
        const double total = sum_rows(n, side, squares);
        l->statistics[0][c] = mean;
        l->statistics[1][c] = (float)(total / (count - 1.0));
        l->mean[c] = mean;
        l->inverse[c] = (float)(1.0 / sqrt(total / count + l->epsilon));
        l->scale[c] = l->p.gamma[c] * l->inverse[c];
    }
}

static void dense(int n, Layer *l) {
    float (*x)[l->in] = (void *)l->x;
    float (*z)[l->out] = (void *)l->z;
    float (*weight)[l->in] = (void *)l->p.weight;
    FOR2 (image, n, o, l->out) {
        float total = l->p.bias[o];
        for (int start = 0; start < l->in; start += PARTIAL_SUM) {
            float sum = 0.0f;
            for (int k = start; k < l->in && k < start + PARTIAL_SUM; k++) {
                sum = fmaf(weight[o][k], x[image][k], sum);
            }
            total += sum;
        }
        z[image][o] = total;
    }
}

static void dense_backward(int n, Layer *l) {
    float (*x)[l->in] = (void *)l->x;
    float (*dx)[l->in] = (void *)l->dx;
    float (*dz)[l->out] = (void *)l->dz;
    float (*weight)[l->in] = (void *)l->p.weight;
    float (*d_weight)[l->in] = (void *)l->gradient.weight;
    FOR (o, l->out) {
        float lanes[LANES] = {0};
        FOR (image, n) lanes[image % LANES] += dz[image][o];
        l->gradient.bias[o] = l->batch_norm ? 0.0f : join(lanes);
        FOR (k, l->in) {
            float sum = 0.0f;
            FOR (image, n) sum = fmaf(dz[image][o], x[image][k], sum);
            d_weight[o][k] = sum;
        }
    }
    FOR2 (image, n, k, l->in) {
        float total = 0.0f;
        for (int start = 0; start < l->out; start += PARTIAL_SUM) {
            float sum = 0.0f;
            for (int o = start; o < l->out && o < start + PARTIAL_SUM; o++) {
                sum = fmaf(weight[o][k], dz[image][o], sum);
            }
            total += sum;
        }
        dx[image][k] = total;
    }
}

static void activate(int n, Layer *l) {
    float (*z)[l->out] = (void *)l->z;
    float (*y)[l->out] = (void *)l->y;
    float (*noise)[l->out] = (void *)l->noise;
    FOR2 (image, n, u, l->out) {
        const float value = normalised(l, u, z[image][u]);
        y[image][u] = (passes(value) ? value : 0.0f) * noise[image][u];
    }
}

static void activate_backward(int n, Layer *l) {
    float (*z)[l->out] = (void *)l->z;
    float (*y)[l->out] = (void *)l->y;
    float (*dz)[l->out] = (void *)l->dz;
    float (*dy)[l->out] = (void *)l->dy;
    float (*noise)[l->out] = (void *)l->noise;
    FOR2 (image, n, u, l->out) {
        dz[image][u] = (passes(y[image][u]) ? dy[image][u] : 0.0f) * noise[image][u];
    }
    if (!l->batch_norm) return;
    FOR (u, l->out) {
        double sums[LANES] = {0}, products[LANES] = {0}, sum = 0.0, product = 0.0;
        FOR (image, n) {
            sums[image % LANES] += (double)dz[image][u];
            products[image % LANES] += (double)(dz[image][u] * (z[image][u] - l->mean[u]));
        }
        FOR (lane, LANES) {
            sum += sums[lane];
            product += products[lane];
        }
        product *= l->inverse[u];
        l->gradient.beta[u] = (float)sum;
        l->gradient.gamma[u] = (float)product;
        const float mean = (float)(sum / n);
        const float slope = -l->scale[u] * l->inverse[u] * (float)(product / n);
        FOR (image, n) {
            const float centred = (dz[image][u] - mean) * l->scale[u];
            dz[image][u] = fmaf(z[image][u] - l->mean[u], slope, centred);
        }
    }
}
