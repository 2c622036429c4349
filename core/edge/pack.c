/* core/edge/pack.c - see packed.h: the encoder, and the packed file. Checks its own work by unpacking it. */
#include <stdio.h>
#include <stdlib.h>

#include "core/edge/packed.h"
#include "core/edge/packed_model.h"
#include "core/edge/write_internal.h"

/* ---- the code --------------------------------------------------------------------------------------------- */

/* What may still be carried into waits: a byte and how many FF follow it. */
typedef struct encoder {
    lmb_edge_buffer *out;
    uint64_t low;
    uint32_t range;
    uint8_t cache;
    uint64_t waiting;
    int failed;
} encoder;

static void put_byte(encoder *e, uint8_t b)
{
    uint8_t *at = lmbi_write_grow(e->out, 1);
    if (at)
        *at = b;
    else
        e->failed = 1;
}

static void shift_low(encoder *e)
{
    if (e->low < 0xFF000000u || e->low > UINT32_MAX) {
        uint8_t carry = (uint8_t)(e->low >> 32);
        for (uint8_t b = e->cache; e->waiting > 0; e->waiting--, b = 0xFF)
            put_byte(e, (uint8_t)(b + carry));
        e->cache = (uint8_t)(e->low >> 24);
    }
    e->waiting++;
    e->low = (e->low & 0x00FFFFFFu) << 8;
}

static void write_bit(encoder *e, lmbi_packed_bit *b, int bit)
{
    uint32_t bound = lmbi_packed_bound(e->range, b);
    if (bit) {
        e->low += bound;
        e->range -= bound;
    } else {
        e->range = bound;
    }
    lmbi_packed_learn(b, bit);
    while (e->range < LMBI_PACKED_TOP) {
        e->range <<= 8;
        shift_low(e);
    }
}

static void write_weight(encoder *e, lmbi_packed_model *m, int8_t q)
{
    int zero = q == 0;
    write_bit(e, lmbi_packed_zero(m), zero);
    lmbi_packed_next(m, zero);
    if (zero)
        return;
    write_bit(e, &m->sign, q < 0);
    int size = (q < 0 ? -q : q) - 1, node = 1;
    for (int i = 6; i >= 0; i--) {
        int bit = size >> i & 1;
        write_bit(e, &m->tree[node], bit);
        node = node << 1 | bit;
    }
}

/* ---- runs ------------------------------------------------------------------------------------------------- */

/* Where in WTS narrow weights lie. */
typedef struct span {
    size_t at;
    lmbi_packed_run run;
} span;

typedef struct runs {
    lmbi_packed_run run[LMBI_PACKED_MAX_RUNS];
    uint32_t n;
} runs;

static int by_place(const void *a, const void *b)
{
    const span *x = (const span *)a, *y = (const span *)b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static uint32_t narrow_spans(const lmb_edge_model *m, span *to)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_ops; i++) {
        lmb_edge_op op;
        lmb_edge_op_at(m, i, &op);
        if (op.bits < 2 || op.bits > 7)
            continue;
        to[n].at = (size_t)((const uint8_t *)op.weights - m->weights);
        to[n].run.weights = op.n_weights;
        to[n++].run.bits = op.bits;
    }
    qsort(to, n, sizeof *to, by_place);
    return n;
}

static int overlap(const span *s, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        if (s[i].at < s[i - 1].at + (size_t)lmbi_packed_run_bytes(s[i - 1].run))
            return 1;
    return 0;
}

static void add_bytes(runs *to, size_t n)
{
    const lmbi_packed_run bytes = { (uint32_t)n, 8 };
    if (n)
        to->run[to->n++] = bytes;
}

/* What WTS is made of. Where operators share bytes, as those of other writers may, all of it as bytes. */
static void find_runs(const lmb_edge_model *m, span *s, runs *to)
{
    uint32_t n = narrow_spans(m, s);
    size_t end = 0;
    if (overlap(s, n))
        n = 0;
    to->n = 0;
    for (uint32_t i = 0; i < n; i++) {
        add_bytes(to, s[i].at - end);
        to->run[to->n++] = s[i].run;
        end = s[i].at + (size_t)lmbi_packed_run_bytes(s[i].run);
    }
    add_bytes(to, m->weights_bytes - end);
}

