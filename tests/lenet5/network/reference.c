/* The training step and inference of LeNet-5 in plain loops: the readable definition of what the
 * native kernels compute, byte for byte (with -ffp-contract=off). The order of sums is part of it:
 * - An output of a convolution starts at the bias and adds, for each input channel and each row of
 *   the kernel, the products along that row; the gradient at an input adds, for each output channel
 *   and each row of the kernel, the products along a row of outputs.
 * - In a dense layer, both add partial sums of 32 products, each of which starts at zero.
 * - The gradient of a convolution's weight or bias sums over each image (in C1, over each pair of
 *   rows), adds that to one of 16 lanes, image i to lane i % 16, and joins the lanes in a tree.
 *   So does that of a dense layer's bias; that of its weight adds one image after another.
 * - Batch normalisation sums each row (backward, each row of 2 x 2 windows) in float32; then, in
 *   float64, images, groups of 16 and the batch; in C5's backward pass, lanes and the batch. */

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "sizes.h"

#define FOR(i, count) for (int i = 0; i < (count); i++)
#define FOR2(i, I, j, J) FOR(i, I) FOR(j, J)
#define FOR3(i, I, j, J, k, K) FOR2(i, I, j, J) FOR(k, K)
#define FOR4(i, I, j, J, k, K, l, L) FOR2(i, I, j, J) FOR2(k, K, l, L)

enum { C1, C3, C5, F6, OUTPUT, LAYERS, NORMS = 3 };
enum { BATCH = 80, WIDTH = C5_UNITS, SIDE = IMAGE_SIDE, LANES = 16, PARTIAL_SUM = 32 };

/* Sizes of x and z (below). A dense layer is a convolution with a single output position. */
static const int inputs[LAYERS] = {1, C1_CHANNELS, C3_CHANNELS, C5_UNITS, F6_UNITS};
static const int input_sides[LAYERS] = {IMAGE_SIDE, S2_SIDE, S4_SIDE, 1, 1};
static const int outputs[LAYERS] = {C1_CHANNELS, C3_CHANNELS, C5_UNITS, F6_UNITS, CLASSES};
static const int sides[LAYERS] = {C1_SIDE, C3_SIDE, 1, 1, 1};
static const int kernels[LAYERS] = {KERNEL, KERNEL, KERNEL, 1, 1};
static const int windows[LAYERS] = {2, 2, 1, 1, 1};     /* of pooling */
static const int bands[LAYERS] = {2, C3_SIDE, 1, 1, 1}; /* rows per sum in gradients of weights */

/* For each layer, z = weight x + bias, less its mean if batch normalisation follows, and the next
 * layer's x: ReLU, averaged over windows, times noise, which holds dropout's factors or ones. d_z
 * is the gradient at z. The caller sets x[C1], the parameters, noise and d_z[OUTPUT]. Statistics
 * are mean and unbiased variance. Each array has room for the widest layer. */
typedef float Maps[BATCH][WIDTH][SIDE][SIDE];
Maps x[LAYERS], d_x[LAYERS], z[LAYERS], d_z[LAYERS];
float weight[LAYERS][WIDTH][WIDTH][KERNEL][KERNEL], d_weight[LAYERS][WIDTH][WIDTH][KERNEL][KERNEL];
float bias[LAYERS][WIDTH], norm_weight[NORMS][WIDTH], norm_bias[NORMS][WIDTH];
float d_bias[LAYERS][WIDTH], d_norm_weight[NORMS][WIDTH], d_norm_bias[NORMS][WIDTH];
float noise[LAYERS][BATCH][WIDTH], statistics[NORMS][2][WIDTH];
static float inverse[NORMS][WIDTH], scale[NORMS][WIDTH];
static bool normalised[LAYERS];

typedef struct {
    float total, part;
    int products;
} Sum;

static void add_product(Sum *sum, int l, float a, float b) {
    if (l >= C5 && sum->products++ % PARTIAL_SUM == 0) {
        sum->total += sum->part;
        sum->part = 0.0f;
    }
    sum->part = fmaf(a, b, sum->part);
}

static void convolve(int n, int l) {
    FOR4(image, n, o, outputs[l], row, sides[l], column, sides[l]) {
        Sum sum = {.part = bias[l][o]};
        FOR3(i, inputs[l], ky, kernels[l], kx, kernels[l]) {
            add_product(&sum, l, weight[l][o][i][ky][kx], x[l][image][i][row + ky][column + kx]);
        }
        z[l][image][o][row][column] = sum.total + sum.part;
    }
}

static void input_gradient(int n, int l) {
    FOR4(image, n, i, inputs[l], row, input_sides[l], column, input_sides[l]) {
        Sum sum = {0};
        FOR3(o, outputs[l], ky, kernels[l], z_column, sides[l]) {
            const int z_row = row - ky, kx = column - z_column;
            if (z_row < 0 || z_row >= sides[l] || kx < 0 || kx >= kernels[l]) continue;
            add_product(&sum, l, weight[l][o][i][ky][kx], d_z[l][image][o][z_row][z_column]);
        }
        d_x[l][image][i][row][column] = sum.total + sum.part;
    }
}

static float join(float lanes[LANES]) {
    for (int half = LANES / 2; half > 0; half /= 2) {
        FOR(lane, half) lanes[lane] += lanes[lane + half];
    }
    return lanes[0];
}

