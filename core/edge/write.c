/* core/edge/write.c - see write.h. Sections grow as byte buffers while steps are appended and are joined at the end.
 *
 * What a step means is checked in one place only, by lmb_edge_open on the finished bytes; here just what would make
 * the builder itself read or compute outside its arguments.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/edge/format.h"
#include "core/edge/integer.h"
#include "core/edge/kernels.h"
#include "core/edge/write.h"

struct lmb_edge_writer {
    lmb_edge_buffer section[LMBI_EDGE_KNOWN];
    uint32_t n_tensors;
    int is_chw;
    lmb_edge_status status; /* of the first call that failed */
    char why[200];
};

static int fail(lmb_edge_writer *w, lmb_edge_status status, const char *format, ...)
{
    if (w->status == LMB_EDGE_OK) {
        va_list ap;
        w->status = status;
        va_start(ap, format);
        vsnprintf(w->why, sizeof w->why, format, ap);
        va_end(ap);
    }
    return -1;
}

/* Append n bytes (zeros when data is NULL); returns where they lie, NULL when out of memory. */
static void *append(lmb_edge_buffer *b, const void *data, size_t n)
{
    unsigned char *at;
    if (n > b->capacity - b->bytes) {
        size_t capacity = b->capacity ? b->capacity : 256;
        while (capacity - b->bytes < n && capacity <= SIZE_MAX / 2)
            capacity *= 2;
        at = capacity - b->bytes < n ? NULL : realloc(b->data, capacity);
        if (!at)
            return NULL;
        b->data = at;
        b->capacity = capacity;
    }
    at = b->data + b->bytes;
    if (data && n)
        memcpy(at, data, n);
    else
        memset(at, 0, n);
    b->bytes += n;
    return at;
}

static void *grow(lmb_edge_writer *w, int section, const void *data, size_t n)
{
    void *at;
    if (w->section[section].bytes + n > UINT32_MAX) {
        fail(w, LMB_EDGE_E_ARG, "more than 4 GiB of weights or names");
        return NULL;
    }
    at = append(&w->section[section], data, n);
    if (!at)
        fail(w, LMB_EDGE_E_NOMEM, "out of memory for %llu bytes", (unsigned long long)n);
    return at;
}

static uint32_t add_name(lmb_edge_writer *w, const char *name)
{
    uint32_t at = (uint32_t)w->section[LMBI_EDGE_STRS].bytes;
    if (!name || !*name)
        return 0;
    grow(w, LMBI_EDGE_STRS, name, strlen(name) + 1);
    return at;
}

lmb_edge_writer *lmb_edge_writer_create(void)
{
    lmb_edge_writer *w = calloc(1, sizeof *w);
    if (w && !append(&w->section[LMBI_EDGE_STRS], "", 1)) {
        free(w);
        return NULL;
    }
    return w;
}

void lmb_edge_writer_destroy(lmb_edge_writer *w)
{
    int i;
    if (!w)
        return;
    for (i = 0; i < LMBI_EDGE_KNOWN; i++)
        free(w->section[i].data);
    free(w);
}

/* A copy: the section may move while the step is built. */
static lmb_edge_tensor tensor_at(const lmb_edge_writer *w, int i)
{
    lmb_edge_tensor t;
    memcpy(&t, w->section[LMBI_EDGE_TENS].data + (size_t)i * sizeof t, sizeof t);
    return t;
}

/* May this step be built: nothing failed before, and src is a tensor? */
static int ready(lmb_edge_writer *w, const char *name, int src)
{
    if (w->status != LMB_EDGE_OK)
        return 0;
    if (src < 0 || (uint32_t)src >= w->n_tensors) {
        fail(w, LMB_EDGE_E_ARG, "step '%s': its input is tensor %d, there are %u", name, src, w->n_tensors);
        return 0;
    }
    return 1;
}

static int byte_ok(int v) { return v >= 0 && v <= 255; }

static int scale_ok(float s) { return s > 0.0f && s <= 1e30f; } /* false for NaN */

