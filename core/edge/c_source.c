/* core/edge/c_source.c - see c_source.h: constants as arrays, then lmb_edge_run as a list of calls. */
#include "core/edge/c_source.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/edge/c_kernels.h"
#include "core/edge/monitor.h"
#include "core/edge/write_internal.h"

/* What is being written; the first failed allocation sticks. */
typedef struct emitter {
    const lmb_edge_model *m;
    const char *name;
    char upper[LMB_EDGE_MAX_NAME + 1];
    lmb_edge_buffer *to;
    lmb_edge_tensor in, out;
    uint64_t arena;
    unsigned need; /* of lmbi_c_need */
    int failed;
} emitter;

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
put(emitter *e, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    uint8_t *at = e->failed || n < 0 || n >= (int)sizeof line ? NULL : lmbi_write_grow(e->to, (size_t)n);
    if (at)
        memcpy(at, line, (size_t)n);
    else
        e->failed = 1;
}

static void put_text(emitter *e, const char *text)
{
    uint8_t *at = e->failed ? NULL : lmbi_write_grow(e->to, strlen(text));
    if (at)
        memcpy(at, text, strlen(text));
    else
        e->failed = 1;
}

/* Names come from the file: in a comment they may neither end it nor begin another. */
static void put_name(emitter *e, const char *name)
{
    char safe[64];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof safe; n++) {
        char c = name[n];
        int plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
        safe[n] = plain ? c : '_';
    }
    safe[n] = 0;
    put_text(e, safe);
}

/* ---- what is where ---------------------------------------------------------------------------------------- */

static uint64_t pixels_of(const lmb_edge_tensor *t) { return (uint64_t)t->h * t->w; }
static int in_planes(const lmb_edge_tensor *t) { return t->layout == LMB_EDGE_CHW && t->c > 1 && pixels_of(t) > 1; }

/* The caller's image is read where it lies, unless it has to be turned; floats are written where they are wanted. */
static int in_arena(const emitter *e, uint32_t tensor, const lmb_edge_tensor *t)
{
    return t->type == LMB_EDGE_U8 && (tensor > 0 || in_planes(&e->in));
}

static void put_place(emitter *e, uint32_t tensor)
{
    lmb_edge_tensor t;
    lmb_edge_tensor_at(e->m, tensor, &t);
    if (in_arena(e, tensor, &t))
        put(e, "arena + %llu", (unsigned long long)t.place);
    else
        put(e, "input");
}

static unsigned need_of(lmb_edge_kind kind)
{
    switch (kind) {
    case LMB_EDGE_CONV:
    case LMB_EDGE_GEMM:
        return LMBI_C_CONV;
    case LMB_EDGE_ADD:
        return LMBI_C_ADD;
    case LMB_EDGE_GLOBAL_AVERAGE:
        return LMBI_C_AVERAGE;
    case LMB_EDGE_MAX_POOL:
        return LMBI_C_MAX_POOL;
    case LMB_EDGE_CONCAT:
        return LMBI_C_CONCAT;
    case LMB_EDGE_TABLE:
        return LMBI_C_TABLE;
    case LMB_EDGE_DEQUANTISE:
        return LMBI_C_DEQUANTISE;
    }
    return 0;
}

/* Floats that nobody reads are not computed. */
static int is_dead(const emitter *e, uint32_t i, const lmb_edge_op *op)
{
    return op->kind == LMB_EDGE_DEQUANTISE && i + 1 != e->m->n_ops;
}

static void survey(emitter *e)
{
    lmb_edge_tensor_at(e->m, 0, &e->in);
    lmb_edge_tensor_at(e->m, e->m->n_ops, &e->out);
    for (uint32_t i = 0; i <= e->m->n_ops; i++) {
        lmb_edge_tensor t;
        lmb_edge_op op;
        lmb_edge_tensor_at(e->m, i, &t);
        if (in_arena(e, i, &t) && t.place + t.bytes > e->arena)
            e->arena = t.place + t.bytes;
        if (i < e->m->n_ops) {
            lmb_edge_op_at(e->m, i, &op);
            e->need |= is_dead(e, i, &op) ? 0 : need_of(op.kind);
        }
    }
    e->need |= in_planes(&e->in) ? LMBI_C_TO_PIXELS : 0;
    e->need |= e->out.type == LMB_EDGE_U8 && in_planes(&e->out) ? LMBI_C_TO_PLANES : 0;
}

