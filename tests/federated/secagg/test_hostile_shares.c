/* Clients whose messages look right and say what is not so (hostile_client.h): shares of noise, of another secret than
 * was announced, and a signature under another list. The sum is right, or there is none.
 */
#include "tests/federated/secagg/hostile_client.h"

/* Boxes of noise: nobody has shares of this client. When it stays, its mask cannot be recovered and the session ends;
 * in no case does a sum come out with it unmasked. A box or two of noise are made up for by the others. */
START_TEST(boxes_of_noise)
{
    for (int broken = 1; broken <= 4; broken++)
        for (int stays = 0; stays < 2; stays++) {
            world w = five();
            lmb_ring_vector sum;
            lmb_error err = LMB_ERROR_INIT;
            bool ok = broken <= 1; /* 4 neighbours, threshold 3 */

            world_run(&w, LMB_SECAGG_STAGE_ADVERTISE);
            ck_ok(world_tell(&w, BAD, &err));
            for (int k = 0; k < broken; k++)
                w.out[BAD].text[1 + 32 + 32 + 4 + k * (4 + LMB_SECAGG_BOX) + 10] ^= 1;
            ck_ok(world_send(&w, BAD, &err));
            if (finish(&w, stays ? all : others, &sum, &err) == LMB_OK) {
                ck_assert(ok);
                ck_assert(world_sum_is(&w, &sum, stays ? all : others));
                lmb_ring_deinit(&sum);
            } else {
                ck_assert_msg(!ok && err.status == LMB_E_PEER, "%s", err.msg);
            }
            world_free(&w);
        }
}
END_TEST

/* A commitment to another mask than the one that was shared and used. */
START_TEST(wrong_commitment)
{
    world w = five();
    lmb_ring_vector sum;
    lmb_error err = LMB_ERROR_INIT;
    world_run(&w, LMB_SECAGG_STAGE_ADVERTISE);
    ck_ok(world_tell(&w, BAD, &err));
    w.out[BAD].text[1 + 32] ^= 1;
    ck_ok(world_send(&w, BAD, &err));
    ck_assert_int_eq(finish(&w, all, &sum, &err), LMB_E_PEER);
    ck_assert_ptr_nonnull(strstr(err.msg, "what it announced"));
    world_free(&w);
}
END_TEST

/* Wrong shares in a REVEAL: with all five there, one client's are left out. With one gone the others' are all needed,
 * and the session ends: it does not give a wrong sum. */
START_TEST(wrong_shares)
{
    for (uint32_t liar = 0; liar < N; liar++)
        for (int gone = 0; gone < 3; gone++) { /* nobody; before its vector; before its shares */
            uint32_t absent = (liar + 2) % N;
            bool in[WORLD_MAX] = { true, true, true, true, true };
            world w = five();
            lmb_ring_vector sum;
            uint32_t clients;
            lmb_error err = LMB_ERROR_INIT;
            lmb_status st;

            world_run(&w, LMB_SECAGG_STAGE_SHARE);
            in[absent] = gone != 1;
            for (uint32_t i = 0; i < N; i++) {
                if (!in[i])
                    continue;
                ck_ok(world_tell(&w, i, &err));
                ck_ok(world_mask(&w, i, &err));
                ck_ok(world_upload(&w, i, &err));
            }
            ck_ok(lmb_secagg_server_advance(w.server, &err));
            for (uint32_t i = 0; i < N; i++) {
                if (gone && i == absent)
                    continue;
                ck_ok(world_tell(&w, i, &err));
                for (size_t k = 0; i == liar && k < 4; k++)
                    w.out[i].text[ENTRIES + k * EACH + 4] ^= 1;
                ck_ok(world_send(&w, i, &err));
            }
            ck_ok(lmb_secagg_server_advance(w.server, &err));
            st = lmb_secagg_server_finish(w.server, NULL, &sum, &clients, &err);
            if (gone) {
                ck_assert_int_eq(st, LMB_E_PEER);
                ck_assert_ptr_nonnull(strstr(err.msg, "announced"));
            } else {
                ck_assert_msg(st == LMB_OK, "%s", err.msg);
                ck_assert(world_sum_is(&w, &sum, all));
                lmb_ring_deinit(&sum);
            }
            world_free(&w);
        }
}
END_TEST

