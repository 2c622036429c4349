/* federated/upload.c - see upload.h. */
#include "federated/upload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "federated/clip.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "models travel as little-endian floats, unconverted");

void lmb_upload_init(lmb_upload *u)
{
    memset(u, 0, sizeof *u);
    u->fd = u->decoded = -1;
}

static lmb_status check_bytes(const lmb_upload_rules *r, const lmb_update_message *m, lmb_error *err)
{
    bool exact = true;
    uint64_t limit = r->opaque ? r->opaque_bytes : lmb_codec_limit(r->codec, r->n, &exact);
    const char *text = r->opaque ? r->opaque : r->codec->text, *name = r->opaque ? r->opaque : r->codec->codec->name;

    if (strcmp(m->codec, text) != 0)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "the update is encoded as '%.80s'; this server asked for %s", m->codec,
                        text);
    if (exact ? m->blob.bytes != limit : m->blob.bytes < 1 || m->blob.bytes > limit)
        return LMB_FAIL(err, LMB_E_SHAPE,
                        "the update announces %" PRIu64 " bytes, %" PRIu64 " values take %s%" PRIu64 " as %s",
                        m->blob.bytes, r->n, exact ? "" : "at most ", limit, name);
    return LMB_OK;
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
    LMB_TRY(check_bytes(r, m, err));
    if (m->examples < 1 || m->examples > r->max_examples)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the update claims %" PRIu64 " examples, allowed are 1 to %" PRIu64 " (max_examples)",
                        m->examples, r->max_examples);
    for (uint32_t i = 0; i < m->metrics.n; i++)
        if (!isfinite(m->metrics.row[i].value))
            return LMB_FAIL(err, LMB_E_NUMERIC, "the update's metric '%s' is not finite", m->metrics.row[i].name);
    return LMB_OK;
}

static bool path_of(char out[4096], const char *spool, uint64_t turn, int64_t client, const lmb_hash *content)
{
    char hash[17];
    for (int i = 0; i < 8; i++)
        snprintf(hash + 2 * i, 3, "%02x", content->b[i]);
    return snprintf(out, 4096, "%s/%" PRIu64 "-%" PRId64 "-%s.part", spool, turn, client, hash) < 4096;
}

static lmb_status read_file(const lmb_upload *u, int fd, void *out, size_t bytes, uint64_t at, lmb_error *err);

static void begin_anew(lmb_upload *u)
{
    u->have = 0;
    u->resumed = false;
    lmb_hash_begin(&u->hasher);
}

/* Go on after what an earlier process has left in the file. */
static lmb_status take_up(lmb_upload *u, lmb_error *err)
{
    uint8_t buf[16384];
    off_t bytes = lseek(u->fd, 0, SEEK_END);

    begin_anew(u);
    if (bytes < 0 || (uint64_t)bytes > u->head.blob.bytes)
        return ftruncate(u->fd, 0) == 0 ? LMB_OK
                                        : LMB_FAIL(err, LMB_E_IO, "%s: cannot empty it: %s", u->path, strerror(errno));
    while (u->have < (uint64_t)bytes) {
        size_t n = (uint64_t)bytes - u->have < sizeof buf ? (size_t)((uint64_t)bytes - u->have) : sizeof buf;
        LMB_TRY(read_file(u, u->fd, buf, n, u->have, err));
        lmb_hash_add(&u->hasher, buf, n);
        u->have += n;
    }
    u->resumed = bytes > 0;
    return LMB_OK;
}

bool lmb_upload_torn(lmb_upload *u)
{
    lmb_hasher h = u->hasher;
    lmb_hash got = lmb_hash_end(&h);

    if (!u->resumed || memcmp(&got, &u->head.blob.hash, sizeof got) == 0)
        return false;
    begin_anew(u);
    return true;
}

