/* distill/prune/masks.c - see masks.h. */
#include "distill/prune/masks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "distill/prune/channels.h"
#include "distill/prune/pattern.h"

const lmb_field lmb_prune_magnitude_fields[] = {
    LMB_REAL(lmb_prune_magnitude, sparsity, 0.8, 0, 0.9999, "", "share of the weights that are zero in the end"),
    LMB_REAL(lmb_prune_magnitude, initial, 0, 0, 0.9999, "", "share at the beginning of the schedule"),
    LMB_REAL(lmb_prune_magnitude, begin, 0, 0, 1e6, "epochs", "when the schedule begins"),
    LMB_REAL(lmb_prune_magnitude, end, 0, 0, 1e6, "epochs",
             "when it has reached `sparsity`, before which neither patience nor target_accuracy of `train` ends the "
             "training; 0: after three quarters of it"),
    LMB_INT(lmb_prune_magnitude, every, 50, 1, 1e9, "steps", "between two times that weights go"),
    LMB_CHOICE(lmb_prune_magnitude, scope, LMB_SCOPE_LAYER, lmb_prune_scopes,
               "the least of all weights, or the same share of each layer"),
    LMB_TEXT(lmb_prune_magnitude, pattern, "",
             "\"2:4\": of every 4 weights along the inputs 2 are zero, in place of sparsity and scope"),
    LMB_FIELD_END
};

enum { HALF = 1 << 16 };
enum { PATTERN_MOST = 8, PATTERN_ROWS = 64 }; /* of weights with zeros by chance no so many rows have one each */

struct lmb_masks {
    lmb_prune_magnitude c;
    bool hold;             /* there is no schedule */
    bool *free;            /* [layout->n] the segment learns like any other; NULL: none does */
    int64_t begin, end;    /* steps */
    lmb_state_layout *layout;
    lmb_pattern pattern;
    int *axis;             /* [layout->n] of the pattern; -1: the segment has none */
    bool known;            /* zero[] is that of the state before the step */
    bool *zero;            /* [layout->count] */
    size_t seen[HALF];     /* magnitudes of each first or second half, while the least are looked for */
};

/* Biases and the scales of BatchNormalization are few and needed. */
static bool is_weight(lmb_role role, bool frozen, float decay, int axes)
{
    return role == LMB_ROLE_PARAMETER && !frozen && decay != 0 && axes >= 2;
}

static bool is_pruned(const lmb_segment *s) { return is_weight(s->role, s->frozen, s->decay, s->shape.n); }

/* What a pattern leaves in place of `sparsity`. */
static lmb_status bind_pattern(const lmb_prune_magnitude *config, lmb_prune_magnitude *c, lmb_pattern *p,
                               lmb_error *err)
{
    *c = *config;
    LMB_TRY(lmb_pattern_parse(config->pattern ? config->pattern : "", p, err));
    if (p->m)
        c->sparsity = (double)(p->m - p->n) / p->m;
    return LMB_OK;
}

/* Where the pattern's rows are: axis[layout->n], for a layer without any -1. */
static lmb_status find_rows(lmb_masks *m, const lmb_graph *model, lmb_error *err)
{
    bool any = false;

    for (int i = 0; i < m->layout->n; i++) {
        const lmb_segment *s = &m->layout->segment[i];
        m->axis[i] = m->pattern.m && is_pruned(s) ? lmb_pattern_axis(model, s->value) : -1;
        any |= m->axis[i] >= 0 && s->shape.d[m->axis[i]] >= m->pattern.m;
    }
    if (m->pattern.m && !any)
        return LMB_FAIL(err, LMB_E_ARG,
                        "pattern %d:%d: no layer of the model has %d inputs, so that there is nothing to prune; use "
                        "`sparsity`",
                        m->pattern.n, m->pattern.m, m->pattern.m);
    return LMB_OK;
}

