/* tests/federated/secagg/hostile_server.h - a server that does not keep to the protocol: its messages, written or
 * changed by hand, for one honest client or all of them. The cases called attack_* are the defects found in other
 * frameworks and the attacks of the literature, by the numbers of this list:
 *
 *   1 model inconsistency      4 keys relayed unsigned      7 no recovery from drop-outs
 *   2 both shares of a client  5 plain text and fixed keys  8 predictable masks
 *   3 weak generator           6 one colluder is enough     9 weights in the clear
 *     (test_mask.c)
 */
#ifndef LMB_TESTS_SECAGG_HOSTILE_SERVER_H
#define LMB_TESTS_SECAGG_HOSTILE_SERVER_H

#include "tests/federated/secagg/world.h"

enum { VICTIM = 1 };

/* A KEYS message as the hostile server would write it. */
typedef struct keys_list {
    lmb_secagg_keys_head head;
    uint32_t n;
    lmb_secagg_keys k[WORLD_MAX + 1];
} keys_list;

static inline keys_list keys_for(world *w, uint32_t to)
{
    keys_list l = { .n = 0 };
    lmb_str m = LMB_STR_INIT;
    lmb_secagg_entries e;
    lmb_error err = LMB_ERROR_INIT;
    ck_ok(lmb_secagg_server_message(w->server, w->ids[to], &m, &err));
    ck_ok(lmb_secagg_read(LMB_SECAGG_KEYS, (const uint8_t *)m.text, m.n, &l.head, &e, &err));
    for (; l.n < e.n; l.n++)
        lmb_secagg_entry(&e, l.n, &l.k[l.n]);
    lmb_str_free(&m);
    return l;
}

static inline lmb_status give_keys(world *w, uint32_t to, const keys_list *l, lmb_error *err)
{
    lmb_str m = LMB_STR_INIT;
    lmb_status st;
    *err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_secagg_write(LMB_SECAGG_KEYS, &l->head, l->n, &m, err), LMB_OK);
    for (uint32_t i = 0; i < l->n; i++)
        ck_assert_int_eq(lmb_secagg_write_entry(LMB_SECAGG_KEYS, &l->k[i], &m, err), LMB_OK);
    lmb_str_clear(&w->out[to]);
    st = lmb_secagg_client_take(w->client[to], (const uint8_t *)m.text, m.n, &w->out[to], err);
    lmb_str_free(&m);
    return st;
}

/* Place of client i in a list. */
static inline uint32_t place(const world *w, const keys_list *l, uint32_t i)
{
    for (uint32_t k = 0; k < l->n; k++)
        if (l->k[k].id == w->ids[i])
            return k;
    ck_abort_msg("client %u is not in the list", i);
}

/* Hand the list to a fresh victim: it refuses, and is dead to the right list too. */
static inline void refused(world *w, const keys_list *l, const char *why)
{
    lmb_error err = LMB_ERROR_INIT;
    keys_list right = keys_for(w, VICTIM);
    lmb_secagg_client_destroy(w->client[VICTIM]);
    world_join(w, VICTIM);
    ck_assert_int_eq(give_keys(w, VICTIM, l, &err), LMB_E_DENIED);
    ck_assert_msg(strstr(err.msg, why) != NULL, "'%s' does not say '%s'", err.msg, why);
    ck_assert_int_eq(give_keys(w, VICTIM, &right, &err), LMB_E_DENIED);
}

static inline lmb_status give_dropped(world *w, uint32_t to, const uint32_t *who, uint32_t n, lmb_error *err)
{
    lmb_secagg_head head = { lmb_secagg_sid(&w->session, &w->roster) };
    lmb_str m = LMB_STR_INIT;
    lmb_status st;
    *err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_secagg_write(LMB_SECAGG_DROPPED, &head, n, &m, err), LMB_OK);
    for (uint32_t i = 0; i < n; i++) {
        lmb_secagg_id one = { who[i] };
        ck_assert_int_eq(lmb_secagg_write_entry(LMB_SECAGG_DROPPED, &one, &m, err), LMB_OK);
    }
    lmb_str_clear(&w->out[to]);
    st = lmb_secagg_client_take(w->client[to], (const uint8_t *)m.text, m.n, &w->out[to], err);
    lmb_str_free(&m);
    return st;
}

static inline world five(lmb_secagg_mode mode)
{
    return world_make(5, mode, 4, 3);
}

#endif
