/* Mirrors train/stage.c, train/cuts.c, core/passes/stages.c: where models are cut, and that stages, run one after
 * another with several groups of samples under way, leave the loss, gradients and statistics of the whole model, to the
 * bit. */
#include "train/stage.h"

#include <stdlib.h>
#include <string.h>

#include "core/cpu/cpu.h"
#include "tests/check_main.h"
#include "train/program.h"

static lmb_error err;
enum { ROWS = 6, GROUPS = 3, NUMBERS = 3 * 8 * 8, CLASSES = 4 };

static lmb_vid numbers(lmb_builder *b, lmb_role role, lmb_shape s, float lo, float hi)
{
    int64_t count = lmb_shape_count(&s);
    float *f = malloc(sizeof *f * (size_t)count);
    lmb_rand r = lmb_rand_at(5, LMB_RAND_TEST, 0, (uint64_t)b->g->n_values);
    ck_assert_ptr_nonnull(f);
    for (int64_t i = 0; i < count; i++)
        f[i] = lo + (hi - lo) * lmb_rand_uniform(&r, (uint32_t)i);
    lmb_vid v = lmb_emit_value(b, role, NULL, LMB_F32, s, f);
    free(f);
    return v;
}

static lmb_vid layer(lmb_builder *b, lmb_vid x, bool frozen)
{
    int64_t c = lmb_builder_value(b, x)->shape.d[1];
    lmb_vid w = numbers(b, LMB_ROLE_PARAMETER, LMB_SHAPE(8, c, 3, 3), -0.3f, 0.3f);
    lmb_vid y = lmb_emit(b, "Conv", NULL, LMB_IN(x, w), LMB_ATTRS(LMB_AINTS("pads", 1, 1, 1, 1)));
    lmb_vid in[5] = { y, numbers(b, LMB_ROLE_PARAMETER, LMB_SHAPE(8), 0.5f, 1.5f),
                      numbers(b, LMB_ROLE_PARAMETER, LMB_SHAPE(8), -1, 1),
                      numbers(b, LMB_ROLE_STATISTIC, LMB_SHAPE(8), -1, 1),
                      numbers(b, LMB_ROLE_STATISTIC, LMB_SHAPE(8), 0.5f, 1.5f) };
    y = lmb_emit(b, "BatchNormalization", NULL, in, 5, LMB_NO_ATTRS);
    for (int i = 0; i < 2 && frozen; i++)
        b->g->value[i ? in[1] : w].frozen = b->g->value[i ? in[2] : w].frozen = true;
    return lmb_emit(b, "Relu", NULL, LMB_IN(y), LMB_NO_ATTRS);
}

/* Six layers; the first's result is added to the fifth's, so it goes through all stages in between. */
static lmb_graph *make_model(bool frozen)
{
    lmb_graph *g;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid first = layer(&b, lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 3, 8, 8), NULL), frozen),
            y = first;
    for (int i = 0; i < 4; i++)
        y = layer(&b, y, false);
    y = layer(&b, lmb_emit(&b, "Add", NULL, LMB_IN(y, first), LMB_NO_ATTRS), false);
    y = lmb_emit(&b, "Flatten", NULL, LMB_IN(lmb_emit(&b, "GlobalAveragePool", NULL, LMB_IN(y), LMB_NO_ATTRS)),
                 LMB_NO_ATTRS);
    y = lmb_emit(&b, "Gemm", NULL, LMB_IN(y, numbers(&b, LMB_ROLE_PARAMETER, LMB_SHAPE(8, CLASSES), -1, 1)),
                 LMB_NO_ATTRS);
    lmb_emit_output(&b, "logits", y);
    ck_ok(lmb_builder_status(&b));
    return g;
}

/* What a training would see: the same for whole and cut models. */
typedef struct scene {
    lmb_graph *model;
    lmb_loss loss;
    double smoothing;
    lmb_state_layout *layout;
    const lmb_backend *backends[LMB_CPU_BACKENDS];
    float *state, x[GROUPS][ROWS * NUMBERS], *whole[GROUPS], *cut[GROUPS];
    int64_t y[GROUPS][ROWS];
    size_t *from;
    float loss_of[GROUPS];
    int64_t correct_of[GROUPS];
} scene;

static void begin(scene *s, bool frozen, const char *backend)
{
    err = (lmb_error)LMB_ERROR_INIT;
    s->model = make_model(frozen);
    s->smoothing = 0.1;
    s->loss = (lmb_loss){ lmb_loss_cross_entropy, &s->smoothing, NULL };
    ck_ok(lmb_state_layout_create(s->model, &s->layout, &err));
    ck_ok(lmb_cpu_backends(backend, s->backends, &err));
    size_t n = s->layout->count;
    s->state = calloc(n, sizeof *s->state);
    s->from = calloc((size_t)s->layout->n, sizeof *s->from);
    for (int i = 0; i < s->layout->n; i++)
        s->from[i] = s->layout->segment[i].offset;
    lmb_state_from_graph(s->layout, s->model, s->state);
    for (int k = 0; k < GROUPS; k++) {
        lmb_rand r = lmb_rand_at(9, LMB_RAND_TEST, 0, (uint64_t)k);
        for (int i = 0; i < ROWS * NUMBERS; i++)
            s->x[k][i] = lmb_rand_normal(&r, (uint32_t)i);
        for (int i = 0; i < ROWS; i++)
            s->y[k][i] = (i + k) % CLASSES;
        s->whole[k] = calloc(n, sizeof *s->whole[k]);
        s->cut[k] = calloc(n, sizeof *s->cut[k]);
    }
}

