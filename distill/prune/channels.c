/* distill/prune/channels.c - which channels go. See channels.h; shrink.c takes them away. */
#include "distill/prune/channels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "distill/prune/criteria.h"

const char *const lmb_prune_scopes[] = { "global", "layer", NULL };

const lmb_field lmb_prune_channel_fields[] = {
    LMB_TEXT(lmb_prune_channels, criterion, "bn_scale", "what a channel is worth; `limbeck list criteria`"),
    LMB_REAL(lmb_prune_channels, keep, 0, 0, 1, "",
             "share of the channels that may be left; give one of keep, macs, parameters"),
    LMB_REAL(lmb_prune_channels, macs, 0, 0, 1, "", "share of the multiply-accumulates that may be left"),
    LMB_REAL(lmb_prune_channels, parameters, 0, 0, 1, "", "share of the parameters that may be left"),
    LMB_CHOICE(lmb_prune_channels, scope, LMB_SCOPE_GLOBAL, lmb_prune_scopes,
               "one order over all layers, or the same share of each"),
    LMB_INT(lmb_prune_channels, min_channels, 2, 1, 1e9, "channels", "stay in every layer"),
    LMB_INT(lmb_prune_channels, round_to, 1, 1, 1024, "channels",
            "layers keep multiples of this; 8 or 16 suit vector kernels"),
    LMB_INT(lmb_prune_channels, steps, 1, 1, 32, "",
            "1: all at once; more: gradually, with a training (`train`) after each step"),
    LMB_BOOL(lmb_prune_channels, carry, 0,
             "each training begins with the momentum or moments of the channels that are left, not with zeros"),
    LMB_INT(lmb_prune_channels, seed, 1, 0, 9e15, "", "of a random choice, and of the samples of taylor"),
    LMB_INT(lmb_prune_channels, batches, 16, 1, 1e6, "",
            "of 32 training samples, or all there are, whose gradients the criterion taylor goes by"),
    LMB_FIELD_END
};

/* A channel that may go, in the order in which they go. */
typedef struct candidate { double score; int32_t channel; } candidate;

typedef struct choice {
    const lmb_prune_channels *c;
    const lmb_graph *g;
    const lmb_axis_map *map;
    double all;       /* of the whole model: what the target counts */
    candidate *order; /* [n] worst first */
    int32_t n;
    int32_t *left;    /* [classes] channels that are left */
    bool *keep;       /* [channels] */
} choice;

static int by_score(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? -1 : 1) : x->channel < y->channel ? -1 : 1;
}

/* Classes become comparable: scores by the mean of the class, or places in the order of the class. */
static void normalise(const choice *h, candidate *of, int32_t n)
{
    double sum = 0;

    for (int32_t i = 0; i < n; i++)
        sum += of[i].score;
    if (h->c->scope == LMB_SCOPE_LAYER) {
        qsort(of, (size_t)n, sizeof *of, by_score);
        for (int32_t i = 0; i < n; i++)
            of[i].score = (i + 0.5) / n;
    } else {
        for (int32_t i = 0; i < n && sum > 0; i++)
            of[i].score *= n / sum;
    }
}

static lmb_status rank(choice *h, const lmb_prune_criterion *criterion, lmb_error *err)
{
    double *score = malloc(sizeof *score * ((size_t)h->map->n_channels + 1));
    lmb_status st = score ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to rank channels");
    lmb_prune_view view = { h->g, h->map, h->c->gradients, (uint64_t)h->c->seed };

    for (int k = 0; k < h->map->n_classes && st == LMB_OK; k++) {
        const lmb_axis_class *class = &h->map->class[k];
        candidate *of = h->order + h->n;
        if (!class->prunable)
            continue;
        st = criterion->score(&view, class, score, err);
        for (int32_t i = 0; i < class->channels && st == LMB_OK; i++)
            if (!isfinite(score[i]))
                st = LMB_FAIL(err, LMB_E_NUMERIC,
                              "%s: channel %d is worth %g by the criterion %s; its weights or gradients are not finite, "
                              "so train the model again with a smaller learning rate, or clip",
                              h->g->value[class->label].name, (int)i, score[i], h->c->criterion);
        for (int32_t i = 0; i < class->channels && st == LMB_OK; i++)
            h->order[h->n++] = (candidate){ score[i], class->first + i };
        normalise(h, of, class->channels);
    }
    free(score);
    qsort(h->order, (size_t)h->n, sizeof *h->order, by_score);
    return st;
}

