/* core/plan/grow.c - a plan grows while it is compiled: values, steps and storages; and the forms of a value, layout
 * and storage type, with the steps that make one of another, once each.
 */
#include <stdlib.h>
#include <string.h>

#include "core/plan/internal.h"

int lmbi_plan_add_value(lmb_plan *p, const lmbi_pvalue *v)
{
    if (p->n_values == p->cap_values) {
        int cap = p->cap_values * 2 + 64;
        lmbi_pvalue *a = realloc(p->value, sizeof *a * (size_t)cap);
        if (!a)
            return -1;
        p->value = a;
        p->cap_values = cap;
    }
    p->value[p->n_values] = *v;
    return p->n_values++;
}

lmbi_step *lmbi_plan_add_step(lmb_plan *p, int n_in, int n_out)
{
    if (p->n_steps == p->cap_steps) {
        int cap = p->cap_steps * 2 + 64;
        lmbi_step *a = realloc(p->step, sizeof *a * (size_t)cap);
        if (!a)
            return NULL;
        p->step = a;
        p->cap_steps = cap;
    }
    lmbi_step *s = &p->step[p->n_steps];
    memset(s, 0, sizeof *s);
    s->n_in = n_in;
    s->n_out = n_out;
    s->in = malloc(sizeof *s->in * (size_t)(n_in + n_out + 1));
    s->tensor = calloc((size_t)(n_in + n_out + 1), sizeof *s->tensor);
    if (!s->in || !s->tensor) {
        free(s->in);
        free(s->tensor);
        return NULL;
    }
    s->out = s->in + n_in;
    p->n_steps++;
    return s;
}

int lmbi_plan_add_storage(lmb_plan *p, size_t bytes)
{
    lmbi_storage *a = p->storage;
    if ((p->n_storage & (p->n_storage - 1)) == 0) { /* 0, 1, 2, 4, ...: full */
        a = realloc(a, sizeof *a * (size_t)(p->n_storage ? p->n_storage * 2 : 1));
        if (!a)
            return -1;
        p->storage = a;
    }
    a[p->n_storage] = (lmbi_storage){ .bytes = bytes, .first = 0, .last = 0 };
    return p->n_storage++;
}

bool lmbi_two_layouts(const lmbi_pvalue *v)
{
    const lmb_shape *s = &v->shape;
    return (s->n == 3 || s->n == 4) && s->d[1] != 1 && s->d[2] * (s->n == 4 ? s->d[3] : 1) != 1;
}

int lmbi_plan_in_form(lmb_plan *p, int v, lmb_layout want, lmb_dtype dtype, lmb_error *err)
{
    if (!lmbi_two_layouts(&p->value[v]))
        want = p->value[v].layout;
    for (int k = v; k >= 0; k = p->value[k].other)
        if (p->value[k].layout == want && p->value[k].dtype == dtype)
            return k;
    lmbi_pvalue copy = p->value[v];
    bool turned = copy.layout != want, cast = copy.dtype != dtype;
    double before = (double)copy.bytes;
    copy.layout = want;
    copy.dtype = dtype;
    copy.bytes = lmb_shape_bytes(&copy.shape, dtype);
    copy.fixed = copy.bindable = false;
    copy.bound = NULL;
    copy.first = copy.last = p->n_steps;
    int id = lmbi_plan_add_value(p, &copy), storage = lmbi_plan_add_storage(p, copy.bytes);
    lmbi_step *s = id < 0 || storage < 0 ? NULL : lmbi_plan_add_step(p, 1, 1);
    if (!s) {
        LMB_FAIL(err, LMB_E_NOMEM, "no memory for a plan");
        return -1;
    }
    p->value[id].storage = storage;
    p->value[v].other = id;
    s->label = !cast ? "layout" : turned ? "layout+cast" : "cast";
    s->convert = true;
    s->in[0] = v;
    s->out[0] = id;
    s->cost.bytes = before + (double)copy.bytes;
    return id;
}