lmb_status lmb_upload_begin(lmb_upload *u, const char *spool, int64_t client, const lmb_upload_rules *rules,
                            const lmb_update_message *head, lmb_error *err)
{
    LMB_TRY(check_head(rules, head, err));
    if (u->fd >= 0 && u->head.round == head->round && u->head.blob.bytes == head->blob.bytes &&
        memcmp(&u->head.blob.hash, &head->blob.hash, sizeof head->blob.hash) == 0)
        return LMB_OK;
    lmb_upload_end(u);
    u->head = *head;
    u->rules = *rules;
    if (!path_of(u->path, spool, u->rules.round, client, &u->head.blob.hash))
        return LMB_FAIL(err, LMB_E_ARG, "state_dir: the path is too long");
    u->fd = open(u->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (u->fd < 0)
        return LMB_FAIL(err, LMB_E_IO, "%s: cannot create: %s", u->path, strerror(errno));
    lmb_status st = take_up(u, err);
    if (st == LMB_OK)
        lmb_crash_at(rules->crash, LMB_CRASH_SPOOL_BEGUN);
    else
        lmb_upload_end(u);
    return st;
}

lmb_status lmb_upload_chunk(lmb_upload *u, const lmb_record *r, lmb_error *err)
{
    size_t done = 0;
    if (u->fd < 0)
        return LMB_FAIL(err, LMB_E_FORMAT, "a chunk arrived, but no upload was agreed");
    if (r->offset != u->have || r->bytes > u->head.blob.bytes - u->have || r->bytes == 0)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "a chunk of %zu bytes at %" PRIu64 " does not follow the %" PRIu64 " "
                        "of %" PRIu64 " bytes received",
                        r->bytes, r->offset, u->have, u->head.blob.bytes);
    while (done < r->bytes) {
        ssize_t n = pwrite(u->fd, r->body + done, r->bytes - done, (off_t)(u->have + done));
        if (n < 0 && errno != EINTR)
            return LMB_FAIL(err, LMB_E_IO, "%s: cannot write %zu bytes: %s", u->path, r->bytes, strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    lmb_hash_add(&u->hasher, r->body, r->bytes);
    u->have += r->bytes;
    lmb_crash_at(u->rules.crash, u->have < u->head.blob.bytes ? LMB_CRASH_SPOOL_PART : LMB_CRASH_SPOOL_WHOLE);
    return LMB_OK;
}

/* ---- reading back ---- */

static lmb_status read_file(const lmb_upload *u, int fd, void *out, size_t bytes, uint64_t at, lmb_error *err)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = pread(fd, (char *)out + done, bytes - done, (off_t)(at + done));
        if (n == 0 || (n < 0 && errno != EINTR))
            return LMB_FAIL(err, LMB_E_IO, "%s: cannot read back: %s", u->path,
                            n ? strerror(errno) : "the file was cut");
        done += n > 0 ? (size_t)n : 0;
    }
    return LMB_OK;
}

typedef struct pass { /* over the payload */
    lmb_upload *u;
    uint64_t at; /* byte */
    double square;
    const lmb_aggregator *aggregator;
    void *state;
} pass;

static lmb_status next_bytes(void *ctx, void *out, size_t bytes, lmb_error *err)
{
    pass *p = ctx;
    LMB_TRY(read_file(p->u, p->u->fd, out, bytes, p->at, err));
    p->at += bytes;
    return LMB_OK;
}

static lmb_status decode(pass *p, lmb_status (*take)(void *, size_t, const float *, size_t, lmb_error *),
                         lmb_error *err)
{
    const lmb_upload *u = p->u;
    return lmb_codec_decode(u->rules.codec, u->rules.seed, (size_t)u->head.n, u->head.blob.bytes,
                            &(lmb_codec_source){ next_bytes, p }, take, p, err);
}

/* The payload of plain floats is what they are read from. */
static bool plain(const lmb_upload *u)
{
    return u->rules.codec->codec->lossless && !u->rules.codec->config.common.zstd;
}

static lmb_status write_values(lmb_upload *u, size_t at, const float *values, size_t count, lmb_error *err)
{
    size_t bytes = count * sizeof *values, done = 0;
    while (done < bytes) {
        ssize_t n = pwrite(u->decoded, (const char *)values + done, bytes - done, (off_t)(at * sizeof *values + done));
        if (n < 0 && errno != EINTR)
            return LMB_FAIL(err, LMB_E_IO, "%s: cannot write %zu bytes beside it: %s", u->path, bytes, strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    return LMB_OK;
}

/* The first pass: every value looked at. */
static lmb_status look(void *ctx, size_t at, const float *values, size_t count, lmb_error *err)
{
    pass *p = ctx;
    lmb_upload *u = p->u;

    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(values[i]) <= (float)u->rules.max_abs))
            return LMB_FAIL(err, LMB_E_NUMERIC,
                            "value %zu of the update is %g; values must be finite and at most %g in size (max_abs)",
                            at + i, (double)values[i], u->rules.max_abs);
        p->square += (double)values[i] * (double)values[i];
    }
    return u->decoded >= 0 ? write_values(u, at, values, count, err) : LMB_OK;
}

/* A file without a name: it is gone with its descriptor, whatever happens. */
static lmb_status open_decoded(lmb_upload *u, lmb_error *err)
{
    char path[4096 + 8];
    snprintf(path, sizeof path, "%s.f32", u->path);
    u->decoded = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (u->decoded < 0)
        return LMB_FAIL(err, LMB_E_IO, "%s: cannot create: %s", path, strerror(errno));
    unlink(path);
    return LMB_OK;
}