static void end_of(scene *s)
{
    for (int k = 0; k < GROUPS; k++) {
        free(s->whole[k]);
        free(s->cut[k]);
    }
    free(s->state);
    free(s->from);
    lmb_state_layout_destroy(s->layout);
    lmb_graph_destroy(s->model);
}

static void run_whole(scene *s)
{
    lmb_program *p;
    lmb_step_info info = { 1, 0, NULL };
    ck_ok(lmb_program_create(s->model, &s->loss, s->backends, &p, &err));
    for (int k = 0; k < GROUPS; k++) {
        lmb_program_step step = {
            .n = ROWS, .x = s->x[k], .y = s->y[k], .state = s->state, .out = s->whole[k], .info = &info
        };
        ck_ok(lmb_program_run(p, &step, &err));
        s->loss_of[k] = step.loss;
        s->correct_of[k] = step.correct;
    }
    lmb_program_destroy(p);
}

/* All groups go forwards through all stages, then all backwards, each in copies of its own. */
static void run_stages(scene *s, int stages, bool small)
{
    lmb_step_info info = { 1, 0, NULL };
    lmbi_cuts *cuts;
    lmbi_copy *copy[GROUPS][LMB_MOST_STAGES];
    lmbi_stage_options o = {
        .backends = s->backends, .loss = &s->loss, .layout = s->layout, .from = s->from, .small_memory = small
    };
    ck_ok(lmbi_cuts_make(s->model, &s->loss, ROWS, stages, NULL, &cuts, &err));
    for (int k = 0; k < GROUPS; k++)
        memset(s->cut[k], 0, s->layout->count * sizeof *s->cut[k]);
    for (int k = 0; k < GROUPS; k++)
        for (int i = 0; i < stages; i++) {
            lmbi_stage_run r = { .x = s->x[k], .y = s->y[k], .state = s->state, .out = s->cut[k], .info = &info };
            ck_ok(lmbi_copy_create(cuts, i, &o, &copy[k][i], &err));
            if (i)
                memcpy(lmbi_copy_in(copy[k][i]), lmbi_copy_out(copy[k][i - 1]), lmbi_copy_in_bytes(copy[k][i]));
            ck_ok(lmbi_copy_forward(copy[k][i], &r, &err));
        }
    for (int k = 0; k < GROUPS; k++)
        for (int i = stages - 1; i >= 0; i--) {
            lmbi_stage_run r = { .x = s->x[k], .y = s->y[k], .state = s->state, .out = s->cut[k], .info = &info };
            if (i < stages - 1)
                memcpy(lmbi_copy_out_gradient(copy[k][i]), lmbi_copy_in_gradient(copy[k][i + 1]),
                       lmbi_copy_out_bytes(copy[k][i]));
            ck_ok(lmbi_copy_backward(copy[k][i], &r, &err));
            if (i == stages - 1) {
                ck_assert_float_eq(r.loss, s->loss_of[k]);
                ck_assert_int_eq(r.correct, s->correct_of[k]);
            }
            if (i < stages - 1)
                lmbi_copy_destroy(copy[k][i + 1]);
        }
    for (int k = 0; k < GROUPS; k++)
        lmbi_copy_destroy(copy[k][0]);
    lmbi_cuts_destroy(cuts);
}

static void compare(const scene *s)
{
    double moved = 0;
    for (int k = 0; k < GROUPS; k++) {
        ck_assert_mem_eq(s->cut[k], s->whole[k], s->layout->count * sizeof *s->whole[k]);
        moved += s->whole[k][0] != 0 || s->whole[k][s->layout->count - 1] != 0;
    }
    ck_assert_double_gt(moved, 0);
}

START_TEST(stages_are_the_whole_model)
{
    scene s;
    for (int frozen = 0; frozen < 2; frozen++) {
        begin(&s, frozen, _i ? "portable" : "cpu");
        run_whole(&s);
        for (int stages = 1; stages <= 7; stages++) {
            run_stages(&s, stages, stages == 3);
            compare(&s);
        }
        end_of(&s);
    }
}
END_TEST

