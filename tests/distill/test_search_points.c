/* Mirrors distill/search/points.c: the journal of points comes back to the bit, a damaged one is refused; the front. */
#include "core/base/compiler.h"
#include "distill/search/points.h"
#include "distill/search/search.h"
#include "tests/distill/search.h"

static lmb_point point(int id, int64_t right, double us, double bytes)
{
    lmb_point p = { .id = id,
                    .parent = id - 1,
                    .kind = id ? LMB_POINT_STEP : LMB_POINT_TEACHER,
                    .step = 0.1,
                    .predicted = { 1.0 / 3, 5, 7 },
                    .cost = { us, bytes, 100 },
                    .timing = { us, us / 7, 1e6 / us, 1.0 / 301, us / 3 },
                    .parameters = 12,
                    .arena = 64,
                    .pair = { 1000, 3, 4 },
                    .right = right,
                    .limit = 0.1 / 3,
                    .penalty = { { 0, id == 1 ? 0.1 / 7 : 0, 3e-9 * (id == 1), 1.0 / 3 * (id == 1) } },
                    .accepted = id != 2 };
    if (id == 3) {
        p.kind = LMB_POINT_FINISHED;
        p.before = (lmb_paired){ 1000, 5, 6 };
        p.proof = (lmb_paired){ 1000, 8, 9 };
    }
    p.move = calloc(1, sizeof *p.move);
    ck_assert_ptr_nonnull(p.move);
    if (id) {
        p.n_moves = 1;
        p.move[0] = (lmb_move){ .kind = LMB_MOVE_FACTOR,
                                .what = "a \"layer\"",
                                .from = 64,
                                .to = 16,
                                .rank_in = 24,
                                .loss = 0.1,
                                .gain = { 1e-9, 2, 3 } };
    }
    return p;
}

START_TEST(points_come_back_to_the_bit)
{
    lmb_points a, b;

    ck_ok(lmb_points_read(path, "me", &a, &err));
    ck_assert_int_eq(a.n, 0);
    for (int i = 0; i < 4; i++) {
        lmb_point p = point(i, 900 + i, 10.0 / (i + 3), 1000 - i);
        ck_ok(lmb_points_add(path, &a, &p, 1, &err));
    }
    ck_ok(lmb_file_append(path, "{\"point\": 4, \"par", 17, &err));
    ck_ok(lmb_points_read(path, "me", &b, &err));
    ck_assert_int_eq(b.n, 4);
    for (int i = 0; i < 4; i++) {
        const lmb_point *x = &a.point[i], *y = &b.point[i];
        ck_assert(x->id == y->id && x->parent == y->parent && x->kind == y->kind && x->goal == y->goal &&
                  x->step == y->step && memcmp(&x->timing, &y->timing, sizeof x->timing) == 0);
        ck_assert(memcmp(x->cost, y->cost, sizeof x->cost) == 0 &&
                  memcmp(x->predicted, y->predicted, sizeof x->cost) == 0);
        ck_assert(memcmp(&x->penalty, &y->penalty, sizeof x->penalty) == 0);
        ck_assert(x->right == y->right && memcmp(&x->pair, &y->pair, sizeof x->pair) == 0 &&
                  memcmp(&x->before, &y->before, sizeof x->before) == 0 &&
                  memcmp(&x->proof, &y->proof, sizeof x->proof) == 0 && x->limit == y->limit &&
                  x->accepted == y->accepted);
        ck_assert_int_eq(x->n_moves, y->n_moves);
        for (int k = 0; k < x->n_moves; k++)
            ck_assert(strcmp(x->move[k].what, y->move[k].what) == 0 && x->move[k].loss == y->move[k].loss &&
                      x->move[k].rank_in == 24);
    }
    lmb_points_free(&b);
    ck_assert_int_eq(lmb_points_read(path, "another", &b, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "(`me` where this one has `another`)"));
    ck_assert_ptr_nonnull(strstr(err.msg, "--fresh"));
    /* a key that the journal's program did not know */
    ck_ok(lmb_points_read(path, "me\npenalty: 1  # default\n", &b, &err));
    ck_assert_int_eq(b.n, 4);
    lmb_points_free(&b);
    lmb_points_free(&a);
}
END_TEST

