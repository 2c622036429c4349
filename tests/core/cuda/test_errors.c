/* Mirrors core/cuda/ops: how exact our kernels are, on the host. */
#include "tests/core/cuda/every_op.h"
#include "tests/core/cuda/network_layers.h"
#include "tests/core/cuda/on_host.h"

START_TEST(errors_stay_within_bounds)
{
    check_shape(&backends[_i / SHAPES], _i % SHAPES, bounds[_i / SHAPES]);
}
END_TEST

START_TEST(every_op_stays_within_bounds)
{
    const lmb_backend *const all[] = { &backends[0], &backends[1], &backends[2] };

    if (_i >= op_cases() && lmb_shape_count(&any_case(_i)->in[0].shape) > 200000)
        return; /* for a GPU */
    check_everywhere(all, _i);
}
END_TEST

/* The same layer on a smaller picture, with so many multiplications at most, where that is possible. */
static void shrink(shape *q, double most)
{
    while (q->h > q->r && (double)q->n * q->k * q->c / q->g * q->r * q->r * q->h * q->w / (q->s * q->s) > most)
        q->h = q->w = q->h - 1;
}

/* On smaller pictures, as definitions are slow, and each in one of the precisions. */
START_TEST(layers_of_networks_stay_within_bounds)
{
    shape all[MOST_LAYERS];
    int n = network_layers(1, all);

    for (int i = 0; i < n; i++) {
        shrink(&all[i], 3e5);
        check_layer(&backends[i % LMB_CUDA_PRECISIONS], &all[i], bounds[i % LMB_CUDA_PRECISIONS]);
    }
}
END_TEST

LMB_TEST_MAIN(
    "core/cuda/errors", if (there()) {
        add_loop(errors_stay_within_bounds, LMB_CUDA_PRECISIONS * SHAPES);
        add_loop(every_op_stays_within_bounds, op_cases() + LAYER_CASES);
        add(layers_of_networks_stay_within_bounds);
    })
