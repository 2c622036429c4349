/* datasets/join.c - two data sets as one: the samples of the second follow those of the first. See dataset.h. */
#include <stdlib.h>

#include "datasets/dataset.h"

typedef struct join {
    const lmb_dataset *first, *second;
} join;

static const lmb_dataset *side(const lmb_dataset *d, int64_t *index)
{
    const join *j = d->state;

    if (*index < j->first->n)
        return j->first;
    *index -= j->first->n;
    return j->second;
}

static lmb_status join_read(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    LMB_TRY(lmb_dataset_check_index(d, index, err));
    const lmb_dataset *of = side(d, &index);
    return of->read(of, index, sample, label, err);
}

static int32_t join_label(const lmb_dataset *d, int64_t index)
{
    const lmb_dataset *of = side(d, &index);
    return of->label(of, index);
}

static lmb_hash join_hash(const lmb_dataset *d)
{
    const join *j = d->state;
    lmb_hash parts[2] = { j->first->hash(j->first), j->second->hash(j->second) };
    return lmb_hash_of(parts, sizeof parts);
}

static void join_destroy(lmb_dataset *d) { free(d->state); }

lmb_status lmb_dataset_join(const lmb_dataset *first, const lmb_dataset *second, lmb_dataset **out, lmb_error *err)
{
    if (!lmb_shape_equal(&first->shape, &second->shape) || first->dtype != second->dtype ||
        first->classes != second->classes)
        return LMB_FAIL(err, LMB_E_SHAPE,
                        "two data sets with samples of %lld and %lld values and with %d and %d classes; "
                        "they must be alike",
                        (long long)lmb_shape_count(&first->shape), (long long)lmb_shape_count(&second->shape),
                        first->classes, second->classes);
    if (first->n + second->n > INT32_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "%lld and %lld samples are more than a data set holds", (long long)first->n,
                        (long long)second->n);
    lmb_dataset *d = malloc(sizeof *d);
    join *j = malloc(sizeof *j);
    if (!d || !j) {
        free(d);
        free(j);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to join two data sets");
    }
    *j = (join){ first, second };
    *d = *first;
    d->n = first->n + second->n;
    d->read = join_read;
    d->label = first->label && second->label ? join_label : NULL;
    d->group = NULL;
    d->name = NULL;
    d->hash = join_hash;
    d->destroy = join_destroy;
    d->state = j;
    *out = d;
    return LMB_OK;
}
