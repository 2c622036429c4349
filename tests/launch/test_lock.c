/* Mirrors launch/lock.c: real processes. */
#include "launch/lock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/threads.h"
#include "launch/child.h"
#include "tests/check_main.h"
#include "tests/temp_dir.h"

static lmb_error err;
static char dir[128];

START_TEST(the_second_is_refused_until_the_first_is_done)
{
    int a = -1, b = -1;

    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(dir, sizeof dir);
    ck_ok(lmb_lock(dir, 5, NULL, &a, &err));
    double begun = lmb_seconds();
    ck_assert_int_eq(lmb_lock(dir, 60, NULL, &b, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "another `limbeck` works in"));
    ck_assert(lmb_seconds() - begun < 30); /* its process lives: no use in waiting */
    lmb_unlock(a);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_lock(dir, 5, NULL, &b, &err));
    lmb_unlock(b);
    temp_remove(dir);
}
END_TEST

/* A process takes the lock, starts a child that keeps it for a while, and is gone at once. The child: sets a trap, then
 * does the rest. */
static void leave_a_child(const char *trap, const char *rest)
{
    char script[400], set[160];
    char *argv[] = { "/bin/sh", "-c", script, NULL };
    int ready[2], lock;
    char byte;

    snprintf(set, sizeof set, "%s/set", dir);
    snprintf(script, sizeof script, "trap '%s' TERM; : >%s; %s", trap, set, rest);
    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        lmb_error e = LMB_ERROR_INIT;
        if (lmb_lock(dir, 5, NULL, &lock, &e) != LMB_OK)
            _exit(1);
        lmb_child c = { .name = "child", .log = -1, .keep = lock };
        if (lmb_child_start(&c, argv, NULL, &e) != LMB_OK)
            _exit(1);
        for (int i = 0; i < 6000 && access(set, F_OK) != 0; i++)
            usleep(10000);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1); /* not waited for: what nobody has waited for is gone, too */
    usleep(20000);
    close(ready[0]), close(ready[1]);
}

START_TEST(children_of_the_dead_are_waited_for)
{
    int lock = -1;

    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(dir, sizeof dir);
    leave_a_child("sleep 0.4; exit 0", "while :; do sleep 0.05; done");
    double begun = lmb_seconds();
    ck_ok(lmb_lock(dir, 20, NULL, &lock, &err));
    ck_assert(lmb_seconds() - begun > 0.1);
    lmb_unlock(lock);
    temp_remove(dir);
}
END_TEST

START_TEST(patience_ends)
{
    int lock = -1, hurry = 1;

    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(dir, sizeof dir);
    leave_a_child("", "sleep 2");
    ck_assert_int_eq(lmb_lock(dir, 0.2, NULL, &lock, &err), LMB_E_ARG);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_lock(dir, 20, &hurry, &lock, &err), LMB_E_STOPPED);
    temp_remove(dir);
}
END_TEST

LMB_TEST_MAIN("launch/lock", add(the_second_is_refused_until_the_first_is_done);
              add(children_of_the_dead_are_waited_for); add(patience_ends);)
