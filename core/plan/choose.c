/* core/plan/choose.c - finds out which of several kernels runs a call fastest. See choice.h.
 *
 * Candidates take and give the same forms (layout, storage type) as the fixed choice, so that no conversion comes or
 * goes with them. They run in turns on made-up numbers, as many at once as plans will run side by side; the median of
 * processor time counts, which other processes lengthen less than they do the wall clock's. The fixed choice stays
 * where no other is clearly faster, so that a tie does not change from one machine's cache to the next.
 *
 * What depends on no trained parameter (lmb_plan_options.frozen_exact) always has the fixed choice: a teacher's answers
 * must be the same bits whether they come from its own plan or from a training's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/bf16.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "core/plan/internal.h"

enum { MAX_CANDIDATES = 6, FEWEST_ROUNDS = 7, MOST_ROUNDS = 15 };
static const double ENOUGH_S = 0.01, CLEARLY = 0.97;

/* ---- the key ---- */

static void add_attribute(const lmb_attr_row *row, const char *attr, lmb_str *s)
{
    const char *at = attr + row->offset;
    lmb_ints ints;
    int64_t i;
    float f;
    const char *t;

    switch (row->kind) {
    case LMB_ATTR_INT:
        memcpy(&i, at, sizeof i);
        lmb_str_addf(s, " %s=%lld", row->name, (long long)i);
        break;
    case LMB_ATTR_REAL:
        memcpy(&f, at, sizeof f);
        lmb_str_addf(s, " %s=%.9g", row->name, (double)f);
        break;
    case LMB_ATTR_TEXT:
        memcpy(&t, at, sizeof t);
        lmb_str_addf(s, " %s=%s", row->name, t ? t : "");
        break;
    case LMB_ATTR_INTS:
        memcpy(&ints, at, sizeof ints);
        lmb_str_addf(s, " %s=", row->name);
        for (int k = 0; k < ints.n; k++)
            lmb_str_addf(s, "%s%lld", k ? "," : "", (long long)ints.v[k]);
        break;
    }
}

static void add_operand(const lmb_type *t, const char *before, lmb_str *s)
{
    char shape[LMB_SHAPE_TEXT];
    lmb_str_addf(s, "%s%s%s", before, t->present ? lmb_dtype_name(t->dtype) : "-",
                 t->present ? lmb_shape_text(&t->shape, shape, sizeof shape) : "");
    if (t->present && t->data)
        lmb_str_add(s, "c"); /* constant: kernels prepare it */
}

static void key_of(const lmb_plan *p, const lmb_call *c, lmb_str *s)
{
    lmb_str_addf(s, "%s %s", p->options.backends[0]->name, c->op->name);
    for (const lmb_attr_row *row = c->op->attrs; row && row->name; row++)
        add_attribute(row, c->attr, s);
    for (int i = 0; i < c->n_in; i++)
        add_operand(&c->in[i], i ? "," : " (", s);
    for (int i = 0; i < c->n_out; i++)
        add_operand(&c->out[i], i ? "," : ") ", s);
}

/* ---- candidates ---- */

static bool same_forms(const lmb_kernel *a, const lmb_kernel *b, const lmb_call *c)
{
    if (a->order_free || b->order_free)
        return false;
    for (int i = 0; i < c->n_in + c->n_out; i++) {
        const lmb_type *t = i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
        if (!t->present)
            continue;
        if (lmbi_wanted_type(a, c, i) != lmbi_wanted_type(b, c, i) ||
            (t->shape.n == 4 && lmbi_wanted_layout(a, c, i) != lmbi_wanted_layout(b, c, i)))
            return false;
    }
    return true;
}

/* Kernels that would run the call in the fixed choice's forms, that one first; `named` not NULL: only the one so
 * named. */
static int find_candidates(const lmb_plan *p, const lmb_call *c, const lmb_kernel *fixed, const char *named,
                           const lmb_kernel *found[MAX_CANDIDATES])
{
    const char *why;
    int n = 0;

    if (!named)
        found[n++] = fixed;
    for (const lmb_backend *const *b = p->options.backends; *b; b++)
        for (const lmb_kernel *const *k = (*b)->kernels; *k && n < MAX_CANDIDATES; k++) {
            bool known = *k == fixed;
            for (int i = 0; i < n; i++)
                known |= found[i] == *k;
            if (!known && lmbi_same_op(*k, c->op) && (!named || strcmp((*k)->name, named) == 0) &&
                same_forms(*k, fixed, c) && (!(*k)->accepts || (*k)->accepts(c, &why)))
                found[n++] = *k;
        }
    return n;
}

