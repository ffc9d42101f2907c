/* The training step and inference of LeNet-5 in plain loops over images x channels x rows x
 * columns: the readable definition of what the native backend's fast kernels compute, byte for
 * byte. Compile with -ffp-contract=off and -I naming the folder of sizes.h.
 *
 * A float32 sum depends on its order, which is the same for every layout and vector width:
 * - fmaf adds every product with a single rounding.
 * - An output of a convolution starts at the bias and adds, for each input channel and each row of
 *   the kernel, the products along that row.
 * - A dense layer adds partial sums of 32 products, each of which starts at zero.
 * - The gradient of a convolution's weight or bias sums over each image (in C1, over each pair of
 *   rows), adds that to one of 16 lanes, image i to lane i % 16, and joins the lanes in a tree.
 *   So does that of a dense layer's bias; that of its weight adds one image after another.
 * - Batch statistics sum rows in float32; then images, groups of 16 and the batch in float64. */

#include <assert.h>

#include "reference_convolution.h"
#include "reference_layers.h"

#define EXPORT __attribute__((visibility("default")))

static float pixels[MAX_BATCH * PIXELS], s2[MAX_BATCH * S2_SIZE], s4[MAX_BATCH * S4_SIZE];
static float c5_y[MAX_BATCH * C5_UNITS], f6_y[MAX_BATCH * F6_UNITS];
static float ds2[MAX_BATCH * S2_SIZE], ds4[MAX_BATCH * S4_SIZE];
static float dc5[MAX_BATCH * C5_UNITS], df6[MAX_BATCH * F6_UNITS];

/* in, out, side, band, x, y, dx, dy */
static Layer c1 = {1, C1_CHANNELS, C1_SIDE, 2, pixels, s2, NULL, ds2};
static Layer c3 = {C1_CHANNELS, C3_CHANNELS, C3_SIDE, C3_SIDE, s2, s4, ds2, ds4};
static Layer c5 = {S4_SIZE, C5_UNITS, 1, 1, s4, c5_y, ds4, dc5};
static Layer f6 = {C5_UNITS, F6_UNITS, 1, 1, c5_y, f6_y, dc5, df6};
static Layer output = {F6_UNITS, CLASSES, 1, 1, f6_y, NULL, df6, NULL};
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

static bool set_pixels(
    int64_t batch,
    int64_t image_count,
    const uint8_t *images,
    const int64_t *indices
) {
    assert(batch <= MAX_BATCH);
    FOR (i, batch) {
        if (indices[i] < 0 || indices[i] >= image_count) return false;
        FOR (pixel, PIXELS) {
            pixels[i * PIXELS + pixel] = images[indices[i] * PIXELS + pixel] / 255.0f;
        }
    }
    return true;
}

static void set_parameters(float *parameters, bool batch_norm) {
    FOR (i, 5) {
        layers[i]->batch_norm = batch_norm && i < 3;
        layers[i]->p = take_parameters(&parameters, layers[i]);
    }
}

static void set_noise(int n, Layer *l, const float *noise) {
    FOR (i, n * l->out) l->noise[i] = noise ? noise[i] : 1.0f;
}

static void forward(int n, float *logits) {
    convolve(n, &c1);
    batch_statistics(n, &c1);
    pool(n, &c1);
    convolve(n, &c3);
    batch_statistics(n, &c3);
    pool(n, &c3);
    dense(n, &c5);
    batch_statistics(n, &c5);
    activate(n, &c5);
    dense(n, &f6);
    activate(n, &f6);
    dense(n, &output);
    memcpy(logits, output.z, (size_t)n * CLASSES * sizeof(float));
}

/* ---- the interface of lenet5.c; activations are in static arrays, not in the workspace ---- */

EXPORT const int64_t layer_outputs[5] = {C1_CHANNELS, C3_CHANNELS, C5_UNITS, F6_UNITS, CLASSES};
EXPORT const int64_t statistics_width = WIDEST_NORM;

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
    if (!set_pixels(batch, image_count, images, indices)) return false;
    set_parameters(parameters, batch_norm);
    FOR (i, batch_norm ? 3 : 0) {
        layers[i]->epsilon = epsilons[i];
        layers[i]->statistics = statistics[i];
    }
    set_noise((int)batch, &c5, c5_noise);
    set_noise((int)batch, &f6, f6_noise);
    forward((int)batch, logits);
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
    if (!set_pixels(batch, image_count, images, indices)) return false;
    const bool batch_norm = false;
    const float *no_noise = NULL;
    set_parameters(parameters, batch_norm);
    set_noise((int)batch, &c5, no_noise);
    set_noise((int)batch, &f6, no_noise);
    forward((int)batch, logits);
    return true;
}
