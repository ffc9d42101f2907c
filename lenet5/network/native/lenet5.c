/* LeNet-5, training step and inference, in float32 on one thread: for every layer, C1 to output, forward and backward.
 *
 * Layout. One and six input channels cannot fill a vector, images can: sixteen of them make a group, and every array
 * in here is groups x features x 16, where features may be channels x height x width. The arithmetic of an image never
 * meets that of another, but for the sums of gradients and of batch statistics. A last group that is not full is padded
 * with black images, which take part in everything but those sums.
 *
 * Same bytes everywhere. Each number is computed by the same operations in the same order whatever the width of the
 * machine's vectors: multiply-adds are fused explicitly (compile with -ffp-contract=off), a lane is one image, sums
 * over a batch are kept apart for the sixteen lanes and joined at the end in one fixed tree.
 *
 * Speed. Accumulators stay in registers, a tile of outputs at a time. Nothing is allocated: what the backward pass
 * needs of the forward pass is in the caller's workspace, a scratch of at most 400 kB on the stack. */

#include "convolution.h"
#include "dense.h"
#include "gather.h"
#include "norm.h"

#define EXPORT __attribute__((visibility("default")))

enum { C5 = 120, F6 = 84, CLASSES = 10, C1_TILE = REGISTERS == 32 ? 6 : 3, C3_TILE = REGISTERS == 32 ? 4 : 2 };

/* The parameters, or their gradients, in the order of PyTorch's model.parameters(). */
typedef struct {
    float *c1_weight, *c1_bias, *c1_gamma, *c1_beta, *c3_weight, *c3_bias, *c3_gamma, *c3_beta;
    float *c5_weight, *c5_bias, *c5_gamma, *c5_beta, *f6_weight, *f6_bias, *output_weight, *output_bias;
} Parameters;

/* The next `size` numbers of the array `from`, or nothing where there is none and only the end, `at`, matters. */
static float *take(float *from, int64_t *at, int64_t size) {
    *at += size;
    return from ? from + *at - size : 0;
}

static Parameters parameters_in(float *v, int batch_norm) {
    const int c1 = batch_norm ? C1_OUT : 0, c3 = batch_norm ? C3_OUT : 0, c5 = batch_norm ? C5 : 0;
    int64_t at = 0;
    Parameters p;
    p.c1_weight = take(v, &at, C1_WEIGHTS), p.c1_bias = take(v, &at, C1_OUT), p.c1_gamma = take(v, &at, c1), p.c1_beta = take(v, &at, c1);
    p.c3_weight = take(v, &at, C3_WEIGHTS), p.c3_bias = take(v, &at, C3_OUT), p.c3_gamma = take(v, &at, c3), p.c3_beta = take(v, &at, c3);
    p.c5_weight = take(v, &at, C5 * S4_SIZE), p.c5_bias = take(v, &at, C5), p.c5_gamma = take(v, &at, c5), p.c5_beta = take(v, &at, c5);
    p.f6_weight = take(v, &at, F6 * C5), p.f6_bias = take(v, &at, F6);
    p.output_weight = take(v, &at, CLASSES * F6), p.output_bias = take(v, &at, CLASSES);
    return p;
}

/* What a backward pass needs of its forward pass, and room for gradients of activations. */
typedef struct {
    float *pixels, *c1_raw, *s2, *c3_raw, *s4, *c5_raw, *c5, *c5_noise, *f6, *f6_noise, *logits;
    float *s2_gradient, *s4_gradient, *c5_gradient, *f6_gradient, *logits_gradient;
    uint8_t *s2_mask, *s4_mask;
    Norm *c1_norm, *c3_norm, *c5_norm;
} Workspace;

/* Lays out the workspace for `groups` groups in `v`, and returns its size. The statistics of the three batch
 * normalisations, five times 120 numbers each, stand first. */
