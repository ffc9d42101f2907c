/* The sizes of LeNet-5, for all kernels; Python compares them with those of its model. */

#pragma once

#ifndef CLASSES
#define CLASSES 10 /* build.py passes the number that the Python model has */
#endif

enum {
    KERNEL = 5,
    TAPS = KERNEL * KERNEL,

    IMAGE_SIDE = 32,
    C1_CHANNELS = 6,
    C1_SIDE = IMAGE_SIDE - KERNEL + 1,
    S2_SIDE = C1_SIDE / 2,
    C3_CHANNELS = 16,
    C3_SIDE = S2_SIDE - KERNEL + 1,
    S4_SIDE = C3_SIDE / 2,
    C5_UNITS = 120,
    F6_UNITS = 84,

    /* Numbers that each layer computes for one image */
    PIXELS = IMAGE_SIDE * IMAGE_SIDE,
    C1_SIZE = C1_CHANNELS * C1_SIDE * C1_SIDE,
    S2_SIZE = C1_CHANNELS * S2_SIDE * S2_SIDE,
    C3_SIZE = C3_CHANNELS * C3_SIDE * C3_SIDE,
    S4_SIZE = C3_CHANNELS * S4_SIDE * S4_SIDE,

    C1_WEIGHTS = C1_CHANNELS * TAPS,
    C3_WEIGHTS = C3_CHANNELS * C1_CHANNELS * TAPS,

    WIDEST_NORM = C5_UNITS, /* the most channels that a batch normalisation has */
};

_Static_assert(C1_SIDE % 2 == 0 && C3_SIDE % 2 == 0, "2 x 2 pooling windows cover the outputs");
_Static_assert(S4_SIDE == KERNEL, "C5 is a convolution with a single output position");
_Static_assert(
    C1_CHANNELS <= WIDEST_NORM && C3_CHANNELS <= WIDEST_NORM,
    "WIDEST_NORM is too small"
);
_Static_assert(CLASSES > 0, "CLASSES must be positive");
_Static_assert(F6_UNITS <= C5_UNITS && CLASSES <= C5_UNITS, "C5 must be the widest dense layer");
_Static_assert(
    2 * C1_SIDE * C1_CHANNELS <= C3_SIZE,
    "two rows of C1 must fit into the space of C3"
);
