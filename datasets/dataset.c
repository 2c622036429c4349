/* datasets/dataset.c - opening by name, in-memory images, subsets. See dataset.h. */
#include "datasets/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"

extern const lmb_dataset_format lmb_dataset_idx, lmb_dataset_cifar, lmb_dataset_synthetic;

const lmb_dataset_format *const lmb_dataset_formats[] = {
    &lmb_dataset_cifar,
    &lmb_dataset_idx,
    &lmb_dataset_synthetic,
    NULL,
};

const lmb_dataset_format *lmb_dataset_format_find(const char *name)
{
    for (int i = 0; lmb_dataset_formats[i]; i++)
        if (strcmp(lmb_dataset_formats[i]->name, name) == 0)
            return lmb_dataset_formats[i];
    return NULL;
}

lmb_status lmb_dataset_open(const lmb_tree *tree, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    const char *name, *names[16];
    int n = 0;

    LMB_TRY(lmb_tree_name(tree, &name, err));
    const lmb_dataset_format *f = lmb_dataset_format_find(name);
    if (!f) {
        for (int i = 0; lmb_dataset_formats[i] && n < 15; i++)
            names[n++] = lmb_dataset_formats[i]->name;
        names[n] = NULL;
        const char *near = lmb_nearest(name, names);
        return lmb_tree_fail(tree, err, LMB_E_ARG, "there is no data set format '%s'%s%s; `limbeck list datasets` shows all",
                             name, near ? "; did you mean " : "", near ? near : "");
    }
    void *config = calloc(1, f->config_size + 1);
    if (!config)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to open a data set");
    lmb_status st = lmb_fields_bind(f->fields, tree, config, err);
    if (st == LMB_OK)
        st = f->open(config, part, out, err);
    free(config);
    return st;
}

void lmb_dataset_destroy(lmb_dataset *d)
{
    if (!d)
        return;
    if (d->destroy)
        d->destroy(d);
    free(d);
}

lmb_status lmb_dataset_labels(const lmb_dataset *d, int32_t *label, lmb_error *err)
{
    void *sample = malloc(lmb_shape_bytes(&d->shape, d->dtype) + 1);
    lmb_status st = sample ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a sample");

    for (int64_t i = 0; i < d->n && st == LMB_OK; i++)
        st = d->read(d, i, sample, &label[i], err);
    free(sample);
    return st;
}

/* ---- in memory ---- */

typedef struct memory { uint8_t *pixels, *labels; size_t bytes; } memory;

static lmb_status memory_read(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    const memory *m = d->state;
    if (index < 0 || index >= d->n)
        return LMB_FAIL(err, LMB_E_ARG, "sample %lld of %lld", (long long)index, (long long)d->n);
    memcpy(sample, m->pixels + (size_t)index * m->bytes, m->bytes);
    *label = m->labels[index];
    return LMB_OK;
}

static void memory_destroy(lmb_dataset *d)
{
    memory *m = d->state;
    free(m->pixels);
    free(m->labels);
    free(m);
}

lmb_status lmb_dataset_memory(uint8_t *pixels, uint8_t *labels, int64_t n, lmb_shape shape, int classes,
                              lmb_dataset **out, lmb_error *err)
{
    lmb_dataset *d = calloc(1, sizeof *d);
    memory *m = calloc(1, sizeof *m);
    lmb_status st = d && m ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a data set");

    for (int64_t i = 0; i < n && st == LMB_OK; i++)
        if (labels[i] >= classes)
            st = LMB_FAIL(err, LMB_E_FORMAT, "label %d of sample %lld; there are %d classes", labels[i], (long long)i,
                          classes);
    if (st != LMB_OK) {
        free(pixels);
        free(labels);
        free(d);
        free(m);
        return st;
    }
    *m = (memory){ pixels, labels, lmb_shape_bytes(&shape, LMB_U8) };
    lmb_hasher h;
    lmb_hash_begin(&h);
    lmb_hash_add(&h, pixels, (size_t)n * m->bytes);
    lmb_hash_add(&h, labels, (size_t)n);
    *d = (lmb_dataset){ .n = n, .shape = shape, .dtype = LMB_U8, .classes = classes, .hash = lmb_hash_end(&h),
                        .read = memory_read, .destroy = memory_destroy, .state = m };
    *out = d;
    return LMB_OK;
}

/* ---- subsets ---- */

typedef struct subset { const lmb_dataset *of; uint32_t *index; } subset;

static lmb_status subset_read(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    const subset *s = d->state;
    if (index < 0 || index >= d->n)
        return LMB_FAIL(err, LMB_E_ARG, "sample %lld of %lld", (long long)index, (long long)d->n);
    return s->of->read(s->of, s->index[index], sample, label, err);
}

static int32_t subset_group(const lmb_dataset *d, int64_t index)
{
    const subset *s = d->state;
    return s->of->group ? s->of->group(s->of, s->index[index]) : -1;
}

static void subset_destroy(lmb_dataset *d)
{
    subset *s = d->state;
    free(s->index);
    free(s);
}

lmb_status lmb_dataset_subset(const lmb_dataset *of, const uint32_t *index, int64_t n, lmb_dataset **out,
                              lmb_error *err)
{
    lmb_dataset *d = calloc(1, sizeof *d);
    subset *s = calloc(1, sizeof *s);
    uint32_t *copy = malloc(sizeof *copy * (size_t)(n + 1));
    lmb_hasher h;

    if (!d || !s || !copy) {
        free(d);
        free(s);
        free(copy);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a subset of %lld samples", (long long)n);
    }
    for (int64_t i = 0; i < n; i++) {
        if (index[i] >= of->n) {
            free(d);
            free(s);
            free(copy);
            return LMB_FAIL(err, LMB_E_ARG, "sample %u of %lld", index[i], (long long)of->n);
        }
        copy[i] = index[i];
    }
    *s = (subset){ of, copy };
    *d = *of;
    lmb_hash_begin(&h);
    lmb_hash_add(&h, &of->hash, sizeof of->hash);
    lmb_hash_add(&h, copy, sizeof *copy * (size_t)n);
    d->n = n;
    d->hash = lmb_hash_end(&h);
    d->read = subset_read;
    d->group = of->group ? subset_group : NULL;
    d->destroy = subset_destroy;
    d->state = s;
    *out = d;
    return LMB_OK;
}
