/* core/cpu/sum_to.c - SumTo when the axes that stay are neighbours: sums over what lies before and behind them. The
 * gradient of a bias, of one number, of a scale a channel.
 *
 * Sums are in double. Over leading axes they run in the order of the reference; along a row, in eight parts.
 */
#include <string.h>

#include "core/base/compiler.h"
#include "core/cpu/kernels.h"

/* x as [before][stay][behind]. */
typedef struct parts { int64_t before, stay, behind; } parts;

static bool parts_of(const lmb_shape *x, const lmb_shape *y, parts *out)
{
    int64_t size[3] = { 1, 1, 1 };
    int at = 2;

    for (int i = x->n - 1, j = y->n - 1; i >= 0; i--, j--) {
        bool stays = j >= 0 && y->d[j] == x->d[i] && x->d[i] != 1;
        if (x->d[i] == 1)
            continue;
        if (stays != (at == 1)) /* from behind to stay, from stay to before */
            at--;
        if (at < 0 || stays != (at == 1))
            return false;
        size[at] *= x->d[i];
    }
    *out = (parts){ size[0], size[1], size[2] };
    if (size[1] == 1) /* one number: a single row */
        *out = (parts){ 1, 1, size[0] * size[2] };
    return true;
}

static bool accepts(const lmb_call *c, const char **why)
{
    parts p;
    *why = "only when the axes that stay are neighbours";
    return parts_of(&c->in[0].shape, &c->out[0].shape, &p);
}

static lmb_status create(const lmb_call *c, void **state, size_t *scratch, lmb_error *err)
{
    (void)state, (void)err;
    *scratch = sizeof(double) * (size_t)lmb_shape_count(&c->out[0].shape);
    return LMB_OK;
}

LMB_HOT static void add_row(const float *LMB_RESTRICT x, double *LMB_RESTRICT sum, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] += x[i];
}

static double along(const float *x, int64_t n)
{
    double part[8] = { 0 }, sum = 0;
    int64_t i = 0;

    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            part[k] += x[i + k];
    for (; i < n; i++)
        part[i % 8] += x[i];
    for (int k = 0; k < 8; k++)
        sum += part[k];
    return sum;
}

static lmb_status run(void *state, const lmb_run *r, lmb_error *err)
{
    parts p = { 0 };
    const float *x = r->in[0].data;
    double *sum = r->scratch;

    (void)state, (void)err;
    parts_of(&r->in[0].shape, &r->out[0].shape, &p);
    memset(sum, 0, sizeof *sum * (size_t)p.stay);
    for (int64_t b = 0; b < p.before; b++, x += p.stay * p.behind) {
        if (p.behind == 1)
            add_row(x, sum, p.stay);
        else
            for (int64_t i = 0; i < p.stay; i++)
                sum[i] += along(x + i * p.behind, p.behind);
    }
    for (int64_t i = 0; i < p.stay; i++)
        ((float *)r->out[0].data)[i] = (float)sum[i];
    return LMB_OK;
}

const lmb_kernel lmbi_cpu_sum_to = {
    .name = "cpu:sum_to", .op = "SumTo", .domain = "limbeck", .accepts = accepts, .create = create, .run = run,
};
