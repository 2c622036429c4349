/* distill/quantize/qat.c - see qat.h. */
#include "distill/quantize/qat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ops/batch_norm.h"
#include "core/ops/gemm.h"
#include "core/passes/rewrite.h"
#include "core/passes/fold.h"
#include "distill/quantize/bits.h"
#include "distill/quantize/integer_ops.h"
#include "distill/quantize/operands.h"
#include "distill/quantize/power.h"
#include "distill/quantize/steps.h"

static const char *const observers[] = { "moving_average", "minmax", NULL };
static const char *const schemes[] = { "range", "learned", NULL };
static const char *const activations[] = { "affine", "symmetric", NULL };
static const char *const scales[] = { "any", "power_of_two", NULL };
const lmb_field lmb_qat_fields[] = {
    LMB_CHOICE(lmb_qat_config, observer, 0, observers,
               "how ranges of activations move in a training, from where the observer of calibration has put them"),
    LMB_REAL(lmb_qat_config, momentum, 0.98, 0, 1, "", "memory of the moving average"),
    LMB_CHOICE(lmb_qat_config, scheme, 0, schemes, "scales from ranges, or learned as parameters (LSQ; qat only)"),
    LMB_INT(lmb_qat_config, bits, 8, 2, 8, "bits", "of weights; fewer than 8 are a smaller .lmb file"),
    LMB_INT(lmb_qat_config, ends, 8, 2, 8, "bits", "of the first and the last layer's weights"),
    LMB_TREE(lmb_qat_config, layers, "bits of single layers, {conv1.weight: 4}, before all else"),
    LMB_INT(lmb_qat_config, activation_bits, 8, 2, 8, "bits", "of activations; they stay a byte in memory"),
    LMB_INT(lmb_qat_config, activation_ends, 0, 0, 8, "bits",
            "of activations where no inner layer multiplies them: sums, the answers; 0: activation_bits"),
    LMB_CHOICE(lmb_qat_config, activations, 0, activations,
               "symmetric: zero point 128, for runtimes that want signed integers without one"),
    LMB_CHOICE(lmb_qat_config, scales, 0, scales,
               "power_of_two: requantisation is a shift, the same bits on every runtime"),
    LMB_FIELD_END
};

/* bits: [nodes] of the weights; end: [nodes] the first or the last layer; kind: [values] of operands.h; narrowed:
 * [values] the second FakeQuant, once made */
typedef struct insertion {
    const lmb_qat_config *c;
    int *bits, *kind;
    bool *end;
    lmb_vid *narrowed;
    unsigned what;
} insertion;

static bool is(const lmb_node *n, const char *op) { return strcmp(n->op->name, op) == 0; }

static bool has_role(const lmb_node *n, lmb_integer_role role)
{
    const lmb_integer_op *row = lmb_integer_op_find(n->op->name);
    return row && row->role == role && !*n->op->domain;
}
static bool is_weighted(const lmb_node *n) { return has_role(n, LMB_INTEGER_WEIGHTS); }
static bool makes_integers(const lmb_node *n) { return is_weighted(n) || has_role(n, LMB_INTEGER_MAKES); }
static bool is_clamp(const lmb_node *n) { return has_role(n, LMB_INTEGER_CLAMPS); }
static bool keeps_scale(const lmb_node *n) { return has_role(n, LMB_INTEGER_KEEPS); }

/* Sub and Mul with a scalar constant right behind the input: the normalisation. */
static bool is_prefix(const lmb_graph *g, const lmb_node *n)
{
    if ((!is(n, "Sub") && !is(n, "Mul")) || g->value[n->in[1]].role != LMB_ROLE_CONSTANT ||
        lmb_shape_count(&g->value[n->in[1]].shape) != 1)
        return false;
    const lmb_value *x = &g->value[n->in[0]];
    return x->role == LMB_ROLE_INPUT || (x->node != LMB_NONE && is_prefix(g, &g->node[x->node]));
}

