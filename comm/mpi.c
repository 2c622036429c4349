/* comm/mpi.c - the MPI row of comm/collective.h. MPI-3.1, section 12.4: one thread at a time communicates, any thread
 * where the library grants MPI_THREAD_SERIALIZED. */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/collective.h"
#include "core/base/threads.h"

/* Shared memory once made: freeing it is a meeting of all ranks, so it is kept to the end and used again. */
typedef struct stretch {
    lmb_shared base;
    size_t bytes;
    bool busy;
    MPI_Comm node;
    MPI_Win win;
    struct stretch *next;
} stretch;

typedef struct mpi_comm { lmb_comm base; MPI_Comm world; stretch *shared; } mpi_comm;

static lmb_status check(int code, lmb_comm *c, const char *what, lmb_error *err)
{
    char text[MPI_MAX_ERROR_STRING];
    int n = 0;
    if (code == MPI_SUCCESS)
        return LMB_OK;
    MPI_Error_string(code, text, &n);
    return LMB_FAIL(err, LMB_E_PEER, "rank %d: %s failed: %.*s", c->rank, what, n, text);
}

enum { PIECE = 1 << 28 }; /* counts are ints */

/* Wait for `n` requests, leaving the processor to others when it takes long: sums are exchanged while other threads of
 * this process work, and a waiting MPI library would take a core from them. Naps grow with the time waited, and cost an
 * eighth of it at most. */
static int finish(MPI_Request *all, int n)
{
    const double spin = 50e-6, shortest = 20e-6, longest = 500e-6;
    double start = lmb_seconds();

    for (;;) {
        int done = 0, code = MPI_Testall(n, all, &done, MPI_STATUSES_IGNORE);
        double waited = lmb_seconds() - start, nap = waited / 8;
        if (code != MPI_SUCCESS || done)
            return code;
        if (waited < spin)
            continue;
        nap = nap < shortest ? shortest : nap > longest ? longest : nap;
        nanosleep(&(struct timespec){ 0, (long)(nap * 1e9) }, NULL);
    }
}

static lmb_status exchange(lmb_comm *c, const void *send, int to, void *recv, int from, size_t n, lmb_error *err)
{
    MPI_Comm w = ((mpi_comm *)c)->world;
    for (size_t at = 0; at < n || n == 0; at += PIECE) {
        int k = n - at > PIECE ? PIECE : (int)(n - at);
        MPI_Request both[2] = { MPI_REQUEST_NULL, MPI_REQUEST_NULL };
        int code = MPI_SUCCESS;
        if (from >= 0)
            code = MPI_Irecv((char *)recv + at, k, MPI_BYTE, from, 1, w, &both[0]);
        if (code == MPI_SUCCESS && to >= 0)
            code = MPI_Isend((const char *)send + at, k, MPI_BYTE, to, 1, w, &both[1]);
        if (code == MPI_SUCCESS)
            code = finish(both, 2);
        LMB_TRY(check(code, c, "exchange", err));
        if (n == 0)
            break;
    }
    return LMB_OK;
}

static lmb_status broadcast(lmb_comm *c, void *data, size_t n, int root, lmb_error *err)
{
    for (size_t at = 0; at < n; at += PIECE) {
        MPI_Request one = MPI_REQUEST_NULL;
        int code = MPI_Ibcast((char *)data + at, n - at > PIECE ? PIECE : (int)(n - at), MPI_BYTE, root,
                              ((mpi_comm *)c)->world, &one);
        if (code == MPI_SUCCESS)
            code = finish(&one, 1);
        LMB_TRY(check(code, c, "broadcast", err));
    }
    return LMB_OK;
}

static lmb_status gather_all(lmb_comm *c, const void *mine, void *all, size_t n, lmb_error *err)
{
    if (n > PIECE)
        return LMB_FAIL(err, LMB_E_ARG, "%zu bytes to gather; at most %d", n, PIECE);
    MPI_Request one = MPI_REQUEST_NULL;
    int code = MPI_Iallgather(mine, (int)n, MPI_BYTE, all, (int)n, MPI_BYTE, ((mpi_comm *)c)->world, &one);
    if (code == MPI_SUCCESS)
        code = finish(&one, 1);
    return check(code, c, "gather", err);
}

/* ---- shared memory ---- */

