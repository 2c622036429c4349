/* core/onnx/import_tools.c - what the importer and its converters share: names -> values, attributes, constants. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/onnx/internal.h"

/* ---- names ---- */

lmb_status lmbi_names_create(lmbi_names *t, size_t count, lmb_error *err)
{
    t->n_slots = 16;
    while (t->n_slots < count * 2 + 2)
        t->n_slots *= 2;
    t->slot = calloc(t->n_slots, sizeof *t->slot);
    if (!t->slot)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu names", count);
    return LMB_OK;
}

static lmbi_name *slot_of(const lmbi_names *t, const char *text)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (const char *c = text; *c; c++)
        h = (h ^ (unsigned char)*c) * 1099511628211u;
    for (h &= t->n_slots - 1; t->slot[h].text && strcmp(t->slot[h].text, text); h = (h + 1) & (t->n_slots - 1))
        ;
    return &t->slot[h];
}

bool lmbi_names_put(lmbi_names *t, const char *text, int32_t v)
{
    lmbi_name *s = slot_of(t, text);
    if (s->text)
        return false;
    *s = (lmbi_name){ text, v };
    return true;
}

int32_t lmbi_names_get(const lmbi_names *t, const char *text)
{
    const lmbi_name *s = slot_of(t, text);
    return s->text ? s->v : LMB_NONE;
}

void lmbi_names_free(lmbi_names *t) { free(t->slot); }

/* ---- what converters use ---- */

lmb_status lmbi_emit(lmbi_import *m, lmbi_node *n, const char *type, lmb_error *err)
{
    const lmb_op *op = lmb_op_find(n->domain, type);

    if (!op)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "there is no operator '%.60s'", type);
    return lmb_graph_node(m->g, op, n->name, n->in, n->n_in, n->attr, n->n_attr, n->out, n->n_out, err);
}

bool lmbi_take(lmbi_node *n, const char *name, lmb_attr_kind kind, lmb_attr *out)
{
    for (int i = 0; i < n->n_attr; i++)
        if (strcmp(n->attr[i].name, name) == 0 && n->attr[i].kind == kind) {
            if (out)
                *out = n->attr[i];
            n->attr[i] = n->attr[--n->n_attr];
            return true;
        }
    return false;
}

const Onnx__AttributeProto *lmbi_attribute(const lmbi_node *n, const char *name)
{
    for (size_t i = 0; i < n->p->n_attribute; i++)
        if (n->p->attribute[i]->name && strcmp(n->p->attribute[i]->name, name) == 0)
            return n->p->attribute[i];
    return NULL;
}

const lmb_value *lmbi_constant(const lmbi_import *m, const lmbi_node *n, int i)
{
    if (i >= n->n_in || n->in[i] == LMB_NONE || m->g->value[n->in[i]].role != LMB_ROLE_CONSTANT)
        return NULL;
    return &m->g->value[n->in[i]];
}

lmb_status lmbi_int_list(const lmbi_import *m, const lmbi_node *n, int i, lmb_ints *list, bool *present, lmb_error *err)
{
    *present = i < n->n_in && n->in[i] != LMB_NONE;
    if (!*present)
        return LMB_OK;
    const lmb_value *v = lmbi_constant(m, n, i);
    if (!v)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "input %d must be a constant list; '%.80s' is known only when it runs",
                        i, m->g->value[n->in[i]].name);
    int64_t count = lmb_shape_count(&v->shape);
    if ((v->dtype != LMB_S64 && v->dtype != LMB_S32) || count > LMB_MAX_INTS)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "input %d is a list of %lld %s; at most %d whole numbers are supported",
                        i, (long long)count, lmb_dtype_name(v->dtype), LMB_MAX_INTS);
    list->n = (int)count;
    for (int k = 0; k < list->n; k++)
        list->v[k] = v->dtype == LMB_S64 ? ((const int64_t *)v->data)[k] : ((const int32_t *)v->data)[k];
    return LMB_OK;
}

lmb_builder lmbi_builder(lmbi_import *m, const lmbi_node *n, lmb_error *err)
{
    lmb_builder b = lmb_builder_of(m->g, err);
    snprintf(b.scope, sizeof b.scope, "%.80s/", n->name);
    return b;
}

lmb_status lmbi_tensor_value(lmbi_import *m, const Onnx__TensorProto *t, lmb_role role, const char *name, lmb_vid *out,
                             lmb_error *err)
{
    lmb_dtype dtype;
    lmb_shape shape;

    LMB_TRY(lmbi_tensor_type(t, &dtype, &shape, err));
    void *data = malloc(lmb_shape_bytes(&shape, dtype) + 1);
    if (!data)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for tensor '%.80s'", name);
    lmbi_tensor_copy(t, dtype, lmb_shape_count(&shape), data);
    lmb_status st = lmb_graph_value(m->g, role, name, dtype, &shape, data, out, err);
    free(data);
    return st;
}
