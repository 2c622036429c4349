/* distill/quantize/ptq.c - see ptq.h. */
#include "distill/quantize/ptq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/passes/fold.h"
#include "core/ops/attrs.h"
#include "core/passes/rewrite.h"
#include "distill/quantize/bias.h"
#include "distill/quantize/bits.h"
#include "distill/quantize/calibrate.h"
#include "distill/quantize/equalise.h"
#include "distill/quantize/observer.h"
#include "distill/quantize/power.h"
#include "distill/quantize/steps.h"

/* One observed activation: its value in the float graph, its range's places in the graph that is to be calibrated, and
 * how many integers that has for it. */
typedef struct place { lmb_vid lo, hi; int levels; } place;
typedef struct extent { bool any; float lo, hi; } extent;

typedef struct observing {
    const lmb_observer *observer;
    void *config;
    lmb_graph *g; /* float, batch LMB_CALIBRATION_BATCH */
    lmb_vid *point;
    place *place;
    int n_points;
    extent *widest; /* [n_points], of an observer that needs it; NULL: none */
    lmb_look look;
    bool symmetric;
} observing;

/* ---- the graph without its FakeQuants ---- */

static lmb_status bridge_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                              lmb_error *err)
{
    observing *c = r->ctx;
    const char *op = n->op->name;

    (void)err;
    *done = true;
    if (strcmp(op, "FakeQuant") == 0)
        out[0] = in[0];
    else if (strcmp(op, "ObserveRange") == 0) {
        c->point[c->n_points] = in[0];
        c->place[c->n_points++] = (place){ n->in[1], n->in[2], 256 };
        out[0] = out[1] = LMB_NONE;
    } else if (strcmp(op, "RangeToScale") == 0) { /* right behind its ObserveRange (qat.c) */
        c->place[c->n_points - 1].levels = (int)((const lmb_range_to_scale_attr *)n->attr)->top + 1;
        out[0] = out[1] = LMB_NONE;
    } else if (strcmp(op, "WeightScale") == 0)
        out[0] = LMB_NONE;
    else
        *done = false;
    return LMB_OK;
}

static lmb_status drop_observer(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    (void)err;
    if (r->old->value[v].role == LMB_ROLE_OBSERVER) {
        *out = LMB_NONE;
        *done = true;
    }
    return LMB_OK;
}

static lmb_status bridge(observing *c, const lmb_graph *qat, lmb_error *err)
{
    lmb_rewrite r = { .node = bridge_node, .value = drop_observer, .ctx = c, .batch = LMB_CALIBRATION_BATCH };

    c->point = malloc(sizeof *c->point * ((size_t)qat->n_nodes + 1));
    c->place = malloc(sizeof *c->place * ((size_t)qat->n_nodes + 1));
    if (!c->point || !c->place)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to calibrate");
    return lmb_rewrite_run(&r, qat, &c->g, NULL, err);
}

/* ---- looks ---- */

static void see_widest(void *ctx, int k, void *memory, const float *x, const lmb_shape *shape, int64_t n)
{
    extent *e = memory;
    (void)ctx, (void)k;
    e->any = true;
    lmb_observed_range(x, lmb_shape_count(shape) / LMB_CALIBRATION_BATCH * n, &e->lo, &e->hi);
}

static void merge_widest(void *ctx, int k, void *into, const void *batch)
{
    extent *a = into;
    const extent *b = batch;
    (void)ctx, (void)k;
    *a = a->any ? (extent){ true, fminf(a->lo, b->lo), fmaxf(a->hi, b->hi) } : *b;
}

static extent widest_of(const observing *c, int k)
{
    static const lmb_look look = { .bytes = sizeof(extent) };
    return c->widest ? *(const extent *)lmb_calibration_at(c->widest, &look, k) : (extent){ false, 0, 0 };
}

static void see_point(void *ctx, int k, void *memory, const float *x, const lmb_shape *shape, int64_t n)
{
    const observing *c = ctx;
    extent e = widest_of(c, k);
    c->observer->see(c->config, memory, x, lmb_shape_count(shape) / LMB_CALIBRATION_BATCH * n, e.lo, e.hi);
}

static void merge_point(void *ctx, int k, void *into, const void *batch)
{
    const observing *c = ctx;
    (void)k;
    c->observer->merge(c->config, into, batch);
}

/* ---- setting up ---- */

static lmb_status unknown_observer(const lmb_tree *tree, const char *name, lmb_error *err)
{
    enum { MOST = 32 };
    const char *names[MOST];
    int n = 0;

    for (; lmb_observers[n] && n < MOST - 1; n++)
        names[n] = lmb_observers[n]->name;
    names[n] = NULL;
    const char *near = lmb_nearest(name, names);
    return lmb_tree_fail(tree, err, LMB_E_ARG, "there is no observer '%s'%s%s%s", name, near ? "; did you mean " : "",
                         near ? near : "", near ? "?" : "; `limbeck quantize --help` lists them");
}

