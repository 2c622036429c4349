/* federated/secure.c - see secure.h. */
#include "federated/secure.h"

#include <math.h>
#include <string.h>

#include "core/base/config.h"

/* The sum of discrete normal numbers is no such number, but from a deviation of 8 on the difference is below e^-600:
 * Kairouz, Liu, Steinke: arXiv:2102.06387, theorem 12. */
enum { NOISE_MIN = 64 };

static const char *const modes[] = { "curious", "malicious", "off", NULL };
static const char *const noises[] = { "central", "distributed", NULL };

const lmb_field lmb_secure_fields[] = {
    LMB_CHOICE(lmb_secure_config, mode, LMB_SECURE_CURIOUS, modes,
               "against whom; off: the same integers, summed in the clear"),
    LMB_REAL(lmb_secure_config, clip, 0, 0, 1e6, "",
             "greatest change of one number; with `privacy` it is privacy.clip"),
    LMB_INT(lmb_secure_config, value_bits, 16, 2, LMB_CODING_BITS_MAX, "bits", "of one number of an update"),
    LMB_INT(lmb_secure_config, ring_bits, 0, 0, LMB_RING_BITS_MAX, "bits",
            "of one number of the sum; 0: as few as hold it"),
    LMB_INT(lmb_secure_config, weight_max, 1024, 1, LMB_CODING_WEIGHT_MAX, "examples",
            "a client with more counts as one with so many"),
    LMB_REAL(lmb_secure_config, adversaries, 0.05, 0, 0.99, "", "share of the clients that may work with the server"),
    LMB_REAL(lmb_secure_config, dropouts, 0.05, 0, 0.99, "", "share of the clients that may leave during a round"),
    LMB_REAL(lmb_secure_config, floor, 0, 0, 0.99, "",
             "threshold above this share of the neighbours; 0: 1/2, malicious 2/3"),
    LMB_INT(lmb_secure_config, neighbours, 0, 0, LMB_SECAGG_DEGREE, "clients",
            "of each client; 0: from the shares above"),
    LMB_INT(lmb_secure_config, threshold, 0, 0, LMB_SECAGG_DEGREE, "clients",
            "neighbours that recover a mask; goes with `neighbours`"),
    LMB_INT(lmb_secure_config, clients_min, 3, 3, LMB_SECAGG_CLIENTS, "clients",
            "of a sum; with fewer a round is abandoned"),
    LMB_CHOICE(lmb_secure_config, noise, LMB_NOISE_DISTRIBUTED, noises,
               "with `privacy`: who adds the noise, clients or server"),
    LMB_FIELD_END,
};

/* A private federation: everybody's weight is 1, and what a client sends has at most the norm `clip`, rounding
 * included. */
static lmb_status open_privacy(lmb_secure *s, uint64_t minimum, const lmb_privacy *p, lmb_error *err)
{
    double units;

    if (s->c.mode == LMB_SECURE_OFF)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "secure_aggregation.mode off hides nothing, and with privacy it has no use; leave secure_aggregation out");
    if (p->adaptive)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "privacy.clip is adaptive: for that each client tells whether it was cut, which secure aggregation is to "
            "hide; give a norm");
    if (s->c.clip > 0 && s->c.clip != p->ledger.clip)
        return LMB_FAIL(err, LMB_E_ARG, "secure_aggregation.clip is %g and privacy.clip %g; leave the former out",
                        s->c.clip, p->ledger.clip);
    s->coding.clip = p->ledger.clip;
    s->coding.weight_max = 1;
    if (!(lmb_secagg_private_norm(&s->coding) > 0.5 * s->coding.clip))
        return LMB_FAIL(
            err, LMB_E_ARG,
            "with %llu numbers of %lld bits each rounding alone may add half of privacy.clip; take more value_bits",
            (unsigned long long)s->coding.length, (long long)s->c.value_bits);
    if (s->c.noise == LMB_NOISE_CENTRAL)
        return LMB_OK;
    if (p->c.sampling != LMB_SAMPLING_ALL)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "with noise from the clients nothing is to be seen by the server, yet it knows whom it has drawn: "
            "privacy.sampling must be all, or secure_aggregation.noise central");
    units = s->coding.clip / lmb_secagg_unit(&s->coding);
    LMB_TRY(lmb_dp_share(p->z, units, minimum, 0, &s->coding.noise, err));
    if (s->coding.noise < NOISE_MIN)
        return LMB_FAIL(err, LMB_E_ARG,
                        "noise of %g units a client is too little to be told from normal noise; take more value_bits",
                        sqrt((double)s->coding.noise));
    return LMB_OK;
}

