/* federated/secagg/graph.h - who masks with whom, and how many of them it takes to undo it.
 *
 * Idea: a client need not share a mask with every other. On a ring in random order each is joined to the nearest
 * `degree` others (a Harary graph), and any `threshold` of its neighbours can recover one of its two secrets. The
 * degree grows with log n only, and follows from what is assumed about the cohort: at most `adversaries` of the
 * clients work with the server, at most `dropouts` leave.
 *
 *   security 2^-40     the honest clients that stay are connected (else the server learns part of the sum), and no
 *                      client has so many bad neighbours that these recover what they must not
 *   correctness 2^-20  every client keeps at least `threshold` neighbours
 *
 * A curious server follows the protocol: more than the bad neighbours must be needed. A malicious one tells some
 * neighbours of a client that it left and others that it stayed: then 2 * threshold > degree + bad is needed.
 * Above both stands the floor, the share of its neighbours that a client insists on, whatever the server computed.
 * A client keeps no share of its own secrets: one more share would count in both of the stories.
 *
 *   source   Bell, Bonawitz, Gascon, Lepoint, Raykova: Secure single-server aggregation with (poly)logarithmic
 *            overhead, CCS 2020, section 3; known answers: tests/federated/secagg/test_graph.c
 *   threads  pure
 */
#ifndef LMB_FEDERATED_SECAGG_GRAPH_H
#define LMB_FEDERATED_SECAGG_GRAPH_H

#include <stdint.h>

#include "core/base/error.h"
#include "federated/secagg/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    LMB_SECAGG_CLIENTS = 1000000, /* of one cohort at most                                    */
    LMB_SECAGG_DEGREE = 8192      /* of a planned graph at most: 3 MB of messages for a client */
};

typedef enum { LMB_SECAGG_CURIOUS = 0, LMB_SECAGG_MALICIOUS = 1 } lmb_secagg_mode; /* values are on the wire */

/* What one party assumes. Each client has its own; it never takes the server's. */
typedef struct lmb_secagg_trust {
    lmb_secagg_mode mode;
    double adversaries; /* share of the cohort that works with the server, [0, 1)          */
    double dropouts;    /* share of the cohort that leaves during the round, [0, 1)        */
    double floor;       /* threshold > floor * degree; 0: only what the bounds above ask   */
} lmb_secagg_trust;

/* 5 % adversaries, 5 % drop-outs, floor 1/2 (curious) or 2/3 (malicious). */
lmb_secagg_trust lmb_secagg_trust_default(lmb_secagg_mode mode);

typedef struct lmb_secagg_shape {
    uint32_t degree, threshold;
} lmb_secagg_shape;

/* The smallest even degree below n - 1, and at most LMB_SECAGG_DEGREE, that meets the bounds, and the smallest
 * threshold with it.
 *   errors  E_ARG when there is none: the shares are too large, or n too small */
LMB_MUST_CHECK lmb_status lmb_secagg_shape_find(uint32_t n, const lmb_secagg_trust *trust, lmb_secagg_shape *out,
                                                lmb_error *err);
/* The same, or the complete graph when no smaller one will do: what a server uses.
 *   errors  E_ARG; when neither does, or the complete graph is larger than LMB_SECAGG_DEGREE */
LMB_MUST_CHECK lmb_status lmb_secagg_shape_plan(uint32_t n, const lmb_secagg_trust *trust, lmb_secagg_shape *out,
                                                lmb_error *err);
/* What a client checks before it shares anything: is the server's shape safe under my own assumptions?
 *   errors  E_DENIED says which bound does not hold */
LMB_MUST_CHECK lmb_status lmb_secagg_shape_check(uint32_t n, const lmb_secagg_shape *shape,
                                                 const lmb_secagg_trust *trust, lmb_error *err);

typedef struct lmb_secagg_graph {
    uint32_t n, degree;
    uint32_t *near; /* [n][degree], each row ascending */
} lmb_secagg_graph;

/* `degree` even, or n - 1. The order on the ring is a function of the seed.  errors  E_ARG, E_NOMEM */
LMB_MUST_CHECK lmb_status lmb_secagg_graph_init(lmb_secagg_graph *g, uint32_t n, uint32_t degree,
                                                const uint8_t seed[LMB_SECAGG_SEED], lmb_error *err);
void lmb_secagg_graph_deinit(lmb_secagg_graph *g);
/* Place of b in a's row, or -1 when they are no neighbours. */
int64_t lmb_secagg_graph_slot(const lmb_secagg_graph *g, uint32_t a, uint32_t b);

#ifdef __cplusplus
}
#endif
#endif
