/* federated/upload.h - one client's update on its way in: announced, spooled to disk, checked, absorbed.
 *
 * Idea: nothing a client says costs memory. What it announces is compared with what the round expects before a byte
 * is accepted; bytes go to a file in the spool folder and every number is looked at on the way; only a complete
 * update whose hash agrees is absorbed, in blocks. After a lost connection the upload goes on where it stopped.
 *
 *   errors   E_SHAPE, E_ARG, E_NUMERIC, E_FORMAT: the client's fault; E_IO: ours. The sentence is fit for both logs.
 *   threads  one upload belongs to one thread
 */
#ifndef LMB_FEDERATED_UPLOAD_H
#define LMB_FEDERATED_UPLOAD_H

#include "federated/aggregator.h"
#include "federated/messages.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a round expects of an update. */
typedef struct lmb_upload_rules {
    uint64_t round, n, max_examples;
    lmb_hash layout, model;
    double max_abs;
} lmb_upload_rules;

typedef struct lmb_upload {
    int fd; /* -1: none under way */
    char path[4096];
    lmb_update_message head;
    uint64_t have; /* bytes received and checked */
    double max_abs;
    lmb_hasher hasher;
} lmb_upload;

void lmb_upload_init(lmb_upload *u);
/* Begin, or go on when the same blob was under way; u->have is where the client must continue. */
LMB_MUST_CHECK lmb_status lmb_upload_begin(lmb_upload *u, const char *spool, int64_t client,
                                           const lmb_upload_rules *rules, const lmb_update_message *head,
                                           lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_upload_chunk(lmb_upload *u, const lmb_record *r, lmb_error *err);
static inline bool lmb_upload_complete(const lmb_upload *u) { return u->fd >= 0 && u->have == u->head.blob.bytes; }
/* Check the hash of a complete upload: E_FORMAT if it is not what was announced. */
LMB_MUST_CHECK lmb_status lmb_upload_check(const lmb_upload *u, lmb_error *err);
/* Values [at, at + count) of a complete upload. */
LMB_MUST_CHECK lmb_status lmb_upload_read(const lmb_upload *u, float *out, size_t at, size_t count, lmb_error *err);
/* Check the hash of a complete upload, then give it to the aggregator. Ends the upload if that worked. */
LMB_MUST_CHECK lmb_status lmb_upload_absorb(lmb_upload *u, const lmb_aggregator *a, void *state, lmb_error *err);
void lmb_upload_end(lmb_upload *u); /* removes the file; no-op when none is under way */

#ifdef __cplusplus
}
#endif
#endif
