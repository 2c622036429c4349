/* distill/search/search.c - the loop. See search.h. */
#include "distill/search/search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "core/onnx/onnx.h"
#include "distill/search/internal.h"
#include "distill/search/lines.h"

/* ---- files of a point ---- */

lmb_status lmb_search_file(char path[LMB_SEARCH_PATH], const char *folder, int id, const char *file, lmb_error *err)
{
    int n = snprintf(path, LMB_SEARCH_PATH, "%s/points/%03d/%s", folder, id, file);
    return n > 0 && n < LMB_SEARCH_PATH ? LMB_OK
                                        : LMB_FAIL(err, LMB_E_ARG, "the path %.80s/points/... is too long", folder);
}

lmb_status lmbi_search_read(const lmbi_search *s, int id, lmb_graph **out, lmb_error *err)
{
    char path[LMB_SEARCH_PATH];
    LMB_TRY(lmb_search_file(path, s->r->folder, id, "model.onnx", err));
    return lmb_onnx_read(path, NULL, out, err);
}

lmb_status lmbi_search_write(const lmbi_search *s, int id, const lmb_graph *model, lmb_error *err)
{
    char path[LMB_SEARCH_PATH];
    LMB_TRY(lmb_search_file(path, s->r->folder, id, "", err));
    LMB_TRY(lmb_file_make_dirs(path, err));
    LMB_TRY(lmb_search_file(path, s->r->folder, id, "model.onnx", err));
    return lmb_onnx_write(path, model, NULL, err);
}

/* ---- the loop ---- */

int lmbi_search_next_round(const lmbi_search *s)
{
    return s->points->n ? s->points->point[s->points->n - 1].round + 1 : 0;
}

/* The teacher itself as integers: where everything begins. */
static lmb_status begin(lmbi_search *s, lmb_error *err)
{
    lmb_point p = { .id = 0, .parent = -1, .kind = LMB_POINT_TEACHER, .goal = s->budget.objective };
    lmbi_outcome o = { .status = LMB_OK };
    lmb_deployed d;
    lmb_graph *frozen = NULL;

    LMB_TRY(lmb_latency_ready(s->latency, err));
    LMB_TRY(lmb_deployed_sketch(s->start, &s->qat, &d, err));
    lmb_status st = lmb_deployed_costs(&d, s->latency, p.predicted, err);
    lmb_deployed_free(&d);
    if (st == LMB_OK)
        st = lmbi_search_write(s, 0, s->start, err);
    if (st == LMB_OK)
        st = lmb_judge_quantise(s->judge, s->start, &frozen, err);
    if (st == LMB_OK)
        st = lmbi_round_deploy(s, 0, frozen, &o, err);
    lmb_graph_destroy(frozen);
    return st == LMB_OK ? lmbi_search_settle(s, &p, &o, 1, 0, err) : st;
}

static bool tried_as_it_is(const lmb_points *all)
{
    return all->n > 1 && all->point[1].kind == LMB_POINT_STEP && all->point[1].n_moves == 0;
}

/* What the points so far say: where the search stands, and how large its steps are. Where none of a step's candidates
 * passed they are halved, whether that one went all the way or only as far as a limit. */
static void stand(const lmbi_search *s, int *incumbent, int *steps, double *share)
{
    const lmb_points *all = s->points;
    bool passed = false;

    *incumbent = 0;
    *steps = 0;
    *share = s->r->c->step;
    for (int i = 0; i < all->n; i++) {
        const lmb_point *p = &all->point[i];
        bool last = i + 1 == all->n || all->point[i + 1].round != p->round;
        if (p->kind != LMB_POINT_STEP)
            continue;
        passed |= p->accepted;
        if (p->accepted)
            *incumbent = i;
        if (last) {
            (*steps)++;
            *share = passed ? *share : *share / 2;
            passed = false;
        }
    }
}

/* A step towards a limit goes no further than the limit: what is beyond it costs accuracy for nothing. */
static double no_further(const lmbi_search *s, lmb_goal goal, double cost, double share)
{
    return fmin(share, fmax(1 - s->budget.limit[goal] / cost, s->r->c->gain_min));
}

static lmb_status descend(lmbi_search *s, lmb_error *err)
{
    const lmb_search_config *c = s->r->c;

    for (;;) {
        int incumbent, steps;
        double share;
        bool met, paid = false;
        stand(s, &incumbent, &steps, &share);
        const lmb_point *p = &s->points->point[incumbent];
        lmb_goal goal = lmb_budget_next(&s->budget, p->cost, &met);
        if (!lmbi_search_loses_little(s, p, s->slack) && tried_as_it_is(s->points))
            return lmbi_search_why(s, "the teacher as integers already loses more than may be lost");
        if (!lmbi_search_loses_little(s, p, s->slack)) {
            LMB_TRY(lmbi_search_as_it_is(s, err));
            continue;
        }
        if (goal == LMB_GOAL_ACCURACY)
            return lmbi_search_why(s, "all limits are met");
        if (share < c->step_min)
            return lmbi_search_why(s, "steps below %g %% are not tried", 100 * c->step_min);
        if (steps >= c->steps)
            return lmbi_search_why(s, "%lld steps have been tried", (long long)c->steps);
        LMB_TRY(lmbi_search_step(s, incumbent, goal, met ? share : no_further(s, goal, p->cost[goal], share), &paid,
                                 err));
        if (!paid)
            return lmbi_search_why(s, "no move is left that takes %g %% of %s away", 100 * c->gain_min,
                                   lmb_goals[goal]);
    }
}

/* ---- the whole ---- */

