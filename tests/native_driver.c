/* Runs every function of the native backend on buffers of exactly the size it may touch, for the sanitizers, and prints
 * a hash of all that they computed, to compare with that of another processor's build. */

#include <stdio.h>
#include <stdlib.h>

#include "../stages/native/lenet5.c"

static uint64_t state = 1, hash = 14695981039346656037u;

/* Knuth's MMIX generator: the C library's differs between libraries. */
static int drawn(void) { return (int)((state = state * 6364136223846793005u + 1442695040888963407u) >> 33); }

/* FNV-1a, 64 bits. */
static void add_to_hash(const float *array, int64_t count) {
    const unsigned char *bytes = (const unsigned char *)array;
    for (int64_t i = 0; i < count * 4; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
}

static float *room_for(int64_t count) {
    float *array = malloc((size_t)count * sizeof(float));
    for (int64_t i = 0; i < count; i++) array[i] = (float)(drawn() % 2001 - 1000) / 20000.0f;
    return array;
}

static void run(int64_t batch, int batch_norm, int dropout) {
    enum { IMAGES = 3 };
    const int64_t parameters = 61706 + (batch_norm ? 2 * (C1_OUT + C3_OUT + C5) : 0);
    const double epsilon[3] = {1e-5, 1e-5, 1e-5};
    uint8_t *images = malloc(IMAGES * PIXELS);
    int64_t *indices = malloc((size_t)batch * sizeof *indices);
    float *vector = room_for(parameters), *gradient = room_for(parameters), *logits = room_for(batch * CLASSES);
    float *c5_noise = room_for(batch * C5), *f6_noise = room_for(batch * F6);
    float *workspace = room_for(workspace_size(batch, batch_norm));
    for (int i = 0; i < IMAGES * PIXELS; i++) images[i] = (uint8_t)drawn();
    for (int64_t i = 0; i < batch; i++) indices[i] = i % IMAGES;
    int ran = train_forward(batch, IMAGES, images, indices, batch_norm, vector, epsilon, dropout ? c5_noise : 0,
                            dropout ? f6_noise : 0, workspace, logits);
    add_to_hash(logits, batch * CLASSES);
    train_backward(batch, batch_norm, dropout, vector, workspace, logits, gradient);
    add_to_hash(gradient, parameters);
    if (!batch_norm) ran &= infer(batch, IMAGES, images, indices, vector, logits);
    add_to_hash(logits, batch * CLASSES);
    indices[batch - 1] = IMAGES;
    if (!ran || infer(batch, IMAGES, images, indices, vector, logits)) abort();
    void *all[] = {images, indices, vector, gradient, logits, c5_noise, f6_noise, workspace};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

int main(void) {
    const int64_t batches[] = {2, 7, 16, 63, 64, 65};
    run(1, 0, 0);
    for (int i = 0; i < 6; i++) run(batches[i], i % 2, i % 3 == 0), run(batches[i], (i + 1) % 2, 0);
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