/* ---- constants -------------------------------------------------------------------------------------------- */

enum { PER_LINE = 16, PER_LINE_WIDE = 8 };

static void put_window(emitter *e, uint32_t i, const lmb_edge_op *op)
{
    lmb_edge_tensor x, y;
    lmb_edge_tensor_at(e->m, op->in[0], &x);
    lmb_edge_tensor_at(e->m, i + 1, &y);
    put(e, "static const window_op op%lu = { ", (unsigned long)i);
    if (op->kind == LMB_EDGE_GEMM)
        put(e, "1, 1, %lu, 1, 1, %lu, 1, 1, 1, 1, 1, 1, 0, 0, 1", (unsigned long)x.count, (unsigned long)y.c);
    else
        put(e, "%lu, %lu, %lu, %lu, %lu, %lu, %d, %d, %d, %d, %d, %d, %d, %d, %lu", (unsigned long)x.h,
            (unsigned long)x.w, (unsigned long)x.c, (unsigned long)y.h, (unsigned long)y.w, (unsigned long)y.c,
            op->kernel[0], op->kernel[1], op->stride[0], op->stride[1], op->dilation[0], op->dilation[1], op->pads[0],
            op->pads[1], (unsigned long)op->groups);
    put(e, ", %d, %d, %d, %d };\n", x.zero_point, y.zero_point, op->lo, op->hi);
}

static void put_weights(emitter *e, uint32_t i, const lmb_edge_op *op)
{
    lmb_edge_tensor y;
    lmb_edge_tensor_at(e->m, i + 1, &y);
    put(e, "static const int8_t weights%lu[%lu] = {", (unsigned long)i, (unsigned long)op->n_weights);
    for (uint32_t k = 0; k < op->n_weights; k++)
        put(e, "%s%d,", k % PER_LINE ? " " : "\n    ", lmb_edge_weight_at(op, k));
    put(e, "\n};\nstatic const int32_t bias%lu[%lu] = {", (unsigned long)i, (unsigned long)y.c);
    for (uint32_t k = 0; k < y.c; k++) { /* -2147483648 is no constant of C */
        int32_t b = (int32_t)lmbi_edge_u32(op->constants + 4 * (size_t)k);
        put(e, "%s%ld%s,", k % PER_LINE_WIDE ? " " : "\n    ", b == INT32_MIN ? -(long)INT32_MAX : (long)b,
            b == INT32_MIN ? " - 1" : "");
    }
    put(e, "\n};\nstatic const float multiplier%lu[%lu] = {", (unsigned long)i, (unsigned long)y.c);
    for (uint32_t k = 0; k < y.c; k++)
        put(e, "%s%af,", k % PER_LINE_WIDE ? " " : "\n    ",
            (double)lmbi_edge_f32(op->constants + 4 * ((size_t)y.c + k)));
    put(e, "\n};\n");
}

static void put_table(emitter *e, uint32_t i, const lmb_edge_op *op)
{
    put(e, "static const uint8_t table%lu[256] = {", (unsigned long)i);
    for (int k = 0; k < 256; k++)
        put(e, "%s%d,", k % PER_LINE ? " " : "\n    ", op->constants[k]);
    put(e, "\n};\n");
}

static void put_constants(emitter *e)
{
    for (uint32_t i = 0; i < e->m->n_ops; i++) {
        lmb_edge_op op;
        lmb_edge_op_at(e->m, i, &op);
        if (op.kind == LMB_EDGE_CONV || op.kind == LMB_EDGE_GEMM || op.kind == LMB_EDGE_MAX_POOL)
            put_window(e, i, &op);
        if (op.weights)
            put_weights(e, i, &op);
        if (op.kind == LMB_EDGE_TABLE)
            put_table(e, i, &op);
    }
}

/* ---- calls ------------------------------------------------------------------------------------------------ */

