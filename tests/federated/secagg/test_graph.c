/* Mirrors federated/secagg/graph.c. */
#include "federated/secagg/graph.h"
#include "tests/check_main.h"

#include <string.h>

typedef struct known {
    lmb_secagg_mode mode;
    double adversaries, dropouts;
    uint32_t n;
    lmb_secagg_shape shape;
} known;

#define CURIOUS LMB_SECAGG_CURIOUS
#define MALICIOUS LMB_SECAGG_MALICIOUS

/* Degree and threshold at security 2^-40 and correctness 2^-20, from the tests of Google's federated-compute
 * (fcp/secagg/server/graph_parameter_finder_test.cc, 2026-08); its "semi-malicious" is malicious here. */
static const known answers[] = {
    { CURIOUS, .33, .33, 100, { 68, 34 } },        { CURIOUS, .33, .33, 1000, { 286, 150 } },
    { CURIOUS, .33, .33, 10000, { 422, 221 } },    { CURIOUS, .33, .33, 100000, { 480, 251 } },
    { CURIOUS, .33, .33, 1000000, { 518, 270 } },  { CURIOUS, .05, .33, 10, { 4, 2 } },
    { CURIOUS, .05, .33, 100, { 28, 6 } },         { CURIOUS, .05, .33, 1000, { 72, 24 } },
    { CURIOUS, .05, .33, 10000, { 86, 29 } },      { CURIOUS, .05, .33, 100000, { 96, 32 } },
    { CURIOUS, .05, .33, 1000000, { 102, 34 } },   { CURIOUS, .33, .05, 100, { 34, 29 } },
    { CURIOUS, .33, .05, 1000, { 78, 60 } },       { CURIOUS, .33, .05, 10000, { 92, 70 } },
    { CURIOUS, .33, .05, 100000, { 102, 77 } },    { CURIOUS, .33, .05, 1000000, { 110, 83 } },
    { CURIOUS, .05, .05, 10, { 2, 2 } },           { CURIOUS, .05, .05, 100, { 12, 6 } },
    { CURIOUS, .05, .05, 1000, { 30, 17 } },       { CURIOUS, .05, .05, 10000, { 34, 20 } },
    { CURIOUS, .05, .05, 100000, { 36, 21 } },     { CURIOUS, .05, .05, 1000000, { 38, 22 } },
    { CURIOUS, .45, .45, 100, { 92, 46 } },        { CURIOUS, .45, .45, 1000, { 822, 417 } },
    { CURIOUS, .45, .45, 10000, { 3494, 1771 } },  { CURIOUS, .45, .45, 100000, { 5508, 2788 } },
    { CURIOUS, .45, .45, 1000000, { 6240, 3156 } }, { MALICIOUS, .05, .33, 100, { 72, 39 } },
    { MALICIOUS, .05, .33, 1000, { 398, 223 } },   { MALICIOUS, .05, .33, 10000, { 746, 420 } },
    { MALICIOUS, .05, .33, 100000, { 882, 496 } }, { MALICIOUS, .05, .33, 1000000, { 970, 545 } },
    { MALICIOUS, .33, .05, 100, { 42, 37 } },      { MALICIOUS, .33, .05, 1000, { 132, 109 } },
    { MALICIOUS, .33, .05, 10000, { 178, 146 } },  { MALICIOUS, .33, .05, 1000000, { 212, 173 } },
    { MALICIOUS, .05, .05, 100, { 16, 11 } },      { MALICIOUS, .05, .05, 1000, { 52, 37 } },
    { MALICIOUS, .05, .05, 10000, { 62, 44 } },    { MALICIOUS, .05, .05, 100000, { 68, 48 } },
    { MALICIOUS, .05, .05, 1000000, { 74, 52 } },  { MALICIOUS, .3, .3, 100, { 92, 62 } },
    { MALICIOUS, .3, .3, 1000, { 872, 584 } },     { MALICIOUS, .3, .3, 10000, { 4822, 3230 } },
};

START_TEST(known_answers)
{
    const known *k = &answers[_i];
    lmb_secagg_trust trust = { k->mode, k->adversaries, k->dropouts, 0 };
    lmb_secagg_shape got, weaker;
    lmb_error err = LMB_ERROR_INIT;

    ck_ok(lmb_secagg_shape_find(k->n, &trust, &got, &err));
    ck_assert_uint_eq(got.degree, k->shape.degree);
    ck_assert_uint_eq(got.threshold, k->shape.threshold);

    ck_ok(lmb_secagg_shape_check(k->n, &got, &trust, &err)); /* a client of the same mind agrees ... */
    weaker = got;
    weaker.threshold--;
    if (weaker.threshold >= 2) /* ... and takes nothing weaker */
        ck_assert_int_eq(lmb_secagg_shape_check(k->n, &weaker, &trust, &err), LMB_E_DENIED);
}
END_TEST

START_TEST(infeasible)
{
    static const known none[] = {
        { CURIOUS, .05, .05, 0, { 0, 0 } },       { CURIOUS, .5, .5, 100, { 0, 0 } },
        { CURIOUS, .5, .5, 1000000, { 0, 0 } },   { MALICIOUS, .5, .5, 1000, { 0, 0 } },
        { MALICIOUS, .33, .33, 1000, { 0, 0 } },  { CURIOUS, -.1, .3, 100, { 0, 0 } },
        { CURIOUS, .1, 1, 100, { 0, 0 } },        { (lmb_secagg_mode)2, .05, .05, 100, { 0, 0 } },
        { CURIOUS, .05, .05, 1000001, { 0, 0 } },
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        lmb_secagg_trust trust = { none[i].mode, none[i].adversaries, none[i].dropouts, 0 };
        lmb_secagg_shape got = { 7, 7 };
        lmb_error err = LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_secagg_shape_find(none[i].n, &trust, &got, &err), LMB_E_ARG);
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_secagg_shape_plan(none[i].n, &trust, &got, &err), LMB_E_ARG);
        ck_assert_uint_eq(got.degree, 7);
        ck_assert_uint_gt(strlen(err.msg), 20);
    }
}
END_TEST