/* Who is on this node. */
static int find_node(mpi_comm *m, stretch *s)
{
    MPI_Group all, here;
    int *place;
    int code = MPI_Comm_split_type(m->world, MPI_COMM_TYPE_SHARED, m->base.rank, MPI_INFO_NULL, &s->node);

    if (code != MPI_SUCCESS)
        return code;
    MPI_Comm_size(s->node, &s->base.n);
    s->base.rank = calloc((size_t)s->base.n, sizeof *s->base.rank);
    s->base.part = calloc((size_t)s->base.n, sizeof *s->base.part);
    place = calloc((size_t)s->base.n, sizeof *place);
    if (!s->base.rank || !s->base.part || !place) {
        free(place);
        return MPI_ERR_NO_MEM;
    }
    for (int i = 0; i < s->base.n; i++)
        place[i] = i;
    MPI_Comm_group(m->world, &all);
    MPI_Comm_group(s->node, &here);
    code = MPI_Group_translate_ranks(here, s->base.n, place, all, s->base.rank);
    MPI_Group_free(&all);
    MPI_Group_free(&here);
    free(place);
    return code;
}

static int make_window(mpi_comm *m, stretch *s, size_t bytes)
{
    MPI_Info apart; /* each part begins on a page of its own, near its rank */
    void *mine;
    int unit, code = find_node(m, s);

    if (code != MPI_SUCCESS)
        return code;
    s->bytes = (bytes + 4095) / 4096 * 4096;
    MPI_Info_create(&apart);
    MPI_Info_set(apart, "alloc_shared_noncontig", "true");
    code = MPI_Win_allocate_shared((MPI_Aint)s->bytes, 1, apart, s->node, &mine, &s->win);
    MPI_Info_free(&apart);
    if (code != MPI_SUCCESS)
        return code;
    for (int i = 0; i < s->base.n && code == MPI_SUCCESS; i++) {
        MPI_Aint size;
        code = MPI_Win_shared_query(s->win, i, &size, &unit, &s->base.part[i]);
    }
    if (code == MPI_SUCCESS) {
        memset(mine, 0, s->bytes);
        code = MPI_Barrier(s->node);
    }
    return code;
}

static void drop(stretch *s)
{
    if (s->win != MPI_WIN_NULL)
        MPI_Win_free(&s->win);
    if (s->node != MPI_COMM_NULL)
        MPI_Comm_free(&s->node);
    free(s->base.rank);
    free(s->base.part);
    free(s);
}

static lmb_status share(lmb_comm *c, size_t bytes, const lmb_shared **out, lmb_error *err)
{
    mpi_comm *m = (mpi_comm *)c;
    stretch *s = m->shared;

    while (s && (s->busy || s->bytes < bytes))
        s = s->next;
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory to share");
        s->node = MPI_COMM_NULL;
        s->win = MPI_WIN_NULL;
        lmb_status st = check(make_window(m, s, bytes), c, "shared memory", err);
        if (st != LMB_OK) {
            drop(s);
            return st;
        }
        s->next = m->shared;
        m->shared = s;
    }
    s->busy = true;
    *out = &s->base;
    return LMB_OK;
}

static void unshare(lmb_comm *c, const lmb_shared *shared)
{
    (void)c;
    ((stretch *)shared)->busy = false;
}

/* ---- life ---- */

static void close_mpi(lmb_comm *c)
{
    mpi_comm *m = (mpi_comm *)c;
    for (stretch *s = m->shared, *next; s; s = next) {
        next = s->next;
        drop(s);
    }
    MPI_Finalize();
    free(c);
}

static void abort_mpi(lmb_comm *c, int code) { MPI_Abort(((mpi_comm *)c)->world, code); }

lmb_status lmbi_comm_open_mpi(lmb_comm **out, lmb_error *err)
{
    int provided;
    mpi_comm *c = calloc(1, sizeof *c);

    if (!c)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a communicator");
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) {
        free(c);
        return LMB_FAIL(err, LMB_E_PEER, "MPI could not be started");
    }
    c->world = MPI_COMM_WORLD;
    MPI_Comm_set_errhandler(c->world, MPI_ERRORS_RETURN);
    c->base = (lmb_comm){ 0, 1, "mpi", exchange, broadcast, gather_all, close_mpi, abort_mpi,
        provided >= MPI_THREAD_SERIALIZED, share, unshare };
    MPI_Comm_rank(c->world, &c->base.rank);
    MPI_Comm_size(c->world, &c->base.size);
    *out = &c->base;
    return LMB_OK;
}
