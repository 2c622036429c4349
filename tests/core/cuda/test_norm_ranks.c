/* Mirrors core/cuda/ops/norm_ranks.cu: three ranks (threads) with unequal rows normalise over each other's rows, by the
 * module's kernels and by the reference; every form, forwards and backwards. The sums travel as the kernel wants. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bf16.h"
#include "core/base/random.h"
#include "core/cuda/device.h"
#include "core/ops/batch_norm.h"
#include "tests/check_main.h"
#include "tests/comm/thread_ranks.h"

enum { RANKS = 3, C = 12, AREA = 15, MOST = 7 * C * AREA, OPERANDS = 8 };
static const int rows_of[RANKS] = { 4, 7, 2 };

static lmb_cuda *cuda;
static lmb_backend backends[LMB_CUDA_PRECISIONS];

typedef struct scene {
    bool gradient;
    const lmb_kernel *kernel;
    float got[RANKS][3][MOST], want[RANKS][3][MOST];
} scene;

static lmb_status sum(void *ctx, double *v, size_t n, lmb_error *e)
{
    lmb_comm *c = ctx;
    double *all = malloc((size_t)c->size * n * sizeof *all);
    LMB_TRY(c->gather_all(c, v, all, n * sizeof *v, e));
    for (size_t i = 0; i < n; i++) {
        v[i] = 0;
        for (int r = 0; r < c->size; r++)
            v[i] += all[(size_t)r * n + i];
    }
    free(all);
    return LMB_OK;
}

/* A map's bytes as an operand wants them, and back. */
static void pack(const float *from, void *to, int n, lmb_layout layout, lmb_dtype type)
{
    for (int i = 0; i < n * C * AREA; i++) {
        int image = i / (C * AREA), c = i / AREA % C, p = i % AREA;
        int at = layout == LMB_LAYOUT_NHWC ? (image * AREA + p) * C + c : i;
        if (type == LMB_BF16)
            ((uint16_t *)to)[at] = lmb_bf16_of(from[i]);
        else
            ((float *)to)[at] = from[i];
    }
}

static void unpack(const void *from, float *to, int n, lmb_layout layout, lmb_dtype type)
{
    for (int i = 0; i < n * C * AREA; i++) {
        int image = i / (C * AREA), c = i / AREA % C, p = i % AREA;
        int at = layout == LMB_LAYOUT_NHWC ? (image * AREA + p) * C + c : i;
        to[i] = type == LMB_BF16 ? lmb_bf16_get(((const uint16_t *)from)[at]) : ((const float *)from)[at];
    }
}

/* Numbers of rank r's operand, the same for both; channels differ in mean and spread. */
static void fill(float *v, int rank, int operand, int n, bool map)
{
    lmb_rand rand = lmb_rand_at(5, LMB_RAND_TEST, (uint32_t)operand, map ? (uint64_t)rank : 9);
    for (int i = 0; i < n; i++) {
        int c = map ? i / AREA % C : i;
        float x = lmb_rand_normal(&rand, (uint32_t)i);
        v[i] = map ? 0.3f * (float)c + (1 + 0.2f * (float)rank) * x : 1 + 0.1f * x;
        if (map) /* nothing is lost on the way to bf16 */
            v[i] = lmb_bf16_get(lmb_bf16_of(v[i]));
    }
}

