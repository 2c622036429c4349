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
    _Atomic int64_t step, pid, waits, closed;
    _Atomic int64_t beats;   /* looks of that rank's watching thread: stands still when its process does */
    _Atomic int64_t changes; /* calls of doing                                                           */
    char host[64], what[64];
} line;

/* What we saw of a rank, and when by our own clock: clocks of hosts differ. */
typedef struct sight {
    int64_t beats, changes, change_ms;
    _Atomic int64_t beat_ms; /* 0: not yet seen */
} sight;

enum { MUTE_MS = 5000 }; /* of a process that looks four times a second */

struct lmb_watch {
    lmb_comm *c;
    line *board;   /* [size], mapped */
    sight *sights; /* [size]         */
    int64_t looked_ms;
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
    clock_gettime(CLOCK_MONOTONIC, &t);
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
    me->changes++;
}

static bool on_this_host(const lmb_watch *w, const line *l)
{
    return strncmp(l->host, w->host, sizeof l->host) == 0 && l->pid > 1;
}

static bool process_gone(const lmb_watch *w, const line *l)
{
    return on_this_host(w, l) && kill((pid_t)l->pid, 0) != 0 && errno == ESRCH;
}

void lmb_watch_behind(const lmb_watch *w, char *text, size_t cap)
{
    const line *worst = NULL, *me = w ? &w->board[w->c->rank] : NULL;
    bool gone = false, silent = false;

    text[0] = '\0';
    for (int r = 0; w && r < w->c->size && !gone; r++) {
        const line *l = &w->board[r];
        if (l == me || l->closed)
            continue;
        gone = process_gone(w, l);
        bool behind = l->step < me->step || (l->step == me->step && !l->waits);
        int64_t seen = atomic_load(&w->sights[r].beat_ms);
        bool mute = seen && now_ms() - seen > MUTE_MS; /* it may wait like us, but stands still */
        if (gone || (mute && !silent) || (behind && !silent && (!worst || l->step < worst->step)))
            worst = l;
        silent = silent || mute;
    }
    if (worst)
        snprintf(text, cap, "rank %d on %.63s %s, at: %.63s of step %lld", (int)(worst - w->board), worst->host,
                 gone ? "is gone" : silent ? "does not answer" : "is behind", worst->what, (long long)worst->step);
}

/* MPI may be what hangs: its abort gets five seconds. A stopped process of this host, whose number is `arg`, can not
 * answer a launcher's request to end; it is killed after two, as mpirun would say 137 of a kill that comes first. */
static void *last_resort(void *arg)
{
    struct timespec two = { 2, 0 }, three = { 3, 0 };
    nanosleep(&two, NULL);
    if (arg)
        kill((pid_t)(intptr_t)arg, SIGKILL);
    nanosleep(&three, NULL);
    _exit(75);
    return arg;
}

static void end_job(lmb_watch *w, int rank, const char *fate)
{
    char sentence[320];
    const line *l = &w->board[rank], *me = &w->board[w->c->rank];
    pthread_t t;

    snprintf(sentence, sizeof sentence,
             "rank %d on %.63s (process %lld) %s; it was doing: %.63s of step %lld, for %.1f s. Rank %d was at: "
             "%.63s of step %lld. The job ends; start it again to go on from the last checkpoint",
             rank, l->host, (long long)l->pid, fate, l->what, (long long)l->step,
             (double)(now_ms() - w->sights[rank].change_ms) / 1000, w->c->rank, me->what, (long long)me->step);
    w->report(w->ctx, sentence);
    if (pthread_create(&t, NULL, last_resort, on_this_host(w, l) ? (void *)(intptr_t)l->pid : NULL) == 0)
        pthread_detach(t);
    w->c->abort(w->c, 75);
    _exit(75);
}

static void look(lmb_watch *w)
{
    line *me = &w->board[w->c->rank];
    int64_t now = now_ms();
    bool slept = now - w->looked_ms > 2000; /* the whole job was suspended, perhaps: nobody is late yet */

    w->looked_ms = now;
    me->beats++;
    for (int r = 0; r < w->c->size; r++) {
        const line *l = &w->board[r];
        sight *s = &w->sights[r];
        if (slept || l->beats != s->beats)
            s->beats = l->beats, s->beat_ms = now;
        if (slept || l->changes != s->changes)
            s->changes = l->changes, s->change_ms = now;
    }
    double limit = w->limit_s * 1000, waited = (double)(now - w->sights[w->c->rank].change_ms);
    for (int r = 0; r < w->c->size; r++) {
        const line *l = &w->board[r];
        if (r == w->c->rank || l->closed)
            continue;
        if (process_gone(w, l))
            end_job(w, r, "is gone");
        /* It is behind us; or it waits like us, but only in name: its process stands still. */
        bool behind = (!l->waits || l->step < me->step) && (double)(now - w->sights[r].change_ms) > limit;
        bool silent = (double)(now - w->sights[r].beat_ms) > limit;
        if (me->waits && waited > limit && (behind || silent))
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
        return LMB_FAIL(
            err, LMB_E_IO,
            "%s: the ranks' noticeboard can not be made or opened: %s; choose a run folder that all ranks can write",
            path, strerror(errno));
    }
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        return LMB_FAIL(err, LMB_E_IO, "%s: could not be mapped: %s", path, strerror(errno));
    w->board = p;
    return LMB_OK;
}

lmb_status lmb_watch_open(lmb_comm *c, const char *path, double limit_s,
                          void (*report)(void *ctx, const char *sentence), void *ctx, lmb_watch **out, lmb_error *err)
{
    *out = NULL;
    if (c->size == 1)
        return LMB_OK;
    lmb_watch *w = calloc(1, sizeof *w);
    if (!w)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to watch the ranks");
    *w = (lmb_watch){ .c = c, .limit_s = limit_s, .report = report, .ctx = ctx };
    gethostname(w->host, sizeof w->host - 1);
    w->sights = calloc((size_t)c->size, sizeof *w->sights);
    lmb_status st =
        w->sights ? map_board(w, path, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to watch %d ranks", c->size);
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
        free(w->sights);
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
    free(w->sights);
    free(w);
}
