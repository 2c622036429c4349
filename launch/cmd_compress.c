/* launch/cmd_compress.c - `limbeck compress`: the smallest cost that keeps the accuracy. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "core/onnx/onnx.h"
#include "datasets/split.h"
#include "launch/compress.h"
#include "launch/device.h"
#include "launch/job.h"
#include "launch/lock.h"
#include "launch/model_file.h"
#include "launch/runner.h"
#include "launch/signals.h"
#include "launch/softmax.h"
#include "launch/stage.h"
#include "launch/terminal.h"

static const char usage[] =
    "usage: limbeck compress CONFIG.yaml [--fresh] [--refresh] [--set key=value ...]\n"
    "       mpirun -n 2 limbeck compress CONFIG.yaml ...       moves, candidates of a step and the last trainings are shared\n\n"
    "Makes a trained classifier as fast (or small) as it can be without losing more accuracy than the budget allows. Section\n"
    "`compress`: teacher (an .onnx file, a checkpoint, or a `model` section; default <run>/teacher/model.onnx), objective, limits\n"
    "(accuracy_drop_max, latency_max, bytes_max, macs_max), tune, recover, finish, distill, finish_distill, prove, qat (bits and scales of\n"
    "the integers), equalise, correct_bias, device (to measure on; default this machine); `limbeck config keys` explains each. Decisions are made\n"
    "on the validation part (split.validation) by a paired test; the test part is only reported on. Where the teacher was trained\n"
    "on all of the training part, held_out: test decides on half of the test part and reports on the other.\n\n"
    "Leaves in <run>/compress: front.json and report.html (all points, and the front of those that no other beats), model.lmb and\n"
    "model-int8.onnx (the answer), points/NNN (every point's files), journal.jsonl and latency.jsonl (every decision and every\n"
    "measurement). Stopped at any instant, the same command goes on from the last decision; --fresh begins again, with the latencies\n"
    "that are measured already.\n\n"
    "--refresh: the same for a model that was updated (`limbeck train --continue`): the teacher is what the last update N has left,\n"
    "its new samples join the training part, and only operators are measured that <run>/compress has not; it leaves\n"
    "<run>/compress-N.\n\n"
    "Exit code 4: the budget can not be met; what is nearest to it is there, and the reason is said. See docs/compress.md.\n";

typedef struct compress_config {
    const lmb_tree *teacher, *compare_front;
    int64_t held_out;
    lmb_device_config device;
    lmb_search_config search;
} compress_config;
enum { FROM_VALIDATION, FROM_TEST };
static const char *const held_outs[] = { "validation", "test", NULL };
const lmb_field lmb_compress_fields[] = {
    LMB_TREE(compress_config, teacher,
             "an .onnx file, a checkpoint, or a `model` section; default <run>/teacher/model.onnx"),
    LMB_CHOICE(compress_config, held_out, FROM_VALIDATION, held_outs,
               "samples that decide. test: half of the test part, for a teacher that has seen "
               "the training part; the other half is reported on"),
    LMB_SECTION(compress_config, device, lmb_device_fields,
                "that models are timed on; none: this machine. docs/compress.md, \"On the device that it is for\""),
    LMB_TREE(compress_config, compare_front,
             "tune.json or front.json of other searches, one or a list: their fronts are shown beside this one's"),
    LMB_FIELD_END
};

typedef struct request {
    lmb_job job;
    compress_config c;
    lmb_graph *teacher, *teachers;       /* what is compressed, and who teach it: NULL, it itself */
    lmb_device *device;                  /* NULL: this machine; rank 0 */
    lmb_others others;                   /* fronts to compare with */
    const lmb_dataset *train, *held_out, *test; /* what is learnt from, what decides, and what is reported on */
    lmb_dataset *half[2];                /* of the test part, or NULL             */
    lmb_progress bar;
    double started;
    int decided;            /* in this process */
    lmb_refresh again;      /* --refresh; else of zeros */
    bool silent, unmet;     /* not rank 0; the budget is not met: told once all ranks have ended */
    char folder[LMB_STAGE_PATH], title[96], doing[64], why[400];
} request;