/* bits: of activations; with few of them the widest range is a bad one. */
static lmb_status pick_observer(observing *c, const lmb_tree *tree, int64_t bits, lmb_error *err)
{
    const char *name = bits && bits <= LMB_BITS_FEW ? "mse" : "minmax";

    if (tree)
        LMB_TRY(lmb_tree_name(tree, &name, err));
    c->observer = lmb_observer_find(name);
    if (!c->observer)
        return unknown_observer(tree, name, err);
    c->config = calloc(1, c->observer->config_size + 1);
    if (!c->config)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for an observer");
    return lmb_fields_bind(c->observer->fields, tree, c->config, err);
}

/* Ranges into the stored content of the observers. */
static lmb_status put_ranges(const observing *c, void *merged, lmb_graph *qat, lmb_error *err)
{
    for (int k = 0; k < c->n_points; k++) {
        extent e = widest_of(c, k);
        float lo, hi;
        const lmb_grid grid = { c->place[k].levels, c->symmetric };
        c->observer->range(c->config, lmb_calibration_at(merged, &c->look, k), &grid, e.lo, e.hi, &lo, &hi);
        LMB_TRY(lmb_graph_set_data(qat, c->place[k].lo, &lo, err));
        LMB_TRY(lmb_graph_set_data(qat, c->place[k].hi, &hi, err));
    }
    return LMB_OK;
}

static lmb_qat_config usual_qat(void)
{
    lmb_qat_config q;
    lmb_fields_default(lmb_qat_fields, &q);
    return q;
}

/* What bits, activations and scales the configuration asks for. */
static lmb_qat_config scheme_of(const lmb_ptq_config *c) { return c->qat ? *c->qat : usual_qat(); }

lmb_status lmb_ptq_observe(lmb_graph *qat, const lmb_ptq_config *config, const lmb_dataset *train, lmb_error *err)
{
    observing c = { .observer = NULL };
    const lmb_look widest = { sizeof(extent), see_widest, merge_widest, NULL };
    const lmb_qat_config q = scheme_of(config);
    lmb_calibration *run = NULL;
    void *found = NULL, *merged = NULL;
    lmb_status st;

    LMB_TRY_GOTO(st, done, pick_observer(&c, config->observer, q.activation_bits, err));
    c.look = (lmb_look){ c.observer->bytes, see_point, merge_point, &c };
    c.symmetric = q.activations == LMB_QAT_SYMMETRIC;
    LMB_TRY_GOTO(st, done, bridge(&c, qat, err));
    LMB_TRY_GOTO(st, done, lmb_calibration_create(c.g, c.point, c.n_points, config, train, &run, err));
    if (c.observer->needs_range)
        LMB_TRY_GOTO(st, done, lmb_calibration_pass(run, &widest, &found, err));
    c.widest = found;
    LMB_TRY_GOTO(st, done, lmb_calibration_pass(run, &c.look, &merged, err));
    st = put_ranges(&c, merged, qat, err);
done:
    lmb_calibration_destroy(run);
    lmb_graph_destroy(c.g);
    free(found);
    free(merged);
    free(c.point);
    free(c.place);
    free(c.config);
    return st;
}

/* ---- the passes one after another ---- */

lmb_status lmbi_ptq_settle(lmb_graph **observed, const lmb_ptq_config *c, lmb_error *err)
{
    lmb_graph *made = NULL;
    observing o = { .observer = NULL };
    bool learned = scheme_of(c).scheme == LMB_QAT_LEARNED;

    lmb_status st = pick_observer(&o, c->observer, scheme_of(c).activation_bits, err);
    free(o.config);
    LMB_TRY(st);
    if (!learned && (!c->observer || !o.observer->held)) /* what nobody has asked for moves on */
        return LMB_OK;
    LMB_TRY(learned ? lmb_pass_steps(*observed, &made, err) : lmb_pass_qat_freeze(*observed, &made, err));
    lmb_graph_destroy(*observed);
    *observed = made;
    return LMB_OK;
}