/* The Conv that BatchNormalization n folds into, or NULL. */
static const lmb_node *conv_of(const lmb_graph *g, const lmb_node *n)
{
    int i = is(n, "BatchNormalization") ? g->value[n->in[0]].node : LMB_NONE;
    return i != LMB_NONE && lmb_norm_after(g, &g->node[i]) == n ? &g->node[i] : NULL;
}

/* Does the node that reads n's output become one with it? */
static bool goes_on(const lmb_graph *g, const lmb_node *n)
{
    int reader = is_clamp(n) ? -1 : lmb_sole_reader(g, n->out[0]);
    return reader >= 0 && (is_clamp(&g->node[reader]) || lmb_norm_after(g, n));
}

static int64_t narrow_bits(const lmb_qat_config *c) { return c->activation_bits ? c->activation_bits : LMB_BITS_MAX; }
static int64_t wide_bits(const lmb_qat_config *c) { return c->activation_ends ? c->activation_ends : narrow_bits(c); }

/* The largest integer of activation v of the old graph. */
static int64_t top_of(const insertion *t, lmb_vid v)
{
    return (1 << (t->kind[v] == LMBI_NARROW ? narrow_bits(t->c) : wide_bits(t->c))) - 1;
}

/* FakeQuant of activation x, with an observer of its own named after the node. */
static lmb_vid quantise_activation(lmb_rewrite *r, const char *name, lmb_vid x, int64_t top)
{
    const lmb_qat_config *c = ((const insertion *)r->ctx)->c;
    lmb_builder *b = &r->b;
    const float none[2] = { 1, -1 }; /* min > max: nothing seen */
    lmb_vid range[2], next[2], q[2];
    char buf[200];

    for (int i = 0; i < 2; i++) {
        snprintf(buf, sizeof buf, "%.180s.%s", name, i ? "max" : "min");
        range[i] = lmb_emit_value(b, LMB_ROLE_OBSERVER, buf, LMB_F32, (lmb_shape){ 0 }, &none[i]);
    }
    lmb_emit_n(b, "ObserveRange", NULL, LMB_IN(x, range[0], range[1]),
               LMB_ATTRS(LMB_ATEXT("mode", observers[c->observer]), LMB_AREAL("momentum", (float)c->momentum)), next,
               2);
    lmb_emit_n(b, "RangeToScale", NULL, LMB_IN(next[0], next[1]),
               LMB_ATTRS(LMB_AINT("top", top), LMB_AINT("symmetric", c->activations == LMB_QAT_SYMMETRIC),
                         LMB_AINT("power_of_two", c->scales == LMB_QAT_POWER_OF_TWO)), q, 2);
    if (b->status != LMB_OK)
        return LMB_NONE;
    for (int i = 0; i < 2; i++) {
        b->g->value[range[i]].next = next[i];
        b->g->value[range[i]].decay = 0;
        if (c->observer == LMB_QAT_MINMAX)
            b->g->value[range[i]].reduce = i ? LMB_REDUCE_MAX : LMB_REDUCE_MIN;
    }
    snprintf(buf, sizeof buf, "%.180s.q", name);
    return lmb_emit(b, "FakeQuant", buf, LMB_IN(x, q[0], q[1]), LMB_ATTRS(LMB_AINT("lo", 0), LMB_AINT("hi", top)));
}

/* What convolution n reads of x, which is its input in the new graph: where others want it wide, a narrow one. */
static lmb_vid operand_of(lmb_rewrite *r, const lmb_node *n, lmb_vid x)
{
    const insertion *t = r->ctx;
    const lmb_graph *g = r->old;
    lmb_vid v = n->in[0];
    char name[200];

    if (t->kind[v] != LMBI_BOTH || t->end[n - g->node])
        return x;
    if (t->narrowed[v] == LMB_NONE) {
        const lmb_node *made = &g->node[g->value[v].node], *conv = conv_of(g, made);
        snprintf(name, sizeof name, "%.180s.operand", conv ? conv->name : made->name);
        t->narrowed[v] = quantise_activation(r, name, x, (1 << narrow_bits(t->c)) - 1);
    }
    return t->narrowed[v];
}

