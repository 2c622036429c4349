/* datasets/split.c - see split.h. */
#include "datasets/split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"

const char *const lmb_partition_names[] = { "iid", "dirichlet", "shards", "groups", "quantity", NULL };

/* ---- splits ---- */

void lmb_split(uint64_t seed, uint32_t n, uint32_t *out)
{
    lmb_rand r = lmb_rand_at(seed, LMB_RAND_SPLIT, 0, 0);
    for (uint32_t i = 0; i < n; i++)
        out[i] = i;
    lmb_rand_shuffle(&r, out, n);
}

/* Sample j of its class's c samples stands at (j + 1/2) / c of the way; `turn` breaks ties at random. */
typedef struct place { double at; uint32_t turn, sample; } place;

static int by_place(const void *a, const void *b)
{
    const place *p = a, *q = b;
    if (p->at != q->at)
        return p->at < q->at ? -1 : 1;
    return p->turn < q->turn ? -1 : p->turn > q->turn;
}

lmb_status lmb_split_stratified(const lmb_dataset *d, uint64_t seed, uint32_t *out, lmb_error *err)
{
    uint32_t n = (uint32_t)d->n;
    int32_t *label = malloc(sizeof *label * n);
    place *p = malloc(sizeof *p * n);
    uint32_t *count = calloc((size_t)d->classes, sizeof *count), *seen = calloc((size_t)d->classes, sizeof *seen);
    lmb_status st = label && p && count && seen ? lmb_dataset_labels(d, label, err)
                                                : LMB_FAIL(err, LMB_E_NOMEM, "no memory to split %u samples", n);
    if (st == LMB_OK) {
        lmb_split(seed, n, out);
        for (uint32_t i = 0; i < n; i++)
            count[label[i]]++;
        for (uint32_t i = 0; i < n; i++) {
            int32_t k = label[out[i]];
            p[i] = (place){ (seen[k]++ + 0.5) / count[k], i, out[i] };
        }
        qsort(p, n, sizeof *p, by_place);
        for (uint32_t i = 0; i < n; i++)
            out[i] = p[i].sample;
    }
    free(label);
    free(p);
    free(count);
    free(seen);
    return st;
}

/* ---- partitions ---- */

typedef struct job {
    const lmb_dataset *d;
    int clients;
    double alpha;
    uint64_t seed;
    int32_t *label;   /* [n]                                          */
    uint32_t *order;  /* [n] a shuffle                                */
    uint32_t *sorted; /* [n] the shuffle, sorted by class             */
    int64_t *start;   /* [classes + 1] where each class is in sorted  */
    int32_t *client;  /* [n] the result                               */
} job;

static lmb_status iid(job *j, lmb_error *err)
{
    (void)err;
    for (int64_t i = 0, n = j->d->n; i < n; i++)
        j->client[j->order[i]] = (int32_t)(i * j->clients / n);
    return LMB_OK;
}

static double open_uniform(const lmb_rand *r, uint32_t e) { return (lmb_rand_u32(r, e) + 0.5) / 4294967296.0; }

/* Logarithm of a Gamma(alpha, 1) number; a small alpha's number itself may be too small to write down.
 * source  Marsaglia, Tsang 2000, A simple method for generating gamma variables; alpha < 1 by their section 6 */
static double log_gamma_sample(const lmb_rand *r, uint32_t *e, double alpha)
{
    double boost = 0;

    if (alpha < 1) {
        boost = log(open_uniform(r, (*e)++)) / alpha;
        alpha += 1;
    }
    double d = alpha - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        *e += *e & 1; /* a normal number takes a pair of words */
        double x = lmb_rand_normal(r, *e), v = 1 + c * x, u = open_uniform(r, *e + 2);
        *e += 3;
        v = v * v * v;
        if (v > 0 && log(u) < 0.5 * x * x + d - d * v + d * log(v))
            return log(d * v) + boost;
    }
}

/* share[clients]: one draw from the symmetric Dirichlet distribution of alpha, adding up to 1. */
static void draw_shares(const lmb_rand *r, double alpha, int clients, double *share)
{
    double most = -INFINITY, sum = 0;
    uint32_t e = 0;

    for (int c = 0; c < clients; c++) {
        share[c] = log_gamma_sample(r, &e, alpha);
        most = share[c] > most ? share[c] : most;
    }
    for (int c = 0; c < clients; c++)
        sum += share[c] = exp(share[c] - most);
    for (int c = 0; c < clients; c++)
        share[c] /= sum;
}