static int add_tensor(lmb_edge_writer *w, uint32_t name, int64_t h, int64_t width, int64_t c, float scale, int zero)
{
    lmb_edge_tensor t;
    if (h < 1 || width < 1 || c < 1 || h > INT32_MAX || width > INT32_MAX || c > INT32_MAX)
        return fail(w, LMB_EDGE_E_ARG, "tensor %u: a shape of %lldx%lldx%lld", w->n_tensors, (long long)h,
                    (long long)width, (long long)c);
    if (!scale_ok(scale) || !byte_ok(zero))
        return fail(w, LMB_EDGE_E_ARG, "tensor %u: scale %g must be in (0, 1e30] and zero point %d in 0..255",
                    w->n_tensors, (double)scale, zero);
    memset(&t, 0, sizeof t);
    t.h = (uint32_t)h;
    t.w = (uint32_t)width;
    t.c = (uint32_t)c;
    t.scale = scale;
    t.zero = (uint8_t)zero;
    t.name = name;
    return grow(w, LMBI_EDGE_TENS, &t, sizeof t) ? (int)w->n_tensors++ : -1;
}

int lmb_edge_write_input(lmb_edge_writer *w, const char *name, int h, int width, int c, float scale, int zero,
                         int is_chw)
{
    if (w->status != LMB_EDGE_OK)
        return -1;
    if (w->n_tensors)
        return fail(w, LMB_EDGE_E_ARG, "the input '%s' must come first and once", name);
    w->is_chw = is_chw;
    return add_tensor(w, add_name(w, name), h, width, c, scale, zero);
}

static lmb_edge_op new_op(int kind, int src, lmb_edge_quant y)
{
    lmb_edge_op o;
    memset(&o, 0, sizeof o);
    o.kind = (uint8_t)kind;
    o.inputs = 1;
    o.input[0] = (uint16_t)src;
    o.lo = (uint8_t)y.lo;
    o.hi = (uint8_t)y.hi;
    return o;
}

static int add_op(lmb_edge_writer *w, const char *name, lmb_edge_op o, int64_t h, int64_t width, int64_t c,
                  lmb_edge_quant y)
{
    if (w->status != LMB_EDGE_OK)
        return -1;
    if (!byte_ok(y.lo) || !byte_ok(y.hi))
        return fail(w, LMB_EDGE_E_ARG, "step '%s': clamps to %d..%d, must lie in 0..255", name, y.lo, y.hi);
    if (w->n_tensors > 65535)
        return fail(w, LMB_EDGE_E_ARG, "step '%s': a network has at most 65535 steps", name);
    o.name = add_name(w, name);
    if (!grow(w, LMBI_EDGE_OPS, &o, sizeof o))
        return -1;
    return add_tensor(w, o.name, h, width, c, y.scale, y.zero);
}

/* Bias and multiplier rows; returns the first one's number. */
static uint32_t add_channels(lmb_edge_writer *w, int n, float s_x, const float *w_scale, const int32_t *bias, float s_y)
{
    uint32_t first = (uint32_t)(w->section[LMBI_EDGE_QNT].bytes / sizeof(lmb_edge_channel));
    int i;
    for (i = 0; i < n; i++) {
        lmb_edge_channel row;
        row.bias = bias ? bias[i] : 0;
        row.m = lmb_edge_multiplier(s_x, w_scale[i], s_y);
        grow(w, LMBI_EDGE_QNT, &row, sizeof row);
    }
    return first;
}

/* Append [rows][c][pixels] as [rows][pixels][c]; returns where. */
static uint32_t add_weights(lmb_edge_writer *w, const int8_t *weights, size_t rows, size_t c, size_t pixels)
{
    uint32_t at = (uint32_t)w->section[LMBI_EDGE_WTS].bytes;
    int8_t *dst = grow(w, LMBI_EDGE_WTS, NULL, rows * c * pixels);
    size_t r, i, p;
    if (!dst)
        return 0;
    for (r = 0; r < rows; r++)
        for (p = 0; p < pixels; p++)
            for (i = 0; i < c; i++)
                *dst++ = weights[(r * c + i) * pixels + p];
    return at;
}