static void put_add(emitter *e, uint32_t i, const lmb_edge_op *op, const lmb_edge_tensor *y)
{
    put_text(e, "add(");
    put_place(e, op->in[0]);
    put_text(e, ", ");
    put_place(e, op->in[1]);
    put_text(e, ", ");
    put_place(e, i + 1);
    put(e, ", %lu, %af, %af, %af, %d, %d);", (unsigned long)y->count, (double)lmbi_edge_f32(op->constants),
        (double)lmbi_edge_f32(op->constants + 4), (double)lmbi_edge_f32(op->constants + 8), op->lo, op->hi);
}

static void put_concat(emitter *e, const lmb_edge_op *op, const lmb_edge_tensor *y)
{
    uint64_t place = y->place;
    for (int j = 0; j < op->n_in; j++) {
        lmb_edge_tensor x;
        lmb_edge_tensor_at(e->m, op->in[j], &x);
        put_text(e, j ? "\n    concat(" : "concat(");
        put_place(e, op->in[j]);
        put(e, ", arena + %llu, %llu, %lu, %lu);", (unsigned long long)place, (unsigned long long)pixels_of(&x),
            (unsigned long)x.c, (unsigned long)y->c);
        place += x.c;
    }
}

static void put_dequantise(emitter *e, const lmb_edge_op *op, const lmb_edge_tensor *x, const lmb_edge_tensor *y)
{
    int planes = in_planes(y);
    put_text(e, "dequantise(");
    put_place(e, op->in[0]);
    put(e, ", output, %llu, %lu, %lu, %llu, %d, %af);", (unsigned long long)pixels_of(y), (unsigned long)y->c,
        planes ? 1ul : (unsigned long)y->c, planes ? (unsigned long long)pixels_of(y) : 1ull, x->zero_point,
        (double)x->scale);
}

/* `f(x, y`: how the calls of one input begin. */
static void put_begin(emitter *e, const char *f, uint32_t i, const lmb_edge_op *op)
{
    put_text(e, f);
    put_place(e, op->in[0]);
    put_text(e, ", ");
    put_place(e, i + 1);
}

static void put_call(emitter *e, uint32_t i)
{
    lmb_edge_op op;
    lmb_edge_tensor x, y;
    lmb_edge_op_at(e->m, i, &op);
    if (is_dead(e, i, &op))
        return;
    lmb_edge_tensor_at(e->m, op.in[0], &x);
    lmb_edge_tensor_at(e->m, i + 1, &y);
    put_text(e, "    ");
    char window[32];
    snprintf(window, sizeof window, "%s(&op%lu, ", op.kind == LMB_EDGE_MAX_POOL ? "max_pool" : "conv",
             (unsigned long)i);
    switch (op.kind) {
    case LMB_EDGE_CONV:
    case LMB_EDGE_GEMM:
        put_begin(e, window, i, &op);
        put(e, ", weights%lu, bias%lu, multiplier%lu);", (unsigned long)i, (unsigned long)i, (unsigned long)i);
        break;
    case LMB_EDGE_ADD:
        put_add(e, i, &op, &y);
        break;
    case LMB_EDGE_GLOBAL_AVERAGE:
        put_begin(e, "global_average(", i, &op);
        put(e, ", %llu, %lu, %af, %d, %d, %d, %d);", (unsigned long long)pixels_of(&x), (unsigned long)x.c,
            (double)lmbi_edge_f32(op.constants), x.zero_point, y.zero_point, op.lo, op.hi);
        break;
    case LMB_EDGE_MAX_POOL:
        put_begin(e, window, i, &op);
        put_text(e, ");");
        break;
    case LMB_EDGE_CONCAT:
        put_concat(e, &op, &y);
        break;
    case LMB_EDGE_TABLE:
        put_begin(e, "look_up(", i, &op);
        put(e, ", %lu, table%lu);", (unsigned long)y.count, (unsigned long)i);
        break;
    case LMB_EDGE_DEQUANTISE:
        put_dequantise(e, &op, &x, &y);
        break;
    }
    put_text(e, " /* ");
    put_name(e, y.name);
    put_text(e, " */\n");
}