START_TEST(cuts_tear_nothing_and_cost_about_the_same)
{
    scene s;
    lmbi_cuts *cuts;
    double all = 0, most = 0;
    begin(&s, false, "cpu");
    ck_ok(lmbi_cuts_make(s.model, &s.loss, ROWS, 3, NULL, &cuts, &err));
    ck_assert_int_eq(cuts->stage[0].begin, 0);
    ck_assert_int_eq(cuts->stage[2].end, cuts->g->n_nodes);
    for (int k = 0; k < 3; k++) {
        const lmb_stage *t = &cuts->stage[k];
        all += t->cost;
        most = most > t->cost ? most : t->cost;
        if (k == 2)
            continue;
        ck_assert_int_eq(t->end, cuts->stage[k + 1].begin);
        ck_assert_int_eq(t->values, 2); /* a layer's result, and the first's on its way to the sum */
        ck_assert_uint_eq(t->bytes, 2 * ROWS * 8 * 8 * 8 * sizeof(float));
        const char *op =
            cuts->g->node[t->end - 1].op->name; /* of Conv, BatchNormalization and Relu, one kernel may be made */
        ck_assert_msg(strcmp(op, "Relu") == 0 || strcmp(op, "Conv") == 0, "cut behind %s", op);
    }
    ck_assert_double_lt(most, 0.5 * all);
    lmbi_cuts_destroy(cuts);
    lmbi_cuts *too_many;
    ck_assert_int_eq(lmbi_cuts_make(s.model, &s.loss, ROWS, 60, NULL, &too_many, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "stages at most; 60 are asked for"));
    end_of(&s);
}
END_TEST

/* Piece 4 of 7 takes as long as all others: it gets a stage of its own. And cuts of somebody else's are checked. */
START_TEST(measured_times_decide)
{
    scene s;
    lmbi_cuts *fine, *same;
    lmb_stage best[3];
    double seconds[LMB_MOST_STAGES];
    begin(&s, false, "cpu");
    ck_ok(lmbi_cuts_make(s.model, &s.loss, ROWS, 0, NULL, &fine, &err));
    ck_assert_int_ge(fine->n, 7);
    for (int k = 0; k < fine->n; k++)
        seconds[k] = k == 4 ? 1 : 1.0 / (fine->n - 1);
    lmb_stage_times times = { fine->n, fine->stage, seconds };
    ck_ok(lmb_stages_cut(fine->g, fine->last, 3, &times, best, &err));
    ck_assert_int_eq(best[1].begin, fine->stage[4].begin);
    ck_assert_int_eq(best[1].end, fine->stage[4].end);
    ck_assert_double_gt(best[1].cost, best[0].cost);

    int32_t end[3] = { best[0].end, best[1].end, 0 };
    ck_ok(lmbi_cuts_make(s.model, &s.loss, ROWS - 2, 3, end, &same, &err)); /* for other rows */
    ck_assert_int_eq(same->stage[1].begin, best[1].begin);
    ck_assert_int_eq(same->stage[2].end, same->g->n_nodes);
    lmbi_cuts_destroy(same);
    for (int i = 0; i < 4; i++) {
        const int32_t wrong[4][3] = { { end[0] + 1, end[1] }, { end[1], end[0] }, { 0, end[1] }, { end[0], 1 << 20 } };
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmbi_cuts_make(s.model, &s.loss, ROWS, 3, wrong[i], &same, &err), LMB_E_ARG);
        ck_assert_ptr_nonnull(strstr(err.msg, "can not end before node"));
    }
    lmbi_cuts_destroy(fine);
    end_of(&s);
}
END_TEST

START_TEST(measuring_cuts_somewhere)
{
    scene s;
    lmbi_cuts *c, *fine;
    err = (lmb_error)LMB_ERROR_INIT;
    begin(&s, _i, "portable");
    lmbi_stage_options o = { .backends = s.backends, .loss = &s.loss };
    ck_ok(lmbi_cuts_timed(s.model, ROWS, 3, &o, &c, &err));
    ck_ok(lmbi_cuts_make(s.model, &s.loss, ROWS, 0, NULL, &fine, &err));
    ck_assert_int_eq(c->n, 3);
    ck_assert_int_eq(c->stage[0].begin, 0);
    ck_assert_int_eq(c->stage[2].end, c->g->n_nodes);
    for (int k = 0; k < 3; k++) {
        bool a_place = false;
        ck_assert_double_gt(c->stage[k].cost, 0);
        ck_assert_int_eq(c->stage[k].begin, k ? c->stage[k - 1].end : 0);
        for (int i = 0; i < fine->n; i++)
            a_place |= fine->stage[i].end == c->stage[k].end;
        ck_assert(a_place);
    }
    lmbi_cuts_destroy(fine);
    lmbi_cuts_destroy(c);
    end_of(&s);
}
END_TEST

LMB_TEST_MAIN("train/stage", add(measured_times_decide); add_loop(measuring_cuts_somewhere, 2);
              add_loop(stages_are_the_whole_model, 2); add(cuts_tear_nothing_and_cost_about_the_same);)
