/* datasets/dataset.c - opening by name, data sets in memory, subsets. See dataset.h. */
#include "datasets/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"

const char *const lmb_part_names[] = { "train", "test", NULL };

static lmb_status no_such_format(const lmb_tree *tree, const char *name, lmb_error *err)
{
    const char *names[32];
    int n = 0;

    for (; lmb_dataset_formats[n] && n < 31; n++)
        names[n] = lmb_dataset_formats[n]->name;
    names[n] = NULL;
    const char *near = lmb_nearest(name, names);
    return lmb_tree_fail(tree, err, LMB_E_ARG, "there is no data set format '%s'%s%s; `limbeck list datasets` shows "
                         "all", name, near ? "; did you mean " : "", near ? near : "");
}

lmb_status lmb_dataset_open(const lmb_tree *tree, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    const char *name;

    LMB_TRY(lmb_tree_name(tree, &name, err));
    const lmb_dataset_format *f = lmb_dataset_format_find(name);
    if (!f)
        return no_such_format(tree, name, err);
    void *config = calloc(1, f->config_size);
    if (!config)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to open a data set");
    lmb_status st = lmb_fields_bind(f->fields, tree->kind == LMB_TREE_MAP ? tree : NULL, config, err);
    if (st == LMB_OK)
        st = f->open(config, part, out, err);
    free(config);
    return st;
}

void lmb_dataset_destroy(lmb_dataset *d)
{
    if (!d)
        return;
    d->destroy(d);
    free(d);
}

lmb_status lmb_dataset_labels(const lmb_dataset *d, int32_t *label, lmb_error *err)
{
    if (d->label) {
        for (int64_t i = 0; i < d->n; i++)
            label[i] = d->label(d, i);
        return LMB_OK;
    }
    void *sample = malloc(lmb_shape_bytes(&d->shape, d->dtype));
    lmb_status st = sample ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a sample");
    for (int64_t i = 0; i < d->n && st == LMB_OK; i++)
        st = d->read(d, i, sample, &label[i], err);
    free(sample);
    return st;
}

lmb_status lmb_dataset_check_index(const lmb_dataset *d, int64_t index, lmb_error *err)
{
    if (index < 0 || index >= d->n)
        return LMB_FAIL(err, LMB_E_ARG, "sample %lld was asked for; the data set has samples 0 to %lld",
                        (long long)index, (long long)d->n - 1);
    return LMB_OK;
}

/* ---- in memory ---- */

typedef struct memory { lmb_dataset_arrays a; size_t bytes; bool hashed; lmb_hash hash; } memory;

static const uint8_t *sample_at(const memory *m, int64_t index)
{
    return (const uint8_t *)m->a.samples + m->a.offset + (size_t)index * m->bytes;
}

static lmb_status memory_read(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    const memory *m = d->state;
    LMB_TRY(lmb_dataset_check_index(d, index, err));
    memcpy(sample, sample_at(m, index), m->bytes);
    *label = m->a.labels[index];
    return LMB_OK;
}

static int32_t memory_label(const lmb_dataset *d, int64_t index) { return ((const memory *)d->state)->a.labels[index]; }
static int32_t memory_group(const lmb_dataset *d, int64_t index) { return ((const memory *)d->state)->a.groups[index]; }

static void memory_destroy(lmb_dataset *d)
{
    memory *m = d->state;
    free(m->a.samples);
    free(m->a.labels);
    free(m->a.groups);
    free(m);
}

static lmb_status check_arrays(const lmb_dataset_arrays *a, const char *from, lmb_error *err)
{
    if (a->n < 1 || a->n > INT32_MAX)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: %lld samples; a data set has 1 to %d", from, (long long)a->n,
                        INT32_MAX);
    if (lmb_shape_count(&a->shape) < 1)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: its samples are empty", from);
    for (int64_t i = 0; i < a->n; i++)
        if (a->labels[i] < 0 || a->labels[i] >= a->classes)
            return LMB_FAIL(err, LMB_E_FORMAT, "%s: sample %lld has label %d, but there are %d classes (labels 0 to "
                            "%d)", from, (long long)i, a->labels[i], a->classes, a->classes - 1);
    return LMB_OK;
}

