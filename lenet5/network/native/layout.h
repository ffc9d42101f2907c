/* Where each array lies in the parameter vector and in the workspace. */

#pragma once

#include "norm.h"
#include "sizes.h"

typedef struct {
    LayerParameters c1, c3, c5, f6, output;
} Parameters;

/* Returns the next `size` numbers of `memory` and moves `used` past them. Without memory only
 * `used` matters, which measures a layout. */
static float *take(float *memory, int64_t *used, int64_t size) {
    float *taken = memory ? memory + *used : NULL;
    *used += size;
    return taken;
}

static LayerParameters take_layer(
    float *memory,
    int64_t *used,
    int inputs,
    int outputs,
    bool batch_norm
) {
    LayerParameters layer = {0};
    layer.weight = take(memory, used, (int64_t)outputs * inputs);
    layer.bias = take(memory, used, outputs);
    if (batch_norm) {
        layer.gamma = take(memory, used, outputs);
        layer.beta = take(memory, used, outputs);
    }
    return layer;
}

/* Lays out the parameters, or their gradients, in `vector`, in the order of PyTorch's
 * model.parameters(). Returns their count. */
static int64_t lay_out_parameters(float *vector, bool batch_norm, Parameters *p) {
    int64_t used = 0;
    p->c1 = take_layer(vector, &used, TAPS, C1_CHANNELS, batch_norm);
    p->c3 = take_layer(vector, &used, C1_CHANNELS * TAPS, C3_CHANNELS, batch_norm);
    p->c5 = take_layer(vector, &used, S4_SIZE, C5_UNITS, batch_norm);
    p->f6 = take_layer(vector, &used, C5_UNITS, F6_UNITS, false);
    p->output = take_layer(vector, &used, F6_UNITS, CLASSES, false);
    return used;
}

/* What the backward pass needs of the forward pass, and the gradients of activations. A layer's raw
 * outputs, before normalisation and ReLU, are kept only for batch normalisation. */
typedef struct {
    float *pixels;
    float *c1_raw, *s2;
    float *c3_raw, *s4;
    float *c5_raw, *c5, *c5_noise;
    float *f6, *f6_noise;
    float *logits;
    float *s2_gradient, *s4_gradient, *c5_gradient, *f6_gradient, *logits_gradient;
    int32_t *s2_relu_words, *s4_relu_words;
    Norm *c1_norm, *c3_norm, *c5_norm;
} Workspace;

/* Lays out a workspace for `batch` images in `memory`. Returns its size in floats. */
static int64_t lay_out_workspace(float *memory, int64_t batch, bool batch_norm, Workspace *w) {
    const int64_t images = groups_in(batch) * GROUP;
    const int64_t normalised = batch_norm ? images : 0;
    const int64_t norm_size = batch_norm ? sizeof(Norm) / sizeof(float) : 0;
    int64_t used = 0;
    w->pixels = take(memory, &used, images * PIXELS);
    w->c1_raw = take(memory, &used, normalised * C1_SIZE);
    w->s2 = take(memory, &used, images * S2_SIZE);
    w->c3_raw = take(memory, &used, normalised * C3_SIZE);
    w->s4 = take(memory, &used, images * S4_SIZE);
    w->c5_raw = take(memory, &used, normalised * C5_UNITS);
    w->c5 = take(memory, &used, images * C5_UNITS);
    w->c5_noise = take(memory, &used, images * C5_UNITS);
    w->f6 = take(memory, &used, images * F6_UNITS);
    w->f6_noise = take(memory, &used, images * F6_UNITS);
    w->logits = take(memory, &used, images * CLASSES);
    w->logits_gradient = take(memory, &used, images * CLASSES);
    w->f6_gradient = take(memory, &used, images * F6_UNITS);
    w->c5_gradient = take(memory, &used, images * C5_UNITS);
    w->s4_gradient = take(memory, &used, images * S4_SIZE);
    w->s2_gradient = take(memory, &used, (batch_norm ? images : GROUP) * S2_SIZE);
    w->s2_relu_words = (int32_t *)take(memory, &used, images * S2_RELU_WORDS);
    w->s4_relu_words = (int32_t *)take(memory, &used, images * S4_RELU_WORDS);
    w->c1_norm = (Norm *)take(memory, &used, norm_size);
    w->c3_norm = (Norm *)take(memory, &used, norm_size);
    w->c5_norm = (Norm *)take(memory, &used, norm_size);
    return used;
}
