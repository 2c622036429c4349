/* Clients that do not keep to the protocol, in a round of honest ones: their message is refused and nothing has
 * changed, or they count as dropped, or the session ends with a sentence. A wrong sum never comes out without notice.
 */
#include "tests/federated/secagg/world.h"

enum { BAD = 1, N = 5 };

static world five(void)
{
    return world_make(N, LMB_SECAGG_CURIOUS, 4, 3);
}

/* The bad client's message as it stands; what an edit does to it must be noticed, and the right one still taken. */
static lmb_status say(world *w, const lmb_str *m, lmb_error *err)
{
    *err = (lmb_error)LMB_ERROR_INIT;
    return lmb_secagg_server_take(w->server, w->ids[BAD], (const uint8_t *)m->text, m->n, err);
}

static void refused(world *w, const lmb_str *m, const char *why)
{
    lmb_error err;
    ck_assert_int_ne(say(w, m, &err), LMB_OK);
    ck_assert_msg(strstr(err.msg, why) != NULL, "'%s' does not say '%s'", err.msg, why);
    ck_assert(lmb_secagg_server_owes(w->server, w->ids[BAD]));
}

static lmb_str copy(const lmb_str *m)
{
    lmb_str c = LMB_STR_INIT;
    lmb_str_add_n(&c, m->text, m->n);
    return c;
}

/* From the open stage to the end, with the clients for which stays[i]. */
static lmb_status finish(world *w, const bool *stays, lmb_ring_vector *sum, lmb_error *err)
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

static void comes_out(world *w, const bool *stays, const bool *in)
{
    lmb_ring_vector sum;
    lmb_error err = LMB_ERROR_INIT;
    ck_ok(finish(w, stays, &sum, &err));
    ck_assert(world_sum_is(w, &sum, in));
    lmb_ring_deinit(&sum);
}

/* ---- advertise ---- */

static lmb_str advertise(const world *w, const lmb_secagg_advertise *m)
{
    lmb_str out = LMB_STR_INIT;
    lmb_error err = LMB_ERROR_INIT;
    (void)w;
    ck_ok(lmb_secagg_write(LMB_SECAGG_ADVERTISE, m, 0, &out, &err));
    return out;
}

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
            for (uint32_t i = 0; i < N; i++)
                if (i != BAD) {
                    ck_ok(world_tell(&w, i, &err));
                    ck_ok(world_send(&w, i, &err));
                }
            ck_ok(lmb_secagg_server_advance(w.server, &err));
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

/* Client `from`'s REVEAL with changes; entry k begins at 37 + 44 k. */
enum { ENTRIES = 1 + 32 + 4, EACH = 4 + LMB_SHAMIR_SHARE };

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

/* ---- setups that cannot be ---- */

START_TEST(setups)
{
    world w = five();
    lmb_secagg_client_setup c = world_client_setup(&w, 0);
    lmb_secagg_server_setup s = {
        .session = &w.session, .roster = &w.roster, .cohort = w.ids, .n = N, .trust = w.trust
    };
    uint32_t twice[2] = { world_id(1), world_id(1) }, unknown[2] = { 1, 2 };
    lmb_secagg_client *client = NULL;
    lmb_secagg_server *server = NULL;
    lmb_str m = LMB_STR_INIT;
    lmb_error err = LMB_ERROR_INIT;

    c.id = 4711;
    ck_assert_int_eq(lmb_secagg_client_create(&c, &client, &m, &err), LMB_E_ARG);
    c.id = w.ids[1]; /* not its key */
    ck_assert_int_eq(lmb_secagg_client_create(&c, &client, &m, &err), LMB_E_ARG);
    c = world_client_setup(&w, 0);
    c.trust.mode = LMB_SECAGG_MALICIOUS;
    ck_assert_int_eq(lmb_secagg_client_create(&c, &client, &m, &err), LMB_E_ARG);
    s.trust.mode = LMB_SECAGG_MALICIOUS;
    ck_assert_int_eq(lmb_secagg_server_create(&s, &server, &err), LMB_E_ARG);
    s.trust = w.trust;
    s.n = 1;
    ck_assert_int_eq(lmb_secagg_server_create(&s, &server, &err), LMB_E_ARG);
    s.n = 2;
    s.cohort = twice;
    ck_assert_int_eq(lmb_secagg_server_create(&s, &server, &err), LMB_E_ARG);
    s.cohort = unknown;
    ck_assert_int_eq(lmb_secagg_server_create(&s, &server, &err), LMB_E_ARG);
    s.cohort = w.ids;
    s.n = N;
    w.session.coding.ring_bits--; /* the sum could wrap */
    ck_assert_int_eq(lmb_secagg_server_create(&s, &server, &err), LMB_E_ARG);
    c = world_client_setup(&w, 0);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_secagg_client_create(&c, &client, &m, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "5 clients with weights up to 9"));
    ck_assert_ptr_null(client);
    ck_assert_ptr_null(server);
    lmb_secagg_client_destroy(NULL);
    lmb_secagg_server_destroy(NULL);
    lmb_str_free(&m);
    world_free(&w);
}
END_TEST

