/* Messages of a client that are not what they should be, stage by stage (hostile_client.h): refused with a sentence,
 * and the right message is still taken.
 */
#include "tests/federated/secagg/hostile_client.h"

/* ---- advertise ---- */

START_TEST(keys)
{
    world w = five();
    lmb_hash sid = lmb_secagg_sid(&w.session, &w.roster);
    lmb_secagg_advertise right, other, m;
    lmb_str bad;
    lmb_error err = LMB_ERROR_INIT;

    world_serve(&w);
    for (uint32_t i = 0; i < N; i++)
        world_join(&w, i);
    ck_ok(world_send(&w, 0, &err));
    ck_ok(lmb_secagg_read(LMB_SECAGG_ADVERTISE, (uint8_t *)w.out[BAD].text, w.out[BAD].n, &right, NULL, &err));
    ck_ok(lmb_secagg_read(LMB_SECAGG_ADVERTISE, (uint8_t *)w.out[0].text, w.out[0].n, &other, NULL, &err));
#define REFUSED(change, sign, why)                                        \
    m = right;                                                            \
    change;                                                               \
    if (sign)                                                             \
        lmbi_secagg_keys_sign(&sid, &m.keys, w.sign_secret[BAD]);         \
    bad = advertise(&w, &m);                                              \
    refused(&w, &bad, why);                                               \
    lmb_str_free(&bad)
    REFUSED(m.keys.box[0] ^= 1, false, "did not sign");
    REFUSED(m.keys.id = w.ids[2], true, "for client");
    REFUSED(m.sid.b[3] ^= 1, true, "another session");
    REFUSED(memcpy(m.keys.box, other.keys.box, 32), true, "a key of client");
    REFUSED(memcpy(m.keys.mask, other.keys.box, 32), true, "a key of client");
    REFUSED(memcpy(m.keys.mask, m.keys.box, 32), true, "two uses");
    REFUSED(memset(m.keys.box, 0, 32), true, "low order");
    REFUSED(memset(m.keys.mask, 0, 32), true, "low order");
    REFUSED(lmbi_secagg_keys_sign(&sid, &m.keys, w.sign_secret[2]), false, "did not sign");
    m = right; /* recorded in the round before */
    w.session.round--;
    m.sid = sid = lmb_secagg_sid(&w.session, &w.roster);
    w.session.round++;
    lmbi_secagg_keys_sign(&sid, &m.keys, w.sign_secret[BAD]);
    bad = advertise(&w, &m);
    refused(&w, &bad, "another session");
    lmb_str_free(&bad);
    for (size_t cut = 0; cut < w.out[BAD].n; cut += 13) { /* wrong sizes */
        bad = copy(&w.out[BAD]);
        bad.n = cut;
        refused(&w, &bad, "ADVERTISE");
        lmb_str_free(&bad);
    }
    bad = copy(&w.out[BAD]);
    lmb_str_add_n(&bad, "x", 1);
    refused(&w, &bad, "after its end");
    lmb_str_free(&bad);

    ck_ok(world_send(&w, BAD, &err)); /* the right one; once */
    ck_assert_int_eq(world_send(&w, BAD, &err), LMB_E_DENIED);
    ck_assert_int_eq(lmb_secagg_server_take(w.server, 4711, (uint8_t *)w.out[0].text, w.out[0].n, &err), LMB_E_DENIED);
    comes_out(&w, all, all);
    world_free(&w);
}
END_TEST

/* ---- shares ---- */

START_TEST(boxes)
{
    world w = five();
    lmb_str bad;
    lmb_error err = LMB_ERROR_INIT;
    size_t entries = 1 + 32 + 32 + 4, each = 4 + LMB_SECAGG_BOX;

    world_run(&w, LMB_SECAGG_STAGE_ADVERTISE);
    ck_ok(world_tell(&w, BAD, &err));
    bad = copy(&w.out[BAD]);
    bad.n -= each; /* a neighbour less, the count says so too */
    bad.text[entries - 4]--;
    refused(&w, &bad, "has 4 neighbours");
    bad.n += each;
    refused(&w, &bad, "announces");
    bad.text[entries - 4]++;
    bad.text[entries] ^= 1; /* to somebody else */
    refused(&w, &bad, "not to its neighbour");
    bad.text[entries] ^= 1;
    bad.text[1] ^= 1;
    refused(&w, &bad, "another session");
    bad.text[1] ^= 1;
    ck_ok(say(&w, &bad, &err));
    ck_assert_int_eq(say(&w, &bad, &err), LMB_E_DENIED); /* replayed */
    lmb_str_free(&bad);
    comes_out(&w, all, all);
    world_free(&w);
}
END_TEST

/* ---- vectors ---- */