/* ---- measuring ---- */

typedef struct bench {
    const lmb_call *c;
    int threads, n;
    const lmb_kernel *kernel[MAX_CANDIDATES];
    void **state[MAX_CANDIDATES];   /* [threads] */
    size_t scratch;
    lmb_tensor *tensor;             /* [threads][n_in + n_out] */
    char **memory;                  /* [threads]: all operands and scratch */
    double *seconds;                /* [threads]: of the last run          */
    int running;
} bench;

static size_t aligned(size_t n) { return (n + 63) & ~(size_t)63; }

static void make_up(lmb_tensor *t, uint64_t seed)
{
    lmb_rand r = lmb_rand_at(seed, LMB_RAND_TEST, 0, 0);
    int64_t n = lmb_shape_count(&t->shape);

    for (int64_t i = 0; i < n; i++) {
        float v = lmb_rand_uniform(&r, (uint32_t)(i & 4095)) - 0.5f;
        if (t->dtype == LMB_F32)
            ((float *)t->data)[i] = v;
        else if (t->dtype == LMB_BF16)
            ((uint16_t *)t->data)[i] = lmb_bf16_of(v);
    }
}

/* Memory of one thread: operands in the forms that the kernels want, then scratch. */
static bool lay_out(bench *b, int thread)
{
    const lmb_call *c = b->c;
    lmb_tensor *t = b->tensor + (size_t)thread * (size_t)(c->n_in + c->n_out);
    size_t at = aligned(b->scratch + 1);

    for (int i = 0; i < c->n_in + c->n_out; i++) {
        const lmb_type *type = i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
        t[i] = (lmb_tensor){ lmbi_wanted_type(b->kernel[0], c, i), type->shape, NULL };
        if (type->present)
            at += aligned(lmb_shape_bytes(&type->shape, t[i].dtype) + 1);
    }
    char *m = b->memory[thread] = aligned_alloc(64, at);
    if (!m)
        return false;
    memset(m, 0, at);
    m += aligned(b->scratch + 1);
    for (int i = 0; i < c->n_in + c->n_out; i++) {
        const lmb_type *type = i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
        if (!type->present)
            continue;
        t[i].data = m;
        m += aligned(lmb_shape_bytes(&type->shape, t[i].dtype) + 1);
        make_up(&t[i], (uint64_t)i + 1);
    }
    return true;
}

/* Kernels that can not be made fall out. */
static bool make_states(bench *b)
{
    int made = 0;

    for (int k = 0; k < b->n; k++) {
        const lmb_kernel *kernel = b->kernel[k];
        void **state = calloc((size_t)b->threads, sizeof *state);
        bool ok = state != NULL;
        for (int t = 0; ok && t < b->threads && kernel->create; t++) {
            lmb_error local = LMB_ERROR_INIT;
            size_t scratch = 0;
            ok = kernel->create(b->c, &state[t], &scratch, &local) == LMB_OK;
            b->scratch = scratch > b->scratch ? scratch : b->scratch;
        }
        if (!ok) {
            for (int t = 0; state && t < b->threads && kernel->destroy; t++)
                if (state[t])
                    kernel->destroy(state[t]);
            free(state);
            continue;
        }
        b->kernel[made] = kernel;
        b->state[made++] = state;
    }
    b->n = made;
    return made > 0;
}

static void end(bench *b)
{
    for (int k = 0; k < b->n; k++) {
        for (int t = 0; t < b->threads && b->kernel[k]->destroy; t++)
            b->kernel[k]->destroy(b->state[k][t]);
        free(b->state[k]);
    }
    for (int t = 0; b->memory && t < b->threads; t++)
        free(b->memory[t]);
    free(b->memory);
    free(b->seconds);
    free(b->tensor);
}

