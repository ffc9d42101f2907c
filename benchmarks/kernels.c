/* Times the kernels of a training step, each on a batch of 64 images, in turns with a loop that
 * does nothing but multiply-adds: the limit of one core. Prints GFLOP/s as JSON, from the shortest
 * of REPEATS times: `kernels REPEATS`. benchmarks/kernels.py compiles and runs it. */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lenet5.c"
#include "limit.c"

enum { BATCH = 64, GROUPS = BATCH / GROUP };

/* Multiply-adds. The gradient at C3's input has as many as C3 itself, since each output of C3
 * depends on 6 x 25 inputs: the zeros around a full correlation do not count. */
enum {
    OF_C1 = BATCH * C1_SIZE * TAPS,
    OF_C3 = BATCH * C3_SIZE * C1_CHANNELS * TAPS,
    OF_C5 = BATCH * C5_UNITS * S4_SIZE,
    LIMIT = OF_C3,
};

/* Not static, so that the compiler cannot know that nobody reads the results. */
Parameters parameters, gradient;
Workspace workspace;
Sums sums;
float raw_gradient[C3_SIZE * GROUP];
volatile float limit_factor = 0.5f, limit_term = 1.0f, limit_result;

static void limit(void) { limit_result = multiply_adds(LIMIT, limit_factor, limit_term); }

static float *pixels_of(int64_t group) { return workspace.pixels + group * PIXELS * GROUP; }
static float *s2_of(int64_t group) { return workspace.s2 + group * S2_SIZE * GROUP; }

static void c1_forward(void) {
    for (int64_t g = 0; g < GROUPS; g++) {
        const ConvolutionResults s2 = {
            .pooled = s2_of(g), .relu_words = workspace.s2_relu_words + g * S2_RELU_WORDS * GROUP
        };
        convolve(IMAGE, C1, C1_TILE, pixels_of(g), parameters.c1, s2);
    }
}

static void c3_forward(void) {
    for (int64_t g = 0; g < GROUPS; g++) {
        const ConvolutionResults s4 = {
            .pooled = workspace.s4 + g * S4_SIZE * GROUP,
            .relu_words = workspace.s4_relu_words + g * S4_RELU_WORDS * GROUP,
        };
        convolve(S2, C3, C3_TILE, s2_of(g), parameters.c3, s4);
    }
}

static void c3_weight_gradient(void) {
    for (int64_t g = 0; g < GROUPS; g++) {
        const float *s2 = s2_of(g);
        add_weight_gradient(S2, C3, ALL_C3_ROWS, C3_WEIGHT_TILE, raw_gradient, s2, sums.c3_weight);
    }
}

static void c3_input_gradient(void) {
    for (int64_t g = 0; g < GROUPS; g++) {
        s2_gradient_from_c3(raw_gradient, parameters.c3.weight, workspace.s2_gradient);
    }
}

static void c1_weight_gradient(void) {
    for (int64_t g = 0; g < GROUPS; g++) {
        for (int row = 0; row < S2_SIDE; row++) {
            const Rows rows = c1_rows(row);
            const float *pixels = pixels_of(g);
            add_weight_gradient(
                IMAGE, C1, rows, C1_WEIGHT_TILE, raw_gradient, pixels, sums.c1_weight
            );
        }
    }
}

static void c5_forward(void) {
    dense(BATCH, affine(S4_SIZE, C5_UNITS, parameters.c5), workspace.s4, workspace.c5);
}

static void c5_weight_gradient(void) {
    const Affine c5 = affine(S4_SIZE, C5_UNITS, parameters.c5);
    dense_weight_gradient(BATCH, c5, workspace.s4, workspace.c5_gradient, gradient.c5);
}

static void c5_input_gradient(void) {
    const Affine c5 = transposed(affine(S4_SIZE, C5_UNITS, parameters.c5));
    dense(BATCH, c5, workspace.c5_gradient, workspace.s4_gradient);
}

typedef struct {
    const char *name;
    void (*run)(void);
    int multiply_adds;
} Kernel;

static const Kernel KERNELS[] = {
    {"C1 forward", c1_forward, OF_C1},
    {"C3 forward", c3_forward, OF_C3},
    {"C3 weight gradient", c3_weight_gradient, OF_C3},
    {"C3 input gradient", c3_input_gradient, OF_C3},
    {"C1 weight gradient", c1_weight_gradient, OF_C1},
    {"C5 forward", c5_forward, OF_C5},
    {"C5 weight gradient", c5_weight_gradient, OF_C5},
    {"C5 input gradient", c5_input_gradient, OF_C5},
};
enum { COUNT = sizeof KERNELS / sizeof *KERNELS };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Replaces `shortest` by the time of one call if that is shorter. */
static void time_once(void (*run)(void), double *shortest) {
    const double start = seconds();
    run();
    const double taken = seconds() - start;
    if (taken < *shortest) *shortest = taken;
}

static float *random_numbers(int64_t count) {
    float *numbers = aligned_alloc(64, (size_t)(count + GROUP) / GROUP * GROUP * sizeof(float));
    if (!numbers) exit(EXIT_FAILURE);
    for (int64_t i = 0; i < count; i++) numbers[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return numbers;
}

static double gflops(int multiply_adds, double time) { return 2e-9 * multiply_adds / time; }

int main(int argc, char **argv) {
    const int repeats = argc == 2 ? atoi(argv[1]) : 1;
    const bool batch_norm = false;
    const int64_t parameter_count = lay_out_parameters(NULL, batch_norm, &parameters);
    lay_out_parameters(random_numbers(parameter_count), batch_norm, &parameters);
    lay_out_parameters(random_numbers(parameter_count), batch_norm, &gradient);
    const int64_t size = workspace_size(BATCH, batch_norm);
    lay_out_workspace(random_numbers(size), BATCH, batch_norm, &workspace);
    for (int i = 0; i < C3_SIZE * GROUP; i++) raw_gradient[i] = workspace.pixels[i];

    double shortest[COUNT], shortest_limit = 1;
    for (int k = 0; k < COUNT; k++) shortest[k] = 1;
    for (int repeat = 0; repeat < repeats; repeat++) {
        for (int k = 0; k < COUNT; k++) {
            KERNELS[k].run(); /* to have its arrays in cache */
            time_once(limit, &shortest_limit);
            time_once(KERNELS[k].run, &shortest[k]);
        }
    }
    printf("{\"limit\": %.2f", gflops(LIMIT, shortest_limit));
    for (int k = 0; k < COUNT; k++) {
        printf(", \"%s\": %.2f", KERNELS[k].name, gflops(KERNELS[k].multiply_adds, shortest[k]));
    }
    printf("}\n");
    return EXIT_SUCCESS;
}
