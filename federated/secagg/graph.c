/* federated/secagg/graph.c - see graph.h. */
#include "federated/secagg/graph.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* Two bad events share the 40 bits of security. */
static const double security = 41, correctness = 20;

lmb_secagg_trust lmb_secagg_trust_default(lmb_secagg_mode mode)
{
    lmb_secagg_trust t = { mode, 0.05, 0.05, mode == LMB_SECAGG_MALICIOUS ? 2.0 / 3 : 0.5 };
    return t;
}

/* lgamma(3) writes a global sign. */
static double log_factorial(double n)
{
    int sign;
    return lgamma_r(n + 1, &sign);
}

static double log_choose(double n, double k)
{
    return log_factorial(n) - log_factorial(k) - log_factorial(n - k);
}

/* Drawn without putting back: k of n clients, m of which are marked. log P[x drawn ones are marked], for
 * max(0, k - (n - m)) <= x <= min(k, m), and what takes it from x to x + 1. */
static double log_marked(double n, double m, double k, double x)
{
    return log_choose(m, x) + log_choose(n - m, k - x) - log_choose(n, k);
}

static double log_step(double n, double m, double k, double x)
{
    return log((m - x) * (k - x) / ((x + 1) * (n - m - k + x + 1)));
}

/* Shares of a whole number of clients; the tiny term keeps 0.29 * 100 at 29. */
static double at_most(double share, double n) { return floor((share + 1e-14) * n); }

/* Neighbours of one client, exceeded with probability at most 2^-41 / n, that work with the server. */
static uint32_t bad_neighbours(uint32_t n, uint32_t k, double adversaries)
{
    double limit = exp2(-security) / n, tail = 0, m = at_most(adversaries, n), log_p;
    double x = fmin(k, m), least = fmax(0, k - (n - m));
    for (log_p = log_marked(n, m, k, x); x > least; log_p -= log_step(n, m, k, x)) {
        tail += exp(log_p);
        if (tail > limit)
            break;
        x--;
    }
    return (uint32_t)x;
}

/* Neighbours that every client keeps but with probability 2^-20 / n. */
static uint32_t kept_neighbours(uint32_t n, uint32_t k, double dropouts)
{
    double limit = exp2(-correctness) / n, tail = 0, m = n - at_most(dropouts, n), log_p;
    double x = fmax(0, k - (n - m)), most = fmin(k, m);
    for (log_p = log_marked(n, m, k, x); x < most; x++) {
        tail += exp(log_p);
        if (tail >= limit)
            break;
        log_p += log_step(n, m, k, x);
    }
    return (uint32_t)x;
}

/* A ring falls apart when two gaps of k/2 clients open; union bound over the pairs of gaps. */
static bool stays_connected(uint32_t n, uint32_t k, const lmb_secagg_trust *t)
{
    double gone = at_most(t->adversaries, n) + at_most(t->dropouts, n);
    double pairs = log(n) + log((double)n - k - 1) - log(2);
    if (k > gone)
        return true;
    return pairs + log_factorial(gone) + log_factorial((double)n - k) - log_factorial(n) - log_factorial(gone - k) <
           -security * log(2);
}

/* The least threshold that `bad` neighbours cannot abuse. */
static uint32_t least_threshold(uint32_t k, uint32_t bad, const lmb_secagg_trust *t)
{
    uint32_t need = t->mode == LMB_SECAGG_MALICIOUS ? (k + bad) / 2 + 1 : bad + 1;
    uint32_t above = (uint32_t)floor(t->floor * k + 1e-9) + 1;
    return t->floor > 0 && need < above ? above : need;
}

/* A share must not be the secret itself. As in the known answers this is no matter of correctness: it costs a tiny
 * cohort with many drop-outs its sum, never its secrets. */
static uint32_t at_least_2(uint32_t threshold) { return threshold < 2 ? 2 : threshold; }

