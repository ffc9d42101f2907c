/* The convolutions of reference.c, with ReLU and average pooling */

#pragma once

#include "reference_layers.h"

static void convolve(int n, Layer *l) {
    const int in = l->in, out = l->out, side = l->side;
    float (*x)[in][side + 4][side + 4] = (void *)l->x;
    float (*z)[out][side][side] = (void *)l->z;
    float (*weight)[in][KERNEL][KERNEL] = (void *)l->p.weight;
    FOR4 (image, n, o, out, row, side, column, side) {
        float sum = l->p.bias[o];
        FOR3 (i, in, ky, KERNEL, kx, KERNEL) {
            sum = fmaf(weight[o][i][ky][kx], x[image][i][row + ky][column + kx], sum);
        }
        z[image][o][row][column] = sum;
    }
}

static void convolve_backward(int n, Layer *l) {
    const int in = l->in, out = l->out, side = l->side;
    float (*x)[in][side + 4][side + 4] = (void *)l->x;
    float (*dx)[in][side + 4][side + 4] = (void *)l->dx;
    float (*dz)[out][side][side] = (void *)l->dz;
    float (*weight)[in][KERNEL][KERNEL] = (void *)l->p.weight;
    float (*d_weight)[in][KERNEL][KERNEL] = (void *)l->gradient.weight;
    FOR4 (o, out, i, in, ky, KERNEL, kx, KERNEL) {
        float lanes[LANES] = {0}, bias_lanes[LANES] = {0};
        FOR2 (image, n, band, side / l->band) {
            float sum = 0.0f, bias_sum = 0.0f;
            FOR2 (r, l->band, column, side) {
                const int row = band * l->band + r;
                const float gradient = dz[image][o][row][column];
                sum = fmaf(gradient, x[image][i][row + ky][column + kx], sum);
                bias_sum += gradient;
            }
            lanes[image % LANES] += sum;
            bias_lanes[image % LANES] += bias_sum;
        }
        d_weight[o][i][ky][kx] = join(lanes);
        l->gradient.bias[o] = l->batch_norm ? 0.0f : join(bias_lanes);
    }
    if (!dx) return;
    FOR4 (image, n, i, in, row, side + 4, column, side + 4) {
        float sum = 0.0f;
        FOR3 (o, out, ky, KERNEL, from, side) {
            const int kx = column - from;
            if (row - ky < 0 || row - ky >= side || kx < 0 || kx >= KERNEL) continue;
            sum = fmaf(weight[o][i][ky][kx], dz[image][o][row - ky][from], sum);
        }
        dx[image][i][row][column] = sum;
    }
}

static void pool(int n, Layer *l) {
    const int half = l->side / 2;
    float (*z)[l->out][l->side][l->side] = (void *)l->z;
    float (*y)[l->out][half][half] = (void *)l->y;
    FOR4 (image, n, c, l->out, row, half, column, half) {
        float total = 0.0f;
        FOR2 (dy, 2, dx, 2) {
            float value = normalised(l, c, z[image][c][2 * row + dy][2 * column + dx]);
            total += passes(value) ? value : 0.0f;
        }
        y[image][c][row][column] = total * 0.25f;
    }
}

static void pool_backward(int n, Layer *l) {
    const int side = l->side, half = l->side / 2;
    const double count = (double)n * side * side;
    float (*z)[l->out][side][side] = (void *)l->z;
    float (*dz)[l->out][side][side] = (void *)l->dz;
    float (*dy)[l->out][half][half] = (void *)l->dy;
    float sums[n][half], products[n][half];
    FOR4 (image, n, c, l->out, row, side, column, side) {
        const bool passed = passes(normalised(l, c, z[image][c][row][column]));
        dz[image][c][row][column] = passed ? dy[image][c][row / 2][column / 2] * 0.25f : 0.0f;
    }
    if (!l->batch_norm) return;
    FOR (c, l->out) {
        FOR2 (image, n, row, half) {
            sums[image][row] = 0.0f;
            products[image][row] = 0.0f;
            FOR2 (column, half, p, 4) {
                const int y = 2 * row + p / 2;
                const int x = 2 * column + p % 2;
                const float deviation = z[image][c][y][x] - l->mean[c];
                sums[image][row] += dz[image][c][y][x];
                products[image][row] = fmaf(dz[image][c][y][x], deviation, products[image][row]);
            }
        }
        l->gradient.beta[c] = (float)sum_rows(n, half, sums);
        l->gradient.gamma[c] = (float)(sum_rows(n, half, products) * l->inverse[c]);
        const float mean = (float)(l->gradient.beta[c] / count);
        const float slope = -l->scale[c] * l->inverse[c] * (float)(l->gradient.gamma[c] / count);
        FOR3 (image, n, row, side, column, side) {
            const float centred = (dz[image][c][row][column] - mean) * l->scale[c];
            dz[image][c][row][column] = fmaf(z[image][c][row][column] - l->mean[c], slope, centred);
        }
    }
}
