/* Mirrors core/cuda/contest.c and results.c: who wins, by made-up times, and what is kept of that. */
#include "core/cuda/contest.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "core/cuda/results.h"

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

START_TEST(a_way_is_a_line)
{
    static const struct { const char *name; int place; double ms; const char *line; } ways[] = {
        { "fused engine 5", 3, 0.10321, "fused engine 5 at 3, 0.103 ms" },
        { "ours", 0, 12, "ours at 0, 12 ms" },
        { "f32 result engine 1024", 31, 0, "f32 result engine 1024 at 31" },
    };
    static const char *const wrong[] = {
        "", "at", " at 3", "fused", "fused engine 5 at", "fused engine 5 at x", "fused engine 5 at -1",
        "fused engine 5 at 99999999999", "fused engine 5 at 3 or 4", "fused engine 5 at 3, ms", "fused at 3, 1 s",
        "a name that is longer than any that there is room for at 3, 1 ms",
    };
    char line[LMBI_CONTEST_WAY + 1];
    lmbi_contest c, got;

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        c = (lmbi_contest){ 0 };
        lmbi_contest_enter(&c, "another", 0, 0);
        lmbi_contest_enter(&c, ways[i].name, 1, ways[i].place);
        c.of[1].ms = ways[i].ms;
        c.winner = 1;
        lmbi_contest_way(&c, line);
        ck_assert_str_eq(line, ways[i].line);
        ck_assert(lmbi_contest_read(line, &got));
        ck_assert(got.n == 1 && got.winner == 0 && got.of[0].place == ways[i].place);
        ck_assert_str_eq(got.of[0].name, ways[i].name);
        ck_assert_double_eq_tol(got.of[0].ms, ways[i].ms, 1e-3);
    }
    c.winner = -1;
    lmbi_contest_way(&c, line);
    ck_assert_str_eq(line, "none");
    ck_assert(lmbi_contest_read(line, &got) && got.winner == -1);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_msg(!lmbi_contest_read(wrong[i], &got), "'%s' is taken", wrong[i]);
    memset(c.of[1].name, 'x', LMBI_CONTEST_NAME - 1); /* the longest line fits */
    c.of[1].place = 1000, c.of[1].ms = 1.23e-6, c.winner = 1;
    lmbi_contest_way(&c, line);
    ck_assert(lmbi_contest_read(line, &got) && got.of[0].place == 1000);
}
END_TEST

START_TEST(time_for_contests_ends)
{
    lmbi_contest_time t = { 3, 0, false };

    ck_assert(lmbi_contest_time_left(&t));
    t.spent = 3;
    ck_assert(!lmbi_contest_time_left(&t));
    t.limit = -1;
    ck_assert(lmbi_contest_time_left(&t));
    t.limit = t.spent = 0;
    ck_assert(!lmbi_contest_time_left(&t));
}
END_TEST

/* ---- in a file: results.h ---- */

static char said[400];
static void on_line(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)level, (void)subsystem;
    snprintf(said, sizeof said, "%s", text);
}
static const lmb_log says = { on_line, NULL, LMB_LOG_WARN };

static lmbi_results *opened(const char *folder, const char *machine)
{
    lmbi_results *r = NULL;
    lmb_error err = LMB_ERROR_INIT;
    said[0] = '\0';
    ck_ok(lmbi_results_open(folder, machine, &says, &r, &err));
    return r;
}

static void keep(const char *folder, const char *machine, const char *shape, const char *way)
{
    lmbi_results *r = opened(folder, machine);
    lmb_cuda_known k = lmbi_results_known(r);
    k.found(k.ctx, shape, way);
    ck_assert_str_eq(k.find(k.ctx, shape), way);
    lmbi_results_close(r);
}

static void expect(const char *folder, const char *machine, const char *shape, const char *way)
{
    lmbi_results *r = opened(folder, machine);
    lmb_cuda_known k = lmbi_results_known(r);
    const char *got = k.find(k.ctx, shape);
    if (way)
        ck_assert_str_eq(got, way);
    else
        ck_assert_ptr_null(got);
    lmbi_results_close(r);
}

/* Another byte in the middle of each file of a folder. */
static void damage(const char *folder)
{
    char command[200];
    snprintf(command, sizeof command,
             "for f in %s/*; do printf x | dd of=$f bs=1 seek=20 conv=notrunc 2>/dev/null; done", folder);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(the_next_process_knows)
{
    char top[] = "/tmp/limbeck-contest-XXXXXX", folder[60], command[80];

    ck_assert_ptr_nonnull(mkdtemp(top));
    snprintf(folder, sizeof folder, "%s/a/b", top); /* it is made */
    expect(folder, "GPU one", "Conv", NULL);
    keep(folder, "GPU one", "Conv", "ours at 0, 1 ms");
    keep(folder, "GPU one", "Gemm", "none");
    keep(folder, "GPU one", "Gemm", "fused algorithm 3 at 1, 2 ms"); /* anew, as it did not do */
    keep(folder, "GPU two", "Conv", "fused engine 1 at 0");
    expect(folder, "GPU one", "Conv", "ours at 0, 1 ms");
    expect(folder, "GPU one", "Gemm", "fused algorithm 3 at 1, 2 ms");
    expect(folder, "GPU two", "Conv", "fused engine 1 at 0");
    expect(folder, "GPU two", "Gemm", NULL);
    expect(folder, "GPU one, a newer cuDNN", "Conv", NULL);
    ck_assert_str_eq(said, "");
    damage(folder);
    expect(folder, "GPU one", "Conv", NULL);
    ck_assert_msg(strstr(said, "damaged") && strstr(said, "measured anew"), "%s", said);
    keep(folder, "GPU one", "Conv", "ours at 0, 1 ms"); /* and is whole again */
    expect(folder, "GPU one", "Conv", "ours at 0, 1 ms");
    ck_assert_str_eq(said, "");
    keep("/dev/null/no", "GPU one", "Conv", "ours at 0, 1 ms"); /* costs time, no more */
    ck_assert_msg(strstr(said, "times convolutions and products again"), "%s", said);
    snprintf(command, sizeof command, "rm -r %s", top);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

LMB_TEST_MAIN("core/cuda/contest", add_loop(the_fastest_wins, sizeof contests / sizeof *contests);
              add(who_fails_late_is_out); add(it_is_told); add(it_is_kept_by_shape);
              add(a_way_is_a_line); add(time_for_contests_ends); add(the_next_process_knows);)