static lmb_status check_trust(uint32_t n, const lmb_secagg_trust *t, lmb_error *err)
{
    double gone = t->adversaries + (t->mode == LMB_SECAGG_MALICIOUS ? 2 : 1) * t->dropouts;
    if (t->mode != LMB_SECAGG_CURIOUS && t->mode != LMB_SECAGG_MALICIOUS)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation knows no mode %d", (int)t->mode);
    if (n < 1 || n > LMB_SECAGG_CLIENTS)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation of %u clients: a cohort has from 1 to %d", n,
                        LMB_SECAGG_CLIENTS);
    if (!(t->adversaries >= 0 && t->adversaries < 1 && t->dropouts >= 0 && t->dropouts < 1 && t->floor >= 0 &&
          t->floor < 1))
        return LMB_FAIL(err, LMB_E_ARG,
                        "secure aggregation: adversaries %g, dropouts %g and floor %g are shares from 0 to below 1",
                        t->adversaries, t->dropouts, t->floor);
    if (gone > 0.9)
        return LMB_FAIL(err, LMB_E_ARG,
                        "secure aggregation: adversaries %g and dropouts %g are too many; %s may be 0.9 at most",
                        t->adversaries, t->dropouts,
                        t->mode == LMB_SECAGG_MALICIOUS ? "adversaries + 2 * dropouts" : "adversaries + dropouts");
    return LMB_OK;
}

lmb_status lmb_secagg_shape_find(uint32_t n, const lmb_secagg_trust *trust, lmb_secagg_shape *out, lmb_error *err)
{
    LMB_TRY(check_trust(n, trust, err));
    for (uint32_t k = 2; k + 1 < n && k <= LMB_SECAGG_DEGREE; k += 2) {
        uint32_t need;
        if (!stays_connected(n, k, trust))
            continue;
        need = least_threshold(k, bad_neighbours(n, k, trust->adversaries), trust);
        if (need > kept_neighbours(n, k, trust->dropouts))
            continue;
        out->degree = k;
        out->threshold = at_least_2(need);
        return LMB_OK;
    }
    return LMB_FAIL(err, LMB_E_ARG,
                    "secure aggregation: no graph on %u clients bears adversaries %g and dropouts %g with floor %.3g; "
                    "take more clients or lower the shares",
                    n, trust->adversaries, trust->dropouts, trust->floor);
}

/* Everyone is everyone's neighbour: what was a tail is a plain count. */
static uint32_t bad_in_complete(uint32_t n, const lmb_secagg_trust *t)
{
    double bad = at_most(t->adversaries, n);
    return bad > n - 1 ? n - 1 : (uint32_t)bad;
}

lmb_status lmb_secagg_shape_plan(uint32_t n, const lmb_secagg_trust *trust, lmb_secagg_shape *out, lmb_error *err)
{
    lmb_error sparse = LMB_ERROR_INIT;
    uint32_t k, need;
    double kept;

    LMB_TRY(check_trust(n, trust, err));
    if (lmb_secagg_shape_find(n, trust, out, &sparse) == LMB_OK)
        return LMB_OK;
    k = n - 1;
    if (k > LMB_SECAGG_DEGREE)
        return LMB_FAIL(err, sparse.status, "%s", sparse.msg);
    need = at_least_2(least_threshold(k, bad_in_complete(n, trust), trust));
    kept = k - at_most(trust->dropouts, n);
    if (need > kept)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "secure aggregation of %u clients needs %u neighbours of each to stay, but with dropouts %g only "
            "%.0f need to; take more clients, or lower adversaries (%g) or dropouts",
            n, need, trust->dropouts, kept < 0 ? 0 : kept, trust->adversaries);
    out->degree = k;
    out->threshold = need;
    return LMB_OK;
}

