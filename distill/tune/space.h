/* distill/tune/space.h - what a search over recipes may change: keys of a configuration, each with its range.
 *
 *   space:
 *     teacher.train.lr:        {real: [0.003, 0.3], log: true}
 *     teacher.model.width:     {int: [4, 32], step: 4}
 *     teacher.train.optimizer: {choice: [sgd, {name: adam, beta2: 0.99}]}
 *     teacher.model.layers.0.out: {int: [8, 64], log: true}
 *
 * Idea: methods see a point as numbers in 0 .. 1, one a key, and nothing else; what they mean is decided here. A key
 * that takes n values has n cells (equal ones, or with log by its logarithm), and a point stands in the middle of
 * one: points with equal values are equal.
 *
 *   keys   as --set takes them
 *   owns   keys and values are borrowed from the tree
 */
#ifndef LMB_DISTILL_TUNE_SPACE_H
#define LMB_DISTILL_TUNE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/config.h"
#include "core/base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_TUNE_DIMS = 16, LMB_TUNE_CHOICES = 64 };

typedef enum { LMB_PARAM_REAL, LMB_PARAM_INT, LMB_PARAM_CHOICE } lmb_param_kind;
extern const char *const lmb_param_kinds[]; /* "real", "int", "choice", NULL */

typedef struct lmb_param {
    const char *key;
    const lmb_tree *place; /* for complaints */
    lmb_param_kind kind;
    bool log;
    double lo, hi, step; /* REAL, INT; step 1 or more: INT */
    int64_t n;           /* values; 0: REAL */
    const lmb_tree *choice[LMB_TUNE_CHOICES];
} lmb_param;

typedef struct lmb_space {
    int n;
    lmb_param param[LMB_TUNE_DIMS];
} lmb_space;

/* errors  E_ARG with the place: no keys, too many, an empty range, a kind that is not known */
LMB_MUST_CHECK lmb_status lmb_space_read(const lmb_tree *tree, lmb_space *out, lmb_error *err);

/* To the middle of its cell, and into 0 .. 1. */
double lmb_param_snap(const lmb_param *p, double x);
/* Where value k of the p->n that there are stands. */
double lmb_param_cell(const lmb_param *p, int64_t k);
/* REAL, INT: the number that a snapped x stands for. CHOICE: which. */
double lmb_param_number(const lmb_param *p, double x);
/* As YAML on one line. */
void lmb_param_text(const lmb_param *p, double x, lmb_str *out);
/* All keys that take finitely many values: how many points there are; 0: more than 1e15, or not finitely many. */
int64_t lmb_space_points(const lmb_space *s);

/* A tree as YAML on one line. */
void lmb_tree_line(const lmb_tree *t, lmb_str *out);

#ifdef __cplusplus
}
#endif
#endif
