/* Mirrors distill/quantize/qat.c, steps.c and unfolded.c where they are trained on a GPU: a student with fake
 * quantisation, alone and taught, is one plan there and one recorded step, its observers and learned steps move as on
 * the processor, its checkpoint goes on wherever it is loaded, and what it becomes answers with the edge runtime's
 * integers. Runs on what LMB_CUDA_MODULE names: the played module, whose kernels run on the host, or, labelled gpu, the
 * real one. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cuda/device.h"
#include "core/passes/fold.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/ptq.h"
#include "distill/quantize/qat.h"
#include "distill/quantize/qdq.h"
#include "distill/quantize/unfolded.h"
#include "tests/gpu_main.h"
#include "tests/train/from_text.h"
#include "train/checkpoint.h"
#include "train/loss.h"

enum { ROWS = 16, EPOCHS = 2 };

static const struct way {
    const char *qat, *precision;
    bool taught, unfolded;
} ways[] = {
    { "{momentum: 0.9}", "f32", false },
    { "{observer: minmax, bits: 4}", "tf32", true },
    { "{scheme: learned, bits: 4}", "f32", true },
    { "{scheme: learned}", "tf32", false },
    { "{scales: power_of_two, activations: symmetric}", "f32", true },
    { "{momentum: 0.9}", "f32", false, true },
    { "{scales: power_of_two}", "f32", false, true },
    { "{scheme: learned, bits: 4}", "tf32", true, true },
};
enum { N_WAYS = sizeof ways / sizeof *ways };

static lmb_error err;
static lmb_dataset *data;
static lmb_graph *teacher, *student, *base; /* base: of one that is unfolded */
static lmb_qat_config qat;
static lmb_objective objective;
static char remark[600];

static void set_up(const struct way *w)
{
    lmb_config *d = config_of("{name: synthetic, train: 112, classes: 4, height: 8, width: 8, noise: 0.4}"),
               *c = config_of(w->qat);
    lmb_graph *model;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_dataset_open(lmb_config_root(d), LMB_PART_TRAIN, &data, &err));
    ck_ok(lmb_fields_bind(lmb_qat_fields, lmb_config_root(c), &qat, &err));
    teacher = model_of("{name: lenet, mean: 100, scale: 0.02}", data, 3);
    model = model_of("{name: resnet, depth: 8, width: 4, mean: 100, scale: 0.02}", data, 5);
    const lmb_ptq_config p = { .calibration = 64, .seed = 1, .backend = "portable", .threads = 1, .qat = &qat };
    if (w->unfolded) {
        ck_ok(lmb_unfolded_start(model, &p, data, &base, &student, &err));
    } else if (qat.scheme == LMB_QAT_LEARNED) {
        ck_ok(lmb_ptq_start(model, &p, data, &student, &err));
    } else { /* observers that have seen nothing yet */
        lmb_graph *folded;
        ck_ok(lmb_pass_fold(model, &folded, &err));
        ck_ok(lmb_pass_qat(folded, &qat, &student, &err));
        lmb_graph_destroy(folded);
    }
    objective = (lmb_objective){ .label_smoothing = 0.1 };
    if (w->taught)
        objective = (lmb_objective){ .distill = { .alpha = 0.6, .temperature = 2 }, .teacher = teacher, .rows = ROWS };
    lmb_graph_destroy(model);
    lmb_config_destroy(c);
    lmb_config_destroy(d);
}

static void tear_down(void)
{
    lmb_graph_destroy(teacher);
    lmb_graph_destroy(student);
    lmb_graph_destroy(base);
    base = NULL;
    lmb_dataset_destroy(data);
}

static bool is_played(void)
{
    return strcmp(lmb_gpu_backend(test_gpu, LMB_CUDA_F32_EXACT)->device->name, "a played GPU") == 0;
}

/* ---- one plan ---- */

/* Fake quantisation, its gradients, observers and steps among the rest: no step of either makes the trip to the host.
 */
START_TEST(every_step_is_a_kernel_of_the_device)
{
    static const lmb_cuda_precision in[] = { LMB_CUDA_F32_EXACT, LMB_CUDA_TF32_PRODUCTS };
    const struct way *w = &ways[_i];
    const lmb_plan *plan;
    lmb_program *p;
    lmb_gpu *gpu;
    int fake = 0, steps = 0;

    set_up(w);
    lmb_loss loss = lmb_objective_loss(&objective);
    ck_ok(lmb_gpu_open(0, &gpu, &err));
    const lmb_backend *list[] = { lmb_gpu_backend(gpu, in[strcmp(w->precision, "tf32") == 0]), NULL };
    ck_ok(lmb_program_create(student, &loss, list, &p, &err));
    ck_ok(lmb_program_plan(p, ROWS, false, &plan, &err));
    for (int i = 0; i < lmb_plan_steps(plan); i++) {
        lmb_plan_step s = lmb_plan_step_at(plan, i);
        ck_assert_msg(strcmp(s.kernel, "reference") != 0, "%s: %s", s.op, w->qat);
        fake += s.op && strcmp(s.op, "FakeQuant") == 0;
        steps += s.op && strcmp(s.op, "FakeQuantGrad") == 0;
    }
    ck_assert_int_ge(fake, 20); /* of nine layers' weights, and of activations */
    ck_assert_int_ge(steps, fake - 1);
    lmb_program_destroy(p);
    lmb_gpu_close(gpu);
    tear_down();
}
END_TEST

