/* distill/search/search.c - the loop. See search.h. */
#include "distill/search/search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/onnx/onnx.h"
#include "distill/quantize/integer_form.h"
#include "distill/search/internal.h"

enum { ROWS = 64 }; /* of a batch that gradients are taken from */

/* ---- files of a point ---- */

lmb_status lmb_search_file(char path[LMB_SEARCH_PATH], const char *folder, int id, const char *file, lmb_error *err)
{
    int n = snprintf(path, LMB_SEARCH_PATH, "%s/points/%03d/%s", folder, id, file);
    return n > 0 && n < LMB_SEARCH_PATH ? LMB_OK : LMB_FAIL(err, LMB_E_ARG, "the path %.80s/points/... is too long", folder);
}

static lmb_status read_model(const lmbi_search *s, int id, lmb_graph **out, lmb_error *err)
{
    char path[LMB_SEARCH_PATH];
    LMB_TRY(lmb_search_file(path, s->r->folder, id, "model.onnx", err));
    return lmb_onnx_read(path, NULL, out, err);
}

static lmb_status write_model(const lmbi_search *s, int id, const lmb_graph *model, lmb_error *err)
{
    char path[LMB_SEARCH_PATH];
    LMB_TRY(lmb_search_file(path, s->r->folder, id, "", err));
    LMB_TRY(lmb_file_make_dirs(path, err));
    LMB_TRY(lmb_search_file(path, s->r->folder, id, "model.onnx", err));
    return lmb_onnx_write(path, model, NULL, err);
}

static lmb_status write_deployed(const lmbi_search *s, int id, const lmb_graph *frozen, const lmb_graph *qdq, const lmb_deployed *d, lmb_error *err)
{
    const lmb_onnx_export_options strict = { .strict = true };
    char path[LMB_SEARCH_PATH];

    LMB_TRY(lmb_search_file(path, s->r->folder, id, "", err));
    LMB_TRY(lmb_file_make_dirs(path, err));
    LMB_TRY(lmb_search_file(path, s->r->folder, id, "qat.onnx", err));
    LMB_TRY(lmb_onnx_write(path, frozen, NULL, err));
    LMB_TRY(lmb_search_file(path, s->r->folder, id, "model-int8.onnx", err));
    LMB_TRY(lmb_onnx_write(path, qdq, &strict, err));
    LMB_TRY(lmb_search_file(path, s->r->folder, id, "model.lmb", err));
    return lmb_file_write(path, d->file.text, d->file.n, err);
}

/* ---- a point ---- */

static bool loses_little(const lmbi_search *s, const lmb_point *p, double slack) { return s->budget.drop < 0 || p->limit <= s->budget.drop + slack; }

static lmb_status measure(lmbi_search *s, const lmb_deployed *d, lmb_point *p, lmb_error *err)
{
    double at_last[LMB_COSTS];

    LMB_TRY(lmb_deployed_costs(d, s->latency, at_last, err)); /* of this file: what was predicted for the sketch must hold for it */
    memcpy(p->cost, at_last, sizeof p->cost);
    LMB_TRY(lmb_latency_whole(s->latency, &d->model, &p->cost[LMB_GOAL_LATENCY], &p->p99, err));
    p->parameters = (double)lmb_edge_parameters(&d->model);
    p->arena = (double)lmb_edge_arena_bytes(&d->model);
    LMB_TRY(lmb_judge_compare(s->judge, d, &p->pair, &p->right, err));
    p->limit = lmb_paired_limit(&p->pair, s->r->c->confidence);
    return LMB_OK;
}

/* Files, then the line in the journal. Takes p->move. */
static lmb_status settle(lmbi_search *s, lmb_point *p, const lmb_graph *frozen, double slack, lmb_error *err)
{
    lmb_deployed d = { .file = LMB_STR_INIT };
    lmb_graph *qdq = NULL;
    lmb_status st = lmb_deployed_real(frozen, &d, &qdq, err);

    if (st == LMB_OK)
        st = measure(s, &d, p, err);
    if (st == LMB_OK)
        st = write_deployed(s, p->id, frozen, qdq, &d, err);
    p->accepted = st == LMB_OK && (p->kind == LMB_POINT_TEACHER || loses_little(s, p, slack));
    lmb_graph_destroy(qdq);
    lmb_deployed_free(&d);
    if (st != LMB_OK) {
        free(p->move);
        return st;
    }
    LMB_TRY(lmb_points_add(s->journal, s->points, p, err));
    lmbi_search_tell(s);
    return LMB_OK;
}

