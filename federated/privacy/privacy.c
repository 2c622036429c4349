/* federated/privacy/privacy.c - see privacy.h. */
#include "federated/privacy/privacy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/config.h"

enum { ROUNDS_MAX = 1000000 };

static const char *const samplings[] = { "all", "poisson", "fixed", NULL };

const lmb_field lmb_privacy_fields[] = {
    LMB_TREE(lmb_privacy_config, clip, "greatest L2 norm of a client's change, or {name: adaptive, ...}"),
    LMB_REAL(lmb_privacy_config, noise_multiplier, 1, 1e-3, 1e3, "clips",
             "standard deviation of the noise on the sum of a round"),
    LMB_REAL(lmb_privacy_config, delta, 1e-5, 1e-15, 0.1, "",
             "of (epsilon, delta); below one over the number of clients"),
    LMB_REAL(lmb_privacy_config, epsilon_budget, 8, 1e-3, 1e6, "", "a round that would spend more does not begin"),
    LMB_CHOICE(lmb_privacy_config, sampling, LMB_SAMPLING_ALL, samplings,
               "how a round's clients are drawn from the population"),
    LMB_INT(lmb_privacy_config, population, 0, 0, 1e9, "clients", "that are drawn from; poisson and fixed need it"),
    LMB_FIELD_END
};

const lmb_field lmb_privacy_adaptive_fields[] = {
    LMB_REAL(lmb_privacy_adaptive, initial, 0.1, 1e-6, 1e6, "", "clip of the first round"),
    LMB_REAL(lmb_privacy_adaptive, quantile, 0.5, 0.01, 0.99, "", "share of the clients that is to be below the clip"),
    LMB_REAL(lmb_privacy_adaptive, rate, 0.2, 1e-3, 2, "", "how fast the clip moves there"),
    LMB_REAL(lmb_privacy_adaptive, noise, 0.05, 1e-3, 10, "targets",
             "standard deviation of the noise on the count of those below"),
    LMB_REAL(lmb_privacy_adaptive, most, 100, 1e-6, 1e6, "", "the clip never goes beyond"),
    LMB_FIELD_END
};

/* ---- opening ---- */

static lmb_status open_clip(lmb_privacy *p, lmb_error *err)
{
    const lmb_tree *t = p->c.clip;
    const char *name = NULL;

    if (!t)
        return LMB_FAIL(err, LMB_E_ARG, "privacy.clip is missing: a norm such as 0.5, or {name: adaptive}");
    if (t->kind == LMB_TREE_SCALAR && strcmp(t->text, "adaptive") != 0) {
        LMB_TRY(lmb_tree_real(t, &p->ledger.clip, err));
        p->most_clip = p->ledger.clip;
        if (!(p->ledger.clip >= 1e-6 && p->ledger.clip <= 1e6))
            return lmb_tree_fail(t, err, LMB_E_ARG, "privacy.clip is %g; it is a norm from 1e-6 to 1e6",
                                 p->ledger.clip);
        return LMB_OK;
    }
    LMB_TRY(lmb_tree_name(t, &name, err));
    if (strcmp(name, "adaptive") != 0)
        return lmb_tree_fail(t, err, LMB_E_ARG, "privacy.clip is a norm or {name: adaptive, ...}, not '%.40s'", name);
    LMB_TRY(lmb_fields_bind(lmb_privacy_adaptive_fields, t->kind == LMB_TREE_MAP ? t : NULL, &p->a, err));
    p->adaptive = true;
    p->ledger.clip = p->a.initial;
    p->most_clip = p->a.most;
    if (p->a.most < p->a.initial)
        return lmb_tree_fail(t, err, LMB_E_ARG, "privacy.clip.most (%g) is below initial (%g)", p->a.most,
                             p->a.initial);
    return LMB_OK;
}

