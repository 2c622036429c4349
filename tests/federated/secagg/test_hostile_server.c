/* A server that does not keep to the protocol: what it asks is refused, or tells it nothing. Cases called attack_* are
 * the defects found in other frameworks and the attacks of the literature, by the numbers of the list:
 *
 *   1 model inconsistency      4 keys relayed unsigned      7 no recovery from drop-outs
 *   2 both shares of a client  5 plain text and fixed keys  8 predictable masks
 *   3 weak generator           6 one colluder is enough     9 weights in the clear
 *     (test_mask.c)
 */
#include "tests/federated/secagg/world.h"

enum { VICTIM = 1 };

/* A KEYS message as the hostile server would write it. */
typedef struct keys_list {
    lmb_secagg_keys_head head;
    uint32_t n;
    lmb_secagg_keys k[WORLD_MAX + 1];
} keys_list;

static keys_list keys_for(world *w, uint32_t to)
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

static lmb_status give_keys(world *w, uint32_t to, const keys_list *l, lmb_error *err)
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
static uint32_t place(const world *w, const keys_list *l, uint32_t i)
{
    for (uint32_t k = 0; k < l->n; k++)
        if (l->k[k].id == w->ids[i])
            return k;
    ck_abort_msg("client %u is not in the list", i);
}

/* Hand the list to a fresh victim: it refuses, and is dead to the right list too. */
static void refused(world *w, const keys_list *l, const char *why)
{
    lmb_error err = LMB_ERROR_INIT;
    keys_list right = keys_for(w, VICTIM);
    lmb_secagg_client_destroy(w->client[VICTIM]);
    world_join(w, VICTIM);
    ck_assert_int_eq(give_keys(w, VICTIM, l, &err), LMB_E_DENIED);
    ck_assert_msg(strstr(err.msg, why) != NULL, "'%s' does not say '%s'", err.msg, why);
    ck_assert_int_eq(give_keys(w, VICTIM, &right, &err), LMB_E_DENIED);
}

static lmb_status give_dropped(world *w, uint32_t to, const uint32_t *who, uint32_t n, lmb_error *err)
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

static world five(lmb_secagg_mode mode)
{
    return world_make(5, mode, 4, 3);
}

/* ---- 1: the victim is sent another model, so that the others' updates say nothing and the sum is its own ---- */

START_TEST(attack_1_model_inconsistency)
{
    world w = five(LMB_SECAGG_CURIOUS);
    lmb_secagg_session honest = w.session;
    keys_list l;
    lmb_error err = LMB_ERROR_INIT;

    world_run(&w, LMB_SECAGG_STAGE_ADVERTISE);
    l = keys_for(&w, VICTIM);
    /* the victim computes the session from the model that it got */
    w.session.model = lmb_hash_of("another model", 13);
    lmb_secagg_client_destroy(w.client[VICTIM]);
    world_join(&w, VICTIM);
    ck_assert_int_eq(give_keys(&w, VICTIM, &l, &err), LMB_E_DENIED); /* not its session */

    /* the server renames the session and puts in the victim's own keys: the others' signatures are for theirs */
    lmb_secagg_client_destroy(w.client[VICTIM]);
    world_join(&w, VICTIM);
    l.head.sid = lmb_secagg_sid(&w.session, &w.roster);
    ck_assert_int_eq(give_keys(&w, VICTIM, &l, &err), LMB_E_DENIED);
    ck_assert_ptr_nonnull(strstr(err.msg, "did not sign"));

    w.session = honest;
    world_free(&w);
}
END_TEST

/* The same for every other thing that clients must agree on. */
START_TEST(attack_1_other_settings)
{
    for (int what = 0; what < 10; what++) {
        world w = five(LMB_SECAGG_CURIOUS);
        keys_list l;
        lmb_error err = LMB_ERROR_INIT;
        world_run(&w, LMB_SECAGG_STAGE_ADVERTISE);
        l = keys_for(&w, VICTIM);
        switch (what) {
        case 0: w.session.round++; break;
        case 1: w.session.run.b[31] ^= 1; break;
        case 2: w.session.federation.b[0] ^= 1; break;
        case 3: w.session.coding.clip = 2; break;
        case 4: w.session.coding.value_bits--; break;
        case 5: w.session.coding.weight_max--; break;
        case 6: w.session.coding.ring_bits++; break;
        case 7: w.session.coding.length++; break;
        case 8: w.session.coding.clients--; break;
        default: w.roster.hash.b[5] ^= 1; break; /* another roster */
        }
        lmb_secagg_client_destroy(w.client[VICTIM]);
        world_join(&w, VICTIM);
        l.head.sid = lmb_secagg_sid(&w.session, &w.roster);
        ck_assert_int_eq(give_keys(&w, VICTIM, &l, &err), LMB_E_DENIED);
        world_free(&w);
    }
}
END_TEST

