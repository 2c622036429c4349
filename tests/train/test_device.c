/* Mirrors core/plan/device.c, with whole training steps: a device that is nothing but other memory. Every step whose
 * kernel is missing there makes the trip to the host; with the CUDA module's kernels, on the host's queue, none
 * does. */
#include "core/plan/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/random.h"
#include "core/base/str.h"
#include "core/cuda/device.h"
#include "tests/check_main.h"
#include "train/model.h"
#include "train/program.h"

static lmb_error err;

typedef struct elsewhere { lmb_device device; size_t bytes; int blocks; } elsewhere;

static lmb_status take(lmb_device *d, size_t bytes, void **memory, lmb_error *e)
{
    (void)e;
    *memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memset(*memory, 0xA5, bytes); /* contents are undefined */
    ((elsewhere *)d)->blocks++;
    return LMB_OK;
}
static void give(lmb_device *d, void *memory)
{
    ((elsewhere *)d)->blocks--;
    free(memory);
}
static lmb_status move(lmb_device *d, void *to, const void *from, size_t bytes, lmb_error *e)
{
    (void)e;
    memcpy(to, from, bytes);
    ((elsewhere *)d)->bytes += bytes;
    return LMB_OK;
}
static lmb_status finish(lmb_device *d, lmb_error *e)
{
    (void)d, (void)e;
    return LMB_OK;
}

static elsewhere there(void)
{
    return (elsewhere){ .device = { .name = "another memory",
                                    .alloc = take,
                                    .free = give,
                                    .upload = move,
                                    .download = move,
                                    .copy = move,
                                    .finish = finish } };
}

enum { ROWS = 6, NUMBERS = 3 * 8 * 8 };
static float middle = 0, contrast = 1; /* of the pictures; models take those of pixels away */

typedef struct run { float *state, *out, loss; int64_t correct; size_t n; } run;

/* Steps of training from the same weights with these kernels. */
static run train(const char *text, const lmb_backend *const *backends, int steps, int64_t *by_host)
{
    const lmb_shape shape = LMB_SHAPE(3, 8, 8);
    lmb_rand rand = lmb_rand_at(3, LMB_RAND_TEST, 0, 0);
    double smoothing = 0.1;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    static float x[ROWS * NUMBERS];
    static const int64_t y[ROWS] = { 0, 1, 2, 3, 0, 1 };
    static const uint32_t sample[ROWS] = { 5, 4, 3, 2, 1, 0 };
    lmb_step_info info = { 1, 0, sample };
    const lmb_plan *plan;
    lmb_config *c;
    lmb_graph *model;
    lmb_program *p;
    run r = { 0 };

    err = (lmb_error)LMB_ERROR_INIT;
    for (uint32_t i = 0; i < ROWS * NUMBERS; i++)
        x[i] = middle + contrast * lmb_rand_normal(&rand, i);
    ck_ok(lmb_config_parse(text, strlen(text), "t.yaml", &c, &err));
    ck_ok(lmb_model_build(lmb_config_root(c), &shape, 4, 5, &model, &err));
    ck_ok(lmb_program_create(model, &loss, backends, &p, &err));
    const lmb_state_layout *l = lmb_program_layout(p);
    r.n = l->count;
    r.state = malloc(sizeof(float) * r.n);
    r.out = calloc(r.n, sizeof(float));
    lmb_state_from_graph(l, model, r.state);
    for (int i = 0; i < steps; i++) {
        lmb_program_step s = { .n = ROWS - i, .x = x, .y = y, .state = r.state, .out = r.out, .info = &info };
        ck_ok(lmb_program_run(p, &s, &err));
        r.loss = s.loss;
        r.correct = s.correct;
        for (int k = 0; k < l->n; k++)
            for (size_t e = 0; e < l->segment[k].count; e++) {
                size_t at = l->segment[k].offset + e;
                r.state[at] = l->segment[k].role == LMB_ROLE_PARAMETER ? r.state[at] - 0.005f * r.out[at] : r.out[at];
            }
    }
    ck_ok(lmb_program_plan(p, ROWS, false, &plan, &err));
    for (int i = 0; by_host && i < lmb_plan_steps(plan); i++)
        *by_host += strcmp(lmb_plan_step_at(plan, i).kernel, "reference") == 0;
    lmb_program_destroy(p);
    lmb_graph_destroy(model);
    lmb_config_destroy(c);
    return r;
}

static void done(run *r)
{
    free(r->state);
    free(r->out);
}

/* Gradients of the deep one hang on variances of six numbers that are almost equal: any two orders of summing differ so
 * much. */
static const struct { const char *text; double tolerance; } models[] = {
    { "{name: resnet, depth: 8, width: 4}", 1e-5 },
    { "{name: mobilenet_v2, width: 0.25, activation: hardswish}", 2e-3 },
    { "{name: vgg, channels: [4, 0, 8], dropout: 0.3}", 1e-5 },
};

