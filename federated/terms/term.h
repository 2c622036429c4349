/* federated/terms/term.h - what an aggregator asks of clients beyond training: numbers that travel beside the model's,
 * a correction of every gradient, something kept from round to round.
 *
 * The federation's vector is [values of the model | extra]. A client is sent both and answers with a change of both.
 * What the aggregator of the same name does with them is in federated/aggregators/.
 */
#ifndef LMB_FEDERATED_TERMS_TERM_H
#define LMB_FEDERATED_TERMS_TERM_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_term {
    const char *name, *help;
    size_t (*extra)(size_t values);
    bool memory; /* a client keeps [values] floats of its own from round to round, 0 at first */
    /* Before training: what is added to every gradient, [values]; NULL: nothing. */
    void (*begin)(size_t values, const float *sent_extra, const float *memory, float *shift);
    /* After it: `delta` [values] is the change of the model, which may be rewritten, `travel` how far a gradient of
     * 1 would have gone (train/trainer.h). Fills delta_extra and memory. */
    void (*finish)(size_t values, double travel, const float *sent_extra, float *delta, float *delta_extra,
                   float *memory);
} lmb_term;

extern const lmb_term *const lmb_terms[]; /* NULL-terminated */
/* NULL for a name that is no term's. */
const lmb_term *lmb_term_find(const char *name);

/* FedNova's travel is told in units of so much: a travel of 64 and a mean gradient of 1 both stay within max_abs 8. */
enum { LMB_FEDNOVA_UNIT = 8 };

#ifdef __cplusplus
}
#endif
#endif
