/* launch/compress_end.c - the end of a search: the test part is looked at, files are left, the answer is said. See
 * compress.h. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/file.h"
#include "core/edge/time/energy.h"
#include "distill/search/lines.h"
#include "launch/compress.h"
#include "launch/compress_tested.h"

/* The answer's files, where people look for them. */
static lmb_status copy_answer(const lmb_compress_end *r, int id, lmb_error *err)
{
    static const char *const names[] = { "model.lmb", "model-int8.onnx" };

    for (int i = 0; i < 2; i++) {
        char from[LMB_SEARCH_PATH], to[LMB_STAGE_PATH];
        void *data;
        size_t n;
        LMB_TRY(lmb_search_file(from, r->folder, id, names[i], err));
        LMB_TRY(lmb_path_join(to, sizeof to, r->folder, names[i], err));
        LMB_TRY(lmb_file_read(from, (size_t)1 << 30, &data, &n, err));
        lmb_status st = lmb_file_write(to, data, n, err);
        free(data);
        LMB_TRY(st);
    }
    return LMB_OK;
}

static lmb_status write_report(const lmb_compress_end *r, const lmb_compress_report *rep, lmb_error *err)
{
    lmb_str json = LMB_STR_INIT, page = LMB_STR_INIT;
    char path[LMB_STAGE_PATH];

    lmb_compress_json(rep, &json);
    lmb_status st = lmb_str_check(&json, err);
    if (st == LMB_OK)
        st = lmb_path_join(path, sizeof path, r->folder, "front.json", err);
    if (st == LMB_OK)
        st = lmb_file_write(path, json.text, json.n, err);
    if (st == LMB_OK)
        st = lmb_compress_page(rep, &page, err);
    if (st == LMB_OK)
        st = lmb_str_check(&page, err);
    if (st == LMB_OK)
        st = lmb_path_join(path, sizeof path, r->folder, "report.html", err);
    if (st == LMB_OK)
        st = lmb_file_write(path, page.text, page.n, err);
    lmb_str_free(&json);
    lmb_str_free(&page);
    return st;
}

/* Why no point has an energy; "" where one has. */
static void find_energy(const lmb_compress_end *r, const lmb_timer_about *about, char *why, size_t cap)
{
    lmb_energy e;

    *why = '\0';
    for (int i = 0; i < r->result->points.n; i++)
        if (r->result->points.point[i].timing.energy > 0)
            return;
    if (r->c->table.frozen)
        snprintf(why, cap, "the latency table is frozen, and nothing was measured");
    else if (*about->device && *about->no_energy)
        snprintf(why, cap, "%s", about->no_energy);
    else if (*about->device || lmb_energy_open(LMB_ENERGY_ROOT, &e, why, cap))
        snprintf(why, cap, "the counters could not be read while the points were measured");
}

static void say_time(const lmb_point *p, double deadline, const lmb_timer_about *about, const char *no_energy)
{
    if (*about->device)
        printf("measured on %s: %s, kernels %s\n", about->device, about->processor, about->kernels);
    printf("point %d: %.0f predictions a second on one thread", p->id, p->timing.throughput);
    if (deadline > 0)
        printf(", of which %.*g %% take longer than %.10g us", p->timing.missed < 0.1 ? 2 : 3,
               100 * p->timing.missed, deadline);
    if (p->timing.energy > 0)
        printf(", %.3g uJ each of the whole processor\n", p->timing.energy);
    else
        printf("; no energy: %s\n", no_energy);
}

static void say_answer(const lmb_compress_end *r, const lmb_compress_report *rep)
{
    const lmb_search_result *x = rep->result;
    const lmb_point *p = &x->points.point[x->best], *first = &x->points.point[0];
    const lmb_compress_test *t = &rep->test[x->best];
    lmb_str said = LMB_STR_INIT;

    printf("teacher: test accuracy %.2f %% in float\n", 100 * rep->teacher.accuracy);
    if (rep->teacher_us > 0 && *rep->about->device)
        printf("teacher: %.1f us in float on this machine, %.1f us as integers on %s\n", rep->teacher_us,
               first->cost[LMB_GOAL_LATENCY], rep->about->device);
    else if (rep->teacher_us > 0)
        printf("teacher: %.1f us in float, %.1f us as integers\n", rep->teacher_us, first->cost[LMB_GOAL_LATENCY]);
    printf("point %d: test accuracy %.2f %% (95 %% interval %.2f to %.2f), %.1f us (p99 %.1f), %.0f bytes, %.0f MACs\n",
           p->id, 100 * t->accuracy, 100 * t->lo, 100 * t->hi, p->cost[LMB_GOAL_LATENCY], p->timing.p99,
           p->cost[LMB_GOAL_BYTES], p->cost[LMB_GOAL_MACS]);
    lmb_compress_tested(&rep->tested, x->budget.drop, x->met, &said);
    if (!said.failed)
        printf("point %d: %s\n", p->id, said.text);
    lmb_str_free(&said);
    double there = (double)x->teacher_right / (double)rep->held_out;
    if (there > rep->teacher.hi + 0.02)
        printf(
            "beware: the teacher is right on %.2f %% of the held-out samples and %.2f %% of the test samples. It seems to have been trained on them, "
            "so that drops are overstated; compress.held_out: test decides on samples that it has not seen\n",
            100 * there, 100 * rep->teacher.accuracy);
    say_time(p, x->deadline, rep->about, rep->no_energy);
    printf("%s\n%s/front.json\n", x->why, r->folder);
}

static lmb_status leave(const lmb_compress_end *r, lmb_latency *table, lmb_error *err)
{
    const lmb_search_result *x = r->result;
    lmb_compress_test *test = calloc((size_t)x->points.n + 1, sizeof *test);
    lmb_compress_report rep = { .result = x,
                                .c = r->c,
                                .held_out = r->held_out,
                                .test = test,
                                .others = r->others,
                                .level = x->budget.drop < 0
                                             ? lmb_point_accuracy(&x->points.point[x->best])
                                             : (double)x->teacher_right / (double)r->held_out - x->budget.drop,
                                .table = table,
                                .about = lmb_latency_about(table),
                                .folder = r->folder,
                                .config = r->config };
    char no_energy[LMB_ENERGY_PATH + 80];
    lmb_status st = test ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a report");

    find_energy(r, rep.about, no_energy, sizeof no_energy);
    rep.no_energy = no_energy;
    lmb_others_on(r->others, rep.about->device);
    for (int i = 0; st == LMB_OK && i < x->points.n; i++)
        if (x->points.point[i].front && i != x->best)
            st = lmb_compress_test_point(r, i, NULL, &test[i], err);
    if (st == LMB_OK)
        st = lmb_compress_test_answer(r, test, &rep, err);
    if (st == LMB_OK)
        st = copy_answer(r, x->best, err);
    if (st == LMB_OK)
        st = write_report(r, &rep, err);
    if (st == LMB_OK)
        say_answer(r, &rep);
    free(test);
    return st;
}

lmb_status lmb_compress_leave(const lmb_compress_end *r, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    lmb_latency *table;

    LMB_TRY(lmb_path_join(path, sizeof path, r->folder, "latency.jsonl", err));
    const char *file = *r->c->table.file ? r->c->table.file : path;
    if (!lmb_file_exists(file))
        return LMB_FAIL(err, LMB_E_IO,
                        "%s is not there, by which the points were measured: put it back, or " LMB_LINES_AFRESH, file);
    LMB_TRY(lmb_latency_open(file, true, NULL, &table, err));
    lmb_status st = leave(r, table, err);
    lmb_latency_close(table);
    return st;
}