static int64_t workspace_in(float *v, int64_t groups, int batch_norm, Workspace *w) {
    const int64_t n = groups * GROUP, normed = batch_norm ? n : 0;
    int64_t at = 0;
    w->c1_norm = (Norm *)take(v, &at, 5 * WIDEST), w->c3_norm = (Norm *)take(v, &at, 5 * WIDEST);
    w->c5_norm = (Norm *)take(v, &at, 5 * WIDEST);
    w->pixels = take(v, &at, n * PIXELS), w->s2 = take(v, &at, n * S2_SIZE), w->s4 = take(v, &at, n * S4_SIZE);
    w->c1_raw = take(v, &at, normed * C1_SIZE), w->c3_raw = take(v, &at, normed * C3_SIZE), w->c5_raw = take(v, &at, normed * C5);
    w->c5 = take(v, &at, n * C5), w->c5_noise = take(v, &at, n * C5), w->f6 = take(v, &at, n * F6), w->f6_noise = take(v, &at, n * F6);
    w->logits = take(v, &at, n * CLASSES), w->logits_gradient = take(v, &at, n * CLASSES), w->f6_gradient = take(v, &at, n * F6);
    w->c5_gradient = take(v, &at, n * C5), w->s4_gradient = take(v, &at, n * S4_SIZE);
    w->s2_gradient = take(v, &at, (batch_norm ? n : GROUP) * S2_SIZE);
    w->s2_mask = (uint8_t *)take(v, &at, n * S2_SIZE / 4), w->s4_mask = (uint8_t *)take(v, &at, n * S4_SIZE / 4);
    return at;
}

static int64_t groups_of(int64_t batch) { return (batch + GROUP - 1) / GROUP; }

/* The number of float32 a workspace for `batch` images takes. */
EXPORT int64_t workspace_size(int64_t batch, int batch_norm) {
    Workspace w;
    return workspace_in(0, groups_of(batch), batch_norm, &w);
}

/* ---- one group through a convolution block: the loops over what a vector cannot hold of it ---- */

INLINE void c1(const float *pixels, const Parameters *p, float *raw, float *s2, uint8_t *mask) {
    for (int lane = 0; lane < GROUP; lane += LANES)
        convolve(1, SIDE, C1_OUT, C1_TILE, pixels + lane, p->c1_weight, p->c1_bias, raw ? raw + lane : 0,
                 s2 ? s2 + lane : 0, mask ? mask + lane : 0);
}

INLINE void c3(const float *s2, const Parameters *p, float *raw, float *s4, uint8_t *mask) {
    for (int lane = 0; lane < GROUP; lane += LANES)
        convolve(C1_OUT, S2_SIDE, C3_OUT, C3_TILE, s2 + lane, p->c3_weight, p->c3_bias, raw ? raw + lane : 0,
                 s4 ? s4 + lane : 0, mask ? mask + lane : 0);
}

/* Sums over the batch, lanes apart. */
typedef struct {
    float c1_weight[C1_WEIGHTS * GROUP], c1_bias[C1_OUT * GROUP];
    float c3_weight[C3_WEIGHTS * GROUP], c3_bias[C3_OUT * GROUP];
} Sums;

static void c1_weight_gradient(int row, const float *wide, const float *pixels, Sums *sums) {
    for (int lane = 0; lane < GROUP; lane += LANES)
        weight_gradient(1, SIDE, C1_OUT, 2, REGISTERS == 32 ? 3 : 2, row, wide + lane, pixels + lane,
                        sums->c1_weight + lane, sums->c1_bias + lane);
}

static void c3_backward(const float *wide, const float *s2, const Parameters *p, Sums *sums, float *s2_gradient) {
    for (int lane = 0; lane < GROUP; lane += LANES) {
        weight_gradient(C1_OUT, S2_SIDE, C3_OUT, C3_SIDE, REGISTERS == 32 ? 4 : 2, 0, wide + lane, s2 + lane,
                        sums->c3_weight + lane, sums->c3_bias + lane);
        input_gradient(REGISTERS == 32 ? 2 : 1, wide + lane, p->c3_weight, s2_gradient + lane);
    }
}

/* ---- the convolution blocks in training ---- */