/* ---- 2: both secrets of one client ---- */

/* A client is asked twice, with and without the victim in the list. */
START_TEST(attack_2_asked_twice)
{
    world w = five(LMB_SECAGG_CURIOUS);
    lmb_error err = LMB_ERROR_INIT;
    world_run(&w, LMB_SECAGG_STAGE_MASK);
    ck_ok(give_dropped(&w, 0, NULL, 0, &err));
    ck_assert(lmb_secagg_client_done(w.client[0]));
    ck_assert_int_eq(give_dropped(&w, 0, &w.ids[VICTIM], 1, &err), LMB_E_DENIED);
    ck_assert_ptr_nonnull(strstr(err.msg, "answered once"));
    ck_assert_uint_eq(w.out[0].n, 0);
    world_free(&w);
}
END_TEST

/* Half of the neighbours are told that the victim left, the other half that it stayed: whatever the halves, the
 * threshold is out of reach for one of the two secrets. All honest clients answer. */
START_TEST(attack_2_two_stories)
{
    for (unsigned told = 0; told < 32; told++) {
        world w;
        uint32_t given[2] = { 0, 0 };
        if (told >> VICTIM & 1)
            continue;
        w = five(LMB_SECAGG_CURIOUS);
        world_run(&w, LMB_SECAGG_STAGE_MASK);
        for (uint32_t i = 0; i < w.n; i++) {
            lmb_error err = LMB_ERROR_INIT;
            lmb_secagg_head head;
            lmb_secagg_entries e;
            uint32_t of_victim = 0;
            bool dropped = told >> i & 1;
            if (i == VICTIM)
                continue;
            ck_ok(give_dropped(&w, i, &w.ids[VICTIM], dropped, &err));
            ck_ok(lmb_secagg_read(LMB_SECAGG_REVEAL, (const uint8_t *)w.out[i].text, w.out[i].n, &head, &e, &err));
            for (uint32_t k = 0; k < e.n; k++) {
                lmb_secagg_reveal one;
                lmb_secagg_entry(&e, k, &one);
                of_victim += one.id == w.ids[VICTIM];
                ck_assert_uint_ne(one.id, w.ids[i]);
            }
            ck_assert_uint_eq(of_victim, 1); /* one share of each, whatever the list */
            given[dropped]++;
        }
        ck_assert(given[0] < w.shape.threshold || given[1] < w.shape.threshold);
        world_free(&w);
    }
}
END_TEST

/* In malicious mode two stories give no share at all: too few sign the same list, and other signatures do not fit. */
START_TEST(attack_2_two_stories_malicious)
{
    for (int all = 0; all < 2; all++) { /* the server passes on the signatures of its own story; or all it has */
        static const uint32_t ally[] = { 2, 0, 0, 4, 3 };
        world w = five(LMB_SECAGG_MALICIOUS);
        lmb_secagg_head head = { lmb_secagg_sid(&w.session, &w.roster) };
        lmb_secagg_consent consent[5];

        world_run(&w, LMB_SECAGG_STAGE_MASK);
        for (uint32_t i = 0; i < w.n; i++) {
            lmb_secagg_consistent m;
            lmb_error err = LMB_ERROR_INIT;
            if (i == VICTIM)
                continue;
            ck_ok(give_dropped(&w, i, &w.ids[VICTIM], i < 3, &err)); /* 0 and 2 hear that it left, 3 and 4 that not */
            ck_ok(lmb_secagg_read(LMB_SECAGG_CONSISTENT, (const uint8_t *)w.out[i].text, w.out[i].n, &m, NULL, &err));
            consent[i].id = w.ids[i];
            memcpy(consent[i].signature, m.signature, sizeof m.signature);
        }
        for (uint32_t i = 0; i < w.n; i++) {
            lmb_str m = LMB_STR_INIT;
            uint32_t n = 0;
            lmb_error err = LMB_ERROR_INIT;
            if (i == VICTIM)
                continue;
            for (uint32_t j = 0; j < w.n; j++)
                n += j != i && j != VICTIM && (all || j == ally[i]);
            ck_ok(lmb_secagg_write(LMB_SECAGG_CONSENTS, &head, n, &m, &err));
            for (uint32_t j = 0; j < w.n; j++)
                if (j != i && j != VICTIM && (all || j == ally[i]))
                    ck_ok(lmb_secagg_write_entry(LMB_SECAGG_CONSENTS, &consent[j], &m, &err));
            lmb_str_clear(&w.out[i]);
            ck_assert_int_eq(lmb_secagg_client_take(w.client[i], (const uint8_t *)m.text, m.n, &w.out[i], &err),
                             all ? LMB_E_DENIED : LMB_E_PEER);
            ck_assert_ptr_nonnull(strstr(err.msg, all ? "did not sign these survivors" : "signed the list"));
            ck_assert_uint_eq(w.out[i].n, 0);
            lmb_str_free(&m);
        }
        world_free(&w);
    }
}
END_TEST

