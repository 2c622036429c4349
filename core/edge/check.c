/* core/edge/check.c - every claim of the records, checked once at open, so that kernels can trust them.
 *
 * A row for each kind of op says how many inputs it takes and what must hold between its shapes, constants and
 * weights. Around it: an op reads only what was written before, and nothing that is still to be read is
 * overwritten (the memory plan). The cost is one pass over weights and constants: ops that share weights are refused
 * where they have more in all than there are, or a small file could be a day's work.
 */
#include <math.h>

#include "core/edge/internal.h"

typedef struct subject {
    const lmb_edge_model *m;
    const uint8_t *record; /* of the op */
    lmb_edge_op op;
    lmb_edge_tensor x, y; /* first input and output */
    uint32_t index;
    uint64_t *used; /* bytes of the weights of the ops so far */
    const lmbi_edge_why *why;
} subject;

typedef struct kind_row {
    lmb_edge_kind kind;
    uint8_t min_in, max_in;
    uint8_t in_place; /* may write over an input that is read for the last time */
    const char *name;
    lmb_edge_status (*check)(const subject *s);
} kind_row;

#define REFUSE(s, text) \
    lmbi_edge_fail((s)->why, LMB_EDGE_E_FORMAT, "op %lu, %s: %s", (unsigned long)(s)->index, (s)->y.name, (text))

/* ---- pieces ----------------------------------------------------------------------------------------------- */

int lmbi_edge_same_quant(const lmb_edge_tensor *a, const lmb_edge_tensor *b)
{
    return memcmp(&a->scale, &b->scale, sizeof a->scale) == 0 && a->zero_point == b->zero_point;
}

static int same_shape(const lmb_edge_tensor *a, const lmb_edge_tensor *b)
{
    return a->h == b->h && a->w == b->w && a->c == b->c;
}

/* A multiplier: NaN and infinity never enter the arithmetic, so float -> integer is always defined. */
static int multiplier_ok(float m) { return isfinite(m) && m >= 0; }

static int have_constants(const subject *s, uint64_t bytes)
{
    uint64_t offset = lmbi_edge_u64(s->record + 56);
    return offset <= s->m->constants_bytes && bytes <= s->m->constants_bytes - offset;
}

static const char *check_axis(const subject *s, int axis, uint64_t in, uint64_t out)
{
    uint64_t k = s->op.kernel[axis], stride = s->op.stride[axis], dilation = s->op.dilation[axis];
    uint64_t before = s->op.pads[axis], after = s->op.pads[axis + 2];
    if (!k || !stride || !dilation)
        return "kernel, stride, dilation and groups must be at least 1";
    uint64_t extent = (k - 1) * dilation + 1;
    if (before >= extent || after >= extent)
        return "a pad is as large as the kernel";
    if (extent > in + before + after || (in + before + after - extent) / stride + 1 != out)
        return "the output size does not follow from input, kernel, stride and pads";
    return NULL;
}

static const char *check_window(const subject *s)
{
    const char *bad = check_axis(s, 0, s->x.h, s->y.h);
    if (!bad)
        bad = check_axis(s, 1, s->x.w, s->y.w);
    if (bad)
        return bad;
    uint64_t h = (uint64_t)s->x.h + s->op.pads[0] + s->op.pads[2], w = (uint64_t)s->x.w + s->op.pads[1] + s->op.pads[3];
    return h * w > LMB_EDGE_MAX_COUNT / s->x.c ? "the padded input is too large" : NULL;
}

