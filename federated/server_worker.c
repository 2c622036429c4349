/* federated/server_worker.c - what takes long runs beside the event loop, so that the loop always answers.
 *
 * Idea: one thread, one piece at a time. Pieces are of two kinds:
 *
 *    an upload that is whole     on the worker: hash, decode, look at every value, add to the sum
 *                                then on the loop: the journal's row, the report, the client is told
 *    the end of a round          on the worker: masks off, noise, the aggregator, refining, evaluation, encoding the
 *    (server_finish.c)           model for clients; then on the loop: the journal's commit, the model that clients are
 *                                given, the report
 *
 * One at a time, because there is one sum; more would need a sum each, and what limits a server is its connections,
 * which the loop serves meanwhile. So nothing needs a lock: what a piece works on is its own until it is done (the sum,
 * the upload of a member that was HANDED, the secure session's vector, s->next), and whoever may end, begin or change
 * any of that asks first whether a piece is under way. Clients see no difference but that they are answered: who was
 * handed over is as good as delivered, and a stage or a round ends when nothing waits. Uploads are taken in the order
 * in which they were complete; in mode async by their turns, and not while the buffer is full. Whether one is still
 * wanted is asked when it is its turn.
 *
 * A waiting upload is a file and its member, which are there in any case, so the queue costs no memory. It is bounded
 * all the same: when MANY wait, connections that bring uploads are not read until half are done, and the network holds
 * their clients back. They are not blamed for that silence.
 *
 * Points to crash at, the journal and the log of the server stay with the loop. A server that is stopped at once, or
 * fails, waits for the piece under way and forgets what came of it, as a crash would.
 */
#include <pthread.h>
#include <signal.h>

#include "federated/server_parts.h"

enum { MANY = 16 };

/* ---- pieces ---- */

static void work(void *arg)
{
    lmb_server *s = arg;
    lmbi_worker *k = &s->worker;

    for (uv_sem_wait(&k->wanted); !k->closing; uv_sem_wait(&k->wanted)) {
        k->status = k->run(s, &k->error);
        uv_sem_post(&k->over);
        uv_async_send(&k->told);
    }
}

static void on_told(uv_async_t *a)
{
    lmb_server *s = a->data;
    lmbi_worker *k = &s->worker;

    if (!k->busy || uv_sem_trywait(&k->over) != 0) /* told of it before */
        return;
    k->busy = false;
    if (s->stopping || atomic_load(&s->stops) > 1 || s->outcome != LMB_OK) /* nothing may be committed any more */
        return;
    k->done(s, k->status, &k->error);
    lmbi_worker_next(s);
}

/* Signals are the business of who runs the server. */
static int start_thread(lmb_server *s)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = uv_thread_create(&s->worker.thread, work, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

lmb_status lmbi_worker_open(lmb_server *s, lmb_error *err)
{
    lmbi_worker *k = &s->worker;

    k->told.data = s;
    if (uv_async_init(&s->loop, &k->told, on_told) != 0)
        return LMB_FAIL(err, LMB_E_IO, "no event for the server's worker: too many open files?");
    if (uv_sem_init(&k->wanted, 0) != 0)
        return LMB_FAIL(err, LMB_E_NOMEM, "no semaphore for the server's worker");
    if (uv_sem_init(&k->over, 0) != 0) {
        uv_sem_destroy(&k->wanted);
        return LMB_FAIL(err, LMB_E_NOMEM, "no semaphore for the server's worker");
    }
    k->open = start_thread(s) == 0;
    if (k->open)
        return LMB_OK;
    uv_sem_destroy(&k->wanted);
    uv_sem_destroy(&k->over);
    return LMB_FAIL(err, LMB_E_NOMEM, "no thread for the server's worker: too many processes?");
}

void lmbi_worker_close(lmb_server *s)
{
    lmbi_worker *k = &s->worker;

    if (!k->open)
        return;
    if (k->busy)
        uv_sem_wait(&k->over);
    k->closing = true;
    uv_sem_post(&k->wanted);
    uv_thread_join(&k->thread);
    uv_sem_destroy(&k->wanted);
    uv_sem_destroy(&k->over);
    k->open = k->busy = false;
}

void lmbi_worker_start(lmb_server *s, lmb_status (*run)(lmb_server *s, lmb_error *err),
                       void (*done)(lmb_server *s, lmb_status st, lmb_error *err))
{
    lmbi_worker *k = &s->worker;

    k->run = run;
    k->done = done;
    k->error = (lmb_error)LMB_ERROR_INIT;
    k->busy = true;
    uv_sem_post(&k->wanted);
}

/* ---- uploads ---- */

bool lmbi_worker_crowded(const lmb_server *s) { return s->worker.waiting >= MANY; }

void lmbi_worker_hand(lmb_server *s, member *m)
{
    lmbi_worker *k = &s->worker;

    m->status = MEMBER_HANDED;
    m->behind = NULL;
    if (k->last)
        k->last->behind = m;
    else
        k->first = m;
    k->last = m;
    k->waiting++;
    lmbi_worker_next(s);
}

static void take_out(lmbi_worker *k, member *m)
{
    member *before = NULL;

    for (member *q = k->first; q != m; q = q->behind)
        before = q;
    if (before)
        before->behind = m->behind;
    else
        k->first = m->behind;
    if (k->last == m)
        k->last = before;
    m->behind = NULL;
    k->waiting--;
}

static lmb_status absorb(lmb_server *s, lmb_error *err) { return lmbi_update_absorb(s, s->worker.now, err); }

static void absorbed(lmb_server *s, lmb_status st, lmb_error *err)
{
    member *m = s->worker.now;
    s->worker.now = NULL;
    lmbi_update_absorbed(s, m, st, err);
}

static member *first_of(const lmb_server *s)
{
    member *m = s->worker.first;

    for (member *q = m; lmbi_is_async(s) && q; q = q->behind)
        if (q->at.turn < m->at.turn)
            m = q;
    return m;
}

void lmbi_worker_next(lmb_server *s)
{
    lmbi_worker *k = &s->worker;
    member *m;

    while (!k->busy && !k->finishing && s->outcome == LMB_OK && (m = first_of(s)) &&
           !(lmbi_is_async(s) && lmbi_update_full(s))) {
        take_out(k, m);
        k->now = m; /* so that nobody begins with another one meanwhile */
        if (lmbi_update_wanted(s, m))
            lmbi_worker_start(s, absorb, absorbed);
        else
            k->now = NULL;
    }
    if (k->held && k->waiting <= MANY / 2)
        lmbi_peers_resume(s);
}