/* The lists of drop-outs that no honest server sends. */
START_TEST(attack_2_lists)
{
    uint32_t id[5];
    for (uint32_t i = 0; i < 5; i++)
        id[i] = world_id(i);
    const struct { uint32_t who[4], n; const char *why; } bad[] = {
        { { id[0] }, 1, "this client itself" },      { { id[1], id[1] }, 2, "after client" },
        { { id[2], id[1] }, 2, "ascending" },        { { 1000 }, 1, "no neighbour" },
        { { id[4] }, 1, "had left before" },         { { id[1], id[2], id[3] }, 3, "to keep its update hidden" },
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        world w = world_make(5, LMB_SECAGG_CURIOUS, 4, 3);
        lmb_error err = LMB_ERROR_INIT;
        world_serve(&w);
        for (uint32_t i = 0; i < w.n; i++) {
            world_join(&w, i);
            ck_ok(world_send(&w, i, &err));
        }
        ck_ok(lmb_secagg_server_advance(w.server, &err));
        for (uint32_t i = 0; i < 4; i++) { /* the last leaves before it shares */
            ck_ok(world_tell(&w, i, &err));
            ck_ok(world_send(&w, i, &err));
        }
        ck_ok(lmb_secagg_server_advance(w.server, &err));
        ck_ok(world_tell(&w, 0, &err));
        ck_ok(world_mask(&w, 0, &err));
        ck_assert_int_ne(give_dropped(&w, 0, bad[k].who, bad[k].n, &err), LMB_OK);
        ck_assert_msg(strstr(err.msg, bad[k].why) != NULL, "'%s' does not say '%s'", err.msg, bad[k].why);
        ck_assert_uint_eq(w.out[0].n, 0);
        ck_assert_int_eq(give_dropped(&w, 0, NULL, 0, &err), LMB_E_DENIED); /* it is over */
        world_free(&w);
    }
}
END_TEST

/* The server declares a client dropped although its vector is there: it then learns the mask key, not the mask. */
START_TEST(attack_2_vector_after_all)
{
    world w = five(LMB_SECAGG_CURIOUS);
    lmb_ring_vector sum;
    uint32_t clients;
    bool in[WORLD_MAX] = { true, false, true, true, true };
    lmb_error err = LMB_ERROR_INIT;

    world_run(&w, LMB_SECAGG_STAGE_SHARE);
    for (uint32_t i = 0; i < w.n; i++) {
        ck_ok(world_tell(&w, i, &err));
        ck_ok(world_mask(&w, i, &err));
        if (i != VICTIM)
            ck_ok(world_upload(&w, i, &err));
    }
    ck_ok(lmb_secagg_server_advance(w.server, &err));
    ck_assert_int_eq(world_upload(&w, VICTIM, &err), LMB_E_DENIED); /* late: discarded */
    ck_assert_ptr_nonnull(strstr(err.msg, "discarded"));
    err = (lmb_error)LMB_ERROR_INIT;
    for (uint32_t i = 0; i < w.n; i++)
        if (i != VICTIM) {
            ck_ok(world_tell(&w, i, &err));
            ck_ok(world_send(&w, i, &err));
        }
    ck_ok(lmb_secagg_server_advance(w.server, &err));
    ck_ok(lmb_secagg_server_finish(w.server, NULL, &sum, &clients, &err));
    ck_assert_uint_eq(clients, 4);
    ck_assert(world_sum_is(&w, &sum, in));
    lmb_ring_deinit(&sum);

    /* With all pair masks off, as the mask key gives them, the victim's vector is still under its own mask. */
    for (uint32_t j = 0; j < w.n; j++) {
        uint8_t mine[32], theirs[32], public_key[32];
        lmb_mask m;
        if (j == VICTIM)
            continue;
        lmbi_secagg_derive(w.seed[VICTIM], "mask key", mine);
        lmbi_secagg_derive(w.seed[j], "mask key", theirs);
        crypto_scalarmult_base(public_key, theirs);
        lmb_hash sid = lmb_secagg_sid(&w.session, &w.roster);
        ck_ok(lmbi_secagg_pair_mask(mine, public_key, &sid, w.ids[VICTIM], w.ids[j], &m, &err));
        m.subtract = !m.subtract;
        ck_ok(lmb_mask_apply(&w.masked[VICTIM], &m, 1, NULL, &err));
    }
    int same = 0;
    for (size_t k = 0; k <= WORLD_LENGTH; k++)
        same += lmb_ring_signed(&w.masked[VICTIM], k) == w.plain[VICTIM][k];
    ck_assert_int_le(same, 1);
    world_free(&w);
}
END_TEST