static int set_window(lmb_edge_writer *w, const char *name, lmb_edge_op *o, const lmb_edge_window *win)
{
    const int from_one[] = { win->kernel_h, win->kernel_w, win->stride_h, win->stride_w, win->dilation_h,
                             win->dilation_w };
    const int from_zero[] = { win->pad_top, win->pad_left, win->pad_bottom, win->pad_right };
    size_t i;
    for (i = 0; i < sizeof from_one / sizeof from_one[0]; i++)
        if (!byte_ok(from_one[i]) || from_one[i] == 0)
            return fail(w, LMB_EDGE_E_ARG, "step '%s': kernel, stride and dilation must lie in 1..255", name);
    for (i = 0; i < sizeof from_zero / sizeof from_zero[0]; i++)
        if (!byte_ok(from_zero[i]))
            return fail(w, LMB_EDGE_E_ARG, "step '%s': padding must lie in 0..255", name);
    o->kernel_h = (uint8_t)win->kernel_h;
    o->kernel_w = (uint8_t)win->kernel_w;
    o->stride_h = (uint8_t)win->stride_h;
    o->stride_w = (uint8_t)win->stride_w;
    o->dilation_h = (uint8_t)win->dilation_h;
    o->dilation_w = (uint8_t)win->dilation_w;
    o->pad_top = (uint8_t)win->pad_top;
    o->pad_left = (uint8_t)win->pad_left;
    o->pad_bottom = (uint8_t)win->pad_bottom;
    o->pad_right = (uint8_t)win->pad_right;
    return 0;
}

static int64_t windows(int64_t length, int kernel, int stride, int dilation, int pads)
{
    int64_t room = length + pads - ((int64_t)(kernel - 1) * dilation + 1);
    return room < 0 ? 0 : room / stride + 1;
}

static int64_t windows_h(const lmb_edge_tensor *x, const lmb_edge_window *v)
{
    return windows(x->h, v->kernel_h, v->stride_h, v->dilation_h, v->pad_top + v->pad_bottom);
}

static int64_t windows_w(const lmb_edge_tensor *x, const lmb_edge_window *v)
{
    return windows(x->w, v->kernel_w, v->stride_w, v->dilation_w, v->pad_left + v->pad_right);
}

int lmb_edge_write_conv(lmb_edge_writer *w, const char *name, int src, int out, int groups, const lmb_edge_window *win,
                        const int8_t *weights, const float *w_scale, const int32_t *bias, lmb_edge_quant y)
{
    lmb_edge_op o = new_op(LMB_EDGE_CONV, src, y);
    lmb_edge_tensor x;
    if (!ready(w, name, src) || set_window(w, name, &o, win) != 0)
        return -1;
    x = tensor_at(w, src);
    if (groups < 1 || out < 1 || x.c % (uint32_t)groups || out % groups)
        return fail(w, LMB_EDGE_E_ARG, "step '%s': %d groups do not divide %u input and %d output channels", name,
                    groups, x.c, out);
    o.groups = (uint32_t)groups;
    o.channels = add_channels(w, out, x.scale, w_scale, bias, y.scale);
    o.weights = add_weights(w, weights, (size_t)out, x.c / (uint32_t)groups, (size_t)o.kernel_h * o.kernel_w);
    return add_op(w, name, o, windows_h(&x, win), windows_w(&x, win), out, y);
}

int lmb_edge_write_gemm(lmb_edge_writer *w, const char *name, int src, int out, const int8_t *weights,
                        const float *w_scale, const int32_t *bias, lmb_edge_quant y)
{
    lmb_edge_op o = new_op(LMB_EDGE_GEMM, src, y);
    lmb_edge_tensor x;
    if (!ready(w, name, src))
        return -1;
    x = tensor_at(w, src);
    if (out < 1)
        return fail(w, LMB_EDGE_E_ARG, "step '%s': %d outputs", name, out);
    o.channels = add_channels(w, out, x.scale, w_scale, bias, y.scale);
    o.weights = add_weights(w, weights, (size_t)out, x.c, (size_t)x.h * x.w);
    return add_op(w, name, o, 1, 1, out, y);
}

