/* launch/child.c - see child.h. */
#include "launch/child.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/threads.h"

/* ---- starting ---- */

/* In the new process, between fork and exec. */
static void become(char *const *argv, const char *const *env, int in, int out, int err, int keep, pid_t parent)
{
    int null = in >= 0 ? in : open("/dev/null", O_RDONLY);

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) /* it died before prctl */
        _exit(127);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    if (keep)
        fcntl(keep, F_SETFD, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    for (; env && *env; env++)
        putenv((char *)(size_t)*env);
    execv(argv[0], argv);
    dprintf(STDERR_FILENO, "cannot start %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* Pairs of descriptors: [0] ours for stdout and stderr, [1] ours for stdin, which is a socket: what is sent to nobody
 * is an error and no signal. */
static bool open_pipes(int in[2], int out[2], int errs[2], bool talks)
{
    for (int i = 0; i < 2; i++)
        in[i] = out[i] = errs[i] = -1;
    return pipe2(out, O_CLOEXEC) == 0 && pipe2(errs, O_CLOEXEC) == 0 &&
           (!talks || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) == 0);
}

static void close_all(const int *fd, int n)
{
    for (int i = 0; i < n; i++)
        if (fd[i] >= 0)
            close(fd[i]);
}

lmb_status lmb_child_start(lmb_child *c, char *const *argv, const char *const *env, lmb_error *err)
{
    int in[2], out[2], errs[2];
    pid_t parent = getpid();

    bool opened = open_pipes(in, out, errs, c->talks);
    if (opened) {
        fflush(NULL);
        c->pid = fork();
        if (c->pid == 0)
            become(argv, env, in[0], out[1], errs[1], c->keep, parent);
        opened = c->pid > 0;
    }
    int why = errno;
    close_all((const int[]){ in[0], out[1], errs[1] }, 3);
    if (!opened) {
        close_all((const int[]){ in[1], out[0], errs[0] }, 3);
        return LMB_FAIL(err, LMB_E_IO, "cannot start %s: %s", c->name, strerror(why));
    }
    setpgid(c->pid, c->pid); /* here as well: whoever of the two comes first */
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(errs[0], F_SETFL, O_NONBLOCK);
    if (c->talks)
        fcntl(in[1], F_SETFL, O_NONBLOCK);
    c->to = in[1];
    c->from = c->talks ? out[0] : -1;
    c->out.fd = c->talks ? -1 : out[0];
    c->err.fd = errs[0];
    c->out.n = c->err.n = 0;
    c->said[0] = 0;
    c->exit_code = c->signal = 0;
    c->running = true;
    return LMB_OK;
}

/* ---- listening ---- */

static void put(int fd, const char *text, size_t n)
{
    while (n) {
        ssize_t k = write(fd, text, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) /* nobody listens, or the disk is full: the child must not suffer from it */
            return;
        text += k, n -= (size_t)k;
    }
}

static bool has_words(const char *s)
{
    for (; *s; s++)
        if (isalnum((unsigned char)*s))
            return true;
    return false;
}

static void end_of_line(lmb_child *c, lmb_child_stream *s)
{
    s->line[s->n] = 0;
    const char *text = s->line;
    while (text[0] == '\033' && text[1] == '[') { /* what draws a bar */
        text += 2 + strcspn(text + 2, "ABCDEFGHJKSTfhlmnsu");
        text += *text != 0;
    }
    if (s == &c->err && has_words(text) && (!strncmp(text, "limbeck", 7) || strncmp(c->said, "limbeck", 7) != 0))
        snprintf(c->said, sizeof c->said, "%s", text);
    if (s == &c->out && c->on_line)
        c->on_line(c->ctx, text);
    else if (c->log >= 0)
        dprintf(c->log, "%s\n", text);
    s->n = 0;
}

/* false: nothing more will come. */
static bool listen_to(lmb_child *c, lmb_child_stream *s)
{
    char bytes[4096];
    ssize_t n = read(s->fd, bytes, sizeof bytes);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (!c->talks && (s == &c->err || !c->on_line))
        put(s == &c->err ? STDERR_FILENO : STDOUT_FILENO, bytes, (size_t)n);
    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            end_of_line(c, s);
        } else {
            if (s->returned) /* a bar is drawn anew */
                s->n = 0;
            if (bytes[i] != '\r' && s->n + 1 < sizeof s->line)
                s->line[s->n++] = bytes[i];
        }
        s->returned = bytes[i] == '\r';
    }
    return n > 0;
}