/* Deal `n` samples in order to the clients, by their shares. */
static void deal_shares(job *j, const uint32_t *sample, int64_t n, const double *share)
{
    double reach = share[0] * (double)n;

    for (int64_t i = 0, c = 0; i < n; i++) {
        while (c < j->clients - 1 && (double)i + 0.5 > reach)
            reach += share[++c] * (double)n;
        j->client[sample[i]] = (int32_t)c;
    }
}

/* Each class is dealt to the clients in shares drawn from a Dirichlet distribution. */
static lmb_status dirichlet(job *j, lmb_error *err)
{
    double *share = malloc(sizeof *share * (size_t)j->clients);

    if (!share)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d clients", j->clients);
    for (int k = 0; k < j->d->classes; k++) {
        lmb_rand r = lmb_rand_at(j->seed, LMB_RAND_PARTITION, 1, (uint64_t)k);
        draw_shares(&r, j->alpha, j->clients, share);
        deal_shares(j, j->sorted + j->start[k], j->start[k + 1] - j->start[k], share);
    }
    free(share);
    return LMB_OK;
}

/* All samples alike are dealt in such shares. */
static lmb_status quantity(job *j, lmb_error *err)
{
    double *share = malloc(sizeof *share * (size_t)j->clients);
    lmb_rand r = lmb_rand_at(j->seed, LMB_RAND_PARTITION, 3, 0);

    if (!share)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d clients", j->clients);
    draw_shares(&r, j->alpha, j->clients, share);
    deal_shares(j, j->order, j->d->n, share);
    free(share);
    return LMB_OK;
}

/* Cut the samples, sorted by class, into equal shards; deal the shards in random order. */
static lmb_status shards(job *j, lmb_error *err)
{
    int64_t n = j->d->n, total = j->alpha >= 1 && j->alpha <= (double)n ? j->clients * (int64_t)j->alpha : 0;
    lmb_rand r = lmb_rand_at(j->seed, LMB_RAND_PARTITION, 2, 0);

    if (total < 1 || total > n || j->alpha != floor(j->alpha))
        return LMB_FAIL(err, LMB_E_ARG, "alpha is the number of shards a client gets: a whole number, at least 1 and "
                        "together at most the %lld samples; it is %g for %d clients", (long long)n, j->alpha,
                        j->clients);
    uint32_t *deal = malloc(sizeof *deal * (size_t)total);
    if (!deal)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld shards", (long long)total);
    for (int64_t i = 0; i < total; i++)
        deal[i] = (uint32_t)i;
    lmb_rand_shuffle(&r, deal, (uint32_t)total);
    for (int64_t i = 0; i < n; i++)
        j->client[j->sorted[i]] = (int32_t)(deal[i * total / n] / (uint32_t)j->alpha);
    free(deal);
    return LMB_OK;
}

static int by_number(const void *a, const void *b)
{
    int32_t p = *(const int32_t *)a, q = *(const int32_t *)b;
    return p < q ? -1 : p > q;
}

static lmb_status groups(job *j, lmb_error *err)
{
    int64_t n = j->d->n, distinct = 0;

    if (!j->d->group)
        return LMB_FAIL(err, LMB_E_ARG, "the data set has no natural groups; choose iid, dirichlet or shards");
    int32_t *number = malloc(sizeof *number * (size_t)n);
    if (!number)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld groups", (long long)n);
    for (int64_t i = 0; i < n; i++)
        number[i] = j->d->group(j->d, i);
    qsort(number, (size_t)n, sizeof *number, by_number);
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || number[i] != number[i - 1])
            number[distinct++] = number[i];
    for (int64_t i = 0; i < n && distinct >= j->clients; i++) {
        int32_t g = j->d->group(j->d, i);
        const int32_t *at = bsearch(&g, number, (size_t)distinct, sizeof *number, by_number);
        j->client[i] = (int32_t)((at - number) * j->clients / distinct);
    }
    free(number);
    if (distinct < j->clients)
        return LMB_FAIL(err, LMB_E_ARG, "%d clients, but the data set has %lld natural groups; ask for at most as many "
                        "clients", j->clients, (long long)distinct);
    return LMB_OK;
}

static lmb_status (*const kinds[])(job *, lmb_error *) = {
    [LMB_PARTITION_IID] = iid, [LMB_PARTITION_DIRICHLET] = dirichlet, [LMB_PARTITION_SHARDS] = shards,
    [LMB_PARTITION_GROUPS] = groups, [LMB_PARTITION_QUANTITY] = quantity
};

