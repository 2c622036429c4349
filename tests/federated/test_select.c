/* Mirrors federated/select.c: who is chosen depends on who is there, not on their order; each row does what it says. */
#include "federated/select.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "tests/check_main.h"

enum { CLIENTS = 50, TAKE = 10 };
static lmb_error err;
static lmb_candidate all[CLIENTS];
static const lmb_selector *selector;
static void *options;

static void set_up(const char *yaml)
{
    lmb_config *c;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(yaml, strlen(yaml), "t.yaml", &c, &err));
    ck_ok(lmb_selector_open(lmb_tree_get(lmb_config_root(c), "selection"), &selector, &options, &err));
    lmb_config_destroy(c);
    for (int i = 0; i < CLIENTS; i++)
        all[i] = (lmb_candidate){ .id = i, .examples = 100, .loss = NAN };
}

static void choose(uint64_t round, size_t *out)
{
    ck_ok(lmb_select(selector, options, all, CLIENTS, TAKE, 7, round, out, &err));
}

START_TEST(the_order_of_candidates_does_not_matter)
{
    static const char *const rows[] = { "{selection: uniform}", "{selection: by_size}", "{selection: by_loss}",
                                        "{selection: round_robin}" };
    for (int k = 0; k < 4; k++) {
        lmb_candidate back[CLIENTS];
        size_t a[TAKE], b[TAKE];
        set_up(rows[k]);
        for (int i = 0; i < CLIENTS; i++) {
            all[i].loss = i % 3 ? 0.1 * i : NAN;
            all[i].last = i % 3 ? (uint64_t)(i % 7 + 1) : 0;
            all[i].examples = (uint64_t)(10 + i);
            back[CLIENTS - 1 - i] = all[i];
        }
        choose(9, a);
        ck_ok(lmb_select(selector, options, back, CLIENTS, TAKE, 7, 9, b, &err));
        for (int i = 0; i < TAKE; i++) {
            ck_assert_int_eq(all[a[i]].id, back[b[i]].id);
            ck_assert(i == 0 || all[a[i]].id > all[a[i - 1]].id); /* each once, by number */
        }
        free(options);
    }
}
END_TEST

START_TEST(uniform_is_fair)
{
    int times[CLIENTS] = { 0 };
    size_t out[TAKE];
    set_up("{}");
    for (uint64_t round = 1; round <= 500; round++) {
        choose(round, out);
        for (int i = 0; i < TAKE; i++)
            times[out[i]]++;
    }
    for (int i = 0; i < CLIENTS; i++) { /* 100 expected, deviation 9 */
        ck_assert_int_gt(times[i], 60);
        ck_assert_int_lt(times[i], 140);
    }
    free(options);
}
END_TEST

START_TEST(large_clients_come_more_often)
{
    int big = 0, small = 0;
    size_t out[TAKE];
    set_up("{selection: by_size}");
    for (int i = 0; i < CLIENTS; i++)
        all[i].examples = i < 25 ? 1000 : 100;
    for (uint64_t round = 1; round <= 200; round++) {
        choose(round, out);
        for (int i = 0; i < TAKE; i++)
            *(out[i] < 25 ? &big : &small) += 1;
    }
    ck_assert_int_gt(big, 5 * small);
    ck_assert_int_gt(small, 0);
    free(options);
}
END_TEST

START_TEST(round_robin_goes_round)
{
    int times[CLIENTS] = { 0 };
    size_t out[TAKE];
    set_up("{selection: round_robin}");
    for (uint64_t round = 1; round <= 2 * CLIENTS / TAKE; round++) {
        choose(round, out);
        for (int i = 0; i < TAKE; i++) {
            times[out[i]]++;
            all[out[i]].last = round;
        }
    }
    for (int i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(times[i], 2);
    free(options);
}
END_TEST

/* A loss is what a client says: whatever it is, there is an order, and clients that have waited come to it as well. */
START_TEST(no_claimed_loss_breaks_the_order)
{
    size_t out[TAKE];

    set_up("{selection: {name: by_loss, explore: 0, patience: 100}}");
    for (int i = 0; i < CLIENTS; i++) {
        all[i].loss = i < 3 ? DBL_MAX : i == 3 ? -DBL_MAX : 1;
        all[i].examples = i < 3 ? 1u << 20 : 100;
        all[i].last = i < 3 ? 1000 : 1;
    }
    choose(1001, out);
    for (int i = 0; i < TAKE; i++)
        ck_assert_uint_ge(out[i], 3); /* the loud had their turn */
    for (int i = 0; i < CLIENTS; i++)
        all[i].last = 1000;
    choose(1001, out);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(out[i], (size_t)i);
    free(options);
}
END_TEST

/* 8 of 10 places for known clients with the greatest loss, 2 for unknown ones; a wait is made up for. */
START_TEST(by_loss_takes_what_is_to_be_learned_and_explores)
{
    size_t out[TAKE];
    int unknown = 0;
    set_up("{selection: {name: by_loss, explore: 0.2, patience: 0}}");
    for (int i = 0; i < 40; i++) {
        all[i].loss = i;
        all[i].last = 5;
    }
    choose(6, out);
    for (int i = 0; i < TAKE; i++) {
        unknown += out[i] >= 40;
        ck_assert(out[i] >= 32);
    }
    ck_assert_int_eq(unknown, 2);
    free(options);
    set_up("{selection: {name: by_loss, explore: 0, patience: 10}}");
    for (int i = 0; i < CLIENTS; i++) {
        all[i].loss = 1;
        all[i].last = i == 3 ? 1 : 90;
    }
    choose(100, out);
    bool waited = false;
    for (int i = 0; i < TAKE; i++)
        waited |= out[i] == 3;
    ck_assert(waited);
    free(options);
    set_up("{selection: by_loss}"); /* nobody is known: everybody is explored */
    choose(1, out);
    free(options);
}
END_TEST

START_TEST(what_can_not_be)
{
    size_t out[TAKE];
    lmb_config *c;
    static const char yaml[] = "{selection: best}";
    set_up("{}");
    ck_assert_int_eq(lmb_select(selector, options, all, 5, TAKE, 1, 1, out, &err), LMB_E_ARG);
    free(options);
    ck_ok(lmb_config_parse(yaml, strlen(yaml), "t.yaml", &c, &err));
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_selector_open(lmb_tree_get(lmb_config_root(c), "selection"), &selector, &options, &err),
                     LMB_E_ARG);
    ck_assert(strstr(err.msg, "round_robin") != NULL);
    lmb_config_destroy(c);
}
END_TEST

LMB_TEST_MAIN("federated/select", add(the_order_of_candidates_does_not_matter); add(uniform_is_fair);
              add(large_clients_come_more_often); add(round_robin_goes_round);
              add(by_loss_takes_what_is_to_be_learned_and_explores); add(no_claimed_loss_breaks_the_order);
              add(what_can_not_be);)
