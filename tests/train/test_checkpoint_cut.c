/* Mirrors train/checkpoint.c: a save that is starved of space or killed, at any time and between any two system calls,
 * leaves a whole checkpoint: the old one or the new one.
 */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "core/base/file.h"
#include "core/base/random.h"
#include "tests/train/checkpoint_by_hand.h"

START_TEST(a_full_disk_costs_nothing)
{
    struct rlimit whole, tight;
    uint64_t size;

    setup();
    save(30);
    save(31);
    ck_ok(lmb_file_size(path, &size, &err));
    getrlimit(RLIMIT_FSIZE, &whole);
    signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit then fails as on a full disk */
    for (uint64_t k = 0; k < size; k += size / 41 + 1) {
        err = (lmb_error)LMB_ERROR_INIT;
        make_state(32);
        tight = (struct rlimit){ k, whole.rlim_max };
        setrlimit(RLIMIT_FSIZE, &tight);
        lmb_status st = lmb_checkpoint_save(path, &state, config, &err);
        setrlimit(RLIMIT_FSIZE, &whole);
        ck_assert_int_eq(st, LMB_E_IO);
        ck_assert_msg(strstr(err.msg, path) && strstr(err.msg, "File too large"), "%s", err.msg);
        ck_assert_int_eq(files(), 2);
        ck_assert_int_eq(load(path), 31);
        ck_assert_int_eq(load(prev), 30);
    }
    signal(SIGXFSZ, SIG_DFL);
    err = (lmb_error)LMB_ERROR_INIT;
    save(33);
    ck_assert_int_eq(load(prev), 31);
    teardown();
}
END_TEST

/* In a child: save generations g, g + 1, ... for ever, telling each that is done. */
static void save_for_ever(int64_t g, int tell)
{
    for (;; g++) {
        lmb_error own = LMB_ERROR_INIT;
        make_state(g);
        if (lmb_checkpoint_save(path, &state, config, &own) != LMB_OK || write(tell, &g, sizeof g) != sizeof g)
            _exit(1);
    }
}

START_TEST(killed_at_any_time)
{
    const lmb_rand when = lmb_rand_at(11, LMB_RAND_TEST, 0, 0);
    int64_t last = 0, told;

    setup();
    save(0);
    for (int i = 0; i < 20; i++) {
        int ends[2], how;
        ck_assert_int_eq(pipe(ends), 0);
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0)
            save_for_ever(last + 1, ends[1]);
        close(ends[1]);
        ck_assert_int_eq(read(ends[0], &told, sizeof told), sizeof told); /* it is under way */
        usleep(lmb_rand_below(&when, (uint32_t)i, 12000));
        kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, &how, 0), child);
        ck_assert_msg(WIFSIGNALED(how), "the child gave up by itself");
        int64_t newest = told;
        while (read(ends[0], &told, sizeof told) == sizeof told)
            newest = told;
        close(ends[0]);
        last = load(path); /* all that was told is there; what was under way is, or is not */
        ck_assert_str_eq(warning, "");
        ck_assert(last == newest || last == newest + 1);
    }
    save(last + 1);
    ck_assert_int_eq(load(prev), last);
    teardown();
}
END_TEST

/* Run one save in a traced child and kill it as it enters its k-th system call. Returns whether it was killed; -1 where
 * processes may not be traced. */
static int killed_at_call(int64_t g, int k)
{
    int how;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        lmb_error own = LMB_ERROR_INIT;
        make_state(g);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(77);
        raise(SIGSTOP);
        _exit(lmb_checkpoint_save(path, &state, config, &own) != LMB_OK);
    }
    ck_assert_int_eq(waitpid(child, &how, 0), child);
    if (WIFEXITED(how))
        return -1;
    for (int stops = 0; stops < 2 * k; stops++) { /* entering and leaving stop alike */
        if (ptrace(PTRACE_SYSCALL, child, NULL, NULL) != 0)
            return -1;
        ck_assert_int_eq(waitpid(child, &how, 0), child);
        if (!WIFSTOPPED(how)) {
            ck_assert_msg(WIFEXITED(how) && WEXITSTATUS(how) == 0, "the traced save failed");
            return 0;
        }
    }
    kill(child, SIGKILL);
    waitpid(child, &how, 0);
    return 1;
}

START_TEST(killed_between_any_two_system_calls)
{
    int64_t last = 50;
    int killed = 1, changed = 0;

    setup();
    save(49);
    save(50);
    for (int k = 0; killed == 1; k++) {
        killed = killed_at_call(last + 1, k);
        if (killed < 0)
            break;
        int64_t g = load(path);
        ck_assert_str_eq(warning, "");
        ck_assert(g == last || g == last + 1);
        ck_assert_int_lt(load(prev), g);
        ck_assert_str_eq(warning, "");
        changed += g != last;
        last = g;
        ck_assert_int_lt(k, 3000);
    }
    if (killed == 0)
        ck_assert_int_ge(changed, 2); /* after the rename, and the save that was let go */
    teardown();
}
END_TEST

LMB_TEST_MAIN("train/checkpoint_cut", add(a_full_disk_costs_nothing); add(killed_at_any_time);
              add(killed_between_any_two_system_calls);)
