/* federated/simulate_masks.c - `simulate.masks`: simulated clients hide their updates, and the masks come off again.
 *
 * Idea: a simulation has nobody to hide, and sums in the clear leave the same bits; with masks it does the work that a
 * secure sum is to clients and server, to see what it costs and that nothing of it stays. The round's graph is the
 * protocol's (secagg/graph.h), each client adds the stream of its own mask and adds or subtracts one for each
 * neighbour, and what is left in the sum comes off: own masks of those that are in it, and those that they share with
 * clients that are not. Keys are not agreed on by anybody: they follow from the seed.
 *
 * Masks are made by the job's masker, a GPU (unmask_gpu.h), where there are enough of them that the way there pays;
 * else by the processor, to the same bits. Each rank hides and shows its own sum: to it, clients of other ranks are
 * some that left.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "federated/simulate_parts.h"

/* Bytes of streams that are worth a copy to a GPU and back: an estimate, a processor makes some 2 GB/s. */
enum { WORTH_A_GPU = 1 << 20 };

struct lmbi_sim_masks {
    lmb_ring_vector sum;
    lmb_secagg_graph graph;
    bool *hidden; /* [graph.n] whose update is in it */
    bool any;
};

void lmbi_masks_close(sim *s)
{
    lmbi_sim_masks *m = s->masks;

    if (!m)
        return;
    lmb_ring_deinit(&m->sum);
    lmb_secagg_graph_deinit(&m->graph);
    free(m->hidden);
    free(m);
    s->masks = NULL;
}

lmb_status lmbi_masks_open(sim *s, lmb_error *err)
{
    if (!s->o->c.masks)
        return LMB_OK;
    if (!s->secure.on || s->secure.c.mode == LMB_SECURE_OFF)
        return LMB_FAIL(err, LMB_E_ARG,
                        "simulate.masks is of secure aggregation, which this federation has not; set "
                        "federation.server.secure_aggregation, mode curious or malicious, or leave it out");
    s->masks = calloc(1, sizeof *s->masks);
    return s->masks ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for masks");
}

/* A key of the round: of what clients a and b share, or of a's own. */
static void key_of(const sim *s, const char *what, uint32_t a, uint32_t b, uint8_t out[LMB_MASK_KEY])
{
    lmb_hasher h;

    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, what);
    lmb_hash_add(&h, s->key.b, sizeof s->key.b);
    lmb_hash_add(&h, &s->report.round, sizeof s->report.round);
    lmb_hash_add(&h, &a, sizeof a);
    lmb_hash_add(&h, &b, sizeof b);
    lmb_hash k = lmb_hash_end(&h);
    _Static_assert(sizeof k.b == LMB_MASK_KEY, "a hash is a key");
    memcpy(out, k.b, LMB_MASK_KEY);
}

static lmb_mask own_mask(const sim *s, uint32_t a)
{
    lmb_mask m = { .subtract = false };
    key_of(s, "limbeck simulated mask", a, a, m.key);
    return m;
}

static lmb_mask pair_mask(const sim *s, uint32_t self, uint32_t other)
{
    lmb_mask m = { .subtract = self < other };
    key_of(s, "limbeck simulated pair", m.subtract ? self : other, m.subtract ? other : self, m.key);
    return m;
}

static lmb_status apply(const sim *s, lmb_ring_vector *v, const lmb_mask *masks, size_t n, lmb_error *err)
{
    const lmb_masker *by = s->o->masker;
    double bytes = (double)n * (double)v->n * (v->u32 ? 4 : 8);

    return by && bytes >= WORTH_A_GPU ? by->apply(by->ctx, v, masks, n, NULL, err)
                                      : lmb_mask_apply(v, masks, n, NULL, err);
}

