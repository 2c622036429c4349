/* federated/select.c - see select.h. */
#include "federated/select.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/random.h"

/* A number in (0, 1) that belongs to a client in a round. */
static double chance(const lmb_candidate *c, uint64_t seed, uint64_t round)
{
    lmb_rand r = lmb_rand_at(seed, LMB_RAND_SELECT, (uint32_t)round, (uint64_t)c->id);
    return ((double)lmb_rand_u32(&r, 0) + 0.5) / 4294967296.0;
}

/* ---- rows ---- */

static void uniform(const void *config, const lmb_candidate *c, size_t n, size_t take, uint64_t seed, uint64_t round,
                    double *key)
{
    (void)config, (void)take;
    for (size_t i = 0; i < n; i++)
        key[i] = chance(&c[i], seed, round);
}

/* The k greatest of u^(1/w) are a sample without replacement, each draw in proportion to w; log keeps small numbers
 * apart. */
static void by_size(const void *config, const lmb_candidate *c, size_t n, size_t take, uint64_t seed, uint64_t round,
                    double *key)
{
    (void)config, (void)take;
    for (size_t i = 0; i < n; i++)
        key[i] = log(chance(&c[i], seed, round)) / (double)(c[i].examples ? c[i].examples : 1);
}

static void round_robin(const void *config, const lmb_candidate *c, size_t n, size_t take, uint64_t seed,
                        uint64_t round, double *key)
{
    (void)config, (void)take, (void)seed, (void)round;
    for (size_t i = 0; i < n; i++)
        key[i] = -(double)c[i].last; /* who has waited longest; then the smallest number */
}

typedef struct loss_config { double explore, patience; } loss_config;
static const lmb_field loss_fields[] = {
    LMB_REAL(loss_config, explore, 0.2, 0, 1, "", "share of a round for clients whose loss is not known yet"),
    LMB_REAL(loss_config, patience, 0.1, 0, 100, "", "how much a long wait makes up for a small loss"), LMB_FIELD_END
};

/* What a client says of its own loss: no claim is so great that it has no neighbour in the order. */
static double usefulness(const lmb_candidate *c)
{
    double u = (double)c->examples * c->loss;
    return u > 0 ? fmin(u, DBL_MAX) : 0;
}

/* Known clients by usefulness; unknown ones by chance, first as many as are to be explored, the others behind all. */
static void by_loss(const void *config, const lmb_candidate *c, size_t n, size_t take, uint64_t seed, uint64_t round,
                    double *key)
{
    const loss_config *o = config;
    size_t explore = (size_t)ceil(o->explore * (double)take), known = 0;
    double most = 0;

    for (size_t i = 0; i < n; i++) {
        known += isfinite(c[i].loss);
        if (isfinite(c[i].loss))
            most = fmax(most, usefulness(&c[i]));
    }
    if (take > known && explore < take - known)
        explore = take - known;
    for (size_t i = 0; i < n; i++) {
        double p = chance(&c[i], seed, round);
        if (isfinite(c[i].loss)) /* known: it took part, last >= 1 */
            key[i] = (most > 0 ? usefulness(&c[i]) / most : 0) +
                     sqrt(o->patience * log((double)round) / (double)(c[i].last ? c[i].last : 1));
        else
            key[i] = -1 - p;
    }
    for (; explore; explore--) { /* the luckiest of the unknown come first */
        size_t best = n;
        for (size_t i = 0; i < n; i++)
            if (!isfinite(c[i].loss) && key[i] < 0 && (best == n || key[i] > key[best]))
                best = i;
        if (best == n)
            return;
        key[best] = DBL_MAX;
    }
}

static const lmb_selector uniform_row = { "uniform", "every client alike", NULL, 0, uniform };
static const lmb_selector by_size_row = { "by_size", "likely in proportion to the number of examples", NULL, 0,
                                          by_size };
static const lmb_selector by_loss_row = { "by_loss", "where the loss is high, with a share for the unknown",
                                          loss_fields, sizeof(loss_config), by_loss };
static const lmb_selector round_robin_row = { "round_robin", "one after the other", NULL, 0, round_robin };
const lmb_selector *const lmb_selectors[] = { &uniform_row, &by_size_row, &by_loss_row, &round_robin_row, NULL };

/* ---- choosing ---- */

static lmb_status find(const char *name, const lmb_selector **out, lmb_error *err)
{
    char known[200] = "";

    for (int i = 0; lmb_selectors[i]; i++) {
        if (strcmp(lmb_selectors[i]->name, name) == 0) {
            *out = lmb_selectors[i];
            return LMB_OK;
        }
        size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", lmb_selectors[i]->name);
    }
    return LMB_FAIL(err, LMB_E_ARG, "there is no selection '%.40s'; known are: %s", name, known);
}

lmb_status lmb_selector_open(const lmb_tree *tree, const lmb_selector **out, void **config, lmb_error *err)
{
    static const lmb_field none[] = { LMB_FIELD_END };
    const char *name = "uniform";

    if (tree)
        LMB_TRY(lmb_tree_name(tree, &name, err));
    LMB_TRY(find(name, out, err));
    *config = calloc(1, (*out)->config_bytes + 1);
    if (!*config)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the selection of clients");
    return lmb_fields_bind((*out)->fields ? (*out)->fields : none, tree && tree->kind == LMB_TREE_MAP ? tree : NULL,
                           *config, err);
}

typedef struct place { double key; int64_t id; size_t at; } place;

static int by_key(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static int by_id(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

lmb_status lmb_select(const lmb_selector *s, const void *config, const lmb_candidate *c, size_t n, size_t take,
                      uint64_t seed, uint64_t round, size_t *out, lmb_error *err)
{
    double *key = malloc((n + 1) * sizeof *key);
    place *order = malloc((n + 1) * sizeof *order);

    if (take > n || !key || !order) {
        free(key);
        free(order);
        return take > n ? LMB_FAIL(err, LMB_E_ARG, "%zu clients are to be chosen from %zu", take, n)
                        : LMB_FAIL(err, LMB_E_NOMEM, "no memory to choose among %zu clients", n);
    }
    s->keys(config, c, n, take, seed, round, key);
    for (size_t i = 0; i < n; i++)
        order[i] = (place){ key[i], c[i].id, i };
    qsort(order, n, sizeof *order, by_key);
    qsort(order, take, sizeof *order, by_id);
    for (size_t i = 0; i < take; i++)
        out[i] = order[i].at;
    free(key);
    free(order);
    return LMB_OK;
}
