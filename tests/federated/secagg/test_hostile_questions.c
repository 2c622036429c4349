/* What a hostile server asks of clients that have shared their secrets (attacks 2, 7 and a part of 6 in
 * hostile_server.h): both secrets of one client, one share less than it takes, the same question twice, messages out of
 * turn. No story that it tells gives it two of them; and a client that really left does not block the others.
 */
#include "tests/federated/secagg/hostile_server.h"

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

/* All vectors are in that will be: the sum of four comes out, without client `gone`. */
static void finish_without(world *w, uint32_t gone)
{
    lmb_ring_vector sum;
    uint32_t clients;
    bool in[WORLD_MAX] = { true, true, true, true, true };
    lmb_error err = LMB_ERROR_INIT;

    in[gone] = false;
    for (uint32_t i = 0; i < w->n; i++)
        if (i != gone) {
            ck_ok(world_tell(w, i, &err));
            ck_ok(world_send(w, i, &err));
        }
    ck_ok(lmb_secagg_server_advance(w->server, &err));
    ck_ok(lmb_secagg_server_finish(w->server, NULL, &sum, &clients, &err));
    ck_assert_uint_eq(clients, 4);
    ck_assert(world_sum_is(w, &sum, in));
    lmb_ring_deinit(&sum);
}

/* The server declares a client dropped although its vector is there: it then learns the mask key, not the mask. */
START_TEST(attack_2_vector_after_all)
{
    world w = five(LMB_SECAGG_CURIOUS);
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
    finish_without(&w, VICTIM);

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

/* ---- 7: one client leaves and the round is blocked, or its masks stay in the sum ---- */

START_TEST(attack_7_no_recovery)
{
    world w = five(LMB_SECAGG_CURIOUS);
    lmb_error err = LMB_ERROR_INIT;
    world_run(&w, LMB_SECAGG_STAGE_SHARE);
    for (uint32_t i = 0; i < 4; i++) {
        ck_ok(world_tell(&w, i, &err));
        ck_ok(world_mask(&w, i, &err));
        ck_ok(world_upload(&w, i, &err));
    }
    ck_ok(lmb_secagg_server_advance(w.server, &err));
    finish_without(&w, 4);
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

LMB_TEST_MAIN("federated/secagg/hostile_questions", if (sodium_init() < 0) return 1; add(attack_2_asked_twice);
              add(attack_2_two_stories); add(attack_2_two_stories_malicious); add(attack_2_lists);
              add(attack_2_vector_after_all); add(attack_6_one_share_short); add(attack_7_no_recovery);
              add(attack_round_twice); add(out_of_turn);)
