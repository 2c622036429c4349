/* Mirrors core/base/threads.c. */
#include "core/base/threads.h"

#include <stdatomic.h>
#include <time.h>

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

/* Workers that have gone to sleep come when there is work; a look that leads to nothing ends. */
static bool never(void *looks)
{
    ++*(int *)looks;
    return false;
}
static bool at_once(void *looks) { return ++*(int *)looks == 1; }

START_TEST(waiting_ends_in_sleep)
{
    int size = 3, looks = 0;
    lmb_pool *p;

    ck_assert(!lmb_wait_briefly(never, &looks) && looks > 1);
    looks = 0;
    ck_assert(lmb_wait_briefly(at_once, &looks) && looks == 1);
    ck_ok(lmb_pool_create(size, &p, &err));
    for (int round = 0; round < 20; round++) {
        nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
        lmb_pool_run(p, 8, hit, &size);
    }
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(atomic_exchange(&hits[i], 0), 20);
    lmb_pool_destroy(p);
}
END_TEST

LMB_TEST_MAIN("core/base/threads", add_loop(each_task_runs_once, 4); add(waiting_ends_in_sleep);
              add(absurd_sizes_are_refused);)
