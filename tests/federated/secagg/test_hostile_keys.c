/* What a hostile server says before anything is shared (attacks 1, 4 and a part of 6 in hostile_server.h): another
 * model or other settings for one client, a roster or lists of keys that nobody signed, a threshold below the floor,
 * too few others. The client refuses, and is dead to the right message too.
 */
#include "tests/federated/secagg/hostile_server.h"

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

LMB_TEST_MAIN("federated/secagg/hostile_keys", if (sodium_init() < 0) return 1; add(attack_1_model_inconsistency);
              add(attack_1_other_settings); add(attack_4_key_relay); add(attack_4_roster);
              add(refuses_lists_of_keys); add(attack_6_threshold_below_the_floor); add(refuses_a_small_crowd);)
