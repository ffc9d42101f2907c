/* LeNet-5, training step and inference, in float32 on one thread: for every layer, C1 to output,
 * forward and backward. tests/lenet5/network/reference.c computes the same bytes with plain loops.
 *
 * Layout. Sixteen images form a group, and every array in here is groups x features x 16, where
 * features may be channels x height x width. Images are combined only in the sums of gradients and
 * of batch statistics. A last group that is not full is padded with black images, which are
 * processed but excluded from those sums.
 *
 * Same bytes everywhere. Each number is computed by the same operations in the same order whatever
 * the width of the machine's vectors: multiply-adds are fused explicitly (compile with
 * -ffp-contract=off), a lane is one image, and sums over a batch are kept apart for the sixteen
 * lanes and joined at the end in a fixed tree.
 *
 * Speed. Sums stay in registers, a tile of outputs at a time. Nothing is allocated: what the
 * backward pass needs of the forward pass is in the caller's workspace, and at most 400 kB are on
 * the stack. */

#include "blocks.h"
#include "dense.h"
#include "gather.h"
#include "layout.h"
#include "norm_backward.h"
#include "sizes.h"

#define EXPORT __attribute__((visibility("default")))

/* For Python: the outputs of each layer, to compare with a model's, and the length of the rows of
 * `statistics`. */
EXPORT const int64_t layer_outputs[5] = {C1_CHANNELS, C3_CHANNELS, C5_UNITS, F6_UNITS, CLASSES};
EXPORT const int64_t statistics_width = WIDEST_NORM;

/* Returns the number of parameters of the model. */
EXPORT int64_t parameter_count(bool batch_norm) {
    Parameters p;
    return lay_out_parameters(NULL, batch_norm, &p);
}

/* Returns the size of a workspace for `batch` images, in floats. */
EXPORT int64_t workspace_size(int64_t batch, bool batch_norm) {
    Workspace w;
    return lay_out_workspace(NULL, batch, batch_norm, &w);
}

/* Returns dropout's factors, batch x units, in the layout of the kernels; NULL if there are none.
 */
static const float *grouped_noise(int64_t batch, int units, const float *noise, float *grouped) {
    if (!noise) return NULL;
    rows_to_groups(batch, units, noise, grouped);
    return grouped;
}

/* Returns false, having done nothing, if an index is out of range.
 *
 * images: image_count x 32 x 32; indices: `batch` of them, each in [0, image_count); parameters: in
 * the order of model.parameters(); epsilons: NULL without batch normalisation; c5_noise, f6_noise:
 * dropout's factors, batch x 120 and batch x 84, or NULL; workspace: of workspace_size(batch,
 * batch_norm) floats, which train_backward reads; statistics: written to with batch normalisation,
 * else NULL; logits: batch x CLASSES. */
EXPORT bool train_forward(
    int64_t batch,
    int64_t image_count,
    const uint8_t *images,
    const int64_t *indices,
    bool batch_norm,
    float *parameters,
    const Epsilons *epsilons,
    const float *c5_noise,
    const float *f6_noise,
    float *workspace,
    Statistics *statistics,
    float *logits
) {
    if (!all_in_range(batch, indices, image_count)) return false;
    const int64_t groups = groups_in(batch);
    Parameters p;
    Workspace w;
    lay_out_parameters(parameters, batch_norm, &p);
    lay_out_workspace(workspace, batch, batch_norm, &w);
    for (int64_t g = 0; g < groups; g++) {
        gather_group(images, indices, g, batch, w.pixels + g * PIXELS * GROUP);
    }
    if (batch_norm) {
        normalised_blocks_forward(batch, &p, epsilons, &w, statistics);
        dense(batch, affine(S4_SIZE, C5_UNITS, p.c5), w.s4, w.c5_raw);
        batch_statistics(C5, batch, w.c5_raw, p.c5, epsilons->c5, w.c5_norm, &statistics->c5);
        normalise_c5(batch, w.c5_raw, w.c5_norm, w.c5);
    } else {
        blocks_forward(batch, &p, &w);
        dense(batch, affine(S4_SIZE, C5_UNITS, p.c5), w.s4, w.c5);
    }
    relu_dropout(
        groups * C5_UNITS * GROUP, grouped_noise(batch, C5_UNITS, c5_noise, w.c5_noise), w.c5
    );
    dense(batch, affine(C5_UNITS, F6_UNITS, p.f6), w.c5, w.f6);
    relu_dropout(
        groups * F6_UNITS * GROUP, grouped_noise(batch, F6_UNITS, f6_noise, w.f6_noise), w.f6
    );
    dense(batch, affine(F6_UNITS, CLASSES, p.output), w.f6, w.logits);
    groups_to_rows(batch, CLASSES, w.logits, logits);
    return true;
}

/* From the gradient at the logits, batch x CLASSES, to that at the parameters, with the workspace
 * that train_forward filled. Batch normalisation subtracts what the biases before it add, so their
 * gradients are exactly zero. */
