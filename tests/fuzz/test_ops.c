/* tests/fuzz/test_ops.c - operators by files of others: an op refuses what its kernels can not do, or each of them
 * keeps to its operands.
 *
 * A model may name any operator of ours, gradients too, with any operands and attributes (a federation's server sends
 * such graphs to its clients); what infer() lets pass is run without another look. The input is the number of a case of
 * core/check/cases.c and a list of edits { u8 what, u8 where, u8 which, u8 value } of it. What is accepted is run by the
 * reference and by every kernel of the processor that accepts it, with operands, their list and scratch in blocks of
 * their exact sizes.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/bf16.h"
#include "core/check/check.h"
#include "core/cpu/cpu.h"
#include "core/graph/autodiff.h"
#include "core/plan/internal.h"

#define FUZZ_SUITE "ops"
#include "tests/fuzz/fuzz.h"

enum { EDITS = 3, ROUNDS = 100, MANY = 1 << 14, FLOPS = 1 << 24, LINE = 64, KERNELS = 64 };

/* ---- edits ---- */

static int64_t extreme(uint8_t v)
{
    static const int64_t values[] = { 0, 1, 2, 3, -1, -2, 4, 5, 7, 8, 9, 16, 17, 33, 63, 255, -128, 65536, 1 << 20,
                                      INT32_MAX, (int64_t)INT32_MAX + 1, -(int64_t)INT32_MAX - 1, (int64_t)1 << 40,
                                      6148914691236517206, INT64_MAX, INT64_MIN };
    return values[v % (sizeof values / sizeof *values)];
}

static void edit_attribute(lmb_attr *a, uint8_t which, uint8_t value)
{
    static const char *const texts[] = { "", "Relu", "Clip", "Tanh", "HardSwish", "mean", "none", "sum", "SAME_UPPER",
                                         "SAME_LOWER", "VALID", "NOTSET", "edge", "reflect", "constant", "minmax", "?" };
    static const float reals[] = { 0, -1, 0.5f, 1, 2, 1e30f, -1e30f, INFINITY, NAN };

    if (a->kind == LMB_ATTR_INT)
        a->i = extreme(value);
    else if (a->kind == LMB_ATTR_REAL)
        a->f = reals[value % (sizeof reals / sizeof *reals)];
    else if (a->kind == LMB_ATTR_TEXT)
        a->s = texts[value % (sizeof texts / sizeof *texts)];
    else if (which % 8 == 7)
        a->ints.n = value % (LMB_MAX_INTS + 1);
    else if (a->ints.n)
        a->ints.v[which % a->ints.n] = extreme(value);
}

static void edit_shape(lmb_shape *s, uint8_t which, uint8_t value)
{
    static const int64_t sizes[] = { 0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 1 << 12, INT32_MAX };
    enum { N = sizeof sizes / sizeof *sizes };

    if (which % 4 == 3 && s->n < LMB_MAX_DIMS && value % 2)
        s->d[s->n++] = sizes[value / 2 % N];
    else if (which % 4 == 3 && s->n)
        s->d[--s->n] = 0;
    else if (s->n)
        s->d[which % s->n] = value % 4 ? sizes[value / 4 % N] : s->d[which % s->n] + 1;
}

static void edit_kind(lmb_case_input *x, uint8_t which, uint8_t value)
{
    x->kind = (lmb_case_kind)(which % (LMB_CASE_BYTES + 1));
    if (x->kind == LMB_CASE_LABELS)
        x->hi = (float)(1 + value % 90);
    if (x->kind == LMB_CASE_BYTES)
        x->lo = value % 2 ? -100 : 0, x->hi = 100;
}

static void edit(lmb_op_case *c, const uint8_t e[4])
{
    lmb_case_input *x = &c->in[e[1] % 4], *other = &c->in[e[3] % 4], was = *x; /* few have more than four */
    int n_attr = 0;

    while (n_attr < LMB_CASE_ATTRS && c->attr[n_attr].name)
        n_attr++;
    switch (e[0] % 9) {
    case 0:
    case 1:
    case 2: edit_shape(&x->shape, e[2], e[3]); break;
    case 3: edit_kind(x, e[2], e[3]); break;
    case 4:
    case 5:
        if (n_attr)
            edit_attribute(&c->attr[e[1] % n_attr], e[2], e[3]);
        break;
    case 6: *x = *other, *other = was; break;
    case 7:
        if (x->kind == LMB_CASE_INTS && e[2] % 8 == 7)
            x->ints.n = e[3] % (LMB_MAX_INTS + 1);
        else if (x->kind == LMB_CASE_INTS && x->ints.n)
            x->ints.v[e[2] % x->ints.n] = extreme(e[3]);
        else
            x->lo = (float)(e[3] % 5) - 2;
        break;
    default: c->n_out = 1 + e[3] % LMB_MAX_OUT;
    }
}