/* State that is made before its turn, which a node in front of its own reads too. */
static lmb_vid early(lmb_rewrite *r, lmb_vid v)
{
    const lmb_value *x = &r->old->value[v];

    if (r->map[v] == LMB_NONE)
        r->map[v] = lmb_emit_value(&r->b, x->role, x->name, x->dtype, x->shape, x->data);
    if (r->map[v] != LMB_NONE) {
        lmb_value *y = &r->b.g->value[r->map[v]];
        y->frozen = x->frozen;
        y->decay = x->decay;
        y->reduce = x->reduce;
    }
    return r->map[v];
}

static lmb_status value_early(lmb_rewrite *r, lmb_vid v, lmb_vid *out, bool *done, lmb_error *err)
{
    (void)r, (void)v, (void)err;
    *done = *out != LMB_NONE;
    return LMB_OK;
}

/* What folding will multiply the weights' rows with, scale / sqrt(var + eps), as it is now: [C, 1, ...]. Said by
 * BatchNormalization itself, of a sample of ones. */
static lmb_vid norm_factor(lmb_rewrite *r, const lmb_node *bn, int dims)
{
    const lmb_batch_norm_attr *a = bn->attr;
    int64_t c = lmb_shape_count(&r->old->value[bn->in[4]].shape), d[LMB_MAX_DIMS] = { c };
    float *v = calloc(2 * (size_t)c + 1, sizeof *v);
    lmb_builder *b = &r->b;

    if (!v) {
        b->status = LMB_FAIL(b->err, LMB_E_NOMEM, "no memory for %lld factors", (long long)c);
        return LMB_NONE;
    }
    for (int64_t i = 0; i < c; i++)
        v[i] = 1;
    for (int i = 1; i < dims; i++)
        d[i] = 1;
    lmb_vid ones = lmb_emit_value(b, LMB_ROLE_CONSTANT, "ones", LMB_F32, LMB_SHAPE(1, c), v);
    lmb_vid zeros = lmb_emit_value(b, LMB_ROLE_CONSTANT, "zeros", LMB_F32, LMB_SHAPE(c), v + c);
    lmb_vid f = lmb_emit(b, "BatchNormalization", NULL,
                         LMB_IN(ones, early(r, bn->in[1]), zeros, zeros, early(r, bn->in[4])),
                         LMB_ATTRS(LMB_AREAL("epsilon", a->epsilon)));
    free(v);
    return lmb_emit(b, "Reshape", NULL, LMB_IN(f, lmb_emit_ints(b, d, dims)), LMB_NO_ATTRS);
}

static lmb_vid scale_of(lmb_rewrite *r, lmb_vid w, int64_t top, bool power)
{
    return lmb_emit(&r->b, "WeightScale", NULL, LMB_IN(w),
                    LMB_ATTRS(LMB_AINT("axis", 0), LMB_AINT("top", top), LMB_AINT("power_of_two", power)));
}

/* The scale of weights that are still to be folded: that of the folded ones, divided by what folding multiplies with,
 * whose size is that of its WeightScale with top 1 (and 1 for 0, whose row is folded to zeros). Scales that follow
 * their rows are the same either way (narrow.h); powers of two do not. */
static lmb_vid weight_scale(lmb_rewrite *r, const lmb_node *n, lmb_vid w, int64_t top)
{
    bool power = ((const insertion *)r->ctx)->c->scales == LMB_QAT_POWER_OF_TWO;
    const lmb_node *bn = power ? lmb_norm_after(r->old, n) : NULL;

    if (!bn)
        return scale_of(r, w, top, power);
    lmb_vid f = norm_factor(r, bn, r->old->value[n->in[1]].shape.n);
    lmb_vid s = scale_of(r, lmb_emit(&r->b, "Mul", NULL, LMB_IN(w, f), LMB_NO_ATTRS), top, true);
    return lmb_emit(&r->b, "Div", NULL, LMB_IN(s, scale_of(r, f, 1, false)), LMB_NO_ATTRS);
}

