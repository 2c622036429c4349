/* distill/ensemble.c - see ensemble.h. */
#include "distill/ensemble_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/graph/state.h"
#include "train/predictor.h"

enum { BATCH = 100 };

static lmb_status read_plain(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    const lmb_ensemble *e = d->state;
    LMB_TRY(e->samples->read(e->samples, index, sample, label, err));
    *label = 0;
    return LMB_OK;
}

static int32_t no_label(const lmb_dataset *d, int64_t index)
{
    (void)d, (void)index;
    return 0;
}

lmb_status lmb_ensemble_create(const lmb_dataset *samples, int classes, lmb_ensemble **out, lmb_error *err)
{
    lmb_ensemble *e = calloc(1, sizeof *e);
    size_t n = (size_t)samples->n * (size_t)classes;

    *out = e;
    if (e) {
        e->sum = malloc(n * sizeof *e->sum);
        e->answer = malloc(n * sizeof *e->answer);
    }
    if (!e || !e->sum || !e->answer) {
        lmb_ensemble_destroy(e);
        *out = NULL;
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for logits of %lld samples and %d classes", (long long)samples->n,
                        classes);
    }
    e->samples = samples;
    e->classes = classes;
    e->plain = (lmb_dataset){ .n = samples->n,
                              .shape = samples->shape,
                              .dtype = samples->dtype,
                              .classes = classes,
                              .read = read_plain,
                              .label = no_label,
                              .state = e };
    lmb_ensemble_begin(e);
    return LMB_OK;
}

void lmb_ensemble_destroy(lmb_ensemble *e)
{
    if (!e)
        return;
    free(e->sum);
    free(e->answer);
    free(e);
}

void lmb_ensemble_begin(lmb_ensemble *e)
{
    e->members = 0;
    memset(e->sum, 0, (size_t)e->samples->n * (size_t)e->classes * sizeof *e->sum);
}

/* ---- asking ---- */

static lmb_status check(const lmb_ensemble *e, const lmb_graph *g, lmb_error *err)
{
    const lmb_value *x = &g->value[lmb_graph_input(g, 0)];
    char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];
    int classes;

    LMB_TRY(lmb_model_classes(g, &classes, err));
    if (classes != e->classes)
        return LMB_FAIL(err, LMB_E_SHAPE, "a member of the ensemble has %d classes, the others %d", classes,
                        e->classes);
    if (lmb_shape_count(&x->shape) / (x->shape.d[0] ? x->shape.d[0] : 1) != lmb_shape_count(&e->samples->shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "a member of the ensemble takes %s, the samples without labels are %s",
                        lmb_shape_text(&x->shape, a, sizeof a), lmb_shape_text(&e->samples->shape, b, sizeof b));
    return LMB_OK;
}

static lmb_status ask(lmb_ensemble *e, lmb_predictor *p, float *x, uint8_t *raw, lmb_error *err)
{
    int64_t numbers = lmb_shape_count(&e->samples->shape);
    bool wide = e->samples->dtype == LMB_F32;
    const float *logits;
    int32_t label;

    for (int64_t at = 0; at < e->samples->n; at += BATCH) {
        int64_t n = e->samples->n - at < BATCH ? e->samples->n - at : BATCH;
        for (int64_t i = 0; i < n; i++) {
            LMB_TRY(e->samples->read(e->samples, at + i, wide ? (void *)(x + i * numbers) : raw, &label, err));
            for (int64_t k = 0; !wide && k < numbers; k++)
                x[i * numbers + k] = raw[k];
        }
        LMB_TRY(lmb_predictor_run(p, x, n, &logits, err));
        memcpy(e->answer + at * e->classes, logits, (size_t)(n * e->classes) * sizeof *logits);
    }
    return LMB_OK;
}

lmb_status lmb_ensemble_add(lmb_ensemble *e, const lmb_graph *member, const float *state, lmb_error *err)
{
    const lmb_backend *backends[LMB_CPU_BACKENDS];
    size_t numbers = (size_t)lmb_shape_count(&e->samples->shape), n = (size_t)e->samples->n * (size_t)e->classes;
    lmb_predictor *p = NULL;

    LMB_TRY(check(e, member, err));
    LMB_TRY(lmb_cpu_backends("cpu", backends, err));
    float *x = malloc(BATCH * numbers * sizeof *x);
    uint8_t *raw = malloc(numbers);
    lmb_status st = x && raw ? lmb_predictor_create(member, state, backends, BATCH, &p, err)
                             : LMB_FAIL(err, LMB_E_NOMEM, "no memory to ask a member of the ensemble");
    if (st == LMB_OK)
        st = ask(e, p, x, raw, err);
    lmb_predictor_destroy(p);
    free(x);
    free(raw);
    for (size_t i = 0; st == LMB_OK && i < n; i++)
        if (!isfinite(e->answer[i]))
            st = LMB_FAIL(err, LMB_E_NUMERIC, "a member of the ensemble answers %g to sample %zu", (double)e->answer[i],
                          i / (size_t)e->classes);
    for (size_t i = 0; st == LMB_OK && i < n; i++)
        e->sum[i] += (double)e->answer[i];
    e->members += st == LMB_OK;
    return st;
}

/* ---- teaching ---- */

static lmb_status rows(void *ctx, const lmb_step_info *info, int64_t n, float *out, lmb_error *err)
{
    const lmb_ensemble *e = ctx;

    for (int64_t i = 0; i < n; i++) {
        if (info->sample[i] >= e->samples->n)
            return LMB_FAIL(err, LMB_E_ARG, "sample %u of %lld", info->sample[i], (long long)e->samples->n);
        for (int k = 0; k < e->classes; k++)
            out[i * e->classes + k] = (float)(e->sum[(int64_t)info->sample[i] * e->classes + k] / e->members);
    }
    return LMB_OK;
}

static lmb_status on_epoch(void *ctx, lmb_trainer *t, const lmb_epoch *epoch, lmb_error *err)
{
    (void)t, (void)err;
    *(double *)ctx = epoch->loss;
    return LMB_OK;
}

lmb_status lmb_ensemble_teach(lmb_ensemble *e, const lmb_train_config *c, double temperature, const lmb_graph *student,
                              float *state, double *loss, lmb_error *err)
{
    lmb_objective o = {
        .distill = { .alpha = 1, .temperature = temperature }, .teacher = student, .logits = rows, .logits_ctx = e
    };
    lmb_loss kl = lmb_objective_loss(&o);
    double last = 0;
    lmb_train_watch watch = { .epoch = on_epoch, .ctx = &last };
    lmb_state_layout *layout = NULL;
    lmb_trainer *t = NULL;

    if (!e->members)
        return LMB_FAIL(err, LMB_E_ARG, "an ensemble without members teaches nothing");
    LMB_TRY(check(e, student, err));
    lmb_status st = lmb_state_layout_create(student, &layout, err);
    if (st == LMB_OK)
        st = lmb_trainer_create(c, student, &kl, &e->plain, NULL, NULL, &t, err);
    if (st == LMB_OK)
        st = lmb_trainer_run(t, &watch, err);
    if (st == LMB_OK)
        memcpy(state, lmb_trainer_result(t), layout->count * sizeof *state);
    if (loss)
        *loss = last;
    lmb_trainer_destroy(t);
    lmb_state_layout_destroy(layout);
    return st;
}
