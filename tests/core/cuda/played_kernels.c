/* tests/core/cuda/played_kernels.c - the played GPU's kernels: for each op a wrapper for those of our module that
 * change how operands are kept, and one for those that do not. A wrapper copies its call and puts it off. See
 * played.c. */
#include <stdlib.h>
#include <string.h>

#include "tests/core/cuda/played.h"

enum { MOST = 1024 };

static const lmb_cuda_api *real;
static const lmb_kernel *wrapped[MOST];
static lmb_kernel wrapper[MOST];

typedef struct deferred {
    const lmb_kernel *kernel;
    void *state;
    lmb_run run;
    lmb_step_info step;
    lmb_tensor tensor[];
} deferred;

typedef struct made {
    const lmb_kernel *kernel;
    void *state;
} made;

static const lmb_kernel *kernel_for(const lmb_call *c, bool stores, const char **why)
{
    for (int i = 0; real->kernels[i]; i++)
        if (strcmp(real->kernels[i]->op, c->op->name) == 0 && strcmp(real->kernels[i]->domain, c->op->domain) == 0 &&
            (real->kernels[i]->storage != NULL) == stores &&
            (!real->kernels[i]->accepts || real->kernels[i]->accepts(c, why)))
            return real->kernels[i];
    return NULL;
}

static lmb_status create(const lmb_call *c, bool stores, void **state, size_t *scratch, lmb_error *err)
{
    const char *why = "";
    made *m = calloc(1, sizeof *m);
    m->kernel = kernel_for(c, stores, &why);
    lmb_status st = m->kernel->create ? m->kernel->create(c, &m->state, scratch, err) : LMB_OK;
    if (st == LMB_OK)
        *state = m;
    else
        free(m);
    return st;
}

static lmb_layout layout(const lmb_call *c, bool stores, int operand)
{
    const char *why = "";
    const lmb_kernel *k = kernel_for(c, stores, &why);
    return k->layout ? k->layout(c, operand) : LMB_LAYOUT_PLAIN;
}

#define WRAP(name, stores)                                                                                             \
    static bool accepts_##name(const lmb_call *c, const char **why) { return kernel_for(c, stores, why) != NULL; }     \
    static lmb_layout layout_##name(const lmb_call *c, int operand) { return layout(c, stores, operand); }             \
    static lmb_status create_##name(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)                  \
    {                                                                                                                  \
        return create(c, stores, state, scratch, err);                                                                 \
    }
WRAP(plain, false)
WRAP(stored, true)

static lmb_dtype storage(const lmb_call *c, int operand)
{
    const char *why = "";
    return kernel_for(c, true, &why)->storage(c, operand);
}

static void destroy(void *state)
{
    made *m = state;
    lmbi_played_finish();
    if (m->kernel->destroy)
        m->kernel->destroy(m->state);
    free(m);
}

static lmb_status run_deferred(void *what, lmb_error *err)
{
    const deferred *d = what;
    return d->kernel->run(d->state, &d->run, err);
}

static lmb_status run_kernel(void *state, const lmb_run *r, lmb_error *err)
{
    const made *m = state;
    size_t n = (size_t)(r->n_in + r->n_out);

    if (!r->queue)
        return m->kernel->run(m->state, r, err);
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
    lmbi_played_defer(((lmb_cuda_queue *)r->queue)->stream, run_deferred, d);
    return LMB_OK;
}

const lmb_kernel *const *lmbi_played_kernels(const lmb_cuda_api *ours)
{
    int n = 0;

    real = ours;
    for (int i = 0; real->kernels[i] && n < MOST - 1; i++) {
        bool known = false, stores = real->kernels[i]->storage != NULL;
        for (int k = 0; k < n; k++)
            known |= strcmp(wrapped[k]->op, real->kernels[i]->op) == 0 &&
                     strcmp(wrapped[k]->domain, real->kernels[i]->domain) == 0 &&
                     (wrapped[k]->storage != NULL) == stores;
        if (known)
            continue;
        wrapper[n] = *real->kernels[i];
        wrapper[n].accepts = stores ? accepts_stored : accepts_plain;
        wrapper[n].layout = stores ? layout_stored : layout_plain;
        wrapper[n].storage = stores ? storage : NULL;
        wrapper[n].create = stores ? create_stored : create_plain;
        wrapper[n].run = run_kernel;
        wrapper[n].destroy = destroy;
        wrapped[n] = &wrapper[n];
        n++;
    }
    return wrapped;
}
