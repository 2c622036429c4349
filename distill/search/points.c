/* distill/search/points.c - see points.h. */
#include "distill/search/points.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "distill/search/identity.h"


const char *const lmb_point_kinds[] = { "teacher", "step", "finished", NULL };
static const char *const move_kinds[] = { "shrink", "factor", "bits", "block", NULL };

void lmb_points_free(lmb_points *p)
{
    for (int i = 0; i < p->n; i++)
        free(p->point[i].move);
    free(p->point);
    memset(p, 0, sizeof *p);
}

double lmb_point_accuracy(const lmb_point *p) { return (double)p->right / (double)p->pair.n; }

void lmb_move_text(const lmb_move *m, lmb_str *out)
{
    if (m->kind == LMB_MOVE_SHRINK)
        lmb_str_addf(out, "%s %lld to %lld channels", m->what, (long long)m->from, (long long)m->to);
    else if (m->kind == LMB_MOVE_BITS)
        lmb_str_addf(out, "%s to %lld bits", m->what, (long long)m->to);
    else if (m->kind == LMB_MOVE_BLOCK)
        lmb_str_addf(out, "%s with its residual block", m->what);
    else if (m->to == m->rank_in)
        lmb_str_addf(out, "%s to rank %lld", m->what, (long long)m->to);
    else
        lmb_str_addf(out, "%s to ranks %lld and %lld", m->what, (long long)m->to, (long long)m->rank_in);
}

/* ---- writing ---- */

/* By the first n goals. */
static void numbers(lmb_str *s, const char *key, const double *v, int n)
{
    lmb_str_addf(s, "%s\"%s\": {", s->text && s->text[s->n - 1] == '{' ? "" : ", ", key);
    for (int i = 0; i < n; i++) {
        lmb_str_addf(s, "%s\"%s\": ", i ? ", " : "", lmb_goals[i]);
        lmb_str_add_number(s, v[i]);
    }
    lmb_str_add(s, "}");
}

static void add_move(lmb_str *s, const lmb_move *m)
{
    lmb_str_addf(s, "{\"kind\": \"%s\", \"what\": ", move_kinds[m->kind]);
    lmb_str_add_json(s, m->what);
    lmb_str_add_member(s, "from", (double)m->from);
    lmb_str_add_member(s, "to", (double)m->to);
    lmb_str_add_member(s, "rank_in", (double)m->rank_in);
    lmb_str_add_member(s, "loss", m->loss);
    numbers(s, "gain", m->gain, LMB_COSTS);
    lmb_str_add(s, "}");
}

static void add_point(lmb_str *s, const lmb_point *p)
{
    lmb_str_addf(s, "{\"point\": %d, \"parent\": %d, \"round\": %d, \"kind\": \"%s\", \"goal\": \"%s\"", p->id,
                 p->parent, p->round, lmb_point_kinds[p->kind], lmb_goals[p->goal]);
    lmb_str_add_member(s, "step", p->step);
    if (p->kind == LMB_POINT_STEP)
        numbers(s, "penalty", p->penalty.of, LMB_COSTS + 1);
    lmb_str_add(s, ", \"moves\": [");
    for (int i = 0; i < p->n_moves; i++) {
        lmb_str_add(s, i ? ", " : "");
        add_move(s, &p->move[i]);
    }
    lmb_str_add(s, "]");
    numbers(s, "predicted", p->predicted, LMB_COSTS);
    numbers(s, "cost", p->cost, LMB_COSTS);
    lmb_str_add_member(s, "p99", p->timing.p99);
    lmb_str_add_member(s, "throughput", p->timing.throughput);
    lmb_str_add_member(s, "missed", p->timing.missed);
    lmb_str_add_member(s, "energy", p->timing.energy);
    if (p->beside > 0)
        lmb_str_add_member(s, "beside", p->beside);
    lmb_str_add_member(s, "parameters", p->parameters);
    lmb_str_add_member(s, "arena", p->arena);
    lmb_str_add_member(s, "n", (double)p->pair.n);
    lmb_str_add_member(s, "right", (double)p->right);
    lmb_str_add_member(s, "lost", (double)p->pair.lost);
    lmb_str_add_member(s, "won", (double)p->pair.won);
    lmb_str_add_member(s, "limit", p->limit);
    if (p->before.n) {
        lmb_str_add_member(s, "before_lost", (double)p->before.lost);
        lmb_str_add_member(s, "before_won", (double)p->before.won);
    }
    if (p->proof.n) {
        lmb_str_add_member(s, "proof_lost", (double)p->proof.lost);
        lmb_str_add_member(s, "proof_won", (double)p->proof.won);
    }
    if (p->diverged)
        lmb_str_add(s, ", \"diverged\": true");
    lmb_str_addf(s, ", \"accepted\": %s, \"beaten\": %s}", p->accepted ? "true" : "false",
                 p->beaten ? "true" : "false");
}