START_TEST(steps_on_a_device_are_those_of_the_host)
{
    elsewhere d = there();
    int64_t by_host = 0;
    const lmb_kernel *const none[] = { NULL };
    lmb_backend backend = {
        .name = "far", .summary = "a device without kernels", .kernels = none, .device = &d.device
    };
    lmb_backend near = { .name = "near",
                         .summary = "the host without kernels",
                         .kernels = none }; /* so that both graphs are fused */
    const lmb_backend *list[] = { &backend, NULL }, *here[] = { &near, NULL };
    run host = train(models[_i].text, here, 2, NULL), far = train(models[_i].text, list, 2, &by_host);

    ck_assert_int_gt(by_host, 20);
    ck_assert_uint_gt(d.bytes, 0);
    ck_assert_int_eq(d.blocks, 0);
    ck_assert_mem_eq(host.out, far.out, sizeof(float) * host.n);
    ck_assert_mem_eq(host.state, far.state, sizeof(float) * host.n);
    ck_assert(host.loss == far.loss);
    ck_assert_int_eq(host.correct, far.correct);
    done(&host);
    done(&far);
}
END_TEST

START_TEST(so_are_those_of_the_cuda_kernels)
{
    elsewhere d = there();
    lmb_backend backend = { .name = "cuda", .summary = "on the host", .device = &d.device };
    const lmb_backend *list[] = { &backend, NULL };
    lmb_cuda *cuda;
    int64_t by_host = 0;
    double error = 0, size = 0;

    err = (lmb_error)LMB_ERROR_INIT;
    if (lmb_cuda_open(LMB_BINARY_DIR "/launch", &cuda, &err) != LMB_OK) {
        printf("kernels of the CUDA module are left out: %s\n", err.msg);
        return;
    }
    backend.kernels = cuda->api->kernels;
    run host = train(models[_i].text, NULL, 1, NULL), far = train(models[_i].text, list, 1, &by_host);
    ck_assert_int_eq(by_host, 0);
    for (size_t i = 0; i < host.n; i++) {
        error = fmax(error, fabs((double)host.out[i] - far.out[i]));
        size = fmax(size, fabs(host.out[i]));
    }
    ck_assert_double_le(error, models[_i].tolerance * size);
    ck_assert_double_le(fabs(host.loss - far.loss), models[_i].tolerance * host.loss);
    done(&host);
    done(&far);
    lmb_cuda_close(cuda);
}
END_TEST

static lmb_cuda *module;
static lmb_status convert(lmb_device *d, const lmb_tensor *from, lmb_layout before, const lmb_tensor *to,
                          lmb_layout after, lmb_error *e)
{
    (void)d;
    return module->api->convert(from, before, to, after, NULL, e);
}

/* Maps in NHWC, and in bf16, which has 8 bits: what hangs on variances of few numbers keeps none of them, so that of
 * the deep one only the loss is told. */
START_TEST(other_precisions_stay_near)
{
    static const lmb_cuda_precision precision[] = { LMB_CUDA_TF32_PRODUCTS, LMB_CUDA_BF16_MAPS };
    static const double in_bf16[] = { 0.1, INFINITY, 0.01 }, loss_in_bf16[] = { 0.01, 0.1, 0.002 };
    double most = _i % 2 ? in_bf16[_i / 2] : 2e-4, most_loss = _i % 2 ? loss_in_bf16[_i / 2] : 2e-5;
    elsewhere d = there();
    lmb_backend backends[LMB_CUDA_PRECISIONS];
    int which = _i % 2;

    middle = 127, contrast = 60; /* around 0 bf16 would keep two bits of what the models see */

    err = (lmb_error)LMB_ERROR_INIT;
    if (lmb_cuda_open(LMB_BINARY_DIR "/launch", &module, &err) != LMB_OK)
        return; /* said above */
    d.device.convert = convert;
    lmb_cuda_backends(module, backends);
    backends[precision[which]].device = &d.device;
    const lmb_backend *list[] = { &backends[precision[which]], NULL };
    int64_t by_host = 0;
    double error = 0, size = 0;
    run host = train(models[_i / 2].text, NULL, 1, NULL), far = train(models[_i / 2].text, list, 1, &by_host);
    ck_assert_int_eq(by_host, 0);
    ck_assert_int_eq(d.blocks, 0);
    for (size_t i = 0; i < host.n; i++) {
        error += pow((double)host.out[i] - far.out[i], 2);
        size += pow(host.out[i], 2);
    }
    ck_assert_double_le(sqrt(error / size), most);
    ck_assert_double_le(fabs(host.loss - far.loss), most_loss * host.loss);
    done(&host);
    done(&far);
    lmb_cuda_close(module);
}
END_TEST

enum { MODELS = sizeof models / sizeof *models };

LMB_TEST_MAIN("train/device", add_loop(steps_on_a_device_are_those_of_the_host, MODELS);
              add_loop(so_are_those_of_the_cuda_kernels, MODELS); add_loop(other_precisions_stay_near, 2 * MODELS);)