/* ---- trainings ---- */

typedef struct result {
    int n_slots;
    size_t n;
    float *state, *slot;
} result;

static bool stop_at(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    const int64_t *last = ctx;
    (void)batches, (void)loss, (void)accuracy, (void)rate;
    return epoch * 4 + batch < *last;
}

static lmb_status epoch_done(void *ctx, lmb_trainer *t, const lmb_epoch *e, lmb_error *er)
{
    (void)ctx, (void)t, (void)er;
    snprintf(remark, sizeof remark, "%s", e->steps ? e->steps : "");
    return LMB_OK;
}

static float *copy_of(const float *v, size_t n)
{
    float *c = malloc(n * sizeof *c);
    memcpy(c, v, n * sizeof *c);
    return c;
}

/* With `from` it goes on from that checkpoint; with `to` it ends after `batches` steps, in that one. */
static result train(const struct way *w, const char *backend, const char *graph, const char *from, const char *to,
                    int64_t batches)
{
    char text[200];
    snprintf(text, sizeof text, "{epochs: %d, batch: 32, shard: 16, lr: 0.02, seed: 9, threads: 1, clip: 2, graph: %s}",
             EPOCHS, graph);
    lmb_config *c = config_of(text);
    lmb_loss loss = lmb_objective_loss(&objective);
    lmb_train_config settings;
    lmb_trainer *t;

    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &settings, &err));
    settings.backend = backend;
    if (lmb_train_on_gpu(&settings) && strcmp(w->precision, "tf32") == 0)
        settings.precision = LMB_TRAIN_TF32;
    ck_ok(lmb_trainer_create(&settings, student, &loss, data, NULL, NULL, &t, &err));
    lmb_trainer_state *s = lmb_trainer_state_of(t);
    if (from) {
        ck_ok(lmb_trainer_gather(t, &err));
        ck_ok(lmb_checkpoint_load(from, s, "", NULL, &err));
        ck_ok(lmb_trainer_scatter(t, &err));
    }
    const lmb_train_watch watch = { to ? stop_at : NULL, epoch_done, &batches, NULL, false };
    lmb_status st = lmb_trainer_run(t, &watch, &err);
    ck_assert_msg(st == (to ? LMB_E_STOPPED : LMB_OK), "%s", err.msg);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_trainer_gather(t, &err));
    if (to)
        ck_ok(lmb_checkpoint_save(to, s, "", &err));
    result r = { s->n_slots, s->layout->count, copy_of(s->state, s->layout->count),
                 copy_of(s->slot[0], s->layout->count) };
    lmb_trainer_drop(t);
    lmb_trainer_destroy(t);
    lmb_config_destroy(c);
    return r;
}

static void done(result *r)
{
    free(r->state);
    free(r->slot);
}

static void same(const result *a, const result *b)
{
    ck_assert_uint_eq(a->n, b->n);
    ck_assert_mem_eq(a->state, b->state, a->n * sizeof *a->state);
    ck_assert_mem_eq(a->slot, b->slot, a->n * sizeof *a->slot);
}

/* Segment by segment, so that a range or a step is not lost beside large weights. */
static void close_to(const result *a, const result *b, double tolerance)
{
    lmb_state_layout *l;

    ck_ok(lmb_state_layout_create(student, &l, &err));
    for (int i = 0; i < l->n; i++) {
        const lmb_segment *s = &l->segment[i];
        double size = 0, off = 0;
        for (size_t k = s->offset; k < s->offset + s->count; k++) {
            size = fmax(size, fabs((double)a->state[k]));
            off = fmax(off, fabs((double)a->state[k] - b->state[k]));
        }
        ck_assert_msg(off <= tolerance * size, "%s: %g off, of %g", student->value[s->value].name, off, size);
    }
    lmb_state_layout_destroy(l);
}

/* Everything that is to move has: ranges of observers, steps that are learned, weights. */
static void has_moved(const result *r)
{
    float *began = malloc(r->n * sizeof *began);
    int ranges = 0, steps = 0;
    lmb_state_layout *l;

    ck_ok(lmb_state_layout_create(student, &l, &err));
    lmb_state_from_graph(l, student, began);
    for (int i = 0; i < l->n; i++) {
        const lmb_segment *s = &l->segment[i];
        const char *name = student->value[s->value].name;
        bool range = s->role == LMB_ROLE_OBSERVER, step = name && strstr(name, ".step");
        if (range && s->has_next) {
            ck_assert(isfinite(r->state[s->offset]));
            /* a range from 0 on begins there after the first look, and with learned steps nothing looks any longer */
            ranges += r->state[s->offset] != began[s->offset];
        } else if (step) {
            steps += memcmp(began + s->offset, r->state + s->offset, s->count * sizeof *began) != 0;
        }
    }
    ck_assert_int_ge(ranges + steps, 10);
    lmb_state_layout_destroy(l);
    free(began);
}

