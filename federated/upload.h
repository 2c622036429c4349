/* federated/upload.h - one client's update on its way in: announced, spooled to disk, checked, absorbed.
 *
 * Idea: nothing a client says costs memory. What it announces is compared with what the round expects before a byte
 * is accepted; bytes go to a file in the spool folder. A complete update whose hash agrees is decoded from there twice,
 * in blocks: once to look at every number, then to absorb them; so one bad value leaves no trace in the sum. After a
 * lost connection the upload goes on where it stopped, and after the server was killed as well: the file's name has the
 * turn, the client and the beginning of the hash.
 *
 *   errors   E_SHAPE, E_ARG, E_NUMERIC, E_FORMAT: the client's fault; E_IO: ours. The sentence is fit for both logs.
 *   threads  one upload belongs to one thread
 */
#ifndef LMB_FEDERATED_UPLOAD_H
#define LMB_FEDERATED_UPLOAD_H

#include "federated/aggregator.h"
#include "federated/crash.h"
#include "federated/messages.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a round expects of an update. */
typedef struct lmb_upload_rules {
    uint64_t round, n, max_examples;
    lmb_hash layout, model;
    double max_abs;
    const lmb_codec_spec *codec; /* borrowed until the upload ends */
    uint64_t seed;               /* of this client's encoding */
    double norm_limit;           /* greatest L2 norm, above it an update is refused; 0: any */
    double norm_clip;            /* an update of a greater norm is scaled down to this one; 0: never */
    bool keep;                   /* lmb_upload_read will be called */
    const char
        *opaque; /* its numbers are hidden: the codec's text; lmb_upload_bytes is called, not absorb; NULL: codec */
    uint64_t opaque_bytes;       /* exactly so many */
    double factor;               /* 0 < factor <= 1: its values are scaled by it as well */
    lmb_crash *crash;            /* points to pass, NULL: none */
} lmb_upload_rules;

typedef struct lmb_upload {
    int fd; /* -1: none under way */
    int decoded;   /* its values, when they are kept and are not the payload itself; -1: none */
    char path[4096];
    lmb_update_message head;
    lmb_upload_rules rules;
    uint64_t have; /* bytes received */
    bool resumed;  /* some of them by an earlier process */
    double norm, scale; /* once checked: L2 norm as it came; what makes it norm_clip */
    lmb_hasher hasher;
} lmb_upload;

void lmb_upload_init(lmb_upload *u);
/* Begin, or go on when the same blob was under way; u->have is where the client must continue. */
LMB_MUST_CHECK lmb_status lmb_upload_begin(lmb_upload *u, const char *spool, int64_t client,
                                           const lmb_upload_rules *rules, const lmb_update_message *head,
                                           lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_upload_chunk(lmb_upload *u, const lmb_record *r, lmb_error *err);
static inline bool lmb_upload_complete(const lmb_upload *u) { return u->fd >= 0 && u->have == u->head.blob.bytes; }
/* A complete upload whose first part an earlier process left behind, and which is not what was announced: the disk had
 * lost some of it. It begins anew; false: it is as it should be. */
bool lmb_upload_torn(lmb_upload *u);
/* Check the hash of a complete upload, and each of its values. */
LMB_MUST_CHECK lmb_status lmb_upload_check(lmb_upload *u, lmb_error *err);
/* Values [at, at + count) of an upload that was checked, scaled. */
LMB_MUST_CHECK lmb_status lmb_upload_read(const lmb_upload *u, float *out, size_t at, size_t count, lmb_error *err);
/* Check a complete upload, then give it to the aggregator. After E_IO and E_NOMEM a part may
 * have been absorbed. */
LMB_MUST_CHECK lmb_status lmb_upload_absorb(lmb_upload *u, const lmb_aggregator *a, void *state, lmb_error *err);
/* Of an opaque upload that is complete: check its hash; bytes [at, at + count). */
LMB_MUST_CHECK lmb_status lmb_upload_check_hash(const lmb_upload *u, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_upload_bytes(const lmb_upload *u, void *out, uint64_t at, size_t count, lmb_error *err);
void lmb_upload_end(lmb_upload *u); /* removes the file; no-op when none is under way */
/* The file stays: for an update that waits in the journal, once it is synced. */
LMB_MUST_CHECK lmb_status lmb_upload_sync(const lmb_upload *u, lmb_error *err);
void lmb_upload_leave(lmb_upload *u);
/* Remove the file of an update that was left, and is in the journal no more. */
void lmb_upload_drop(const char *spool, uint64_t turn, int64_t client, const lmb_hash *content);
/* Remove the spool's files of which `keep` says no. */
void lmb_upload_sweep(const char *spool, bool (*keep)(void *ctx, uint64_t turn, int64_t client), void *ctx);

#ifdef __cplusplus
}
#endif
#endif