START_TEST(vectors)
{
    world w = five();
    lmb_str bad;
    lmb_error err = LMB_ERROR_INIT;
    uint8_t noise[400] = { 0xff, 0xff, 0xff };

    world_run(&w, LMB_SECAGG_STAGE_SHARE);
    ck_ok(world_tell(&w, BAD, &err));
    ck_ok(world_mask(&w, BAD, &err));
    bad = copy(&w.out[BAD]);
#define VECTOR_REFUSED(why)                                                                                            \
    err = (lmb_error)LMB_ERROR_INIT;                                                                                   \
    ck_assert_int_ne(lmb_secagg_server_vector(w.server, w.ids[BAD], (uint8_t *)bad.text, bad.n, &err), LMB_OK);        \
    ck_assert_msg(strstr(err.msg, why) != NULL, "'%s' does not say '%s'", err.msg, why)
    bad.text[1 + 32]++; /* a byte more than it is */
    VECTOR_REFUSED("announces a vector");
    bad.text[1 + 32]--;
    bad.text[40] ^= 0x7f; /* 2^62 bytes more */
    VECTOR_REFUSED("announces a vector");
    bad.text[40] ^= 0x7f;
    bad.text[2] ^= 1;
    VECTOR_REFUSED("another session");
    bad.text[2] ^= 1;
    bad.n--;
    VECTOR_REFUSED("MASKED");
    bad.n++;
    refused(&w, &bad, "vector is expected"); /* by the way of the other messages */
    lmb_str_free(&bad);

    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_secagg_server_block(w.server, noise, 8, &err), LMB_E_ARG); /* not begun */
    ck_assert_int_eq(lmb_secagg_server_vector_end(w.server, &err), LMB_E_ARG);
    ck_ok(world_upload(&w, BAD, &err));
    ck_assert_int_eq(world_upload(&w, BAD, &err), LMB_E_DENIED); /* twice: it would be in the sum twice */
    comes_out(&w, all, all);
    world_free(&w);
}
END_TEST

/* Blocks of a vector that do not fit it; one that breaks off ends the session, for half of it is in the sum. */
START_TEST(blocks)
{
    world w = five();
    uint8_t noise[400] = { 0 };
    lmb_error err = LMB_ERROR_INIT;
    world_run(&w, LMB_SECAGG_STAGE_SHARE);
    for (uint32_t i = 0; i < 2; i++) {
        ck_ok(world_tell(&w, i, &err));
        ck_ok(world_mask(&w, i, &err));
    }
    ck_ok(lmb_secagg_server_vector(w.server, w.ids[BAD], (uint8_t *)w.out[BAD].text, w.out[BAD].n, &err));
    ck_assert_int_eq(world_upload(&w, 0, &err), LMB_E_ARG); /* one after the other */
    ck_assert_int_eq(lmb_secagg_server_block(w.server, noise, 3, &err), LMB_E_ARG);
    ck_assert_int_eq(lmb_secagg_server_block(w.server, noise, WORLD_LENGTH + 2, &err), LMB_E_ARG);
    ck_assert_int_eq(lmb_secagg_server_block(w.server, noise, SIZE_MAX, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_secagg_server_block(w.server, noise, 8, &err));
    ck_assert_int_eq(lmb_secagg_server_vector_end(w.server, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_secagg_server_advance(w.server, &err), LMB_E_PEER);
    ck_assert_ptr_nonnull(strstr(err.msg, "broke off"));
    ck_assert_int_eq(lmb_secagg_server_stage(w.server), LMB_SECAGG_STAGE_OVER);
    ck_assert_int_eq(lmb_secagg_server_advance(w.server, &err), LMB_E_ARG);
    world_free(&w);
}
END_TEST

/* ---- shares that are revealed ---- */

START_TEST(reveals)
{
    world w = five();
    lmb_str bad;
    lmb_error err = LMB_ERROR_INIT;

    world_run(&w, LMB_SECAGG_STAGE_MASK);
    ck_ok(world_tell(&w, BAD, &err));
    bad = copy(&w.out[BAD]);
    ck_assert_uint_eq(bad.n, ENTRIES + 4 * EACH);
    lmb_put_u32((uint8_t *)bad.text + ENTRIES, w.ids[BAD]); /* of itself */
    refused(&w, &bad, "was sent none");
    lmb_put_u32((uint8_t *)bad.text + ENTRIES, 4711);
    refused(&w, &bad, "was sent none");
    memcpy(bad.text + ENTRIES, bad.text + ENTRIES + EACH, 4); /* of one twice */
    refused(&w, &bad, "after one of client");
    lmb_put_u32((uint8_t *)bad.text + ENTRIES, w.ids[0]);
    bad.text[ENTRIES + 4 + 7] = (char)0xff; /* no number of the field */
    refused(&w, &bad, "2^61");
    lmb_str_free(&bad);
    ck_ok(world_send(&w, BAD, &err));
    ck_assert_int_eq(world_send(&w, BAD, &err), LMB_E_DENIED);
    comes_out(&w, all, all);
    world_free(&w);
}
END_TEST

LMB_TEST_MAIN("federated/secagg/hostile_client", if (sodium_init() < 0) return 1; add(keys); add(boxes); add(vectors);
              add(blocks); add(reveals);)