START_TEST(replayed_as_step_by_step)
{
    const struct way *w = &ways[_i];

    set_up(w);
    result replayed = train(w, "cuda", "on", NULL, NULL, 0);
    ck_assert_msg(strstr(remark, "replays of one recorded step"), "'%s'", remark);
    result each = train(w, "cuda", "off", NULL, NULL, 0);
    same(&replayed, &each);
    has_moved(&replayed);
    done(&replayed);
    done(&each);
    tear_down();
}
END_TEST

/* A number that rounds to the other side moves by a whole step, so that a GPU's other order of sums shows more than
 * without integers; TF32 rounds what is multiplied. */
static double tolerance(const struct way *w)
{
    return is_played() ? 1e-4 : strcmp(w->precision, "tf32") == 0 ? 0.2 : 1e-2;
}

/* The processor's checkpoint goes on there, and the other way round. */
START_TEST(checkpoints_go_on_anywhere)
{
    const struct way *w = &ways[_i];
    char folder[] = "/tmp/lmb_qat_gpu_XXXXXX", path[200], before[210];

    set_up(w);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/state.h5", folder);
    snprintf(before, sizeof before, "%s.prev", path);
    result host = train(w, "portable", "auto", NULL, NULL, 0), gpu = train(w, "cuda", "on", NULL, NULL, 0);
    close_to(&host, &gpu, tolerance(w));
    static const char *const backend[] = { "portable", "cuda" };
    for (int k = 1; k < 4; k++) { /* not from the processor to itself */
        result half = train(w, backend[k & 1], "auto", NULL, path, 5),
               whole = train(w, backend[k >> 1], "auto", path, NULL, 0);
        if (k == 3)
            same(&gpu, &whole);
        else
            close_to(&host, &whole, tolerance(w));
        done(&half);
        done(&whole);
        unlink(path);
        unlink(before);
    }
    rmdir(folder);
    done(&host);
    done(&gpu);
    tear_down();
}
END_TEST

/* ---- what it becomes ---- */

static float *integers(const lmb_str *file, const char *kernels, lmb_metrics *m)
{
    float *logits = malloc(sizeof *logits * (size_t)(data->n * data->classes));
    ck_ok(lmb_metrics_init(m, data->classes, &err));
    ck_ok(lmb_deploy_evaluate(file->text, file->n, data, kernels, 1, m, logits, NULL, &err));
    return logits;
}

/* Trained on the GPU, then judged there by int8 inference: the integers of core/edge's scalar kernels; its simulation
 * in floats decides as they do. */
START_TEST(judged_by_its_integers)
{
    const struct way *w = &ways[_i];
    lmb_graph *second = NULL, *frozen, *qdq;
    lmb_str file = LMB_STR_INIT;
    lmb_metrics edge, there, floats;
    lmb_state_layout *l;

    set_up(w);
    result r = train(w, "cuda", "on", NULL, NULL, 0);
    ck_ok(lmb_state_layout_create(student, &l, &err));
    ck_ok(lmb_state_to_graph(l, r.state, student, &err));
    if (w->unfolded)
        ck_ok(lmb_unfolded_fold(base, student, &qat, &second, &err));
    ck_ok(lmb_pass_qat_freeze(second ? second : student, &frozen, &err));
    ck_ok(lmb_pass_qdq(frozen, &qdq, &err));
    ck_ok(lmb_lower(qdq, &file, &err));
    float *want = integers(&file, "scalar", &edge), *got = integers(&file, LMB_DEPLOY_GPU, &there);
    ck_assert_mem_eq(want, got, sizeof *want * (size_t)(data->n * data->classes));
    ck_assert_mem_eq(edge.confusion, there.confusion, sizeof *edge.confusion * (size_t)(data->classes * data->classes));
    ck_ok(lmb_metrics_init(&floats, data->classes, &err));
    ck_ok(lmb_evaluate_gpu(frozen, data, &floats, &err));
    ck_assert_int_eq(floats.n, edge.n);
    int64_t apart = 0;
    for (int64_t i = 0; i < data->classes * data->classes; i++)
        apart += llabs((long long)floats.confusion[i] - (long long)edge.confusion[i]);
    ck_assert_int_le(apart, 2 * data->n / 10); /* ties of coarse logits: one picture counts twice */
    lmb_metrics_deinit(&edge);
    lmb_metrics_deinit(&there);
    lmb_metrics_deinit(&floats);
    free(want);
    free(got);
    lmb_str_free(&file);
    lmb_graph_destroy(second);
    lmb_graph_destroy(frozen);
    lmb_graph_destroy(qdq);
    lmb_state_layout_destroy(l);
    done(&r);
    tear_down();
}
END_TEST

LMB_GPU_TEST_MAIN("distill/qat_gpu", add_loop(every_step_is_a_kernel_of_the_device, N_WAYS);
                  add_loop(replayed_as_step_by_step, N_WAYS); add_loop(checkpoints_go_on_anywhere, N_WAYS);
                  add_loop(judged_by_its_integers, N_WAYS);)