/* Of the calling thread. */
static double processor_seconds(void)
{
    struct timespec t = { 0 };
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run_one(void *ctx, int task, int worker)
{
    static const lmb_step_info no_step = { 0, 0, NULL };
    const bench *b = ctx;
    const lmb_tensor *t = b->tensor + (size_t)task * (size_t)(b->c->n_in + b->c->n_out);
    lmb_run r = { b->c->attr, b->c->n_in, b->c->n_out, t, t + b->c->n_in, b->memory[task], &no_step, NULL, NULL };
    lmb_error local = LMB_ERROR_INIT;

    (void)worker;
    double from = processor_seconds();
    (void)!b->kernel[b->running]->run(b->state[b->running][task], &r,
                                      &local); /* made-up numbers: only the time counts */
    b->seconds[task] = processor_seconds() - from;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The index of the fastest. */
static int race(bench *b, lmb_pool *pool)
{
    double time[MAX_CANDIDATES][MOST_ROUNDS], all = 0;
    int rounds = 0, best = 0;

    for (b->running = 0; b->running < b->n; b->running++) /* touch memory, fill caches of code */
        lmb_pool_run(pool, b->threads, run_one, b);
    while (rounds < FEWEST_ROUNDS || (rounds < MOST_ROUNDS && all < ENOUGH_S * b->n)) {
        for (int i = 0; i < b->n; i++) {
            b->running = (i + rounds) % b->n;
            double sum = 0;
            lmb_pool_run(pool, b->threads, run_one, b);
            for (int t = 0; t < b->threads; t++)
                sum += b->seconds[t];
            all += time[b->running][rounds] = sum / b->threads;
        }
        rounds++;
    }
    for (int k = 0; k < b->n; k++) {
        qsort(time[k], (size_t)rounds, sizeof time[k][0], by_value);
        double mine = time[k][rounds / 2], first = time[best][rounds / 2];
        if (mine < (best == 0 ? CLEARLY * first : first))
            best = k;
    }
    return best;
}

/* Without memory for it, or threads, the fixed choice stays. */
static const lmb_kernel *measure(const lmb_call *c, int threads, const lmb_kernel *const *kernel, int n)
{
    bench b = { .c = c, .threads = threads, .n = n };
    lmb_error local = LMB_ERROR_INIT;
    const lmb_kernel *best = kernel[0];
    lmb_pool *pool = NULL;
    bool ok;

    memcpy(b.kernel, kernel, sizeof *kernel * (size_t)n);
    ok = make_states(&b);
    b.tensor = calloc((size_t)threads * (size_t)(c->n_in + c->n_out), sizeof *b.tensor);
    b.memory = calloc((size_t)threads, sizeof *b.memory);
    b.seconds = calloc((size_t)threads, sizeof *b.seconds);
    ok = ok && b.kernel[0] == kernel[0] && b.tensor && b.memory && b.seconds;
    for (int t = 0; ok && t < threads; t++)
        ok = lay_out(&b, t);
    if (ok && b.n > 1 && lmb_pool_create(threads, &pool, &local) == LMB_OK)
        best = b.kernel[race(&b, pool)];
    lmb_pool_destroy(pool);
    end(&b);
    return best;
}

/* ---- the choice ---- */

static const lmb_kernel *decide(const lmb_plan *p, const lmb_call *c, const lmb_kernel *fixed, const char *key,
                                lmb_error *err, lmb_status *st)
{
    lmb_choices *table = p->options.choices;
    const lmb_kernel *found[MAX_CANDIDATES];
    const char *known = lmbi_choices_find(table, key);

    if (known && strcmp(known, fixed->name) == 0)
        return fixed;
    if (known && find_candidates(p, c, fixed, known, found) > 0)
        return found[0];
    if (known && !lmbi_choices_measuring(table))
        lmbi_choices_lose(table);
    if (!lmbi_choices_measuring(table)) /* else a cache of another build has a name that says nothing here */
        return fixed;
    int n = find_candidates(p, c, fixed, NULL, found);
    const lmb_kernel *best = n > 1 ? measure(c, lmbi_choices_threads(table), found, n) : fixed;
    *st = lmbi_choices_put(table, key, best->name, n > 1, err);
    return best;
}

lmb_status lmbi_choose(const lmb_plan *p, const lmb_call *c, const lmb_kernel *fixed, const lmb_kernel **out,
                       lmb_error *err)
{
    lmb_choices *table = p->options.choices;
    lmb_str key = LMB_STR_INIT;

    *out = fixed;
    if (lmb_call_cost(c).macs <= 0)
        return LMB_OK;
    key_of(p, c, &key);
    lmb_status st = lmb_str_check(&key, err);
    if (st == LMB_OK) {
        lmbi_choices_lock(table);
        *out = decide(p, c, fixed, key.text, err, &st);
        lmbi_choices_unlock(table);
    }
    lmb_str_free(&key);
    return st;
}
