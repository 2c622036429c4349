/* launch/lock.c - see lock.h. */
#include "launch/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/threads.h"

/* Is the process that took the lock still there? true when in doubt; one that nobody has waited for yet is gone. */
static bool holder_lives(int lock)
{
    char text[512] = "", path[40];
    ssize_t n = pread(lock, text, 20, 0);
    long pid = n > 0 ? strtol(text, NULL, 10) : 0;

    if (pid < 1)
        return true;
    if (kill((pid_t)pid, 0) && errno == ESRCH)
        return false;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *state = strrchr(text, ')'); /* "pid (name) state ...", proc(5) */
    return !state || strncmp(state, ") Z", 3) != 0;
}

static lmb_status wait_for(int lock, const char *folder, double patience_s, const volatile int *hurry, lmb_error *err)
{
    double until = lmb_seconds() + patience_s;
    bool said = false;

    while (flock(lock, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return LMB_FAIL(err, LMB_E_IO, "cannot lock %s: %s", folder, strerror(errno));
        if (hurry && *hurry)
            return LMB_FAIL(err, LMB_E_STOPPED, "stopped on request");
        if (holder_lives(lock) || lmb_seconds() > until)
            return LMB_FAIL(err, LMB_E_ARG,
                            "another `limbeck` works in %s; wait for it to end, or choose a folder with --set run=...",
                            folder);
        if (!said)
            fprintf(stderr, "processes of an interrupted run in %s are ending; waiting for them\n", folder);
        said = true;
        nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
    }
    return LMB_OK;
}

lmb_status lmb_lock(const char *folder, double patience_s, const volatile int *hurry, int *out, lmb_error *err)
{
    char path[1024], pid[24];

    LMB_TRY(lmb_file_make_dirs(folder, err));
    LMB_TRY(lmb_path_join(path, sizeof path, folder, "lock", err));
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock < 0)
        return LMB_FAIL(err, LMB_E_IO, "cannot open %s: %s", path, strerror(errno));
    lmb_status st = wait_for(lock, folder, patience_s, hurry, err);
    if (st != LMB_OK) {
        close(lock);
        return st;
    }
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(lock, 0) || pwrite(lock, pid, (size_t)n, 0) != n) {
        close(lock);
        return LMB_FAIL(err, LMB_E_IO, "cannot write %s: %s", path, strerror(errno));
    }
    *out = lock;
    return LMB_OK;
}

void lmb_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}