lmb_status lmb_privacy_open(const lmb_tree *tree, uint64_t target, lmb_privacy *p, lmb_error *err)
{
    memset(p, 0, sizeof *p);
    if (!tree)
        return LMB_OK;
    LMB_TRY(lmb_fields_bind(lmb_privacy_fields, tree, &p->c, err));
    LMB_TRY(open_clip(p, err));
    p->on = true;
    p->cohort = target;
    p->z = p->c.noise_multiplier;
    p->ledger.sampling = (uint64_t)p->c.sampling;
    if (p->c.sampling != LMB_SAMPLING_ALL && p->c.population < (int64_t)target)
        return lmb_tree_fail(
            tree, err, LMB_E_ARG,
            "privacy.population (%lld) is below target (%llu); with sampling %s say how many clients there are",
            (long long)p->c.population, (unsigned long long)target, samplings[p->c.sampling]);
    if (p->adaptive) { /* a client moves the count, taken from its middle, by one half */
        double count = 2 * p->a.noise * (double)target;
        if (p->z >= count)
            return lmb_tree_fail(
                tree, err, LMB_E_ARG,
                "privacy.noise_multiplier %g leaves no room for the noise %g on the count of the adaptive clip; "
                "it must be below %g: raise clip.noise or target",
                p->z, p->a.noise, count);
        p->z = 1 / sqrt(1 / (p->z * p->z) - 1 / (count * count));
    }
    if (!lmb_privacy_allows(p, lmb_privacy_share(p)))
        return lmb_tree_fail(
            tree, err, LMB_E_ARG,
            "privacy.epsilon_budget is %g, and one round alone spends %.4g; raise noise_multiplier (%g) or the "
            "budget",
            p->c.epsilon_budget, lmb_privacy_after(p, lmb_privacy_share(p), 1), p->c.noise_multiplier);
    return LMB_OK;
}

lmb_status lmb_privacy_resume(lmb_privacy *p, const lmb_rdp_ledger *ledger, lmb_error *err)
{
    if (ledger->sampling != (uint64_t)p->c.sampling && ledger->rounds)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "%llu rounds were accounted for with privacy.sampling %s, now it is %s; set it as it was, or begin in a new "
            "state_dir",
            (unsigned long long)ledger->rounds, ledger->sampling < 3 ? samplings[ledger->sampling] : "unknown",
            samplings[p->c.sampling]);
    double clip = p->ledger.clip;
    p->ledger = *ledger;
    if (!p->adaptive || !(p->ledger.clip > 0 && p->ledger.clip <= p->most_clip))
        p->ledger.clip = clip;
    return LMB_OK;
}

/* ---- the ledger ---- */

double lmb_privacy_share(const lmb_privacy *p)
{
    return p->c.sampling == LMB_SAMPLING_ALL ? 1 : (double)p->cohort / (double)p->c.population;
}

double lmb_privacy_epsilon(const lmb_privacy *p) { return lmb_rdp_epsilon(&p->ledger.spent, p->c.delta, NULL); }

double lmb_privacy_after(const lmb_privacy *p, double share, uint64_t rounds)
{
    lmb_rdp then = p->ledger.spent;
    lmb_rdp_add(&then, (lmb_sampling)p->c.sampling, share, p->c.noise_multiplier, rounds);
    return lmb_rdp_epsilon(&then, p->c.delta, NULL);
}

bool lmb_privacy_allows(const lmb_privacy *p, double share)
{
    return lmb_privacy_after(p, share, 1) <= p->c.epsilon_budget;
}

uint64_t lmb_privacy_rounds_left(const lmb_privacy *p)
{
    lmb_rdp one = { { 0 } };
    uint64_t fits = 0, beyond = ROUNDS_MAX + 1;

    lmb_rdp_add(&one, (lmb_sampling)p->c.sampling, lmb_privacy_share(p), p->c.noise_multiplier, 1);
    while (beyond - fits > 1) {
        uint64_t k = (fits + beyond) / 2;
        lmb_rdp then = p->ledger.spent;
        for (int i = 0; i < LMB_RDP_ORDERS; i++)
            then.at[i] += (double)k * one.at[i];
        if (lmb_rdp_epsilon(&then, p->c.delta, NULL) <= p->c.epsilon_budget)
            fits = k;
        else
            beyond = k;
    }
    return fits;
}

