/* federated/simulate_lanes.c - clients of a simulation that train at a time, taken in their order.
 *
 * Idea: a lane is a host thread that trains one client after another, with memory and a GPU's queue of its own. Lanes
 * take the next client from one list, so that none waits while another has a large one; what they leave is taken in the
 * order of the list, by whichever lane finds the next one ready, one at a time. So sums, files and log lines are those
 * of one lane, and an error is that of the first client in the list that has one. A lane may be ahead of what was taken
 * by two clients for each lane, which bounds the memory.
 *
 * A lane that gets no memory is closed and its client goes back to the list; the last one says so.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/base/threads.h"
#include "federated/simulate_parts.h"

enum { FREE, RUNNING, READY, AGAIN }; /* a seat */

typedef struct seat {
    int is;
    lmb_status st;
    lmb_error own;
    lmb_train_result result; /* its delta is owned, but for seat 0 */
} seat;

struct lmbi_lanes {
    lmb_pool *pool;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int lanes, open; /* asked for, left */
    bool *closed;    /* [lanes] */
    bool settled;    /* it is known how many there is room for */
    lmb_error why;   /* a lane was closed */
    seat *seat;      /* [seats]: of client k of the list is k % seats */
    size_t seats;
    /* the running round */
    sim *s;
    const size_t *place;
    size_t n, next, taken; /* clients of the list: all, begun, taken */
    bool taking;
    lmb_error failed;
};

static seat *seat_of(lmbi_lanes *l, size_t k) { return &l->seat[k % l->seats]; }

/* ---- a lane; the lock is held where nothing else is said ---- */

/* The next client to train; n: none now. */
static size_t pick(lmbi_lanes *l, int lane)
{
    if (!l->settled && (lane > 0 || l->next > l->taken))
        return l->n;
    for (size_t k = l->taken; k < l->next; k++)
        if (seat_of(l, k)->is == AGAIN)
            return k;
    return l->next < l->n && l->next < l->taken + l->seats ? l->next++ : l->n;
}

static void close_lane(lmbi_lanes *l, int lane)
{
    l->closed[lane] = true;
    l->open--;
    if (l->s->o->leave)
        l->s->o->leave(l->s->o->ctx, lane);
}

/* Lane 0 has trained one client alone. */
static void settle(lmbi_lanes *l)
{
    int room = l->s->o->room(l->s->o->ctx);

    l->settled = true;
    for (int i = l->lanes - 1; i > 0 && i >= room; i--)
        close_lane(l, i);
}

/* Without the lock. */
static void train(lmbi_lanes *l, int lane, size_t k, seat *at)
{
    const sim *s = l->s;
    const lmb_server_job *j = s->o->job;
    lmb_train_task task = { .round = s->report.round,
                            .model = s->before,
                            .n = s->n,
                            .layout = j->layout,
                            .graph = j->graph,
                            .graph_bytes = j->graph_bytes,
                            .settings = j->settings };

    at->result = (lmb_train_result){ .delta = at->result.delta };
    at->own = (lmb_error)LMB_ERROR_INIT;
    at->st = s->o->train(s->o->ctx, lane, (int)s->client[s->chosen[l->place[k]]].id, &task, &at->result, &at->own);
}

static void train_next(lmbi_lanes *l, int lane, size_t k)
{
    seat *at = seat_of(l, k);

    at->is = RUNNING;
    pthread_mutex_unlock(&l->lock);
    train(l, lane, k, at);
    pthread_mutex_lock(&l->lock);
    bool another = at->st == LMB_E_NOMEM && l->settled && l->open > 1;
    at->is = another ? AGAIN : READY;
    if (another) {
        if (l->why.status == LMB_OK)
            l->why = at->own;
        close_lane(l, lane);
    }
    if (!l->settled && (at->st == LMB_OK || at->st == LMB_E_NUMERIC))
        settle(l);
}

