/* federated/spread.h - how the clients of a round fare, one by one: a mean hides those for whom the model does not
 * work. */
#ifndef LMB_FEDERATED_SPREAD_H
#define LMB_FEDERATED_SPREAD_H

#include <stddef.h>
#include <stdint.h>

#include "comm/wire.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_spread {
    uint64_t clients; /* 0: none has told                                     */
    double mean, median, worst; /* over clients, each counted once; worst: mean of the worst tenth, at least of one */
} lmb_spread;

/* values[n] of the clients, in any order, which changes. */
lmb_spread lmb_spread_of(double *values, size_t n);

/* What clients tell of, each a share in [0, 1]; figures of an update by name. */
enum { LMB_FARE_VALID, LMB_FARE_PERSONAL, LMB_FARES };
extern const char *const lmb_fare_names[]; /* "valid_accuracy": the round's model as it came; "personal_accuracy": what
                                              the client made of it */
/* NAN where a client does not tell, or what is no share. */
void lmb_fares_of(const lmb_figures *f, double out[LMB_FARES]);

#ifdef __cplusplus
}
#endif
#endif
