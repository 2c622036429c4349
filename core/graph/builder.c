/* core/graph/builder.c - appending many nodes with one error check at the end. See op.h. */
#include <stdio.h>
#include <string.h>

#include "core/graph/op.h"

lmb_builder lmb_builder_of(lmb_graph *g, lmb_error *err)
{
    return (lmb_builder){ .g = g, .err = err, .status = LMB_OK, .scope = "" };
}

lmb_status lmb_builder_status(const lmb_builder *b) { return b->status; }

static const char *scoped(const lmb_builder *b, const char *name, char *buf, size_t cap)
{
    snprintf(buf, cap, "%s%s", b->scope, name);
    return buf;
}

void lmb_emit_n(lmb_builder *b, const char *op_name, const char *name, const lmb_vid *in, int n_in,
                const lmb_attr *attr, int n_attr, lmb_vid *out, int n_out)
{
    char buf[256];
    const lmb_op *op = NULL;

    for (int i = 0; i < n_out; i++)
        out[i] = LMB_NONE;
    if (b->status != LMB_OK)
        return;
    op = lmb_op_find("", op_name);
    if (!op)
        op = lmb_op_find("limbeck", op_name);
    if (!op) {
        b->status = LMB_FAIL(b->err, LMB_E_UNSUPPORTED, "there is no op '%s'", op_name);
        return;
    }
    b->status = lmb_graph_node(b->g, op, scoped(b, name ? name : op_name, buf, sizeof buf), in, n_in, attr, n_attr,
                               out, n_out, b->err);
}

lmb_vid lmb_emit(lmb_builder *b, const char *op, const char *name, const lmb_vid *in, int n_in, const lmb_attr *attr,
                 int n_attr)
{
    lmb_vid out;
    lmb_emit_n(b, op, name, in, n_in, attr, n_attr, &out, 1);
    return out;
}

lmb_vid lmb_emit_value(lmb_builder *b, lmb_role role, const char *name, lmb_dtype dtype, lmb_shape shape,
                       const void *data)
{
    char buf[256];
    lmb_vid out = LMB_NONE;

    if (b->status == LMB_OK)
        b->status = lmb_graph_value(b->g, role, scoped(b, name ? name : lmb_role_name(role), buf, sizeof buf), dtype,
                                    &shape, data, &out, b->err);
    return b->status == LMB_OK ? out : LMB_NONE;
}

lmb_vid lmb_emit_scalar(lmb_builder *b, float v)
{
    return lmb_emit_value(b, LMB_ROLE_CONSTANT, "const", LMB_F32, (lmb_shape){ 0 }, &v);
}

lmb_vid lmb_emit_ints(lmb_builder *b, const int64_t *v, int n)
{
    return lmb_emit_value(b, LMB_ROLE_CONSTANT, "ints", LMB_S64, LMB_SHAPE(n), v);
}

void lmb_emit_output(lmb_builder *b, const char *name, lmb_vid v)
{
    if (b->status == LMB_OK)
        b->status = lmb_graph_output_add(b->g, name, v, b->err);
}

const lmb_value *lmb_builder_value(const lmb_builder *b, lmb_vid v)
{
    static const lmb_value none = { .name = "", .dtype = LMB_F32, .node = LMB_NONE, .next = LMB_NONE };
    return v >= 0 && v < b->g->n_values ? &b->g->value[v] : &none;
}
