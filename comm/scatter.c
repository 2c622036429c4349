/* comm/scatter.c - see scatter.h. */
#include "comm/scatter.h"

#include <string.h>

int lmb_comm_parts(const lmb_comm *c) { return lmbi_comm_power(c->size); }

static int reversed(int x, int power)
{
    int y = 0;
    for (int bit = 1; bit < power; bit *= 2)
        y = y * 2 + ((x & bit) != 0);
    return y;
}

int lmb_comm_keeper(const lmb_comm *c, int part) { return reversed(part, lmb_comm_parts(c)); }

/* The halves that a rank and its peer have at one bit: parts [lo, mid) and [mid, hi), of which this rank keeps the
 * `upper` or not. */
typedef struct halves { int lo, mid, hi, peer; bool upper; } halves;

static halves at_bit(const lmb_comm *c, int power, int bit)
{
    halves h = { 0, power / 2, power, c->rank ^ bit, (c->rank & bit) != 0 };
    for (int b = 1; b < bit; b *= 2) {
        if (c->rank & b)
            h.lo = h.mid;
        else
            h.hi = h.mid;
        h.mid = (h.lo + h.hi) / 2;
    }
    return h;
}

/* Give the lower or upper half of v and get one into scratch. Both messages are as long as the longer half, the upper
 * ends where v does: the transport takes one length. *got: where in scratch position `*at` of v is. */
static lmb_status swap(lmb_comm *c, const halves *h, float *v, float *scratch, const size_t *cut, bool give_upper,
                       bool get_upper, const float **got, size_t *at, size_t *n, lmb_error *err)
{
    size_t lower = cut[h->mid] - cut[h->lo], upper = cut[h->hi] - cut[h->mid], k = lower > upper ? lower : upper;
    const float *give = give_upper ? v + cut[h->hi] - k : v + cut[h->lo];

    *at = get_upper ? cut[h->mid] : cut[h->lo];
    *n = get_upper ? upper : lower;
    *got = get_upper ? scratch + (k - upper) : scratch;
    return k ? c->exchange(c, give, h->peer, scratch, h->peer, k * sizeof *v, err) : LMB_OK;
}

lmb_status lmb_comm_reduce_scatter(lmb_comm *c, float *v, float *scratch, const size_t *cut, lmb_combine combine,
                                   void *ctx, lmb_error *err)
{
    int power = lmb_comm_parts(c), extra = c->size - power;
    size_t all = cut[power] - cut[0], at, n;
    const float *got;

    if (c->rank >= power)
        return c->exchange(c, v + cut[0], c->rank - power, NULL, -1, all * sizeof *v, err);
    if (c->rank < extra) {
        LMB_TRY(c->exchange(c, NULL, -1, scratch, c->rank + power, all * sizeof *v, err));
        combine(ctx, v + cut[0], scratch, cut[0], all);
    }
    for (int bit = 1; bit < power; bit *= 2) {
        halves h = at_bit(c, power, bit);
        LMB_TRY(swap(c, &h, v, scratch, cut, !h.upper, h.upper, &got, &at, &n, err));
        if (n)
            combine(ctx, v + at, got, at, n);
    }
    return LMB_OK;
}

lmb_status lmb_comm_gather_parts(lmb_comm *c, float *v, float *scratch, const size_t *cut, lmb_error *err)
{
    int power = lmb_comm_parts(c), extra = c->size - power;
    size_t all = cut[power] - cut[0], at, n;
    const float *got;

    if (c->rank >= power)
        return c->exchange(c, NULL, -1, v + cut[0], c->rank - power, all * sizeof *v, err);
    for (int bit = power / 2; bit >= 1; bit /= 2) {
        halves h = at_bit(c, power, bit);
        LMB_TRY(swap(c, &h, v, scratch, cut, h.upper, !h.upper, &got, &at, &n, err));
        memcpy(v + at, got, n * sizeof *v);
    }
    if (c->rank < extra)
        return c->exchange(c, v + cut[0], c->rank + power, NULL, -1, all * sizeof *v, err);
    return LMB_OK;
}