static void blocks_forward(int64_t batch, const Parameters *p, const Workspace *w) {
    for (int64_t g = 0; g < groups_of(batch); g++) {
        float *s2 = w->s2 + g * S2_SIZE * GROUP;
        c1(w->pixels + g * PIXELS * GROUP, p, 0, s2, w->s2_mask + g * S2_SIZE * GROUP);
        c3(s2, p, 0, w->s4 + g * S4_SIZE * GROUP, w->s4_mask + g * S4_SIZE * GROUP);
    }
}

static void blocks_backward(int64_t batch, const Parameters *p, const Workspace *w, Sums *sums) {
    float wide[C3_SIZE * GROUP];
    for (int64_t g = 0; g < groups_of(batch); g++) {
        for (int lane = 0; lane < GROUP; lane += LANES)
            unpool(C3_OUT, C3_SIDE, C3_SIDE, 0, w->s4_gradient + g * S4_SIZE * GROUP + lane,
                   w->s4_mask + g * S4_SIZE * GROUP + lane, wide + lane);
        c3_backward(wide, w->s2 + g * S2_SIZE * GROUP, p, sums, w->s2_gradient);
        for (int row = 0; row < S2_SIDE; row++) {
            for (int lane = 0; lane < GROUP; lane += LANES)
                unpool(C1_OUT, C1_SIDE, 2, row, w->s2_gradient + lane, w->s2_mask + g * S2_SIZE * GROUP + lane,
                       wide + lane);
            c1_weight_gradient(2 * row, wide, w->pixels + g * PIXELS * GROUP, sums);
        }
    }
}

static void normalised_blocks_forward(int64_t batch, const Parameters *p, const double *epsilon, const Workspace *w) {
    const int64_t groups = groups_of(batch);
    for (int64_t g = 0; g < groups; g++) c1(w->pixels + g * PIXELS * GROUP, p, w->c1_raw + g * C1_SIZE * GROUP, 0, 0);
    batch_statistics(C1_OUT, C1_SIDE, batch, w->c1_raw, p->c1_gamma, p->c1_beta, epsilon[0], w->c1_norm);
    for (int64_t g = 0; g < groups; g++) {
        float *s2 = w->s2 + g * S2_SIZE * GROUP;
        for (int lane = 0; lane < GROUP; lane += LANES)
            normalise(C1_OUT, C1_SIDE, w->c1_raw + g * C1_SIZE * GROUP + lane, w->c1_norm, s2 + lane);
        c3(s2, p, w->c3_raw + g * C3_SIZE * GROUP, 0, 0);
    }
    batch_statistics(C3_OUT, C3_SIDE, batch, w->c3_raw, p->c3_gamma, p->c3_beta, epsilon[1], w->c3_norm);
    for (int64_t g = 0; g < groups; g++)
        for (int lane = 0; lane < GROUP; lane += LANES)
            normalise(C3_OUT, C3_SIDE, w->c3_raw + g * C3_SIZE * GROUP + lane, w->c3_norm,
                      w->s4 + g * S4_SIZE * GROUP + lane);
}

