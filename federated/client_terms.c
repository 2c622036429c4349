/* federated/client_terms.c - what a client insists on before it takes part in a secure sum: the section
 * `secure_aggregation` of its settings, against what a server offers.
 */
#include <math.h>

#include "core/base/config.h"
#include "federated/client_parts.h"

static const char *const modes[] = { "curious", "malicious", NULL };

static const lmb_field fields[] = {
    LMB_BOOL(lmb_client_secure, required, false, "take part in nothing else"),
    LMB_CHOICE(lmb_client_secure, mode, LMB_SECURE_CURIOUS, modes, "the least that is taken, against whom"),
    LMB_REAL(lmb_client_secure, adversaries, 0.05, 0, 0.99, "", "share of the clients that may work with the server"),
    LMB_REAL(lmb_client_secure, dropouts, 0.05, 0, 0.99, "", "share of the clients that may leave during a round"),
    LMB_REAL(lmb_client_secure, floor, 0, 0, 0.99, "",
             "threshold above this share of the neighbours; 0: 1/2, malicious 2/3"),
    LMB_INT(lmb_client_secure, clients_min, 3, 3, LMB_SECAGG_CLIENTS, "clients",
            "of a sum that this client will be in"),
    LMB_INT(lmb_client_secure, neighbours_min, 0, 0, LMB_SECAGG_DEGREE, "clients", "that it wants at least"),
    LMB_REAL(lmb_client_secure, noise_min, 0, 0, 1000, "clips",
             "least deviation of the clients' noise in a sum of clients_min; goes with `required`"),
    LMB_FIELD_END,
};

static lmb_status open_settings(const lmb_client_config *cfg, lmb_client_secure *o, lmb_error *err)
{
    LMB_TRY(lmb_fields_bind(fields, cfg->secure_aggregation, o, err));
    if (o->mode == LMB_SECURE_MALICIOUS && !(cfg->admin && *cfg->admin))
        return LMB_FAIL(err, LMB_E_ARG,
                        "secure_aggregation.mode malicious takes the public key of the federation's admin "
                        "(client.admin), got from elsewhere than the server");
    if (o->noise_min > 0 && !o->required)
        return LMB_FAIL(err, LMB_E_ARG,
                        "secure_aggregation.noise_min (%g) says nothing of rounds in the clear, which this client "
                        "takes too; set required: true",
                        o->noise_min);
    return LMB_OK;
}

/* The noise that the clients bring, in the smallest sum that this client is in, whoever else adds some: as
 * `noise_multiplier`, its deviation in multiples of the clip. The server's own is its word alone. */
static lmb_status check_noise(const lmb_client_secure *o, const lmb_secagg_coding *c, lmb_error *err)
{
    double have = sqrt((double)o->clients_min * (double)c->noise) * lmb_secagg_unit(c) / c->clip;

    if (have >= o->noise_min * (1 - 1e-9))
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_DENIED,
                    "clients add noise of %.4g clips to a sum of %lld, this client wants %g at least "
                    "(secure_aggregation.noise_min); the server's privacy.noise_multiplier or `minimum` is too small, "
                    "or its noise is not `distributed`",
                    have, (long long)o->clients_min, o->noise_min);
}

lmb_status lmbi_session_check_offer(const lmb_client_secure *o, lmb_secure_mode mode, const lmb_secagg_coding *c,
                              lmb_error *err)
{
    if (o->required && mode == LMB_SECURE_OFF)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the server wants updates in the clear, and this client takes part under secure "
                        "aggregation alone (secure_aggregation.required)");
    if (o->required && o->mode == LMB_SECURE_MALICIOUS && mode != LMB_SECURE_MALICIOUS)
        return LMB_FAIL(err, LMB_E_DENIED,
                        "the server offers secure aggregation of mode curious, this client takes malicious alone");
    return o->noise_min > 0 ? check_noise(o, c, err) : LMB_OK;
}

lmb_status lmb_client_check_offer(const lmb_client_config *cfg, lmb_secure_mode mode, const lmb_secagg_coding *coding,
                                  lmb_error *err)
{
    lmb_client_secure o;

    LMB_TRY(open_settings(cfg, &o, err));
    LMB_TRY(lmbi_session_check_offer(&o, mode, coding, err));
    if (mode == LMB_SECURE_OFF || (coding->clients >= o.clients_min && coding->clients > o.neighbours_min))
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_DENIED,
                    "sums are of %u clients at most, this client wants %lld of them and %lld neighbours at least "
                    "(secure_aggregation.clients_min, neighbours_min)",
                    coding->clients, (long long)o.clients_min, (long long)o.neighbours_min);
}

lmb_status lmb_client_check(const lmb_client_config *cfg, lmb_error *err)
{
    uint8_t admin[LMB_SIGN_PUBLIC];
    lmb_client_secure o;

    if (cfg->admin && *cfg->admin)
        LMB_TRY(lmb_public_parse(cfg->admin, admin, err));
    return open_settings(cfg, &o, err);
}

lmb_status lmbi_session_open(lmb_client *c, lmb_error *err) { return open_settings(&c->cfg, &c->secure.o, err); }
