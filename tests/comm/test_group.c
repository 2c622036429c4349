/* Mirrors comm/group.c: four ranks as two jobs of two and as four of one, all at once. */
#include "comm/group.h"

#include "tests/check_main.h"
#include "tests/comm/thread_ranks.h"

static void meet(lmb_comm *all, void *ctx)
{
    lmb_error err = LMB_ERROR_INIT;
    int stride = *(int *)ctx, mine = 100 + all->rank, got[MOST_RANKS] = { 0 }, word = 0;
    lmb_comm *c = NULL;

    ck_ok(lmb_comm_group(all, stride, &c, &err));
    ck_assert_int_eq(c->size, all->size / stride);
    ck_assert_int_eq(c->rank, all->rank / stride);
    ck_ok(c->gather_all(c, &mine, got, sizeof mine, &err));
    for (int r = 0; r < c->size; r++)
        ck_assert_int_eq(got[r], 100 + all->rank % stride + r * stride);
    for (int root = 0; root < c->size; root++) {
        word = c->rank == root ? mine : 0;
        ck_ok(c->broadcast(c, &word, sizeof word, root, &err));
        ck_assert_int_eq(word, 100 + all->rank % stride + root * stride);
    }
    int to = c->rank + 1 < c->size ? c->rank + 1 : -1, from = c->rank - 1;
    ck_ok(c->exchange(c, &mine, to, &word, from, sizeof word, &err));
    ck_assert_int_eq(word, from < 0 ? word : mine - stride);
    lmb_comm_close(c);
}

START_TEST(groups_are_jobs)
{
    int stride = 1 << _i;
    on_threads(4, meet, &stride);
}
END_TEST

LMB_TEST_MAIN("comm/group", add_loop(groups_are_jobs, 3);)