/* The teacher itself as integers: where everything begins. */
static lmb_status begin(lmbi_search *s, lmb_error *err)
{
    lmb_point p = { .id = 0, .parent = -1, .kind = LMB_POINT_TEACHER, .goal = s->budget.objective };
    lmb_deployed d;
    lmb_graph *frozen = NULL;

    LMB_TRY(lmb_deployed_sketch(s->start, &d, err));
    lmb_status st = lmb_deployed_costs(&d, s->latency, p.predicted, err);
    lmb_deployed_free(&d);
    if (st == LMB_OK)
        st = write_model(s, 0, s->start, err);
    if (st == LMB_OK)
        st = lmb_judge_quantise(s->judge, s->start, &frozen, err);
    if (st == LMB_OK)
        st = settle(s, &p, frozen, 0, err);
    lmb_graph_destroy(frozen);
    return st;
}

/* ---- a step ---- */

/* Moves that were part of rejected steps count double for each. */
static void learn(const lmbi_search *s, const lmb_moves *m, double *weight)
{
    for (int i = 0; i < m->n; i++) {
        weight[i] = 1;
        for (int k = 0; k < s->points->n; k++) {
            const lmb_point *p = &s->points->point[k];
            for (int j = 0; p->kind == LMB_POINT_STEP && !p->accepted && j < p->n_moves; j++)
                weight[i] *= strcmp(p->move[j].what, m->move[i].what) == 0 ? 2 : 1;
        }
    }
}

/* The batch of moves for a step from `model`, and the model after it; *out NULL: nothing pays. */
static lmb_status choose(lmbi_search *s, const lmb_graph *model, lmb_point *p, lmb_graph **out, lmb_error *err)
{
    const lmb_search_config *c = s->r->c;
    lmb_taylor_config tc = { c->batches, ROWS, (uint64_t)(c->seed + p->id), c->tune.backend };
    lmb_moves_config mc = { c->tile, c->min_channels, c->low_rank };
    lmb_taylor *taylor = NULL;
    lmb_moves m = { 0 };
    int *which = NULL, n = 0;
    double *weight = NULL;
    lmb_status st;

    if (tc.batches * ROWS > s->r->train->n)
        tc.batches = s->r->train->n / ROWS;
    LMB_TRY_GOTO(st, done, lmb_taylor_create(model, s->r->train, &tc, &taylor, err));
    LMB_TRY_GOTO(st, done, lmb_moves_find(model, &mc, taylor, s->latency, &m, err));
    which = malloc(sizeof *which * ((size_t)m.n + 1));
    weight = malloc(sizeof *weight * ((size_t)m.n + 1));
    if (!which || !weight) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to choose of %d moves", m.n);
        goto done;
    }
    learn(s, &m, weight);
    LMB_TRY_GOTO(st, done, lmb_moves_choose(&m, p->goal, p->step, weight, s->latency, which, &n, p->predicted, out, err));
    if (n == 0 || p->predicted[p->goal] > (1 - c->gain_min) * m.cost[p->goal]) {
        lmb_graph_destroy(*out);
        *out = NULL;
        goto done;
    }
    p->move = calloc((size_t)n, sizeof *p->move);
    if (!p->move)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d moves", n);
    for (int i = 0; st == LMB_OK && i < n; i++)
        p->move[p->n_moves++] = m.move[which[i]];
done:
    lmb_moves_free(&m);
    lmb_taylor_destroy(taylor);
    free(which);
    free(weight);
    if (st != LMB_OK) {
        lmb_graph_destroy(*out);
        *out = NULL;
    }
    return st;
}

/* Train and judge; the model goes through its file, so that a search that goes on has the same one. */
static lmb_status try_model(lmbi_search *s, lmb_point *p, lmb_graph *model, lmb_error *err)
{
    lmb_graph *frozen = NULL, *written = NULL;
    lmb_status st = lmb_judge_tune(s->judge, model, p->id, err);

    if (st == LMB_OK)
        st = write_model(s, p->id, model, err);
    if (st == LMB_OK)
        st = read_model(s, p->id, &written, err);
    if (st == LMB_OK)
        st = lmb_judge_quantise(s->judge, written, &frozen, err);
    if (st != LMB_OK)
        free(p->move);
    else
        st = settle(s, p, frozen, s->slack, err);
    lmb_graph_destroy(frozen);
    lmb_graph_destroy(written);
    return st;
}