static void normalised_blocks_backward(int64_t batch, const Parameters *p, const Workspace *w, const Parameters *gradient,
                                       Sums *sums) {
    const int64_t groups = groups_of(batch);
    float wide[C3_SIZE * GROUP];
    norm_gradient(C3_OUT, C3_SIDE, batch, w->c3_raw, w->s4_gradient, w->c3_norm, gradient->c3_gamma, gradient->c3_beta);
    for (int64_t g = 0; g < groups; g++) {
        for (int lane = 0; lane < GROUP; lane += LANES)
            unpool_normalised(C3_OUT, C3_SIDE, C3_SIDE, 0, images_in(g, batch) - lane,
                              (double)batch * C3_SIDE * C3_SIDE, w->c3_raw + g * C3_SIZE * GROUP + lane,
                              w->s4_gradient + g * S4_SIZE * GROUP + lane, w->c3_norm, gradient->c3_gamma,
                              gradient->c3_beta, wide + lane);
        c3_backward(wide, w->s2 + g * S2_SIZE * GROUP, p, sums, w->s2_gradient + g * S2_SIZE * GROUP);
    }
    norm_gradient(C1_OUT, C1_SIDE, batch, w->c1_raw, w->s2_gradient, w->c1_norm, gradient->c1_gamma, gradient->c1_beta);
    for (int64_t g = 0; g < groups; g++)
        for (int row = 0; row < S2_SIDE; row++) {
            for (int lane = 0; lane < GROUP; lane += LANES)
                unpool_normalised(C1_OUT, C1_SIDE, 2, row, images_in(g, batch) - lane,
                                  (double)batch * C1_SIDE * C1_SIDE, w->c1_raw + g * C1_SIZE * GROUP + lane,
                                  w->s2_gradient + g * S2_SIZE * GROUP + lane, w->c1_norm, gradient->c1_gamma,
                                  gradient->c1_beta, wide + lane);
            c1_weight_gradient(2 * row, wide, w->pixels + g * PIXELS * GROUP, sums);
        }
}

/* ---- what Python calls ---- */

/* images: uint8 count x 32 x 32; indices: batch of them, each in [0, count); vector: the parameters; epsilon: of the three
 * batch normalisations; c5_noise, f6_noise: dropout's factors, batch x 120 and batch x 84, or null; room: a workspace;
 * logits: batch x 10. Returns 0 and does nothing if an index is out of range, else 1. */
EXPORT int train_forward(int64_t batch, int64_t count, const uint8_t *images, const int64_t *indices, int batch_norm,
                         float *vector, const double *epsilon, const float *c5_noise, const float *f6_noise,
                         float *room, float *logits) {
    if (!all_exist(batch, count, indices)) return 0;
    const int64_t groups = groups_of(batch);
    const Parameters p = parameters_in(vector, batch_norm);
    Workspace w;
    workspace_in(room, groups, batch_norm, &w);
    for (int64_t g = 0; g < groups; g++) gather_group(images, indices, g, batch, w.pixels + g * PIXELS * GROUP);
    if (batch_norm)
        normalised_blocks_forward(batch, &p, epsilon, &w);
    else
        blocks_forward(batch, &p, &w);
    dense(batch, S4_SIZE, C5, p.c5_weight, S4_SIZE, 1, p.c5_bias, w.s4, batch_norm ? w.c5_raw : w.c5);
    if (batch_norm) {
        batch_statistics(C5, 1, batch, w.c5_raw, p.c5_gamma, p.c5_beta, epsilon[2], w.c5_norm);
        normalise_layer(C5, batch, w.c5_raw, w.c5_norm, w.c5);
    }
    if (c5_noise) rows_to_groups(batch, C5, c5_noise, w.c5_noise);
    if (f6_noise) rows_to_groups(batch, F6, f6_noise, w.f6_noise);
    relu_dropout(groups * C5 * GROUP, c5_noise ? w.c5_noise : 0, w.c5);
    dense(batch, C5, F6, p.f6_weight, C5, 1, p.f6_bias, w.c5, w.f6);
    relu_dropout(groups * F6 * GROUP, f6_noise ? w.f6_noise : 0, w.f6);
    dense(batch, F6, CLASSES, p.output_weight, F6, 1, p.output_bias, w.f6, w.logits);
    groups_to_rows(batch, CLASSES, w.logits, logits);
    return 1;
}

/* From the gradient at the logits to that at the parameters, with the workspace of the forward pass. Batch normalisation
 * takes away what the biases before it add, so their gradients are exactly zero. */
