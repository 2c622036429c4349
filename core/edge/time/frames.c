/* core/edge/time/frames.c - see frames.h. */
#include "core/edge/time/frames.h"

#include <math.h>

#include "core/edge/internal.h"

static const uint8_t magic[4] = { LMB_FRAME_FIRST, 'L', 'T', 0x1a }, ends[2] = { '\r', '\n' };

static void put_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t sum_of(const uint8_t head[LMB_FRAME_HEAD], const void *body, size_t n)
{
    uint32_t crc = lmbi_edge_crc32c(0, head, 12);
    return n ? lmbi_edge_crc32c(crc, body, n) : crc;
}

/* ---- frames ---- */

void lmb_frame_seal(uint8_t head[LMB_FRAME_HEAD], lmb_frame_kind kind, const void *body, size_t n)
{
    memcpy(head, magic, sizeof magic);
    put_u32(head + 4, (uint32_t)kind);
    put_u32(head + 8, (uint32_t)n);
    put_u32(head + 12, sum_of(head, body, n));
}

const char *lmb_frame_open(const uint8_t head[LMB_FRAME_HEAD], lmb_frame_kind *kind, size_t *n)
{
    uint32_t k = lmbi_edge_u32(head + 4), bytes = lmbi_edge_u32(head + 8);

    if (memcmp(head, magic, sizeof magic) != 0)
        return "is no frame of limbeck-time";
    if (k < LMB_FRAME_HELLO || k > LMB_FRAME_SORRY)
        return "is a frame of a kind that there is not";
    if (bytes > (k == LMB_FRAME_MODEL ? (uint32_t)LMB_FRAME_MODEL_BODY : (uint32_t)LMB_FRAME_BODY))
        return "is a frame that is too long";
    *kind = (lmb_frame_kind)k;
    *n = bytes;
    return NULL;
}

bool lmb_frame_intact(const uint8_t head[LMB_FRAME_HEAD], const void *body, size_t n)
{
    return lmbi_edge_u32(head + 12) == sum_of(head, body, n);
}

/* ---- bodies ---- */

static size_t put_text(uint8_t *at, const char *text, size_t cap)
{
    size_t n = 0;
    while (n + 1 < cap && text[n])
        n++;
    memcpy(at, text, n);
    at[n] = 0;
    return n + 1;
}

size_t lmb_frame_put_hello(uint8_t body[LMB_FRAME_BODY], const lmb_frame_hello *h)
{
    size_t n = 6;

    put_u32(body, h->version);
    memcpy(body + 4, ends, sizeof ends);
    n += put_text(body + n, h->kernels, sizeof h->kernels);
    n += put_text(body + n, h->processor, sizeof h->processor);
    return n + put_text(body + n, h->no_energy, sizeof h->no_energy);
}

/* A text with its 0, which is in the body and fits. */
static bool get_text(const uint8_t **at, const uint8_t *end, char *out, size_t cap)
{
    const uint8_t *zero = *at < end ? memchr(*at, 0, (size_t)(end - *at)) : NULL;

    if (!zero || (size_t)(zero - *at) >= cap)
        return false;
    memcpy(out, *at, (size_t)(zero - *at) + 1);
    *at = zero + 1;
    return true;
}

bool lmb_frame_get_hello(const uint8_t *body, size_t n, bool asked, lmb_frame_hello *out)
{
    lmb_frame_hello h = { 0, "", "", "" };

    if (n < 6 || memcmp(body + 4, ends, sizeof ends) != 0)
        return false;
    const uint8_t *at = body + 6, *end = body + n;
    h.version = lmbi_edge_u32(body);
    if (h.version == LMB_FRAME_VERSION && !asked &&
        (!get_text(&at, end, h.kernels, sizeof h.kernels) || !get_text(&at, end, h.processor, sizeof h.processor) ||
         !get_text(&at, end, h.no_energy, sizeof h.no_energy) || !*h.kernels))
        return false;
    if (h.version == LMB_FRAME_VERSION && at != end)
        return false;
    *out = h;
    return true;
}

size_t lmb_frame_put_op(uint8_t body[LMB_FRAME_BODY], uint32_t op)
{
    put_u32(body, op);
    return 4;
}

bool lmb_frame_get_op(const uint8_t *body, size_t n, uint32_t *op)
{
    if (n != 4)
        return false;
    *op = lmbi_edge_u32(body);
    return true;
}

size_t lmb_frame_put_numbers(uint8_t body[LMB_FRAME_BODY], const double *v, int count)
{
    for (int i = 0; i < count; i++) {
        uint64_t u;
        memcpy(&u, &v[i], sizeof u);
        put_u32(body + 8 * i, (uint32_t)u);
        put_u32(body + 8 * i + 4, (uint32_t)(u >> 32));
    }
    return 8 * (size_t)count;
}

bool lmb_frame_get_numbers(const uint8_t *body, size_t n, double *v, int count)
{
    if (n != 8 * (size_t)count)
        return false;
    for (int i = 0; i < count; i++) {
        uint64_t u = lmbi_edge_u64(body + 8 * i);
        memcpy(&v[i], &u, sizeof u);
        if (!isfinite(v[i]) || v[i] < 0)
            return false;
    }
    return true;
}

size_t lmb_frame_put_timing(uint8_t body[LMB_FRAME_BODY], const lmb_timing *t)
{
    const double v[4] = { t->p50, t->p99, t->throughput, t->missed };
    return lmb_frame_put_numbers(body, v, 4);
}

bool lmb_frame_get_timing(const uint8_t *body, size_t n, lmb_timing *t)
{
    double v[4];

    if (!lmb_frame_get_numbers(body, n, v, 4) || !(v[0] > 0 && v[1] >= v[0] && v[2] > 0) || v[3] > 1 + 1e-9)
        return false;
    *t = (lmb_timing){ v[0], v[1], v[2], v[3], 0 };
    return true;
}
