/* distill/tune/methods/grid.c - all combinations of a few values of every key, the last key fastest. */
#include "distill/tune/method.h"

typedef struct grid_config {
    int64_t points;
} grid_config;
static const lmb_field fields[] = {
    LMB_INT(grid_config, points, 4, 2, 1000, "values",
            "of each number; of whole ones at most those that there are, and a choice has them all"),
    LMB_FIELD_END
};

static int64_t values(const lmb_param *p, const grid_config *c)
{
    return p->kind == LMB_PARAM_CHOICE || (p->n && p->n < c->points) ? p->n : c->points;
}

static int64_t all(const lmb_space *s, const void *config)
{
    double n = 1;
    for (int d = 0; d < s->n; d++)
        n *= (double)values(&s->param[d], config);
    return n > 1e15 ? (int64_t)1e15 : (int64_t)n;
}

/* Value k of n: both ends of a range are among them. */
static double at(const lmb_param *p, int64_t k, int64_t n)
{
    return p->n == n ? lmb_param_cell(p, k) : n == 1 ? 0.5 : (double)k / (double)(n - 1);
}

static lmb_status propose(const lmb_method_view *v, double (*x)[LMB_TUNE_DIMS], lmb_error *err)
{
    (void)err;
    for (int i = 0; i < v->per_round; i++) {
        int64_t k = v->n + i;
        for (int d = v->space->n - 1; d >= 0; d--) {
            int64_t n = values(&v->space->param[d], v->config);
            x[i][d] = at(&v->space->param[d], k % n, n);
            k /= n;
        }
    }
    return LMB_OK;
}

const lmb_method lmbi_method_grid = {
    "grid", "all combinations of a few values of each key", "", fields, sizeof(grid_config), false, NULL, all, propose,
    NULL
};
