/* Mirrors distill/search/search.c, step.c, finish.c: what a search decides by what a machine measures, which here is one
 * that was made up; trainings that diverge; a teacher whose integers alone lose too much. */
#include "distill/search/search.h"

#include <math.h>

#include "comm/collective.h"
#include "core/onnx/onnx.h"
#include "tests/distill/search.h"
#include "tests/distill/train_on.h"

enum { SAMPLES = 240 };

static lmb_comm *comm;
static lmb_dataset *data;
static lmb_graph *teacher;

/* ---- a machine ---- */

/* slower: a whole model takes the longer the less there is to compute. disturbed: every model's first time is ten times
 * what it takes. clock: once a whole model was measured, all takes so many times as long; 0: as long as before. */
typedef struct machine {
    bool slower, disturbed; /* disturbed: each third measurement of a whole model */
    double clock;           /* how many times as slow it is from measurement `from` on, up to `until`; 0: to the end */
    int from, until;
    double first; /* microseconds of the first */
    int wholes;
} machine;

static double clock_of(const machine *m)
{
    bool changed = m->wholes >= (m->from ? m->from : 1) && (!m->until || m->wholes < m->until);
    return m->clock > 0 && changed ? m->clock : 1;
}

typedef struct held { const lmb_deployed *d; } held;

static lmb_status ready(void *ctx, lmb_timer_about *out, lmb_error *e)
{
    (void)ctx, (void)e;
    *out = (lmb_timer_about){ .device = "made up", .kernels = "none", .processor = "none" };
    return LMB_OK;
}

static lmb_status start(void *ctx, const struct lmb_deployed *d, void **bench, lmb_error *e)
{
    held *h = malloc(sizeof *h);

    (void)ctx, (void)e;
    h->d = d;
    *bench = h;
    return LMB_OK;
}

/* By its size: 1 us for 1000 MACs or for 100 bytes that it writes. */
static lmb_status op(void *ctx, void *bench, uint32_t i, double *us, lmb_error *e)
{
    const lmb_edge_model *m = &((held *)bench)->d->model;
    lmb_edge_op o;
    lmb_edge_tensor x, y;

    (void)e;
    lmb_edge_op_at(m, i, &o);
    lmb_edge_tensor_at(m, o.in[0], &x);
    lmb_edge_tensor_at(m, i + 1, &y);
    *us = 0.01 + (double)(y.h * y.w * y.c) / 100;
    if (o.kind == LMB_EDGE_CONV)
        *us += (double)(y.h * y.w * y.c * x.c * o.kernel[0] * o.kernel[1]) / o.groups / 1000;
    *us *= clock_of(ctx);
    return LMB_OK;
}

static lmb_status whole(void *ctx, void *bench, double sum, double deadline, lmb_timing *out, lmb_error *e)
{
    machine *m = ctx;
    double macs = (double)lmb_edge_macs(&((held *)bench)->d->model), us = m->slower ? 1e9 / macs : sum;

    (void)deadline, (void)e;
    us *= (m->disturbed && m->wholes % 3 == 0 ? 10 : 1) * clock_of(m);
    m->first = m->wholes ? m->first : us;
    m->wholes++;
    *out = (lmb_timing){ us, us, 1e6 / us, 0, 0 };
    return LMB_OK;
}

static lmb_status energy(void *ctx, void *bench, lmb_timing *out, lmb_error *e)
{
    (void)ctx, (void)bench, (void)out, (void)e;
    return LMB_OK;
}

static void over(void *ctx, void *bench)
{
    (void)ctx;
    free(bench);
}

/* ---- a search ---- */

static char said[8][640]; /* of the points, in their order */

static void on_point(void *ctx, const lmb_points *p, int point, const char *why)
{
    (void)ctx, (void)p;
    if (point < 8)
        snprintf(said[point], sizeof said[point], "%s", why);
}

static bool on_work(void *ctx, const char *what, int64_t done, int64_t all)
{
    (void)ctx, (void)what, (void)done, (void)all;
    return true;
}

static void begin(void)
{
    setup();
    ck_ok(lmbi_comm_open_self(&comm, &err));
    data = data_of(SAMPLES);
    teacher = make("{name: resnet, depth: 8, width: 8, mean: 120, scale: 0.015}");
    train_on(data, teacher, "{epochs: 6, batch: 40, lr: 0.05, threads: 1}");
    memset(said, 0, sizeof said);
}