lmb_status lmb_prune_needs_gradients(const lmb_prune_channels *c, bool *out, lmb_error *err)
{
    const lmb_prune_criterion *criterion;

    LMB_TRY(lmb_prune_criterion_find(c->criterion, &criterion, err));
    *out = criterion->gradients;
    return LMB_OK;
}

lmb_prune_channels lmb_prune_step(const lmb_prune_channels *c, int64_t step)
{
    lmb_prune_channels aim = *c;
    double power = (double)step / (double)c->steps;

    aim.keep = pow(c->keep, power); /* those that are not given stay 0 */
    aim.macs = pow(c->macs, power);
    aim.parameters = pow(c->parameters, power);
    return aim;
}

lmb_status lmb_prune_order(const lmb_graph *g, const lmb_axis_map *map, const lmb_prune_channels *c, int32_t *order,
                           lmb_error *err)
{
    const lmb_prune_criterion *criterion;
    choice h = { .c = c, .g = g, .map = map };

    LMB_TRY(lmb_prune_criterion_find(c->criterion, &criterion, err));
    h.order = malloc(sizeof *h.order * ((size_t)map->n_channels + 1));
    int32_t *next = malloc(sizeof *next * ((size_t)map->n_classes + 1));
    lmb_status st = h.order && next ? rank(&h, criterion, err)
                                    : LMB_FAIL(err, LMB_E_NOMEM, "no memory to rank %d channels", (int)map->n_channels);
    for (int k = 0; k < map->n_classes && st == LMB_OK; k++)
        next[k] = map->class[k].first;
    for (int32_t i = 0; i < h.n && st == LMB_OK; i++)
        order[next[map->class_of[h.order[i].channel]]++] = h.order[i].channel;
    free(h.order);
    free(next);
    return st;
}

/* Decide what is left when the worst `gone` channels should go: floors and multiples are held, class by class. */
static void decide(choice *h, int32_t gone)
{
    for (int k = 0; k < h->map->n_classes; k++)
        h->left[k] = h->map->class[k].channels;
    for (int32_t i = 0; i < gone; i++)
        h->left[h->map->class_of[h->order[i].channel]]--;
    for (int k = 0; k < h->map->n_classes; k++) {
        int64_t all = h->map->class[k].channels, r = h->c->round_to;
        int64_t n = h->left[k] < h->c->min_channels ? h->c->min_channels : h->left[k];
        n = (n + r - 1) / r * r;
        h->left[k] = (int32_t)(n < all ? n : all);
    }
    for (int32_t c = 0; c < h->map->n_channels; c++)
        h->keep[c] = !h->map->class[h->map->class_of[c]].prunable;
    for (int32_t i = h->n - 1; i >= 0; i--) { /* the best of each class */
        int32_t c = h->order[i].channel, *left = &h->left[h->map->class_of[c]];
        h->keep[c] = *left > 0;
        *left -= h->keep[c];
    }
}

static double parameters_of(const lmb_graph *g)
{
    double n = 0;
    for (int v = 0; v < g->n_values; v++)
        n += g->value[v].role == LMB_ROLE_PARAMETER ? (double)lmb_shape_count(&g->value[v].shape) : 0;
    return n;
}

static lmb_status prunable_channels(const lmb_graph *g, double *out, lmb_error *err)
{
    lmb_axis_map *map;

    LMB_TRY(lmb_axis_map_create(g, &map, err));
    *out = 0;
    for (int k = 0; k < map->n_classes; k++)
        *out += map->class[k].prunable ? map->class[k].channels : 0;
    lmb_axis_map_destroy(map);
    return LMB_OK;
}

/* What the target is a share of. */
static lmb_status count_all(choice *h, lmb_error *err)
{
    const lmb_graph *whole = h->c->whole ? h->c->whole : h->g;

    if (h->c->keep > 0)
        return prunable_channels(whole, &h->all, err);
    h->all = h->c->macs > 0 ? lmb_graph_macs(whole) : parameters_of(whole);
    return LMB_OK;
}

