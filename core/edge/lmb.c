/* core/edge/lmb.c - accept or refuse a `.lmb` file, once; see lmb.h for the format.
 *
 * Idea: each kind of step is one row with the rules its shapes and operands must meet. What passes here is safe to
 * run: every read and write stays inside the file and the arena, every integer sum inside int32, no float is NaN.
 * Sizes are computed in 64 bits from fields of at most 32, so that no product can wrap.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/edge/format.h"
#include "core/edge/kernels.h"

static const uint64_t max_tensor_bytes = (uint64_t)1 << 28;
static const uint32_t max_arena_bytes = (uint32_t)1 << 30;
static const int32_t max_bias = (int32_t)1 << 30;
static const float max_multiplier = 1e30f;

const uint32_t lmbi_edge_section_types[LMBI_EDGE_KNOWN] = {
    LMBI_EDGE_TYPE('T', 'E', 'N', 'S'), LMBI_EDGE_TYPE('O', 'P', 'S', ' '), LMBI_EDGE_TYPE('Q', 'N', 'T', ' '),
    LMBI_EDGE_TYPE('W', 'T', 'S', ' '), LMBI_EDGE_TYPE('S', 'T', 'R', 'S'), LMBI_EDGE_TYPE('M', 'E', 'T', 'A'),
};

/* Where the sentence goes. */
typedef struct {
    char *why;
    size_t cap;
} refusal;

static lmb_edge_status refuse(const refusal *r, const char *format, ...)
{
    if (r->why && r->cap) {
        va_list ap;
        va_start(ap, format);
        vsnprintf(r->why, r->cap, format, ap);
        va_end(ap);
    }
    return LMB_EDGE_E_FORMAT;
}

#define TRY(call)                        \
    do {                                 \
        lmb_edge_status status_ = (call); \
        if (status_ != LMB_EDGE_OK)      \
            return status_;              \
    } while (0)