/* ---- 4: the server puts itself between two clients ---- */

START_TEST(attack_4_key_relay)
{
    world w = five(LMB_SECAGG_CURIOUS);
    lmb_hash sid = lmb_secagg_sid(&w.session, &w.roster);
    uint8_t secret[32] = { 5 };
    keys_list l, right;
    uint32_t at;

    world_run(&w, LMB_SECAGG_STAGE_ADVERTISE);
    right = keys_for(&w, VICTIM);
    at = place(&w, &right, 3);

    l = right; /* its own key, nobody's signature */
    crypto_scalarmult_base(l.k[at].mask, secret);
    refused(&w, &l, "did not sign");
    l = right;
    crypto_scalarmult_base(l.k[at].box, secret);
    refused(&w, &l, "did not sign");
    l = right; /* signed by a client that works with it, under another's number */
    crypto_scalarmult_base(l.k[at].mask, secret);
    lmbi_secagg_keys_sign(&sid, &l.k[at], w.sign_secret[4]);
    refused(&w, &l, "did not sign");
    l = right; /* a client that nobody enrolled */
    l.k[l.n - 1].id = 5000;
    lmbi_secagg_keys_sign(&sid, &l.k[l.n - 1], w.sign_secret[4]);
    refused(&w, &l, "the roster knows no client");
    l = right; /* keys of another round */
    w.session.round--;
    sid = lmb_secagg_sid(&w.session, &w.roster);
    lmbi_secagg_keys_sign(&sid, &l.k[at], w.sign_secret[3]);
    w.session.round++;
    refused(&w, &l, "did not sign");
    world_free(&w);
}
END_TEST

START_TEST(attack_4_roster)
{
    world w = five(LMB_SECAGG_CURIOUS);
    lmb_roster_row rows[2] = { { 1, { 1 } }, { 2, { 2 } } };
    lmb_hash other = lmb_hash_of("other", 5);
    uint8_t pk[LMB_SIGN_PUBLIC], sk[LMB_SIGN_SECRET];
    lmb_roster r = { 0 };
    lmb_str m = LMB_STR_INIT;
    lmb_error err = LMB_ERROR_INIT;

    crypto_sign_keypair(pk, sk); /* the server's own key */
    ck_ok(signed_roster(rows, 2, &w.session.federation, sk, &m, &err));
    ck_assert_int_eq(lmb_roster_open(&r, (uint8_t *)m.text, m.n, &w.session.federation, w.admin_public, &err),
                     LMB_E_DENIED);
    lmb_str_clear(&m); /* the admin's, of another federation */
    ck_ok(signed_roster(rows, 2, &other, w.admin_secret, &m, &err));
    ck_assert_int_eq(lmb_roster_open(&r, (uint8_t *)m.text, m.n, &w.session.federation, w.admin_public, &err),
                     LMB_E_DENIED);
    ck_ok(lmb_roster_open(&r, (uint8_t *)m.text, m.n, &other, w.admin_public, &err));
    ck_assert_ptr_null(lmb_roster_key(&r, 3));
    ck_assert_mem_eq(lmb_roster_key(&r, 2), rows[1].key, LMB_SIGN_PUBLIC);
    lmb_roster_close(&r);
    for (size_t i = 0; i < m.n; i++) { /* no bit of it may change */
        m.text[i] ^= 4;
        ck_assert_int_ne(lmb_roster_open(&r, (uint8_t *)m.text, m.n, &other, w.admin_public, &err), LMB_OK);
        m.text[i] ^= 4;
    }
    lmb_str_clear(&m); /* what the admin has not signed yet */
    ck_ok(lmb_roster_write(rows, 2, 7, &other, &m, &err));
    ck_assert_int_eq(lmb_roster_open(&r, (uint8_t *)m.text, m.n, &other, w.admin_public, &err), LMB_E_DENIED);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_roster_open(&r, (uint8_t *)m.text, m.n, NULL, NULL, &err));
    ck_assert_uint_eq(r.version, 7);
    ck_assert_mem_eq(&r.federation, &other, sizeof other);
    lmb_roster_close(&r);
    rows[1].id = 1; /* one number twice, one key twice: not even the admin can */
    ck_assert_int_eq(signed_roster(rows, 2, &other, w.admin_secret, &m, &err), LMB_E_FORMAT);
    rows[1] = rows[0];
    rows[1].id = 9;
    ck_assert_int_eq(signed_roster(rows, 2, &other, w.admin_secret, &m, &err), LMB_E_FORMAT);
    lmb_str_free(&m);
    world_free(&w);
}
END_TEST

