/* What a server can read in the messages that it relays and gets (attacks 5, 8 and 9 in hostile_server.h): no secret,
 * no weight, no mask that it could guess; and boxes open only for whom and where they were meant.
 */
#include "tests/federated/secagg/hostile_server.h"

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

LMB_TEST_MAIN("federated/secagg/hostile_eyes", if (sodium_init() < 0) return 1; add(attack_5_plain_text);
              add(attack_8_predictable_masks); add(attack_9_weights_in_the_clear); add(attack_boxes_swapped);
              add(boxes_are_bound);)
