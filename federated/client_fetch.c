/* federated/client_fetch.c - the blobs of a task: what is missing is asked for, one after another, from the byte on
 * that had arrived, and is believed once it has its hash.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "federated/client_parts.h"

enum { SETTINGS_MAX = 1 << 20 };

bool lmbi_same_blob(const lmb_blob_id *a, const lmb_blob_id *b)
{
    return a->bytes == b->bytes && memcmp(&a->hash, &b->hash, sizeof a->hash) == 0;
}

static const lmb_blob_id *wanted(const lmb_client *c, int i)
{
    return i == DOWNLOAD_MODEL      ? &c->task.model
           : i == DOWNLOAD_GRAPH    ? &c->task.graph
           : i == DOWNLOAD_SETTINGS ? &c->task.settings
                                    : &c->task.session;
}

lmb_status lmbi_fetch_check(const lmb_client *c, const lmb_task_message *t, lmb_error *err)
{
    uint64_t limit = (uint64_t)c->cfg.max_model_mib << 20;
    LMB_TRY(lmbi_model_check(t, limit, err));
    if (t->graph.bytes > limit || t->settings.bytes > SETTINGS_MAX || t->session.bytes > limit)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the server announces a graph of %" PRIu64 " bytes, settings of %" PRIu64
                        " and a session of %" PRIu64 "; the limit is %lld MiB (max_model_mib), and 1 MiB for settings",
                        t->graph.bytes, t->settings.bytes, t->session.bytes, (long long)c->cfg.max_model_mib);
    if (!(t->clip >= 0 && isfinite(t->clip)))
        return LMB_FAIL(err, LMB_E_ARG, "the server announces a clip of %g; it must be 0 or a norm", t->clip);
    return LMB_OK;
}

/* Ask for the next blob that is missing; *all when none is. */
lmb_status lmbi_fetch_next(lmb_client *c, bool *all, lmb_error *err)
{
    *all = false;
    for (int i = 0; i < DOWNLOADS; i++) {
        download *d = &c->in[i];
        lmb_want want = { .blob = *wanted(c, i) };
        lmb_hash empty;
        if (!lmbi_same_blob(&d->id, wanted(c, i)) || !d->data) {
            free(d->data);
            *d = (download){ .id = *wanted(c, i), .data = calloc(1, (size_t)wanted(c, i)->bytes + 1) };
            if (!d->data)
                return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %" PRIu64 " bytes from the server", d->id.bytes);
        }
        if (!d->complete && d->id.bytes == 0) {
            empty = lmb_hash_of("", 0);
            d->complete = memcmp(&empty, &d->id.hash, sizeof empty) == 0;
        }
        if (d->complete)
            continue;
        want.offset = d->have;
        c->fetching = i;
        return lmb_message_send(c->channel, LMB_MSG_WANT, &want, err);
    }
    c->fetching = -1;
    *all = true;
    return LMB_OK;
}

lmb_status lmbi_fetch_chunk(lmb_client *c, const lmb_record *r, lmb_error *err)
{
    download *d = c->fetching >= 0 ? &c->in[c->fetching] : NULL;
    lmb_hash got;
    if (!d)
        return LMB_OK; /* of a task that was replaced */
    if (r->message != 0 || r->offset != d->have || !r->bytes || r->bytes > d->id.bytes - d->have)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "the server sent %zu bytes at %" PRIu64 ", %" PRIu64 " of %" PRIu64 " had arrived",
                        r->bytes, r->offset, d->have, d->id.bytes);
    memcpy(d->data + d->have, r->body, r->bytes);
    d->have += r->bytes;
    if (d->have < d->id.bytes)
        return LMB_OK;
    c->fetching = -1;
    got = lmb_hash_of(d->data, (size_t)d->id.bytes);
    if (memcmp(&got, &d->id.hash, sizeof got) != 0) {
        d->have = 0;
        return LMB_FAIL(err, LMB_E_FORMAT, "what the server sent does not have the hash it announced");
    }
    d->complete = true;
    lmb_crash_at(&c->crash, LMB_CRASH_CLIENT_FETCHED);
    return LMB_OK;
}
