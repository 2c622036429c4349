/* Mirrors core/plan/device_time.c and launch/step_times.c: times of a plan's steps on a GPU that is played, by a clock
 * of its own (a kernel takes 1 ms, a copy a quarter), or real. */
#include "launch/step_times.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "tests/gpu_main.h"

static lmb_error err;
static lmb_graph *graph;
static lmb_vid x, y;
static float pictures[2 * 3 * 8 * 8], filters[4 * 3 * 3 * 3];

static bool played(void) { return strcmp(lmb_gpu_device(test_gpu)->name, "a played GPU") == 0; }

/* A convolution, Relu of its result's half, the mean over the picture. */
static void setup(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++)
        pictures[i] = (float)(i % 17) - 8;
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        filters[i] = (float)(i % 5) - 2;
    ck_ok(lmb_graph_create(&graph, &err));
    lmb_builder b = lmb_builder_of(graph, &err);
    x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(2, 3, 8, 8), NULL);
    lmb_vid w = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w", LMB_F32, LMB_SHAPE(4, 3, 3, 3), filters);
    lmb_vid c = lmb_emit(&b, "Conv", "layer", LMB_IN(x, w), LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1)));
    lmb_vid s = lmb_emit(&b, "Add", "twice", LMB_IN(c, c), LMB_NO_ATTRS);
    y = lmb_emit(&b, "GlobalAveragePool", "mean", LMB_IN(s), LMB_NO_ATTRS);
    lmb_emit_output(&b, "y", y);
    ck_ok(lmb_builder_status(&b));
}

static void teardown(void) { lmb_graph_destroy(graph); }

static lmb_plan *plan_of(const lmb_backend *backend)
{
    const lmb_backend *list[] = { backend, NULL };
    lmb_plan_options o = { .backends = list };
    lmb_plan *p;

    ck_ok(lmb_plan_compile(graph, &o, &p, &err));
    ck_ok(lmb_plan_bind(p, x, pictures, &err));
    return p;
}

static double sum_of_steps(const lmb_plan *p)
{
    double sum = 0;
    for (int i = 0; i < lmb_plan_steps(p); i++)
        sum += lmb_plan_step_at(p, i).seconds;
    return sum;
}

START_TEST(each_step_is_timed_by_the_devices_clock)
{
    float untimed[8], timed[8];
    lmb_plan *p = plan_of(lmb_gpu_backend(test_gpu, (lmb_cuda_precision)_i));

    lmb_plan_timing(p, true);
    ck_ok(lmb_plan_run(p, NULL, &err)); /* the first: kernels choose their ways */
    ck_assert(sum_of_steps(p) == 0);
    memcpy(untimed, lmb_plan_data(p, y), sizeof untimed);
    for (int i = 0; i < 3; i++)
        ck_ok(lmb_plan_run(p, NULL, &err));
    memcpy(timed, lmb_plan_data(p, y), sizeof timed);
    ck_assert_mem_eq(timed, untimed, sizeof timed);
    ck_assert(lmb_plan_describe(p).replayed);
    for (int i = 0; i < lmb_plan_steps(p); i++) {
        lmb_plan_step s = lmb_plan_step_at(p, i);
        ck_assert(s.seconds > 0 && s.best > 0 && s.best <= s.seconds);
        if (played())
            ck_assert_double_eq_tol(s.seconds, strcmp(s.kernel, "copy") == 0 ? 0.25e-3 : 1e-3, 1e-12);
    }
    lmb_plan_timing(p, false);
    ck_ok(lmb_plan_run(p, NULL, &err));
    ck_assert(sum_of_steps(p) == 0);
    lmb_plan_destroy(p);
}
END_TEST

