/* tests/federated/expected.h - what a federation of the clients of world.h ends in. */
#ifndef LMB_TESTS_FEDERATED_EXPECTED_H
#define LMB_TESTS_FEDERATED_EXPECTED_H

#include "tests/federated/world.h"

/* What four honest clients must arrive at, computed without any of the code under test. */
static inline double expected(size_t i, int rounds, double momentum)
{
    double v = (double)((float)(i % 7) * 0.1f), mean = 0, weight = 0, velocity = 0;
    for (int k = 0; k < 4; k++) {
        mean += 10.0 * (k + 1) * (k + 1 + (double)(i % 3) * 0.01);
        weight += 10.0 * (k + 1);
    }
    for (int r = 0; r < rounds; r++) {
        velocity = momentum * velocity + 0.5 * (mean / weight - v);
        v += velocity;
    }
    return v;
}

#endif