lmb_status lmb_ptq_start(const lmb_graph *model, const lmb_ptq_config *c, const lmb_dataset *train, lmb_graph **out,
                         lmb_error *err)
{
    lmb_graph *folded = NULL, *equal = NULL, *shifted = NULL, *biased = NULL, *qat = NULL;
    const lmb_graph *real;
    lmb_qat_config q = scheme_of(c);
    lmb_status st;

    LMB_TRY_GOTO(st, done, lmb_pass_fold(model, &folded, err));
    real = folded;
    if (c->equalise) {
        LMB_TRY_GOTO(st, done, lmb_pass_equalise(real, &equal, NULL, err));
        real = equal;
    }
    if (q.scales == LMB_QAT_POWER_OF_TWO) { /* so that the float model below has the input that the integers have */
        LMB_TRY_GOTO(st, done, lmb_pass_power_input(real, &shifted, err));
        real = shifted;
    }
    if (c->correct_bias) {
        LMB_TRY_GOTO(st, done, lmb_pass_zero_bias(real, &biased, err));
        real = biased;
    }
    LMB_TRY_GOTO(st, done, lmb_pass_qat(real, &q, &qat, err));
    if (c->calibration)
        LMB_TRY_GOTO(st, done, lmb_ptq_observe(qat, c, train, err));
    if (c->correct_bias)
        LMB_TRY_GOTO(st, done, lmb_correct_bias(qat, real, c, train, err));
    LMB_TRY_GOTO(st, done, lmbi_ptq_settle(&qat, c, err));
    *out = qat;
    qat = NULL;
done:
    lmb_graph_destroy(folded);
    lmb_graph_destroy(equal);
    lmb_graph_destroy(shifted);
    lmb_graph_destroy(biased);
    lmb_graph_destroy(qat);
    return st;
}

lmb_status lmb_ptq(const lmb_graph *model, const lmb_ptq_config *c, const lmb_dataset *train, lmb_graph **out,
                   lmb_error *err)
{
    lmb_qat_config q = scheme_of(c);
    lmb_ptq_config plain = *c;
    lmb_graph *qat = NULL;

    q.scheme = LMB_QAT_RANGE; /* nothing is learned here */
    plain.qat = &q;
    LMB_TRY(lmb_ptq_start(model, &plain, train, &qat, err));
    lmb_status st = lmb_pass_qat_freeze(qat, out, err);
    lmb_graph_destroy(qat);
    return st;
}

/* ---- options that would do nothing ---- */

/* The one of `qat` that says how ranges move in a training and is not as it stands by itself; NULL: none. */
static const char *moves(const lmb_qat_config *q)
{
    const lmb_qat_config usual = usual_qat();
    return q->observer != usual.observer ? "observer" : q->momentum != usual.momentum ? "momentum" : NULL;
}

static lmb_status check_untrained(const lmb_qat_config *q, lmb_error *err)
{
    if (q->scheme == LMB_QAT_LEARNED)
        return LMB_FAIL(err, LMB_E_ARG,
                        "qat.scheme is learned, and nothing is trained that could learn: leave the scheme at range, or "
                        "train, with `quantize.train` of `limbeck distill`");
    if (moves(q))
        return LMB_FAIL(err, LMB_E_ARG,
                        "qat.%s says how ranges move in a training, and nothing is trained: leave it out (what takes "
                        "ranges from images is `observer`), or train, with `quantize.train` of `limbeck distill`",
                        moves(q));
    return LMB_OK;
}

/* held: the observer whose ranges stay, or NULL. */
static lmb_status check_trained(const lmb_qat_config *q, const char *held, bool correct_bias, lmb_error *err)
{
    if (correct_bias)
        return LMB_FAIL(err, LMB_E_ARG,
                        "correct_bias is for what is not trained with fake quantisation, where biases learn what "
                        "rounding shifts: leave it out, or leave out quantize.train");
    if (q->scheme == LMB_QAT_LEARNED && moves(q))
        return LMB_FAIL(err, LMB_E_ARG,
                        "qat.%s says how ranges move in a training, and with scheme learned there are steps in their "
                        "place: leave it out, or set qat.scheme to range",
                        moves(q));
    if (q->scheme == LMB_QAT_RANGE && held && moves(q))
        return LMB_FAIL(err, LMB_E_ARG,
                        "qat.%s says how ranges move in a training, and those of the observer %s are held: leave it "
                        "out, or take the observer minmax or moving_average",
                        moves(q), held);
    if (q->observer == LMB_QAT_MINMAX && q->momentum != usual_qat().momentum)
        return LMB_FAIL(err, LMB_E_ARG,
                        "qat.momentum is the memory of a moving average, and qat.observer is minmax: leave out one of "
                        "the two");
    return LMB_OK;
}

lmb_status lmb_ptq_check_observer(const lmb_tree *observer, lmb_error *err)
{
    observing o = { .observer = NULL };
    lmb_status st = pick_observer(&o, observer, 0, err);

    free(o.config);
    return st;
}

lmb_status lmb_ptq_check(const lmb_ptq_config *c, const lmb_dataset *train, bool trains, lmb_error *err)
{
    lmb_qat_config q = scheme_of(c);
    observing o = { .observer = NULL };

    if (c->calibration || !trains)
        LMB_TRY(lmb_calibration_check(c, train, err));
    lmb_status st = pick_observer(&o, c->observer, scheme_of(c).activation_bits, err);
    free(o.config);
    LMB_TRY(st);
    return trains ? check_trained(&q, c->observer && o.observer->held ? o.observer->name : NULL, c->correct_bias, err) : check_untrained(&q, err);
}
