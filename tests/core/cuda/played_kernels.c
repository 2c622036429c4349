/* tests/core/cuda/played_kernels.c - the played GPU's kernels: for each op a wrapper for those of our module that
 * change how operands are kept, and one for those that do not. A wrapper copies its call and puts it off. See
 * played.c.
 *
 * A kernel that asks for sums of all ranks in its middle (lmb_rank_sums) is put off in two halves, with the exchange
 * between them; as it can not be cut, the first half ends it where it asks, and the second begins again with the
 * exchanged sums in place of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/core/cuda/played.h"

enum { MOST = 1024, TABLES = 3 };

static const lmb_cuda_api *real;
static const lmb_kernel *const *table[TABLES];
static const lmb_kernel *wrapped[TABLES][MOST];
static lmb_kernel wrapper[TABLES][MOST];

typedef enum { WHOLE, FIRST_HALF, SECOND_HALF } half;

typedef struct deferred {
    const lmb_kernel *kernel;
    void *state;
    lmb_run run;
    lmb_step_info step;
    half half;
    double share, *travels; /* [n], in scratch */
    size_t n;
    lmb_tensor tensor[];
} deferred;

typedef struct made {
    const lmb_kernel *kernel;
    void *state;
    size_t scratch;
    bool ran;
} made;

/* What a plan reads of a kernel besides its functions; kernels of one op that differ in it have wrappers of their
 * own. */
static int flags_of(const lmb_kernel *k)
{
    return (k->storage ? 1 : 0) | (k->inplace ? 2 : 0) | (k->order_free ? 4 : 0);
}

static const lmb_kernel *kernel_for(const lmb_call *c, int t, int flags, const char **why)
{
    for (const lmb_kernel *const *k = table[t]; *k; k++)
        if (strcmp((*k)->op, c->op->name) == 0 && strcmp((*k)->domain, c->op->domain) == 0 && flags_of(*k) == flags &&
            (!(*k)->accepts || (*k)->accepts(c, why)))
            return *k;
    return NULL;
}

static lmb_status create(const lmb_call *c, int t, int flags, void **state, size_t *scratch, lmb_error *err)
{
    const char *why = "";
    made *m = calloc(1, sizeof *m);
    m->kernel = kernel_for(c, t, flags, &why);
    lmb_status st = m->kernel->create ? m->kernel->create(c, &m->state, scratch, err) : LMB_OK;
    m->scratch = *scratch;
    if (st == LMB_OK)
        *state = m;
    else
        free(m);
    return st;
}

static lmb_layout layout(const lmb_call *c, int t, int flags, int operand)
{
    const char *why = "";
    const lmb_kernel *k = kernel_for(c, t, flags, &why);
    return k->layout ? k->layout(c, operand) : LMB_LAYOUT_PLAIN;
}

static lmb_dtype storage(const lmb_call *c, int t, int flags, int operand)
{
    const char *why = "";
    return kernel_for(c, t, flags, &why)->storage(c, operand);
}

/* A function of a kernel knows the call alone: for each table and each kind of kernel there are some. */
#define EACH_FLAGS(X, t) X(t, 0) X(t, 1) X(t, 2) X(t, 3) X(t, 4) X(t, 5) X(t, 6) X(t, 7)
#define EACH(X) EACH_FLAGS(X, 0) EACH_FLAGS(X, 1) EACH_FLAGS(X, 2)
#define FUNCTIONS(t, f)                                                                                                \
    static bool accepts_##t##f(const lmb_call *c, const char **why) { return kernel_for(c, t, f, why) != NULL; }       \
    static lmb_layout layout_##t##f(const lmb_call *c, int operand) { return layout(c, t, f, operand); }               \
    static lmb_dtype storage_##t##f(const lmb_call *c, int operand) { return storage(c, t, f, operand); }              \
    static lmb_status create_##t##f(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)                  \
    {                                                                                                                  \
        return create(c, t, f, state, scratch, err);                                                                   \
    }