static lmb_status begin(const char *path, const char *identity, lmb_error *err)
{
    lmb_str s = LMB_STR_INIT;

    lmb_str_add(&s, "{\"search\": ");
    lmb_str_add_json(&s, identity);
    lmb_str_add(&s, "}");
    lmb_status st = lmb_lines_add(path, &s, err);
    lmb_str_free(&s);
    return st;
}

/* Takes the moves. */
/* What has been as fast beside a step was measured in a slow moment: its time is that of the better one, in the list
 * and in each reading of the journal. How many were late is left: at most so many are. */
static void correct_parent(lmb_points *all, const lmb_point *p)
{
    lmb_point *parent = p->parent >= 0 ? &all->point[p->parent] : NULL;

    if (!parent || !(p->beside > 0) || parent->timing.p50 <= p->beside * (1 + LMB_POINT_NOISE))
        return;
    double less = p->beside / parent->timing.p50;
    parent->timing.p50 = parent->cost[LMB_GOAL_LATENCY] = p->beside;
    parent->timing.p99 *= less;
    parent->timing.throughput /= less;
}

static lmb_status append(lmb_points *p, const lmb_point *point, lmb_error *err)
{
    if (p->n == p->room) {
        int room = 2 * p->room + 32;
        lmb_point *more = realloc(p->point, sizeof *more * (size_t)room);
        if (!more) {
            free(point->move);
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d points", room);
        }
        p->point = more;
        p->room = room;
    }
    p->point[p->n++] = *point;
    correct_parent(p, point);
    return LMB_OK;
}

static lmb_status add_line(const char *path, lmb_points *p, const lmb_point *round, int n, lmb_error *err)
{
    lmb_str s = LMB_STR_INIT;

    if (!p->begun)
        LMB_TRY(begin(path, p->identity, err));
    p->begun = true;
    lmb_str_add(&s, "{\"points\": [");
    for (int i = 0; i < n; i++) {
        lmb_str_add(&s, i ? ", " : "");
        add_point(&s, &round[i]);
    }
    lmb_str_add(&s, "]}");
    lmb_status st = lmb_lines_add(path, &s, err);
    lmb_str_free(&s);
    return st;
}

lmb_status lmb_points_add(const char *path, lmb_points *p, const lmb_point *round, int n, lmb_error *err)
{
    lmb_status st = add_line(path, p, round, n, err);

    for (int i = 0; i < n; i++) {
        if (st == LMB_OK)
            st = append(p, &round[i], err);
        else
            free(round[i].move);
    }
    return st;
}

/* ---- reading ---- */

static lmb_status get_int(const lmb_tree *t, const char *key, int64_t *out, lmb_error *err)
{
    double v;
    LMB_TRY(lmb_line_real(t, key, &v, err));
    if (!(v >= -9e15 && v <= 9e15))
        return LMB_FAIL(err, LMB_E_FORMAT, "'%s' is no whole number", key);
    *out = (int64_t)v;
    return LMB_OK;
}

static lmb_status get_bool(const lmb_tree *t, const char *key, bool *out, lmb_error *err)
{
    lmb_error local = LMB_ERROR_INIT;
    const lmb_tree *v = lmb_tree_get(t, key);
    return v && lmb_tree_bool(v, out, &local) == LMB_OK
               ? LMB_OK
               : LMB_FAIL(err, LMB_E_FORMAT, "'%s' is neither true nor false", key);
}

static lmb_status get_choice(const lmb_tree *t, const char *key, const char *const *names, int *out, lmb_error *err)
{
    const char *text;
    LMB_TRY(lmb_line_text(t, key, &text, err));
    for (*out = 0; names[*out]; (*out)++)
        if (strcmp(names[*out], text) == 0)
            return LMB_OK;
    return LMB_FAIL(err, LMB_E_FORMAT, "'%s' is '%.40s'", key, text);
}