/* Without zeros: what has no elements may have long sides. */
static bool is_small(const lmb_shape *s)
{
    int64_t n = 1;
    for (int i = 0; i < s->n; i++)
        if (s->d[i] > MANY || (n *= s->d[i] ? s->d[i] : 1) > MANY)
            return false;
    return true;
}

/* ---- running one node ---- */

static void *exactly(size_t bytes)
{
    void *p = NULL;
    ck_assert_int_eq(posix_memalign(&p, LINE, bytes ? bytes : 1), 0);
    memset(p, 0x5a, bytes);
    return p;
}

static void *operand(const lmb_value *v, lmb_dtype kept)
{
    size_t n = (size_t)lmb_shape_count(&v->shape);
    uint16_t *shorter;

    if (v->dtype == kept) {
        void *p = exactly(lmb_shape_bytes(&v->shape, kept));
        if (v->data && n)
            memcpy(p, v->data, lmb_shape_bytes(&v->shape, kept));
        return p;
    }
    ck_assert(kept == LMB_BF16 && v->dtype == LMB_F32);
    shorter = exactly(n * sizeof *shorter);
    for (size_t i = 0; i < n && v->data; i++)
        shorter[i] = lmb_bf16_of(((const float *)v->data)[i]);
    return shorter;
}

/* k NULL: the reference. `wanted`: only the first output is. */
static void run_kernel(const lmb_graph *g, const lmb_node *n, const lmb_call *c, const lmb_kernel *k, bool wanted)
{
    static const lmb_step_info step = { 7, 3, NULL, NULL };
    lmb_tensor *in = exactly(sizeof *in * (size_t)n->n_in), *out = exactly(sizeof *out * (size_t)n->n_out);
    lmb_error err = LMB_ERROR_INIT;
    void *state = NULL;
    size_t bytes = !k && n->op->scratch ? n->op->scratch(c) : 0;

    if (k && k->create && k->create(c, &state, &bytes, &err) != LMB_OK) {
        ck_assert_uint_gt(strlen(err.msg), 10);
        free(in), free(out);
        return;
    }
    for (int i = 0; i < n->n_in + n->n_out; i++) {
        lmb_vid v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        lmb_tensor *t = i < n->n_in ? &in[i] : &out[i - n->n_in];
        *t = (lmb_tensor){ 0 };
        if (v == LMB_NONE || (wanted && i > n->n_in))
            continue;
        lmb_dtype kept = k ? lmbi_wanted_type(k, c, i) : g->value[v].dtype;
        *t = (lmb_tensor){ kept, g->value[v].shape, operand(&g->value[v], kept) };
    }
    lmb_run r = { n->attr, n->n_in, n->n_out, in, out, exactly(bytes), &step, NULL, NULL };
    if ((k ? k->run(state, &r, &err) : n->op->run(&r, &err)) != LMB_OK)
        ck_assert_uint_gt(strlen(err.msg), 10);
    if (k)
        lmbi_drop_state(k, state);
    for (int i = 0; i < n->n_in; i++)
        free(in[i].data);
    for (int i = 0; i < n->n_out; i++)
        free(out[i].data);
    free(r.scratch);
    free(in);
    free(out);
}

static const lmb_backend *backend[16];
static void begin(void)
{
    const char *const names[] = { "onednn", "own", "cpu" };
    const lmb_backend **to = backend;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lmb_error err = LMB_ERROR_INIT;
        const lmb_backend *list[3] = { NULL };
        if (lmb_cpu_backends(names[i], list, &err) == LMB_OK)
            *to++ = list[0]; /* what is behind comes last */
    }
    lmb_error err = LMB_ERROR_INIT;
    const lmb_backend *list[LMB_CPU_BACKENDS] = { NULL };
    if (lmb_cpu_backends_bf16("cpu", list, &err) == LMB_OK)
        for (const lmb_backend **b = list; *b; b++)
            *to++ = *b;
    *to++ = &lmb_backend_portable;
    *to = NULL;
}

static void run_node(const lmb_graph *g, const lmb_node *n)
{
    const lmb_kernel *tried[KERNELS];
    lmb_type *in = exactly(sizeof *in * (size_t)n->n_in), *out = exactly(sizeof *out * (size_t)n->n_out);
    const char *why = NULL;
    lmb_call c;
    int n_tried = 0;

    lmb_call_of(g, n, in, out, &c);
    if (lmb_call_cost(&c).flops > FLOPS) {
        free(in), free(out);
        return;
    }
    for (int wanted = 0; wanted < 2; wanted++)
        run_kernel(g, n, &c, NULL, wanted);
    for (const lmb_backend **b = backend; *b; b++)
        for (const lmb_kernel *const *k = (*b)->kernels; *k; k++) {
            bool again = !lmbi_same_op(*k, n->op) || !(*k)->accepts(&c, &why);
            for (int i = 0; i < n_tried && !again; i++)
                again = tried[i] == *k;
            if (again || n_tried == KERNELS)
                continue;
            tried[n_tried++] = *k;
            run_kernel(g, n, &c, *k, false);
        }
    free(in), free(out);
}