EXPORT void train_backward(
    int64_t batch,
    bool batch_norm,
    bool dropout,
    float *parameters,
    float *workspace,
    const float *logits_gradient,
    float *parameters_gradient
) {
    const int64_t groups = groups_in(batch);
    Parameters p, gradient;
    Workspace w;
    lay_out_parameters(parameters, batch_norm, &p);
    lay_out_parameters(parameters_gradient, batch_norm, &gradient);
    lay_out_workspace(workspace, batch, batch_norm, &w);
    const Affine c5 = affine(S4_SIZE, C5_UNITS, p.c5);
    const Affine f6 = affine(C5_UNITS, F6_UNITS, p.f6);
    const Affine output = affine(F6_UNITS, CLASSES, p.output);
    Sums sums;
    memset(&sums, 0, sizeof sums);
    const float *c5_noise = dropout ? w.c5_noise : NULL;
    const float *f6_noise = dropout ? w.f6_noise : NULL;

    rows_to_groups(batch, CLASSES, logits_gradient, w.logits_gradient);
    dense_weight_gradient(batch, output, w.f6, w.logits_gradient, gradient.output);
    dense(batch, transposed(output), w.logits_gradient, w.f6_gradient);
    relu_dropout_backward(groups * F6_UNITS * GROUP, f6_noise, w.f6, w.f6_gradient);
    dense_weight_gradient(batch, f6, w.c5, w.f6_gradient, gradient.f6);
    dense(batch, transposed(f6), w.f6_gradient, w.c5_gradient);
    relu_dropout_backward(groups * C5_UNITS * GROUP, c5_noise, w.c5, w.c5_gradient);
    if (batch_norm) normalise_c5_backward(batch, w.c5_raw, w.c5_norm, gradient.c5, w.c5_gradient);
    dense_weight_gradient(batch, c5, w.s4, w.c5_gradient, gradient.c5);
    dense(batch, transposed(c5), w.c5_gradient, w.s4_gradient);
    if (batch_norm) {
        normalised_blocks_backward(batch, &p, &w, &gradient, &sums);
    } else {
        blocks_backward(batch, &p, &w, &sums);
    }
    join_lanes(C1_WEIGHTS, sums.c1_weight, gradient.c1.weight);
    join_lanes(C1_CHANNELS, sums.c1_bias, gradient.c1.bias);
    join_lanes(C3_WEIGHTS, sums.c3_weight, gradient.c3.weight);
    join_lanes(C3_CHANNELS, sums.c3_bias, gradient.c3.bias);
    if (batch_norm) {
        memset(gradient.c1.bias, 0, C1_CHANNELS * sizeof(float));
        memset(gradient.c3.bias, 0, C3_CHANNELS * sizeof(float));
        memset(gradient.c5.bias, 0, C5_UNITS * sizeof(float));
    }
}

/* Writes logits, batch x CLASSES, without a workspace. The parameters are those of a model without
 * batch normalisation. Returns false, having done nothing, if an index is out of range. */
EXPORT bool infer(
    int64_t batch,
    int64_t image_count,
    const uint8_t *images,
    const int64_t *indices,
    float *parameters,
    float *logits
) {
    enum { AT_ONCE = GROUPS_AT_ONCE * GROUP };
    float pixels[PIXELS * GROUP], s2[S2_SIZE * GROUP], s4[S4_SIZE * AT_ONCE];
    float c5[C5_UNITS * AT_ONCE], f6[F6_UNITS * AT_ONCE], grouped_logits[CLASSES * AT_ONCE];
    if (!all_in_range(batch, indices, image_count)) return false;
    SHOW_TO_BARRIER(pixels);
    SHOW_TO_BARRIER(s2);
    const bool batch_norm = false;
    const float *no_noise = NULL;
    Parameters p;
    lay_out_parameters(parameters, batch_norm, &p);
    for (int64_t first = 0; first < batch; first += AT_ONCE) {
        const int64_t count = batch - first < AT_ONCE ? batch - first : AT_ONCE;
        const int64_t groups = groups_in(count);
        for (int64_t g = 0; g < groups; g++) {
            gather_group(images, indices + first, g, count, pixels);
            convolve(IMAGE, C1, C1_TILE, pixels, p.c1, (ConvolutionResults){.pooled = s2});
            float *pooled = s4 + g * S4_SIZE * GROUP;
            convolve(S2, C3, C3_TILE, s2, p.c3, (ConvolutionResults){.pooled = pooled});
        }
        dense(count, affine(S4_SIZE, C5_UNITS, p.c5), s4, c5);
        relu_dropout(groups * C5_UNITS * GROUP, no_noise, c5);
        dense(count, affine(C5_UNITS, F6_UNITS, p.f6), c5, f6);
        relu_dropout(groups * F6_UNITS * GROUP, no_noise, f6);
        dense(count, affine(F6_UNITS, CLASSES, p.output), f6, grouped_logits);
        groups_to_rows(count, CLASSES, grouped_logits, logits + first * CLASSES);
    }
    return true;
}