/* ---- lists of keys ---- */

START_TEST(refuses_lists_of_keys)
{
    static const uint8_t low_order[3][32] = { { 0 }, { 1 },
        { 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
          0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 } };
    world w = five(LMB_SECAGG_CURIOUS);
    lmb_hash sid = lmb_secagg_sid(&w.session, &w.roster);
    keys_list l, right;
    uint32_t at, own;

    world_run(&w, LMB_SECAGG_STAGE_ADVERTISE);
    right = keys_for(&w, VICTIM);
    at = place(&w, &right, 3);
    own = place(&w, &right, VICTIM);

    l = right; /* own key missing: another client in its place */
    memmove(&l.k[own], &l.k[own + 1], (l.n - own - 1) * sizeof *l.k);
    l.n--;
    l.head.clients--;
    refused(&w, &l, "own keys");
    l = right; /* own keys under its own number, but not its own */
    l.k[own].box[4] ^= 1;
    refused(&w, &l, "other keys for this client");
    l = right; /* a client twice */
    l.k[at + 1] = l.k[at];
    refused(&w, &l, "twice");
    l = right; /* one key of a client twice, properly signed: the masks of that pair would cancel */
    memcpy(l.k[at].mask, l.k[at + 1].mask, 32);
    lmbi_secagg_keys_sign(&sid, &l.k[at], w.sign_secret[3]);
    refused(&w, &l, "twice");
    l = right; /* the victim's own public key comes back as another's */
    memcpy(l.k[at].mask, l.k[own].box, 32);
    lmbi_secagg_keys_sign(&sid, &l.k[at], w.sign_secret[3]);
    refused(&w, &l, "twice");
    for (int i = 0; i < 3; i++) { /* low order, signed by a client that works with the server */
        l = right;
        memcpy(l.k[at].box, low_order[i], 32);
        lmbi_secagg_keys_sign(&sid, &l.k[at], w.sign_secret[3]);
        refused(&w, &l, "low order");
        l = right;
        memcpy(l.k[at].mask, low_order[i], 32);
        lmbi_secagg_keys_sign(&sid, &l.k[at], w.sign_secret[3]);
        refused(&w, &l, "low order");
    }
    l = right; /* order of the list */
    l.k[0] = right.k[1];
    l.k[1] = right.k[0];
    refused(&w, &l, "ascending");
    l = right; /* fewer neighbours than the graph has */
    l.n -= 1;
    refused(&w, &l, "no ring");
    l = right;
    l.n = 0;
    refused(&w, &l, "no keys");
    l = right; /* more clients than can be */
    l.head.clients = 6;
    refused(&w, &l, "at most");
    world_free(&w);
}
END_TEST

/* ---- 6: a threshold so low that one or a few colluders hold enough ---- */

START_TEST(attack_6_threshold_below_the_floor)
{
    for (int mode = 0; mode < 2; mode++) {
        world w = five((lmb_secagg_mode)mode);
        keys_list l, right;
        world_run(&w, LMB_SECAGG_STAGE_ADVERTISE);
        right = keys_for(&w, VICTIM);
        for (uint32_t t = 0; t < 3; t++) { /* of 4 neighbours: more than half; more than two thirds */
            l = right;
            l.head.threshold = t;
            refused(&w, &l, "floor");
        }
        l = right;
        l.head.threshold = 5;
        refused(&w, &l, "threshold of 5 of 4");
        world_free(&w);
    }
}
END_TEST

START_TEST(attack_6_one_share_short)
{
    world w = five(LMB_SECAGG_CURIOUS);
    lmb_ring_vector sum;
    uint32_t clients;
    lmb_error err = LMB_ERROR_INIT;
    world_run(&w, LMB_SECAGG_STAGE_MASK);
    for (uint32_t i = 0; i < 3; i++) { /* each of these has two of the others: one less than the threshold */
        ck_ok(world_tell(&w, i, &err));
        ck_ok(world_send(&w, i, &err));
    }
    ck_ok(lmb_secagg_server_advance(w.server, &err));
    ck_assert_int_eq(lmb_secagg_server_finish(w.server, NULL, &sum, &clients, &err), LMB_E_PEER);
    world_free(&w);
}
END_TEST

/* ---- 5, 8, 9: what is sent in the clear ---- */

static bool holds(const lmb_str *m, const void *what, size_t n)
{
    return m->n >= n && memmem(m->text, m->n, what, n) != NULL;
}