static lmb_status get_costs(const lmb_tree *t, const char *key, double *out, lmb_error *err)
{
    const lmb_tree *map = lmb_tree_get(t, key);
    for (int i = 0; i < LMB_COSTS; i++)
        LMB_TRY(lmb_line_real(map, lmb_goals[i], &out[i], err));
    return LMB_OK;
}

/* A journal from before there were any has none: they were 0. */
static lmb_status get_penalty(const lmb_tree *t, lmb_penalty *p, lmb_error *err)
{
    const lmb_tree *map = lmb_tree_get(t, "penalty");

    for (int i = 0; map && i <= LMB_COSTS; i++) {
        LMB_TRY(lmb_line_real(map, lmb_goals[i], &p->of[i], err));
        if (!(p->of[i] >= 0 && p->of[i] <= 1e9))
            return LMB_FAIL(err, LMB_E_FORMAT, "the multiplier of %s is %g", lmb_goals[i], p->of[i]);
    }
    return LMB_OK;
}

static lmb_status get_move(const lmb_tree *t, lmb_move *m, lmb_error *err)
{
    const char *what;
    int kind;

    LMB_TRY(get_choice(t, "kind", move_kinds, &kind, err));
    m->kind = (lmb_move_kind)kind;
    LMB_TRY(lmb_line_text(t, "what", &what, err));
    snprintf(m->what, sizeof m->what, "%s", what);
    LMB_TRY(get_int(t, "from", &m->from, err));
    LMB_TRY(get_int(t, "to", &m->to, err));
    LMB_TRY(get_int(t, "rank_in", &m->rank_in, err));
    LMB_TRY(lmb_line_real(t, "loss", &m->loss, err));
    m->class = m->basis = -1;
    return get_costs(t, "gain", m->gain, err);
}

static lmb_status get_figures(const lmb_tree *t, lmb_point *p, lmb_error *err)
{
    int64_t id = 0, parent = 0, round = 0;
    int kind, goal;

    LMB_TRY(get_int(t, "point", &id, err));
    LMB_TRY(get_int(t, "parent", &parent, err));
    LMB_TRY(get_int(t, "round", &round, err));
    LMB_TRY(get_choice(t, "kind", lmb_point_kinds, &kind, err));
    LMB_TRY(get_choice(t, "goal", lmb_goals, &goal, err));
    p->id = (int)id;
    p->parent = (int)parent;
    p->round = (int)round;
    p->kind = (lmb_point_kind)kind;
    p->goal = (lmb_goal)goal;
    LMB_TRY(lmb_line_real(t, "step", &p->step, err));
    LMB_TRY(get_penalty(t, &p->penalty, err));
    LMB_TRY(get_costs(t, "predicted", p->predicted, err));
    LMB_TRY(get_costs(t, "cost", p->cost, err));
    p->timing.p50 = p->cost[LMB_GOAL_LATENCY];
    LMB_TRY(lmb_line_real(t, "p99", &p->timing.p99, err));
    LMB_TRY(lmb_line_real(t, "throughput", &p->timing.throughput, err));
    LMB_TRY(lmb_line_real(t, "missed", &p->timing.missed, err));
    LMB_TRY(lmb_line_real(t, "energy", &p->timing.energy, err));
    if (lmb_tree_get(t, "beside"))
        LMB_TRY(lmb_line_real(t, "beside", &p->beside, err));
    LMB_TRY(lmb_line_real(t, "parameters", &p->parameters, err));
    LMB_TRY(lmb_line_real(t, "arena", &p->arena, err));
    LMB_TRY(get_int(t, "n", &p->pair.n, err));
    LMB_TRY(get_int(t, "right", &p->right, err));
    LMB_TRY(get_int(t, "lost", &p->pair.lost, err));
    LMB_TRY(get_int(t, "won", &p->pair.won, err));
    LMB_TRY(lmb_line_real(t, "limit", &p->limit, err));
    if (lmb_tree_get(t, "before_lost")) {
        p->before.n = p->pair.n;
        LMB_TRY(get_int(t, "before_lost", &p->before.lost, err));
        LMB_TRY(get_int(t, "before_won", &p->before.won, err));
    }
    if (lmb_tree_get(t, "proof_lost")) {
        p->proof.n = p->pair.n;
        LMB_TRY(get_int(t, "proof_lost", &p->proof.lost, err));
        LMB_TRY(get_int(t, "proof_won", &p->proof.won, err));
    }
    if (lmb_tree_get(t, "diverged"))
        LMB_TRY(get_bool(t, "diverged", &p->diverged, err));
    LMB_TRY(get_bool(t, "accepted", &p->accepted, err));
    return get_bool(t, "beaten", &p->beaten, err);
}