/* Weights, biases and multipliers of conv and gemm; and that no partial sum of any input leaves int32. */
static const char *check_weights(const subject *s, uint64_t per_output)
{
    uint64_t offset = lmbi_edge_u64(s->record + 48), outputs = s->y.c, room = s->m->weights_bytes;
    uint64_t n = per_output > LMB_EDGE_MAX_COUNT / outputs ? 0 : outputs * per_output;
    uint64_t bits = n * s->op.bits, bytes = (bits + 7) / 8;
    *s->used += bytes;
    if (!n || offset > room || bytes > room - offset || *s->used > room)
        return "its weights do not lie in WTS, each for one op";
    if (((const uint8_t *)s->op.weights)[bytes - 1] >> (8 - (8 * bytes - bits)))
        return "its last bits are not 0";
    if (!have_constants(s, 8 * outputs))
        return "its constants do not lie in QNT";
    int64_t span = s->x.zero_point > 127 ? s->x.zero_point : 255 - s->x.zero_point;
    uint32_t at = 0;
    for (uint64_t o = 0; o < outputs; o++) {
        int64_t sum = 0, bias = (int32_t)lmbi_edge_u32(s->op.constants + 4 * o);
        for (uint64_t i = 0; i < per_output; i++, at++) {
            int w = s->op.bits == 8 ? s->op.weights[at] : lmb_edge_weight_at(&s->op, at);
            sum += w < 0 ? -w : w;
        }
        if (span * sum + (bias < 0 ? -bias : bias) > INT32_MAX)
            return "its sums can overflow 32 bits";
        if (!multiplier_ok(lmbi_edge_f32(s->op.constants + 4 * (outputs + o))))
            return "a multiplier is negative or not finite";
    }
    return NULL;
}

/* ---- one function a kind ---------------------------------------------------------------------------------- */

static lmb_edge_status check_conv(const subject *s)
{
    uint32_t g = s->op.groups;
    if (!g || s->x.c % g || s->y.c % g)
        return REFUSE(s, "groups must divide input and output channels");
    const char *bad = check_window(s);
    if (!bad)
        bad = check_weights(s, (uint64_t)s->op.kernel[0] * s->op.kernel[1] * (s->x.c / g));
    return bad ? REFUSE(s, bad) : LMB_EDGE_OK;
}

static lmb_edge_status check_gemm(const subject *s)
{
    if (s->y.h != 1 || s->y.w != 1)
        return REFUSE(s, "its output must be 1 x 1 x channels");
    const char *bad = check_weights(s, s->x.count);
    return bad ? REFUSE(s, bad) : LMB_EDGE_OK;
}

static lmb_edge_status check_add(const subject *s)
{
    lmb_edge_tensor b;
    lmb_edge_tensor_at(s->m, s->op.in[1], &b);
    if (!same_shape(&s->x, &b) || !same_shape(&s->x, &s->y))
        return REFUSE(s, "its shapes differ");
    if (!have_constants(s, 12) || !multiplier_ok(lmbi_edge_f32(s->op.constants)) ||
        !multiplier_ok(lmbi_edge_f32(s->op.constants + 4)) || !isfinite(lmbi_edge_f32(s->op.constants + 8)))
        return REFUSE(s, "its three constants are not in QNT or not finite");
    return LMB_EDGE_OK;
}

static lmb_edge_status check_global_average(const subject *s)
{
    if (s->y.h != 1 || s->y.w != 1 || s->y.c != s->x.c)
        return REFUSE(s, "its output must be 1 x 1 x channels");
    if ((uint64_t)s->x.h * s->x.w > INT32_MAX / 255)
        return REFUSE(s, "its sums can overflow 32 bits");
    if (!have_constants(s, 4) || !multiplier_ok(lmbi_edge_f32(s->op.constants)))
        return REFUSE(s, "its multiplier is not in QNT or not finite");
    return LMB_EDGE_OK;
}

static lmb_edge_status check_max_pool(const subject *s)
{
    const char *bad = check_window(s);
    if (!bad && s->x.c != s->y.c)
        bad = "input and output channels differ";
    if (!bad && !lmbi_edge_same_quant(&s->x, &s->y))
        bad = "input and output must have the same scale and zero point";
    return bad ? REFUSE(s, bad) : LMB_EDGE_OK;
}

static lmb_edge_status check_concat(const subject *s)
{
    uint64_t channels = 0;
    for (int i = 0; i < s->op.n_in; i++) {
        lmb_edge_tensor x;
        lmb_edge_tensor_at(s->m, s->op.in[i], &x);
        channels += x.c;
        if (x.h != s->y.h || x.w != s->y.w || !lmbi_edge_same_quant(&x, &s->y))
            return REFUSE(s, "inputs must have the height, width, scale and zero point of the output");
    }
    return channels == s->y.c ? LMB_EDGE_OK : REFUSE(s, "the channels of its inputs do not add up");
}