/* 5: secrets made from the client's rank, the secret key sent as the public one, shares and weights in plain text. */
START_TEST(attack_5_plain_text)
{
    world w = five(LMB_SECAGG_CURIOUS);
    static const char *const names[] = { "box key", "mask key", "own mask" };
    lmb_secagg_client_setup setup = world_client_setup(&w, 0);
    lmb_secagg_client *a = NULL, *b = NULL;
    lmb_str first = LMB_STR_INIT, second = LMB_STR_INIT;
    lmb_error err = LMB_ERROR_INIT;

    setup.seed = NULL; /* as in real life: two sessions of one client have nothing in common */
    ck_ok(lmb_secagg_client_create(&setup, &a, &first, &err));
    ck_ok(lmb_secagg_client_create(&setup, &b, &second, &err));
    ck_assert(memcmp(first.text + 37, second.text + 37, 32) != 0 && memcmp(first.text + 69, second.text + 69, 32) != 0);
    lmb_secagg_client_destroy(a);
    lmb_secagg_client_destroy(b);
    lmb_str_free(&first);
    lmb_str_free(&second);

    for (lmb_secagg_stage s = LMB_SECAGG_STAGE_ADVERTISE; s <= LMB_SECAGG_STAGE_MASK; s++) {
        world_run(&w, s);
        for (size_t k = 0; k < 3; k++) {
            uint8_t secret[32];
            lmbi_secagg_derive(w.seed[0], names[k], secret);
            for (size_t at = 0; at + 7 <= 32; at += 7) /* nor a part, as a share's chunk would hold it */
                ck_assert(!holds(&w.out[0], secret + at, 7));
        }
        if (s == LMB_SECAGG_STAGE_MASK) {
            int same = 0;
            for (size_t k = 0; k <= WORLD_LENGTH; k++)
                same += lmb_ring_signed(&w.masked[0], k) == w.plain[0][k];
            ck_assert_int_le(same, 1);
        }
        world_end(&w);
    }
    world_free(&w);
}
END_TEST

/* 8: masks that could be guessed from earlier rounds, or that leave the vector's shape. Here even the same seed gives
 * other masks in another round, and a vector of zeros is flat under them. */
START_TEST(attack_8_predictable_masks)
{
    world w = five(LMB_SECAGG_CURIOUS);
    uint64_t before[WORLD_LENGTH + 1];
    unsigned ones = 0, bits = w.session.coding.ring_bits;
    int same = 0;

    memset(w.plain, 0, sizeof w.plain);
    world_run(&w, LMB_SECAGG_STAGE_MASK);
    for (size_t k = 0; k <= WORLD_LENGTH; k++) {
        before[k] = lmb_ring_get(&w.masked[0], k);
        for (unsigned b = 0; b < bits; b++)
            ones += before[k] >> b & 1;
    }
    ck_assert_msg(ones > 20 * bits / 3 && ones < 40 * bits / 3, "%u of %u bits are set", ones, 20 * bits);
    world_end(&w);
    w.session.round++;
    world_run(&w, LMB_SECAGG_STAGE_MASK);
    for (size_t k = 0; k <= WORLD_LENGTH; k++)
        same += lmb_ring_get(&w.masked[0], k) == before[k];
    ck_assert_int_le(same, 1);
    world_free(&w);
}
END_TEST

/* 9: numbers of examples beside the masked vector. All that the server gets is the same bytes for any weight, but for
 * the vector, where the weight is under a mask like everything else. */
START_TEST(attack_9_weights_in_the_clear)
{
    world w = five(LMB_SECAGG_CURIOUS);
    lmb_str said[2][2] = { { LMB_STR_INIT, LMB_STR_INIT }, { LMB_STR_INIT, LMB_STR_INIT } };
    for (int run = 0; run < 2; run++) {
        w.plain[0][WORLD_LENGTH] = run ? 9 : 1;
        world_run(&w, LMB_SECAGG_STAGE_MASK); /* out: MASKED */
        ck_assert_int_ne(lmb_ring_signed(&w.masked[0], WORLD_LENGTH), w.plain[0][WORLD_LENGTH]);
        lmb_str_add_n(&said[run][0], w.out[0].text, w.out[0].n);
        world_end(&w);
        world_run(&w, LMB_SECAGG_STAGE_SHARE); /* out: SHARES */
        lmb_str_add_n(&said[run][1], w.out[0].text, w.out[0].n);
        world_end(&w);
    }
    for (int m = 0; m < 2; m++) {
        ck_assert_uint_eq(said[0][m].n, said[1][m].n);
        ck_assert_mem_eq(said[0][m].text, said[1][m].text, said[0][m].n);
        lmb_str_free(&said[0][m]);
        lmb_str_free(&said[1][m]);
    }
    world_free(&w);
}
END_TEST

/* ---- 7: one client leaves and the round is blocked, or its masks stay in the sum ---- */

