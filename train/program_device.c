/* train/program_device.c - a program's plans on a device whose memory the caller knows: bound there, put on the
 * queue, not waited for. See program.h. */
#include "train/program_internal.h"

static lmb_status bind_vectors(lmb_program *p, lmbi_compiled *c, const lmb_program_there *s, lmb_error *err)
{
    if (c->far.state == s->state && c->far.out == s->out)
        return LMB_OK;
    for (int i = 0; i < p->layout->n; i++) {
        if (c->source[i] != LMB_NONE)
            LMB_TRY(lmb_plan_bind_there(c->plan, c->source[i], s->state + s->at[i], err));
        if (c->result[i] != LMB_NONE)
            LMB_TRY(lmb_plan_bind_there(c->plan, c->result[i], s->out + s->at[i], err));
    }
    return LMB_OK;
}

static lmb_status bind_there(lmb_program *p, lmbi_compiled *c, const lmb_program_there *s, lmb_error *err)
{
    const struct {
        lmb_vid v;
        void *now, *before;
    } one[] = {
        { c->x, (void *)s->x, (void *)c->far.x }, { c->y, (void *)s->y, (void *)c->far.y },
        { c->feed, s->feed, c->far.feed },        { c->loss, s->loss, c->far.loss },
        { c->logits, s->logits, c->far.logits },  { c->scale, (void *)s->scale, (void *)c->far.scale },
    };

    LMB_TRY(bind_vectors(p, c, s, err));
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        if (one[i].v != LMB_NONE && one[i].now != one[i].before)
            LMB_TRY(lmb_plan_bind_there(c->plan, one[i].v, one[i].now, err));
    c->far = *s;
    return LMB_OK;
}

lmb_status lmb_program_enqueue(lmb_program *p, const lmb_program_there *s, lmb_error *err)
{
    const lmb_step_info info = { 0, 0, s->sample, s->ranks }; /* seed and epoch: s->there */
    lmbi_compiled *c;

    LMB_TRY(lmbi_program_plan_for(p, s->n, false, &c, err));
    LMB_TRY(bind_there(p, c, s, err));
    c->final = s->final;
    c->final_ctx = s->ctx;
    c->first = p->layout->n;
    lmb_status st = lmb_plan_enqueue(c->plan, &info, s->there, err);
    c->final = NULL;
    return st;
}

lmb_status lmb_program_feed(lmb_program *p, int64_t n, const lmb_step_info *info, const lmb_place *place, void *into,
                            size_t *bytes, lmb_error *err)
{
    lmbi_compiled *c;

    LMB_TRY(lmbi_program_plan_for(p, n, false, &c, err));
    *bytes = c->feed == LMB_NONE ? 0 : lmb_shape_bytes(&c->g->value[c->feed].shape, c->g->value[c->feed].dtype);
    return *bytes && into ? p->loss.feed(p->loss.ctx, info, place, n, into, err) : LMB_OK;
}

const lmb_loss *lmb_program_loss(const lmb_program *p)
{
    return &p->loss;
}
