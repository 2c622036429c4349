/* distill/tune/method.h - where to look next: a method is a row and a file in methods/.
 *
 * Idea: what a method proposes is a function of its settings, the seed and the trials before the round; it keeps no
 * state of its own. A search that was killed replays nothing: it reads its journal and asks for the round again.
 *
 *   random   numbers come from (seed, trial), never from who asks or when
 *   y        made small: y[0] is the share of wrong answers; y[1] the cost, where one is measured, else 0
 */
#ifndef LMB_DISTILL_TUNE_METHOD_H
#define LMB_DISTILL_TUNE_METHOD_H

#include "core/base/field.h"
#include "distill/tune/space.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_tuned {
    double x[LMB_TUNE_DIMS]; /* snapped */
    double y[2];
    bool failed; /* y is then the worst there can be: 1, infinite */
} lmb_tuned;

typedef struct lmb_method_view {
    const lmb_space *space;
    const void *config; /* of the method's fields */
    uint64_t seed;
    int per_round;
    const lmb_tuned *trial; /* [n], all of earlier rounds */
    int n;
} lmb_method_view;

/* A round of a method whose rounds are not all alike: `n` trials from `first` on, which get this share of their epochs,
 * in (0, 1]. */
typedef struct lmb_rung {
    int first, n;
    double share;
} lmb_rung;

typedef struct lmb_method {
    const char *name, *summary, *source;
    const lmb_field *fields;
    size_t config_size;
    bool two_costs; /* looks at y[1] */
    /* Whether settings and space go together, before any work; NULL: always. */
    lmb_status (*check)(const lmb_space *s, const void *config, int per_round, lmb_error *err);
    /* How many trials there are at all; NULL: no end. */
    int64_t (*all)(const lmb_space *s, const void *config);
    /* x of trials v->n .. v->n + per_round, or as many as the rung has; snapped by the caller. */
    lmb_status (*propose)(const lmb_method_view *v, double (*x)[LMB_TUNE_DIMS], lmb_error *err);
    /* The round that a trial is of, with at most per_round trials; NULL: all have per_round, and all epochs. */
    void (*rung)(const void *config, int per_round, int trial, lmb_rung *out);
} lmb_method;
extern const lmb_method *const lmb_methods[]; /* NULL-terminated: methods.c */

/* The row of a name: a plain scalar or a map with a name; its fields bound to config [config_size <=
 * LMB_METHOD_CONFIG]. E_ARG with the place. NULL: random. */
enum { LMB_METHOD_CONFIG = 128 };
LMB_MUST_CHECK lmb_status lmb_method_bind(const lmb_tree *tree, const lmb_method **out, void *config, lmb_error *err);

/* Uniform in (0, 1): number `e` of trial `trial` for use `what`. */
double lmbi_tune_uniform(uint64_t seed, uint32_t what, int64_t trial, uint32_t e);

#ifdef __cplusplus
}
#endif
#endif