START_TEST(attack_7_no_recovery)
{
    world w = five(LMB_SECAGG_CURIOUS);
    lmb_ring_vector sum;
    uint32_t clients;
    bool in[WORLD_MAX] = { true, true, true, true, false };
    lmb_error err = LMB_ERROR_INIT;
    world_run(&w, LMB_SECAGG_STAGE_SHARE);
    for (uint32_t i = 0; i < 4; i++) {
        ck_ok(world_tell(&w, i, &err));
        ck_ok(world_mask(&w, i, &err));
        ck_ok(world_upload(&w, i, &err));
    }
    ck_ok(lmb_secagg_server_advance(w.server, &err));
    for (uint32_t i = 0; i < 4; i++) {
        ck_ok(world_tell(&w, i, &err));
        ck_ok(world_send(&w, i, &err));
    }
    ck_ok(lmb_secagg_server_advance(w.server, &err));
    ck_ok(lmb_secagg_server_finish(w.server, NULL, &sum, &clients, &err));
    ck_assert_uint_eq(clients, 4);
    ck_assert(world_sum_is(&w, &sum, in));
    lmb_ring_deinit(&sum);
    world_free(&w);
}
END_TEST

/* ---- the same question again ---- */

static lmb_status greater_only(void *ctx, uint64_t round, lmb_error *err)
{
    uint64_t *last = ctx;
    if (round <= *last)
        return LMB_FAIL(err, LMB_E_DENIED, "round %llu was answered already", (unsigned long long)round);
    *last = round;
    return LMB_OK;
}

/* The server starts the round anew, with another cohort, to subtract two sums. */
START_TEST(attack_round_twice)
{
    world w = five(LMB_SECAGG_CURIOUS);
    uint64_t last = 4;
    lmb_error err = LMB_ERROR_INIT;
    for (int attempt = 0; attempt < 2; attempt++) {
        lmb_secagg_client_setup s = world_client_setup(&w, VICTIM);
        lmb_str m = LMB_STR_INIT;
        s.spend = greater_only;
        s.ctx = &last;
        world_run(&w, LMB_SECAGG_STAGE_ADVERTISE);
        lmb_secagg_client_destroy(w.client[VICTIM]);
        ck_ok(lmb_secagg_client_create(&s, &w.client[VICTIM], &m, &err));
        lmb_str_free(&m);
        for (uint32_t i = 0; i < w.n; i++) {
            ck_ok(world_tell(&w, i, &err));
            ck_ok(world_send(&w, i, &err));
        }
        ck_ok(lmb_secagg_server_advance(w.server, &err));
        ck_ok(world_tell(&w, VICTIM, &err));
        ck_assert_int_eq(world_mask(&w, VICTIM, &err), attempt ? LMB_E_DENIED : LMB_OK);
        if (attempt) /* nothing was masked, nothing may be sent */
            ck_assert_uint_eq(w.out[VICTIM].n, 0);
        world_end(&w);
    }
    world_free(&w);
}
END_TEST

/* Boxes that were swapped or changed do not open, and what they held is not given away in another's name. */
START_TEST(attack_boxes_swapped)
{
    world w = five(LMB_SECAGG_CURIOUS);
    lmb_str m = LMB_STR_INIT, other = LMB_STR_INIT;
    lmb_secagg_head head;
    lmb_secagg_entries e, theirs;
    lmb_secagg_box box;
    lmb_error err = LMB_ERROR_INIT;

    world_run(&w, LMB_SECAGG_STAGE_SHARE);
    ck_ok(lmb_secagg_server_message(w.server, w.ids[0], &m, &err));
    ck_ok(lmb_secagg_server_message(w.server, w.ids[2], &other, &err));
    ck_ok(lmb_secagg_read(LMB_SECAGG_BOXES, (uint8_t *)m.text, m.n, &head, &e, &err));
    ck_ok(lmb_secagg_read(LMB_SECAGG_BOXES, (uint8_t *)other.text, other.n, &head, &theirs, &err));
    lmb_secagg_entry(&theirs, 1, &box); /* from client 1, to client 2 */
    memcpy(m.text + ((const char *)e.at - m.text) + 4, box.box, sizeof box.box);
    m.text[((const char *)e.at - m.text) + (long)e.each * 2 - 1] ^= 1; /* and a bit of the second one */
    lmb_str_clear(&w.out[0]);
    ck_ok(lmb_secagg_client_take(w.client[0], (uint8_t *)m.text, m.n, &w.out[0], &err));
    ck_ok(world_mask(&w, 0, &err));
    ck_ok(give_dropped(&w, 0, NULL, 0, &err));
    ck_ok(lmb_secagg_read(LMB_SECAGG_REVEAL, (uint8_t *)w.out[0].text, w.out[0].n, &head, &e, &err));
    ck_assert_uint_eq(e.n, 2); /* of four neighbours it has two shares */
    lmb_str_free(&m);
    lmb_str_free(&other);
    world_free(&w);
}
END_TEST