EXPORT void train_backward(int64_t batch, int batch_norm, int dropout, float *vector, float *room,
                           const float *logits_gradient, float *vector_gradient) {
    const int64_t groups = groups_of(batch);
    const Parameters p = parameters_in(vector, batch_norm), gradient = parameters_in(vector_gradient, batch_norm);
    Workspace w;
    Sums sums;
    memset(&sums, 0, sizeof sums);
    workspace_in(room, groups, batch_norm, &w);
    rows_to_groups(batch, CLASSES, logits_gradient, w.logits_gradient);
    dense_weight_gradient(batch, F6, CLASSES, w.f6, w.logits_gradient, gradient.output_weight, gradient.output_bias);
    dense(batch, CLASSES, F6, p.output_weight, 1, F6, 0, w.logits_gradient, w.f6_gradient);
    relu_dropout_backward(groups * F6 * GROUP, dropout ? w.f6_noise : 0, w.f6, w.f6_gradient);
    dense_weight_gradient(batch, C5, F6, w.c5, w.f6_gradient, gradient.f6_weight, gradient.f6_bias);
    dense(batch, F6, C5, p.f6_weight, 1, C5, 0, w.f6_gradient, w.c5_gradient);
    relu_dropout_backward(groups * C5 * GROUP, dropout ? w.c5_noise : 0, w.c5, w.c5_gradient);
    if (batch_norm)
        normalise_layer_backward(C5, batch, w.c5_raw, w.c5_norm, w.c5_gradient, gradient.c5_gamma, gradient.c5_beta);
    dense_weight_gradient(batch, S4_SIZE, C5, w.s4, w.c5_gradient, gradient.c5_weight, gradient.c5_bias);
    dense(batch, C5, S4_SIZE, p.c5_weight, 1, S4_SIZE, 0, w.c5_gradient, w.s4_gradient);
    if (batch_norm)
        normalised_blocks_backward(batch, &p, &w, &gradient, &sums);
    else
        blocks_backward(batch, &p, &w, &sums);
    join_lanes(C1_WEIGHTS, sums.c1_weight, gradient.c1_weight);
    join_lanes(C1_OUT, sums.c1_bias, gradient.c1_bias);
    join_lanes(C3_WEIGHTS, sums.c3_weight, gradient.c3_weight);
    join_lanes(C3_OUT, sums.c3_bias, gradient.c3_bias);
    if (batch_norm) {
        memset(gradient.c1_bias, 0, C1_OUT * sizeof(float));
        memset(gradient.c3_bias, 0, C3_OUT * sizeof(float));
        memset(gradient.c5_bias, 0, C5 * sizeof(float));
    }
}

/* Logits, batch x 10, without a workspace; the parameters are those of a model without batch normalisation. */
EXPORT int infer(int64_t batch, int64_t count, const uint8_t *images, const int64_t *indices, float *vector,
                 float *logits) {
    enum { AT_ONCE = GROUPS_AT_ONCE * GROUP };
    float pixels[PIXELS * GROUP], s2[S2_SIZE * GROUP];
    float s4[S4_SIZE * AT_ONCE], c5[C5 * AT_ONCE], f6[F6 * AT_ONCE], grouped[CLASSES * AT_ONCE];
    if (!all_exist(batch, count, indices)) return 0;
    const Parameters p = parameters_in(vector, 0);
    for (int64_t from = 0; from < batch; from += AT_ONCE) {
        const int64_t some = batch - from < AT_ONCE ? batch - from : AT_ONCE;
        for (int64_t g = 0; g < groups_of(some); g++) {
            gather_group(images, indices + from, g, some, pixels);
            c1(pixels, &p, 0, s2, 0);
            c3(s2, &p, 0, s4 + g * S4_SIZE * GROUP, 0);
        }
        dense(some, S4_SIZE, C5, p.c5_weight, S4_SIZE, 1, p.c5_bias, s4, c5);
        relu_dropout(groups_of(some) * C5 * GROUP, 0, c5);
        dense(some, C5, F6, p.f6_weight, C5, 1, p.f6_bias, c5, f6);
        relu_dropout(groups_of(some) * F6 * GROUP, 0, f6);
        dense(some, F6, CLASSES, p.output_weight, F6, 1, p.output_bias, f6, grouped);
        groups_to_rows(some, CLASSES, grouped, logits + from * CLASSES);
    }
    return 1;
}