static void end(void)
{
    char command[300];

    lmb_graph_destroy(teacher);
    lmb_dataset_destroy(data);
    lmb_comm_close(comm);
    snprintf(command, sizeof command, "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}

#define STEPS(n) "accuracy_drop_max: \"80 %\", steps: " #n ", step: 0.2, calibration: 40, "
#define TUNE "tune: {epochs: 2, batch: 40, lr: 0.02, threads: 1, clip: 1}"

static lmb_status search(const char *text, machine *m, lmb_search_result *out)
{
    const lmb_timer timer = { "made up", ready, start, op, whole, energy, over, m };
    lmb_search_config c;
    lmb_config *y = config_of(text);
    const lmb_tree *root = lmb_config_root(y);

    ck_ok(lmb_fields_bind(lmb_search_fields, root, &c, &err));
    const lmb_search_request r = { .c = &c,
                                   .recover = lmb_tree_has(root, "recover"),
                                   .finish = lmb_tree_has(root, "finish"),
                                   .teacher = teacher,
                                   .train = data,
                                   .held_out = data,
                                   .folder = dir,
                                   .identity = "test",
                                   .comm = comm,
                                   .device = m ? &timer : NULL,
                                   .watch = { { on_work, NULL }, on_point, NULL } };
    lmb_status st = lmb_search_run(&r, out, &err);
    lmb_config_destroy(y);
    return st;
}

static double measured_by_predicted(const lmb_point *p)
{
    return p->cost[LMB_GOAL_LATENCY] / p->predicted[LMB_GOAL_LATENCY];
}

static int accepted(const lmb_points *p, lmb_point_kind kind)
{
    int n = 0;
    for (int i = 0; i < p->n; i++)
        n += p->point[i].kind == kind && p->point[i].accepted;
    return n;
}

/* ---- by what is measured ---- */

/* On a machine where what was cut is slower nothing is accepted, whatever the table had predicted. */
START_TEST(what_takes_longer_is_rejected)
{
    static const char text[] = "{accuracy_drop_max: \"80 %\", step: 0.2, step_min: 0.11, calibration: 40, " TUNE
                               ", finish: {epochs: 1, batch: 40, lr: 0.002, threads: 1, clip: 1}}";
    machine m = { .slower = true };
    lmb_search_result r;

    ck_ok(search(text, &m, &r));
    ck_assert_int_ge(r.points.n, 3);
    ck_assert_int_eq(r.points.point[1].kind, LMB_POINT_STEP);
    ck_assert(lmb_point_saves_nothing(&r.points, &r.points.point[1]));
    ck_assert_int_eq(accepted(&r.points, LMB_POINT_STEP), 0);
    ck_assert_msg(strstr(said[1], "rejected: it takes ") && strstr(said[1], "point 0, which it was made of"), "%s",
                  said[1]);
    ck_assert(r.met);
    ck_assert(r.best == 0 || r.points.point[r.best].parent == 0);
    const lmb_point *last = &r.points.point[r.points.n - 1];
    ck_assert_int_eq(last->kind, LMB_POINT_FINISHED); /* the teacher: no step is what it begins with */
    ck_assert_int_eq(last->parent, 0);
    char file[LMB_SEARCH_PATH];
    lmb_graph *floats;
    ck_ok(lmb_search_file(file, dir, last->id, "model.onnx", &err)); /* to train on from */
    ck_ok(lmb_onnx_read(file, NULL, &floats, &err));
    lmb_graph_destroy(floats);
    lmb_search_result_free(&r);
}
END_TEST

/* A limit that is near is tried for as often as one that is far, before it is given up. */
START_TEST(a_near_limit_is_tried_for)
{
    char text[400];
    machine m = { .slower = true };
    lmb_search_result r;

    ck_ok(search("{" STEPS(1) TUNE "}", &m, &r));
    double us = r.points.point[0].cost[LMB_GOAL_LATENCY];
    lmb_search_result_free(&r);
    end();
    begin();
    snprintf(text, sizeof text,
             "{objective: accuracy, latency_max: \"%.6f us\", accuracy_drop_max: \"80 %%\", step: 0.1, step_min: "
             "0.02, calibration: 40, " TUNE "}", us * 0.988);
    m = (machine){ .slower = true };
    ck_ok(search(text, &m, &r));
    ck_assert_int_eq(r.points.n, 4); /* 10, 5 and 2.5 %, each no further than 1.2 */
    for (int i = 1; i < r.points.n; i++) {
        ck_assert_double_eq_tol(r.points.point[i].step, 0.012, 1e-6);
        ck_assert(!r.points.point[i].accepted);
    }
    ck_assert(!r.met && strstr(r.why, "steps below 2 %"));
    lmb_search_result_free(&r);
}
END_TEST

/* What costs too much is not trained at the end, however accurate it is. */
START_TEST(only_what_is_within_limits_is_finished)
{
    static const char text[] = "{objective: accuracy, bytes_max: \"5 kB\", accuracy_drop_max: \"3 %\", slack: \"90 %\", "
                               "step: 0.1, steps: 12, calibration: 40, tune: {epochs: 1, batch: 40, lr: 1.0e-9, "
                               "threads: 1}, finish: {epochs: 1, batch: 40, lr: 1.0e-9, threads: 1}}";
    lmb_search_result r;
    int finished = 0, outside = 0;

    ck_ok(search(text, &(machine){ .clock = 0 }, &r));
    for (int i = 0; i < r.points.n; i++) {
        const lmb_point *p = &r.points.point[i];
        outside += p->accepted && p->kind == LMB_POINT_STEP && p->cost[LMB_GOAL_BYTES] > 5000;
        if (p->kind != LMB_POINT_FINISHED)
            continue;
        finished++;
        ck_assert_double_le(r.points.point[p->parent].cost[LMB_GOAL_BYTES], 5000);
        ck_assert(!p->accepted); /* or nothing else would have been tried anyhow */
    }
    ck_assert_int_ge(outside, 2);
    ck_assert_int_ge(finished, 1);
    lmb_search_result_free(&r);
}
END_TEST

/* A search that has ended and has more steps to go: the multipliers are those that it ended with. */
START_TEST(multipliers_outlive_an_end)
{
    static const char text[] = "{objective: accuracy, bytes_max: \"3 kB\", accuracy_drop_max: \"80 %%\", step: 0.1, "
                               "steps: %d, calibration: 40, " TUNE
                               ", finish: {epochs: 1, batch: 40, lr: 1.0e-9, threads: 1}}";
    char few[400], more[400];
    lmb_search_result r;

    snprintf(few, sizeof few, text, 3);
    snprintf(more, sizeof more, text, 4);
    ck_ok(search(few, &(machine){ .clock = 0 }, &r));
    int was = r.points.n;
    ck_assert(r.points.point[was - 1].kind == LMB_POINT_FINISHED);
    lmb_search_result_free(&r);
    ck_ok(search(more, &(machine){ .clock = 0 }, &r));
    ck_assert_int_gt(r.points.n, was);
    const lmb_point *p = &r.points.point[was], *before = p - 1;
    while (before->kind == LMB_POINT_FINISHED)
        before--;
    ck_assert(p->kind == LMB_POINT_STEP && before->penalty.of[LMB_GOAL_BYTES] > 0);
    ck_assert_double_gt(p->penalty.of[LMB_GOAL_BYTES], before->penalty.of[LMB_GOAL_BYTES]);
    lmb_search_result_free(&r);
}
END_TEST

/* A moment in which the machine was slow is no reason to reject: it is measured once more. */
START_TEST(a_moment_decides_nothing)
{
    static const char text[] = "{" STEPS(2) TUNE "}";
    machine m = { .disturbed = true };
    lmb_search_result r;

    ck_ok(search(text, &m, &r));
    ck_assert_int_eq(r.points.n, 3);
    ck_assert_int_eq(accepted(&r.points, LMB_POINT_STEP), 2);
    for (int i = 1; i < 3; i++) /* each as fast as it is, and what was measured in such a moment as well */
        ck_assert_double_eq_tol(measured_by_predicted(&r.points.point[i]), 1, 1e-6);
    ck_assert_double_lt(r.points.point[0].cost[LMB_GOAL_LATENCY], m.first / 5);
    lmb_search_result_free(&r);
}
END_TEST

/* A machine that has become slower does not make slower models: what its parent takes longer beside it is taken off. */
START_TEST(a_slower_machine_makes_no_slower_model)
{
    static const char text[] = "{" STEPS(3) TUNE "}";
    machine m = { .clock = 1.3 };
    lmb_search_result r;

    ck_ok(search(text, &m, &r));
    ck_assert_int_eq(r.points.n, 4);
    for (int i = 1; i < r.points.n; i++) {
        const lmb_point *p = &r.points.point[i];
        ck_assert(p->accepted);
        ck_assert_double_eq_tol(measured_by_predicted(p), 1, 1e-6);
        ck_assert_double_eq_tol(p->beside / r.points.point[i - 1].timing.p50, 1.3, 1e-6);
        ck_assert_msg(strstr(said[i], "took 1.30 times as long") != NULL, "%s", said[i]);
    }
    lmb_points again;
    char journal[300];
    snprintf(journal, sizeof journal, "%s/journal.jsonl", dir);
    ck_ok(lmb_points_read(journal, "test", &again, &err));
    ck_assert_double_eq(again.point[3].beside, r.points.point[3].beside);
    lmb_points_free(&again);
    lmb_search_result_free(&r);
}
END_TEST

/* Not even if it becomes so between the first look at a step and the look at its parent, or was so for the first look
 * alone: a time counts that was taken between two of the parent's. Wholes: 0 the teacher, 1 the step, 2 the teacher. */
START_TEST(a_time_is_that_of_a_moment)
{
    static const char text[] = "{" STEPS(1) TUNE "}";
    static const machine became[] = { { .clock = 1.3, .from = 2 }, { .clock = 1.3, .from = 1, .until = 2 },
                                      { .clock = 1.3, .from = 3 }, { .clock = 1.3, .from = 2, .until = 3 },
                                      { .clock = 1.3, .from = 3, .until = 4 } };
    machine m = became[_i];
    lmb_search_result r;

    ck_ok(search(text, &m, &r));
    ck_assert_int_eq(r.points.n, 2);
    ck_assert(r.points.point[1].accepted);
    ck_assert_double_eq_tol(measured_by_predicted(&r.points.point[1]), 1, 1e-6);
    lmb_search_result_free(&r);
}
END_TEST

/* By less than what is taken off: then a step is faster than its parent where it is faster beside it. */
START_TEST(a_little_slower_is_no_reason)
{
    static const char text[] = "{accuracy_drop_max: \"80 %\", steps: 1, step: 0.02, step_min: 0.01, calibration: 40, " TUNE
                               "}";
    machine m = { .clock = 1.045 };
    lmb_search_result r;

    ck_ok(search(text, &m, &r));
    const lmb_point *p = r.points.point;
    ck_assert_int_eq(r.points.n, 2);
    ck_assert_double_gt(p[1].cost[LMB_GOAL_LATENCY], p[0].cost[LMB_GOAL_LATENCY]);
    ck_assert(p[1].accepted && !lmb_point_saves_nothing(&r.points, &p[1]));
    lmb_search_result_free(&r);
}
END_TEST

/* And one that has become faster makes none that is faster than what it was made of. */
START_TEST(a_faster_machine_saves_nothing)
{
    static const char text[] = "{" STEPS(1) TUNE "}";
    machine m = { .slower = true, .clock = 0.1 };
    lmb_search_result r;

    ck_ok(search(text, &m, &r));
    const lmb_point *p = r.points.point;
    ck_assert_int_eq(r.points.n, 2);
    ck_assert_double_lt(p[1].cost[LMB_GOAL_LATENCY], m.first / 5);
    ck_assert(!p[1].accepted && lmb_point_saves_nothing(&r.points, &p[1]));
    ck_assert_double_eq_tol(p[1].beside, m.first / 10, 1e-6);
    /* which was never that slow, here and for who goes on with this journal */
    lmb_points again;
    char journal[300];
    snprintf(journal, sizeof journal, "%s/journal.jsonl", dir);
    ck_ok(lmb_points_read(journal, "test", &again, &err));
    for (int i = 0; i < 2; i++) {
        const lmb_point *first = i ? again.point : p;
        ck_assert_double_eq(first->cost[LMB_GOAL_LATENCY], p[1].beside);
        ck_assert_double_eq(first->timing.p50, p[1].beside);
        ck_assert_double_eq_tol(first->timing.throughput * p[1].beside, 1e6, 1e3);
    }
    lmb_points_free(&again);
    lmb_search_result_free(&r);
}
END_TEST

/* ---- candidates ---- */

/* The kind of all moves of a point; -1: of several. */
static int only_kind(const lmb_point *p)
{
    for (int i = 1; i < p->n_moves; i++)
        if (p->move[i].kind != p->move[0].kind)
            return -1;
    return p->n_moves ? (int)p->move[0].kind : -1;
}

/* A step has a candidate of each technique beside that of all moves, and what one saves counts beside what it loses. */
START_TEST(each_technique_makes_a_candidate)
{
    static const char text[] = "{" STEPS(1) "candidates: 4, tile: 2, min_channels: 2, " TUNE "}";
    machine m = { 0 };
    lmb_search_result r;
    bool alone[LMB_MOVE_KINDS] = { false };
    int best = -1;
    double least = INFINITY;

    ck_ok(search(text, &m, &r));
    ck_assert_int_ge(r.points.n, 4);
    for (int i = 1; i < r.points.n; i++) {
        const lmb_point *p = &r.points.point[i];
        double score = (1 - lmb_point_accuracy(p)) / 0.8 + log2(p->cost[LMB_GOAL_LATENCY]);
        ck_assert(p->kind == LMB_POINT_STEP && p->round == 1 && p->parent == 0);
        if (only_kind(p) >= 0)
            alone[only_kind(p)] = true;
        if ((p->accepted || p->beaten) && score < least) {
            least = score;
            best = i;
        }
    }
    ck_assert(alone[LMB_MOVE_SHRINK] && alone[LMB_MOVE_FACTOR] && alone[LMB_MOVE_BLOCK]);
    ck_assert_int_eq(accepted(&r.points, LMB_POINT_STEP), 1);
    ck_assert(r.points.point[best].accepted);
    lmb_search_result_free(&r);
}
END_TEST

/* ---- trainings that diverge ---- */

static const char *const diverging[] = {
    "{" STEPS(2) "tune: {epochs: 4, batch: 40, lr: 900, threads: 1}}",
    "{" STEPS(1) TUNE
    ", qat: {scheme: learned}, finish: {epochs: 12, batch: 40, lr: 900, threads: 1}}",
    "{" STEPS(1) TUNE
    ", recover: {epochs: 4, batch: 40, lr: 900, threads: 1}, "
    "finish: {epochs: 1, batch: 40, lr: 0.002, threads: 1, clip: 1}}",
};

START_TEST(a_training_that_diverges_is_taken_back)
{
    lmb_search_result r;
    int diverged = 0;

    ck_ok(search(diverging[_i], &(machine){ 0 }, &r));
    for (int i = 0; i < r.points.n; i++) {
        const lmb_point *p = &r.points.point[i];
        ck_assert_int_eq(p->diverged, p->kind == (_i ? LMB_POINT_FINISHED : LMB_POINT_STEP));
        ck_assert_int_eq(p->diverged, strstr(said[i], "diverged and was taken back") != NULL);
        diverged += p->diverged;
    }
    ck_assert_int_ge(diverged, 1);
    ck_assert(r.met);
    lmb_points again;
    char journal[300];
    snprintf(journal, sizeof journal, "%s/journal.jsonl", dir);
    ck_ok(lmb_points_read(journal, "test", &again, &err)); /* and the journal knows */
    ck_assert_int_eq(again.n, r.points.n);
    for (int i = 0; i < again.n; i++)
        ck_assert_int_eq(again.point[i].diverged, r.points.point[i].diverged);
    lmb_points_free(&again);
    lmb_search_result_free(&r);
}
END_TEST

/* ---- what it begins with ---- */

/* Ranges alone ruin a model of 2 bits; trained for a moment as it is, with the rounding that it will have, it is good
 * enough for the search to go on. */
START_TEST(few_bits_are_learned_first)
{
    static const char text[] = "{accuracy_drop_max: \"25 %\", steps: 4, step: 0.2, step_min: 0.15, calibration: 40, "
                               "qat: {bits: 2, ends: 4}, tune: {epochs: 12, batch: 40, lr: 0.05, threads: 1, clip: 1}}";
    machine m = { 0 };
    lmb_search_result r;

    ck_ok(search(text, &m, &r));
    const lmb_point *p = r.points.point;
    ck_assert_int_ge(r.points.n, 3);
    ck_assert_double_gt(p[0].limit, 0.25);
    ck_assert(p[1].kind == LMB_POINT_STEP && p[1].n_moves == 0 && p[1].accepted && p[1].right > p[0].right);
    ck_assert(p[2].kind == LMB_POINT_STEP && p[2].n_moves > 0 && p[2].parent == 1);
    lmb_search_result_free(&r);
}
END_TEST

START_TEST(names_that_no_journal_holds_are_refused)
{
    enum { LONG = LMB_MOVE_NAME - 19 }; /* factorised it would have an ending */
    char name[LONG + 1];
    lmb_search_result r;

    memset(name, 'w', LONG);
    name[LONG] = 0;
    ck_ok(lmb_graph_rename(teacher, lmb_graph_find(teacher, "stem.conv.weight"), name, &err));
    ck_assert_int_eq(search("{accuracy_drop_max: \"80 %\", " TUNE "}", &(machine){ 0 }, &r), LMB_E_UNSUPPORTED);
    ck_assert_msg(strstr(err.msg, "has a name of 141 bytes") != NULL, "%s", err.msg);
}
END_TEST

/* ---- who can share the last trainings ---- */

static const struct sharing {
    const char *text;
    int ranks;
    const char *why;
} sharing[] = {
    { "{accuracy_drop_max: 5 %, finish: {batch: 128, shard: 32}}", 4, NULL },
    { "{accuracy_drop_max: 5 %, finish: {batch: 128, shard: 32}}", 8,
      "compress.finish: batch 128 / shard 32 = 4 shards for 8 ranks" },
    { "{accuracy_drop_max: 5 %, recover: {batch: 64, shard: 32}, finish: {batch: 128, shard: 32}}", 4,
      "compress.recover: batch 64" },
    { "{accuracy_drop_max: 5 %, finish: {batch: 128, shard: 32}}", 3, "needs 1, 2, 4, 8" },
    { "{accuracy_drop_max: 5 %}", 3, NULL },
};
enum { N_SHARING = sizeof sharing / sizeof *sharing };

START_TEST(ranks_that_are_too_many_are_known_before)
{
    const struct sharing *x = &sharing[_i];
    lmb_comm many = { .size = x->ranks };
    lmb_search_config c;
    lmb_config *y = config_of(x->text);
    const lmb_tree *root = lmb_config_root(y);

    ck_ok(lmb_fields_bind(lmb_search_fields, root, &c, &err));
    const lmb_search_request r = { .c = &c,
                                   .recover = lmb_tree_has(root, "recover"),
                                   .finish = lmb_tree_has(root, "finish"),
                                   .train = data,
                                   .comm = &many };
    ck_assert_int_eq(lmb_search_ranks_share(&r, &err), x->why ? LMB_E_ARG : LMB_OK);
    ck_assert_msg(!x->why || strstr(err.msg, x->why), "%s", err.msg);
    lmb_config_destroy(y);
}
END_TEST

LMB_TEST_MAIN("distill/search_loop", tcase_add_checked_fixture(tc_, begin, end); tcase_set_timeout(tc_, 120);
              add(what_takes_longer_is_rejected); add(a_moment_decides_nothing);
              add(a_slower_machine_makes_no_slower_model);
              add_loop(a_time_is_that_of_a_moment, 5); add(a_faster_machine_saves_nothing);
              add(a_little_slower_is_no_reason); add(a_near_limit_is_tried_for);
              add(only_what_is_within_limits_is_finished); add(multipliers_outlive_an_end);
              add(each_technique_makes_a_candidate);
              add_loop(a_training_that_diverges_is_taken_back, 3); add(few_bits_are_learned_first);
              add(names_that_no_journal_holds_are_refused);
              add_loop(ranks_that_are_too_many_are_known_before, N_SHARING);)