/* A small share of few clients is nobody, and yet one of them will leave: bear that where it can be borne. */
static lmb_status plan(lmb_secure *s, uint32_t target, lmb_error *err)
{
    lmb_secagg_trust one = s->trust;
    lmb_secagg_shape planned;

    one.dropouts = fmax(one.dropouts, 1.001 / fmax(s->clients_min, 0.7 * target)); /* some never come at all */
    if (lmb_secagg_shape_plan(target, &one, &planned, NULL) == LMB_OK) {
        s->trust = one;
        return LMB_OK;
    }
    return lmb_secagg_shape_plan(target, &s->trust, &planned, err);
}

/* What a server promises to its clients, and can keep with as many as it has. */
static lmb_status open_graph(lmb_secure *s, uint64_t target, lmb_error *err)
{
    lmb_secagg_mode mode = s->c.mode == LMB_SECURE_MALICIOUS ? LMB_SECAGG_MALICIOUS : LMB_SECAGG_CURIOUS;

    s->trust = lmb_secagg_trust_default(mode);
    s->trust.adversaries = s->c.adversaries;
    s->trust.dropouts = s->c.dropouts;
    if (s->c.floor > 0)
        s->trust.floor = s->c.floor;
    if (s->c.mode == LMB_SECURE_OFF)
        return LMB_OK;
    if (!s->c.neighbours != !s->c.threshold)
        return LMB_FAIL(err, LMB_E_ARG,
                        "secure_aggregation: neighbours (%lld) and threshold (%lld) are given together or not at all",
                        (long long)s->c.neighbours, (long long)s->c.threshold);
    if (!s->c.neighbours)
        return plan(s, (uint32_t)target, err);
    s->shape = (lmb_secagg_shape){ (uint32_t)s->c.neighbours, (uint32_t)s->c.threshold };
    if (s->shape.degree >= target)
        s->shape.degree = (uint32_t)target - 1;
    if (s->shape.threshold < 2 || s->shape.threshold > s->shape.degree)
        return LMB_FAIL(err, LMB_E_ARG,
                        "secure_aggregation.threshold is %u, each client has %u neighbours; it is from 2 to that",
                        s->shape.threshold, s->shape.degree);
    return lmb_secagg_shape_check((uint32_t)target, &s->shape, &s->trust, err);
}

lmb_status lmb_secure_open(const lmb_tree *tree, uint64_t n, uint64_t target, uint64_t minimum,
                           const lmb_privacy *privacy, lmb_secure *s, lmb_error *err)
{
    memset(s, 0, sizeof *s);
    if (!tree)
        return LMB_OK;
    LMB_TRY(lmb_fields_bind(lmb_secure_fields, tree, &s->c, err));
    s->on = true;
    s->clients_min = (uint32_t)((uint64_t)s->c.clients_min > minimum ? (uint64_t)s->c.clients_min : minimum);
    if (target < s->clients_min || target > LMB_SECAGG_CLIENTS)
        return LMB_FAIL(err, LMB_E_ARG, "secure aggregation: a sum is of %u clients at least, and target is %llu",
                        s->clients_min, (unsigned long long)target);
    s->coding = (lmb_secagg_coding){ .length = n, .clients = (uint32_t)target, .weight_max = (uint32_t)s->c.weight_max,
                                     .value_bits = (uint32_t)s->c.value_bits, .clip = s->c.clip };
    if (privacy->on)
        LMB_TRY(open_privacy(s, s->clients_min, privacy, err));
    else if (!(s->c.clip > 0))
        return LMB_FAIL(
            err, LMB_E_ARG,
            "secure_aggregation.clip is missing: the greatest change of one number in one round, such as 0.05; what is "
            "beyond is cut");
    s->coding.ring_bits = s->c.ring_bits ? (uint32_t)s->c.ring_bits : lmb_secagg_coding_ring(&s->coding);
    LMB_TRY(lmb_secagg_coding_check(&s->coding, err));
    return open_graph(s, target, err);
}

lmb_status lmb_secure_sum(const lmb_secagg_coding *c, const lmb_ring_vector *sum, lmbi_exact_sum *into, lmb_error *err)
{
    uint64_t weight;
    LMB_TRY(lmb_secagg_check_sum(c, sum, &weight, err));
    into->scale = 1 / lmb_secagg_unit(c);
    into->weight = weight;
    for (size_t i = 0; i < into->n; i++)
        into->sum[i] = lmb_ring_signed(sum, i);
    return LMB_OK;
}

void lmb_secure_add(const lmb_secagg_coding *c, const lmb_ring_vector *q, lmbi_exact_sum *into)
{
    into->scale = 1 / lmb_secagg_unit(c);
    into->weight += lmb_ring_get(q, into->n);
    for (size_t i = 0; i < into->n; i++)
        into->sum[i] += lmb_ring_signed(q, i);
}
