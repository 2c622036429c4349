/* federated/aggregators/sorted.c - robust by sorting: each coordinate by itself, extremes do not count.
 *
 *   median        the middle value (the mean of the two middle ones)
 *   trimmed_mean  the mean without the `trim` share of the lowest and as many of the highest
 *
 * Examples are no weights here: a client that lies would lie about them first.
 *
 *   source   Yin, Chen, Ramchandran, Bartlett: Byzantine-robust distributed learning. ICML 2018, definitions 1 and 2.
 */
#include <math.h>
#include <stdlib.h>

#include "federated/aggregators/blocks.h"
#include "federated/aggregators/rows.h"

typedef struct config { double trim; } config;
static const lmb_field trim_fields[] = {
    LMB_REAL(config, trim, 0.1, 0, 0.499, "", "share of the updates that is left out at each end"), LMB_FIELD_END,
};

typedef struct sorted { double trim; } sorted; /* 0.5: the median */

static void destroy(void *state) { free(state); }

static lmb_status make(double trim, void **state, lmb_error *err)
{
    sorted *s = calloc(1, sizeof *s);
    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for an aggregator");
    s->trim = trim;
    *state = s;
    return LMB_OK;
}

static lmb_status create_median(const void *c, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    return (void)c, (void)l, make(0.5, state, err);
}
static lmb_status create_trimmed(const void *c, const lmb_aggregator_limits *l, void **state, lmb_error *err)
{
    return (void)l, make(((const config *)c)->trim, state, err);
}

static void begin(void *state) { (void)state; }

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static lmb_status all(void *state, const lmb_updates *u, float *out, lmb_error *err)
{
    const sorted *s = state;
    int cut = s->trim < 0.5 ? (int)floor(s->trim * u->count) : (u->count - 1) / 2;
    float *column = malloc(sizeof *column * (size_t)(u->count + 1));
    lmbi_blocks b = { 0 };
    bool more = true;
    lmb_status st = column ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to sort %d updates", u->count);

    if (st == LMB_OK && u->count < 1)
        st = LMB_FAIL(err, LMB_E_NUMERIC, "no update arrived, there is nothing to sort");
    if (st == LMB_OK)
        st = lmbi_blocks_open(&b, u, err);
    while (st == LMB_OK && (st = lmbi_blocks_next(&b, &more, err)) == LMB_OK && more)
        for (size_t k = 0; k < b.count; k++) {
            double sum = 0;
            for (int i = 0; i < u->count; i++)
                column[i] = b.rows[(size_t)i * b.width + k];
            qsort(column, (size_t)u->count, sizeof *column, ascending);
            for (int i = cut; i < u->count - cut; i++)
                sum += (double)column[i];
            out[b.at + k] = (float)(sum / (u->count - 2 * cut));
        }
    lmbi_blocks_close(&b);
    free(column);
    return st;
}

const lmb_aggregator lmbi_median = { .name = "median",
                                     .help = "middle value of each coordinate",
                                     .needs_all = true,
                                     .needs_plain = true,
                                     .create = create_median,
                                     .destroy = destroy,
                                     .begin = begin,
                                     .all = all };
const lmb_aggregator lmbi_trimmed_mean = { .name = "trimmed_mean",
                                           .help = "mean of each coordinate without the extremes",
                                           .needs_all = true,
                                           .needs_plain = true,
                                           .fields = trim_fields,
                                           .config_bytes = sizeof(config),
                                           .create = create_trimmed,
                                           .destroy = destroy,
                                           .begin = begin,
                                           .all = all };
