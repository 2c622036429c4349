/* federated/aggregators/krum.c - robust by distance: updates that have near neighbours count.
 *
 * Idea: of n updates at most `byzantine` (f) are made to do harm. The score of an update is the sum of its squared
 * distances to its n - f - 2 nearest others.
 *
 *   krum        the update of the lowest score alone                           n >= 2 f + 3
 *   multi_krum  the mean of the `keep` lowest (0: n - f)                       n >= 2 f + 3
 *   bulyan      n - 2 f picked one after the other by krum among the rest, then of each coordinate the mean of
 *               the n - 4 f values nearest to their median                     n >= 4 f + 3
 *
 * Equal scores go to the client of the lower number. Examples are no weights: a client that lies would lie about them.
 *
 *   source   Blanchard, El Mhamdi, Guerraoui, Stainer: Machine learning with adversaries. NeurIPS 2017, section 4.
 *            El Mhamdi, Guerraoui, Rouault: The hidden vulnerability of distributed learning. ICML 2018, section 4.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "federated/aggregators/blocks.h"
#include "federated/aggregators/rows.h"

typedef enum { KRUM, MULTI, BULYAN } kind;
typedef struct config { int64_t byzantine, keep; } config;
#define BYZANTINE LMB_INT(config, byzantine, 1, 0, 1e6, "clients", "at most so many of a round's clients are hostile")
static const lmb_field krum_fields[] = { BYZANTINE, LMB_FIELD_END };
static const lmb_field multi_fields[] = {
    BYZANTINE,
    LMB_INT(config, keep, 0, 0, 1e6, "updates", "the mean of so many; 0: all but `byzantine`"),
    LMB_FIELD_END,
};

typedef struct krum { kind kind; config c; const char *name; } krum;

static void destroy(void *state) { free(state); }
static void begin(void *state) { (void)state; }

static int64_t needed(const krum *s) { return (s->kind == BULYAN ? 4 : 2) * s->c.byzantine + 3; }

static lmb_status make(kind k, const char *name, const config *c, const lmb_aggregator_limits *l, void **state,
                       lmb_error *err)
{
    krum *s = calloc(1, sizeof *s);
    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for an aggregator");
    *s = (krum){ k, *c, name };
    if ((uint64_t)needed(s) > l->min_updates) {
        free(s);
        return LMB_FAIL(
            err, LMB_E_ARG,
            "%s with %lld hostile clients needs rounds of at least %lld updates, minimum is %llu; raise minimum "
            "or lower byzantine",
            name, (long long)c->byzantine, (long long)((k == BULYAN ? 4 : 2) * c->byzantine + 3),
            (unsigned long long)l->min_updates);
    }
    *state = s;
    return LMB_OK;
}

static lmb_status create_krum(const void *c, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    config one = { ((const config *)c)->byzantine, 1 };
    return make(KRUM, "krum", &one, l, state, err);
}
static lmb_status create_multi(const void *c, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    return make(MULTI, "multi_krum", c, l, state, err);
}
static lmb_status create_bulyan(const void *c, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    config one = { ((const config *)c)->byzantine, 1 };
    return make(BULYAN, "bulyan", &one, l, state, err);
}

/* d[i * n + j]: squared distances, summed block by block in double. */
static lmb_status distances(const lmb_updates *u, double *d, lmb_error *err)
{
    lmbi_blocks b;
    bool more = true;
    lmb_status st;
    size_t n = (size_t)u->count;

    memset(d, 0, sizeof *d * n * n);
    LMB_TRY(lmbi_blocks_open(&b, u, err));
    while ((st = lmbi_blocks_next(&b, &more, err)) == LMB_OK && more)
        for (size_t i = 0; i < n; i++)
            for (size_t j = i + 1; j < n; j++) {
                const float *x = b.rows + i * b.width, *y = b.rows + j * b.width;
                double sum = 0;
                for (size_t k = 0; k < b.count; k++)
                    sum += (double)(x[k] - y[k]) * (double)(x[k] - y[k]);
                d[i * n + j] += sum;
            }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            d[i * n + j] = d[j * n + i];
    lmbi_blocks_close(&b);
    return st;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sum of the `near` smallest distances of i to updates that are not taken. */
static double score(const double *d, const bool *taken, size_t n, size_t i, size_t near, double *room)
{
    size_t m = 0;
    double sum = 0;
    for (size_t j = 0; j < n; j++)
        if (j != i && !taken[j])
            room[m++] = d[i * n + j];
    qsort(room, m, sizeof *room, ascending);
    for (size_t k = 0; k < near && k < m; k++)
        sum += room[k];
    return sum;
}

/* Mark `keep` updates. Krum and multi-Krum score once; Bulyan scores again among those that are left. */
static void choose(const krum *s, const double *d, size_t n, size_t keep, bool *chosen, double *scores, double *room)
{
    size_t f = (size_t)s->c.byzantine;

    for (size_t pick = 0; pick < keep; pick++) {
        if (pick == 0 || s->kind == BULYAN) {
            size_t left = n - pick, near = left > f + 2 ? left - f - 2 : 1;
            for (size_t i = 0; i < n; i++)
                scores[i] = chosen[i] ? INFINITY : score(d, chosen, n, i, near, room);
        }
        size_t best = n;
        for (size_t i = 0; i < n; i++)
            if (!chosen[i] && (best == n || scores[i] < scores[best]))
                best = i;
        chosen[best] = true;
    }
}

static int ascending_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Mean of the `near` values around the median of v[0 .. m), which are sorted: the window whose ends are nearest to
 * it. */
static double around_median(const float *v, size_t m, size_t near)
{
    double median = m % 2 ? (double)v[m / 2] : ((double)v[m / 2 - 1] + (double)v[m / 2]) / 2, sum = 0;
    size_t lo = 0, hi = m;

    while (hi - lo > near) {
        if (median - (double)v[lo] > (double)v[hi - 1] - median)
            lo++;
        else
            hi--;
    }
    for (size_t i = lo; i < hi; i++)
        sum += (double)v[i];
    return sum / (double)near;
}

static lmb_status combine(const krum *s, const lmb_updates *u, const bool *chosen, size_t keep, float *column,
                          float *out, lmb_error *err)
{
    size_t f = (size_t)s->c.byzantine, near = s->kind == BULYAN ? keep - 2 * f : keep;
    lmbi_blocks b;
    bool more = true;
    lmb_status st;

    LMB_TRY(lmbi_blocks_open(&b, u, err));
    while ((st = lmbi_blocks_next(&b, &more, err)) == LMB_OK && more)
        for (size_t k = 0; k < b.count; k++) {
            size_t m = 0;
            for (int i = 0; i < u->count; i++)
                if (chosen[i])
                    column[m++] = b.rows[(size_t)i * b.width + k];
            qsort(column, m, sizeof *column, ascending_floats);
            out[b.at + k] = (float)around_median(column, m, near);
        }
    lmbi_blocks_close(&b);
    return st;
}

static lmb_status all(void *state, const lmb_updates *u, float *out, lmb_error *err)
{
    const krum *s = state;
    size_t n = (size_t)u->count, f = (size_t)s->c.byzantine;

    if (u->count < needed(s))
        return LMB_FAIL(err, LMB_E_NUMERIC,
                        "%s with %lld hostile clients needs %lld updates, the round brought %d; raise minimum or lower "
                        "byzantine",
                        s->name, (long long)s->c.byzantine, (long long)needed(s), u->count);
    size_t keep = s->kind == BULYAN ? n - 2 * f : s->kind == KRUM ? 1 : s->c.keep ? (size_t)s->c.keep : n - f;
    if (keep > n - f)
        keep = n - f;
    double *d = malloc(sizeof *d * (n * n + 2 * n));
    bool *chosen = calloc(n, sizeof *chosen);
    float *column = malloc(sizeof *column * n);
    lmb_status st = d && chosen && column
                        ? distances(u, d, err)
                        : LMB_FAIL(err, LMB_E_NOMEM, "%s: no memory for %d updates", s->name, u->count);
    if (st == LMB_OK) {
        choose(s, d, n, keep, chosen, d + n * n, d + n * n + n);
        st = combine(s, u, chosen, keep, column, out, err);
    }
    free(d);
    free(chosen);
    free(column);
    return st;
}

#define KRUM_ROW(text, about, rows, how)                                                                               \
    {                                                                                                                  \
        .name = text, .help = about, .needs_all = true, .needs_plain = true, .fields = rows,                           \
        .config_bytes = sizeof(config), .create = how, .destroy = destroy, .begin = begin, .all = all,                 \
    }
const lmb_aggregator lmbi_krum = KRUM_ROW("krum", "the update with the nearest neighbours", krum_fields, create_krum);
const lmb_aggregator lmbi_multi_krum =
    KRUM_ROW("multi_krum", "mean of the updates with the nearest neighbours", multi_fields, create_multi);
const lmb_aggregator lmbi_bulyan = KRUM_ROW("bulyan", "krum's choice, then a trimmed mean", krum_fields, create_bulyan);