/* Labels, a shuffle, and the shuffle sorted by class (counting sort, stable). */
static lmb_status prepare(job *j, lmb_error *err)
{
    uint32_t n = (uint32_t)j->d->n;
    lmb_rand r = lmb_rand_at(j->seed, LMB_RAND_PARTITION, 0, 0);
    size_t classes = (size_t)j->d->classes;

    j->label = malloc(sizeof *j->label * n);
    j->order = malloc(sizeof *j->order * n);
    j->sorted = malloc(sizeof *j->sorted * n);
    j->start = calloc(classes + 2, sizeof *j->start);
    if (!j->label || !j->order || !j->sorted || !j->start)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to partition %u samples", n);
    LMB_TRY(lmb_dataset_labels(j->d, j->label, err));
    for (uint32_t i = 0; i < n; i++)
        j->order[i] = i;
    lmb_rand_shuffle(&r, j->order, n);
    int64_t *next = j->start + 1; /* next[k]: where the next sample of class k goes; ends as the start of k + 1 */
    for (uint32_t i = 0; i < n; i++)
        next[j->label[i] + 1]++;
    for (size_t k = 1; k <= classes; k++)
        next[k] += next[k - 1];
    for (uint32_t i = 0; i < n; i++)
        j->sorted[next[j->label[j->order[i]]]++] = j->order[i];
    return LMB_OK;
}

static lmb_status check_least(const job *j, int64_t least, lmb_error *err)
{
    int64_t *count = calloc((size_t)j->clients, sizeof *count);
    lmb_status st = LMB_OK;

    if (!count)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d clients", j->clients);
    for (int64_t i = 0; i < j->d->n; i++)
        count[j->client[i]]++;
    for (int c = 0; c < j->clients && st == LMB_OK; c++)
        if (count[c] < least)
            st = LMB_FAIL(err, LMB_E_ARG, "client %d would get %lld samples, fewer than %lld; use a larger alpha, "
                          "another seed or fewer clients", c, (long long)count[c], (long long)least);
    free(count);
    return st;
}

lmb_status lmb_partition(const lmb_dataset *d, lmb_partition_kind kind, int clients, double alpha, uint64_t seed,
                         int64_t least, int32_t *client, lmb_error *err)
{
    if (clients < 1 || clients > d->n)
        return LMB_FAIL(err, LMB_E_ARG, "%d clients for %lld samples; there must be at least one client and at most "
                        "one for each sample", clients, (long long)d->n);
    if ((kind == LMB_PARTITION_DIRICHLET || kind == LMB_PARTITION_QUANTITY) && !(alpha > 0 && alpha < 1e9))
        return LMB_FAIL(err, LMB_E_ARG, "a Dirichlet partition with alpha %g; it must be above 0 and below 1e9", alpha);
    job j = { .d = d, .clients = clients, .alpha = alpha, .seed = seed, .client = client };
    lmb_status st = prepare(&j, err);
    if (st == LMB_OK)
        st = kinds[kind](&j, err);
    if (st == LMB_OK)
        st = check_least(&j, least, err);
    free(j.label);
    free(j.order);
    free(j.sorted);
    free(j.start);
    return st;
}

lmb_status lmb_partition_view(const lmb_dataset *d, const int32_t *client, int32_t which, lmb_dataset **out,
                              lmb_error *err)
{
    uint32_t *index = malloc(sizeof *index * (size_t)d->n);
    int64_t n = 0;

    if (!index)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a client's samples");
    for (int64_t i = 0; i < d->n; i++)
        if (client[i] == which)
            index[n++] = (uint32_t)i;
    lmb_status st = n ? lmb_dataset_subset(d, index, n, out, err)
                      : LMB_FAIL(err, LMB_E_ARG, "client %d has no samples in the partition", which);
    free(index);
    return st;
}

lmb_status lmb_partition_views(const lmb_dataset *d, const int32_t *client, int clients, lmb_dataset **out,
                               lmb_error *err)
{
    uint32_t *index = malloc(sizeof *index * (size_t)(d->n + 1));
    int64_t *end = calloc((size_t)clients + 1, sizeof *end);
    lmb_status st =
        index && end ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for the samples of %d clients", clients);

    memset(out, 0, (size_t)clients * sizeof *out);
    for (int64_t i = 0; st == LMB_OK && i < d->n; i++)
        end[client[i] + 1]++;
    for (int c = 0; st == LMB_OK && c < clients; c++)
        end[c + 1] += end[c];
    for (int64_t i = 0; st == LMB_OK && i < d->n; i++) /* end[c] moves from the first to behind the last sample of c */
        index[end[client[i]]++] = (uint32_t)i;
    for (int c = 0; st == LMB_OK && c < clients; c++) {
        int64_t from = c ? end[c - 1] : 0;
        st = end[c] > from ? lmb_dataset_subset(d, index + from, end[c] - from, &out[c], err)
                           : LMB_FAIL(err, LMB_E_ARG, "client %d has no samples in the partition", c);
    }
    free(index);
    free(end);
    return st;
}