static lmb_status get_moves(const lmb_tree *list, lmb_point *p, lmb_error *err)
{
    p->move = calloc(lmb_tree_count(list) + 1, sizeof *p->move);
    if (!p->move)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the moves of a point");
    for (const lmb_tree *t = list ? list->child : NULL; t; t = t->next)
        LMB_TRY(get_move(t, &p->move[p->n_moves++], err));
    return LMB_OK;
}

static bool counts(const lmb_paired *c)
{
    return c->lost >= 0 && c->won >= 0 && c->lost <= c->n && c->won <= c->n - c->lost;
}

static bool sound(const lmb_point *p)
{
    const lmb_paired *c = &p->pair;
    return c->n >= 1 && c->n <= INT32_MAX && counts(c) && counts(&p->before) && counts(&p->proof) && p->right >= 0 &&
           p->right <= c->n;
}

typedef struct reader { lmb_points *p; const char *identity; } reader;

static lmb_status read_point(const lmb_tree *t, lmb_points *p, lmb_error *err)
{
    lmb_point point = { 0 };
    lmb_status st = get_figures(t, &point, err);

    if (st == LMB_OK && !sound(&point))
        st = LMB_FAIL(err, LMB_E_FORMAT, "point %d has counts that no held-out samples have", point.id);
    if (st == LMB_OK && (point.id != p->n || point.parent >= point.id || (point.parent < 0) != (point.id == 0)))
        st = LMB_FAIL(err, LMB_E_FORMAT, "point %d of parent %d where point %d was due", point.id, point.parent, p->n);
    if (st == LMB_OK)
        st = get_moves(lmb_tree_get(t, "moves"), &point, err);
    if (st == LMB_OK)
        return append(p, &point, err);
    free(point.move);
    return st;
}

static lmb_status read_row(void *ctx, const lmb_tree *line, lmb_error *err)
{
    reader *r = ctx;
    const lmb_tree *round = lmb_tree_get(line, "points");
    const char *identity;

    if (!r->p->begun) {
        LMB_TRY(lmb_line_text(line, "search", &identity, err));
        LMB_TRY(lmb_identity_check(identity, r->identity, "configuration or teacher", "`run`", err));
        r->p->begun = true;
        return LMB_OK;
    }
    if (!lmb_tree_count(round))
        return LMB_FAIL(err, LMB_E_FORMAT, "there are no points");
    for (const lmb_tree *t = round->child; t; t = t->next)
        LMB_TRY(read_point(t, r->p, err));
    return LMB_OK;
}

lmb_status lmb_points_read(const char *path, const char *identity, lmb_points *out, lmb_error *err)
{
    reader r = { out, identity };

    memset(out, 0, sizeof *out);
    lmb_status st = lmb_lines_read(path, LMB_LINES_AFRESH, read_row, &r, err);
    if (st != LMB_OK)
        lmb_points_free(out);
    else
        out->identity = identity;
    return st;
}

double lmb_point_slowness(const lmb_points *all, const lmb_point *p)
{
    double slow = p->beside > 0 ? p->beside / all->point[p->parent].timing.p50 : 1;
    return slow > 1 + LMB_POINT_NOISE ? slow : 1;
}

double lmb_point_from(const lmb_points *all, const lmb_point *p)
{
    double cost = all->point[p->parent].cost[p->goal];
    return p->goal == LMB_GOAL_LATENCY && p->beside > 0 ? p->beside / lmb_point_slowness(all, p) : cost;
}

bool lmb_point_saves_nothing(const lmb_points *all, const lmb_point *p)
{
    return p->kind == LMB_POINT_STEP && p->n_moves && p->cost[p->goal] >= lmb_point_from(all, p);
}

/* ---- the front ---- */

static bool beats(const lmb_point *a, const lmb_point *b)
{
    bool better = a->right > b->right;

    if (a->right < b->right)
        return false;
    for (int i = 0; i < LMB_COSTS; i++) {
        if (a->cost[i] > b->cost[i])
            return false;
        better |= a->cost[i] < b->cost[i];
    }
    return better;
}

void lmb_points_front(lmb_points *p)
{
    for (int i = 0; i < p->n; i++) {
        p->point[i].front = true;
        for (int k = 0; k < p->n && p->point[i].front; k++)
            p->point[i].front = !beats(&p->point[k], &p->point[i]);
    }
}
