/* Mirrors launch/child.c: real processes, /bin/sh. */
#include "launch/child.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "tests/check_main.h"
#include "tests/temp_dir.h"

static lmb_error err;
static char dir[128], log_path[160];

static void start(lmb_child *c, const char *script, const char *const *env)
{
    char *argv[] = { "/bin/sh", "-c", (char *)(size_t)script, NULL };
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_child_start(c, argv, env, &err));
}

static lmb_child with_log(const char *name)
{
    temp_make(dir, sizeof dir);
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    return (lmb_child){ .name = name, .log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600) };
}

static void finish(lmb_child *c)
{
    while (lmb_children_tend(c, 1, 100))
        ;
}

START_TEST(what_is_said_is_logged_without_bars)
{
    static const char *const env[] = { "LIMBECK_WORD=from the environment", NULL };
    lmb_child c = with_log("stage");
    void *text;
    size_t n;

    start(
        &c,
        "echo $LIMBECK_WORD; sleep 0.05; printf '\\r\\033[K 10 %%' >&2; sleep 0.05; printf '\\r\\033[K\\033[?7l 90 %%\\033[?7h\\r\\033[Kepoch 1\\r\\n' >&2; sleep 0.05; "
        "printf 'no newline'",
        env);
    finish(&c);
    ck_assert_int_eq(c.exit_code, 0);
    ck_assert_str_eq(c.said, "epoch 1");
    close(c.log);
    ck_ok(lmb_file_read(log_path, 1000, &text, &n, &err));
    ck_assert_str_eq(text, "from the environment\nepoch 1\nno newline\n");
    free(text);
    temp_remove(dir);
}
END_TEST

static const struct failure { const char *script; lmb_status status; const char *says; } failures[] = {
    { "echo 'limbeck train: no data' >&2; echo ------ >&2; echo chatter >&2; exit 1", LMB_E_IO,
      "stage ended with exit code 1: limbeck train: no data" },
    { "echo help >&2; exit 75", LMB_E_PEER, "stage ended with exit code 75: help" },
    { "exit 3", LMB_E_STOPPED, "stage ended with exit code 3" },
    { "kill -9 $$", LMB_E_IO, "stage was ended by signal 9 (Killed)" },
};

START_TEST(failure_is_one_sentence)
{
    const struct failure *f = &failures[_i];
    lmb_child c = { .name = "stage", .log = -1 };

    start(&c, f->script, NULL);
    finish(&c);
    ck_assert_int_eq(lmb_child_fail(&c, &err), f->status);
    ck_assert_str_eq(err.msg, f->says);
}
END_TEST

START_TEST(program_that_is_not_there)
{
    char *argv[] = { "/nowhere/limbeck", NULL };
    lmb_child c = { .name = "stage", .log = -1 };

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_child_start(&c, argv, NULL, &err));
    finish(&c);
    ck_assert_int_eq(lmb_child_fail(&c, &err), LMB_E_IO);
    ck_assert_str_eq(err.msg,
                     "stage ended with exit code 127: cannot start /nowhere/limbeck: No such file or directory");
}
END_TEST

/* An orphan that is dead but not yet buried does not live. */
static bool alive(int pid)
{
    char path[64], stat[256] = "";

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    bool there = f && fgets(stat, sizeof stat, f);
    if (f)
        fclose(f);
    return there && !strstr(stat, ") Z");
}

/* One ends when asked, by the signal it wants; the other must be made to, with the process it started. */
START_TEST(children_end_and_leave_nothing)
{
    lmb_child c[2] = { { .name = "polite", .log = -1, .stop = SIGUSR1 }, { .name = "deaf", .log = -1 } };
    char line[32] = "";

    start(&c[0], "trap 'exit 3' USR1; echo ready >&2; while :; do sleep 0.02; done", NULL);
    start(&c[1], "trap '' TERM; sleep 100 & echo $! >&2; wait; sleep 100", NULL);
    while (!*c[0].said || !*c[1].said)
        lmb_children_tend(c, 2, 20);
    snprintf(line, sizeof line, "%s", c[1].said);
    double begun = lmb_seconds();
    lmb_children_end(c, 2, 0.5, NULL);
    ck_assert(lmb_seconds() - begun < 60);
    ck_assert_int_eq(c[0].exit_code, 3);
    ck_assert_int_eq(c[1].signal, SIGKILL);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no zombies */
    for (int i = 0; i < 200 && alive(atoi(line)); i++)
        usleep(10000);
    ck_assert(!alive(atoi(line)));
}
END_TEST

LMB_TEST_MAIN("launch/child", add(what_is_said_is_logged_without_bars); add_loop(failure_is_one_sentence, 4);
              add(program_that_is_not_there); add(children_end_and_leave_nothing);)
