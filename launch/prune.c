/* launch/prune.c - see prune.h. */
#include "launch/prune.h"

#include <stdio.h>
#include <string.h>

#include "core/base/config.h"
#include "distill/prune/criteria.h"
#include "distill/prune/pattern.h"
#include "distill/search/taylor.h"

enum { GRADIENT_ROWS = 32 };

static const char *const methods[] = { "channels", "magnitude", NULL };

const lmb_field lmb_prune_fields[] = {
    LMB_CHOICE(lmb_prune_config, method, LMB_PRUNE_CHANNELS, methods,
               "channels: a smaller model; magnitude: small weights are held at zero"),
    LMB_SECTION(lmb_prune_config, train, lmb_train_fields,
                "training after (channels) or while (magnitude) they are taken away"),
    LMB_SECTION(lmb_prune_config, distill, lmb_distill_fields,
                "the teacher's share in it; what it does not say is as before it"),
    LMB_FIELD_END
};

/* What is wrong in words that are read only when the student has been trained is said before that. */
static lmb_status check_names(const lmb_prune_config *c, lmb_error *err)
{
    const lmb_prune_criterion *criterion;
    lmb_pattern pattern;

    lmb_status st = c->method == LMB_PRUNE_MAGNITUDE ? lmb_pattern_parse(c->magnitude.pattern, &pattern, err)
                                                     : lmb_prune_criterion_find(c->channels.criterion, &criterion, err);
    return st == LMB_OK ? LMB_OK : lmb_error_context(err, "prune");
}

lmb_status lmb_prune_bind(const lmb_tree *prune, lmb_prune_config *out, lmb_error *err)
{
    lmb_field rows[32];
    int n = 0;
    const lmb_tree *named = lmb_tree_get(prune, "method");
    const char *method = methods[LMB_PRUNE_CHANNELS];

    if (named)
        LMB_TRY(lmb_tree_text(named, &method, err));
    bool magnitude = strcmp(method, methods[LMB_PRUNE_MAGNITUDE]) == 0;
    lmb_fields_default(lmb_prune_channel_fields, &out->channels);
    lmb_fields_default(lmb_prune_magnitude_fields, &out->magnitude);
    for (const lmb_field *r = lmb_prune_fields; r->key; r++)
        rows[n++] = *r;
    for (const lmb_field *r = magnitude ? lmb_prune_magnitude_fields : lmb_prune_channel_fields; r->key; r++) {
        rows[n] = *r;
        rows[n++].offset += magnitude ? offsetof(lmb_prune_config, magnitude) : offsetof(lmb_prune_config, channels);
    }
    rows[n] = (lmb_field)LMB_FIELD_END;
    LMB_TRY(lmb_fields_bind(rows, prune, out, err));
    return check_names(out, err);
}

int64_t lmb_prune_steps(const lmb_prune_config *c) { return c->method == LMB_PRUNE_CHANNELS ? c->channels.steps : 1; }

bool lmb_prune_carries(const lmb_prune_config *c) { return c->method == LMB_PRUNE_CHANNELS && c->channels.carry; }

static lmb_status prune_channels(const lmb_prune_config *c, int64_t step, const lmb_graph *dense,
                                 const lmb_graph *student, const lmb_dataset *train, lmb_graph **out,
                                 lmb_lineage **lineage, lmb_error *err)
{
    lmb_prune_channels aim = lmb_prune_step(&c->channels, step);
    lmb_taylor_config tc = { aim.batches, GRADIENT_ROWS, (uint64_t)aim.seed, "cpu" };
    lmb_taylor *taylor = NULL;
    bool gradients;

    LMB_TRY(lmb_prune_needs_gradients(&aim, &gradients, err));
    if (gradients && train->n >= tc.rows && tc.batches * tc.rows > train->n)
        tc.batches = train->n / tc.rows;
    if (gradients)
        LMB_TRY(lmb_taylor_create(student, train, &tc, &taylor, err));
    aim.gradients = taylor;
    aim.whole = dense;
    lmb_status st = lmb_pass_prune_channels(student, &aim, out, lineage, err);
    lmb_taylor_destroy(taylor);
    return st;
}

lmb_status lmb_prune_student(const lmb_prune_config *c, int64_t step, const lmb_graph *dense, const lmb_graph *student,
                             const lmb_dataset *train, lmb_graph **out, lmb_lineage **lineage, lmb_error *err)
{
    if (lineage)
        *lineage = NULL;
    if (c->method == LMB_PRUNE_MAGNITUDE)
        return lmb_graph_copy(student, out, err);
    lmb_status st = prune_channels(c, step, dense, student, train, out, lineage, err);
    if (st != LMB_OK)
        lmb_error_context(err, "prune");
    return st;
}

lmb_status lmb_prune_masks(const lmb_prune_config *c, const lmb_graph *student, int64_t samples, lmb_masks **out,
                           lmb_error *err)
{
    *out = NULL;
    if (c->method != LMB_PRUNE_MAGNITUDE)
        return LMB_OK;
    return lmb_masks_create(&c->magnitude, student, c->train.epochs, (samples + c->train.batch - 1) / c->train.batch,
                            out, err);
}

lmb_status lmb_prune_check(const lmb_prune_config *c, const lmb_graph *student, lmb_error *err)
{
    if (c->method != LMB_PRUNE_MAGNITUDE || lmb_masks_check(&c->magnitude, student, err) == LMB_OK)
        return LMB_OK;
    return lmb_error_context(err, "prune");
}

lmb_status lmb_prune_print(const lmb_prune_config *c, const lmb_graph *before, const lmb_graph *after, lmb_error *err)
{
    lmb_axis_map *was = NULL, *is = NULL;

    if (c->method == LMB_PRUNE_MAGNITUDE) {
        printf("pruned student: %.2f %% of the weights are zero%s%s\n", 100 * lmb_masks_sparsity(after),
               *c->magnitude.pattern ? ", pattern " : "", c->magnitude.pattern);
        return LMB_OK;
    }
    lmb_status st = lmb_axis_map_create(before, &was, err);
    if (st == LMB_OK)
        st = lmb_axis_map_create(after, &is, err);
    for (int k = 0; st == LMB_OK && k < was->n_classes && k < is->n_classes; k++) {
        const lmb_axis_class *x = &was->class[k];
        printf("  %-32s %5d -> %d channels%s%s\n", before->value[x->label].name, (int)x->channels,
               (int)is->class[k].channels, x->prunable ? "" : ": ", x->why);
    }
    lmb_axis_map_destroy(was);
    lmb_axis_map_destroy(is);
    return st;
}
