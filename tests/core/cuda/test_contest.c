/* Mirrors core/cuda/contest.c: who wins, by made-up times. */
#include "core/cuda/contest.h"

#include <stdbool.h>
#include <string.h>

#include "tests/check_main.h"

/* What each way takes a turn, and how often it is asked. */
typedef struct played {
    const double *ms;
    int fails_after[LMBI_CONTEST_MOST]; /* turns; 0: never */
    int asked[LMBI_CONTEST_MOST], turns[LMBI_CONTEST_MOST];
} played;

static lmb_status run(void *ctx, int i, int turns, double *ms, lmb_error *err)
{
    played *p = ctx;
    bool first = p->asked[i]++ == 0;

    p->turns[i] += turns;
    if (p->ms[i] < 0 || (p->fails_after[i] && p->turns[i] > p->fails_after[i]))
        return LMB_FAIL(err, LMB_E_DEVICE, "a made-up failure");
    /* code is loaded; and later rounds are disturbed, each way once */
    *ms = turns * p->ms[i] * (first ? 100 : p->asked[i] == 3 + i % 3 ? 2 : 1);
    return LMB_OK;
}

static const struct {
    double ms[5]; /* ends with 0 */
    int winner;
} contests[] = {
    { { 0.3, 0.2, 0.25 }, 1 },
    { { 0.2, 0.3 }, 0 },
    { { 0.200, 0.197, 0.3 }, 0 },   /* not clearly faster: the order stays */
    { { 0.200, 0.190, 0.187 }, 1 }, /* clearly faster than the first, and as good as the best */
    { { -1, 0.5, 40 }, 1 },
    { { 40, 0.01 }, 1 },
    { { -1, -1 }, -1 },
    { { 7 }, 0 },
};

START_TEST(the_fastest_wins)
{
    lmbi_contest c = { 0 };
    played p = { .ms = contests[_i].ms };

    for (int i = 0; contests[_i].ms[i] != 0; i++)
        lmbi_contest_enter(&c, "way", i / 2, i);
    lmbi_contest_hold(&c, run, &p);
    ck_assert_int_eq(c.winner, contests[_i].winner);
    for (int i = 0; i < c.n; i++) {
        const double told = contests[_i].ms[i];
        ck_assert_int_eq(c.of[i].place, i);
        if (c.n == 1)
            ck_assert_int_eq(p.asked[i], 0); /* alone: no measuring */
        else if (told < 0)
            ck_assert(c.of[i].ms < 0 && p.asked[i] == 1);
        else
            ck_assert_double_eq_tol(c.of[i].ms, told, 1e-9);
    }
    if (contests[_i].ms[2] == 40) /* the hopeless one is not asked again */
        ck_assert_int_eq(p.turns[2], 2);
}
END_TEST

START_TEST(who_fails_late_is_out)
{
    static const double ms[] = { 0.1, 0.2 };
    lmbi_contest c = { 0 };
    played p = { .ms = ms, .fails_after = { 3 } };

    lmbi_contest_enter(&c, "first", 0, 0);
    lmbi_contest_enter(&c, "second", 0, 1);
    lmbi_contest_hold(&c, run, &p);
    ck_assert_int_eq(c.winner, 1);
    ck_assert(c.of[0].ms < 0);
}
END_TEST

START_TEST(it_is_told)
{
    lmbi_contest c = { 0 };
    char text[120], little[10];

    lmbi_contest_enter(&c, "fused engine 5", 0, 3);
    lmbi_contest_enter(&c, "plain engine 5", 1, 3);
    lmbi_contest_enter(&c, "own kernel", 2, 0);
    c.of[0].ms = 0.10321, c.of[1].ms = 12, c.of[2].ms = -1;
    lmbi_contest_text(&c, text, sizeof text);
    ck_assert_str_eq(text, "fused engine 5 0.103 ms, plain engine 5 12 ms, own kernel failed");
    lmbi_contest_text(&c, little, sizeof little);
    ck_assert_str_eq(little, "fused eng");
    for (int i = 0; i < 2 * LMBI_CONTEST_MOST; i++)
        lmbi_contest_enter(&c, "a name that is longer than there is room for", 0, i);
    ck_assert_int_eq(c.n, LMBI_CONTEST_MOST);
    ck_assert_uint_eq(strlen(c.of[LMBI_CONTEST_MOST - 1].name), LMBI_CONTEST_NAME - 1);
}
END_TEST

START_TEST(it_is_kept_by_shape)
{
    lmbi_contests *all = NULL;
    lmbi_contest c = { .n = 1, .winner = 0 };

    ck_assert_ptr_null(lmbi_contests_find(all, "a"));
    lmbi_contests_keep(&all, "a", &c);
    c.winner = -1;
    lmbi_contests_keep(&all, "b", &c);
    ck_assert_int_eq(lmbi_contests_find(all, "a")->winner, 0);
    ck_assert_int_eq(lmbi_contests_find(all, "b")->winner, -1);
    ck_assert_ptr_null(lmbi_contests_find(all, "c"));
    lmbi_contests_destroy(all);
    lmbi_contests_destroy(NULL);
}
END_TEST

LMB_TEST_MAIN("core/cuda/contest", add_loop(the_fastest_wins, sizeof contests / sizeof *contests);
              add(who_fails_late_is_out); add(it_is_told); add(it_is_kept_by_shape);)
