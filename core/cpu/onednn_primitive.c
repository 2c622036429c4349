/* core/cpu/onednn_primitive.c - see onednn_primitive.h. */
#include "core/cpu/onednn_primitive.h"

#include <stdlib.h>
#include <string.h>

void omp_set_num_threads(int n); /* libgomp, which oneDNN links */

void lmbi_onednn_alone(void) { omp_set_num_threads(1); }

void lmbi_primitive_destroy(void *state)
{
    lmbi_primitive *s = state;
    if (!s)
        return;
    for (int i = 0; i < s->n; i++) {
        dnnl_memory_destroy(s->op[i].plain);
        dnnl_memory_destroy(s->op[i].packed);
        dnnl_primitive_destroy(s->op[i].pack);
        free(s->op[i].fixed);
    }
    dnnl_memory_destroy(s->pad);
    dnnl_primitive_destroy(s->p);
    dnnl_stream_destroy(s->stream);
    dnnl_engine_destroy(s->engine);
    free(s);
}

static size_t aligned(size_t n) { return (n + 63) & ~(size_t)63; }

/* Add an operand: `have` is the plan's layout, `want` the primitive's. */
bool lmbi_primitive_add(lmbi_primitive *s, int arg, int tensor, bool output, const dnnl_memory_desc_t *have,
                                const dnnl_memory_desc_t *want)
{
    lmbi_primitive_operand *o = &s->op[s->n++];
    *o = (lmbi_primitive_operand){ .arg = arg, .tensor = tensor, .output = output };
    if (dnnl_memory_create(&o->plain, have, s->engine, DNNL_MEMORY_NONE) != dnnl_success)
        return false;
    if (dnnl_memory_desc_equal(have, want))
        return true;
    dnnl_primitive_desc_t pd;
    const dnnl_memory_desc_t *from = output ? want : have, *to = output ? have : want;
    if (dnnl_memory_create(&o->packed, want, s->engine, DNNL_MEMORY_NONE) != dnnl_success ||
        dnnl_reorder_primitive_desc_create(&pd, from, s->engine, to, s->engine, NULL) != dnnl_success)
        return false;
    dnnl_status_t st = dnnl_primitive_create(&o->pack, pd);
    dnnl_primitive_desc_destroy(pd);
    o->offset = s->scratch;
    s->scratch += aligned(dnnl_memory_desc_get_size(want));
    return st == dnnl_success;
}

const dnnl_memory_desc_t *lmbi_primitive_desc(const_dnnl_primitive_desc_t pd, int arg)
{
    return dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, arg);
}

static const dnnl_memory_desc_t *memory_desc(const_dnnl_memory_t m)
{
    const dnnl_memory_desc_t *d = NULL;
    dnnl_memory_get_memory_desc(m, &d);
    return d;
}

/* Make the primitive for an operation descriptor; false when only the library's reference would run it. */
bool lmbi_primitive_make(lmbi_primitive *s, const_dnnl_op_desc_t op, const_dnnl_primitive_desc_t hint,
                         const_dnnl_post_ops_t after, dnnl_primitive_desc_t *pd)
{
    dnnl_primitive_attr_t attr;
    const char *impl = "";

    if (dnnl_primitive_attr_create(&attr) != dnnl_success)
        return false;
    dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (after && dnnl_primitive_attr_set_post_ops(attr, after) != dnnl_success) {
        dnnl_primitive_attr_destroy(attr);
        return false;
    }
    dnnl_status_t st = dnnl_primitive_desc_create(pd, op, attr, s->engine, hint);
    dnnl_primitive_attr_destroy(attr);
    if (st != dnnl_success)
        return false;
    dnnl_primitive_desc_query(*pd, dnnl_query_impl_info_str, 0, &impl);
    if (strncmp(impl, "ref", 3) == 0 || dnnl_primitive_create(&s->p, *pd) != dnnl_success) {
        dnnl_primitive_desc_destroy(*pd);
        return false;
    }
    const dnnl_memory_desc_t *pad = lmbi_primitive_desc(*pd, DNNL_ARG_SCRATCHPAD);
    s->pad_offset = 0;
    s->scratch = aligned(dnnl_memory_desc_get_size(pad));
    return dnnl_memory_create(&s->pad, pad, s->engine, DNNL_MEMORY_NONE) == dnnl_success;
}

