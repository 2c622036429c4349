/* launch/update_samples.c - see update_samples.h. */
#include "launch/update_samples.h"

#include <math.h>
#include <stdlib.h>

#include "datasets/split.h"
#include "launch/update_list.h"

const lmb_field lmb_update_fields[] = {
    LMB_TREE(lmb_update_config, data, "new labelled samples: name and options, as in `data`"),
    LMB_TEXT(lmb_update_config, list, "", "CSV of `limbeck monitor --label`: only those samples"),
    LMB_REAL(lmb_update_config, share, 1, 0, 1000, "", "old samples beside each new one"),
    LMB_SECTION(lmb_update_config, train, lmb_train_fields, "how it is trained"), LMB_FIELD_END
};

void lmbi_update_samples_close(lmb_update_samples *s)
{
    lmb_dataset_destroy(s->both);
    lmb_dataset_destroy(s->old);
    lmb_dataset_destroy(s->listed);
    lmb_dataset_destroy(s->named);
    lmb_dataset_destroy(s->all);
    free(s->numbers);
}

/* Said here, and not by layers that get what they can not take. */
static lmb_status check_alike(const lmb_job *j, const lmb_tree *section, const lmb_dataset *d, lmb_error *err)
{
    char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];

    if (lmb_shape_equal(&d->shape, &j->all->shape) && d->classes == j->all->classes && d->dtype == j->all->dtype)
        return LMB_OK;
    return lmb_tree_fail(section, err, LMB_E_SHAPE,
                         "update.data has samples %s of %s in %d classes, `data` %s of %s in %d; they must be alike",
                         lmb_shape_text(&d->shape, a, sizeof a), lmb_dtype_name(d->dtype), d->classes,
                         lmb_shape_text(&j->all->shape, b, sizeof b), lmb_dtype_name(j->all->dtype), j->all->classes);
}

static lmb_status take_listed(const lmb_job *j, lmb_update_samples *s, lmb_error *err)
{
    int64_t n;

    if (lmb_dataset_by_class(s->all, j->all, &s->named, err) != LMB_OK)
        return lmb_error_context(err, "update.data");
    s->fresh = s->named ? s->named : s->all;
    LMB_TRY(check_alike(j, s->c.data, s->fresh, err));
    if (!*s->c.list)
        return LMB_OK;
    LMB_TRY(lmbi_update_list(s->c.list, s->fresh, &s->numbers, &n, err));
    LMB_TRY(lmb_dataset_subset(s->fresh, s->numbers, n, &s->listed, err));
    s->fresh = s->listed;
    return LMB_OK;
}

/* A choice of the old training part, by the seed. */
static lmb_status take_old(const lmb_job *j, lmb_update_samples *s, lmb_error *err)
{
    int64_t n = (int64_t)fmin(ceil(s->c.share * (double)s->fresh->n), (double)j->train->n);
    uint32_t *order = malloc(sizeof *order * (size_t)j->train->n);

    if (!order)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to choose old samples");
    lmb_split((uint64_t)s->c.train.seed, (uint32_t)j->train->n, order);
    lmb_status st = n ? lmb_dataset_subset(j->train, order, n, &s->old, err) : LMB_OK;
    free(order);
    if (st == LMB_OK && n)
        st = lmb_dataset_join(s->fresh, s->old, &s->both, err);
    return st;
}

/* The new samples by what they are: labels, and names, or else numbers. */
static lmb_status name_samples(lmb_update_samples *s, lmb_error *err)
{
    int64_t n = s->fresh->n;
    int32_t *label = malloc(sizeof *label * (size_t)(n + 1));
    lmb_hasher h;

    if (!label)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld labels", (long long)n);
    lmb_status st = lmb_dataset_labels(s->fresh, label, err);
    lmb_hash_begin(&h);
    lmb_hash_add(&h, label, sizeof *label * (size_t)n);
    for (int64_t i = 0; i < n && s->fresh->name; i++)
        lmb_hash_add_text(&h, s->fresh->name(s->fresh, i));
    if (s->numbers && !s->fresh->name)
        lmb_hash_add(&h, s->numbers, sizeof *s->numbers * (size_t)n);
    lmb_hash hash = lmb_hash_end(&h);
    lmb_hash_hex(&hash, s->learnt);
    free(label);
    return st;
}

lmb_status lmbi_update_samples_open(const lmb_job *j, lmb_update_samples *s, lmb_error *err)
{
    LMB_TRY(lmb_fields_bind(lmb_update_fields, j->c.update, &s->c, err));
    if (!s->c.data)
        return LMB_FAIL(err, LMB_E_ARG, "the section `update` has no `data`: where are the new samples?");
    LMB_TRY(lmb_dataset_open(s->c.data, LMB_PART_TRAIN, &s->all, err));
    LMB_TRY(take_listed(j, s, err));
    LMB_TRY(take_old(j, s, err));
    return name_samples(s, err);
}
