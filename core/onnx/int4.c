/* core/onnx/int4.c - weights of four bits: INT4 in the file (opset 21), s8 in a graph.
 *
 * Idea: INT4 says how constants are stored, two to a byte, the first in the low half; a DequantizeLinear that reads
 * them means the same with s8. So both ways only touch constants behind a DequantizeLinear. Anything else that reads
 * INT4, a QuantizeLinear that would saturate to it above all, is refused.
 *
 *   source   onnx.proto of IR version 10, TensorProto; ONNX DequantizeLinear-21
 */
#include <stdlib.h>
#include <string.h>

#include "core/onnx/internal.h"

static bool is(const char *type, const char *want) { return type && strcmp(type, want) == 0; }

/* ---- writing ---- */

static bool four_bits(const lmb_value *v)
{
    int64_t n = lmb_shape_count(&v->shape);
    const int8_t *q = v->data;

    if (v->role != LMB_ROLE_CONSTANT || v->dtype != LMB_S8 || !q)
        return false;
    for (int64_t i = 0; i < n; i++)
        if (q[i] < -8 || q[i] > 7)
            return false;
    return true;
}

static bool only_read_by(const lmb_graph *g, lmb_vid v, int node)
{
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; i != node && k < g->node[i].n_in; k++)
            if (g->node[i].in[k] == v)
                return false;
    return true;
}

lmb_status lmbi_int4_find(const lmb_graph *g, bool *narrow, lmb_error *err)
{
    /* what integer models are made of; these mean the same in opset 13 and 21 */
    static const char *const same[] = {
        "QuantizeLinear", "DequantizeLinear", "Conv", "Gemm", "Relu", "Clip",     "MaxPool", "GlobalAveragePool",
        "Flatten",        "Reshape",          "Add",  "Sub",  "Mul",  "Identity", NULL
    };

    for (int i = 0; i < g->n_nodes; i++) {
        const lmb_node *n = &g->node[i];
        int k = 0;
        while (same[k] && strcmp(same[k], n->op->name))
            k++;
        if (!same[k])
            return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                            "node %s: %s in a file of opset 21; INT4 is for integer models alone", n->name,
                            n->op->name);
        if (!is(n->op->name, "DequantizeLinear") || !four_bits(&g->value[n->in[0]]) || !only_read_by(g, n->in[0], i))
            continue;
        lmb_vid zero = n->n_in > 2 ? n->in[2] : LMB_NONE; /* of the same type, says ONNX */
        if (zero != LMB_NONE && (!four_bits(&g->value[zero]) || !only_read_by(g, zero, i)))
            continue;
        narrow[n->in[0]] = true;
        if (zero != LMB_NONE)
            narrow[zero] = true;
    }
    return LMB_OK;
}

void lmbi_int4_pack(const lmb_value *v, lmb_str *out)
{
    int64_t n = lmb_shape_count(&v->shape);
    const int8_t *q = v->data;

    for (int64_t i = 0; i < n; i += 2) {
        uint8_t byte = (uint8_t)((q[i] & 15) | (i + 1 < n ? (q[i + 1] & 15) << 4 : 0));
        lmb_str_add_n(out, &byte, 1);
    }
}

/* ---- reading ---- */

void lmbi_int4_unpack(const uint8_t *raw, size_t n, int8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        int v = raw[i / 2] >> (i % 2 ? 4 : 0) & 15;
        out[i] = (int8_t)(v > 7 ? v - 16 : v);
    }
}

static bool named(const Onnx__GraphProto *g, const char *name)
{
    for (size_t i = 0; name && i < g->n_initializer; i++)
        if (g->initializer[i]->data_type == LMBI_ONNX_INT4 && is(g->initializer[i]->name, name))
            return true;
    return false;
}

lmb_status lmbi_int4_check(const Onnx__GraphProto *g, lmb_error *err)
{
    bool any = false;

    for (size_t i = 0; i < g->n_initializer; i++)
        any |= g->initializer[i]->data_type == LMBI_ONNX_INT4;
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *n = g->node[i];
        for (size_t k = 0; k < n->n_attribute; k++)
            if (n->attribute[k]->t && n->attribute[k]->t->data_type == LMBI_ONNX_INT4)
                return LMB_FAIL(err, LMB_E_UNSUPPORTED, "node %.80s: INT4 in an attribute; it must be an initializer",
                                n->name ? n->name : "");
        for (size_t k = 0; any && k < n->n_input && !is(n->op_type, "DequantizeLinear"); k++)
            if (named(g, n->input[k]))
                return LMB_FAIL(err, LMB_E_UNSUPPORTED, "node %.80s: %.40s reads INT4; only a DequantizeLinear may",
                                n->name ? n->name : "", n->op_type ? n->op_type : "");
    }
    for (size_t i = 0; any && i < g->n_output; i++)
        if (named(g, g->output[i]->name))
            return LMB_FAIL(err, LMB_E_UNSUPPORTED, "output '%.80s' is INT4; only a DequantizeLinear may read that",
                            g->output[i]->name);
    return LMB_OK;
}