START_TEST(a_damaged_journal_is_refused)
{
    static const char *const bad[] = {
        "{\"search\": \"me\"}\n{\"points\": [{\"point\": 1, \"parent\": 0}]}\n", "{\"point\": 0}\n",
        "{\"search\": \"me\"}\n{\"points\": [{\"point\": 1e30}]}\n",
        "{\"search\": \"me\"}\n{\"points\": [{\"point\": 0, \"parent\": -1, \"round\": 0, \"kind\": \"teacher\", "
        "\"goal\": \"latency\", \"step\": 0, \"moves\": [], "
        "\"predicted\": {\"latency\": 1, \"bytes\": 1, \"macs\": 1}, "
        "\"cost\": {\"latency\": 1, \"bytes\": 1, \"macs\": 1}, "
        "\"p99\": 1, \"throughput\": 1, \"missed\": 0, \"energy\": 0, "
        "\"parameters\": 1, \"arena\": 1, \"n\": 10, \"right\": 5, \"lost\": 8e15, \"won\": 1, \"limit\": 1, "
        "\"accepted\": true, \"beaten\": false}]}\n"
    };
    lmb_points p;

    for (size_t i = 0; i < LMB_COUNT(bad); i++) {
        err = (lmb_error)LMB_ERROR_INIT;
        ck_ok(lmb_file_write(path, bad[i], strlen(bad[i]), &err));
        ck_assert_int_eq(lmb_points_read(path, "me", &p, &err), LMB_E_FORMAT);
        ck_assert_ptr_nonnull(strstr(err.msg, "line"));
    }
    ck_assert_ptr_nonnull(strstr(err.msg, "counts that no held-out samples have"));
}
END_TEST

/* A last line that was torn goes; one that is damaged before others is no kill's work. */
START_TEST(a_damaged_line_is_not_torn)
{
    lmb_points p = { .identity = "me" }, again;
    void *text;
    size_t n;

    for (int i = 0; i < 3; i++) {
        lmb_point one = point(i, 900, 10, 10);
        ck_ok(lmb_points_add(path, &p, &one, 1, &err));
    }
    lmb_points_free(&p);
    ck_ok(lmb_file_read(path, 1 << 20, &text, &n, &err));
    char *third = strchr(strchr(text, '\n') + 1, '\n') + 1;
    third[1] ^= 1;
    ck_ok(lmb_file_write(path, text, n, &err));
    ck_assert_int_eq(lmb_points_read(path, "me", &again, &err), LMB_E_FORMAT);
    ck_assert_msg(strstr(err.msg, "line 3 is damaged"), "%s", err.msg);
    lmb_error_clear(&err);
    ck_ok(lmb_file_write(path, text, (size_t)(strchr(third, '\n') + 1 - (char *)text), &err));
    ck_ok(lmb_points_read(path, "me", &again, &err));
    ck_assert_int_eq(again.n, 1);
    lmb_points_free(&again);
    free(text);
}
END_TEST

/* A round of as many candidates as there may be, of many moves: more than a configuration may be long. */
START_TEST(a_long_line_comes_back)
{
    enum { MOVES = 120 };
    lmb_points p = { .identity = "me" }, again;
    lmb_point round[LMB_SEARCH_CANDIDATES], first = point(0, 900, 10, 10);

    ck_ok(lmb_points_add(path, &p, &first, 1, &err));
    for (int i = 0; i < LMB_SEARCH_CANDIDATES; i++) {
        lmb_point *x = &round[i];
        *x = point(i + 1, 900, 10, 10);
        x->kind = LMB_POINT_STEP;
        x->move = realloc(x->move, sizeof *x->move * MOVES);
        ck_assert_ptr_nonnull(x->move);
        for (x->n_moves = 1; x->n_moves < MOVES; x->n_moves++)
            x->move[x->n_moves] = x->move[0];
    }
    ck_ok(lmb_points_add(path, &p, round, LMB_SEARCH_CANDIDATES, &err));
    ck_ok(lmb_points_read(path, "me", &again, &err));
    ck_assert_int_eq(again.n, 1 + LMB_SEARCH_CANDIDATES);
    ck_assert_int_eq(again.point[LMB_SEARCH_CANDIDATES].n_moves, MOVES);
    lmb_points_free(&again);
    lmb_points_free(&p);
}
END_TEST

START_TEST(the_front)
{
    lmb_points p = { 0 };
    static const struct {
        int64_t right;
        double us, bytes;
        bool front;
    } rows[] = {
        { 950, 30, 100, true }, { 940, 20, 80, true },  { 940, 25, 80, false },
        { 930, 25, 70, true },  { 950, 30, 100, true }, { 900, 40, 200, false },
    };

    p.identity = "me";
    for (int i = 0; i < (int)LMB_COUNT(rows); i++) {
        lmb_point x = point(i, rows[i].right, rows[i].us, rows[i].bytes);
        ck_ok(lmb_points_add(path, &p, &x, 1, &err));
    }
    lmb_points_front(&p);
    for (int i = 0; i < p.n; i++)
        ck_assert_msg(p.point[i].front == rows[i].front, "point %d", i);
    lmb_points_free(&p);
}
END_TEST

LMB_TEST_MAIN("distill/search_points", tcase_add_checked_fixture(tc_, setup, teardown);
              add(points_come_back_to_the_bit); add(a_damaged_journal_is_refused); add(a_damaged_line_is_not_torn);
              add(a_long_line_comes_back); add(the_front);)