static void put_prototype(emitter *e)
{
    put(e, "void %s_run(const uint8_t input[%s_INPUT], %s output[%s_OUTPUT])", e->name, e->upper,
        e->out.type == LMB_EDGE_F32 ? "float" : "uint8_t", e->upper);
}

static void put_run(emitter *e)
{
    put_prototype(e);
    put_text(e, "\n{\n");
    if (in_planes(&e->in))
        put(e, "    to_pixels(input, arena + %llu, %llu, %lu);\n", (unsigned long long)e->in.place,
            (unsigned long long)pixels_of(&e->in), (unsigned long)e->in.c);
    for (uint32_t i = 0; i < e->m->n_ops; i++)
        put_call(e, i);
    if (e->out.type == LMB_EDGE_U8 && in_planes(&e->out))
        put(e, "    to_planes(arena + %llu, output, %llu, %lu);\n", (unsigned long long)e->out.place,
            (unsigned long long)pixels_of(&e->out), (unsigned long)e->out.c);
    else if (e->out.type == LMB_EDGE_U8)
        put(e, "    memcpy(output, arena + %llu, %s_OUTPUT);\n", (unsigned long long)e->out.place, e->upper);
    put_text(e, "}\n");
}

/* ---- the two files ---------------------------------------------------------------------------------------- */

static void put_tensor_macros(emitter *e, const char *which, const lmb_edge_tensor *t)
{
    put(e, "#define %s_%s %lu\n", e->upper, which, (unsigned long)t->count);
    put(e, "#define %s_%s_HEIGHT %lu\n", e->upper, which, (unsigned long)t->h);
    put(e, "#define %s_%s_WIDTH %lu\n", e->upper, which, (unsigned long)t->w);
    put(e, "#define %s_%s_CHANNELS %lu\n", e->upper, which, (unsigned long)t->c);
    if (t->type == LMB_EDGE_U8)
        put(e, "#define %s_%s_SCALE %af /* value = (q - ZERO) * SCALE */\n#define %s_%s_ZERO %d\n", e->upper, which,
            (double)t->scale, e->upper, which, t->zero_point);
}

/* What counters beside the model have to know (monitor.h). */
static void put_monitor_macros(emitter *e)
{
    lmb_monitor_shape s;
    lmb_monitor_shape_of(e->m, &s);
    put(e, "/* For core/edge/monitor.h: `lmb_monitor_shape shape = %s_SHAPE;`%s */\n", e->upper,
        e->m->monitor ? "; the reference is for lmb_monitor_expect" : "; the .lmb had no reference");
    put(e, "#define %s_RELEASE %lluull\n#define %s_MODEL 0x%08lxul\n", e->upper, (unsigned long long)s.release,
        e->upper, (unsigned long)s.model);
    put(e, "#define %s_SHAPE { %lu, %lu, %d, %lu, %af, %s_MODEL, %s_RELEASE }\n", e->upper, (unsigned long)s.channels,
        (unsigned long)s.pixels, s.planes, (unsigned long)s.classes, (double)s.scale, e->upper, e->upper);
    if (e->m->monitor)
        put(e, "#define %s_REFERENCE_BYTES %llu\n", e->upper, (unsigned long long)e->m->monitor_bytes);
}

static void put_reference(emitter *e)
{
    if (!e->m->monitor)
        return;
    put(e, "const uint8_t %s_reference[%s_REFERENCE_BYTES] = {", e->name, e->upper);
    for (size_t i = 0; i < e->m->monitor_bytes; i++)
        put(e, "%s%d,", i % PER_LINE ? " " : "\n    ", e->m->monitor[i]);
    put_text(e, "\n};\n");
}

/* One channel lies the same way in both. */
static const char *layout(const lmb_edge_tensor *t)
{
    return pixels_of(t) <= 1                          ? "one behind the other"
           : t->layout == LMB_EDGE_CHW || t->c <= 1 ? "one plane a channel, row by row"
                                                      : "channels innermost";
}