EACH(FUNCTIONS)
#define ROW(t, f)                                                                                                      \
    [t][f] = { .accepts = accepts_##t##f, .layout = layout_##t##f, .storage = storage_##t##f, .create = create_##t##f },
static const lmb_kernel functions[TABLES][8] = { EACH(ROW) };

static void destroy(void *state)
{
    made *m = state;
    lmbi_played_finish();
    if (m->kernel->destroy)
        m->kernel->destroy(m->state);
    free(m);
}

/* What a kernel asks for, of which nothing comes; or comes what it left of the first half. */
typedef struct asked { double *v; size_t n; } asked;

static lmb_status ask(void *ctx, double *v, size_t n, lmb_error *err)
{
    *(asked *)ctx = (asked){ v, n };
    return LMB_FAIL(err, LMB_E_PEER, "played: this is half of a kernel");
}

static lmb_status answer(void *ctx, double *v, size_t n, lmb_error *err)
{
    (void)err;
    memcpy(v, ctx, n * sizeof *v);
    return LMB_OK;
}

static lmb_status run_deferred(void *what, lmb_error *err)
{
    const deferred *d = what;
    lmb_step_info step = d->step;
    lmb_run run = d->run;
    lmb_error half_done = LMB_ERROR_INIT;
    asked unused;

    run.step = &step;
    if (d->half == WHOLE)
        return d->kernel->run(d->state, &run, err);
    double *sums = malloc(d->n * sizeof *sums);
    memcpy(sums, d->travels, d->n * sizeof *sums);
    lmb_rank_sums ranks = d->half == FIRST_HALF ? (lmb_rank_sums){ &unused, ask, d->share, NULL }
                                                : (lmb_rank_sums){ sums, answer, d->share, NULL };
    step.ranks = &ranks;
    lmb_status st = d->kernel->run(d->state, &run, d->half == FIRST_HALF ? &half_done : err);
    free(sums);
    return d->half == FIRST_HALF ? LMB_OK : st;
}

static deferred *defer(const made *m, const lmb_run *r)
{
    size_t n = (size_t)(r->n_in + r->n_out);
    deferred *d = calloc(1, sizeof *d + (n + 1) * sizeof *d->tensor);
    d->kernel = m->kernel;
    d->state = m->state;
    memcpy(d->tensor, r->in, (size_t)r->n_in * sizeof *d->tensor);
    memcpy(d->tensor + r->n_in, r->out, (size_t)r->n_out * sizeof *d->tensor);
    d->step = *r->step;
    d->run = *r;
    d->run.in = d->tensor;
    d->run.out = d->tensor + r->n_in;
    d->run.step = &d->step;
    d->run.queue = NULL;
    return d;
}

/* Where in scratch it would have what travels: a first half in other memory, whatever its operands hold by now. */
static void find_asked(const made *m, const lmb_run *r, asked *found)
{
    size_t bytes = (m->scratch + 127) / 64 * 64;
    lmb_error half_done = LMB_ERROR_INIT;
    lmb_step_info step = *r->step;
    lmb_rank_sums ranks = { found, ask, r->step->ranks->share, NULL };
    lmb_run run = *r;

    *found = (asked){ NULL, 0 };
    step.ranks = &ranks;
    run.step = &step;
    run.queue = NULL;
    run.scratch = aligned_alloc(64, bytes);
    (void)m->kernel->run(m->state, &run, &half_done);
    if (found->v)
        found->v = (double *)(void *)((char *)r->scratch + ((char *)found->v - (char *)run.scratch));
    free(run.scratch);
}

static lmb_status run_halves(const made *m, const lmb_run *r, lmb_error *err)
{
    const lmb_rank_sums *ranks = r->step->ranks;
    asked there;

    find_asked(m, r, &there);
    for (int k = FIRST_HALF; k <= SECOND_HALF; k++) {
        deferred *d = defer(m, r);
        d->half = (half)k;
        d->share = ranks->share;
        d->travels = there.v;
        d->n = there.n;
        lmbi_played_defer(((lmb_cuda_queue *)r->queue)->stream, run_deferred, d);
        if (k == FIRST_HALF)
            LMB_TRY(ranks->sum_there(ranks->ctx, there.v, there.n, err));
    }
    return LMB_OK;
}

static void measure(const made *m, const lmb_run *r)
{
    char shape[LMB_SHAPE_TEXT], text[2 * LMB_SHAPE_TEXT];

    if (strncmp(m->kernel->op, "Conv", 4) != 0 && strncmp(m->kernel->op, "Gemm", 4) != 0)
        return;
    int n = snprintf(text, sizeof text, "%s of %s", m->kernel->name, lmb_shape_text(&r->in[0].shape, shape,
                                                                                    sizeof shape));
    snprintf(text + n, sizeof text - (size_t)n, " and %s", lmb_shape_text(&r->in[1].shape, shape, sizeof shape));
    lmbi_played_measure(r->queue, text);
}

static lmb_status run_kernel(void *state, const lmb_run *r, lmb_error *err)
{
    made *m = state;

    if (!r->queue)
        return m->kernel->run(m->state, r, err);
    if (!m->ran)
        measure(m, r);
    m->ran = true;
    if (r->step->ranks && strstr(m->kernel->name, "norm_ranks"))
        return run_halves(m, r, err);
    lmbi_played_defer(((lmb_cuda_queue *)r->queue)->stream, run_deferred, defer(m, r));
    return LMB_OK;
}

typedef struct conversion { lmb_tensor from, to; lmb_layout before, after; } conversion;

static lmb_status run_conversion(void *what, lmb_error *err)
{
    const conversion *c = what;
    return real->convert(&c->from, c->before, &c->to, c->after, NULL, err);
}

lmb_status lmbi_played_convert(const lmb_tensor *from, lmb_layout before, const lmb_tensor *to, lmb_layout after,
                               lmb_cuda_queue *q, lmb_error *err)
{
    if (!q)
        return real->convert(from, before, to, after, NULL, err);
    conversion *c = malloc(sizeof *c);
    *c = (conversion){ *from, *to, before, after };
    lmbi_played_defer(q->stream, run_conversion, c);
    return LMB_OK;
}

const lmb_kernel *const *lmbi_played_kernels(const lmb_cuda_api *api, const lmb_kernel *const *ours, int t)
{
    const lmb_kernel **to = wrapped[t];
    int n = 0;

    real = api;
    table[t] = ours;
    for (int i = 0; ours[i] && n < MOST - 1; i++) {
        bool known = false;
        for (int k = 0; k < n; k++)
            known |= strcmp(to[k]->op, ours[i]->op) == 0 && strcmp(to[k]->domain, ours[i]->domain) == 0 &&
                     flags_of(to[k]) == flags_of(ours[i]);
        if (known)
            continue;
        const lmb_kernel *of = &functions[t][flags_of(ours[i])];
        lmb_kernel *w = &wrapper[t][n];
        *w = *ours[i];
        w->accepts = of->accepts;
        w->layout = of->layout;
        w->storage = ours[i]->storage ? of->storage : NULL;
        w->create = of->create;
        w->run = run_kernel;
        w->destroy = destroy;
        w->note = NULL;
        to[n++] = w;
    }
    return to;
}