int lmb_edge_write_add(lmb_edge_writer *w, const char *name, int a, int b, lmb_edge_quant y)
{
    lmb_edge_op o = new_op(LMB_EDGE_ADD, a, y);
    lmb_edge_tensor ta, tb;
    lmb_edge_add_terms t;
    if (!ready(w, name, a) || !ready(w, name, b))
        return -1;
    ta = tensor_at(w, a);
    tb = tensor_at(w, b);
    t = lmb_edge_add_prepare(ta.scale, ta.zero, tb.scale, tb.zero, y.scale, y.zero);
    o.inputs = 2;
    o.input[1] = (uint16_t)b;
    o.a = t.ra;
    o.b = t.rb;
    o.base = t.base;
    return add_op(w, name, o, ta.h, ta.w, ta.c, y);
}

int lmb_edge_write_global_avg(lmb_edge_writer *w, const char *name, int src, lmb_edge_quant y)
{
    lmb_edge_op o = new_op(LMB_EDGE_GLOBAL_AVG, src, y);
    lmb_edge_tensor x;
    if (!ready(w, name, src))
        return -1;
    x = tensor_at(w, src);
    o.a = lmb_edge_average_multiplier(x.scale, y.scale, x.h * x.w);
    return add_op(w, name, o, 1, 1, x.c, y);
}

int lmb_edge_write_max_pool(lmb_edge_writer *w, const char *name, int src, const lmb_edge_window *win)
{
    lmb_edge_quant y = { 1.0f, 0, 0, 255 };
    lmb_edge_op o = new_op(LMB_EDGE_MAX_POOL, src, y);
    lmb_edge_tensor x;
    if (!ready(w, name, src) || set_window(w, name, &o, win) != 0)
        return -1;
    x = tensor_at(w, src);
    y.scale = x.scale;
    y.zero = x.zero;
    return add_op(w, name, o, windows_h(&x, win), windows_w(&x, win), x.c, y);
}

int lmb_edge_write_concat(lmb_edge_writer *w, const char *name, const int *srcs, int n)
{
    lmb_edge_quant y = { 1.0f, 0, 0, 255 };
    lmb_edge_op o = new_op(LMB_EDGE_CONCAT, 0, y);
    lmb_edge_tensor x;
    int64_t c = 0;
    int i;
    if (n < 1 || n > LMB_EDGE_MAX_INPUTS)
        return fail(w, LMB_EDGE_E_ARG, "step '%s': joins %d tensors, 1..%d are possible", name, n,
                    LMB_EDGE_MAX_INPUTS);
    for (i = 0; i < n; i++) {
        if (!ready(w, name, srcs[i]))
            return -1;
        x = tensor_at(w, srcs[i]);
        o.input[i] = (uint16_t)srcs[i];
        c += x.c;
    }
    o.inputs = (uint8_t)n;
    y.scale = x.scale;
    y.zero = x.zero;
    return add_op(w, name, o, x.h, x.w, c, y);
}

int lmb_edge_write_table(lmb_edge_writer *w, const char *name, int src, const uint8_t table[256], lmb_edge_quant y)
{
    lmb_edge_op o = new_op(LMB_EDGE_LUT, src, y);
    lmb_edge_tensor x;
    if (!ready(w, name, src))
        return -1;
    x = tensor_at(w, src);
    o.weights = (uint32_t)w->section[LMBI_EDGE_WTS].bytes;
    grow(w, LMBI_EDGE_WTS, table, 256);
    return add_op(w, name, o, x.h, x.w, x.c, y);
}