/* ---- the section ------------------------------------------------------------------------------------------ */

/* Head, and the list of runs unless it is one of bytes; 0, or -1 without memory. */
static int write_head(const lmb_edge_model *m, const runs *r, lmb_edge_buffer *out)
{
    int listed = r->n != 1 || r->run[0].bits != 8;
    uint8_t *head = lmbi_write_grow(out, LMBI_PACKED_HEAD + (listed ? 4 + (size_t)r->n * LMBI_PACKED_RUN : 0));
    if (!head)
        return -1;
    lmbi_write_u32(head, listed ? LMBI_PACKED_RUNS : LMBI_PACKED_BYTES);
    lmbi_write_u32(head + 4, lmbi_edge_crc32c(0, m->weights, m->weights_bytes));
    lmbi_write_u64(head + 8, m->weights_bytes);
    if (listed)
        lmbi_write_u32(head + LMBI_PACKED_HEAD, r->n);
    for (uint32_t i = 0; i < r->n && listed; i++) {
        uint8_t *at = head + LMBI_PACKED_HEAD + 4 + (size_t)i * LMBI_PACKED_RUN;
        lmbi_write_u32(at, r->run[i].weights);
        lmbi_write_u32(at + 4, r->run[i].bits);
    }
    return 0;
}

/* The section WTSC; 0, or -1 without memory. */
static int encode(const lmb_edge_model *model, lmb_edge_buffer *out)
{
    span *spans = malloc(sizeof *spans * (model->n_ops + 1));
    runs *r = malloc(sizeof *r);
    encoder e = { out, 0, UINT32_MAX, 0, 1, !spans || !r };
    const uint8_t *from = model->weights;
    lmbi_packed_model m;
    if (!e.failed) {
        find_runs(model, spans, r);
        e.failed = write_head(model, r, out) != 0;
    }
    lmbi_packed_begin(&m);
    for (uint32_t k = 0; !e.failed && k < r->n; k++) {
        const lmb_edge_op op = { .bits = (uint8_t)r->run[k].bits, .weights = (const int8_t *)from };
        for (uint32_t i = 0; i < r->run[k].weights; i++)
            write_weight(&e, &m, lmb_edge_weight_at(&op, i));
        from += lmbi_packed_run_bytes(r->run[k]);
    }
    free(spans);
    free(r);
    for (int i = 0; i < LMBI_PACKED_FLUSH; i++)
        shift_low(&e);
    return e.failed ? -1 : 0;
}

/* ---- the file --------------------------------------------------------------------------------------------- */

/* Header and sections of a checked plain file with `coded` in place of WTS, and `signature_bytes` zeros at the end. */
static int lay_out(const uint8_t *file, uint32_t sections, const lmb_edge_buffer *coded, size_t signature_bytes,
                   lmb_edge_buffer *out)
{
    uint32_t count = sections + (signature_bytes > 0);
    size_t start = out->size, head = LMBI_EDGE_HEADER + (size_t)count * LMBI_EDGE_SECTION;
    if (!lmbi_write_grow(out, head))
        return -1;
    memcpy(out->data + start, file, LMBI_EDGE_HEADER);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *entry = file + LMBI_EDGE_HEADER + (size_t)i * LMBI_EDGE_SECTION, *data = NULL;
        uint32_t type = i < sections ? lmbi_edge_u32(entry) : LMBI_EDGE_TYPE('S', 'I', 'G', 'N');
        size_t bytes = i < sections ? (size_t)lmbi_edge_u64(entry + 16) : signature_bytes, end = out->size - start;
        if (i < sections)
            data = file + lmbi_edge_u64(entry + 8);
        if (type == LMBI_EDGE_TYPE('W', 'T', 'S', ' ')) {
            type = LMBI_PACKED_TYPE;
            data = coded->data;
            bytes = coded->size;
        }
        size_t at = (size_t)lmbi_edge_round_up(end);
        if (!lmbi_write_grow(out, at - end + bytes))
            return -1;
        uint8_t *to = out->data + start + LMBI_EDGE_HEADER + (size_t)i * LMBI_EDGE_SECTION;
        if (data)
            memcpy(out->data + start + at, data, bytes);
        lmbi_write_u32(to, type);
        lmbi_write_u32(to + 4, data ? lmbi_edge_crc32c(0, data, bytes) : 0);
        lmbi_write_u64(to + 8, at);
        lmbi_write_u64(to + 16, bytes);
    }
    uint8_t *h = out->data + start;
    lmbi_write_u16(h + 10, 1);
    lmbi_write_u64(h + 16, out->size - start);
    lmbi_write_u32(h + 24, count);
    lmbi_write_u32(h + 12, 0);
    lmbi_write_u32(h + 12, lmbi_edge_crc32c(0, h, head));
    return 0;
}

