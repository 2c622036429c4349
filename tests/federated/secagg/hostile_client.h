/* tests/federated/secagg/hostile_client.h - one client of five that does not keep to the protocol: its message, changed
 * by hand, and what must come of it: it is refused and nothing has changed, or the client counts as dropped, or the
 * session ends with a sentence. A wrong sum never comes out without notice.
 */
#ifndef LMB_TESTS_SECAGG_HOSTILE_CLIENT_H
#define LMB_TESTS_SECAGG_HOSTILE_CLIENT_H

#include "tests/federated/secagg/world.h"

enum { BAD = 1, N = 5 };

static inline world five(void)
{
    return world_make(N, LMB_SECAGG_CURIOUS, 4, 3);
}

/* The bad client's message as it stands; what an edit does to it must be noticed, and the right one still taken. */
static inline lmb_status say(world *w, const lmb_str *m, lmb_error *err)
{
    *err = (lmb_error)LMB_ERROR_INIT;
    return lmb_secagg_server_take(w->server, w->ids[BAD], (const uint8_t *)m->text, m->n, err);
}

static inline void refused(world *w, const lmb_str *m, const char *why)
{
    lmb_error err;
    ck_assert_int_ne(say(w, m, &err), LMB_OK);
    ck_assert_msg(strstr(err.msg, why) != NULL, "'%s' does not say '%s'", err.msg, why);
    ck_assert(lmb_secagg_server_owes(w->server, w->ids[BAD]));
}

static inline lmb_str copy(const lmb_str *m)
{
    lmb_str c = LMB_STR_INIT;
    lmb_str_add_n(&c, m->text, m->n);
    return c;
}

/* From the open stage to the end, with the clients for which stays[i]. */
static inline lmb_status finish(world *w, const bool *stays, lmb_ring_vector *sum, lmb_error *err)
{
    uint32_t clients = 0;
    lmb_status st = LMB_OK;
    while (st == LMB_OK && lmb_secagg_server_stage(w->server) < LMB_SECAGG_STAGE_UNMASK) {
        lmb_secagg_stage now = lmb_secagg_server_stage(w->server);
        for (uint32_t i = 0; i < w->n; i++) {
            if (!stays[i] || !lmb_secagg_server_owes(w->server, w->ids[i]))
                continue;
            if (now != LMB_SECAGG_STAGE_ADVERTISE)
                LMB_TRY(world_tell(w, i, err));
            if (now == LMB_SECAGG_STAGE_MASK) {
                LMB_TRY(world_mask(w, i, err));
                LMB_TRY(world_upload(w, i, err));
            } else {
                LMB_TRY(world_send(w, i, err));
            }
        }
        st = lmb_secagg_server_advance(w->server, err);
    }
    return st == LMB_OK ? lmb_secagg_server_finish(w->server, NULL, sum, &clients, err) : st;
}

static const bool all[WORLD_MAX] = { true, true, true, true, true };
static const bool others[WORLD_MAX] = { true, false, true, true, true };

static inline void comes_out(world *w, const bool *stays, const bool *in)
{
    lmb_ring_vector sum;
    lmb_error err = LMB_ERROR_INIT;
    ck_ok(finish(w, stays, &sum, &err));
    ck_assert(world_sum_is(w, &sum, in));
    lmb_ring_deinit(&sum);
}

static inline lmb_str advertise(const world *w, const lmb_secagg_advertise *m)
{
    lmb_str out = LMB_STR_INIT;
    lmb_error err = LMB_ERROR_INIT;
    (void)w;
    ck_ok(lmb_secagg_write(LMB_SECAGG_ADVERTISE, m, 0, &out, &err));
    return out;
}

/* A REVEAL: entry k begins at ENTRIES + EACH k. */
enum { ENTRIES = 1 + 32 + 4, EACH = 4 + LMB_SHAMIR_SHARE };

#endif
