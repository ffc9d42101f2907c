/* Runs every function of the native backend on buffers of exactly the size it may touch, for the sanitizers. */

#include <stdio.h>
#include <stdlib.h>

#include "../stages/native/lenet5.c"

static float *room_for(int64_t count) {
    float *array = malloc((size_t)count * sizeof(float));
    for (int64_t i = 0; i < count; i++) array[i] = (float)(rand() % 2001 - 1000) / 20000.0f;
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
    for (int i = 0; i < IMAGES * PIXELS; i++) images[i] = (uint8_t)rand();
    for (int64_t i = 0; i < batch; i++) indices[i] = i % IMAGES;
    int ran = train_forward(batch, IMAGES, images, indices, batch_norm, vector, epsilon, dropout ? c5_noise : 0,
                            dropout ? f6_noise : 0, workspace, logits);
    train_backward(batch, batch_norm, dropout, vector, workspace, logits, gradient);
    if (!batch_norm) ran &= infer(batch, IMAGES, images, indices, vector, logits);
    indices[batch - 1] = IMAGES;
    if (!ran || infer(batch, IMAGES, images, indices, vector, logits)) abort();
    void *all[] = {images, indices, vector, gradient, logits, c5_noise, f6_noise, workspace};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

int main(void) {
    const int64_t batches[] = {2, 7, 16, 63, 64, 65};
    run(1, 0, 0);
    for (int i = 0; i < 6; i++) run(batches[i], i % 2, i % 3 == 0), run(batches[i], (i + 1) % 2, 0);
    puts("ran");
    return 0;
}