/* Does it give the weights back? */
static lmb_edge_status check(const lmb_edge_buffer *out, size_t start, const lmb_edge_model *was, char *why,
                             size_t why_cap)
{
    size_t bytes = 0;
    lmb_edge_model m;
    lmb_edge_status s = lmb_edge_unpacked_bytes(out->data + start, out->size - start, &bytes, why, why_cap);
    void *memory = s == LMB_EDGE_OK ? malloc(bytes + 1) : NULL;
    if (s == LMB_EDGE_OK && !memory)
        s = LMB_EDGE_E_NOMEM;
    if (s == LMB_EDGE_OK)
        s = lmb_edge_unpack(out->data + start, out->size - start, memory, bytes, why, why_cap);
    if (s == LMB_EDGE_OK)
        s = lmb_edge_open(memory, bytes, &m, why, why_cap);
    if (s == LMB_EDGE_OK &&
        (m.weights_bytes != was->weights_bytes || memcmp(m.weights, was->weights, m.weights_bytes) != 0))
        s = LMB_EDGE_E_FORMAT;
    free(memory);
    return s;
}

lmb_edge_status lmb_edge_pack(const void *file, size_t n, size_t signature_bytes, lmb_edge_buffer *out, char *why_text,
                              size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    lmb_edge_buffer coded = { NULL, 0, 0 };
    size_t start = out->size, bytes = 0, signed_bytes, was_signed;
    const uint8_t *signature;
    lmb_edge_model m;
    lmb_edge_status s = lmb_edge_unpacked_bytes(file, n, &bytes, why_text, why_cap);
    if (s == LMB_EDGE_OK && bytes)
        return lmbi_edge_fail(&why, LMB_EDGE_E_ARG, "the file is packed already");
    if (s == LMB_EDGE_OK)
        s = lmb_edge_open(file, n, &m, why_text, why_cap);
    if (s == LMB_EDGE_OK)
        s = lmb_edge_signature(file, n, &signed_bytes, &signature, &was_signed, why_text, why_cap);
    if (s != LMB_EDGE_OK)
        return s;
    if (!m.weights_bytes || m.weights_bytes > LMBI_PACKED_MAX)
        return lmbi_edge_fail(&why, LMB_EDGE_E_ARG, "%llu bytes of weights; 1..%d can be packed",
                              (unsigned long long)m.weights_bytes, LMBI_PACKED_MAX);
    uint32_t sections = lmbi_edge_u32((const uint8_t *)file + 24) - (signature != NULL);
    if (encode(&m, &coded) != 0 ||
        lay_out((const uint8_t *)file, sections, &coded, signature_bytes, out) != 0)
        s = lmbi_edge_fail(&why, LMB_EDGE_E_NOMEM, "out of memory to pack %llu bytes of weights",
                           (unsigned long long)m.weights_bytes);
    else
        s = check(out, start, &m, why_text, why_cap);
    if (s != LMB_EDGE_OK)
        out->size = start;
    free(coded.data);
    return s;
}