/* A client shares another mask key than it advertised, and leaves. */
START_TEST(wrong_mask_key)
{
    world w = five();
    lmb_hash sid = lmb_secagg_sid(&w.session, &w.roster);
    lmb_secagg_advertise m;
    uint8_t secret[32] = { 9 };
    lmb_ring_vector sum;
    lmb_error err = LMB_ERROR_INIT;

    world_serve(&w);
    for (uint32_t i = 0; i < N; i++) {
        world_join(&w, i);
        if (i == BAD) {
            lmb_str other;
            ck_ok(lmb_secagg_read(LMB_SECAGG_ADVERTISE, (uint8_t *)w.out[i].text, w.out[i].n, &m, NULL, &err));
            crypto_scalarmult_base(m.keys.mask, secret);
            lmbi_secagg_keys_sign(&sid, &m.keys, w.sign_secret[i]);
            other = advertise(&w, &m);
            ck_ok(say(&w, &other, &err));
            lmb_str_free(&other);
        } else {
            ck_ok(world_send(&w, i, &err));
        }
    }
    ck_ok(lmb_secagg_server_advance(w.server, &err));
    /* its own client code would see that; so it answers as if nothing were wrong: boxes with shares of its old key */
    {
        lmb_secagg_shares_head head = { sid, lmb_hash_of("", 0) };
        lmb_str shares = LMB_STR_INIT;
        ck_ok(lmb_secagg_write(LMB_SECAGG_SHARES, &head, 4, &shares, &err));
        for (uint32_t j = 0; j < N; j++) {
            lmb_secagg_box box = { w.ids[j], { 0 } };
            uint8_t mine[32], theirs[32], public_key[32], key[32], pair[2 * LMB_SHAMIR_SHARE] = { (uint8_t)j };
            if (j == BAD)
                continue;
            lmbi_secagg_derive(w.seed[BAD], "box key", mine);
            lmbi_secagg_derive(w.seed[j], "box key", theirs);
            crypto_scalarmult_base(public_key, theirs);
            ck_ok(lmbi_secagg_agree(mine, public_key, &sid, LMBI_KEY_BOX, w.ids[BAD], w.ids[j], key, &err));
            lmbi_secagg_seal(key, &sid, w.ids[BAD], w.ids[j], pair, box.box);
            ck_ok(lmb_secagg_write_entry(LMB_SECAGG_SHARES, &box, &shares, &err));
        }
        ck_ok(say(&w, &shares, &err));
        lmb_str_free(&shares);
    }
    ck_assert_int_eq(finish(&w, others, &sum, &err), LMB_E_PEER);
    ck_assert_ptr_nonnull(strstr(err.msg, "announced"));
    world_free(&w);
}
END_TEST

/* A signature under another list of survivors. */
START_TEST(wrong_consent)
{
    world w = world_make(N, LMB_SECAGG_MALICIOUS, 4, 3);
    lmb_str bad;
    lmb_error err = LMB_ERROR_INIT;
    world_run(&w, LMB_SECAGG_STAGE_MASK);
    ck_ok(world_tell(&w, BAD, &err));
    bad = copy(&w.out[BAD]);
    bad.text[50] ^= 1;
    refused(&w, &bad, "did not sign these survivors");
    lmb_str_free(&bad);
    ck_ok(world_send(&w, BAD, &err));
    comes_out(&w, all, all);
    world_free(&w);
}
END_TEST

LMB_TEST_MAIN("federated/secagg/hostile_shares", if (sodium_init() < 0) return 1; add(boxes_of_noise);
              add(wrong_commitment); add(wrong_shares); add(wrong_mask_key); add(wrong_consent);)