/* ---- a round ---- */

static const uint64_t drawing = 1ull << 63; /* tells the stream of a round's draw from that of its noise */

size_t lmb_privacy_draw(const lmb_privacy *p, uint64_t round, size_t n, size_t room, uint32_t *chosen, double *share)
{
    lmb_dp_stream s;
    size_t count = 0;

    lmb_dp_stream_open(&s, p->key, round | drawing);
    if (p->c.sampling == LMB_SAMPLING_POISSON) {
        *share = lmb_privacy_share(p);
        for (size_t i = 0; i < n; i++)
            if (lmb_dp_uniform(&s) < *share && count < room)
                chosen[count++] = (uint32_t)i;
    } else { /* a place for each, the next from those that are left */
        size_t want = p->cohort < room ? (size_t)p->cohort : room;
        for (size_t i = 0; i < n && count < want; i++)
            if (lmb_dp_uniform(&s) * (double)(n - i) < (double)(want - count))
                chosen[count++] = (uint32_t)i;
        *share = n ? (double)count / (double)n : 1;
    }
    lmb_dp_stream_wipe(&s);
    return count;
}

double lmb_privacy_room(const lmb_privacy *p, double max_abs, uint64_t max_updates)
{
    return max_abs + 9 * p->z * p->most_clip / (double)max_updates;
}

static void adapt(lmb_privacy *p, lmb_dp_stream *s, uint64_t delivered, uint64_t within)
{
    double m = (double)p->cohort, sum = (double)within - (double)delivered / 2 + p->a.noise * m * lmb_dp_normal(s);
    p->ledger.clip *= exp(-p->a.rate * (0.5 + sum / m - p->a.quantile));
    p->ledger.clip = fmin(fmax(p->ledger.clip, 1e-6), p->most_clip);
}

void lmb_privacy_account(lmb_privacy *p, lmbi_exact_sum *sum, double share)
{
    sum->weight = p->cohort;
    lmb_rdp_add(&p->ledger.spent, (lmb_sampling)p->c.sampling, share, p->c.noise_multiplier, 1);
    p->ledger.rounds++;
}

lmb_status lmb_privacy_add_noise(lmb_privacy *p, lmbi_exact_sum *sum, uint64_t round, double share, uint64_t delivered,
                                 uint64_t within, lmb_error *err)
{
    double sigma = p->z * p->ledger.clip * sum->scale;
    lmb_dp_stream s;

    if (!(sigma >= 64 && sigma <= 0x1p58))
        return LMB_FAIL(err, LMB_E_ARG,
                        "noise of %g can not be added to sums in units of %g; change privacy.clip or max_abs",
                        p->z * p->ledger.clip, 1 / sum->scale);
    lmb_dp_stream_open(&s, p->key, round);
    for (size_t i = 0; i < sum->n; i++)
        sum->sum[i] += llrint(sigma * lmb_dp_normal(&s));
    lmb_privacy_account(p, sum, share);
    if (p->adaptive)
        adapt(p, &s, delivered, within);
    lmb_dp_stream_wipe(&s);
    return LMB_OK;
}

void lmb_privacy_describe(const lmb_privacy *p, char out[LMB_PRIVACY_TEXT])
{
    char clip[60];

    snprintf(clip, sizeof clip, p->adaptive ? "%.4g, adaptive" : "%.4g", p->ledger.clip);
    snprintf(
        out, LMB_PRIVACY_TEXT,
        "epsilon %.4g at delta %g after %llu rounds (budget %g); the unit is one client, neighbours are federations %s; clip %s, "
        "noise %.4g clips on the sum, sampling %s%s",
        lmb_privacy_epsilon(p), p->c.delta, (unsigned long long)p->ledger.rounds, p->c.epsilon_budget,
        p->c.sampling == LMB_SAMPLING_FIXED ? "with the data of one client replaced" : "with one client more or less",
        clip, p->z, samplings[p->c.sampling],
        p->repeatable ? "; the noise comes from a known key and hides nothing: a simulation" : "");
}
