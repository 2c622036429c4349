/* comm/wire.c - see wire.h. */
#include "comm/wire.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "comm/bytes.h"
#include "core/base/text.h"

void lmb_figures_add(lmb_figures *m, const char *name, double value)
{
    if (m->n >= LMB_METRICS_MAX)
        return;
    snprintf(m->row[m->n].name, LMB_METRIC_NAME, "%s", name);
    m->row[m->n++].value = value;
}

double lmb_figures_find(const lmb_figures *m, const char *name)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (strcmp(m->row[i].name, name) == 0)
            return m->row[i].value;
    return NAN;
}

typedef struct writer { uint8_t *p; size_t at, cap; } writer; /* `at` runs on past `cap`: checked once, at the end */

static void put(writer *w, const void *data, size_t n)
{
    if (w->at + n <= w->cap)
        memcpy(w->p + w->at, data, n);
    w->at += n;
}

static void put_real(writer *w, double v)
{
    uint64_t bits;
    uint8_t b[8];
    memcpy(&bits, &v, sizeof bits);
    lmb_put_u64(b, bits);
    put(w, b, sizeof b);
}

/* Text is shown to people and written to logs: a peer must not be able to start a line or a terminal sequence. */
static void put_text(writer *w, const char *text, size_t limit)
{
    size_t n = strnlen(text, limit - 1);
    uint8_t b[2];
    lmb_put_u16(b, (uint16_t)n);
    put(w, b, sizeof b);
    for (size_t i = 0, length; i < n; i += length) {
        length = lmb_text_length(text + i);
        bool whole = length && length <= n - i;
        length = whole ? length : 1;
        put(w, whole ? text + i : "?", length);
    }
}

static void put_metrics(writer *w, const lmb_figures *m)
{
    uint8_t b[2];
    lmb_put_u16(b, (uint16_t)m->n);
    put(w, b, sizeof b);
    for (uint32_t i = 0; i < m->n; i++) {
        put_text(w, m->row[i].name, LMB_METRIC_NAME);
        put_real(w, m->row[i].value);
    }
}

lmb_status lmb_wire_write(const char *message, const lmb_wire_field *rows, const void *in, uint8_t *out, size_t cap,
                          size_t *bytes, lmb_error *err)
{
    writer w = { out, 0, cap };
    for (const lmb_wire_field *f = rows; f->kind != LMB_WIRE_END; f++) {
        const char *at = (const char *)in + f->offset;
        uint8_t b[8];
        switch (f->kind) {
        case LMB_WIRE_U32:
            lmb_put_u32(b, *(const uint32_t *)(const void *)at);
            put(&w, b, 4);
            break;
        case LMB_WIRE_U64:
            lmb_put_u64(b, *(const uint64_t *)(const void *)at);
            put(&w, b, 8);
            break;
        case LMB_WIRE_REAL: put_real(&w, *(const double *)(const void *)at); break;
        case LMB_WIRE_BYTES: put(&w, at, f->limit); break;
        case LMB_WIRE_TEXT: put_text(&w, at, f->limit); break;
        case LMB_WIRE_METRICS: put_metrics(&w, (const lmb_figures *)(const void *)at); break;
        case LMB_WIRE_END: break;
        }
    }
    if (w.at > cap)
        return LMB_FAIL(err, LMB_E_ARG, "message %s takes %zu bytes, there is room for %zu", message, w.at, cap);
    *bytes = w.at;
    return LMB_OK;
}

typedef struct reader {
    const uint8_t *p;
    size_t at, n;
    const char *message, *field;
    lmb_error *err;
} reader;

static lmb_status need(const reader *r, size_t n)
{
    if (r->n - r->at < n)
        return LMB_FAIL(r->err, LMB_E_FORMAT, "message %s ends inside '%s', after %zu bytes", r->message, r->field,
                        r->n);
    return LMB_OK;
}

static lmb_status get_real(reader *r, double *out)
{
    uint64_t bits;
    LMB_TRY(need(r, 8));
    bits = lmb_get_u64(r->p + r->at);
    memcpy(out, &bits, sizeof bits);
    r->at += 8;
    return LMB_OK;
}

static lmb_status get_text(reader *r, char *out, size_t limit)
{
    size_t n;
    LMB_TRY(need(r, 2));
    n = lmb_get_u16(r->p + r->at);
    r->at += 2;
    if (n >= limit)
        return LMB_FAIL(r->err, LMB_E_FORMAT, "message %s: '%s' has %zu bytes, the limit is %zu", r->message, r->field,
                        n, limit - 1);
    LMB_TRY(need(r, n));
    memcpy(out, r->p + r->at, n);
    out[n] = 0;
    for (size_t i = 0, length; i < n; i += length) {
        length = lmb_text_length(out + i);
        if (!length)
            return LMB_FAIL(r->err, LMB_E_FORMAT,
                            "message %s: '%s' holds a control character, or none of UTF-8, at byte %zu", r->message,
                            r->field, i);
    }
    r->at += n;
    return LMB_OK;
}

static lmb_status get_metrics(reader *r, lmb_figures *m)
{
    LMB_TRY(need(r, 2));
    m->n = lmb_get_u16(r->p + r->at);
    r->at += 2;
    if (m->n > LMB_METRICS_MAX)
        return LMB_FAIL(r->err, LMB_E_FORMAT, "message %s: '%s' has %u entries, the limit is %d", r->message, r->field,
                        m->n, LMB_METRICS_MAX);
    for (uint32_t i = 0; i < m->n; i++) {
        LMB_TRY(get_text(r, m->row[i].name, LMB_METRIC_NAME));
        LMB_TRY(get_real(r, &m->row[i].value));
    }
    return LMB_OK;
}

static lmb_status get_fixed(reader *r, const lmb_wire_field *f, char *at)
{
    size_t n = f->kind == LMB_WIRE_U32 ? 4 : f->kind == LMB_WIRE_U64 ? 8 : f->limit;
    LMB_TRY(need(r, n));
    if (f->kind == LMB_WIRE_U32)
        *(uint32_t *)(void *)at = lmb_get_u32(r->p + r->at);
    else if (f->kind == LMB_WIRE_U64)
        *(uint64_t *)(void *)at = lmb_get_u64(r->p + r->at);
    else
        memcpy(at, r->p + r->at, n);
    r->at += n;
    return LMB_OK;
}

lmb_status lmb_wire_read(const char *message, const lmb_wire_field *rows, const uint8_t *in, size_t bytes, void *out,
                         lmb_error *err)
{
    reader r = { in, 0, bytes, message, NULL, err };
    for (const lmb_wire_field *f = rows; f->kind != LMB_WIRE_END; f++) {
        char *at = (char *)out + f->offset;
        r.field = f->name;
        switch (f->kind) {
        case LMB_WIRE_REAL: LMB_TRY(get_real(&r, (double *)(void *)at)); break;
        case LMB_WIRE_TEXT: LMB_TRY(get_text(&r, at, f->limit)); break;
        case LMB_WIRE_METRICS: LMB_TRY(get_metrics(&r, (lmb_figures *)(void *)at)); break;
        default: LMB_TRY(get_fixed(&r, f, at)); break;
        }
    }
    if (r.at != bytes)
        return LMB_FAIL(err, LMB_E_FORMAT, "message %s has %zu bytes after its end", message, bytes - r.at);
    return LMB_OK;
}
