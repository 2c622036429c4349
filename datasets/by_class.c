/* datasets/by_class.c - the labels of one data set as another counts them: classes are the same where their names are,
 * and where the other has no names, those are its numbers. See dataset.h. Folders count theirs in the order of their
 * names, so that a class more shifts all behind it. */
#include <stdlib.h>
#include <string.h>

#include "datasets/dataset.h"

typedef struct view {
    const lmb_dataset *of;
    int32_t label[]; /* [of->classes] in the other's numbers */
} view;

static lmb_status read_sample(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    const view *v = d->state;

    LMB_TRY(v->of->read(v->of, index, sample, label, err));
    *label = v->label[*label];
    return LMB_OK;
}

static int32_t label_of(const lmb_dataset *d, int64_t index)
{
    const view *v = d->state;
    return v->label[v->of->label(v->of, index)];
}

static int32_t group_of(const lmb_dataset *d, int64_t index)
{
    const view *v = d->state;
    return v->of->group(v->of, index);
}

static const char *name_of(const lmb_dataset *d, int64_t index)
{
    const view *v = d->state;
    return v->of->name(v->of, index);
}

static lmb_hash hash_of(const lmb_dataset *d)
{
    const view *v = d->state;
    lmb_hash of = v->of->hash(v->of);
    lmb_hasher h;

    lmb_hash_begin(&h);
    lmb_hash_add(&h, &of, sizeof of);
    lmb_hash_add(&h, v->label, sizeof *v->label * (size_t)v->of->classes);
    return lmb_hash_end(&h);
}

static void destroy(lmb_dataset *d) { free(d->state); }

/* "3" and "03" are class 3 of data whose classes have no names. */
static lmb_status find_number(const lmb_dataset *like, const char *name, int32_t *out, lmb_error *err)
{
    size_t n = strlen(name);
    long k = n > 0 && n < 10 && strspn(name, "0123456789") == n ? strtol(name, NULL, 10) : -1;

    *out = (int32_t)k;
    return k >= 0 && k < like->classes
               ? LMB_OK
               : LMB_FAIL(err, LMB_E_ARG,
                          "there is a class '%s', and the known ones have no names: call it by its number, 0 to %d",
                          name, like->classes - 1);
}

static lmb_status find_class(const lmb_dataset *like, const char *name, int32_t *out, lmb_error *err)
{
    if (!like->class_names)
        return find_number(like, name, out, err);
    for (*out = 0; *out < like->classes; ++*out)
        if (strcmp(like->class_names[*out], name) == 0)
            return LMB_OK;
    return LMB_FAIL(err, LMB_E_ARG, "there is a class '%s', which is none of the %d (%s ... %s) that are known", name,
                    like->classes, like->class_names[0], like->class_names[like->classes - 1]);
}

lmb_status lmb_dataset_by_class(const lmb_dataset *d, const lmb_dataset *like, lmb_dataset **out, lmb_error *err)
{
    bool same = d->classes == like->classes;

    *out = NULL;
    if (!d->class_names)
        return LMB_OK;
    lmb_dataset *x = malloc(sizeof *x);
    view *v = malloc(sizeof *v + sizeof *v->label * (size_t)d->classes);
    lmb_status st = x && v ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a data set");
    for (int32_t k = 0; st == LMB_OK && k < d->classes; k++) {
        st = find_class(like, d->class_names[k], &v->label[k], err);
        same &= v->label[k] == k;
    }
    if (st != LMB_OK || same) {
        free(x);
        free(v);
        return st;
    }
    v->of = d;
    *x = *d;
    x->classes = like->classes;
    x->class_names = like->class_names;
    x->read = read_sample;
    x->label = d->label ? label_of : NULL;
    x->group = d->group ? group_of : NULL;
    x->name = d->name ? name_of : NULL;
    x->hash = hash_of;
    x->destroy = destroy;
    x->state = v;
    *out = x;
    return LMB_OK;
}