static void run_one(const scene *s, lmb_comm *comm, const lmb_kernel *k, float out[3][MOST])
{
    const lmb_op *op = s->gradient ? lmb_op_find("limbeck", "BatchNormGrad") : lmb_op_find("", "BatchNormalization");
    const lmb_batch_norm_attr attr = { 1e-5f, 0.9f, LMB_NORM_RANKS };
    int n = rows_of[comm->rank], maps = s->gradient ? 2 : 1;
    lmb_shape map = LMB_SHAPE(n, C, 3, 5), channel = LMB_SHAPE(C);
    lmb_type type[OPERANDS];
    lmb_tensor t[OPERANDS];
    lmb_error err = LMB_ERROR_INIT;
    lmb_call call = { "n", op, &attr, 5, 3, type, type + 5 };
    float total = 0, *plain = malloc(MOST * sizeof *plain);
    void *state = NULL;
    size_t scratch = 0;

    for (int i = 0; i < OPERANDS; i++)
        type[i] = (lmb_type){ true, LMB_F32, i < maps || i == 5 ? map : channel, NULL };
    for (int i = 0; i < OPERANDS; i++) {
        bool is_map = i < maps || i == 5;
        lmb_dtype kept = k && k->storage ? k->storage(&call, i) : LMB_F32;
        t[i] = (lmb_tensor){ .dtype = kept, .shape = type[i].shape, .data = aligned_alloc(64, 64 * MOST) };
        fill(plain, comm->rank, i, is_map ? n * C * AREA : C, is_map);
        if (is_map)
            pack(plain, t[i].data, n, k && k->layout ? k->layout(&call, i) : LMB_LAYOUT_PLAIN, kept);
        else
            memcpy(t[i].data, plain, C * sizeof *plain);
    }
    if (k)
        ck_ok(k->create(&call, &state, &scratch, &err));
    else
        scratch = op->scratch(&call);
    for (int r = 0; r < RANKS; r++)
        total += (float)rows_of[r];
    const lmb_rank_sums sums = { comm, sum, (double)((float)n / total), NULL };
    const lmb_step_info step = { .ranks = &sums };
    void *room = aligned_alloc(64, (scratch + 127) / 64 * 64);
    const lmb_run run = { &attr, 5, 3, t, t + 5, room, &step, NULL, NULL };
    ck_ok(k ? k->run(state, &run, &err) : op->run(&run, &err));
    unpack(t[5].data, out[0], n, k && k->layout ? k->layout(&call, 5) : LMB_LAYOUT_PLAIN, t[5].dtype);
    for (int i = 1; i < 3; i++)
        memcpy(out[i], t[5 + i].data, C * sizeof(float));
    if (k)
        k->destroy(state);
    for (int i = 0; i < OPERANDS; i++)
        free(t[i].data);
    free(room);
    free(plain);
}

static void run_rank(lmb_comm *c, void *ctx)
{
    scene *s = ctx;
    run_one(s, c, s->kernel, s->got[c->rank]);
    run_one(s, c, NULL, s->want[c->rank]);
}

static const lmb_kernel *find(int precision, bool gradient)
{
    for (const lmb_kernel *const *k = backends[precision].kernels; *k; k++)
        if (strstr((*k)->name, gradient ? ":norm_ranks_grad" : ":norm_ranks"))
            return *k;
    return NULL;
}

/* Case i: f32 in plain order, f32 and bf16 in NHWC; forwards, backwards. */
START_TEST(ranks_normalise_as_the_reference)
{
    scene *s = calloc(1, sizeof *s);
    s->gradient = _i & 1;
    s->kernel = find(_i / 2, s->gradient);
    ck_assert_ptr_nonnull(s->kernel);
    on_threads(RANKS, run_rank, s);
    for (int o = 0; o < 3; o++) {
        double size = 0, error = 0, rounding = o == 0 && _i / 2 == LMB_CUDA_BF16_MAPS ? 1.0 / 256 : 3e-6;
        for (int r = 0; r < RANKS; r++)
            for (int i = 0; i < (o ? C : rows_of[r] * C * AREA); i++) {
                ck_assert(isfinite(s->got[r][o][i]));
                size = fmax(size, fabs(s->want[r][o][i]));
                error = fmax(error, fabs((double)s->got[r][o][i] - s->want[r][o][i]));
            }
        ck_assert_msg(error <= rounding * size, "%s, output %d: %g of %g", s->kernel->name, o, error, size);
    }
    free(s);
}
END_TEST

static bool there(void)
{
    lmb_error err = LMB_ERROR_INIT;
    if (lmb_cuda_open(LMB_BINARY_DIR "/launch", &cuda, &err) != LMB_OK) {
        printf("skipped: %s\n", err.msg);
        return false;
    }
    lmb_cuda_backends(cuda, backends);
    return true;
}

LMB_TEST_MAIN("core/cuda/norm_ranks", if (there()) add_loop(ranks_normalise_as_the_reference, 6);)
