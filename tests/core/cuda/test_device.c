/* Mirrors core/cuda/module.c and kernels.cu, on a GPU: copies, order between streams, and kernels that end in
 * the bits of the CPU's. Skipped where there is no device. */
#include <math.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/random.h"
#include "core/cuda/cuda.h"
#include "tests/check_main.h"
#include "train/optimizer.h"

/* Around a block of 256 threads, and beyond the largest grid of 2^16 blocks. */
static const size_t lengths[] = { 1, 255, 256, 257, 100003, (size_t)256 * 65536 + 77 };
enum { N_LENGTHS = sizeof lengths / sizeof lengths[0] };

static lmb_error err;
static lmb_cuda *cuda;
static const lmb_cuda_api *gpu;
static lmb_cuda_stream *stream;

static void setup(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(gpu->device_select(0, &err));
    ck_ok(gpu->stream_create(&stream, &err));
}

static void teardown(void)
{
    gpu->stream_destroy(stream);
    stream = NULL;
}

static float *host(size_t n)
{
    float *v = malloc(n * sizeof *v);
    ck_assert_ptr_nonnull(v);
    return v;
}

static float *normal(size_t n, uint64_t which)
{
    lmb_rand r = lmb_rand_at(7, LMB_RAND_TEST, 0, which);
    float *v = host(n);
    for (size_t i = 0; i < n; i++) /* 4096 different numbers do, and are soon made */
        v[i] = i < 4096 ? lmb_rand_normal(&r, (uint32_t)i) : v[i - 4095];
    return v;
}

static float *on_device(const float *v, size_t n)
{
    void *d;
    ck_ok(gpu->alloc(n * sizeof *v, &d, &err));
    ck_ok(gpu->upload(d, v, n * sizeof *v, stream, &err));
    return d;
}

static void fetch(float *v, const float *d, size_t n)
{
    ck_ok(gpu->download(v, d, n * sizeof *v, stream, &err));
    ck_ok(gpu->stream_sync(stream, &err));
}

static void same_bits(const float *got, const float *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        if (isnan(got[i]) && isnan(want[i])) /* the payload is nobody's promise */
            continue;
        if (memcmp(&got[i], &want[i], sizeof *got) != 0)
            ck_abort_msg("%s[%zu] of %zu: %a on the GPU, %a on the CPU", what, i, n, got[i], want[i]);
    }
}

START_TEST(devices_say_what_they_are)
{
    int n = 0;
    lmb_cuda_device d;
    ck_ok(gpu->device_count(&n, &err));
    for (int i = 0; i < n; i++) {
        ck_ok(gpu->device_info(i, &d, &err));
        ck_assert_int_gt((int)strlen(d.name), 0);
        ck_assert_uint_gt(d.memory, (uint64_t)1 << 30);
        ck_assert_int_ge(d.major, 7);
        ck_assert_int_gt(d.processors, 0);
    }
    ck_assert_int_eq(gpu->device_select(n, &err), LMB_E_DEVICE);
    ck_assert_ptr_nonnull(strstr(err.msg, "selecting a device"));
    ck_assert_ptr_nonnull(strstr(err.msg, "below the number of devices"));
    ck_assert_int_eq(gpu->device_info(n, &d, NULL), LMB_E_DEVICE);
}
END_TEST

START_TEST(bytes_come_back)
{
    unsigned char sent[1027], got[1027] = { 0 };
    void *a, *b;
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (unsigned char)(i * 37 + 11);
    ck_ok(gpu->alloc(sizeof sent, &a, &err));
    ck_ok(gpu->alloc(sizeof sent, &b, &err));
    ck_assert_uint_eq((uintptr_t)a % 256, 0);
    ck_ok(gpu->upload(a, sent, sizeof sent, stream, &err));
    ck_ok(gpu->copy(b, a, sizeof sent, stream, &err));
    ck_ok(gpu->download(got, b, sizeof got, stream, &err));
    ck_ok(gpu->stream_sync(stream, &err));
    ck_assert_mem_eq(got, sent, sizeof sent);
    ck_ok(gpu->copy(b, a, 0, stream, &err));
    gpu->free(a);
    gpu->free(b);
    ck_ok(gpu->alloc(0, &a, &err));
    ck_assert_ptr_null(a);
}
END_TEST

/* What failed once must not be blamed on the next call. */
START_TEST(errors_do_not_linger)
{
    void *d = NULL;
    float one = 1;
    ck_assert_int_eq(gpu->alloc((size_t)1 << 60, &d, &err), LMB_E_DEVICE);
    ck_assert_ptr_nonnull(strstr(err.msg, "allocating 1152921504606846976 bytes"));
    ck_assert_ptr_nonnull(strstr(err.msg, "make the batch or the model smaller"));
    ck_assert_ptr_null(d);
    err = (lmb_error)LMB_ERROR_INIT;
    d = on_device(&one, 1);
    ck_ok(gpu->relu(d, d, 1, stream, &err));
    ck_ok(gpu->stream_sync(stream, &err));
    gpu->free(d);
}
END_TEST

