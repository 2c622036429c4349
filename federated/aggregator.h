/* federated/aggregator.h - how many updates become one.
 *
 * Idea: an aggregator is a const row of functions. It absorbs updates one at a time, in blocks, in whatever order
 * they arrive, and never holds them: the server's memory is O(model), whatever the number of clients. The result
 * must depend on the set of updates alone, not on their order, so sums are kept in integers.
 *
 * The server has checked an update whole before a block of it gets here: size, finite, |value| <= max_abs,
 * 1 <= examples <= max_examples, at most max_updates of them.
 *
 * The flags say what may be combined with what; an impossible pair is a configuration error:
 *   linear       the result is a weighted sum: it can be computed under secure aggregation
 *   needs_all    works on all updates at once (median, Krum): the server keeps the spooled files, and `all` reads them
 *                in blocks; absorb and finish are NULL. Memory is O(model + a block of each update)
 *   needs_plain  looks at single updates (norms, distances)
 *   ring_safe    its arithmetic may run in the ring of integers modulo 2^k
 *
 *   threads  one state belongs to one thread
 */
#ifndef LMB_FEDERATED_AGGREGATOR_H
#define LMB_FEDERATED_AGGREGATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/field.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What an aggregator may count on. */
typedef struct lmb_aggregator_limits {
    size_t n;              /* floats of an update                */
    uint64_t max_updates;  /* of one round                       */
    uint64_t min_updates;  /* with fewer a round is abandoned    */
    uint64_t max_examples; /* of one update: its greatest weight */
    double max_abs;        /* of one value                       */
} lmb_aggregator_limits;

/* The updates of a round, for rows that need them all; in the order of the clients' numbers, so that float sums over
 * them do not depend on who was first. */
typedef struct lmb_updates {
    size_t n; /* floats of each */
    int count;
    const uint64_t *examples; /* [count] */
    lmb_status (*read)(void *ctx, int update, size_t at, size_t count, float *out, lmb_error *err);
    void *ctx;
} lmb_updates;

typedef struct lmb_aggregator {
    const char *name, *help;
    bool linear, needs_all, needs_plain, ring_safe;
    const lmb_field *fields; /* rows of its options, NULL: none */
    size_t config_bytes;

    /* errors  E_ARG when sums could overflow under these limits, E_NOMEM */
    lmb_status (*create)(const void *config, const lmb_aggregator_limits *limits, void **state, lmb_error *err);
    void (*destroy)(void *state); /* NULL is a no-op */
    void (*begin)(void *state);   /* a new round: nothing absorbed */
    /* Values [at, at + count) of an update of weight `examples`; add_weight on one block of each update. */
    void (*absorb)(void *state, size_t at, const float *values, size_t count, uint64_t examples, bool add_weight);
    /* The change to the model, out[n]. E_NUMERIC when nothing was absorbed. */
    lmb_status (*finish)(void *state, float *out, lmb_error *err);
    /* The one sum whose mean `finish` works on, when all of it is such a sum: noise may be added to it before, for
     * privacy. NULL: the result depends on single updates, or on several sums. */
    struct lmbi_exact_sum *(*exact)(void *state);
    /* needs_all: the change to the model, out[n]. E_NUMERIC when there are too few updates for what is asked. */
    lmb_status (*all)(void *state, const lmb_updates *u, float *out, lmb_error *err);
    /* What must survive from round to round (momentum): written to the journal's model file, read back after a
     * restart. NULL: nothing. `*bytes` is the same number for a given configuration and n. */
    const void *(*save)(const void *state, size_t *bytes);
    lmb_status (*load)(void *state, const void *saved, size_t bytes, lmb_error *err);
    /* What was absorbed as integers that add up, *n of them, and the weight behind them: several processes absorb a
     * part of the updates each and add each other's sums before they finish. `which` counts from 0 until NULL comes
     * back. The row's NULL: its state can not be added. */
    int64_t *(*sums)(void *state, int which, size_t *n, uint64_t **weight);
    /* What clients add to their training and their update, a row of federated/terms/ by that name; NULL: nothing. Its
     * numbers beside the model's come last in the vector. */
    const char *term;
} lmb_aggregator;

/* NULL-terminated; one line an aggregator. */
extern const lmb_aggregator *const lmb_aggregators[];
/* By name, or E_ARG with the known names. */
LMB_MUST_CHECK lmb_status lmb_aggregator_find(const char *name, const lmb_aggregator **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