/* The rows of a search, and the teacher. */
static lmb_status bind(request *r, lmb_error *err)
{
    lmb_field rows[64];
    int n = 0;

    if (!r->job.c.compress)
        return LMB_FAIL(err, LMB_E_ARG, "the configuration has no section `compress`; docs/compress.md shows one");
    for (const lmb_field *f = lmb_compress_fields; f->key; f++)
        rows[n++] = *f;
    for (const lmb_field *f = lmb_search_fields; f->key; f++) {
        rows[n] = *f;
        rows[n++].offset += offsetof(compress_config, search);
    }
    rows[n] = (lmb_field)LMB_FIELD_END;
    LMB_TRY(lmb_fields_bind(rows, r->job.c.compress, &r->c, err));
    LMB_TRY(lmb_device_check(&r->c.device, err));
    bool finish = lmb_tree_has(r->job.c.compress, "finish");
    lmb_distill_config finish_distill;
    LMB_TRY(lmb_search_integers(&r->c.search, finish, err));
    return lmb_search_lessons(&r->c.search, finish, &finish_distill, err);
}

/* ---- data and teacher ---- */

static lmb_status halve_test(request *r, lmb_error *err)
{
    int64_t n = r->job.test->n, half = n / 2;
    uint32_t *order = malloc(sizeof *order * (size_t)n);
    lmb_status st = order ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to halve %lld samples", (long long)n);

    if (st == LMB_OK && half < 1)
        st = LMB_FAIL(err, LMB_E_ARG, "compress.held_out is test, and the test part has %lld samples", (long long)n);
    if (st == LMB_OK)
        st = lmb_compress_half_check(&r->c.search, half, err);
    if (st == LMB_OK)
        lmb_split((uint64_t)r->job.c.split.seed, (uint32_t)n, order);
    if (st == LMB_OK)
        st = lmb_dataset_subset(r->job.test, order, half, &r->half[0], err);
    if (st == LMB_OK)
        st = lmb_dataset_subset(r->job.test, order + half, n - half, &r->half[1], err);
    r->held_out = r->half[0];
    r->test = r->half[1];
    free(order);
    return st;
}

static lmb_status open_data(request *r, lmb_error *err)
{
    LMB_TRY(lmb_job_data(&r->job, err));
    LMB_TRY(lmb_job_training(&r->job, err));
    r->train = r->job.train;
    if (r->c.held_out == FROM_TEST)
        return halve_test(r, err);
    r->held_out = r->job.validation;
    r->test = r->job.test;
    if (!r->held_out)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "split.validation is 0: decisions are made on held-out samples. Give some of the training part, or, where the "
            "teacher was trained on all of it, compress.held_out: test");
    return LMB_OK;
}

static lmb_status read_teacher(request *r, lmb_error *err)
{
    if (r->again.update.number) { /* it teaches itself, whoever `distill.teachers` are */
        LMB_TRY(lmb_onnx_read(r->again.update.model, NULL, &r->teacher, err));
        return lmb_without_softmax(r->again.update.model, !r->silent, &r->teacher, err);
    }
    return lmb_compress_teacher(&r->job, r->c.teacher, r->c.search.distill.teachers, !r->silent, &r->teacher,
                                &r->teachers, err);
}

/* ---- progress ---- */

/* Another work (what stands before a comma is which) takes another time. */
static bool on_work(void *ctx, const char *what, int64_t done, int64_t all)
{
    request *r = ctx;
    size_t n = strcspn(what, ",");
    if (strncmp(r->doing, what, n) != 0 || r->doing[n]) {
        snprintf(r->doing, sizeof r->doing, "%.*s", (int)n, what);
        lmb_progress_begin(&r->bar);
    }
    if (!r->silent)
        lmb_progress_show(&r->bar, r->title, done, all, what);
    return !lmb_interrupted();
}

static void on_device(void *ctx, const char *line)
{
    request *r = ctx;
    lmb_progress_line(&r->bar, line);
}