START_TEST(events_order_two_streams)
{
    size_t n = (size_t)1 << 24;
    float *x = normal(n, 0), *want = host(n), *got = host(n);
    lmb_cuda_stream *second;
    lmb_cuda_event *begun, *done;
    double ms = -1;

    ck_ok(gpu->stream_create(&second, &err));
    ck_ok(gpu->event_create(&begun, &err));
    ck_ok(gpu->event_create(&done, &err));
    float *a = on_device(x, n), *b = on_device(x, n);
    ck_ok(gpu->stream_sync(stream, &err));
    ck_ok(gpu->event_record(begun, stream, &err));
    for (int i = 0; i < 50; i++) /* long enough for a second stream that does not wait to be early */
        ck_ok(gpu->copy(b, a, n * sizeof *x, stream, &err));
    ck_ok(gpu->relu(a, b, n, stream, &err));
    ck_ok(gpu->event_record(done, stream, &err));
    ck_ok(gpu->event_wait(done, second, &err));
    ck_ok(gpu->download(got, b, n * sizeof *x, second, &err));
    ck_ok(gpu->stream_sync(second, &err));
    for (size_t i = 0; i < n; i++)
        want[i] = x[i] < 0 ? 0 : x[i];
    same_bits(got, want, n, "y");
    ck_ok(gpu->event_elapsed(begun, done, &ms, &err));
    ck_assert_double_gt(ms, 0);

    gpu->free(a);
    gpu->free(b);
    gpu->event_destroy(begun);
    gpu->event_destroy(done);
    gpu->stream_destroy(second);
    free(x);
    free(want);
    free(got);
}
END_TEST

/* As core/ops/relu.c: NaN passes, and so does the sign of zero. */
START_TEST(relu_has_the_bits_of_the_cpu)
{
    static const float special[] = { 0.0f, -0.0f, NAN, INFINITY, -INFINITY, 1e-45f, -1e-45f, 1.17549435e-38f };
    size_t n = lengths[_i], few = n < 8 ? n : 8;
    float *x = normal(n, 1), *want = host(n), *got = host(n);

    memcpy(x + n - few, special, few * sizeof *x);
    for (size_t i = 0; i < n; i++)
        want[i] = x[i] < 0.0f ? 0.0f : x[i];
    float *dx = on_device(x, n), *dy = on_device(x, n);
    ck_ok(gpu->relu(dx, dy, n, stream, &err));
    fetch(got, dy, n);
    same_bits(got, want, n, "relu");
    ck_ok(gpu->relu(dx, dx, n, stream, &err));
    fetch(got, dx, n);
    same_bits(got, want, n, "relu in place");

    gpu->free(dx);
    gpu->free(dy);
    free(x);
    free(want);
    free(got);
}
END_TEST

static void sgd_config(const char *text, void *config)
{
    lmb_config *c;
    ck_ok(lmb_config_parse(text, strlen(text), "test", &c, &err));
    ck_ok(lmb_fields_bind(lmb_optimizer_find("sgd")->fields, lmb_config_root(c), config, &err));
    lmb_config_destroy(c);
}

static void sgd_as_on_the_cpu(size_t n, bool nesterov)
{
    const lmb_optimizer *sgd = lmb_optimizer_find("sgd");
    float *w = normal(n, 2), *g = normal(n, 3), *v = calloc(n, sizeof *v), *got = host(n);
    double config[16];

    ck_assert_ptr_nonnull(v);
    ck_assert_uint_le(sgd->config_size, sizeof config);
    sgd_config(nesterov ? "{momentum: 0.9, weight_decay: 0.0005, nesterov: true}"
                        : "{momentum: 0.9, weight_decay: 0.0005, nesterov: false}", config);
    g[0] = 1e-41f; /* subnormal products must survive */
    w[0] = 0;
    float *dw = on_device(w, n), *dg = on_device(g, n), *dv = on_device(v, n);
    for (int t = 1; t <= 3; t++) {
        double lr = 0.1 / t;
        lmb_opt_range r = { w, g, { v }, n, lr, 1.0, t };
        sgd->step(config, &r);
        ck_ok(gpu->sgd_momentum(dw, dg, dv, n, (float)lr, 0.9f, 0.0005f, nesterov, stream, &err));
    }
    fetch(got, dw, n);
    same_bits(got, w, n, "w");
    fetch(got, dv, n);
    same_bits(got, v, n, "v");

    gpu->free(dw);
    gpu->free(dg);
    gpu->free(dv);
    free(w);
    free(g);
    free(v);
    free(got);
}

START_TEST(sgd_has_the_bits_of_the_cpu)
{
    sgd_as_on_the_cpu(lengths[_i], false);
    sgd_as_on_the_cpu(lengths[_i], true);
}
END_TEST

/* No fork: a process that has touched CUDA cannot hand it to a child. */
int main(void)
{
    int n;
    err = (lmb_error)LMB_ERROR_INIT;
    if (lmb_cuda_open(getenv("LMB_CUDA_MODULE") ? NULL : LMB_BINARY_DIR "/launch", &cuda, &err) != LMB_OK ||
        cuda->api->device_count(&n, &err) != LMB_OK) {
        printf("skipped: %s\n", err.msg);
        lmb_cuda_close(cuda);
        return 0;
    }
    gpu = cuda->api;

    Suite *s = suite_create("core/cuda/device");
    TCase *tc = tcase_create("core/cuda/device");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, devices_say_what_they_are);
    tcase_add_test(tc, bytes_come_back);
    tcase_add_test(tc, errors_do_not_linger);
    tcase_add_test(tc, events_order_two_streams);
    tcase_add_loop_test(tc, relu_has_the_bits_of_the_cpu, 0, N_LENGTHS);
    tcase_add_loop_test(tc, sgd_has_the_bits_of_the_cpu, 0, N_LENGTHS);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_ENV);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    lmb_cuda_close(cuda);
    return bad != 0;
}