static void put_header(emitter *e)
{
    put(e, "/* %s.h - written by Limbeck. %llu multiply-accumulates, %llu parameters.\n *\n", e->name,
        (unsigned long long)lmb_edge_macs(e->m), (unsigned long long)lmb_edge_parameters(e->m));
    put(e, " * Input: u8, %s; output: %s, %s. One static arena: one call at a time.\n */\n",
        layout(&e->in), e->out.type == LMB_EDGE_F32 ? "float" : "u8", layout(&e->out));
    put(e, "#ifndef %s_H\n#define %s_H\n\n#include <stdint.h>\n\n", e->upper, e->upper);
    put_tensor_macros(e, "INPUT", &e->in);
    put_tensor_macros(e, "OUTPUT", &e->out);
    put(e, "#define %s_ARENA %llu /* bytes of static working memory */\n\n", e->upper, (unsigned long long)e->arena);
    put_monitor_macros(e);
    put_text(e, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    if (e->m->monitor)
        put(e, "extern const uint8_t %s_reference[%s_REFERENCE_BYTES];\n", e->name, e->upper);
    put_prototype(e);
    put(e, ";\nint %s_selftest(void); /* in %s_test.c: how many values of an answer differ from the runtime's */\n",
        e->name, e->name);
    put_text(e, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}

static const char preamble[] =
    "#include <float.h>\n"
    "#include <string.h>\n\n"
    "#if defined(__FAST_MATH__) || (defined(FLT_EVAL_METHOD) && (FLT_EVAL_METHOD == 2 || FLT_EVAL_METHOD < 0))\n"
    "#error \"rounding must be that of IEEE 754: no -ffast-math, and on 32-bit x86 -msse2 -mfpmath=sse\"\n"
    "#endif\n\n";

static void put_source(emitter *e)
{
    put(e, "/* %s.c - written by Limbeck: a network of integers, the same bytes as its .lmb file. See %s.h. */\n",
        e->name, e->name);
    put(e, "#include \"%s.h\"\n\n", e->name);
    lmb_monitor_shape s;
    lmb_monitor_shape_of(e->m, &s);
    put(e, "#if %s_MODEL != 0x%08lxul\n#error \"%s.h is of another network than %s.c: export both again\"\n#endif\n\n",
        e->upper, (unsigned long)s.model, e->name, e->name);
    put_text(e, preamble);
    if (e->arena)
        put(e, "static uint8_t arena[%s_ARENA];\n\n", e->upper);
    for (const lmbi_c_row *r = lmbi_c_rows; r->text; r++)
        if (r->needed_by & e->need)
            put_text(e, r->text);
    put_constants(e);
    put_reference(e);
    put_text(e, "\n");
    put_run(e);
}

lmb_edge_status lmbi_c_name(const char *name, const lmbi_edge_why *why)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    if (n > 0 && n <= LMB_EDGE_MAX_NAME && !name[n] && !(name[0] >= '0' && name[0] <= '9') && name[0] != '_')
        return LMB_EDGE_OK;
    return lmbi_edge_fail(why, LMB_EDGE_E_ARG,
                          "'%.60s' is no prefix of C names: 1..%d of a-z, A-Z, 0-9 and _, a letter first", name,
                          LMB_EDGE_MAX_NAME);
}

lmb_edge_status lmb_edge_write_c(const lmb_edge_model *m, const char *name, lmb_edge_buffer *source,
                                 lmb_edge_buffer *header, char *why_text, size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    size_t source_size = source->size, header_size = header->size;
    emitter e;
    lmb_edge_status s = lmbi_c_name(name, &why);
    if (s != LMB_EDGE_OK)
        return s;
    memset(&e, 0, sizeof e);
    e.m = m;
    e.name = name;
    for (size_t i = 0; name[i]; i++)
        e.upper[i] = name[i] >= 'a' && name[i] <= 'z' ? (char)(name[i] - 'a' + 'A') : name[i];
    survey(&e);
    e.to = header;
    put_header(&e);
    e.to = source;
    put_source(&e);
    if (!e.failed)
        return LMB_EDGE_OK;
    source->size = source_size;
    header->size = header_size;
    return lmbi_edge_fail(&why, LMB_EDGE_E_NOMEM, "out of memory for the text of %s.c", name);
}