lmb_status lmb_masks_create(const lmb_prune_magnitude *config, const lmb_graph *model, int64_t epochs, int64_t batches,
                            lmb_masks **out, lmb_error *err)
{
    lmb_masks *m = calloc(1, sizeof *m);
    lmb_status st;

    if (!m)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for masks");
    m->hold = !config;
    if (config) {
        LMB_TRY_GOTO(st, failed, bind_pattern(config, &m->c, &m->pattern, err));
        double end = config->end > 0 ? config->end : 0.75 * (double)epochs;
        m->begin = llround(config->begin * (double)batches);
        m->end = llround(end * (double)batches);
        if (config->initial > m->c.sparsity || m->begin > m->end || m->end > epochs * batches) {
            st = LMB_FAIL(
                err, LMB_E_ARG,
                "pruning from %g to %g, from epoch %g to epoch %g: shares and epochs must rise, and the training has "
                "%lld epochs",
                config->initial, m->c.sparsity, config->begin, end, (long long)epochs);
            goto failed;
        }
    }
    LMB_TRY_GOTO(st, failed, lmb_state_layout_create(model, &m->layout, err));
    m->zero = calloc(m->layout->count + 1, sizeof *m->zero);
    m->axis = calloc((size_t)m->layout->n + 1, sizeof *m->axis);
    if (!m->zero || !m->axis) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for masks of %zu weights", m->layout->count);
        goto failed;
    }
    LMB_TRY_GOTO(st, failed, find_rows(m, model, err));
    *out = m;
    return LMB_OK;
failed:
    lmb_masks_destroy(m);
    return st;
}

/* Has every row of some length a zero, as weights of a pattern have and no others? */
static bool keeps_pattern(const lmb_graph *model, lmb_vid weight)
{
    const lmb_value *x = &model->value[weight];
    int axis = x->data ? lmb_pattern_axis(model, weight) : -1;
    int64_t rows, over;

    for (int m = 2; axis >= 0 && m <= PATTERN_MOST; m++) {
        lmb_pattern_count(x->data, &x->shape, axis, (lmb_pattern){ m - 1, m }, &rows, &over);
        if (rows >= PATTERN_ROWS && over == 0)
            return true;
    }
    return false;
}

/* Has pruning been at work in x, which is no selection of channels, and how many zeros are there? Rows are outputs,
 * dimension 0. */
static bool look_at(const lmb_graph *model, lmb_vid weight, bool *selection, size_t *zeros)
{
    const lmb_value *x = &model->value[weight];
    size_t n = (size_t)lmb_shape_count(&x->shape), each = n / (size_t)(x->shape.d[0] ? x->shape.d[0] : 1), most = 0;
    const float *w = x->data;

    *zeros = 0;
    for (size_t row = 0; w && row < n; row += each) {
        size_t left = 0;
        for (size_t i = row; i < row + each; i++)
            left += w[i] != 0;
        *zeros += each - left;
        most = left > most ? left : most;
    }
    *selection = most <= 1;
    return !*selection && (2 * *zeros >= n || keeps_pattern(model, weight));
}

lmb_status lmb_masks_hold(const lmb_graph *model, lmb_masks **out, double *share, lmb_error *err)
{
    size_t zeros, held = 0, all = 0;
    bool sparse = false;
    lmb_masks *m;

    *out = NULL;
    LMB_TRY(lmb_masks_create(NULL, model, 0, 0, &m, err));
    m->free = calloc((size_t)m->layout->n + 1, sizeof *m->free);
    if (!m->free) {
        lmb_masks_destroy(m);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for masks of a model with zeros");
    }
    for (int i = 0; i < m->layout->n; i++) {
        const lmb_segment *s = &m->layout->segment[i];
        m->free[i] = true;
        if (!is_pruned(s))
            continue;
        sparse |= look_at(model, s->value, &m->free[i], &zeros);
        all += s->count;
        held += m->free[i] ? 0 : zeros;
    }
    if (share)
        *share = sparse ? (double)held / (double)all : 0;
    if (sparse)
        *out = m;
    else
        lmb_masks_destroy(m);
    return LMB_OK;
}

void lmb_masks_destroy(lmb_masks *m)
{
    if (!m)
        return;
    lmb_state_layout_destroy(m->layout);
    free(m->zero);
    free(m->axis);
    free(m->free);
    free(m);
}

