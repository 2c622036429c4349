/* comm/watch.c - see watch.h. */
#include "comm/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* One line of the board. The texts are short and may be read while they change: that spoils a message at worst. */
typedef struct line {
    _Atomic int64_t step, since_ms, pid, waits, closed;
    char host[64], what[64];
} line;

struct lmb_watch {
    lmb_comm *c;
    line *board; /* [size], mapped */
    double limit_s;
    void (*report)(void *ctx, const char *sentence);
    void *ctx;
    pthread_t thread;
    atomic_bool quit;
    char host[64];
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void lmb_watch_doing(lmb_watch *w, int64_t step, const char *what, bool waits)
{
    if (!w)
        return;
    line *me = &w->board[w->c->rank];
    snprintf(me->what, sizeof me->what, "%s", what);
    me->step = step;
    me->waits = waits;
    me->since_ms = now_ms();
}

static bool process_gone(const lmb_watch *w, const line *l)
{
    return strncmp(l->host, w->host, sizeof l->host) == 0 && l->pid > 0 && kill((pid_t)l->pid, 0) != 0 && errno == ESRCH;
}

static void end_job(lmb_watch *w, int rank, const char *fate)
{
    char sentence[320];
    const line *l = &w->board[rank], *me = &w->board[w->c->rank];

    snprintf(sentence, sizeof sentence, "rank %d on %.63s (process %lld) %s; it was doing: %.63s of step %lld, for %.1f s. Rank %d was at: "
             "%.63s of step %lld. The job ends; start it again to go on from the last checkpoint", rank, l->host, (long long)l->pid, fate, l->what,
             (long long)l->step, (double)(now_ms() - l->since_ms) / 1000, w->c->rank, me->what, (long long)me->step);
    w->report(w->ctx, sentence);
    w->c->abort(w->c, 75);
    _exit(75);
}

static void look(lmb_watch *w)
{
    const line *me = &w->board[w->c->rank];
    int64_t now = now_ms();

    for (int r = 0; r < w->c->size; r++) {
        const line *l = &w->board[r];
        if (r == w->c->rank || l->closed)
            continue;
        if (process_gone(w, l))
            end_job(w, r, "is gone");
        double waited = (double)(now - me->since_ms) / 1000, busy = (double)(now - l->since_ms) / 1000;
        bool behind = !l->waits || l->step < me->step;
        if (me->waits && behind && waited > w->limit_s && busy > w->limit_s)
            end_job(w, r, "does not answer");
    }
}

static void *watching(void *arg)
{
    lmb_watch *w = arg;
    while (!atomic_load(&w->quit)) {
        struct timespec half = { 0, 250000000 };
        nanosleep(&half, NULL);
        if (!atomic_load(&w->quit))
            look(w);
    }
    return NULL;
}

static lmb_status map_board(lmb_watch *w, const char *path, lmb_error *err)
{
    size_t bytes = sizeof(line) * (size_t)w->c->size;
    int fd = -1;
    char ok = 1;

    if (w->c->rank == 0) {
        unlink(path);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        ok = fd >= 0 && ftruncate(fd, (off_t)bytes) == 0;
    }
    LMB_TRY(w->c->broadcast(w->c, &ok, 1, 0, err));
    if (ok && fd < 0)
        fd = open(path, O_RDWR | O_CLOEXEC);
    if (!ok || fd < 0) {
        if (fd >= 0)
            close(fd);
        return LMB_FAIL(err, LMB_E_IO, "%s: the ranks' noticeboard can not be made or opened: %s; choose a run folder that all ranks can write",
                        path, strerror(errno));
    }
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        return LMB_FAIL(err, LMB_E_IO, "%s: could not be mapped: %s", path, strerror(errno));
    w->board = p;
    return LMB_OK;
}

lmb_status lmb_watch_open(lmb_comm *c, const char *path, double limit_s, void (*report)(void *ctx, const char *sentence), void *ctx,
                          lmb_watch **out, lmb_error *err)
{
    *out = NULL;
    if (c->size == 1)
        return LMB_OK;
    lmb_watch *w = calloc(1, sizeof *w);
    if (!w)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to watch the ranks");
    *w = (lmb_watch){ .c = c, .limit_s = limit_s, .report = report, .ctx = ctx };
    gethostname(w->host, sizeof w->host - 1);
    lmb_status st = map_board(w, path, err);
    if (st == LMB_OK) {
        line *me = &w->board[c->rank];
        memcpy(me->host, w->host, sizeof me->host);
        me->pid = getpid();
        lmb_watch_doing(w, 0, "starting", true);
        char all[1] = { 0 }; /* everybody has a line before anybody looks */
        for (int r = 0; r < c->size && st == LMB_OK; r++)
            st = c->broadcast(c, all, 1, r, err);
    }
    if (st == LMB_OK && pthread_create(&w->thread, NULL, watching, w) != 0)
        st = LMB_FAIL(err, LMB_E_NOMEM, "the watching thread could not be started");
    if (st != LMB_OK) {
        if (w->board)
            munmap(w->board, sizeof(line) * (size_t)c->size);
        free(w);
        return st;
    }
    *out = w;
    return LMB_OK;
}

void lmb_watch_close(lmb_watch *w)
{
    if (!w)
        return;
    w->board[w->c->rank].closed = 1;
    atomic_store(&w->quit, true);
    pthread_join(w->thread, NULL);
    munmap(w->board, sizeof(line) * (size_t)w->c->size);
    free(w);
}
