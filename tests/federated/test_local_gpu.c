/* Mirrors federated/local.c with train.backend: cuda: a simulation's clients, one after another on one GPU. They
 * share its memory and what is compiled; what a client sends is what it would send alone, and close to what it sends
 * without a GPU. Runs on what LMB_CUDA_MODULE names: the played module, whose kernels run on the host, or, labelled
 * gpu, the real one. */
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/str.h"
#include "core/cuda/device.h"
#include "core/onnx/onnx.h"
#include "federated/local.h"
#include "tests/gpu_main.h"
#include "train/model.h"

enum { SIDE = 6 };
static lmb_error err;
static lmb_graph *model;
static lmb_state_layout *layout;
static lmb_str graph;
static float *sent;

/* The class is where it is bright; each client has samples of its own. */
static lmb_status read_one(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *e)
{
    float *x = sample;
    (void)e;
    *label = (int32_t)(index % 3);
    for (int i = 0; i < SIDE * SIDE; i++)
        x[i] = sinf((float)(d->n * 13 + index * 31 + i * i * 7)) + (i / SIDE / 2 == *label ? 1.5f : 0.0f);
    return LMB_OK;
}

static void set_up(void)
{
    static const char text[] = "{name: resnet, depth: 8, width: 4, mean: 0, scale: 1}";
    const lmb_shape shape = LMB_SHAPE(1, SIDE, SIDE);
    lmb_config *yaml;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "m.yaml", &yaml, &err));
    ck_ok(lmb_model_build(lmb_config_root(yaml), &shape, 3, 1, &model, &err));
    lmb_config_destroy(yaml);
    graph = (lmb_str)LMB_STR_INIT;
    ck_ok(lmb_onnx_export(model, NULL, &graph, &err));
    ck_ok(lmb_state_layout_create(model, &layout, &err));
    sent = malloc(layout->count * sizeof *sent);
    lmb_state_from_graph(layout, model, sent);
}

static void tear_down(void)
{
    free(sent);
    lmb_str_free(&graph);
    lmb_state_layout_destroy(layout);
    lmb_graph_destroy(model);
}

/* What a client of so many samples sends; malloc'd. */
static float *train(lmb_local *l, int64_t samples, const char *backend)
{
    lmb_dataset data = {
        .n = samples, .shape = LMB_SHAPE(1, SIDE, SIDE), .dtype = LMB_F32, .classes = 3, .read = read_one
    };
    float *delta = calloc(layout->count, sizeof *delta);
    char settings[200];

    snprintf(settings, sizeof settings, "{prox: 0.1, train: {epochs: 2, batch: 32, lr: 0.02, threads: 1, backend: %s}}",
             backend);
    lmb_train_task task = { .round = 1, .model = sent, .n = layout->count, .layout = layout->hash, .graph = graph.text,
                            .graph_bytes = graph.n, .settings = settings };
    lmb_train_result r = { .delta = delta };
    ck_ok(lmb_local_train(l, &data, &task, &r, NULL, &err));
    ck_assert_uint_eq(r.examples, (uint64_t)samples);
    return delta;
}

static float *train_alone(int64_t samples, const char *backend)
{
    lmb_local *l;
    ck_ok(lmb_local_create(&l, &err));
    float *delta = train(l, samples, backend);
    lmb_local_destroy(l);
    return delta;
}

/* How often memory was taken on the played device; 0 on another. */
static long allocations(void)
{
    void *module = dlopen(getenv("LMB_CUDA_MODULE"), RTLD_NOW | RTLD_NOLOAD);
    const long *n = module ? dlsym(module, "lmb_played_allocations") : NULL;
    long value = n ? *n : 0;
    if (module)
        dlclose(module);
    return value;
}

START_TEST(virtual_clients_share_a_gpu)
{
    static const int64_t samples[] = {
        20, 32, 45, 32, 64, 20
    }; /* one batch that is not full, a full one, two of either kind */
    lmb_local *l;
    long before = 0;

    set_up();
    ck_ok(lmb_local_create(&l, &err));
    for (size_t k = 0; k < sizeof samples / sizeof *samples; k++) {
        float *shared = train(l, samples[k], "cuda"), *alone = train_alone(samples[k], "cuda"),
              *host = train_alone(samples[k], "portable");
        double error = 0, size = 0;
        for (size_t i = 0; i < layout->count; i++) {
            error = fmax(error, fabs((double)shared[i] - host[i]));
            size = fmax(size, fabs(host[i]));
        }
        ck_assert_mem_eq(shared, alone, layout->count * sizeof *shared);
        ck_assert_double_le(error, 1e-3 * size);
        free(alone);
        free(host);
        free(shared);
    }
    for (int k = 0; k < 2; k++) /* the third full batch is recorded */
        free(train(l, 32, "cuda"));
    before = allocations();
    for (int k = 0; k < 3; k++)
        free(train(l, 32, "cuda"));
    ck_assert_int_eq(allocations(), before);
    lmb_local_destroy(l);
    tear_down();
}
END_TEST

LMB_GPU_TEST_MAIN("federated/local_gpu", add(virtual_clients_share_a_gpu);)
