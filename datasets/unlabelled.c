/* datasets/unlabelled.c - samples whose labels nobody may look at: every label is 0, whatever the set says. See
 * dataset.h. */
#include <stdlib.h>

#include "datasets/dataset.h"

static lmb_status read_sample(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    const lmb_dataset *of = d->state;

    LMB_TRY(of->read(of, index, sample, label, err));
    *label = 0;
    return LMB_OK;
}

static int32_t label_of(const lmb_dataset *d, int64_t index)
{
    (void)d, (void)index;
    return 0;
}

static int32_t group_of(const lmb_dataset *d, int64_t index)
{
    const lmb_dataset *of = d->state;
    return of->group(of, index);
}

static lmb_hash hash_of(const lmb_dataset *d)
{
    const lmb_dataset *of = d->state;
    return of->hash(of);
}

static void destroy(lmb_dataset *d) { (void)d; }

lmb_status lmb_dataset_unlabelled(const lmb_dataset *d, int classes, lmb_dataset **out, lmb_error *err)
{
    lmb_dataset *v = malloc(sizeof *v);

    if (!v)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a data set");
    *v = (lmb_dataset){ .n = d->n, .shape = d->shape, .dtype = d->dtype, .classes = classes, .read = read_sample,
                        .label = label_of, .group = d->group ? group_of : NULL, .hash = hash_of, .destroy = destroy,
                        .state = (void *)(uintptr_t)d };
    *out = v;
    return LMB_OK;
}