/* A floor above what drop-outs leave is infeasible at any degree; that is found out soon. */
START_TEST(floor_above_the_survivors)
{
    lmb_secagg_trust trust = { MALICIOUS, .05, .35, 2.0 / 3 };
    lmb_secagg_shape got;
    lmb_error err = LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_secagg_shape_plan(1000000, &trust, &got, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "1000000 clients"));
}
END_TEST

/* The floor holds whatever the bounds would allow, and small cohorts get the complete graph. */
START_TEST(plan_keeps_the_floor)
{
    static const uint32_t sizes[] = { 3, 4, 5, 6, 7, 10, 20, 50, 100, 1000 };
    for (int mode = 0; mode < 2; mode++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            lmb_secagg_trust trust = lmb_secagg_trust_default((lmb_secagg_mode)mode);
            lmb_secagg_shape s;
            lmb_error err = LMB_ERROR_INIT;
            ck_ok(lmb_secagg_shape_plan(sizes[i], &trust, &s, &err));
            ck_assert_uint_lt(s.degree, sizes[i]);
            ck_assert_uint_le(s.threshold, s.degree);
            ck_assert_uint_gt((mode ? 3 : 2) * s.threshold, (mode ? 2 : 1) * s.degree);
            ck_ok(lmb_secagg_shape_check(sizes[i], &s, &trust, &err));
            s.threshold = mode ? 2 * s.degree / 3 : s.degree / 2; /* at the floor, not above it */
            ck_assert_int_eq(lmb_secagg_shape_check(sizes[i], &s, &trust, &err), LMB_E_DENIED);
        }
}
END_TEST

START_TEST(shapes_no_client_takes)
{
    static const lmb_secagg_shape bad[] = {
        { 0, 0 }, { 100, 60 }, { 11, 8 }, { 20, 21 }, { 2, 2 }, /* two neighbours: the ring falls apart */
    };
    lmb_secagg_trust trust = { LMB_SECAGG_CURIOUS, .05, .33, 0.5 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lmb_error err = LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_secagg_shape_check(100, &bad[i], &trust, &err), LMB_E_DENIED);
        ck_assert_uint_gt(strlen(err.msg), 20);
    }
}
END_TEST

START_TEST(ring)
{
    static const uint32_t shapes[][2] = { { 2, 1 }, { 5, 4 }, { 6, 5 }, { 6, 2 }, { 7, 4 }, { 100, 12 }, { 1000, 72 } };
    uint8_t seed[LMB_SECAGG_SEED] = { 1 };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        lmb_secagg_graph g;
        lmb_error err = LMB_ERROR_INIT;
        ck_ok(lmb_secagg_graph_init(&g, shapes[s][0], shapes[s][1], seed, &err));
        for (uint32_t a = 0; a < g.n; a++) {
            ck_assert_int_eq(lmb_secagg_graph_slot(&g, a, a), -1);
            for (uint32_t i = 0; i < g.degree; i++) {
                uint32_t b = g.near[a * g.degree + i];
                ck_assert(b < g.n && b != a);
                ck_assert(i == 0 || b > g.near[a * g.degree + i - 1]);
                ck_assert_int_eq(lmb_secagg_graph_slot(&g, a, b), i);
                ck_assert_int_ge(lmb_secagg_graph_slot(&g, b, a), 0); /* both ways */
            }
        }
        lmb_secagg_graph_deinit(&g);
    }
}
END_TEST

START_TEST(ring_depends_on_the_seed)
{
    uint8_t seed[LMB_SECAGG_SEED] = { 1 };
    lmb_secagg_graph a, b, c;
    lmb_error err = LMB_ERROR_INIT;
    ck_ok(lmb_secagg_graph_init(&a, 50, 4, seed, &err));
    ck_ok(lmb_secagg_graph_init(&b, 50, 4, seed, &err));
    seed[31] = 1;
    ck_ok(lmb_secagg_graph_init(&c, 50, 4, seed, &err));
    ck_assert_mem_eq(a.near, b.near, 50 * 4 * sizeof *a.near);
    ck_assert_mem_ne(a.near, c.near, 50 * 4 * sizeof *a.near);
    lmb_secagg_graph_deinit(&a);
    lmb_secagg_graph_deinit(&b);
    lmb_secagg_graph_deinit(&c);
    ck_assert_int_eq(lmb_secagg_graph_init(&a, 10, 3, seed, &err), LMB_E_ARG); /* odd */
    ck_assert_int_eq(lmb_secagg_graph_init(&a, 10, 10, seed, &err), LMB_E_ARG);
    ck_assert_int_eq(lmb_secagg_graph_init(&a, 1, 0, seed, &err), LMB_E_ARG);
}
END_TEST

LMB_TEST_MAIN("federated/secagg/graph", add_loop(known_answers, sizeof answers / sizeof *answers); add(infeasible);
              add(floor_above_the_survivors); add(plan_keeps_the_floor); add(shapes_no_client_takes); add(ring);
              add(ring_depends_on_the_seed);)