/* ---- the least of many ---- */

/* The bits of |x| order as the magnitudes do. */
static uint32_t magnitude(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u & 0x7FFFFFFFu;
}

/* Segments [lo, hi) of the layout, pruned ones only, as one list. */
typedef struct range { lmb_masks *m; int lo, hi; } range;

static size_t count_weights(range r)
{
    size_t n = 0;
    for (int i = r.lo; i < r.hi; i++)
        n += is_pruned(&r.m->layout->segment[i]) ? r.m->layout->segment[i].count : 0;
    return n;
}

/* The k-th least magnitude (k from 1), half a number at a time: the first halves of all (shift 16), or the second
 * halves of those that begin with `prefix` (shift 0). What lies below is taken from *k. */
static uint32_t find_digit(range r, const float *w, int shift, uint32_t prefix, size_t *k)
{
    size_t *seen = r.m->seen;
    uint32_t digit = 0;

    memset(seen, 0, sizeof r.m->seen);
    for (int i = r.lo; i < r.hi; i++) {
        const lmb_segment *s = &r.m->layout->segment[i];
        if (!is_pruned(s))
            continue;
        for (size_t j = 0; j < s->count; j++) {
            uint32_t u = magnitude(w[s->offset + j]);
            if (shift || u >> 16 == prefix)
                seen[u >> shift & (HALF - 1)]++;
        }
    }
    while (*k > seen[digit])
        *k -= seen[digit++];
    return digit;
}

/* Set the k least weights of the range to zero; of equal ones the first. True when that changed any. */
static bool prune_least(range r, float *w, size_t k)
{
    bool changed = false;

    if (k == 0)
        return false;
    uint32_t high = find_digit(r, w, 16, 0, &k), last = high << 16 | find_digit(r, w, 0, high, &k);
    for (int i = r.lo; i < r.hi; i++) { /* all below the last one, and k of its kind */
        const lmb_segment *s = &r.m->layout->segment[i];
        if (!is_pruned(s))
            continue;
        for (size_t j = 0; j < s->count; j++) {
            float *x = &w[s->offset + j];
            uint32_t u = magnitude(*x);
            if (u > last || (u == last && k == 0))
                continue;
            k -= u == last;
            changed |= u != 0;
            *x = 0;
        }
    }
    return changed;
}

/* ---- the schedule ---- */

static double share_at(const lmb_masks *m, int64_t step)
{
    double left = m->end > m->begin ? 1 - (double)(step - m->begin) / (double)(m->end - m->begin) : 0;
    return m->c.sparsity + (m->c.initial - m->c.sparsity) * left * left * left;
}

/* Prune more if it is time to. At rest, before a step that was reached by resuming, there is nothing left to do. */
static bool prune_more(lmb_masks *m, lmb_trainer_state *s)
{
    bool changed = false, layers = m->c.scope == LMB_SCOPE_LAYER;

    if (m->hold || s->step < m->begin || s->step > m->end || ((s->step - m->begin) % m->c.every && s->step != m->end))
        return false;
    double share = share_at(m, s->step);
    for (int i = 0; i < m->layout->n && m->pattern.m; i++) {
        const lmb_segment *g = &m->layout->segment[i];
        if (m->axis[i] >= 0)
            changed |= lmb_pattern_prune(s->state + g->offset, &g->shape, m->axis[i], m->pattern.m,
                                         (int)llround(share * m->pattern.m));
    }
    if (m->pattern.m)
        return changed;
    for (int i = 0; i < (layers ? m->layout->n : 1); i++) {
        range r = { m, layers ? i : 0, layers ? i + 1 : m->layout->n };
        changed |= prune_least(r, s->state, (size_t)llround(share * (double)count_weights(r)));
    }
    return changed;
}

