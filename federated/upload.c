/* federated/upload.c - see upload.h. */
#include "federated/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "models and updates travel as little-endian floats, "
                                                          "unconverted");

enum { BLOCK = 16384 }; /* floats absorbed at a time */

void lmb_upload_init(lmb_upload *u)
{
    memset(u, 0, sizeof *u);
    u->fd = -1;
}

static lmb_status check_head(const lmb_upload_rules *r, const lmb_update_message *m, lmb_error *err)
{
    if (m->round != r->round || memcmp(&m->model, &r->model, sizeof m->model) != 0)
        return LMB_FAIL(err, LMB_E_ARG, "the update is for round %" PRIu64 ", round %" PRIu64 " is under way", m->round,
                        r->round);
    if (memcmp(&m->layout, &r->layout, sizeof m->layout) != 0)
        return LMB_FAIL(err, LMB_E_SHAPE, "the update is for a model of another layout; update the client");
    if (m->n != r->n)
        return LMB_FAIL(err, LMB_E_SHAPE, "the update has %" PRIu64 " values, the model has %" PRIu64, m->n, r->n);
    if (m->encoding != LMB_ENCODING_F32)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "the update is encoded as %u; this server reads 0 (f32)", m->encoding);
    if (m->blob.bytes != r->n * sizeof(float))
        return LMB_FAIL(err, LMB_E_SHAPE, "the update announces %" PRIu64 " bytes, %" PRIu64 " values take %" PRIu64,
                        m->blob.bytes, r->n, r->n * (uint64_t)sizeof(float));
    if (m->examples < 1 || m->examples > r->max_examples)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the update claims %" PRIu64 " examples, allowed are 1 to %" PRIu64 " (max_examples)",
                        m->examples, r->max_examples);
    for (uint32_t i = 0; i < m->metrics.n; i++)
        if (!isfinite(m->metrics.row[i].value))
            return LMB_FAIL(err, LMB_E_NUMERIC, "the update's metric '%s' is not finite", m->metrics.row[i].name);
    return LMB_OK;
}

lmb_status lmb_upload_begin(lmb_upload *u, const char *spool, int64_t client, const lmb_upload_rules *rules,
                            const lmb_update_message *head, lmb_error *err)
{
    LMB_TRY(check_head(rules, head, err));
    if (u->fd >= 0 && u->head.round == head->round && u->head.blob.bytes == head->blob.bytes &&
        memcmp(&u->head.blob.hash, &head->blob.hash, sizeof head->blob.hash) == 0)
        return LMB_OK;
    lmb_upload_end(u);
    if (snprintf(u->path, sizeof u->path, "%s/%" PRId64 ".part", spool, client) >= (int)sizeof u->path)
        return LMB_FAIL(err, LMB_E_ARG, "state_dir: the path is too long");
    u->fd = open(u->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (u->fd < 0)
        return LMB_FAIL(err, LMB_E_IO, "%s: cannot create: %s", u->path, strerror(errno));
    u->head = *head;
    u->have = 0;
    u->max_abs = rules->max_abs;
    lmb_hash_begin(&u->hasher);
    return LMB_OK;
}

static lmb_status check_values(const lmb_upload *u, const lmb_record *r, lmb_error *err)
{
    for (size_t i = 0; i < r->bytes; i += sizeof(float)) {
        float v;
        memcpy(&v, r->body + i, sizeof v);
        if (!(fabsf(v) <= (float)u->max_abs))
            return LMB_FAIL(err, LMB_E_NUMERIC,
                            "value %" PRIu64 " of the update is %g; values must be finite and at most %g "
                            "in size (max_abs)",
                            (r->offset + i) / sizeof(float), (double)v, u->max_abs);
    }
    return LMB_OK;
}

lmb_status lmb_upload_chunk(lmb_upload *u, const lmb_record *r, lmb_error *err)
{
    size_t done = 0;
    if (u->fd < 0)
        return LMB_FAIL(err, LMB_E_FORMAT, "a chunk arrived, but no upload was agreed");
    if (r->offset != u->have || r->bytes > u->head.blob.bytes - u->have || r->bytes == 0 || r->bytes % sizeof(float))
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "a chunk of %zu bytes at %" PRIu64 " does not follow the %" PRIu64 " "
                        "of %" PRIu64 " bytes received",
                        r->bytes, r->offset, u->have, u->head.blob.bytes);
    LMB_TRY(check_values(u, r, err));
    while (done < r->bytes) {
        ssize_t n = pwrite(u->fd, r->body + done, r->bytes - done, (off_t)(u->have + done));
        if (n < 0 && errno != EINTR)
            return LMB_FAIL(err, LMB_E_IO, "%s: cannot write %zu bytes: %s", u->path, r->bytes, strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    lmb_hash_add(&u->hasher, r->body, r->bytes);
    u->have += r->bytes;
    return LMB_OK;
}

lmb_status lmb_upload_read(const lmb_upload *u, float *out, size_t at, size_t count, lmb_error *err)
{
    size_t want = count * sizeof *out, done = 0;
    while (done < want) {
        ssize_t n = pread(u->fd, (char *)out + done, want - done, (off_t)(at * sizeof *out + done));
        if (n == 0 || (n < 0 && errno != EINTR))
            return LMB_FAIL(err, LMB_E_IO, "%s: cannot read back: %s", u->path,
                            n ? strerror(errno) : "the file was cut");
        done += n > 0 ? (size_t)n : 0;
    }
    return LMB_OK;
}

lmb_status lmb_upload_check(const lmb_upload *u, lmb_error *err)
{
    lmb_hasher h = u->hasher;
    lmb_hash got = lmb_hash_end(&h);

    if (memcmp(&got, &u->head.blob.hash, sizeof got) != 0)
        return LMB_FAIL(err, LMB_E_FORMAT, "the update is not what was announced: its hash differs");
    return LMB_OK;
}

lmb_status lmb_upload_absorb(lmb_upload *u, const lmb_aggregator *a, void *state, lmb_error *err)
{
    float block[BLOCK];

    LMB_TRY(lmb_upload_check(u, err));
    for (size_t at = 0; at < u->head.n; at += BLOCK) {
        size_t count = u->head.n - at < BLOCK ? (size_t)u->head.n - at : BLOCK;
        LMB_TRY(lmb_upload_read(u, block, at, count, err));
        a->absorb(state, at, block, count, u->head.examples, at == 0);
    }
    lmb_upload_end(u);
    return LMB_OK;
}

void lmb_upload_end(lmb_upload *u)
{
    if (u->fd < 0)
        return;
    close(u->fd);
    unlink(u->path);
    u->fd = -1;
    u->have = 0;
}
