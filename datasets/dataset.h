/* datasets/dataset.h - labelled samples, wherever they come from.
 *
 * Idea: a data set is a row in a table (name, option rows, open) and, once open, a count, a sample shape
 * and a function that reads one sample as raw numbers. Images are u8 [C, H, W] and stay raw: normalisation
 * is part of the model's graph. Views (subsets, splits, partitions) are data sets over others.
 *
 *   owns     whoever opens or wraps destroys; a view does not own what it looks at
 *   threads  read(), label() and group() may be called from several threads at once
 */
#ifndef LMB_DATASETS_DATASET_H
#define LMB_DATASETS_DATASET_H

#include "core/base/field.h"
#include "core/base/hash.h"
#include "core/base/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_dataset lmb_dataset;
struct lmb_dataset {
    int64_t n;            /* samples, at most 2^31 - 1                    */
    lmb_shape shape;      /* of one sample: [C, H, W] or [C, T]           */
    lmb_dtype dtype;      /* U8 for images, F32 for signals               */
    int classes;          /* 1: the samples have no labels                */
    const char *const *class_names; /* NULL or [classes]                  */
    /* Sample `index` into `sample` (bytes of the shape) and its label in [0, classes). */
    lmb_status (*read)(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err);
    /* Label alone, without decoding; index in [0, n). NULL: only read() knows. */
    int32_t (*label)(const lmb_dataset *d, int64_t index);
    /* Natural group (writer, subject) of a sample; NULL: the set has none. */
    int32_t (*group)(const lmb_dataset *d, int64_t index);
    /* The file of a sample, "<class>/<file>"; lives as long as the set. NULL: samples have only their indices. */
    const char *(*name)(const lmb_dataset *d, int64_t index);
    /* Of the content: what ranks agree on at start. May read all samples; one call at a time. */
    lmb_hash (*hash)(const lmb_dataset *d);
    void (*destroy)(lmb_dataset *d); /* frees state */
    void *state;
};

typedef enum { LMB_PART_TRAIN, LMB_PART_TEST } lmb_part;
extern const char *const lmb_part_names[]; /* "train", "test", NULL */

typedef struct lmb_dataset_format {
    const char *name, *summary, *source;
    const lmb_field *fields;
    size_t config_size;
    lmb_status (*open)(const void *config, lmb_part part, lmb_dataset **out, lmb_error *err);
} lmb_dataset_format;

extern const lmb_dataset_format *const lmb_dataset_formats[]; /* NULL-terminated: datasets/table.c */
const lmb_dataset_format *lmb_dataset_format_find(const char *name);

struct lmb_tree;
/* Open the data set that the section `tree` ({name: idx, path: ...}) describes. */
LMB_MUST_CHECK lmb_status lmb_dataset_open(const struct lmb_tree *tree, lmb_part part, lmb_dataset **out,
                                           lmb_error *err);
void lmb_dataset_destroy(lmb_dataset *d); /* NULL is a no-op */

/* A view of d[index[0]], d[index[1]], ...; the list is copied, `d` is borrowed and must outlive the view. */
LMB_MUST_CHECK lmb_status lmb_dataset_subset(const lmb_dataset *d, const uint32_t *index, int64_t n,
                                             lmb_dataset **out, lmb_error *err);
/* A view of both, the second behind the first; groups and names are lost. Both are borrowed.
 *   errors  E_SHAPE: they are not alike */
LMB_MUST_CHECK lmb_status lmb_dataset_join(const lmb_dataset *first, const lmb_dataset *second, lmb_dataset **out,
                                           lmb_error *err);
/* A view of `d` whose labels are those that `like` has for classes of the same names; of a `like` without names, the
 * numbers that d's names are ("3", "03"). *out NULL: use `d` as it is, for they are the same, or it has no names. Both
 * are borrowed.
 *   errors  E_ARG: `like` has no class of such a name or number */
LMB_MUST_CHECK lmb_status lmb_dataset_by_class(const lmb_dataset *d, const lmb_dataset *like, lmb_dataset **out,
                                               lmb_error *err);
/* A view of samples whose labels are not to be had: all are 0 of so many classes. `d` is borrowed. */
LMB_MUST_CHECK lmb_status lmb_dataset_unlabelled(const lmb_dataset *d, int classes, lmb_dataset **out, lmb_error *err);
/* All labels, [n] caller storage; reads every sample of a set that has no label(). */
LMB_MUST_CHECK lmb_status lmb_dataset_labels(const lmb_dataset *d, int32_t *label, lmb_error *err);
/* E_ARG unless index is in [0, n): what every reader says about a sample that is not there. */
LMB_MUST_CHECK lmb_status lmb_dataset_check_index(const lmb_dataset *d, int64_t index, lmb_error *err);

/* Samples that fit in memory. */
typedef struct lmb_dataset_arrays {
    void *samples;                  /* [n, shape] of dtype, malloc'd           */
    size_t offset;                  /* bytes in front of the first sample      */
    int32_t *labels;                /* [n], malloc'd                           */
    int32_t *groups;                /* [n], malloc'd, or NULL                  */
    int64_t n;
    lmb_shape shape;
    lmb_dtype dtype;
    int classes;
    const char *const *class_names; /* NULL or static storage                  */
} lmb_dataset_arrays;
/* owns    takes the three arrays, on failure too
 * errors  E_FORMAT, naming `from` (a path), for no samples, an empty shape or a label outside [0, classes) */
LMB_MUST_CHECK lmb_status lmb_dataset_memory(const lmb_dataset_arrays *a, const char *from, lmb_dataset **out,
                                             lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