void lmb_masks_apply(lmb_masks *m, lmb_trainer_state *s)
{
    if (!m->hold && s->step < m->begin)
        return;
    for (size_t i = 0; i < m->layout->count && m->known; i++)
        if (m->zero[i])
            s->state[i] = 0;
    if (prune_more(m, s)) {
        s->best_accuracy = -1;
        s->best_epoch = s->epoch;
    }
    for (int i = 0; i < m->layout->n; i++) {
        const lmb_segment *g = &m->layout->segment[i];
        if (!is_pruned(g) || (m->free && m->free[i]))
            continue;
        for (size_t k = g->offset; k < g->offset + g->count; k++) {
            m->zero[k] = s->state[k] == 0;
            if (m->zero[k] && s->ema)
                s->ema[k] = 0;
        }
    }
    m->known = true;
}

lmb_status lmb_masks_stepped(void *masks, lmb_trainer *t, lmb_error *err)
{
    (void)err;
    lmb_masks_apply(masks, lmb_trainer_state_of(t));
    return LMB_OK;
}

int64_t lmb_masks_end(const lmb_masks *m) { return m->hold ? 0 : m->end; }

/* ---- what has come of it ---- */

static bool is_pruned_value(const lmb_value *x) { return is_weight(x->role, x->frozen, x->decay, x->shape.n); }

static size_t count_zeros(const lmb_value *x)
{
    size_t zeros = 0, n = (size_t)lmb_shape_count(&x->shape);

    for (size_t i = 0; i < n; i++)
        zeros += ((const float *)x->data)[i] == 0;
    return zeros;
}

/* Of all weights that are pruned. */
static void sum_zeros(const lmb_graph *g, size_t *zeros, size_t *n)
{
    *zeros = *n = 0;
    for (int v = 0; v < g->n_values; v++) {
        if (!is_pruned_value(&g->value[v]))
            continue;
        *n += (size_t)lmb_shape_count(&g->value[v].shape);
        *zeros += count_zeros(&g->value[v]);
    }
}

static lmb_status too_few(const char *name, size_t zeros, size_t n, double sparsity, lmb_error *err)
{
    return LMB_FAIL(err, LMB_E_ARG,
                    "%s: %.2f %% of the weights are zero, and %.2f %% were asked for: the training ended before the "
                    "schedule did; train again with --fresh",
                    name, 100 * (double)zeros / (double)n, 100 * sparsity);
}

static lmb_status check_layer(const lmb_prune_magnitude *c, lmb_pattern p, const lmb_graph *g, lmb_vid v,
                              lmb_error *err)
{
    const lmb_value *x = &g->value[v];
    size_t n = (size_t)lmb_shape_count(&x->shape), zeros = count_zeros(x);
    int axis = p.m ? lmb_pattern_axis(g, v) : -1;
    int64_t rows, over;

    if (!p.m)
        return zeros >= (size_t)llround(c->sparsity * (double)n) ? LMB_OK
                                                                 : too_few(x->name, zeros, n, c->sparsity, err);
    if (axis < 0)
        return LMB_OK;
    lmb_pattern_count(x->data, &x->shape, axis, p, &rows, &over);
    if (over)
        return LMB_FAIL(err, LMB_E_ARG,
                        "%s: %lld of %lld rows do not keep to pattern %d:%d: the training ended before the schedule "
                        "did; train again with --fresh",
                        x->name, (long long)over, (long long)rows, p.n, p.m);
    return LMB_OK;
}

lmb_status lmb_masks_check(const lmb_prune_magnitude *config, const lmb_graph *g, lmb_error *err)
{
    lmb_prune_magnitude c;
    lmb_pattern p;
    size_t zeros, n;

    LMB_TRY(bind_pattern(config, &c, &p, err));
    sum_zeros(g, &zeros, &n);
    if (!p.m && c.scope == LMB_SCOPE_GLOBAL)
        return zeros >= (size_t)llround(c.sparsity * (double)n) ? LMB_OK : too_few("model", zeros, n, c.sparsity, err);
    for (int v = 0; v < g->n_values; v++)
        if (is_pruned_value(&g->value[v]))
            LMB_TRY(check_layer(&c, p, g, v, err));
    return LMB_OK;
}

double lmb_masks_sparsity(const lmb_graph *g)
{
    size_t zeros, n;

    sum_zeros(g, &zeros, &n);
    return n ? (double)zeros / (double)n : 0;
}