static void take(lmbi_lanes *l)
{
    seat *at = seat_of(l, l->taken);
    lmb_error err = LMB_ERROR_INIT;

    l->taking = true;
    pthread_mutex_unlock(&l->lock);
    if (at->st == LMB_E_NOMEM) {
        lmb_error said = at->own;
        at->own = (lmb_error)LMB_ERROR_INIT;
        (void)LMB_FAIL(&at->own, said.status, "there is no memory to train one client: %s", said.msg);
    }
    lmb_status st = lmbi_sim_take(l->s, l->place[l->taken], at->st, &at->own, &at->result, &err);
    pthread_mutex_lock(&l->lock);
    if (st != LMB_OK)
        l->failed = err;
    at->is = FREE;
    l->taking = false;
    l->taken++;
}

static void run_lane(void *ctx, int lane, int worker)
{
    lmbi_lanes *l = ctx;
    size_t k;

    (void)worker;
    pthread_mutex_lock(&l->lock);
    while (l->taken < l->n && l->failed.status == LMB_OK && !l->closed[lane]) {
        if (!l->taking && seat_of(l, l->taken)->is == READY) {
            take(l);
        } else if ((k = pick(l, lane)) < l->n) {
            train_next(l, lane, k);
        } else {
            pthread_cond_wait(&l->moved, &l->lock);
            continue;
        }
        pthread_cond_broadcast(&l->moved);
    }
    pthread_mutex_unlock(&l->lock);
}

/* ---- for rounds ---- */

lmb_status lmbi_lanes_open(sim *s, size_t most, lmb_error *err)
{
    lmbi_lanes *l = s->lanes = calloc(1, sizeof *l);

    if (!l)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a simulation's clients");
    l->s = s;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->moved, NULL);
    l->lanes = s->o->lanes < 1 ? 1 : (size_t)s->o->lanes < most ? s->o->lanes : (int)(most ? most : 1);
    l->open = l->lanes;
    l->settled = l->lanes == 1 || !s->o->room;
    l->seats = l->lanes == 1 ? 1 : 2 * (size_t)l->lanes;
    l->closed = calloc((size_t)l->lanes, sizeof *l->closed);
    l->seat = calloc(l->seats, sizeof *l->seat);
    for (size_t i = 0; l->seat && i < l->seats; i++)
        if (!(l->seat[i].result.delta = i ? malloc(s->n * sizeof(float)) : s->delta))
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu updates of %zu values", l->seats, s->n);
    if (!l->closed || !l->seat)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d clients at a time", l->lanes);
    return lmb_pool_create(l->lanes, &l->pool, err);
}

void lmbi_lanes_close(sim *s)
{
    lmbi_lanes *l = s->lanes;

    if (!l)
        return;
    lmb_pool_destroy(l->pool);
    for (size_t i = 1; l->seat && i < l->seats; i++)
        free(l->seat[i].result.delta);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->moved);
    free(l->closed);
    free(l->seat);
    free(l);
    s->lanes = NULL;
}

lmb_status lmbi_lanes_train(sim *s, const size_t *place, size_t n, lmb_error *err)
{
    lmbi_lanes *l = s->lanes;
    int before = l->open;

    l->place = place;
    l->n = n;
    l->next = l->taken = 0;
    l->why = l->failed = (lmb_error)LMB_ERROR_INIT;
    lmb_pool_run(l->pool, l->lanes, run_lane, l);
    for (size_t i = 0; i < l->seats; i++) /* of clients behind one that failed */
        l->seat[i].is = FREE;
    if (l->why.status != LMB_OK)
        lmb_log_at(s->o->job->log, LMB_LOG_WARN, "federated",
                   "from now on %d client%s at a time, not %d, as there is no memory for more: %s", l->open,
                   l->open == 1 ? " trains" : "s train", before, l->why.msg);
    return l->failed.status == LMB_OK ? LMB_OK : LMB_FAIL(err, l->failed.status, "%s", l->failed.msg);
}