static lmb_vid quantise_weights(lmb_rewrite *r, const lmb_node *n, lmb_vid w)
{
    const insertion *t = r->ctx;
    int64_t top = lmb_bits_top(t->bits[n - r->old->node]);
    char buf[200];
    lmb_vid s = weight_scale(r, n, w, top);
    snprintf(buf, sizeof buf, "%.180s.qw", n->name);
    return lmb_emit(&r->b, "FakeQuant", buf, LMB_IN(w, s),
                    LMB_ATTRS(LMB_AINT("axis", 0), LMB_AINT("lo", -top), LMB_AINT("hi", top)));
}

/* The normalisation becomes the input's scale and zero point (lower.c): said here, before anybody trains for hours. */
static lmb_status check_prefix(const lmb_graph *g, const lmb_node *n, lmb_error *err)
{
    float mean = *(const float *)g->value[n->in[1]].data;
    int before = g->value[n->in[0]].node;

    if (before != LMB_NONE &&
        (is(n, "Sub") || !is(&g->node[before], "Sub") || g->value[g->node[before].in[0]].node != LMB_NONE))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "node %s: behind the input one Sub and then one Mul become integers, and here are more; write "
                        "them as one `mean` and one `scale`",
                        n->name);
    if (is(n, "Mul") && !(mean > 0))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "node %s: the scale %g of the input must be above 0", n->name,
                        (double)mean);
    if (g->value[n->in[0]].shape.n != 4)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "node %s: only images become integers, not signals; keep the model in floats", n->name);
    if (is(n, "Sub") && !(mean >= 0 && mean <= 255 && mean == (float)(int)mean))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "node %s: the mean %g must be a whole number in 0 .. 255, so that raw bytes are exact; "
                        "round the model's `mean`",
                        n->name, (double)mean);
    return LMB_OK;
}

/* Do integers stand for v, once the pass is through? */
static bool becomes_integers(const lmb_graph *g, lmb_vid v)
{
    const lmb_node *n = g->value[v].node == LMB_NONE ? NULL : &g->node[g->value[v].node];

    if (!n)
        return false;
    return keeps_scale(n) ? becomes_integers(g, n->in[0]) : !is_prefix(g, n) || is(n, "Mul");
}

/* What lower.c would refuse, before anybody trains for hours. */
static lmb_status check_node(const lmb_graph *g, const lmb_node *n, lmb_error *err)
{
    const lmb_gemm_attr *a = is(n, "Gemm") ? n->attr : NULL;
    lmb_vid bias = is_weighted(n) && n->n_in > 2 ? n->in[2] : LMB_NONE;

    for (int k = 0; k < (is(n, "Add") ? 2 : 1); k++)
        if (!becomes_integers(g, n->in[k]))
            return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                            "node %s (%s): it reads %s, for which no integers stand: they do for what layers make, and "
                            "for the input behind a mean and a scale",
                            n->name, n->op->name, g->value[n->in[k]].name);
    if (is(n, "Add") && !lmb_shape_equal(&g->value[n->in[0]].shape, &g->value[n->in[1]].shape))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "node %s: only an Add of two values of one shape has an integer form",
                        n->name);
    if (a && (a->alpha != 1 || (bias != LMB_NONE && a->beta != 1) || a->transA || !a->transB))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "node %s: of Gemm only x W' + b has an integer form (alpha and beta 1, transB 1)", n->name);
    if (bias != LMB_NONE && lmb_shape_count(&g->value[bias].shape) != g->value[n->in[1]].shape.d[0])
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "node %s: its bias is not one number for each output channel", n->name);
    for (int k = 1; is(n, "Clip") && k < n->n_in; k++)
        if (n->in[k] != LMB_NONE && g->value[n->in[k]].role != LMB_ROLE_CONSTANT)
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "node %s: its bounds must be constants", n->name);
    return LMB_OK;
}