uint32_t lmbi_edge_crc32c(const void *data, size_t bytes)
{
    static const uint32_t nibble[16] = { /* remainders of 0..15 times x^28, polynomial 0x82f63b78 */
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const unsigned char *p = data;
    uint32_t crc = 0xffffffffu;
    size_t i;
    for (i = 0; i < bytes; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

static int multiplier_ok(float m)
{
    return m >= 0.0f && m <= max_multiplier; /* false for NaN */
}

/* ---- the rules of each kind of step ---------------------------------------------------------------------- */

typedef struct {
    const lmb_edge_model *m;
    uint32_t index;
    const lmb_edge_op *op;
    const lmb_edge_tensor *in, *out; /* in: the first input */
    const refusal *r;
} step_check;

static int same_shape(const lmb_edge_tensor *a, const lmb_edge_tensor *b)
{
    return a->h == b->h && a->w == b->w && a->c == b->c;
}

static int same_scale(const lmb_edge_tensor *a, const lmb_edge_tensor *b)
{
    return a->scale == b->scale && a->zero == b->zero;
}

/* The output length a window gives, 0 when it does not fit. */
static uint64_t windows(uint64_t length, unsigned kernel, unsigned stride, unsigned dilation, unsigned pads)
{
    uint64_t span = (uint64_t)(kernel - 1) * dilation + 1;
    return length + pads < span ? 0 : (length + pads - span) / stride + 1;
}

static lmb_edge_status check_window(const step_check *c)
{
    const lmb_edge_op *o = c->op;
    uint64_t h, w;
    unsigned span_h, span_w;
    if (!o->kernel_h || !o->kernel_w || !o->stride_h || !o->stride_w || !o->dilation_h || !o->dilation_w)
        return refuse(c->r, "step %u: kernel, stride and dilation must be at least 1", c->index);
    span_h = (unsigned)(o->kernel_h - 1) * o->dilation_h + 1;
    span_w = (unsigned)(o->kernel_w - 1) * o->dilation_w + 1;
    if (o->pad_top >= span_h || o->pad_bottom >= span_h || o->pad_left >= span_w || o->pad_right >= span_w)
        return refuse(c->r, "step %u: padding must be smaller than the window of %ux%u", c->index, span_h, span_w);
    h = windows(c->in->h, o->kernel_h, o->stride_h, o->dilation_h, (unsigned)o->pad_top + o->pad_bottom);
    w = windows(c->in->w, o->kernel_w, o->stride_w, o->dilation_w, (unsigned)o->pad_left + o->pad_right);
    if (c->out->h != h || c->out->w != w)
        return refuse(c->r, "step %u: the window gives %llux%llu outputs, the file says %ux%u", c->index,
                      (unsigned long long)h, (unsigned long long)w, c->out->h, c->out->w);
    return LMB_EDGE_OK;
}

/* Weights and multipliers of conv and gemm: `products` terms for each of out->c channels. */
static lmb_edge_status check_weights(const step_check *c, uint64_t products)
{
    const lmb_edge_op *o = c->op;
    uint32_t i, n = c->out->c;
    if (products > LMB_EDGE_MAX_PRODUCTS)
        return refuse(c->r, "step %u: sums %llu products, at most %d cannot overflow", c->index,
                      (unsigned long long)products, LMB_EDGE_MAX_PRODUCTS);
    if (o->weights > c->m->weight_bytes || products * n > c->m->weight_bytes - o->weights)
        return refuse(c->r, "step %u: weights end outside their section of %llu bytes", c->index,
                      (unsigned long long)c->m->weight_bytes);
    if (o->channels > c->m->n_channels || n > c->m->n_channels - o->channels)
        return refuse(c->r, "step %u: multipliers end outside their section of %u rows", c->index, c->m->n_channels);
    for (i = 0; i < n; i++) {
        const lmb_edge_channel *row = &c->m->channels[o->channels + i];
        if (!multiplier_ok(row->m) || row->bias > max_bias || row->bias < -max_bias)
            return refuse(c->r, "step %u: channel %u has a bias or multiplier outside the limits", c->index, i);
    }
    return LMB_EDGE_OK;
}

static lmb_edge_status check_conv(const step_check *c)
{
    uint32_t g = c->op->groups;
    if (g == 0 || c->in->c % g || c->out->c % g)
        return refuse(c->r, "step %u: %u groups do not divide %u input and %u output channels", c->index, g, c->in->c,
                      c->out->c);
    TRY(check_window(c));
    return check_weights(c, (uint64_t)c->op->kernel_h * c->op->kernel_w * (c->in->c / g));
}

static lmb_edge_status check_gemm(const step_check *c)
{
    if (c->out->h != 1 || c->out->w != 1)
        return refuse(c->r, "step %u: a gemm result is 1x1, the file says %ux%u", c->index, c->out->h, c->out->w);
    return check_weights(c, lmb_edge_tensor_bytes(c->in));
}

static lmb_edge_status check_add(const step_check *c)
{
    const lmb_edge_op *o = c->op;
    if (!same_shape(c->in, c->out) || !same_shape(&c->m->tensors[o->input[1]], c->out))
        return refuse(c->r, "step %u: the shapes of an add differ", c->index);
    if (!multiplier_ok(o->a) || !multiplier_ok(o->b) || !multiplier_ok(o->base < 0 ? -o->base : o->base))
        return refuse(c->r, "step %u: a multiplier of the add is outside the limits", c->index);
    return LMB_EDGE_OK;
}

static lmb_edge_status check_global_avg(const step_check *c)
{
    if (c->out->h != 1 || c->out->w != 1 || c->out->c != c->in->c)
        return refuse(c->r, "step %u: a global average keeps %u channels and nothing else", c->index, c->in->c);
    if ((uint64_t)c->in->h * c->in->w > (uint64_t)1 << 22 || !multiplier_ok(c->op->a))
        return refuse(c->r, "step %u: the multiplier or area of the average is outside the limits", c->index);
    return LMB_EDGE_OK;
}

static lmb_edge_status check_max_pool(const step_check *c)
{
    if (c->out->c != c->in->c || !same_scale(c->in, c->out))
        return refuse(c->r, "step %u: a max pool keeps channels, scale and zero point", c->index);
    return check_window(c);
}

static lmb_edge_status check_concat(const step_check *c)
{
    uint64_t sum = 0;
    unsigned i;
    for (i = 0; i < c->op->inputs; i++) {
        const lmb_edge_tensor *t = &c->m->tensors[c->op->input[i]];
        if (t->h != c->out->h || t->w != c->out->w || !same_scale(t, c->out))
            return refuse(c->r, "step %u: part %u of the concat differs in size, scale or zero point", c->index, i);
        sum += t->c;
    }
    if (sum != c->out->c)
        return refuse(c->r, "step %u: the parts have %llu channels, the result %u", c->index, (unsigned long long)sum,
                      c->out->c);
    return LMB_EDGE_OK;
}

static lmb_edge_status check_lut(const step_check *c)
{
    if (!same_shape(c->in, c->out))
        return refuse(c->r, "step %u: a table keeps the shape", c->index);
    if (c->m->weight_bytes < 256 || c->op->weights > c->m->weight_bytes - 256)
        return refuse(c->r, "step %u: the table ends outside the weights", c->index);
    return LMB_EDGE_OK;
}

typedef struct {
    const char *name;
    unsigned min_inputs, max_inputs;
    int in_place; /* the result may take the place of an input */
    lmb_edge_status (*check)(const step_check *c);
} kind_row;

static const kind_row kinds[LMB_EDGE_KINDS] = {
    [LMB_EDGE_CONV] = { "conv", 1, 1, 0, check_conv },
    [LMB_EDGE_GEMM] = { "gemm", 1, 1, 0, check_gemm },
    [LMB_EDGE_ADD] = { "add", 2, 2, 1, check_add },
    [LMB_EDGE_GLOBAL_AVG] = { "global_avg", 1, 1, 0, check_global_avg },
    [LMB_EDGE_MAX_POOL] = { "max_pool", 1, 1, 0, check_max_pool },
    [LMB_EDGE_CONCAT] = { "concat", 1, LMB_EDGE_MAX_INPUTS, 0, check_concat },
    [LMB_EDGE_LUT] = { "lut", 1, 1, 1, check_lut },
};

const char *lmb_edge_kind_name(int kind)
{
    return kind > 0 && kind < LMB_EDGE_KINDS ? kinds[kind].name : "?";
}

/* ---- the file as a whole --------------------------------------------------------------------------------- */

static lmb_edge_status check_overlap(const step_check *c, const lmb_edge_tensor *in)
{
    uint64_t in_end = in->offset + (uint64_t)lmb_edge_tensor_bytes(in);
    uint64_t out_end = c->out->offset + (uint64_t)lmb_edge_tensor_bytes(c->out);
    if (in->offset >= out_end || c->out->offset >= in_end)
        return LMB_EDGE_OK;
    if (kinds[c->op->kind].in_place && in->offset == c->out->offset)
        return LMB_EDGE_OK;
    return refuse(c->r, "step %u (%s): the result overlaps an input in the arena", c->index, kinds[c->op->kind].name);
}

static lmb_edge_status check_step(const lmb_edge_model *m, uint32_t index, const refusal *r)
{
    const lmb_edge_op *o = &m->ops[index];
    step_check c = { m, index, o, NULL, &m->tensors[index + 1], r };
    unsigned i;
    if (o->kind == 0 || o->kind >= LMB_EDGE_KINDS)
        return refuse(r, "step %u: kind %u is not one of 1..%d; a newer reader is needed", index, o->kind,
                      LMB_EDGE_KINDS - 1);
    if (o->inputs < kinds[o->kind].min_inputs || o->inputs > kinds[o->kind].max_inputs)
        return refuse(r, "step %u (%s): %u inputs, wants %u..%u", index, kinds[o->kind].name, o->inputs,
                      kinds[o->kind].min_inputs, kinds[o->kind].max_inputs);
    if (o->lo > o->hi)
        return refuse(r, "step %u: clamps to %u..%u, which is empty", index, o->lo, o->hi);
    if (o->name >= m->string_bytes)
        return refuse(r, "step %u: its name is outside the strings", index);
    for (i = 0; i < o->inputs; i++) {
        if (o->input[i] > index)
            return refuse(r, "step %u: reads tensor %u, which is not computed yet", index, o->input[i]);
        TRY(check_overlap(&c, &m->tensors[o->input[i]]));
    }
    c.in = &m->tensors[o->input[0]];
    return kinds[o->kind].check(&c);
}

static lmb_edge_status check_tensor(const lmb_edge_model *m, uint32_t index, const refusal *r)
{
    const lmb_edge_tensor *t = &m->tensors[index];
    if (!t->h || !t->w || !t->c || t->h > max_tensor_bytes || t->w > max_tensor_bytes || t->c > max_tensor_bytes ||
        (uint64_t)t->h * t->w > max_tensor_bytes || (uint64_t)t->h * t->w * t->c > max_tensor_bytes)
        return refuse(r, "tensor %u: %ux%ux%u is not between 1 and 2^28 bytes", index, t->h, t->w, t->c);
    if (t->offset > m->arena_bytes || lmb_edge_tensor_bytes(t) > m->arena_bytes - t->offset)
        return refuse(r, "tensor %u: ends outside the arena of %u bytes", index, m->arena_bytes);
    if (!(t->scale > 0.0f && t->scale <= max_multiplier))
        return refuse(r, "tensor %u: its scale is not a positive finite number", index);
    if (t->name >= m->string_bytes)
        return refuse(r, "tensor %u: its name is outside the strings", index);
    return LMB_EDGE_OK;
}

/* Names and metadata reach terminals and logs: no control characters but the allowed one. */
static lmb_edge_status check_text(const char *text, size_t n, char allowed, const char *what, const refusal *r)
{
    size_t i;
    for (i = 0; i < n; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != allowed) || text[i] == 0x7f)
            return refuse(r, "%s: byte %llu is a control character", what, (unsigned long long)i);
    return LMB_EDGE_OK;
}

static lmb_edge_status check_header(const unsigned char *file, size_t bytes, lmbi_edge_header *h, const refusal *r)
{
    uint32_t crc;
    if (bytes < sizeof *h)
        return refuse(r, "%llu bytes are too few for a .lmb header", (unsigned long long)bytes);
    if ((uintptr_t)file % 8)
        return refuse(r, "the file must lie at an address that is a multiple of 8");
    memcpy(h, file, sizeof *h);
    if (memcmp(h->magic, LMBI_EDGE_MAGIC, sizeof h->magic) != 0)
        return refuse(r, "not a .lmb file: the magic bytes differ");
    if (h->major != LMBI_EDGE_MAJOR)
        return refuse(r, "format version %u, this reader knows %d", h->major, LMBI_EDGE_MAJOR);
    if (h->file_bytes != bytes)
        return refuse(r, "the file should have %llu bytes and has %llu", (unsigned long long)h->file_bytes,
                      (unsigned long long)bytes);
    if (h->sections == 0 || h->sections > LMBI_EDGE_MAX_SECTIONS ||
        h->header_bytes != sizeof *h + h->sections * sizeof(lmbi_edge_section) || h->header_bytes > bytes)
        return refuse(r, "%u sections in a header of %u bytes", h->sections, h->header_bytes);
    if (h->flags & ~(uint32_t)LMBI_EDGE_FLAG_CHW)
        return refuse(r, "flags %#x are not known", h->flags);
    if (h->arena_bytes > max_arena_bytes)
        return refuse(r, "an arena of %u bytes is more than 2^30", h->arena_bytes);
    crc = h->crc;
    {
        unsigned char copy[sizeof *h + LMBI_EDGE_MAX_SECTIONS * sizeof(lmbi_edge_section)];
        memcpy(copy, file, h->header_bytes);
        memset(copy + offsetof(lmbi_edge_header, crc), 0, sizeof crc);
        if (lmbi_edge_crc32c(copy, h->header_bytes) != crc)
            return refuse(r, "the checksum of the header is wrong: the file is damaged");
    }
    return LMB_EDGE_OK;
}

/* Find the known sections; absent ones stay empty. */
static lmb_edge_status check_sections(const unsigned char *file, const lmbi_edge_header *h,
                                      lmbi_edge_section found[LMBI_EDGE_KNOWN], const refusal *r)
{
    uint32_t i;
    int k;
    memset(found, 0, LMBI_EDGE_KNOWN * sizeof *found);
    for (i = 0; i < h->sections; i++) {
        lmbi_edge_section s;
        memcpy(&s, file + sizeof *h + i * sizeof s, sizeof s);
        if (s.offset % LMBI_EDGE_ALIGN || s.offset < h->header_bytes || s.offset > h->file_bytes ||
            s.length > h->file_bytes - s.offset)
            return refuse(r, "section %u is misplaced or ends outside the file", i);
        for (k = 0; k < LMBI_EDGE_KNOWN && lmbi_edge_section_types[k] != s.type; k++)
            ;
        if (k == LMBI_EDGE_KNOWN) {
            if (s.type & LMBI_EDGE_MAY_SKIP)
                continue;
            return refuse(r, "section %u has type %#x; a newer reader is needed", i, s.type);
        }
        if (found[k].offset)
            return refuse(r, "section %u repeats an earlier one", i);
        if (lmbi_edge_crc32c(file + s.offset, (size_t)s.length) != s.crc)
            return refuse(r, "the checksum of section %u is wrong: the file is damaged", i);
        found[k] = s;
    }
    return LMB_EDGE_OK;
}

static lmb_edge_status check_counts(const lmbi_edge_section *found, const lmbi_edge_header *h, const refusal *r)
{
    uint64_t tensors = found[LMBI_EDGE_TENS].length / sizeof(lmb_edge_tensor);
    uint64_t ops = found[LMBI_EDGE_OPS].length / sizeof(lmb_edge_op);
    if (found[LMBI_EDGE_TENS].length % sizeof(lmb_edge_tensor) || found[LMBI_EDGE_OPS].length % sizeof(lmb_edge_op) ||
        found[LMBI_EDGE_QNT].length % sizeof(lmb_edge_channel))
        return refuse(r, "a section does not hold whole records");
    if (ops == 0 || ops > 65535 || tensors != ops + 1)
        return refuse(r, "%llu steps and %llu tensors: there must be 1..65535 steps and one tensor more",
                      (unsigned long long)ops, (unsigned long long)tensors);
    if (h->output >= tensors)
        return refuse(r, "the output is tensor %u of %llu", h->output, (unsigned long long)tensors);
    if (found[LMBI_EDGE_QNT].length / sizeof(lmb_edge_channel) > UINT32_MAX)
        return refuse(r, "more than 2^32 channels");
    return LMB_EDGE_OK;
}

lmb_edge_status lmb_edge_open(const void *file, size_t bytes, lmb_edge_model *m, char *why, size_t why_cap)
{
    const unsigned char *base = file;
    const refusal r = { why, why_cap };
    lmbi_edge_header h;
    lmbi_edge_section s[LMBI_EDGE_KNOWN];
    lmb_edge_model v;
    uint32_t i;

    TRY(check_header(base, bytes, &h, &r));
    TRY(check_sections(base, &h, s, &r));
    TRY(check_counts(s, &h, &r));
    memset(&v, 0, sizeof v);
    v.tensors = (const lmb_edge_tensor *)(const void *)(base + s[LMBI_EDGE_TENS].offset);
    v.ops = (const lmb_edge_op *)(const void *)(base + s[LMBI_EDGE_OPS].offset);
    v.channels = (const lmb_edge_channel *)(const void *)(base + s[LMBI_EDGE_QNT].offset);
    v.weights = (const int8_t *)(const void *)(base + s[LMBI_EDGE_WTS].offset);
    v.strings = (const char *)base + s[LMBI_EDGE_STRS].offset;
    v.meta = (const char *)base + s[LMBI_EDGE_META].offset;
    v.n_tensors = (uint32_t)(s[LMBI_EDGE_TENS].length / sizeof(lmb_edge_tensor));
    v.n_ops = (uint32_t)(s[LMBI_EDGE_OPS].length / sizeof(lmb_edge_op));
    v.n_channels = (uint32_t)(s[LMBI_EDGE_QNT].length / sizeof(lmb_edge_channel));
    v.weight_bytes = (size_t)s[LMBI_EDGE_WTS].length;
    v.string_bytes = (size_t)s[LMBI_EDGE_STRS].length;
    v.meta_bytes = (size_t)s[LMBI_EDGE_META].length;
    v.arena_bytes = h.arena_bytes;
    v.output = h.output;
    v.input_is_chw = (h.flags & LMBI_EDGE_FLAG_CHW) != 0;

    if (v.string_bytes == 0 || v.strings[0] != '\0' || v.strings[v.string_bytes - 1] != '\0')
        return refuse(&r, "the names must begin with an empty one and end with a NUL");
    TRY(check_text(v.strings, v.string_bytes, '\0', "names", &r));
    TRY(check_text(v.meta, v.meta_bytes, '\n', "metadata", &r));
    for (i = 0; i < v.n_tensors; i++)
        TRY(check_tensor(&v, i, &r));
    for (i = 0; i < v.n_ops; i++)
        TRY(check_step(&v, i, &r));
    v.kernels = lmbi_edge_best();
    *m = v;
    return LMB_EDGE_OK;
}

/* ---- what is in it --------------------------------------------------------------------------------------- */

const char *lmb_edge_name(const lmb_edge_model *m, uint32_t name)
{
    return name < m->string_bytes ? m->strings + name : "";
}

/* Products per output channel and position; 0 for a step without weights. */
static uint64_t products(const lmb_edge_model *m, uint32_t op)
{
    const lmb_edge_op *o = &m->ops[op];
    const lmb_edge_tensor *in = &m->tensors[o->input[0]];
    if (o->kind == LMB_EDGE_CONV)
        return (uint64_t)o->kernel_h * o->kernel_w * (in->c / o->groups);
    return o->kind == LMB_EDGE_GEMM ? lmb_edge_tensor_bytes(in) : 0;
}

uint64_t lmb_edge_op_macs(const lmb_edge_model *m, uint32_t op)
{
    return op < m->n_ops ? products(m, op) * lmb_edge_tensor_bytes(&m->tensors[op + 1]) : 0;
}

uint64_t lmb_edge_macs(const lmb_edge_model *m)
{
    uint64_t sum = 0;
    uint32_t i;
    for (i = 0; i < m->n_ops; i++)
        sum += lmb_edge_op_macs(m, i);
    return sum;
}

uint64_t lmb_edge_parameters(const lmb_edge_model *m)
{
    uint64_t sum = 0, each;
    uint32_t i;
    for (i = 0; i < m->n_ops; i++)
        if ((each = products(m, i)) > 0)
            sum += (each + 1) * m->tensors[i + 1].c;
    return sum;
}

const char *lmb_edge_meta(const lmb_edge_model *m, const char *key, size_t *len)
{
    size_t n = strlen(key), at = 0;
    while (at < m->meta_bytes) {
        const char *line = m->meta + at, *newline = memchr(line, '\n', m->meta_bytes - at);
        size_t line_bytes = newline ? (size_t)(newline - line) : m->meta_bytes - at;
        if (line_bytes >= n + 2 && memcmp(line, key, n) == 0 && line[n] == ':' && line[n + 1] == ' ') {
            *len = line_bytes - n - 2;
            return line + n + 2;
        }
        at += line_bytes + 1;
    }
    return NULL;
}
