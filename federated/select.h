/* federated/select.h - which clients take part in a round.
 *
 * A selector is a row: it orders the clients that could take part, and the first `take` do. Its choice depends on
 * (seed, round) and on what is known of the clients, never on the order in which they came, so that a run can be
 * repeated.
 *
 *   uniform      every client alike
 *   by_size      likely in proportion to its number of examples, without replacement (Efraimidis, Spirakis 2006)
 *   by_loss      where the loss is high there is much to learn: examples * loss, plus what makes up for a long wait; a
 *                share is kept for clients that are not known yet (after Oort: Lai et al., OSDI 2021, section 4)
 *   round_robin  in the order of their numbers, going round
 */
#ifndef LMB_FEDERATED_SELECT_H
#define LMB_FEDERATED_SELECT_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/field.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lmb_tree;

/* A client that could take part. */
typedef struct lmb_candidate {
    int64_t id;        /* unique, >= 0                                     */
    uint64_t examples; /* 0: not known yet                                 */
    double loss;       /* mean training loss as last reported, NAN: never  */
    uint64_t last;     /* the round in which it last took part, 0: never   */
} lmb_candidate;

typedef struct lmb_selector {
    const char *name, *help;
    const lmb_field *fields; /* rows of its options, NULL: none */
    size_t config_bytes;
    /* key[i]: candidates with the greatest keys take part; of equal keys the smaller id. */
    void (*keys)(const void *config, const lmb_candidate *c, size_t n, size_t take, uint64_t seed, uint64_t round,
                 double *key);
} lmb_selector;

extern const lmb_selector *const lmb_selectors[]; /* NULL-terminated */
/* The one that `tree` names, uniform when NULL, with its bound options (malloc'd, set even on errors). */
LMB_MUST_CHECK lmb_status lmb_selector_open(const struct lmb_tree *tree, const lmb_selector **out, void **config,
                                            lmb_error *err);

/* The indices into c of those that take part, in ascending order of id: out[take], take <= n. */
LMB_MUST_CHECK lmb_status lmb_select(const lmb_selector *s, const void *config, const lmb_candidate *c, size_t n,
                                     size_t take, uint64_t seed, uint64_t round, size_t *out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