static lmb_edge_status check_table(const subject *s)
{
    if (!same_shape(&s->x, &s->y))
        return REFUSE(s, "its shapes differ");
    return have_constants(s, 256) ? LMB_EDGE_OK : REFUSE(s, "its constants do not lie in QNT");
}

static lmb_edge_status check_dequantise(const subject *s)
{
    return same_shape(&s->x, &s->y) ? LMB_EDGE_OK : REFUSE(s, "its shapes differ");
}

static const kind_row kinds[] = {
    { LMB_EDGE_CONV, 1, 1, 0, "conv", check_conv },
    { LMB_EDGE_GEMM, 1, 1, 0, "gemm", check_gemm },
    { LMB_EDGE_ADD, 2, 2, 1, "add", check_add },
    { LMB_EDGE_GLOBAL_AVERAGE, 1, 1, 0, "global average", check_global_average },
    { LMB_EDGE_MAX_POOL, 1, 1, 0, "max pool", check_max_pool },
    { LMB_EDGE_CONCAT, 2, LMB_EDGE_MAX_INPUTS, 0, "concat", check_concat },
    { LMB_EDGE_TABLE, 1, 1, 1, "table", check_table },
    { LMB_EDGE_DEQUANTISE, 1, 1, 0, "dequantise", check_dequantise },
};

static const kind_row *find_kind(int kind)
{
    if (kind == LMBI_EDGE_CONV_NARROW || kind == LMBI_EDGE_GEMM_NARROW)
        kind += LMB_EDGE_CONV - LMBI_EDGE_CONV_NARROW;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if ((int)kinds[i].kind == kind)
            return &kinds[i];
    return NULL;
}

const char *lmb_edge_kind_name(lmb_edge_kind kind)
{
    const kind_row *k = find_kind((int)kind);
    return k ? k->name : "unknown";
}

/* ---- tensors, order, memory plan -------------------------------------------------------------------------- */

static lmb_edge_status check_tensor(const lmb_edge_model *m, uint32_t i, const lmbi_edge_why *why)
{
    const uint8_t *r = m->tensors + (size_t)i * LMBI_EDGE_TENSOR;
    uint32_t h = lmbi_edge_u32(r), w = lmbi_edge_u32(r + 4), c = lmbi_edge_u32(r + 8);
    const char *bad = NULL;
    float scale = lmbi_edge_f32(r + 16);
    uint64_t place = lmbi_edge_u64(r + 24);
    if (!h || !w || !c || h > LMB_EDGE_MAX_COUNT || w > LMB_EDGE_MAX_COUNT / h || c > LMB_EDGE_MAX_COUNT / (h * w))
        bad = "its shape is empty or too large";
    else if (r[12] > LMB_EDGE_F32 || r[13] > LMB_EDGE_CHW || r[15])
        bad = "its type or layout is unknown";
    else if (r[13] != LMB_EDGE_HWC && i != 0 && i != m->n_ops)
        bad = "only input and output can be laid out CHW";
    else if (!isfinite(scale) || scale <= 0)
        bad = "its scale is not a positive number";
    else if (lmbi_edge_u32(r + 20) >= m->names_bytes)
        bad = "its name does not lie in NAME";
    else if (place > UINT32_MAX || (r[12] == LMB_EDGE_F32 && place % 4))
        bad = "its place in the arena is out of range or not aligned";
    return bad ? lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "tensor %lu: %s", (unsigned long)i, bad) : LMB_EDGE_OK;
}