int lmb_edge_write_requantize(lmb_edge_writer *w, const char *name, int src, lmb_edge_quant y)
{
    uint8_t table[256];
    lmb_edge_tensor x;
    int q;
    if (!ready(w, name, src))
        return -1;
    if (!byte_ok(y.zero) || !byte_ok(y.lo) || !byte_ok(y.hi) || y.lo > y.hi || !scale_ok(y.scale))
        return fail(w, LMB_EDGE_E_ARG, "step '%s': scale %g, zero point %d, clamp %d..%d", name, (double)y.scale,
                    y.zero, y.lo, y.hi);
    x = tensor_at(w, src);
    for (q = 0; q < 256; q++)
        table[q] = lmb_edge_rescale((uint8_t)q, x.scale, x.zero, y.scale, y.zero, y.lo, y.hi);
    return lmb_edge_write_table(w, name, src, table, y);
}

void lmb_edge_write_meta(lmb_edge_writer *w, const char *key, const char *value)
{
    if (w->status != LMB_EDGE_OK)
        return;
    if (!*key || strchr(key, '\n') || strchr(value, '\n') || strstr(key, ": ")) {
        fail(w, LMB_EDGE_E_ARG, "metadata '%s' must be a key and one line", key);
        return;
    }
    grow(w, LMBI_EDGE_META, key, strlen(key));
    grow(w, LMBI_EDGE_META, ": ", 2);
    grow(w, LMBI_EDGE_META, value, strlen(value));
    grow(w, LMBI_EDGE_META, "\n", 1);
}

/* ---- finishing ------------------------------------------------------------------------------------------- */

/* Everything the plan knows of the tensors; one allocation. */
typedef struct {
    uint64_t *bytes, *offset;
    uint32_t *birth, *death, *owner;
} lives;

static int lives_init(lives *l, uint32_t n)
{
    l->bytes = malloc((size_t)n * (2 * sizeof *l->bytes + 3 * sizeof *l->birth));
    if (!l->bytes)
        return -1;
    l->offset = l->bytes + n;
    l->birth = (uint32_t *)(l->offset + n);
    l->death = l->birth + n;
    l->owner = l->death + n;
    return 0;
}

/* Tensor t is born with step t - 1 (the input at 0) and dies with its last reader; the output never dies. */
static void find_lives(const lmb_edge_writer *w, const lmb_edge_op *ops, uint32_t output, lives *l)
{
    uint32_t t;
    unsigned k;
    for (t = 0; t < w->n_tensors; t++) {
        lmb_edge_tensor x = tensor_at(w, (int)t);
        l->bytes[t] = (uint64_t)x.h * x.w * x.c;
        l->birth[t] = l->death[t] = l->owner[t] = t;
        for (k = 0; t && k < ops[t - 1].inputs; k++)
            l->death[ops[t - 1].input[k]] = t;
    }
    l->death[output] = w->n_tensors;
}

/* An elementwise step takes the place of an input nobody reads later. */
static void find_in_place(const lmb_edge_writer *w, const lmb_edge_op *ops, lives *l)
{
    uint32_t t;
    unsigned k;
    for (t = 1; t < w->n_tensors; t++) {
        const lmb_edge_op *o = &ops[t - 1];
        if (o->kind != LMB_EDGE_ADD && o->kind != LMB_EDGE_LUT)
            continue;
        for (k = 0; k < o->inputs; k++) {
            uint32_t root = l->owner[o->input[k]];
            if (l->death[root] == t && l->bytes[root] == l->bytes[t]) {
                l->owner[t] = root;
                l->death[root] = l->death[t];
                break;
            }
        }
    }
}