static void on_point(void *ctx, const lmb_points *p, int point, const char *why)
{
    request *r = ctx;
    const lmb_point *x = &p->point[point], *best = &p->point[0];
    char line[960], small[40];
    bool step = x->kind == LMB_POINT_STEP && x->n_moves;
    double share = !step ? r->c.search.step : x->accepted || x->beaten ? x->step : x->step / 2;

    r->decided++;
    for (int i = 0; i < p->n; i++)
        if (p->point[i].accepted)
            best = &p->point[i];
    snprintf(line, sizeof line, "point %d (%s of %d): %.1f us, %.0f bytes, %.3g MMACs, held-out accuracy %.2f %%; %s",
             x->id, lmb_point_kinds[x->kind], x->parent < 0 ? 0 : x->parent, x->cost[LMB_GOAL_LATENCY],
             x->cost[LMB_GOAL_BYTES], x->cost[LMB_GOAL_MACS] / 1e6, 100 * lmb_point_accuracy(x), why);
    lmb_progress_line(&r->bar, line);
    lmb_compress_cost(&r->c.search, best, small, sizeof small);
    int n = snprintf(line, sizeof line, "  predicted / measured %.2f; accepted so far: point %d, %s",
                     x->predicted[LMB_GOAL_LATENCY] / x->cost[LMB_GOAL_LATENCY], best->id, small);
    if (x->kind != LMB_POINT_FINISHED) /* what the last training says beside itself is how long it takes */
        snprintf(line + n, sizeof line - (size_t)n, "; at least %.0f s to go%s",
                 lmb_compress_steps_left(&r->c.search, p, share) * (lmb_seconds() - r->started) / r->decided,
                 lmb_tree_has(r->job.c.compress, "recover") || lmb_tree_has(r->job.c.compress, "finish")
                     ? ", and the last trainings"
                     : "");
    lmb_progress_line(&r->bar, line);
    snprintf(r->title, sizeof r->title, "point %d, best %s", p->n, small);
    lmb_progress_begin(&r->bar);
}

/* ---- the whole ---- */

/* Candidates and moves are shared by any number of ranks, the last trainings by some. */
static void say_who_trains(const lmb_search_request *q)
{
    lmb_error why = LMB_ERROR_INIT;

    if (lmb_search_ranks_share(q, &why) != LMB_OK)
        fprintf(stderr, "recover and finish will train on rank 0 alone: %s\n", why.msg);
}

static lmb_status search(request *r, lmb_comm *comm, lmb_error *err)
{
    const lmb_compress_of of = { .job = &r->job,
                                 .c = &r->c.search,
                                 .held_out_part = held_outs[r->c.held_out],
                                 .device = &r->c.device,
                                 .train = r->train,
                                 .held_out = r->held_out,
                                 .teacher = r->teacher,
                                 .teachers = r->teachers,
                                 .update = &r->again.update };
    lmb_str identity = LMB_STR_INIT, config = LMB_STR_INIT;
    lmb_search_result x;
    lmb_status st = lmb_compress_identity(&of, &identity, err);
    if (st == LMB_OK)
        st = lmb_compress_config(&of, &config, err);

    if (st == LMB_OK) {
        lmb_search_request q = { .c = &r->c.search,
                                 .recover = lmb_tree_has(r->job.c.compress, "recover"),
                                 .finish = lmb_tree_has(r->job.c.compress, "finish"),
                                 .teacher = r->teacher,
                                 .teachers = r->teachers,
                                 .train = r->train,
                                 .held_out = r->held_out,
                                 .folder = r->folder,
                                 .identity = identity.text,
                                 .comm = comm,
                                 .device = lmb_device_timer(r->device),
                                 .watch = { { on_work, r }, on_point, r } };
        if (!r->silent)
            say_who_trains(&q);
        lmb_progress_begin(&r->bar);
        r->started = lmb_seconds();
        snprintf(r->title, sizeof r->title, "begin");
        st = lmb_search_run(&q, &x, err);
        lmb_progress_end(&r->bar);
    }
    if (st == LMB_E_STOPPED && !r->silent)
        fprintf(stderr, "stopped; the same command goes on from the last decision\n");
    const bool searched = st == LMB_OK;
    if (searched && !r->silent) {
        const lmb_compress_end end = { &x, &r->c.search, r->teacher, r->held_out->n, r->test, &r->others, r->folder,
            config.text };
        st = lmb_compress_leave(&end, err);
        r->unmet = !x.met;
        snprintf(r->why, sizeof r->why, "%s", x.why);
    }
    if (searched)
        lmb_search_result_free(&x);
    lmb_str_free(&identity);
    lmb_str_free(&config);
    return st;
}

static void close_request(request *r)
{
    lmb_graph_destroy(r->teacher);
    lmb_device_close(r->device);
    lmb_graph_destroy(r->teachers);
    lmb_others_free(&r->others);
    lmbi_update_last_free(&r->again.update);
    lmb_dataset_destroy(r->half[0]);
    lmb_dataset_destroy(r->half[1]);
    lmb_job_close(&r->job);
}