static lmb_status step(lmbi_search *s, int from, lmb_goal goal, double share, bool *paid, lmb_error *err)
{
    lmb_point p = { .id = s->points->n, .parent = from, .kind = LMB_POINT_STEP, .goal = goal, .step = share };
    lmb_graph *model = NULL, *after = NULL;

    LMB_TRY(read_model(s, from, &model, err));
    lmb_status st = choose(s, model, &p, &after, err);
    *paid = after != NULL;
    if (st == LMB_OK && after)
        st = try_model(s, &p, after, err);
    lmb_graph_destroy(model);
    lmb_graph_destroy(after);
    return st;
}

/* What the points so far say: where the search stands, and how large its steps are. */
static void stand(const lmbi_search *s, int *incumbent, int *steps, double *share)
{
    *incumbent = 0;
    *steps = 0;
    *share = s->r->c->step;
    for (int i = 0; i < s->points->n; i++) {
        const lmb_point *p = &s->points->point[i];
        if (p->kind != LMB_POINT_STEP)
            continue;
        (*steps)++;
        if (p->accepted)
            *incumbent = i;
        else
            *share = p->step / 2;
    }
}

static lmb_status descend(lmbi_search *s, lmb_error *err)
{
    const lmb_search_config *c = s->r->c;

    for (;;) {
        int incumbent, steps;
        double share;
        bool met, paid;
        stand(s, &incumbent, &steps, &share);
        const lmb_point *p = &s->points->point[incumbent];
        lmb_goal goal = lmb_budget_next(&s->budget, p->cost, &met);
        if (!loses_little(s, p, s->slack))
            return lmbi_search_why(s, "the teacher as integers already loses more than may be lost");
        if (goal == LMB_GOAL_ACCURACY)
            return lmbi_search_why(s, "all limits are met");
        if (share < c->step_min)
            return lmbi_search_why(s, "steps below %g %% are not tried", 100 * c->step_min);
        if (steps >= c->steps)
            return lmbi_search_why(s, "%lld steps have been tried", (long long)c->steps);
        LMB_TRY(step(s, incumbent, goal, share, &paid, err));
        if (!paid)
            return lmbi_search_why(s, "no move is left that takes %g %% of %s away", 100 * c->gain_min, lmb_goals[goal]);
    }
}

/* ---- the last training ---- */

/* The finished form of point `of`, made if it is not there. */
static lmb_status finish_one(lmbi_search *s, int of, bool *accepted, lmb_error *err)
{
    lmb_graph *model = NULL, *frozen = NULL;

    for (int i = 0; i < s->points->n; i++)
        if (s->points->point[i].kind == LMB_POINT_FINISHED && s->points->point[i].parent == of) {
            *accepted = s->points->point[i].accepted;
            return LMB_OK;
        }
    lmb_point p = { .id = s->points->n, .parent = of, .kind = LMB_POINT_FINISHED, .goal = s->points->point[of].goal };
    memcpy(p.predicted, s->points->point[of].predicted, sizeof p.predicted);
    LMB_TRY(read_model(s, of, &model, err));
    lmb_status st = lmb_judge_finish(s->judge, model, p.id, &frozen, err);
    if (st == LMB_OK)
        st = settle(s, &p, frozen, 0, err);
    *accepted = st == LMB_OK && s->points->point[s->points->n - 1].accepted;
    lmb_graph_destroy(model);
    lmb_graph_destroy(frozen);
    return st;
}

