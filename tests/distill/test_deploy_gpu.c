/* Mirrors distill/quantize/deploy_gpu.c: every model of the zoo that has an integer form answers on a GPU with the
 * bits of core/edge's scalar kernels. Runs on what LMB_CUDA_MODULE names: the played module, whose kernels run on the
 * host, or, labelled gpu, the real one. */
#include <stdlib.h>
#include <string.h>

#include "core/cuda/device.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/packed_file.h"
#include "distill/quantize/ptq.h"
#include "distill/quantize/qdq.h"
#include "tests/gpu_main.h"
#include "tests/train/from_text.h"

static lmb_error err;

static const char *const models[] = {
    "{name: mlp, hidden: [30, 17]}",
    "{name: lenet}",
    "{name: vgg, channels: [5, 0, 12], dropout: 0.1}",
    "{name: resnet, depth: 8, width: 8}",
    "{name: mobilenet_v1, width: 0.25}",
    "{name: mobilenet_v2, width: 0.25}",
    "{name: resnet_imagenet, depth: 18, width: 4}",
};

START_TEST(zoo_models_give_the_same_bits)
{
    static const char text[] =
        "{name: synthetic, train: 70, test: 10, channels: 3, height: 16, width: 16, classes: 4}";
    lmb_ptq_config c = { 32, 1, NULL, "cpu", 1 };
    lmb_graph *model, *frozen, *qdq;
    lmb_str file = LMB_STR_INIT;
    lmb_metrics on_host, on_gpu;
    lmb_deploy_figures f = { 0 };
    lmb_dataset *data = dataset_of(text, LMB_PART_TRAIN);
    float *want, *got;

    err = (lmb_error)LMB_ERROR_INIT;
    model = model_of(models[_i], data, 5);
    ck_ok(lmb_ptq(model, &c, data, &frozen, &err));
    ck_ok(lmb_pass_qdq(frozen, &qdq, &err));
    ck_ok(lmb_lower(qdq, &file, &err));
    if (_i == 0)
        ck_ok(lmb_packed_make(&file, &err)); /* packed files as well */
    size_t bytes = sizeof *want * (size_t)(data->n * data->classes);
    want = malloc(bytes);
    got = malloc(bytes);
    ck_ok(lmb_metrics_init(&on_host, data->classes, &err));
    ck_ok(lmb_metrics_init(&on_gpu, data->classes, &err));
    ck_ok(lmb_deploy_evaluate(file.text, file.n, data, "scalar", 1, &on_host, want, NULL, &err));
    ck_ok(lmb_deploy_evaluate(file.text, file.n, data, LMB_DEPLOY_GPU, 2, &on_gpu, got, _i == 1 ? &f : NULL, &err));
    ck_assert_mem_eq(want, got, bytes);
    ck_assert_int_eq(on_host.n, on_gpu.n);
    ck_assert_mem_eq(on_host.confusion, on_gpu.confusion,
                     sizeof *on_host.confusion * (size_t)(data->classes * data->classes));
    ck_assert(_i != 1 || (f.latency_us > 0 && f.macs > 0 && f.bytes > 0)); /* of the processor */
    lmb_metrics_deinit(&on_host);
    lmb_metrics_deinit(&on_gpu);
    free(want);
    free(got);
    lmb_str_free(&file);
    lmb_graph_destroy(model);
    lmb_graph_destroy(frozen);
    lmb_graph_destroy(qdq);
    lmb_dataset_destroy(data);
}
END_TEST

START_TEST(the_backend_chooses_kernels)
{
    ck_assert_str_eq(lmb_deploy_kernels(NULL, "cuda"), LMB_DEPLOY_GPU);
    ck_assert_str_eq(lmb_deploy_kernels("scalar", "cuda"), "scalar");
    ck_assert_ptr_null(lmb_deploy_kernels(NULL, "cpu"));
}
END_TEST

LMB_GPU_TEST_MAIN("distill/deploy_gpu", add_loop(zoo_models_give_the_same_bits, (int)(sizeof models / sizeof *models));
                  add(the_backend_chooses_kernels);)