static int n_cases(void)
{
    static int n;
    while (lmb_op_cases[n].op)
        n++;
    return n;
}

/* ---- what passes ask of it ---- */

static const lmb_shape *shape_of(const lmb_call *c, int operand)
{
    ck_assert_int_ge(operand, 0);
    ck_assert_int_lt(operand, c->n_in + c->n_out);
    ck_assert(operand >= c->n_in || c->in[operand].present);
    return operand < c->n_in ? &c->in[operand].shape : &c->out[operand - c->n_in].shape;
}

static void tie(void *ctx, int a, int a_axis, int b, int b_axis, int64_t offset, int64_t block)
{
    const lmb_shape *from = shape_of(ctx, a), *to = shape_of(ctx, b);
    ck_assert(a_axis >= 0 && a_axis < from->n && b_axis >= 0 && b_axis < to->n);
    ck_assert(offset >= 0 && block >= 0 && offset + from->d[a_axis] * block <= to->d[b_axis]);
}

static void fix(void *ctx, int a, int a_axis)
{
    const lmb_shape *s = shape_of(ctx, a);
    ck_assert(a_axis >= 0 && a_axis < s->n);
}

static void look_at_axes(const lmb_graph *g, const lmb_node *n)
{
    lmb_type *in = exactly(sizeof *in * (size_t)n->n_in), *out = exactly(sizeof *out * (size_t)n->n_out);
    lmb_call c;
    const lmb_axes a = { &c, tie, fix };

    lmb_call_of(g, n, in, out, &c);
    if (n->op->axes)
        n->op->axes(&c, &a);
    free(in), free(out);
}

static void run_small_nodes(const lmb_graph *g)
{
    for (int v = 0; v < g->n_values; v++)
        if (!is_small(&g->value[v].shape))
            return;
    for (int i = 0; i < g->n_nodes; i++)
        run_node(g, &g->node[i]);
}

/* The case ends with the one number that it is judged by. */
static void differentiate(const lmb_graph *g)
{
    lmb_vid wrt[LMB_CASE_INPUTS], grad[LMB_CASE_INPUTS], loss = g->node[g->n_nodes - 1].out[0];
    lmb_error err = LMB_ERROR_INIT;
    lmb_graph *with;
    int n = 0;

    for (int v = 0; v < g->n_values && n < LMB_CASE_INPUTS; v++)
        if (g->value[v].role == LMB_ROLE_PARAMETER)
            wrt[n++] = v;
    if (!n || g->value[loss].dtype != LMB_F32 || lmb_shape_count(&g->value[loss].shape) != 1)
        return;
    if (lmb_autodiff(g, loss, wrt, n, &with, grad, &err) != LMB_OK) {
        ck_assert_uint_gt(strlen(err.msg), 10);
        return;
    }
    run_small_nodes(with);
    lmb_graph_destroy(with);
}

static void edited_target(const uint8_t *data, size_t bytes)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_graph *g;

    if (bytes < 3)
        return;
    lmb_op_case c = lmb_op_cases[(data[0] | data[1] << 8) % n_cases()];
    for (size_t i = 3; i + 4 <= bytes && i < 3 + 4 * EDITS; i += 4)
        edit(&c, data + i);
    for (int i = 0; i < LMB_CASE_INPUTS; i++)
        if (!is_small(&c.in[i].shape))
            return;
    if (lmb_case_graph(&c, data[2], false, false, &g, &err) != LMB_OK) {
        ck_assert_uint_gt(strlen(err.msg), 10);
        return;
    }
    look_at_axes(g, &g->node[0]);
    run_small_nodes(g);
    differentiate(g);
    lmb_graph_destroy(g);
}

/* Each case as it is, then ROUNDS times edited. */
START_TEST(edited)
{
    begin();
    fuzz_kept(edited_target, FUZZ_SUITE "/edited_target");
    for (int k = 0; k < n_cases(); k++)
        for (uint32_t round = 0; round <= ROUNDS; round++) {
            fuzz_dice d = { lmb_rand_at(2026, LMB_RAND_TEST, (uint32_t)k, round), 0 };
            size_t bytes = 3 + 4 * (round ? 1 + fuzz_below(&d, EDITS) : 0);
            uint8_t edits[3 + 4 * EDITS] = { (uint8_t)k, (uint8_t)(k >> 8), (uint8_t)round };
            for (size_t i = 3; i < bytes; i++)
                edits[i] = (uint8_t)fuzz_below(&d, 256);
            mark_point();
            edited_target(edits, bytes);
        }
}
END_TEST

#ifndef LMB_LIBFUZZER
LMB_TEST_MAIN("fuzz/ops", add(edited);)
#endif