static lmb_edge_status plan_arena(lmb_edge_writer *w, uint32_t output, uint32_t *arena)
{
    const lmb_edge_op *ops = (const lmb_edge_op *)(const void *)w->section[LMBI_EDGE_OPS].data;
    lmb_edge_tensor *tensors = (lmb_edge_tensor *)(void *)w->section[LMBI_EDGE_TENS].data;
    uint64_t bytes;
    uint32_t t;
    lives l;
    if (lives_init(&l, w->n_tensors) != 0) {
        fail(w, LMB_EDGE_E_NOMEM, "out of memory for the plan of %u tensors", w->n_tensors);
        return w->status;
    }
    find_lives(w, ops, output, &l);
    find_in_place(w, ops, &l);
    bytes = lmb_edge_plan(l.bytes, l.birth, l.death, l.owner, w->n_tensors, l.offset);
    if (bytes > UINT32_MAX)
        fail(w, LMB_EDGE_E_ARG, "the activations need %llu bytes", (unsigned long long)bytes);
    for (t = 0; t < w->n_tensors; t++)
        tensors[t].offset = (uint32_t)l.offset[t];
    *arena = (uint32_t)bytes;
    free(l.bytes);
    return w->status;
}

static int pad_to_section(lmb_edge_buffer *out)
{
    size_t rest = out->bytes % LMBI_EDGE_ALIGN;
    return rest == 0 || append(out, NULL, LMBI_EDGE_ALIGN - rest) ? 0 : -1;
}

static lmb_edge_status assemble(lmb_edge_writer *w, uint32_t output, uint32_t arena, lmb_edge_buffer *out)
{
    lmbi_edge_section table[LMBI_EDGE_KNOWN];
    lmbi_edge_header h;
    unsigned char *head;
    int i, ok;
    memset(&h, 0, sizeof h);
    memset(table, 0, sizeof table);
    memcpy(h.magic, LMBI_EDGE_MAGIC, sizeof h.magic);
    h.major = LMBI_EDGE_MAJOR;
    h.minor = LMBI_EDGE_MINOR;
    h.header_bytes = sizeof h + sizeof table;
    h.flags = w->is_chw ? LMBI_EDGE_FLAG_CHW : 0;
    h.sections = LMBI_EDGE_KNOWN;
    h.arena_bytes = arena;
    h.output = (uint16_t)output;
    out->bytes = 0;
    ok = append(out, NULL, h.header_bytes) != NULL;
    for (i = 0; ok && i < LMBI_EDGE_KNOWN; i++) {
        const lmb_edge_buffer *s = &w->section[i];
        ok = pad_to_section(out) == 0;
        table[i].type = lmbi_edge_section_types[i];
        table[i].offset = out->bytes;
        table[i].length = s->bytes;
        table[i].crc = lmbi_edge_crc32c(s->data, s->bytes);
        ok = ok && append(out, s->data, s->bytes);
    }
    if (!ok) {
        fail(w, LMB_EDGE_E_NOMEM, "out of memory for the file");
        return w->status;
    }
    h.file_bytes = out->bytes;
    head = out->data;
    memcpy(head, &h, sizeof h);
    memcpy(head + sizeof h, table, sizeof table);
    h.crc = lmbi_edge_crc32c(head, h.header_bytes);
    memcpy(head, &h, sizeof h);
    return LMB_EDGE_OK;
}

lmb_edge_status lmb_edge_writer_finish(lmb_edge_writer *w, int output, lmb_edge_buffer *out, char *why, size_t why_cap)
{
    lmb_edge_model m;
    uint32_t arena = 0;
    if (w->status == LMB_EDGE_OK && (output < 0 || (uint32_t)output >= w->n_tensors || w->n_tensors < 2))
        fail(w, LMB_EDGE_E_ARG, "the output is tensor %d of %u; at least one step is needed", output, w->n_tensors);
    if (w->status == LMB_EDGE_OK && plan_arena(w, (uint32_t)output, &arena) == LMB_EDGE_OK &&
        assemble(w, (uint32_t)output, arena, out) == LMB_EDGE_OK)
        w->status = lmb_edge_open(out->data, out->bytes, &m, w->why, sizeof w->why);
    if (w->status != LMB_EDGE_OK) {
        out->bytes = 0;
        if (why && why_cap)
            snprintf(why, why_cap, "%s", w->why);
    }
    return w->status;
}
