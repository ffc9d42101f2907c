/* Runs every function of the native backend on buffers of exactly the size it may touch, for the
 * sanitizers, and prints a hash of all results, to compare with the hash of another processor's
 * build. Compile with -I naming the folder of lenet5.c. */

#include <stdio.h>
#include <stdlib.h>

#include "lenet5.c"

static uint64_t state = 1;
static uint64_t hash = 14695981039346656037u;

/* Knuth's MMIX generator, since each C library has a different rand(). */
static int random_31_bits(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int)(state >> 33);
}

/* FNV-1a, 64 bits */
static void add_to_hash(const float *array, int64_t count) {
    const unsigned char *bytes = (const unsigned char *)array;
    for (int64_t i = 0; i < count * 4; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
}

static float *random_array(int64_t count) {
    float *array = malloc((size_t)count * sizeof(float));
    for (int64_t i = 0; i < count; i++)
        array[i] = (float)(random_31_bits() % 2001 - 1000) / 20000.0f;
    return array;
}

/* An array of NaN: a number that is read before it is written shows in the hash. */
static float *unwritten_array(int64_t count) {
    return memset(malloc((size_t)count * sizeof(float)), 0xff, (size_t)count * sizeof(float));
}

static void run(int64_t batch, bool batch_norm, bool dropout) {
    enum { IMAGES = 3 };
    const Epsilons epsilons = {1e-5, 1e-5, 1e-5};
    Parameters layout;
    const int64_t count = lay_out_parameters(NULL, batch_norm, &layout);
    uint8_t *images = malloc(IMAGES * PIXELS);
    int64_t *indices = malloc((size_t)batch * sizeof *indices);
    float *parameters = random_array(count);
    float *gradient = random_array(count);
    float *logits = random_array(batch * CLASSES);
    float *c5_noise = random_array(batch * C5_UNITS);
    float *f6_noise = random_array(batch * F6_UNITS);
    float *workspace = unwritten_array(workspace_size(batch, batch_norm));
    Statistics *statistics = malloc(sizeof *statistics);
    for (int i = 0; i < IMAGES * PIXELS; i++) images[i] = (uint8_t)random_31_bits();
    for (int64_t i = 0; i < batch; i++) indices[i] = i % IMAGES;

    bool valid = train_forward(
        batch, IMAGES, images, indices, batch_norm, parameters, &epsilons,
        dropout ? c5_noise : NULL, dropout ? f6_noise : NULL, workspace, statistics, logits
    );
    add_to_hash(logits, batch * CLASSES);
    train_backward(batch, batch_norm, dropout, parameters, workspace, logits, gradient);
    add_to_hash(gradient, count);
    if (!batch_norm) valid &= infer(batch, IMAGES, images, indices, parameters, logits);
    add_to_hash(logits, batch * CLASSES);
    indices[batch - 1] = IMAGES;
    if (!valid || infer(batch, IMAGES, images, indices, parameters, logits)) abort();

    void *arrays[] = {images,   indices,  parameters, gradient,  logits,
                      c5_noise, f6_noise, workspace,  statistics};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
}

int main(void) {
    const int64_t batches[] = {2, 7, 16, 63, 64, 65};
    run(1, false, false);
    for (int i = 0; i < 6; i++) {
        const bool batch_norm = i % 2;
        const bool dropout = i % 3 == 0;
        run(batches[i], batch_norm, dropout);
        run(batches[i], !batch_norm, false);
    }
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
