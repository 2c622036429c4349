/* federated/codecs/zstd.c - lossless compression of a payload, and its careful undoing.
 *
 * Idea: what is decompressed is pulled, as many bytes as the codec above asks for, through a window of 128 KiB whatever
 * the frame says; so a few bytes that claim to be gigabytes cost nothing, and are refused when something is left over.
 *
 *   source   RFC 8878
 */
#include "federated/codecs/rows.h"

#ifdef LMB_HAVE_ZSTD
#include <stdlib.h>
#include <zstd.h>

enum { WINDOW_LOG = 17 };

bool lmbi_zstd_known(void) { return true; }
uint64_t lmbi_zstd_limit(uint64_t bytes) { return ZSTD_compressBound((size_t)bytes); }

lmb_status lmbi_zstd(const uint8_t *in, size_t n, int level, uint8_t **out, size_t *bytes, lmb_error *err)
{
    size_t cap = ZSTD_compressBound(n), got;
    ZSTD_CCtx *c = ZSTD_createCCtx();
    uint8_t *to = malloc(cap);

    if (!c || !to || ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, WINDOW_LOG)) ||
        ZSTD_isError(got = ZSTD_compress2(c, to, cap, in, n))) {
        ZSTD_freeCCtx(c);
        free(to);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to compress %zu bytes", n);
    }
    ZSTD_freeCCtx(c);
    *out = to;
    *bytes = got;
    return LMB_OK;
}

struct lmbi_unzstd {
    ZSTD_DCtx *ctx;
    const lmb_codec_source *from;
    uint64_t left; /* compressed bytes that are still to be read */
    bool over;     /* the frame has ended */
    ZSTD_inBuffer in;
    uint8_t buf[4096];
};

lmb_status lmbi_unzstd_open(const lmb_codec_source *from, uint64_t bytes, lmbi_unzstd **out, lmb_error *err)
{
    lmbi_unzstd *z = calloc(1, sizeof *z);
    if (z)
        z->ctx = ZSTD_createDCtx();
    if (!z || !z->ctx || ZSTD_isError(ZSTD_DCtx_setParameter(z->ctx, ZSTD_d_windowLogMax, WINDOW_LOG))) {
        lmbi_unzstd_close(z);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to decompress an update");
    }
    z->from = from;
    z->left = bytes;
    z->in.src = z->buf;
    *out = z;
    return LMB_OK;
}

/* Some more bytes into `o`, or the end of the frame. */
static lmb_status step(lmbi_unzstd *z, ZSTD_outBuffer *o, lmb_error *err)
{
    size_t had = o->pos, rc;

    if (z->in.pos == z->in.size && z->left) {
        z->in.size = z->left < sizeof z->buf ? (size_t)z->left : sizeof z->buf;
        z->in.pos = 0;
        LMB_TRY(z->from->read(z->from->ctx, z->buf, z->in.size, err));
        z->left -= z->in.size;
    }
    size_t at = z->in.pos;
    rc = ZSTD_decompressStream(z->ctx, o, &z->in);
    if (ZSTD_isError(rc))
        return LMB_FAIL(err, LMB_E_FORMAT, "the update can not be decompressed: %s", ZSTD_getErrorName(rc));
    z->over = rc == 0;
    if (!z->over && o->pos == had && z->in.pos == at && z->in.pos == z->in.size && !z->left)
        return LMB_FAIL(err, LMB_E_FORMAT, "the compressed update is cut short");
    return LMB_OK;
}

lmb_status lmbi_unzstd_read(void *ctx, void *out, size_t bytes, lmb_error *err)
{
    lmbi_unzstd *z = ctx;
    ZSTD_outBuffer o = { out, bytes, 0 };

    while (o.pos < bytes) {
        if (z->over)
            return LMB_FAIL(err, LMB_E_FORMAT, "the update decompresses to fewer bytes than its values take");
        LMB_TRY(step(z, &o, err));
    }
    return LMB_OK;
}

lmb_status lmbi_unzstd_end(lmbi_unzstd *z, lmb_error *err)
{
    uint8_t extra;
    ZSTD_outBuffer o = { &extra, 1, 0 };

    while (!z->over && !o.pos)
        LMB_TRY(step(z, &o, err));
    if (o.pos || z->left || z->in.pos < z->in.size)
        return LMB_FAIL(err, LMB_E_FORMAT, "the update %s",
                        o.pos ? "decompresses to more bytes than its values take" : "goes on after its end");
    return LMB_OK;
}

void lmbi_unzstd_close(lmbi_unzstd *z)
{
    if (!z)
        return;
    ZSTD_freeDCtx(z->ctx);
    free(z);
}

#else

static lmb_status absent(lmb_error *err)
{
    return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                    "this program was built without zstd; build it with libzstd-dev, or set codec.zstd to 0");
}
bool lmbi_zstd_known(void) { return false; }
uint64_t lmbi_zstd_limit(uint64_t bytes) { return bytes; }
lmb_status lmbi_zstd(const uint8_t *in, size_t n, int level, uint8_t **out, size_t *bytes, lmb_error *err)
{
    return (void)in, (void)n, (void)level, (void)out, (void)bytes, absent(err);
}
lmb_status lmbi_unzstd_open(const lmb_codec_source *from, uint64_t bytes, lmbi_unzstd **out, lmb_error *err)
{
    return (void)from, (void)bytes, (void)out, absent(err);
}
lmb_status lmbi_unzstd_read(void *z, void *out, size_t bytes, lmb_error *err)
{
    return (void)z, (void)out, (void)bytes, absent(err);
}
lmb_status lmbi_unzstd_end(lmbi_unzstd *z, lmb_error *err) { return (void)z, absent(err); }
void lmbi_unzstd_close(lmbi_unzstd *z) { (void)z; }

#endif