/* What the configuration's own teacher will be, untrained. */
static lmb_status blank_teacher(request *r, lmb_error *err)
{
    lmb_stage_config stage;

    LMB_TRY(lmb_fields_bind(lmb_stage_fields, r->job.c.teacher, &stage, err));
    LMB_TRY(lmb_model_of(&r->job, stage.model ? stage.model : r->job.c.model, 1, false, &r->teacher, err));
    return lmb_without_softmax("teacher.model", false, &r->teacher, err);
}

lmb_status lmb_compress_check(const char *path, const lmb_args *a, bool quiet, lmb_error *err)
{
    request r = { .silent = quiet };
    lmb_budget b;

    LMB_TRY(lmb_job_open(path, a, LMB_JOB_DATA_ONLY, &r.job, err));
    lmb_status st = bind(&r, err);
    if (st == LMB_OK)
        st = lmb_search_budget(&r.c.search, &b, err);
    if (st == LMB_OK)
        st = lmb_others_read(r.c.compare_front, &r.others, err);
    if (st == LMB_OK)
        st = open_data(&r, err);
    /* by this configuration: it need not be there yet */
    bool trained_before = !r.c.teacher && !r.c.search.distill.teachers && r.job.c.teacher;
    if (st == LMB_OK)
        st = trained_before ? blank_teacher(&r, err) : read_teacher(&r, err);
    const lmb_search_request q = { .c = &r.c.search,
                                   .recover = lmb_tree_has(r.job.c.compress, "recover"),
                                   .finish = lmb_tree_has(r.job.c.compress, "finish"),
                                   .teacher = r.teacher,
                                   .teachers = r.teachers,
                                   .train = r.job.train,
                                   .held_out = r.held_out };
    if (st == LMB_OK)
        st = lmb_search_check(&q, err);
    if (st == LMB_OK && !quiet)
        printf("%s: compress is sound: %lld held-out samples decide\n", path, (long long)r.held_out->n);
    close_request(&r);
    return st;
}

typedef struct start {
    request *r;
    bool fresh, refresh;
} start;

static lmb_status compress(void *ctx, lmb_comm *comm, lmb_error *err)
{
    request *r = ((start *)ctx)->r;
    lmb_budget b;
    int lock = -1;

    LMB_TRY(lmb_search_budget(&r->c.search, &b, err));
    LMB_TRY(lmb_others_read(r->c.compare_front, &r->others, err));
    r->silent = comm->rank != 0;
    LMB_TRY(open_data(r, err));
    LMB_TRY(lmb_stage_path(r->folder, r->job.c.run, "compress", "", err));
    if (((start *)ctx)->refresh) {
        LMB_TRY(lmb_refresh_open(&r->job, &r->c.search, r->silent, &r->again, r->folder, err));
        r->train = r->again.update.train;
    }
    LMB_TRY(read_teacher(r, err));
    if (!r->silent)
        LMB_TRY(lmb_lock(r->folder, 60, NULL, &lock, err));
    lmb_signals_catch(NULL);
    if (!r->silent && *r->c.device.name)
        LMB_TRY(lmb_device_open(&r->c.device, on_device, r, &r->device, err));
    bool fresh = ((start *)ctx)->fresh && !r->silent;
    lmb_status st = r->silent ? LMB_OK : lmb_fresh_begin(r->folder, fresh, err);
    if (st == LMB_OK)
        st = search(r, comm, err);
    lmb_error later = LMB_ERROR_INIT;
    lmb_status end = fresh ? lmb_fresh_end(r->folder, &later) : LMB_OK;
    if (st == LMB_OK && end != LMB_OK)
        st = LMB_FAIL(err, end, "%s", later.msg);
    lmb_unlock(lock);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "!fresh", "!refresh", NULL };
    request r = { 0 };
    lmb_args a;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    LMB_TRY(lmb_job_open(a.word[0], &a, LMB_JOB_DATA_ONLY, &r.job, err));
    lmb_status st = bind(&r, err);
    start s = { &r, lmb_args_get(&a, "fresh", NULL) != NULL, lmb_args_get(&a, "refresh", NULL) != NULL };
    if (st == LMB_OK)
        st = lmb_with_ranks(compress, &s, err);
    if (st == LMB_OK && r.unmet)
        st = LMB_FAIL(err, LMB_E_UNMET, "%s", r.why);
    close_request(&r);
    return st;
}

const lmb_cmd lmb_cmd_compress = { "compress", "the fastest student that keeps its accuracy, under a budget", usage,
                                   run };