/* What the target counts, as a share of the whole model's. */
static lmb_status share_left(choice *h, int32_t gone, double *out, lmb_error *err)
{
    lmb_graph *small;
    int32_t kept = 0;

    decide(h, gone);
    for (int32_t i = 0; i < h->n; i++)
        kept += h->keep[h->order[i].channel];
    *out = kept / h->all;
    if (h->c->keep > 0)
        return LMB_OK;
    LMB_TRY(lmb_pass_shrink(h->g, h->map, h->keep, &small, NULL, err));
    *out = h->c->macs > 0 ? lmb_graph_macs(small) / h->all : parameters_of(small) / h->all;
    lmb_graph_destroy(small);
    return LMB_OK;
}

/* The fewest channels that must go. What is left only shrinks as more go, so the number is found by halving. */
static lmb_status meet(choice *h, lmb_error *err)
{
    const lmb_prune_channels *c = h->c;
    double target = c->keep > 0 ? c->keep : c->macs > 0 ? c->macs : c->parameters, share;
    int32_t lo = 0, hi = h->n;

    LMB_TRY(share_left(h, hi, &share, err));
    if (share > target)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "%s: %g can not be met: with min_channels %lld and round_to %lld a share of %.3f is left; lower them",
            c->keep > 0   ? "keep"
            : c->macs > 0 ? "macs"
                          : "parameters",
            target, (long long)c->min_channels, (long long)c->round_to, share);
    while (lo < hi) {
        int32_t middle = lo + (hi - lo) / 2;
        LMB_TRY(share_left(h, middle, &share, err));
        if (share <= target)
            hi = middle;
        else
            lo = middle + 1;
    }
    decide(h, hi);
    return LMB_OK;
}

lmb_status lmb_prune_check_any(const lmb_graph *g, const lmb_axis_map *m, lmb_error *err)
{
    lmb_str why = LMB_STR_INIT;

    for (int k = 0; k < m->n_classes; k++)
        if (m->class[k].prunable)
            return LMB_OK;
    for (int k = 0; k < m->n_classes && k < 3; k++)
        lmb_str_addf(&why, "; %s: %s", g->value[m->class[k].label].name, m->class[k].why);
    lmb_status st =
        LMB_FAIL(err, LMB_E_UNSUPPORTED, "no channel of this model can be taken away%s", why.text ? why.text : "");
    lmb_str_free(&why);
    return st;
}

lmb_status lmb_pass_prune_channels(const lmb_graph *g, const lmb_prune_channels *c, lmb_graph **out,
                                   lmb_lineage **lineage, lmb_error *err)
{
    const lmb_prune_criterion *criterion;
    lmb_axis_map *map = NULL;
    choice h = { .c = c, .g = g };
    lmb_status st;

    if ((c->keep > 0) + (c->macs > 0) + (c->parameters > 0) != 1)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "channels are pruned down to one target: give one of keep, macs, parameters (keep %g, macs %g, parameters %g)",
            c->keep, c->macs, c->parameters);
    LMB_TRY(lmb_prune_criterion_find(c->criterion, &criterion, err));
    LMB_TRY(lmb_axis_map_create(g, &map, err));
    h.map = map;
    h.order = malloc(sizeof *h.order * ((size_t)map->n_channels + 1));
    h.left = malloc(sizeof *h.left * ((size_t)map->n_classes + 1));
    h.keep = malloc(sizeof *h.keep * ((size_t)map->n_channels + 1));
    if (!h.order || !h.left || !h.keep) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to rank %d channels", (int)map->n_channels);
        goto done;
    }
    LMB_TRY_GOTO(st, done, lmb_prune_check_any(g, map, err));
    LMB_TRY_GOTO(st, done, rank(&h, criterion, err));
    LMB_TRY_GOTO(st, done, count_all(&h, err));
    LMB_TRY_GOTO(st, done, meet(&h, err));
    st = lmb_pass_shrink(g, map, h.keep, out, lineage, err);
done:
    free(h.order);
    free(h.left);
    free(h.keep);
    lmb_axis_map_destroy(map);
    return st;
}
