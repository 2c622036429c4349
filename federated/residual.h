/* federated/residual.h - what a codec with memory leaves out of an update, kept for the next one (error feedback).
 *
 * It is kept in two files, <stem>-0 and <stem>-1, each of one round: the newest of an earlier round is what a round
 * begins with, and the other one is written. So a client that was killed and trains for its round once more begins with
 * the same memory as before, and sends the same bytes; and when the server goes on without the update, the round's file
 * is removed and what it held was never sent. A file that is missing, damaged or of another owner is a memory of zeros:
 * something is sent late or never, nothing is sent twice.
 */
#ifndef LMB_FEDERATED_RESIDUAL_H
#define LMB_FEDERATED_RESIDUAL_H

#include "core/base/hash.h"
#include "federated/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_RESIDUAL_PATH = 4096 };

typedef struct lmb_residual {
    const char *stem; /* of the two files */
    uint64_t round, n;
    lmb_hash owner;   /* federation, layout, codec: whatever makes another memory of no use */
} lmb_residual;

/* Encode delta[n] with what was left out before, which is added to it, and keep what the payload does not say. *payload
 * is malloc'd. */
LMB_MUST_CHECK lmb_status lmb_residual_encode(const lmb_residual *r, const lmb_codec_spec *spec, uint64_t seed,
                                              float *delta, uint8_t **payload, size_t *bytes, lmb_error *err);
/* The update of r->round was never taken: what it left out is not to be sent on top. */
void lmb_residual_unsent(const lmb_residual *r);
/* Whatever the files hold is forgotten. */
void lmb_residual_forget(const char *stem);

#ifdef __cplusplus
}
#endif
#endif
