/* core/cuda/int8.c - see int8.h. */
#include "core/cuda/int8.h"

#include <stdlib.h>

#include "core/cuda/int8_pack.h"

enum {
    ARENA_MAX = 1 << 30, /* indices of kernels are 32 bits */
    ALIGN = 16 /* batches are multiples of it, so that places are, whatever those of the file; loads are as wide */
};

struct lmb_int8 {
    const lmb_cuda_api *api;
    lmb_device *device;
    lmb_int8_step *step;
    int n_steps;
    int64_t batch;
    size_t in_bytes, out_bytes; /* of one example */
    uint8_t *constants, *arena, *raw; /* on the device; raw: planes as they come or go, or NULL */
    uint8_t *input, *output;          /* where they are copied to and from */
};

static uint64_t arena_of_one(const lmb_edge_model *m)
{
    uint64_t end = 1;

    for (uint32_t i = 0; i <= m->n_ops; i++) {
        lmb_edge_tensor t;
        lmb_edge_tensor_at(m, i, &t);
        if (t.place + t.bytes > end)
            end = t.place + t.bytes;
    }
    return end;
}

static lmb_status choose_batch(lmb_int8 *r, const lmb_edge_model *m, int64_t batch, uint64_t *arena, lmb_error *err)
{
    uint64_t one = arena_of_one(m);

    if (one * ALIGN > ARENA_MAX)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "a model that needs %llu bytes for one example does not go on a GPU, which takes at "
                        "most %d; run it on the processor",
                        (unsigned long long)one, ARENA_MAX / ALIGN);
    int64_t most = (int64_t)(ARENA_MAX / one);
    r->batch = batch < 1 ? ALIGN : batch > most ? most / ALIGN * ALIGN : (batch + ALIGN - 1) / ALIGN * ALIGN;
    if (r->batch > most)
        r->batch -= ALIGN;
    *arena = one * (uint64_t)r->batch;
    return LMB_OK;
}

/* Between the caller's planes and our pixels. */
static lmb_int8_step turn(lmb_int8_kind kind, const lmb_edge_tensor *t, uint8_t *from, uint8_t *to)
{
    lmb_int8_tensor x = { from, (int32_t)t->h, (int32_t)t->w, (int32_t)t->c }, y = x;
    y.at = to;
    return (lmb_int8_step){ .kind = kind, .x = x, .y = y, .groups = 1, .size = t->type == LMB_EDGE_F32 ? 4 : 1 };
}

static lmb_status take_memory(lmb_int8 *r, const lmb_edge_tensor *x, const lmb_edge_tensor *y, uint64_t arena,
                              const lmb_str *blob, lmb_error *err)
{
    size_t planes = x->layout == LMB_EDGE_CHW ? x->bytes : 0;
    void *memory;

    if (y->layout == LMB_EDGE_CHW && y->bytes > planes)
        planes = y->bytes;
    LMB_TRY(r->device->alloc(r->device, blob->n + 1, &memory, err));
    r->constants = memory;
    LMB_TRY(r->device->alloc(r->device, (size_t)arena, &memory, err));
    r->arena = memory;
    if (planes) {
        LMB_TRY(r->device->alloc(r->device, planes * (size_t)r->batch, &memory, err));
        r->raw = memory;
    }
    LMB_TRY(r->device->upload(r->device, r->constants, blob->text, blob->n, err));
    return r->device->finish(r->device, err); /* blob goes away */
}

static lmb_status set_up(lmb_int8 *r, const lmb_edge_model *m, int64_t batch, lmb_str *blob, lmb_error *err)
{
    lmb_edge_tensor x, y;
    uint64_t arena = 0;
    int n = 0, made = 0;

    LMB_TRY(choose_batch(r, m, batch, &arena, err));
    r->step = calloc((size_t)m->n_ops * LMB_EDGE_MAX_INPUTS + 2, sizeof *r->step);
    if (!r->step)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a model of %u ops", m->n_ops);
    for (uint32_t i = 0; i < m->n_ops; i++, n += made)
        LMB_TRY(lmbi_int8_pack(m, i, blob, r->step + 1 + n, &made, err));
    lmb_edge_tensor_at(m, 0, &x);
    lmb_edge_tensor_at(m, m->n_ops, &y);
    r->in_bytes = x.bytes;
    r->out_bytes = y.bytes;
    LMB_TRY(take_memory(r, &x, &y, arena, blob, err));
    for (int i = 1; i <= n; i++)
        lmbi_int8_place(&r->step[i], r->constants, r->arena, r->batch);
    r->input = r->arena + x.place * (uint64_t)r->batch;
    r->output = r->arena + y.place * (uint64_t)r->batch;
    /* Step 0 is the input's turn, the last one the output's; kernels of none are left out by n. */
    if (x.layout == LMB_EDGE_CHW)
        r->step[0] = turn(LMB_INT8_TO_PIXELS, &x, r->raw, r->input);
    if (y.layout == LMB_EDGE_CHW)
        r->step[n + 1] = turn(LMB_INT8_TO_PLANES, &y, r->output, r->raw);
    r->input = x.layout == LMB_EDGE_CHW ? r->raw : r->input;
    r->output = y.layout == LMB_EDGE_CHW ? r->raw : r->output;
    r->n_steps = n + 2;
    return LMB_OK;
}

lmb_status lmb_int8_create(const lmb_cuda_api *api, lmb_device *device, const lmb_edge_model *m, int64_t batch,
                           lmb_int8 **out, lmb_error *err)
{
    lmb_int8 *r = calloc(1, sizeof *r);
    lmb_str blob = LMB_STR_INIT;

    if (!r)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a model");
    r->api = api;
    r->device = device;
    lmb_status st = set_up(r, m, batch, &blob, err);
    lmb_str_free(&blob);
    if (st != LMB_OK)
        lmb_int8_destroy(r);
    else
        *out = r;
    return st;
}

void lmb_int8_destroy(lmb_int8 *r)
{
    if (!r)
        return;
    if (r->constants)
        r->device->free(r->device, r->constants);
    if (r->arena)
        r->device->free(r->device, r->arena);
    if (r->raw)
        r->device->free(r->device, r->raw);
    free(r->step);
    free(r);
}

int64_t lmb_int8_batch(const lmb_int8 *r) { return r->batch; }

static lmb_status run_some(lmb_int8 *r, const uint8_t *input, int64_t n, uint8_t *output, lmb_error *err)
{
    lmb_device *d = r->device;

    LMB_TRY(d->upload(d, r->input, input, (size_t)n * r->in_bytes, err));
    for (int i = 0; i < r->n_steps; i++)
        if (r->step[i].x.at) /* the first and the last are there for planes alone */
            LMB_TRY(r->api->int8_step(&r->step[i], n, d->queue, err));
    LMB_TRY(d->download(d, output, r->output, (size_t)n * r->out_bytes, err));
    return d->finish(d, err);
}

lmb_status lmb_int8_run(lmb_int8 *r, const uint8_t *input, int64_t n, void *output, lmb_error *err)
{
    for (int64_t at = 0; at < n; at += r->batch) {
        int64_t some = n - at < r->batch ? n - at : r->batch;
        LMB_TRY(
            run_some(r, input + (size_t)at * r->in_bytes, some, (uint8_t *)output + (size_t)at * r->out_bytes, err));
    }
    return LMB_OK;
}