/* The cheapest accepted point that is within the accuracy once it is finished, found by halving. */
static lmb_status finish(lmbi_search *s, lmb_error *err)
{
    int *chain = malloc(sizeof *chain * (size_t)s->points->n), n = 0;
    bool good = false;
    lmb_status st = chain ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d points", s->points->n);

    for (int i = 0; chain && i < s->points->n; i++)
        if (s->points->point[i].accepted && s->points->point[i].kind != LMB_POINT_FINISHED)
            chain[n++] = i;
    if (st == LMB_OK)
        st = finish_one(s, chain[n - 1], &good, err);
    for (int lo = 0, hi = n - 2; st == LMB_OK && !good && lo <= hi;) {
        bool mid_good;
        int mid = (lo + hi + 1) / 2;
        st = finish_one(s, chain[mid], &mid_good, err);
        if (mid_good)
            lo = mid + 1;
        else
            hi = mid - 1;
    }
    free(chain);
    return st;
}

/* ---- the whole ---- */

/* A drop so small that even a model that answers like the teacher could not show it is no question to ask. */
static lmb_status check_held_out(const lmbi_search *s, lmb_error *err)
{
    double z = lmb_normal_quantile(s->r->c->confidence), n = (double)s->r->held_out->n, d = s->budget.drop;

    if (d < 0 || z * z / (n + z * z) <= d)
        return LMB_OK;
    if (d == 0)
        return LMB_FAIL(err, LMB_E_ARG, "accuracy_drop_max is 0: no number of samples can show that; %lld can show %.2g %%",
                        (long long)s->r->held_out->n, 100 * z * z / (n + z * z));
    return LMB_FAIL(err, LMB_E_ARG, "%lld held-out samples can not show with confidence %g that no more than %g %% is lost; make split.validation at "
                    "least %.0f (and ten times that to have a choice)", (long long)s->r->held_out->n, s->r->c->confidence, 100 * d,
                    ceil(z * z * (1 - d) / d));
}

/* What the search begins with: the teacher in words that have an integer form. E_UNSUPPORTED names a node that has none. */
static lmb_status check_form(lmbi_search *s, lmb_error *err)
{
    lmb_deployed d;

    LMB_TRY(lmb_pass_integer_form(s->r->teacher, &s->start, err));
    LMB_TRY(lmb_deployed_sketch(s->start, &d, err));
    lmb_deployed_free(&d);
    return LMB_OK;
}

static lmb_status run(lmbi_search *s, lmb_error *err)
{
    char path[LMB_SEARCH_PATH];
    int n = snprintf(path, sizeof path, "%s/latency.jsonl", s->r->folder);
    const lmb_search_config *c = s->r->c;
    lmb_judge_config jc = { c->tune, c->finish, c->distill, c->samples, c->calibration, c->seed, c->observer };

    if (n < 0 || n >= (int)sizeof path || snprintf(s->journal, sizeof s->journal, "%s/journal.jsonl", s->r->folder) != n)
        return LMB_FAIL(err, LMB_E_ARG, "the path %.80s... is too long", s->r->folder);
    LMB_TRY(lmb_judge_check(s->r->teacher, s->r->train, err));
    LMB_TRY(check_form(s, err));
    LMB_TRY(lmb_points_read(s->journal, s->r->identity, s->points, err));
    LMB_TRY(lmb_latency_open(*c->table.file ? c->table.file : path, c->table.frozen, &s->latency, err));
    LMB_TRY(lmb_judge_create(&jc, s->r->teacher, s->r->train, s->r->held_out, s->r->folder, s->r->comm, &s->r->watch.work, &s->judge, err));
    if (s->points->n == 0)
        LMB_TRY(begin(s, err));
    LMB_TRY(descend(s, err));
    return s->r->finish ? finish(s, err) : LMB_OK;
}

lmb_status lmb_search_run(const lmb_search_request *r, lmb_search_result *out, lmb_error *err)
{
    lmb_search_result result = { .best = -1 };
    lmbi_search s = { .r = r, .points = &result.points, .why = result.why };
    lmb_status st;

    LMB_TRY(lmb_search_budget(r->c, &s.budget, err));
    if (r->comm->size != 1)
        return LMB_FAIL(err, LMB_E_ARG, "a search is one process; it was started on %d ranks", r->comm->size);
    if (r->finish && *r->c->slack)
        LMB_TRY(lmb_budget_number(r->c->slack, "slack", "%", &s.slack, err));
    LMB_TRY(check_held_out(&s, err));
    LMB_TRY_GOTO(st, done, run(&s, err));
    result.budget = s.budget;
    result.teacher_right = lmb_judge_teacher_right(s.judge);
    lmb_points_front(&result.points);
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