/* A box opens for its session, its sender and its receiver, even under the same key. */
START_TEST(boxes_are_bound)
{
    lmb_hash sid = lmb_hash_of("a", 1), other = lmb_hash_of("b", 1);
    uint8_t key[32] = { 1 }, shares[2 * LMB_SHAMIR_SHARE] = { 2 }, box[LMB_SECAGG_BOX], out[2 * LMB_SHAMIR_SHARE];
    lmbi_secagg_seal(key, &sid, 3, 4, shares, box);
    ck_assert(lmbi_secagg_unseal(key, &sid, 3, 4, box, out));
    ck_assert_mem_eq(out, shares, sizeof out);
    ck_assert(!lmbi_secagg_unseal(key, &other, 3, 4, box, out));
    ck_assert(!lmbi_secagg_unseal(key, &sid, 5, 4, box, out));
    ck_assert(!lmbi_secagg_unseal(key, &sid, 3, 5, box, out));
    ck_assert(!lmbi_secagg_unseal(key, &sid, 4, 3, box, out));
}
END_TEST

/* Messages out of turn end the session. */
START_TEST(out_of_turn)
{
    for (int stage = 0; stage < 4; stage++) {
        world w = five(LMB_SECAGG_CURIOUS);
        lmb_secagg_head head = { lmb_secagg_sid(&w.session, &w.roster) };
        lmb_str m = LMB_STR_INIT;
        lmb_error err = LMB_ERROR_INIT;
        world_run(&w, LMB_SECAGG_STAGE_SHARE);
        lmb_secagg_client_destroy(w.client[0]);
        world_join(&w, 0);
        if (stage == 3) { /* while it owes its vector */
            world_end(&w);
            world_run(&w, LMB_SECAGG_STAGE_SHARE);
            ck_ok(world_tell(&w, 0, &err));
            ck_assert(lmb_secagg_client_wants_vector(w.client[0]));
        }
        ck_ok(lmb_secagg_write(stage == 1 ? LMB_SECAGG_BOXES : LMB_SECAGG_DROPPED, &head, 0, &m, &err));
        if (stage == 2)
            m.n = 0;
        lmb_str_clear(&w.out[0]);
        ck_assert_int_ne(lmb_secagg_client_take(w.client[0], (uint8_t *)m.text, m.n, &w.out[0], &err), LMB_OK);
        ck_assert_uint_eq(w.out[0].n, 0);
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_secagg_client_take(w.client[0], (uint8_t *)m.text, m.n, &w.out[0], &err), LMB_E_DENIED);
        ck_assert_ptr_nonnull(strstr(err.msg, "ended"));
        lmb_str_free(&m);
        world_free(&w);
    }
}
END_TEST

/* Too few others, as far as a client can see. */
START_TEST(refuses_a_small_crowd)
{
    world w = five(LMB_SECAGG_CURIOUS);
    lmb_secagg_client_setup s = world_client_setup(&w, VICTIM);
    lmb_str m = LMB_STR_INIT;
    keys_list l;
    lmb_error err = LMB_ERROR_INIT;
    world_run(&w, LMB_SECAGG_STAGE_ADVERTISE);
    l = keys_for(&w, VICTIM);
    for (int what = 0; what < 2; what++) {
        s.clients_min = what ? 3 : 6;
        s.neighbours_min = what ? 5 : 0;
        lmb_secagg_client_destroy(w.client[VICTIM]);
        ck_ok(lmb_secagg_client_create(&s, &w.client[VICTIM], &m, &err));
        ck_assert_int_eq(give_keys(&w, VICTIM, &l, &err), what ? LMB_E_DENIED : LMB_E_PEER);
        ck_assert_ptr_nonnull(strstr(err.msg, "this client wants"));
        err = (lmb_error)LMB_ERROR_INIT;
    }
    lmb_str_free(&m);
    world_free(&w);
}
END_TEST

LMB_TEST_MAIN("federated/secagg/hostile_server", if (sodium_init() < 0) return 1; add(attack_1_model_inconsistency);
              add(attack_1_other_settings); add(attack_2_asked_twice); add(attack_2_two_stories);
              add(attack_2_two_stories_malicious); add(attack_2_lists); add(attack_2_vector_after_all);
              add(attack_4_key_relay); add(attack_4_roster); add(attack_5_plain_text);
              add(attack_6_threshold_below_the_floor); add(attack_6_one_share_short); add(attack_7_no_recovery);
              add(attack_8_predictable_masks); add(attack_9_weights_in_the_clear); add(attack_round_twice);
              add(attack_boxes_swapped); add(boxes_are_bound); add(refuses_lists_of_keys); add(out_of_turn);
              add(refuses_a_small_crowd);)