/* As a server: the complete graph where the cohort is no larger than the neighbours of one. */
static lmb_status draw_graph(const sim *s, uint32_t n, lmb_secagg_graph *out, lmb_error *err)
{
    lmb_secagg_shape shape = s->secure.shape;
    uint8_t seed[LMB_MASK_KEY];

    if (!shape.degree)
        LMB_TRY(lmb_secagg_shape_plan(n, &s->secure.trust, &shape, err));
    key_of(s, "limbeck simulated graph", 0, 0, seed);
    return lmb_secagg_graph_init(out, n, shape.degree < n ? shape.degree : n - 1, seed, err);
}

lmb_status lmbi_masks_begin(sim *s, lmb_error *err)
{
    lmbi_sim_masks *m = s->masks;

    if (!m)
        return LMB_OK;
    lmb_ring_deinit(&m->sum);
    lmb_secagg_graph_deinit(&m->graph);
    free(m->hidden);
    m->any = false;
    m->hidden = calloc(s->report.selected + 1, sizeof *m->hidden);
    if (!m->hidden)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for masks of %" PRIu64 " clients", s->report.selected);
    if (s->report.selected < s->secure.clients_min) /* no sum can come of it */
        return LMB_OK;
    LMB_TRY(draw_graph(s, (uint32_t)s->report.selected, &m->graph, err));
    return lmb_ring_init(&m->sum, s->secure.coding.ring_bits, s->secure.coding.length + 1, err);
}

/* v[n] into the sum of the ring; what is beyond its bits is cut when numbers are read. */
static void add(lmb_ring_vector *sum, const lmb_ring_vector *v)
{
    for (size_t i = 0; sum->u32 && i < v->n; i++)
        sum->u32[i] += v->u32[i];
    for (size_t i = 0; sum->u64 && i < v->n; i++)
        sum->u64[i] += v->u64[i];
}

lmb_status lmbi_masks_hide(sim *s, size_t place, lmb_ring_vector *v, lmb_error *err)
{
    lmbi_sim_masks *m = s->masks;
    const lmb_secagg_graph *g = &m->graph;
    uint32_t self = (uint32_t)place;

    if (!m->sum.n)
        return LMB_OK;
    lmb_mask *masks = malloc(((size_t)g->degree + 1) * sizeof *masks);
    if (!masks)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %u masks", g->degree + 1);
    masks[0] = own_mask(s, self);
    for (uint32_t i = 0; i < g->degree; i++)
        masks[i + 1] = pair_mask(s, self, g->near[(size_t)self * g->degree + i]);
    lmb_status st = apply(s, v, masks, (size_t)g->degree + 1, err);
    free(masks);
    LMB_TRY(st);
    add(&m->sum, v);
    m->any = m->hidden[self] = true;
    return LMB_OK;
}

/* What is left of client `self`: added to masks[*n], the opposite of what it put on. */
static void left_of(const sim *s, uint32_t self, lmb_mask *masks, size_t *n)
{
    const lmb_secagg_graph *g = &s->masks->graph;

    masks[*n] = own_mask(s, self);
    masks[(*n)++].subtract = true;
    for (uint32_t i = 0; i < g->degree; i++) {
        uint32_t other = g->near[(size_t)self * g->degree + i];
        if (s->masks->hidden[other])
            continue; /* it has put on the same, the other way round */
        masks[*n] = pair_mask(s, self, other);
        masks[*n].subtract = !masks[*n].subtract;
        (*n)++;
    }
}

lmb_status lmbi_masks_show(sim *s, lmb_error *err)
{
    lmbi_sim_masks *m = s->masks;
    size_t n = 0;

    if (!m || !m->any)
        return LMB_OK;
    size_t most = (size_t)m->graph.n * ((size_t)m->graph.degree + 1);
    lmb_mask *masks = malloc(most * sizeof *masks);
    if (!masks)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu masks", most);
    for (uint32_t k = 0; k < m->graph.n; k++)
        if (m->hidden[k])
            left_of(s, k, masks, &n);
    lmb_status st = apply(s, &m->sum, masks, n, err);
    free(masks);
    return st == LMB_OK ? lmb_secure_sum(&s->secure.coding, &m->sum, s->aggregator->exact(s->sum), err) : st;
}