static lmb_status qat_node(lmb_rewrite *r, const lmb_node *n, const lmb_vid *in, lmb_vid *out, bool *done,
                           lmb_error *err)
{
    const lmb_graph *g = r->old;
    unsigned what = ((const insertion *)r->ctx)->what;
    bool weights = (what & LMBI_QAT_WEIGHTS) && is_weighted(n), ranges = what & LMBI_QAT_ACTIVATIONS;
    const lmb_node *conv = what & LMBI_QAT_UNFOLDED ? conv_of(g, n) : NULL;
    lmb_vid operand[LMB_MAX_IN];

    if (!weights && !ranges)
        return LMB_OK;
    if (is_prefix(g, n))
        return check_prefix(g, n, err);
    if (keeps_scale(n))
        return LMB_OK;
    if (!makes_integers(n) && !is_clamp(n) && !conv)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "node %s: %s has no integer form%s; `limbeck list integer-ops` has what has one. Use that, or "
                        "keep the model in floats",
                        n->name, n->op->name, lmb_integer_op_find(n->op->name) ? " in this place" : "");
    if (ranges)
        LMB_TRY(check_node(g, n, err));
    memcpy(operand, in, sizeof *in * (size_t)n->n_in);
    if (weights)
        operand[1] = quantise_weights(r, n, in[1]);
    if (ranges && is(n, "Conv"))
        operand[0] = operand_of(r, n, in[0]);
    LMB_TRY(lmb_builder_status(&r->b));
    LMB_TRY(lmb_graph_node_like(r->b.g, n, operand, out, err));
    if (ranges && !goes_on(g, n))
        out[0] = quantise_activation(r, conv ? conv->name : n->name, out[0], top_of(r->ctx, n->out[0]));
    *done = true;
    return lmb_builder_status(&r->b);
}

static lmb_status check_config(const lmb_qat_config *c, lmb_error *err)
{
    if (c->scheme == LMB_QAT_LEARNED && c->scales == LMB_QAT_POWER_OF_TWO)
        return LMB_FAIL(err, LMB_E_ARG, "scheme learned and scales power_of_two exclude each other; choose one");
    if (c->activation_ends == 1)
        return LMB_FAIL(err, LMB_E_ARG, "activation_ends is 1 bit; it must be 2 .. 8, or 0 for activation_bits");
    return LMB_OK;
}

/* What the walk asks of nodes and values, before it begins. */
static lmb_status prepare(insertion *t, const lmb_graph *g, lmb_error *err)
{
    size_t nodes = (size_t)g->n_nodes + 1, values = (size_t)g->n_values + 1;

    t->bits = malloc(sizeof *t->bits * nodes);
    t->end = malloc(sizeof *t->end * nodes);
    t->kind = malloc(sizeof *t->kind * values);
    t->narrowed = malloc(sizeof *t->narrowed * values);
    if (!t->bits || !t->end || !t->kind || !t->narrowed)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d nodes and %d values", g->n_nodes, g->n_values);
    for (size_t v = 0; v < values; v++)
        t->narrowed[v] = LMB_NONE;
    lmb_bits_ends(g, t->end);
    LMB_TRY(lmb_bits_resolve(g, t->c, t->bits, err));
    return lmbi_operand_kinds(g, wide_bits(t->c) > narrow_bits(t->c), t->kind, err);
}

lmb_status lmbi_qat_insert(const lmb_graph *g, const lmb_qat_config *c, unsigned what, lmb_graph **out, lmb_error *err)
{
    insertion t = { .c = c, .what = what };
    lmb_rewrite r = { .node = qat_node, .value = value_early, .ctx = &t };
    lmb_graph *shifted = NULL;

    LMB_TRY(check_config(c, err));
    if (c->scales == LMB_QAT_POWER_OF_TWO && (what & LMBI_QAT_ACTIVATIONS))
        LMB_TRY(lmb_pass_power_input(g, &shifted, err));
    const lmb_graph *from = shifted ? shifted : g;
    lmb_status st = prepare(&t, from, err);
    if (st == LMB_OK)
        st = lmb_rewrite_run(&r, from, out, NULL, err);
    lmb_graph_destroy(shifted);
    free(t.bits);
    free(t.end);
    free(t.kind);
    free(t.narrowed);
    return st;
}

lmb_status lmb_pass_qat(const lmb_graph *folded, const lmb_qat_config *c, lmb_graph **out, lmb_error *err)
{
    return lmbi_qat_insert(folded, c, LMBI_QAT_WEIGHTS | LMBI_QAT_ACTIVATIONS, out, err);
}