lmb_status lmb_secagg_shape_check(uint32_t n, const lmb_secagg_shape *s, const lmb_secagg_trust *trust, lmb_error *err)
{
    bool complete = s->degree + 1 == n;
    uint32_t need;

    LMB_TRY(check_trust(n, trust, err));
    if (s->degree < 1 || s->degree >= n || (!complete && s->degree % 2))
        return LMB_FAIL(err, LMB_E_DENIED, "the server wants %u neighbours for each of %u clients; that is no ring",
                        s->degree, n);
    if (s->threshold > s->degree)
        return LMB_FAIL(err, LMB_E_DENIED, "the server wants a threshold of %u of %u neighbours", s->threshold,
                        s->degree);
    if (!complete && !stays_connected(n, s->degree, trust))
        return LMB_FAIL(err, LMB_E_DENIED,
                        "with %u neighbours each, %u clients may fall into parts that the server sees apart; this "
                        "client assumes adversaries %g and dropouts %g",
                        s->degree, n, trust->adversaries, trust->dropouts);
    need = complete ? bad_in_complete(n, trust) : bad_neighbours(n, s->degree, trust->adversaries);
    need = at_least_2(least_threshold(s->degree, need, trust));
    if (s->threshold < need)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the server's threshold of %u of %u neighbours is below this client's floor of %u",
                        s->threshold, s->degree, need);
    return LMB_OK;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* order[place] = client: Fisher-Yates on the seed's stream. */
static void random_order(uint32_t *order, uint32_t n, const uint8_t seed[LMB_SECAGG_SEED])
{
    lmbi_stream s;
    lmbi_stream_open(&s, seed);
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n - 1; i > 0; i--) {
        uint32_t j = lmbi_stream_below(&s, i + 1), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    lmbi_stream_close(&s);
}

static void join_ring(lmb_secagg_graph *g, const uint32_t *order)
{
    for (uint32_t place = 0; place < g->n; place++) {
        uint32_t *row = g->near + (size_t)order[place] * g->degree, at = 0;
        for (uint32_t d = 1; d <= g->degree / 2; d++) {
            row[at++] = order[(place + d) % g->n];
            row[at++] = order[(place + g->n - d) % g->n];
        }
        qsort(row, g->degree, sizeof *row, by_number);
    }
}

static void join_all(lmb_secagg_graph *g)
{
    for (uint32_t a = 0; a < g->n; a++)
        for (uint32_t b = 0, at = 0; b < g->n; b++)
            if (b != a)
                g->near[(size_t)a * g->degree + at++] = b;
}

lmb_status lmb_secagg_graph_init(lmb_secagg_graph *g, uint32_t n, uint32_t degree, const uint8_t seed[LMB_SECAGG_SEED],
                                 lmb_error *err)
{
    lmb_secagg_graph made = { n, degree, NULL };
    uint32_t *order;

    if (n < 2 || n > LMB_SECAGG_CLIENTS || degree < 1 || degree >= n || (degree % 2 && degree + 1 != n))
        return LMB_FAIL(err, LMB_E_ARG,
                        "no ring of %u clients has degree %u; it is even and below the number of clients, or one less",
                        n, degree);
    made.near = malloc((size_t)n * degree * sizeof *made.near);
    order = malloc(n * sizeof *order);
    if (!made.near || !order) {
        free(made.near);
        free(order);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a graph of %u clients with %u neighbours each", n, degree);
    }
    if (degree + 1 == n) {
        join_all(&made);
    } else {
        random_order(order, n, seed);
        join_ring(&made, order);
    }
    free(order);
    *g = made;
    return LMB_OK;
}

void lmb_secagg_graph_deinit(lmb_secagg_graph *g)
{
    free(g->near);
    g->near = NULL;
}

int64_t lmb_secagg_graph_slot(const lmb_secagg_graph *g, uint32_t a, uint32_t b)
{
    const uint32_t *row = g->near + (size_t)a * g->degree;
    const uint32_t *hit = bsearch(&b, row, g->degree, sizeof b, by_number);
    return hit ? hit - row : -1;
}