/* What the judge is to do; s->finish_distill is there. */
void lmbi_search_lessons(lmbi_search *s)
{
    const lmb_search_config *c = s->r->c;

    s->jc = (lmb_judge_config){ .tune = c->tune,
                                .recover = c->recover,
                                .finish = c->finish,
                                .recovers = s->r->recover,
                                .finishes = s->r->finish,
                                .distill = c->distill,
                                .finish_distill = &s->finish_distill,
                                .teachers = s->r->teachers,
                                .proves = c->prove,
                                .samples = c->samples,
                                .calibration = c->calibration,
                                .seed = c->seed,
                                .observer = c->observer,
                                .qat = &s->qat,
                                .equalise = c->equalise,
                                .correct_bias = c->correct_bias,
                                .identity = s->r->identity };
}

static lmb_status open_all(lmbi_search *s, lmb_error *err)
{
    const lmb_search_config *c = s->r->c;
    const lmb_comm *comm = s->r->comm;
    char path[LMB_SEARCH_PATH];
    int n = snprintf(path, sizeof path, "%s/latency.jsonl", s->r->folder);

    lmbi_search_lessons(s);
    if (s->jc.tune.threads == 0) /* ranks of a node share its processors */
        s->jc.tune.threads = (lmb_cpu_count() + comm->size - 1) / comm->size;
    if (n < 0 || n >= (int)sizeof path || snprintf(s->journal, sizeof s->journal, "%s/journal.jsonl", s->r->folder) < 0)
        return LMB_FAIL(err, LMB_E_ARG, "the path %.80s... is too long", s->r->folder);
    LMB_TRY(lmb_judge_check(s->r->teacher, s->r->train, err));
    LMB_TRY(lmbi_search_check_form(s, err));
    LMB_TRY(lmb_judge_check_lessons(&s->jc, s->start, s->r->train, s->r->comm, err));
    s->facts = lmb_facts_blank;
    s->facts.data = s->r->train->hash(s->r->train);
    LMB_TRY(lmb_facts_hash(s->r->teacher, &s->facts.teacher, err));
    if (comm->rank == 0) {
        LMB_TRY(lmb_points_read(s->journal, s->r->identity, s->points, err));
        LMB_TRY(
            lmb_latency_open(*c->table.file ? c->table.file : path, c->table.frozen, s->r->device, &s->latency, err));
    }
    LMB_TRY(lmb_judge_create(&s->jc, s->r->teacher, s->r->train, s->r->held_out, s->r->folder, s->r->comm,
                             &s->r->watch.work, &s->judge, err));
    LMB_TRY(lmbi_search_check_teachers(s, err));
    return lmb_judge_open_logits(s->judge, err);
}

/* A point that somebody has removed would be missed only in the end. */
static lmb_status check_files(const lmbi_search *s, lmb_error *err)
{
    static const char *const names[] = { "model.onnx", "model.lmb" };
    char path[LMB_SEARCH_PATH];

    for (int i = 0; i < s->points->n; i++)
        for (int k = 0; s->points->point[i].accepted && k < 2; k++) {
            LMB_TRY(lmb_search_file(path, s->r->folder, i, names[k], err));
            if (!lmb_file_exists(path))
                return LMB_FAIL(err, LMB_E_IO,
                                "%s is not there, and the journal has point %d: put it back, or " LMB_LINES_AFRESH,
                                path, i);
        }
    return LMB_OK;
}

/* Rank 0: all of it, and at the end, or when it was stopped, a word to the others. */
static lmb_status lead(lmbi_search *s, lmb_error *err)
{
    lmb_status st = s->points->n ? check_files(s, err) : begin(s, err);

    if (st == LMB_OK)
        st = descend(s, err);
    if (st == LMB_OK && (s->r->recover || s->r->finish))
        st = lmbi_search_finish(s, err);
    if (st == LMB_OK || st == LMB_E_STOPPED) {
        lmb_status told = lmbi_round_end(s, err);
        st = st == LMB_OK ? told : st;
    }
    return st;
}

lmb_status lmb_search_run(const lmb_search_request *r, lmb_search_result *out, lmb_error *err)
{
    lmb_search_result result = { .best = -1 };
    lmbi_search s = { .r = r, .points = &result.points, .why = result.why };
    lmb_status st;

    LMB_TRY(lmb_search_budget(r->c, &s.budget, err));
    LMB_TRY(lmb_search_integers(r->c, r->finish, err));
    LMB_TRY(lmb_search_lessons(r->c, r->finish, &s.finish_distill, err));
    LMB_TRY(lmb_search_slack(r->c, r->recover || r->finish, &s.slack, err));
    LMB_TRY(lmb_search_deadline(r->c, &s.deadline, err));
    LMB_TRY(lmbi_search_check_held_out(&s, err));
    LMB_TRY_GOTO(st, done, open_all(&s, err));
    LMB_TRY_GOTO(st, done, r->comm->rank ? lmbi_round_serve(&s, err) : lead(&s, err));
    result.budget = s.budget;
    result.deadline = s.deadline;
    result.teacher_right = lmb_judge_teacher_right(s.judge);
    lmb_points_front(&result.points);
    if (r->comm->rank == 0)
        lmbi_search_answer(&s, &result);
    *out = result;
done:
    lmb_judge_destroy(s.judge);
    lmb_latency_close(s.latency);
    lmb_graph_destroy(s.start);
    if (st != LMB_OK)
        lmb_points_free(&result.points);
    return st;
}

void lmb_search_result_free(lmb_search_result *r) { lmb_points_free(&r->points); }
