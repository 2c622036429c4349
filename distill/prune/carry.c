/* distill/prune/carry.c - see carry.h. */
#include "distill/prune/carry.h"

#include <stdlib.h>
#include <string.h>

void lmb_carry_free(lmb_carry *c)
{
    for (int i = 0; i < c->n_slots; i++)
        free(c->slot[i]);
    lmb_state_layout_destroy(c->layout);
    memset(c, 0, sizeof *c);
}

/* An empty one with room for `n_slots` vectors over the state of g, all zero. */
static lmb_status make(lmb_carry *c, const lmb_graph *g, int n_slots, lmb_error *err)
{
    lmb_carry made = { .n_slots = n_slots };

    LMB_TRY(lmb_state_layout_create(g, &made.layout, err));
    for (int i = 0; i < n_slots; i++) {
        made.slot[i] = calloc(made.layout->count + 1, sizeof *made.slot[i]);
        if (!made.slot[i]) {
            size_t count = made.layout->count;
            lmb_carry_free(&made);
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory to carry on what the optimizer remembers of %zu numbers",
                            count);
        }
    }
    *c = made;
    return LMB_OK;
}

lmb_status lmb_carry_take(lmb_carry *c, const lmb_graph *model, const lmb_trainer_state *s, lmb_error *err)
{
    lmb_carry taken;

    LMB_TRY(make(&taken, model, s->n_slots, err));
    for (int k = 0; k < taken.layout->n; k++) {
        const lmb_segment *is = &taken.layout->segment[k], *was = lmb_state_find(s->layout, is->name);
        for (int i = 0; was && was->count == is->count && i < s->n_slots; i++)
            memcpy(taken.slot[i] + is->offset, s->slot[i] + was->offset, is->count * sizeof *s->slot[i]);
    }
    taken.optimizer = s->optimizer;
    taken.steps = s->steps_before + s->step;
    lmb_carry_free(c);
    *c = taken;
    return LMB_OK;
}

lmb_status lmb_carry_cut(lmb_carry *c, const lmb_lineage *l, const lmb_graph *cut, lmb_error *err)
{
    lmb_carry left;

    if (!c->layout)
        return LMB_OK;
    LMB_TRY(make(&left, cut, c->n_slots, err));
    if (l->count_was != c->layout->count || l->count != left.layout->count) {
        lmb_status st = LMB_FAIL(err, LMB_E_SHAPE,
                                 "a lineage of %zu to %zu numbers does not lead from a model of %zu to one of %zu",
                                 l->count_was, l->count, c->layout->count, left.layout->count);
        lmb_carry_free(&left);
        return st;
    }
    for (int i = 0; i < c->n_slots; i++)
        lmb_lineage_carry(l, c->slot[i], left.slot[i]);
    left.optimizer = c->optimizer;
    left.steps = c->steps;
    lmb_carry_free(c);
    *c = left;
    return LMB_OK;
}

bool lmb_carry_fits(const lmb_carry *c, const lmb_trainer_state *s)
{
    return c->layout && c->n_slots == s->n_slots && strcmp(c->optimizer, s->optimizer) == 0;
}

lmb_status lmb_carry_give(const lmb_carry *c, lmb_trainer_state *s, lmb_error *err)
{
    if (!lmb_carry_fits(c, s))
        return LMB_OK;
    for (int k = 0; k < c->layout->n; k++) {
        const lmb_segment *from = &c->layout->segment[k], *to = lmb_state_find(s->layout, from->name);
        if (!to)
            continue;
        if (!lmb_shape_equal(&from->shape, &to->shape))
            return LMB_FAIL(err, LMB_E_SHAPE, "%s has another shape than what the optimizer remembers of it",
                            from->name);
        for (int i = 0; i < s->n_slots; i++)
            memcpy(s->slot[i] + to->offset, c->slot[i] + from->offset, from->count * sizeof *c->slot[i]);
    }
    s->steps_before = c->steps;
    return LMB_OK;
}