/* Kept once it is known: the content does not change. */
static lmb_hash memory_hash(const lmb_dataset *d)
{
    memory *m = d->state;
    const lmb_dataset_arrays *a = &m->a;
    int64_t head[4] = { a->n, a->classes, a->dtype, a->shape.n };
    lmb_hasher h;

    if (m->hashed)
        return m->hash;
    lmb_hash_begin(&h);
    lmb_hash_add(&h, head, sizeof head);
    lmb_hash_add(&h, a->shape.d, sizeof a->shape.d[0] * (size_t)a->shape.n);
    lmb_hash_add(&h, sample_at(m, 0), (size_t)a->n * m->bytes);
    lmb_hash_add(&h, a->labels, sizeof *a->labels * (size_t)a->n);
    if (a->groups)
        lmb_hash_add(&h, a->groups, sizeof *a->groups * (size_t)a->n);
    m->hash = lmb_hash_end(&h);
    m->hashed = true;
    return m->hash;
}

lmb_status lmb_dataset_memory(const lmb_dataset_arrays *a, const char *from, lmb_dataset **out, lmb_error *err)
{
    lmb_dataset *d = malloc(sizeof *d);
    memory *m = malloc(sizeof *m);
    lmb_status st = d && m ? check_arrays(a, from, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a data set");

    if (st != LMB_OK) {
        free(a->samples);
        free(a->labels);
        free(a->groups);
        free(d);
        free(m);
        return st;
    }
    *m = (memory){ .a = *a, .bytes = lmb_shape_bytes(&a->shape, a->dtype) };
    *d = (lmb_dataset){ .n = a->n, .shape = a->shape, .dtype = a->dtype, .classes = a->classes,
                        .class_names = a->class_names, .hash = memory_hash, .read = memory_read,
                        .label = memory_label, .group = a->groups ? memory_group : NULL, .destroy = memory_destroy,
                        .state = m };
    *out = d;
    return LMB_OK;
}

/* ---- subsets ---- */

typedef struct subset { const lmb_dataset *of; uint32_t index[]; } subset;

static lmb_status subset_read(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    const subset *s = d->state;
    LMB_TRY(lmb_dataset_check_index(d, index, err));
    return s->of->read(s->of, s->index[index], sample, label, err);
}

static int32_t subset_label(const lmb_dataset *d, int64_t index)
{
    const subset *s = d->state;
    return s->of->label(s->of, s->index[index]);
}

static int32_t subset_group(const lmb_dataset *d, int64_t index)
{
    const subset *s = d->state;
    return s->of->group(s->of, s->index[index]);
}

static const char *subset_name(const lmb_dataset *d, int64_t index)
{
    const subset *s = d->state;
    return s->of->name(s->of, s->index[index]);
}

static lmb_hash subset_hash(const lmb_dataset *d)
{
    const subset *s = d->state;
    lmb_hash of = s->of->hash(s->of);
    lmb_hasher h;

    lmb_hash_begin(&h);
    lmb_hash_add(&h, &of, sizeof of);
    lmb_hash_add(&h, s->index, sizeof *s->index * (size_t)d->n);
    return lmb_hash_end(&h);
}

static void subset_destroy(lmb_dataset *d) { free(d->state); }

lmb_status lmb_dataset_subset(const lmb_dataset *of, const uint32_t *index, int64_t n, lmb_dataset **out,
                              lmb_error *err)
{
    if (n < 1)
        return LMB_FAIL(err, LMB_E_ARG, "a subset of %lld samples; it must have at least one", (long long)n);
    for (int64_t i = 0; i < n; i++)
        LMB_TRY(lmb_dataset_check_index(of, index[i], err));
    lmb_dataset *d = malloc(sizeof *d);
    subset *s = malloc(sizeof *s + sizeof *index * (size_t)n);
    if (!d || !s) {
        free(d);
        free(s);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a subset of %lld samples", (long long)n);
    }
    s->of = of;
    memcpy(s->index, index, sizeof *index * (size_t)n);
    *d = *of;
    d->n = n;
    d->hash = subset_hash;
    d->read = subset_read;
    d->label = of->label ? subset_label : NULL;
    d->group = of->group ? subset_group : NULL;
    d->name = of->name ? subset_name : NULL;
    d->destroy = subset_destroy;
    d->state = s;
    *out = d;
    return LMB_OK;
}