static void weight_and_bias_gradient(int n, int l) {
    FOR4(o, outputs[l], i, inputs[l], ky, kernels[l], kx, kernels[l]) {
        float sum = 0.0f, lanes[LANES] = {0}, bias_lanes[LANES] = {0};
        FOR2(image, n, band, sides[l] / bands[l]) {
            float bias_sum = 0.0f;
            if (l < C5) sum = 0.0f;
            FOR2(r, bands[l], column, sides[l]) {
                const int row = band * bands[l] + r;
                const float gradient = d_z[l][image][o][row][column];
                sum = fmaf(gradient, x[l][image][i][row + ky][column + kx], sum);
                bias_sum += gradient;
            }
            lanes[image % LANES] += sum;
            bias_lanes[image % LANES] += bias_sum;
        }
        d_weight[l][o][i][ky][kx] = l < C5 ? join(lanes) : sum;
        d_bias[l][o] = normalised[l] ? 0.0f : join(bias_lanes);
    }
}

/* The sum over the batch of a channel of a or, unless b is NULL, of a times b */
static double channel_sum(int n, int l, int c, Maps a, Maps b, bool backward) {
    const int window = backward ? windows[l] : 1;
    double image_sums[BATCH] = {0}, parts[LANES] = {0}, total = 0.0;
    FOR2(image, n, band, sides[l] / window) {
        float sum = 0.0f;
        FOR3(position, sides[l] / window, i, window, j, window) {
            const int row = band * window + i, column = position * window + j;
            sum = fmaf(a[image][c][row][column], b ? b[image][c][row][column] : 1.0f, sum);
        }
        image_sums[image] += (double)sum;
    }
    FOR(image, n) parts[backward && l == C5 ? image % LANES : image / LANES] += image_sums[image];
    FOR(part, LANES) total += parts[part];
    return total;
}

static void normalise(int n, int l) {
    const double count = (double)n * sides[l] * sides[l];
    FOR(c, outputs[l]) {
        const float mean = (float)(channel_sum(n, l, c, z[l], NULL, false) / count);
        FOR3(image, n, row, sides[l], column, sides[l]) z[l][image][c][row][column] -= mean;
        const double squares = channel_sum(n, l, c, z[l], z[l], false);
        statistics[l][0][c] = mean;
        statistics[l][1][c] = (float)(squares / (count - 1.0));
        inverse[l][c] = (float)(1.0 / sqrt(squares / count + 1e-5));
        scale[l][c] = norm_weight[l][c] * inverse[l][c];
    }
}

static void normalise_backward(int n, int l) {
    const double count = (double)n * sides[l] * sides[l];
    FOR(c, outputs[l]) {
        const double sum = channel_sum(n, l, c, d_z[l], NULL, true);
        const double product = channel_sum(n, l, c, d_z[l], z[l], true) * inverse[l][c];
        d_norm_bias[l][c] = (float)sum;
        d_norm_weight[l][c] = (float)product;
        /* C1 and C3 divide the sums after they are rounded to float32. */
        const float mean = (float)((l == C5 ? sum : d_norm_bias[l][c]) / count);
        const float mean_product = (float)((l == C5 ? product : d_norm_weight[l][c]) / count);
        const float slope = -scale[l][c] * inverse[l][c] * mean_product;
        FOR3(image, n, row, sides[l], column, sides[l]) {
            float *gradient = &d_z[l][image][c][row][column];
            *gradient = fmaf(z[l][image][c][row][column], slope, (*gradient - mean) * scale[l][c]);
        }
    }
}

static float relu(int l, int image, int c, int row, int column) {
    float value = z[l][image][c][row][column];
    if (normalised[l]) value = fmaf(value, scale[l][c], norm_bias[l][c]);
    return value <= 0.0f ? 0.0f : value; /* NaN passes */
}

static void activate(int n, int l) {
    const int window = windows[l], side = input_sides[l + 1];
    FOR4(image, n, c, outputs[l], row, side, column, side) {
        float sum = 0.0f;
        FOR2(i, window, j, window) sum += relu(l, image, c, row * window + i, column * window + j);
        x[l + 1][image][c][row][column] = sum / (float)(window * window) * noise[l][image][c];
    }
}

static void activate_backward(int n, int l) {
    const int window = windows[l];
    FOR4(image, n, c, outputs[l], row, sides[l], column, sides[l]) {
        const float gradient = d_x[l + 1][image][c][row / window][column / window];
        const float passed = relu(l, image, c, row, column) <= 0.0f ? 0.0f : gradient;
        d_z[l][image][c][row][column] = passed / (float)(window * window) * noise[l][image][c];
    }
}

void forward(int n, bool batch_norm) {
    FOR(l, LAYERS) {
        normalised[l] = batch_norm && l < NORMS;
        convolve(n, l);
        if (normalised[l]) normalise(n, l);
        if (l < OUTPUT) activate(n, l);
    }
}

void backward(int n) {
    for (int l = OUTPUT; l >= 0; l--) {
        if (l < OUTPUT) activate_backward(n, l);
        if (normalised[l]) normalise_backward(n, l);
        weight_and_bias_gradient(n, l);
        if (l > 0) input_gradient(n, l);
    }
}