/* Those who advertised are too few for the drop-outs that the server plans with. */
START_TEST(no_plan)
{
    world w = world_make(N, LMB_SECAGG_CURIOUS, 0, 0);
    lmb_error err = LMB_ERROR_INIT;
    w.trust.dropouts = 0.4;
    world_serve(&w);
    for (uint32_t i = 0; i < 3; i++) {
        world_join(&w, i);
        ck_ok(world_send(&w, i, &err));
    }
    ck_assert_int_eq(lmb_secagg_server_advance(w.server, &err), LMB_E_PEER);
    ck_assert_ptr_nonnull(strstr(err.msg, "3 clients"));
    world_free(&w);
}
END_TEST

/* From real updates to their weighted mean, with a plan of the server's own, seeds from the system and threads. */
START_TEST(whole_round)
{
    enum { CLIENTS = 20 };
    for (int mode = 0; mode < 2; mode++) {
        world w = world_make(CLIENTS, (lmb_secagg_mode)mode, 0, 0);
        lmb_secagg_coding *c = &w.session.coding;
        lmb_pool *pool = NULL;
        lmb_ring_vector sum;
        float mean[WORLD_LENGTH];
        double exact[WORLD_LENGTH] = { 0 }, total = 0;
        uint64_t weight;
        uint32_t clients;
        lmb_error err = LMB_ERROR_INIT;

        ck_ok(lmb_pool_create(2, &pool, &err));
        c->value_bits = 16;
        c->ring_bits = lmb_secagg_coding_ring(c);
        for (uint32_t i = 0; i < CLIENTS; i++) {
            lmb_ring_vector q;
            float x[WORLD_LENGTH];
            uint64_t examples = 3 + i, used = examples < 9 ? examples : 9;
            ck_ok(lmb_ring_init(&q, c->ring_bits, WORLD_LENGTH + 1, &err));
            for (int k = 0; k < WORLD_LENGTH; k++) {
                x[k] = (float)((int)((i * 31 + (uint32_t)k * 17) % 201) - 100) / 100;
                exact[k] += (double)x[k] * (double)used;
            }
            total += (double)used;
            ck_ok(lmb_secagg_encode(c, x, examples, w.seed[i], &q, &err));
            for (size_t k = 0; k <= WORLD_LENGTH; k++)
                w.plain[i][k] = lmb_ring_signed(&q, k);
            lmb_ring_deinit(&q);
        }
        world_run(&w, LMB_SECAGG_STAGE_REVEAL);
        ck_ok(lmb_secagg_server_finish(w.server, pool, &sum, &clients, &err));
        ck_assert_uint_eq(clients, CLIENTS);
        ck_ok(lmb_secagg_decode(c, &sum, mean, &weight, &err));
        ck_assert_double_eq(total, (double)weight);
        for (int k = 0; k < WORLD_LENGTH; k++)
            ck_assert_double_eq_tol((double)mean[k], exact[k] / total, CLIENTS / (total * 32767) + 1e-7);
        lmb_ring_deinit(&sum);
        lmb_pool_destroy(pool);
        world_free(&w);
    }
}
END_TEST

LMB_TEST_MAIN("federated/secagg/hostile_client", if (sodium_init() < 0) return 1; add(keys); add(boxes);
              add(boxes_of_noise); add(wrong_commitment); add(vectors); add(blocks); add(reveals); add(wrong_shares);
              add(wrong_mask_key); add(wrong_consent); add(setups); add(no_plan); add(whole_round);)