lmb_status lmb_upload_check_hash(const lmb_upload *u, lmb_error *err)
{
    lmb_hasher h = u->hasher;
    lmb_hash got = lmb_hash_end(&h);

    if (memcmp(&got, &u->head.blob.hash, sizeof got) != 0)
        return LMB_FAIL(err, LMB_E_FORMAT, "the update is not what was announced: its hash differs");
    return LMB_OK;
}

lmb_status lmb_upload_bytes(const lmb_upload *u, void *out, uint64_t at, size_t count, lmb_error *err)
{
    return read_file(u, u->fd, out, count, at, err);
}

lmb_status lmb_upload_check(lmb_upload *u, lmb_error *err)
{
    pass p = { .u = u };

    LMB_TRY(lmb_upload_check_hash(u, err));
    if (u->rules.keep && !plain(u) && u->decoded < 0)
        LMB_TRY(open_decoded(u, err));
    LMB_TRY(decode(&p, look, err));
    u->norm = sqrt(p.square);
    if (u->rules.norm_limit > 0 && u->norm > u->rules.norm_limit)
        return LMB_FAIL(err, LMB_E_NUMERIC, "the update has the norm %g, this federation allows %g (privacy.clip)",
                        u->norm, u->rules.norm_limit);
    u->scale = u->rules.norm_clip > 0 ? lmbi_clip_scale(u->norm, u->rules.norm_clip) : 1;
    if (u->rules.factor > 0)
        u->scale *= u->rules.factor;
    return LMB_OK;
}

static void scale(const lmb_upload *u, float *values, size_t count)
{
    for (size_t i = 0; i < count && u->scale < 1; i++)
        values[i] = (float)(u->scale * (double)values[i]);
}

lmb_status lmb_upload_read(const lmb_upload *u, float *out, size_t at, size_t count, lmb_error *err)
{
    LMB_TRY(read_file(u, u->decoded >= 0 ? u->decoded : u->fd, out, count * sizeof *out, at * sizeof *out, err));
    scale(u, out, count);
    return LMB_OK;
}

static lmb_status give(void *ctx, size_t at, const float *values, size_t count, lmb_error *err)
{
    pass *p = ctx;
    float scaled[LMB_CODEC_BLOCK];

    (void)err;
    if (p->u->scale < 1) {
        memcpy(scaled, values, count * sizeof *values);
        scale(p->u, scaled, count);
        values = scaled;
    }
    p->aggregator->absorb(p->state, at, values, count, p->u->head.examples, at == 0);
    return LMB_OK;
}

lmb_status lmb_upload_absorb(lmb_upload *u, const lmb_aggregator *a, void *state, lmb_error *err)
{
    pass p = { .u = u, .aggregator = a, .state = state };

    LMB_TRY(lmb_upload_check(u, err));
    return decode(&p, give, err);
}

void lmb_upload_leave(lmb_upload *u)
{
    if (u->decoded >= 0)
        close(u->decoded);
    if (u->fd >= 0)
        close(u->fd);
    u->fd = u->decoded = -1;
    u->have = 0;
}

void lmb_upload_end(lmb_upload *u)
{
    if (u->fd >= 0)
        unlink(u->path);
    lmb_upload_leave(u);
}

void lmb_upload_drop(const char *spool, uint64_t turn, int64_t client, const lmb_hash *content)
{
    char path[4096];

    if (path_of(path, spool, turn, client, content))
        unlink(path);
}

lmb_status lmb_upload_sync(const lmb_upload *u, lmb_error *err)
{
    char folder[4096];

    snprintf(folder, sizeof folder, "%s", u->path);
    *strrchr(folder, '/') = 0;
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fsync(u->fd) == 0 && dir >= 0 && fsync(dir) == 0;
    int problem = errno;
    if (dir >= 0)
        close(dir);
    return done ? LMB_OK : LMB_FAIL(err, LMB_E_IO, "%s: cannot sync: %s", u->path, strerror(problem));
}

void lmb_upload_sweep(const char *spool, bool (*keep)(void *ctx, uint64_t turn, int64_t client), void *ctx)
{
    DIR *d = opendir(spool);
    char path[4096 + 256];
    uint64_t turn;
    int64_t client;

    for (struct dirent *e; d && (e = readdir(d));) {
        if (*e->d_name == '.' ||
            (sscanf(e->d_name, "%" SCNu64 "-%" SCNd64 "-", &turn, &client) == 2 && keep(ctx, turn, client)))
            continue;
        snprintf(path, sizeof path, "%s/%s", spool, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
}