static void finish_stream(lmb_child *c, lmb_child_stream *s)
{
    if (s->fd < 0)
        return;
    if (s->n)
        end_of_line(c, s);
    close(s->fd);
    s->fd = -1;
}

static void reap(lmb_child *c)
{
    int status;
    lmb_child_stream *s[2] = { &c->out, &c->err };

    if (!c->running || waitpid(c->pid, &status, WNOHANG) != c->pid)
        return;
    c->running = false;
    c->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    c->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + c->signal;
    for (int i = 0; i < 2; i++) { /* its last words; not those of a grandchild that keeps the pipe */
        struct pollfd p = { s[i]->fd, POLLIN, 0 };
        while (s[i]->fd >= 0 && poll(&p, 1, 0) > 0 && listen_to(c, s[i]))
            ;
        finish_stream(c, s[i]);
    }
}

int lmb_children_tend(lmb_child *c, int n, int ms)
{
    struct pollfd p[2 * LMB_CHILDREN_MAX];
    lmb_child *owner[2 * LMB_CHILDREN_MAX];
    lmb_child_stream *stream[2 * LMB_CHILDREN_MAX];
    int k = 0, running = 0;

    for (int i = 0; i < n; i++) {
        lmb_child_stream *both[2] = { &c[i].out, &c[i].err };
        for (int s = 0; s < 2 && c[i].running; s++)
            if (both[s]->fd >= 0) {
                p[k] = (struct pollfd){ both[s]->fd, POLLIN, 0 };
                owner[k] = &c[i];
                stream[k++] = both[s];
            }
    }
    if (poll(p, (nfds_t)k, k ? ms : ms < 20 ? ms : 20) > 0)
        for (int i = 0; i < k; i++)
            if (p[i].revents && !listen_to(owner[i], stream[i]))
                finish_stream(owner[i], stream[i]);
    for (int i = 0; i < n; i++) {
        reap(&c[i]);
        running += c[i].running;
    }
    return running;
}

/* ---- ending ---- */

static void hang_up(lmb_child *c)
{
    if (c->to >= 0)
        close(c->to);
    if (c->from >= 0)
        close(c->from);
    c->to = c->from = -1;
}

void lmb_children_end(lmb_child *c, int n, double patience_s, const volatile int *hurry)
{
    double until = lmb_seconds() + patience_s;
    int before = hurry ? *hurry : 0;

    for (int i = 0; i < n; i++) {
        if (c[i].talks)
            hang_up(&c[i]);
        if (c[i].running)
            kill(c[i].talks ? -c[i].pid : c[i].pid, c[i].stop ? c[i].stop : SIGTERM);
    }
    while (lmb_children_tend(c, n, 100) && lmb_seconds() < until && (!hurry || *hurry == before))
        ;
    for (int i = 0; i < n; i++)
        if (c[i].running || (c[i].talks && c[i].pid > 0)) /* of those that talk also who outlives the first one */
            kill(-c[i].pid, SIGKILL);
    while (lmb_children_tend(c, n, 100))
        ;
}

lmb_status lmb_child_fail(const lmb_child *c, lmb_error *err)
{
    lmb_status st = c->exit_code == 75  ? LMB_E_PEER
                    : c->exit_code == 2 ? LMB_E_ARG
                    : c->exit_code == 3 ? LMB_E_STOPPED
                                        : LMB_E_IO;
    const char *colon = *c->said ? ": " : "";

    if (c->signal)
        return LMB_FAIL(err, st, "%s was ended by signal %d (%s)%s%s", c->name, c->signal, strsignal(c->signal), colon,
                        c->said);
    return LMB_FAIL(err, st, "%s ended with exit code %d%s%s", c->name, c->exit_code, colon, c->said);
}