static lmb_edge_status check_op(const lmb_edge_model *m, uint32_t i, uint64_t *used, const lmbi_edge_why *why)
{
    subject s;
    s.m = m;
    s.record = m->ops + (size_t)i * LMBI_EDGE_OP;
    s.index = i;
    s.used = used;
    s.why = why;
    lmb_edge_tensor_at(m, i + 1, &s.y);
    const kind_row *kind = find_kind(s.record[0]);
    if (!kind)
        return lmbi_edge_fail(why, LMB_EDGE_E_VERSION, "op %lu has kind %d, unknown to this reader; use a newer "
                              "Limbeck", (unsigned long)i, s.record[0]);
    uint8_t n_in = s.record[1];
    int narrow = s.record[0] >= LMBI_EDGE_CONV_NARROW;
    uint32_t bits = lmbi_edge_u32(s.record + 44);
    if (n_in < kind->min_in || n_in > kind->max_in || s.record[2] > s.record[3] || (!narrow && bits))
        return REFUSE(&s, "number of inputs, clamp or reserved bytes are wrong");
    if (narrow && (bits < 2 || bits > 7))
        return REFUSE(&s, "bits must be 2..7");
    for (int j = 0; j < LMB_EDGE_MAX_INPUTS; j++) {
        uint16_t in = lmbi_edge_u16(s.record + 4 + 2 * j);
        if (j < n_in ? in > i : in != 0)
            return REFUSE(&s, "it reads a tensor that is not written yet");
        lmb_edge_tensor_at(m, in, &s.x);
        if (j < n_in && s.x.type != LMB_EDGE_U8)
            return REFUSE(&s, "its inputs must be u8");
    }
    if ((s.y.type == LMB_EDGE_F32) != (kind->kind == LMB_EDGE_DEQUANTISE))
        return REFUSE(&s, "only dequantise writes f32, and nothing else");
    if (kind->kind == LMB_EDGE_CONV && !lmbi_edge_u32(s.record + 40))
        return REFUSE(&s, "kernel, stride, dilation and groups must be at least 1"); /* before decoding divides by it */
    lmb_edge_op_at(m, i, &s.op);
    lmb_edge_tensor_at(m, s.op.in[0], &s.x);
    return kind->check(&s);
}

static int reads(const lmb_edge_model *m, uint32_t op, uint32_t tensor)
{
    const uint8_t *r = m->ops + (size_t)op * LMBI_EDGE_OP;
    for (int j = 0; j < r[1]; j++)
        if (lmbi_edge_u16(r + 4 + 2 * j) == tensor)
            return 1;
    return 0;
}

/* No op writes over a tensor that it or a later op still reads, except exactly in place. */
static lmb_edge_status check_plan(const lmb_edge_model *m, uint32_t tensor, const lmbi_edge_why *why)
{
    lmb_edge_tensor t, y;
    uint32_t last = m->n_ops; /* last op that reads the tensor */
    while (last > tensor && !reads(m, last - 1, tensor))
        last--;
    lmb_edge_tensor_at(m, tensor, &t);
    for (uint32_t i = tensor; i < last; i++) { /* op i, which writes tensor i + 1, runs while t is needed */
        lmb_edge_tensor_at(m, i + 1, &y);
        int apart = t.place + t.bytes <= y.place || y.place + y.bytes <= t.place;
        int in_place = i + 1 == last && find_kind(m->ops[(size_t)i * LMBI_EDGE_OP])->in_place && t.place == y.place &&
                       t.bytes == y.bytes;
        if (!apart && !in_place)
            return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "memory plan: op %lu, %s, writes over %s, which is still "
                                  "needed",
                                  (unsigned long)i, y.name, t.name);
    }
    return LMB_EDGE_OK;
}

lmb_edge_status lmbi_edge_check_graph(const lmb_edge_model *m, const lmbi_edge_why *why)
{
    lmb_edge_status s = LMB_EDGE_OK;
    for (uint32_t i = 0; i <= m->n_ops && s == LMB_EDGE_OK; i++)
        s = check_tensor(m, i, why);
    lmb_edge_tensor input;
    if (s == LMB_EDGE_OK) {
        lmb_edge_tensor_at(m, 0, &input);
        if (input.type != LMB_EDGE_U8)
            s = lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "tensor 0: the input must be u8");
    }
    uint64_t used = 0;
    for (uint32_t i = 0; i < m->n_ops && s == LMB_EDGE_OK; i++)
        s = check_op(m, i, &used, why);
    for (uint32_t i = 0; i <= m->n_ops && s == LMB_EDGE_OK; i++)
        s = check_plan(m, i, why);
    return s;
}