static void place(dnnl_memory_t m, void *data, const void **at)
{
    if (*at == data)
        return;
    dnnl_memory_set_data_handle(m, data);
    *at = data;
}

/* Pack the constant `data` of operand o now and for good. */
bool lmbi_primitive_fix(lmbi_primitive *s, lmbi_primitive_operand *o, const void *data)
{
    if (!o->packed || !data)
        return true;
    o->fixed = aligned_alloc(64, aligned(dnnl_memory_desc_get_size(memory_desc(o->packed)) + 1));
    if (!o->fixed)
        return false;
    place(o->plain, (void *)data, &o->plain_at);
    dnnl_memory_set_data_handle(o->packed, o->fixed);
    dnnl_exec_arg_t move[2] = { { DNNL_ARG_FROM, o->plain }, { DNNL_ARG_TO, o->packed } };
    return dnnl_primitive_execute(o->pack, s->stream, 2, move) == dnnl_success &&
           dnnl_stream_wait(s->stream) == dnnl_success;
}

lmb_status lmbi_primitive_run(void *state, const lmb_run *r, lmb_error *err)
{
    lmbi_primitive *s = state;
    dnnl_exec_arg_t args[LMBI_PRIMITIVE_OPERANDS + 1];
    dnnl_status_t st = dnnl_success;

    lmbi_onednn_alone();
    for (int i = 0; i < s->n; i++) {
        lmbi_primitive_operand *o = &s->op[i];
        const lmb_tensor *t = o->tensor < r->n_in ? &r->in[o->tensor] : &r->out[o->tensor - r->n_in];
        place(o->plain, t->data, &o->plain_at);
        if (o->packed && !o->fixed) {
            place(o->packed, (char *)r->scratch + o->offset, &o->packed_at);
            if (!o->output) {
                dnnl_exec_arg_t move[2] = { { DNNL_ARG_FROM, o->plain }, { DNNL_ARG_TO, o->packed } };
                st = dnnl_primitive_execute(o->pack, s->stream, 2, move);
            }
        }
        args[i] = (dnnl_exec_arg_t){ o->arg, o->packed ? o->packed : o->plain };
    }
    if (s->sum >= 0 && r->n_in > s->sum && r->in[s->sum].data)
        memcpy(r->out[0].data, r->in[s->sum].data, lmb_shape_bytes(&r->out[0].shape, r->out[0].dtype));
    place(s->pad, (char *)r->scratch + s->pad_offset, &s->pad_at);
    args[s->n] = (dnnl_exec_arg_t){ DNNL_ARG_SCRATCHPAD, s->pad };
    if (st == dnnl_success)
        st = dnnl_primitive_execute(s->p, s->stream, s->n + 1, args);
    for (int i = 0; i < s->n && st == dnnl_success; i++)
        if (s->op[i].output && s->op[i].packed) {
            dnnl_exec_arg_t move[2] = { { DNNL_ARG_FROM, s->op[i].packed }, { DNNL_ARG_TO, s->op[i].plain } };
            st = dnnl_primitive_execute(s->op[i].pack, s->stream, 2, move);
        }
    dnnl_stream_wait(s->stream);
    return st == dnnl_success ? LMB_OK : LMB_FAIL(err, LMB_E_DEVICE, "oneDNN reports status %d", (int)st);
}

lmbi_primitive *lmbi_primitive_begin(void)
{
    lmbi_primitive *s = calloc(1, sizeof *s);
    lmbi_onednn_alone();
    if (s)
        s->sum = -1;
    if (s && (dnnl_engine_create(&s->engine, dnnl_cpu, 0) != dnnl_success ||
              dnnl_stream_create(&s->stream, s->engine, dnnl_stream_default_flags) != dnnl_success)) {
        lmbi_primitive_destroy(s);
        s = NULL;
    }
    return s;
}

lmb_status lmbi_primitive_finish(lmbi_primitive *s, bool ok, void **state, size_t *scratch, lmb_error *err)
{
    if (!ok) {
        lmbi_primitive_destroy(s);
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "oneDNN has no fast kernel for this shape");
    }
    *state = s;
    *scratch = s->scratch;
    return LMB_OK;
}
