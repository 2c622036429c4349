/* datasets/split.c - see split.h. */
#include "datasets/split.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/random.h"

const char *const lmb_partition_names[] = { "iid", "dirichlet", "shards", "groups", NULL };

void lmb_split(uint64_t seed, uint32_t n, uint32_t *out)
{
    lmb_rand r = lmb_rand_at(seed, LMB_RAND_SPLIT, 0, 0);
    for (uint32_t i = 0; i < n; i++)
        out[i] = i;
    lmb_rand_shuffle(&r, out, n);
}

/* Gamma(alpha, 1) by Marsaglia and Tsang (2000); below 1 by the boost Gamma(a + 1) U^(1/a). */
static double gamma_sample(const lmb_rand *r, uint32_t *e, double alpha)
{
    if (alpha < 1) {
        double u = ((double)lmb_rand_u32(r, (*e)++) + 1) / 4294967297.0;
        return gamma_sample(r, e, alpha + 1) * pow(u, 1 / alpha);
    }
    double d = alpha - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        *e += *e & 1; /* a normal pair shares a block */
        double x = lmb_rand_normal(r, *e), v = 1 + c * x;
        *e += 2;
        double u = ((double)lmb_rand_u32(r, (*e)++) + 1) / 4294967297.0;
        if (v > 0 && log(u) < 0.5 * x * x + d - d * v * v * v + d * log(v * v * v))
            return d * v * v * v;
    }
}

/* Each class is dealt to the clients in shares drawn from a Dirichlet distribution. */
static void dirichlet(const int32_t *label, const uint32_t *order, int64_t n, int classes, int clients, double alpha,
                      uint64_t seed, double *share, int32_t *client)
{
    for (int k = 0; k < classes; k++) {
        lmb_rand r = lmb_rand_at(seed, LMB_RAND_PARTITION, 1, (uint64_t)k);
        double sum = 0, reach = 0;
        uint32_t e = 0;
        int64_t have = 0, done = 0;
        for (int c = 0; c < clients; c++)
            sum += share[c] = gamma_sample(&r, &e, alpha);
        for (int64_t i = 0; i < n; i++)
            have += label[i] == k;
        int c = 0;
        reach = share[0] / sum * (double)have;
        for (int64_t i = 0; i < n; i++) {
            if (label[order[i]] != k)
                continue;
            while (c < clients - 1 && (double)done >= reach)
                reach += share[++c] / sum * (double)have;
            client[order[i]] = c;
            done++;
        }
    }
}

/* Sort by label, cut into equal shards, deal the shards in random order. */
static void shards(const int32_t *label, const uint32_t *order, int64_t n, int classes, int clients, int per_client,
                   uint64_t seed, uint32_t *deal, int32_t *client)
{
    int64_t total = (int64_t)clients * per_client, at = 0;
    lmb_rand r = lmb_rand_at(seed, LMB_RAND_PARTITION, 2, 0);

    for (int64_t i = 0; i < total; i++)
        deal[i] = (uint32_t)i;
    lmb_rand_shuffle(&r, deal, (uint32_t)total);
    for (int k = 0; k < classes; k++)
        for (int64_t i = 0; i < n; i++)
            if (label[order[i]] == k)
                client[order[i]] = (int32_t)(deal[at++ * total / n] / (uint32_t)per_client);
}

lmb_status lmb_partition(const lmb_dataset *d, lmb_partition_kind kind, int clients, double alpha, uint64_t seed,
                         int64_t least, int32_t *client, lmb_error *err)
{
    int64_t n = d->n, total = kind == LMB_PARTITION_SHARDS ? (int64_t)clients * (int64_t)alpha : clients;

    if (clients < 1 || clients > n || !(alpha > 0) || total > n)
        return LMB_FAIL(err, LMB_E_ARG, "%lld samples for %d clients with alpha %g; there must be more samples than clients "
                        "and alpha above 0", (long long)n, clients, alpha);
    if (kind == LMB_PARTITION_GROUPS && !d->group)
        return LMB_FAIL(err, LMB_E_ARG, "the data set has no natural groups; choose iid, dirichlet or shards");
    int32_t *label = malloc(sizeof *label * (size_t)n);
    uint32_t *order = malloc(sizeof *order * (size_t)(n > total ? n : total)), *deal = malloc(sizeof *deal * (size_t)(total + 1));
    double *share = malloc(sizeof *share * (size_t)clients);
    int64_t *count = calloc((size_t)clients, sizeof *count);
    lmb_status st = label && order && deal && share && count ? lmb_dataset_labels(d, label, err)
                                                            : LMB_FAIL(err, LMB_E_NOMEM, "no memory to partition");
    if (st == LMB_OK) {
        lmb_rand r = lmb_rand_at(seed, LMB_RAND_PARTITION, 0, 0);
        for (int64_t i = 0; i < n; i++)
            order[i] = (uint32_t)i;
        lmb_rand_shuffle(&r, order, (uint32_t)n);
        switch (kind) {
        case LMB_PARTITION_IID:
            for (int64_t i = 0; i < n; i++)
                client[order[i]] = (int32_t)(i * clients / n);
            break;
        case LMB_PARTITION_DIRICHLET: dirichlet(label, order, n, d->classes, clients, alpha, seed, share, client); break;
        case LMB_PARTITION_SHARDS: shards(label, order, n, d->classes, clients, (int)alpha, seed, deal, client); break;
        case LMB_PARTITION_GROUPS:
            for (int64_t i = 0; i < n; i++)
                client[i] = d->group(d, i) % clients;
            break;
        }
        for (int64_t i = 0; i < n; i++)
            count[client[i]]++;
        for (int c = 0; c < clients && st == LMB_OK; c++)
            if (count[c] < least)
                st = LMB_FAIL(err, LMB_E_ARG, "client %d would get %lld samples, fewer than %lld; use a larger alpha, another "
                              "seed or fewer clients", c, (long long)count[c], (long long)least);
    }
    free(label);
    free(order);
    free(deal);
    free(share);
    free(count);
    return st;
}
