/* core/graph/state.c - see state.h. */
#include "core/graph/state.h"

#include <stdlib.h>
#include <string.h>

static lmb_hash layout_hash(const lmb_state_layout *l)
{
    lmb_hasher h;

    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, "limbeck state layout 1");
    for (int i = 0; i < l->n; i++) {
        const lmb_segment *s = &l->segment[i];
        int64_t numbers[2 + LMB_MAX_DIMS] = { (int64_t)s->role, s->shape.n };
        memcpy(numbers + 2, s->shape.d, sizeof s->shape.d);
        lmb_hash_add_text(&h, s->name);
        lmb_hash_add(&h, numbers, sizeof numbers);
    }
    return lmb_hash_end(&h);
}

lmb_status lmb_state_layout_create(const lmb_graph *g, lmb_state_layout **out, lmb_error *err)
{
    lmb_state_layout *l = calloc(1, sizeof *l);
    int n = 0;

    for (int v = 0; v < g->n_values; v++)
        n += lmb_role_is_state(g->value[v].role);
    if (l)
        l->segment = calloc((size_t)n + 1, sizeof *l->segment);
    if (!l || !l->segment) {
        free(l);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a state of %d segments", n);
    }
    for (int v = 0; v < g->n_values; v++) {
        const lmb_value *x = &g->value[v];
        if (!lmb_role_is_state(x->role))
            continue;
        lmb_segment *s = &l->segment[l->n];
        s->name = strdup(x->name);
        if (!s->name) {
            lmb_state_layout_destroy(l);
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a state of %d segments", n);
        }
        s->role = x->role;
        s->reduce = x->reduce;
        s->frozen = x->frozen;
        s->has_next = x->next != LMB_NONE;
        s->decay = x->decay;
        s->shape = x->shape;
        s->offset = l->count;
        s->count = (size_t)lmb_shape_count(&x->shape);
        s->value = v;
        l->count += s->count;
        l->n++;
    }
    l->hash = layout_hash(l);
    *out = l;
    return LMB_OK;
}

void lmb_state_layout_destroy(lmb_state_layout *l)
{
    if (!l)
        return;
    for (int i = 0; i < l->n; i++)
        free(l->segment[i].name);
    free(l->segment);
    free(l);
}

const lmb_segment *lmb_state_find(const lmb_state_layout *l, const char *name)
{
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->segment[i].name, name) == 0)
            return &l->segment[i];
    return NULL;
}

void lmb_state_from_graph(const lmb_state_layout *l, const lmb_graph *g, float *state)
{
    for (int i = 0; i < l->n; i++)
        memcpy(state + l->segment[i].offset, g->value[l->segment[i].value].data,
               l->segment[i].count * sizeof *state);
}

lmb_status lmb_state_to_graph(const lmb_state_layout *l, const float *state, lmb_graph *g, lmb_error *err)
{
    for (int i = 0; i < l->n; i++)
        LMB_TRY(lmb_graph_set_data(g, l->segment[i].value, state + l->segment[i].offset, err));
    return LMB_OK;
}

size_t lmb_state_parameters(const lmb_state_layout *l)
{
    size_t n = 0;
    for (int i = 0; i < l->n; i++)
        if (l->segment[i].role == LMB_ROLE_PARAMETER)
            n += l->segment[i].count;
    return n;
}
