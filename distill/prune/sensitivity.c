/* distill/prune/sensitivity.c - see sensitivity.h. A cut model answers as the whole one with the same channels at zero
 * does, and is faster to evaluate: so it is cut. */
#include "distill/prune/sensitivity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "train/trainer.h"

typedef struct study {
    const lmb_graph *g;
    const lmb_dataset *data;
    const lmb_sensitivity_config *c;
    lmb_axis_map *map;
    int32_t *order; /* [channels] by class, worst first */
    bool *keep;     /* [channels] */
    double macs;    /* of the whole model */
    lmb_sensitivity *out;
} study;

void lmb_sensitivity_destroy(lmb_sensitivity *s)
{
    if (!s)
        return;
    free(s->row);
    free(s->held);
    free(s);
}

static lmb_status evaluate(const study *s, const lmb_graph *g, double *accuracy, double *loss, lmb_error *err)
{
    lmb_metrics m;

    LMB_TRY(lmb_metrics_init(&m, s->data->classes, err));
    lmb_status st = lmb_evaluate(g, NULL, s->data, s->c->backend, s->c->threads, &m, err);
    if (st == LMB_OK) {
        *accuracy = lmb_metrics_accuracy(&m);
        *loss = lmb_metrics_loss(&m);
    }
    lmb_metrics_deinit(&m);
    return st;
}

/* Class k without the worst of its channels. */
static lmb_status cut(study *s, int k, int which, lmb_sensitivity_row *row, lmb_error *err)
{
    const lmb_axis_class *class = &s->map->class[k];
    int32_t gone = (int32_t)lround(s->c->share[which] * class->channels);
    lmb_graph *small;

    if (gone >= class->channels)
        gone = class->channels - 1;
    for (int32_t i = 0; i < s->map->n_channels; i++)
        s->keep[i] = true;
    for (int32_t i = 0; i < gone; i++)
        s->keep[s->order[class->first + i]] = false;
    row->left[which] = class->channels - gone;
    LMB_TRY(lmb_pass_shrink(s->g, s->map, s->keep, &small, NULL, err));
    row->macs[which] = s->macs > 0 ? lmb_graph_macs(small) / s->macs : 1;
    lmb_status st = evaluate(s, small, &row->accuracy[which], &row->loss[which], err);
    lmb_graph_destroy(small);
    return st;
}

static lmb_status run(study *s, void (*progress)(void *, int, int), void *ctx, lmb_error *err)
{
    lmb_sensitivity *out = s->out;
    int all = 0;

    LMB_TRY(lmb_prune_check_any(s->g, s->map, err));
    for (int k = 0; k < s->map->n_classes; k++)
        all += s->map->class[k].prunable;
    out->row = calloc((size_t)all, sizeof *out->row);
    out->held = calloc((size_t)(s->map->n_classes - all) + 1, sizeof *out->held);
    if (!out->row || !out->held)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d classes", all);
    for (int k = 0; k < s->map->n_classes; k++) {
        const lmb_axis_class *class = &s->map->class[k];
        if (!class->prunable) {
            lmb_sensitivity_held *held = &out->held[out->n_held++];
            snprintf(held->name, sizeof held->name, "%s", s->g->value[class->label].name);
            snprintf(held->why, sizeof held->why, "%s", class->why);
            held->channels = class->channels;
            continue;
        }
        lmb_sensitivity_row *row = &out->row[out->n++];
        snprintf(row->name, sizeof row->name, "%s", s->g->value[class->label].name);
        row->channels = class->channels;
        for (int i = 0; i < s->c->n_shares; i++)
            LMB_TRY(cut(s, k, i, row, err));
        if (progress)
            progress(ctx, out->n, all);
    }
    return LMB_OK;
}

static lmb_status check(const lmb_sensitivity_config *c, lmb_error *err)
{
    if (c->n_shares < 1 || c->n_shares > LMB_SENSITIVITY_SHARES)
        return LMB_FAIL(err, LMB_E_ARG, "%d shares of channels to take away; 1 to %d can be tried", c->n_shares,
                        LMB_SENSITIVITY_SHARES);
    for (int i = 0; i < c->n_shares; i++)
        if (!(c->share[i] > (i ? c->share[i - 1] : 0) && c->share[i] < 1))
            return LMB_FAIL(err, LMB_E_ARG, "share %g to take away; shares rise and lie between 0 and 1", c->share[i]);
    return LMB_OK;
}

/* A model that answers with no numbers has some accuracy, too. */
static lmb_status check_finite(const lmb_graph *g, lmb_error *err)
{
    for (int v = 0; v < g->n_values; v++) {
        const lmb_value *x = &g->value[v];
        const float *w = x->data;
        bool weight = (x->role == LMB_ROLE_PARAMETER || x->role == LMB_ROLE_STATISTIC) && x->dtype == LMB_F32 && w;
        for (int64_t i = 0; weight && i < lmb_shape_count(&x->shape); i++)
            if (!isfinite(w[i]))
                return LMB_FAIL(err, LMB_E_NUMERIC,
                                "%s: number %lld is %g; train the model again with a smaller learning rate, or clip",
                                x->name, (long long)i, (double)w[i]);
    }
    return LMB_OK;
}

static lmb_status whole(const study *s, lmb_error *err)
{
    LMB_TRY(evaluate(s, s->g, &s->out->accuracy, &s->out->loss, err));
    return isfinite(s->out->loss) ? LMB_OK
                                  : LMB_FAIL(err, LMB_E_NUMERIC,
                                             "the loss of the whole model is %g; its answers are not finite numbers",
                                             s->out->loss);
}

lmb_status lmb_sensitivity_create(const lmb_graph *g, const lmb_dataset *data, const lmb_sensitivity_config *c,
                                  void (*progress)(void *ctx, int done, int all), void *ctx, lmb_sensitivity **out,
                                  lmb_error *err)
{
    study s = { .g = g, .data = data, .c = c };
    lmb_status st;

    LMB_TRY(check(c, err));
    LMB_TRY(check_finite(g, err));
    LMB_TRY(lmb_axis_map_create(g, &s.map, err));
    s.out = calloc(1, sizeof *s.out);
    s.order = malloc(sizeof *s.order * ((size_t)s.map->n_channels + 1));
    s.keep = malloc(sizeof *s.keep * ((size_t)s.map->n_channels + 1));
    if (!s.out || !s.order || !s.keep) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d channels", (int)s.map->n_channels);
        goto done;
    }
    s.out->samples = data->n;
    s.out->n_shares = c->n_shares;
    for (int i = 0; i < c->n_shares; i++)
        s.out->share[i] = c->share[i];
    s.macs = lmb_graph_macs(g);
    LMB_TRY_GOTO(st, done, lmb_prune_order(g, s.map, &c->prune, s.order, err));
    LMB_TRY_GOTO(st, done, whole(&s, err));
    LMB_TRY_GOTO(st, done, run(&s, progress, ctx, err));
    *out = s.out;
    s.out = NULL;
done:
    lmb_sensitivity_destroy(s.out);
    free(s.order);
    free(s.keep);
    lmb_axis_map_destroy(s.map);
    return st;
}