/* A driver that records nothing, or sets no clocks in what is replayed: times there are all the same. */
START_TEST(what_is_not_recorded_is_timed_as_it_runs)
{
    static const char *const plays[] = { "refuse", "clockless" };

    if (!played())
        return;
    ck_assert_int_eq(setenv("LMB_PLAYED", plays[_i], 1), 0);
    lmb_plan *p = plan_of(lmb_gpu_backend(test_gpu, LMB_CUDA_F32_EXACT));
    lmb_plan_timing(p, true);
    for (int i = 0; i < 2; i++)
        ck_ok(lmb_plan_run(p, NULL, &err));
    ck_assert_int_eq(unsetenv("LMB_PLAYED"), 0);
    ck_assert(!lmb_plan_describe(p).replayed);
    ck_assert_double_eq_tol(sum_of_steps(p), 1e-3 * lmb_plan_steps(p), 1e-12);
    lmb_plan_destroy(p);
}
END_TEST

START_TEST(the_longest_come_first)
{
    lmb_plan *p = plan_of(lmb_gpu_backend(test_gpu, LMB_CUDA_F32_EXACT));
    lmb_str s = LMB_STR_INIT;

    lmb_plan_timing(p, true);
    for (int i = 0; i < 2; i++)
        ck_ok(lmb_plan_run(p, NULL, &err));
    lmb_step_times(p, &s);
    ck_ok(lmb_str_check(&s, &err));
    ck_assert_msg(strstr(s.text, "the longest steps") && strstr(s.text, "TFLOP/s") && strstr(s.text, "layer") &&
                      strstr(s.text, "replayed"), "%s", s.text);
    if (played()) { /* three steps of 1 ms; the sum of two maps of 2048 bytes each, one read: 4096 bytes in 1 ms */
        ck_assert_int_eq(lmb_plan_steps(p), 3);
        ck_assert_msg(strstr(s.text, "1.0000   33.3%"), "%s", s.text);
        ck_assert_msg(strstr(s.text, "3.0000  100.0%"), "%s", s.text);
    }
    lmb_str_free(&s);
    lmb_plan_destroy(p);
}
END_TEST

/* What one GPU found out, the next takes from the folder; and nobody measures longer than is allowed. */
typedef struct counts { long contests, known; } counts;

static counts counted(double seconds, const char *folder)
{
    void *module = dlopen(getenv("LMB_CUDA_MODULE"), RTLD_NOW | RTLD_NOLOAD);
    long *contests = dlsym(module, "lmb_played_contests"), *known = dlsym(module, "lmb_played_known");
    counts before = { *contests, *known };
    lmb_gpu *gpu;

    ck_ok(lmb_gpu_open(0, &gpu, &err));
    lmb_device *d = lmb_gpu_device(gpu);
    d->measure(d, true, NULL);
    ck_ok(d->measure_within(d, seconds, folder, NULL, &err));
    lmb_plan *p = plan_of(lmb_gpu_backend(gpu, LMB_CUDA_F32_EXACT));
    for (int i = 0; i < 2; i++)
        ck_ok(lmb_plan_run(p, NULL, &err));
    lmb_plan_destroy(p);
    lmb_gpu_close(gpu);
    counts c = { *contests - before.contests, *known - before.known };
    dlclose(module);
    return c;
}

START_TEST(what_one_process_measured_the_next_knows)
{
    char folder[] = "/tmp/limbeck-ways-XXXXXX", command[80];
    counts c;

    if (!played())
        return;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    c = counted(0, folder);
    ck_assert(c.contests == 0 && c.known == 0);
    c = counted(-1, NULL);
    ck_assert(c.contests == 1 && c.known == 0);
    c = counted(10, folder);
    ck_assert(c.contests == 1 && c.known == 0);
    c = counted(0, folder);
    ck_assert(c.contests == 0 && c.known == 1);
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

LMB_GPU_TEST_MAIN("core/cuda/times", tcase_add_checked_fixture(tc_, setup, teardown);
                  add_loop(each_step_is_timed_by_the_devices_clock, LMB_CUDA_PRECISIONS);
                  add_loop(what_is_not_recorded_is_timed_as_it_runs, 2); add(the_longest_come_first);
                  add(what_one_process_measured_the_next_knows);)
