/* How exact cuDNN, cuBLASLt and our kernels are on a GPU; see errors.h. Mirrors core/cuda/ops/{dnn_conv,blas}.cu. */
#include "tests/core/cuda/every_op.h"
#include "tests/core/cuda/network_layers.h"
#include "tests/gpu_main.h"

/* Memory of the device begins as NaN, in f32 and in bf16. */
static lmb_status (*plain_alloc)(lmb_device *d, size_t bytes, void **memory, lmb_error *err);

static lmb_status alloc_nan(lmb_device *d, size_t bytes, void **memory, lmb_error *err)
{
    void *nan = malloc(bytes + 1);

    memset(nan, 0xFF, bytes);
    lmb_status st = plain_alloc(d, bytes, memory, err);
    if (st == LMB_OK)
        st = d->upload(d, *memory, nan, bytes, err);
    if (st == LMB_OK)
        st = d->finish(d, err);
    free(nan);
    return st;
}

static void begin_as_nan(lmb_device *d)
{
    plain_alloc = d->alloc;
    d->alloc = alloc_nan;
}

START_TEST(errors_stay_within_bounds)
{
    check_shape(lmb_gpu_backend(test_gpu, (lmb_cuda_precision)(_i / SHAPES)), _i % SHAPES, bounds[_i / SHAPES]);
}
END_TEST

START_TEST(every_op_stays_within_bounds)
{
    const lmb_backend *const all[] = { lmb_gpu_backend(test_gpu, LMB_CUDA_F32_EXACT),
                                       lmb_gpu_backend(test_gpu, LMB_CUDA_TF32_PRODUCTS),
                                       lmb_gpu_backend(test_gpu, LMB_CUDA_BF16_MAPS) };

    check_everywhere(all, _i);
}
END_TEST

static shape layer[MOST_LAYERS];

START_TEST(layers_of_networks_stay_within_bounds)
{
    for (int p = 0; p < LMB_CUDA_PRECISIONS; p++)
        check_layer(lmb_gpu_backend(test_gpu, (lmb_cuda_precision)p), &layer[_i], bounds[p]);
}
END_TEST

LMB_GPU_TEST_MAIN("core/cuda/gpu_errors", begin_as_nan(lmb_gpu_device(test_gpu));
                  add_loop(errors_stay_within_bounds, LMB_CUDA_PRECISIONS * SHAPES);
                  add_loop(every_op_stays_within_bounds, op_cases() + LAYER_CASES);
                  add_loop(layers_of_networks_stay_within_bounds, network_layers(4, layer));)
