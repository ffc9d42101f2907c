/* The training step and inference of LeNet-5 in plain loops over images x channels x rows x
 * columns: the readable definition of what the fast kernels of the native backend compute, byte for
 * byte. Compile with -ffp-contract=off and -I naming the folder of sizes.h.
 *
 * A float32 sum depends on its order. Here it is the same for every layout and vector width:
 * - fmaf adds every product with a single rounding.
 * - An output of a convolution starts at the bias and adds input channels, kernel rows, kernel
 * columns.
 * - A dense layer adds partial sums of 32 products, each of which starts at zero.
 * - The gradient of a convolution's weight or bias, or of a dense layer's bias, adds a sum over
 * each image (in C1, over each pair of rows) to one of 16 lanes, image i to lane i % 16, and joins
 * the lanes in a tree. The gradient of a dense layer's weight adds one image after another.
 * - Batch statistics sum each row in float32, then images, groups of 16 and the batch in float64.
 */

#include <assert.h>

#include "reference_convolution.h"
#include "reference_layers.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT const int64_t layer_outputs[5] = {C1_CHANNELS, C3_CHANNELS, C5_UNITS, F6_UNITS, CLASSES};
EXPORT const int64_t statistics_width = WIDEST_NORM;

static float pixels[MAX_BATCH * PIXELS], s2[MAX_BATCH * S2_SIZE], s4[MAX_BATCH * S4_SIZE];
static float c5_y[MAX_BATCH * C5_UNITS], f6_y[MAX_BATCH * F6_UNITS];
static float ds2[MAX_BATCH * S2_SIZE], ds4[MAX_BATCH * S4_SIZE];
static float dc5[MAX_BATCH * C5_UNITS], df6[MAX_BATCH * F6_UNITS];
static Layer c1 = {
    .in = 1,
    .out = C1_CHANNELS,
    .side = C1_SIDE,
    .band = 2,
    .x = pixels,
    .y = s2,
    .dy = ds2,
};
static Layer c3 = {
    .in = C1_CHANNELS,
    .out = C3_CHANNELS,
    .side = C3_SIDE,
    .band = C3_SIDE,
    .x = s2,
    .y = s4,
    .dx = ds2,
    .dy = ds4,
};
static Layer c5 = {
    .in = S4_SIZE,
    .out = C5_UNITS,
    .side = 1,
    .x = s4,
    .y = c5_y,
    .dx = ds4,
    .dy = dc5,
};
static Layer f6 = {
    .in = C5_UNITS,
    .out = F6_UNITS,
    .side = 1,
    .x = c5_y,
    .y = f6_y,
    .dx = dc5,
    .dy = df6,
};
static Layer output = {
    .in = F6_UNITS,
    .out = CLASSES,
    .side = 1,
    .x = f6_y,
    .dx = df6,
};
static Layer *const layers[] = {&c1, &c3, &c5, &f6, &output};

static float *take(float **memory, int size) {
    float *taken = *memory;
    *memory += size;
    return taken;
}

/* Finds a layer's parameters, or their gradients, at the front of a vector. */
static Parameters take_parameters(float **vector, const Layer *l) {
    const bool convolution = l->side > 1;
    Parameters p = {0};
    p.weight = take(vector, l->out * l->in * (convolution ? TAPS : 1));
    p.bias = take(vector, l->out);
    if (l->batch_norm) {
        p.gamma = take(vector, l->out);
        p.beta = take(vector, l->out);
    }
    return p;
}

static void set_noise(int n, Layer *l, const float *noise) {
    FOR (i, n * l->out) l->noise[i] = noise ? noise[i] : 1.0f;
}

/* The activations are in static arrays, not in the caller's workspace. */
EXPORT int64_t workspace_size(int64_t batch, bool batch_norm) {
    (void)batch;
    (void)batch_norm;
    return 0;
}

EXPORT bool train_forward(
    int64_t batch,
    int64_t image_count,
    const uint8_t *images,
    const int64_t *indices,
    bool batch_norm,
    float *parameters,
    const double epsilons[3],
    const float *c5_noise,
    const float *f6_noise,
    float *workspace,
    float statistics[3][2][WIDTH],
    float *logits
) {
    (void)workspace;
    assert(batch <= MAX_BATCH);
    const int n = (int)batch;
    FOR (i, n) {
        if (indices[i] < 0 || indices[i] >= image_count) return false;
        FOR (pixel, PIXELS) {
            pixels[i * PIXELS + pixel] = images[indices[i] * PIXELS + pixel] / 255.0f;
        }
    }
    FOR (i, 5) {
        layers[i]->batch_norm = batch_norm && i < 3;
        layers[i]->p = take_parameters(&parameters, layers[i]);
    }
    set_noise(n, &c5, c5_noise);
    set_noise(n, &f6, f6_noise);

    convolve(n, &c1);
    if (batch_norm) batch_statistics(n, &c1, epsilons[0], statistics[0]);
    pool(n, &c1);
    convolve(n, &c3);
    if (batch_norm) batch_statistics(n, &c3, epsilons[1], statistics[1]);
    pool(n, &c3);
    dense(n, &c5);
    if (batch_norm) batch_statistics(n, &c5, epsilons[2], statistics[2]);
    activate(n, &c5);
    dense(n, &f6);
    activate(n, &f6);
    dense(n, &output);
    memcpy(logits, output.z, (size_t)n * CLASSES * sizeof(float));
    return true;
}

EXPORT void train_backward(
    int64_t batch,
    bool batch_norm,
    bool dropout,
    float *parameters,
    float *workspace,
    const float *logits_gradient,
    float *parameters_gradient
) {
    (void)batch_norm;
    (void)dropout;
    (void)parameters;
    (void)workspace;
    const int n = (int)batch;
    FOR (i, 5) layers[i]->gradient = take_parameters(&parameters_gradient, layers[i]);
    memcpy(output.dz, logits_gradient, (size_t)n * CLASSES * sizeof(float));
    dense_backward(n, &output);
    activate_backward(n, &f6);
    dense_backward(n, &f6);
    activate_backward(n, &c5);
    dense_backward(n, &c5);
    pool_backward(n, &c3);
    convolve_backward(n, &c3);
    pool_backward(n, &c1);
    convolve_backward(n, &c1);
}

EXPORT bool infer(
    int64_t batch,
    int64_t image_count,
    const uint8_t *images,
    const int64_t *indices,
    float *parameters,
    float *logits
) {
    const bool batch_norm = false;
    return train_forward(
        batch, image_count, images, indices, batch_norm, parameters, NULL, NULL, NULL, NULL, NULL,
        logits
    );
}
