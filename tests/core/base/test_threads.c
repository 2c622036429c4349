/* Mirrors core/base/threads.c. */
#include "core/base/threads.h"

#include <stdatomic.h>

#include "tests/check_main.h"

static lmb_error err;
static atomic_int hits[64];

static void hit(void *ctx, int task, int worker)
{
    ck_assert_int_lt(worker, *(int *)ctx);
    atomic_fetch_add(&hits[task], 1);
}

START_TEST(each_task_runs_once)
{
    int size = _i + 1;
    lmb_pool *p;
    ck_ok(lmb_pool_create(size, &p, &err));
    for (int round = 0; round < 200; round++)
        lmb_pool_run(p, 64, hit, &size);
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(atomic_exchange(&hits[i], 0), 200);
    lmb_pool_destroy(p);
}
END_TEST

START_TEST(absurd_sizes_are_refused)
{
    lmb_pool *p = NULL;
    ck_assert_int_eq(lmb_pool_create(0, &p, &err), LMB_E_ARG);
    ck_assert_ptr_null(p);
    lmb_pool_destroy(NULL);
}
END_TEST

LMB_TEST_MAIN("core/base/threads", add_loop(each_task_runs_once, 4); add(absurd_sizes_are_refused);)
