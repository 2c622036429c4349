/* Setups of a session that cannot be are refused before it begins, and one of honest clients gives the weighted mean of
 * their updates.
 */
#include "tests/federated/secagg/world.h"

enum { N = 5 };

START_TEST(setups)
{
    world w = world_make(N, LMB_SECAGG_CURIOUS, 4, 3);
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

LMB_TEST_MAIN("federated/secagg/session", if (sodium_init() < 0) return 1; add(setups); add(no_plan);
              add(whole_round);)
