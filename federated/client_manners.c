/* federated/client_manners.c - when a client would rather not: quiet hours, and a command that is asked.
 *
 * Idea: a client that may not work now is not there. It cuts its training short, hangs up, and comes back when it may;
 * to the server it is a client like any that lost its connection. The hours are looked at each second; the command is
 * asked when that is worth a process: before a round, each ask_s while training or resting.
 *
 * The command belongs to the machine's owner and is run by /bin/sh as it stands in the configuration; nothing that a
 * server says is any part of it. It has ask_limit_s to answer, without an answer it is a no.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/scan.h"
#include "core/base/threads.h"
#include "federated/client_parts.h"
#include "federated/local_time.h"

extern char **environ;

static const double ask_limit_s = 10;

/* "22:00-07:00" as minutes of the day. */
static bool parse_hours(const char *text, int *from, int *to)
{
    uint64_t h, m;
    for (int i = 0; i < 2; i++) {
        if ((i && !lmb_scan_char(&text, '-')) || !lmb_scan_count(&text, 2, &h) || !lmb_scan_char(&text, ':') ||
            !lmb_scan_count(&text, 2, &m) || h > 23 || m > 59)
            return false;
        *(i ? to : from) = (int)(60 * h + m);
    }
    return !*text && *from != *to;
}

lmb_status lmbi_manners_check(const lmb_client_config *cfg, lmb_error *err)
{
    int from, to;
    if (*cfg->quiet && !parse_hours(cfg->quiet, &from, &to))
        return LMB_FAIL(err, LMB_E_ARG,
                        "quiet: '%.40s' is no time of day; write two different times as \"22:00-07:00\", in local time",
                        cfg->quiet);
    return LMB_OK;
}

bool lmbi_manners_quiet(const char *hours, int minute)
{
    int from, to;
    if (!parse_hours(hours, &from, &to))
        return false;
    return from < to ? minute >= from && minute < to : minute >= from || minute < to;
}

static bool quiet_now(const char *hours)
{
    return *hours && lmbi_manners_quiet(hours, lmbi_local_minute(time(NULL)));
}

/* Its input and output are /dev/null's: what it has to say is its exit code. */
static bool start(const char *command, pid_t *pid)
{
    char shell[] = "/bin/sh", option[] = "-c", text[4096];
    char *argv[] = { shell, option, text, NULL };
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    bool ok = snprintf(text, sizeof text, "%s", command) < (int)sizeof text;

    if (posix_spawn_file_actions_init(&files) != 0)
        return false;
    if (posix_spawnattr_init(&attr) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return false;
    }
    ok = ok && posix_spawn_file_actions_addopen(&files, 0, "/dev/null", 0, 0) == 0 &&
         posix_spawn_file_actions_addopen(&files, 1, "/dev/null", 1, 0) == 0 &&
         posix_spawn_file_actions_adddup2(&files, 1, 2) == 0 &&
         posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP) == 0 && /* so that its children end with it */
         posix_spawn(pid, shell, &files, &attr, argv, environ) == 0;
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return ok;
}

static bool ask(lmb_client *c)
{
    double end = lmb_seconds() + ask_limit_s;
    int status = 1;
    pid_t pid, got = 0;

    if (!start(c->cfg.ask, &pid))
        return false;
    while (got == 0 && lmb_seconds() < end && !atomic_load(&c->stop)) {
        got = waitpid(pid, &status, WNOHANG);
        if (got == 0)
            usleep(5000);
    }
    if (got == 0) {
        lmb_log_at(c->log, LMB_LOG_WARN, "federated", "`%.80s` does not answer in %g s (ask): taken for a no",
                   c->cfg.ask, ask_limit_s);
        kill(-pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return false;
    }
    return got == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool lmbi_manners_go(lmb_client *c, bool before_round)
{
    double now = lmb_seconds();

    if (quiet_now(c->cfg.quiet)) {
        c->why = "quiet hours (quiet)";
        return false;
    }
    c->why = "the command says not now (ask)";
    if (!*c->cfg.ask)
        return true;
    if (before_round || !c->asked || now - c->asked >= c->cfg.ask_s) {
        c->may = ask(c);
        c->asked = now;
    }
    return c->may;
}

/* Linux gives each thread a niceness of its own, and what this one starts inherits it. */
void lmbi_manners_worker(const lmb_client *c)
{
    if (c->cfg.nice && setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), (int)c->cfg.nice) != 0)
        lmb_log_at(c->log, LMB_LOG_WARN, "federated", "cannot set niceness %lld: %s", (long long)c->cfg.nice,
                   strerror(errno));
}
