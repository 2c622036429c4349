/* comm/mpi.c - the MPI row of comm/collective.h. MPI-3.1, section 12.4: one thread at a time communicates, any thread where
 * the library grants MPI_THREAD_SERIALIZED. */
#include <mpi.h>
#include <stdlib.h>
#include <time.h>

#include "comm/collective.h"
#include "core/base/threads.h"

typedef struct mpi_comm { lmb_comm base; MPI_Comm world; } mpi_comm;

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

/* Wait for both, leaving the processor to others when it takes long: sums are exchanged while other threads of this
 * process work, and a waiting MPI library would take a core from them. */
static int finish(MPI_Request *both)
{
    const double spin = 50e-6;
    const struct timespec nap = { 0, 20000 };
    double start = lmb_seconds();

    for (;;) {
        int done = 0, code = MPI_Testall(2, both, &done, MPI_STATUSES_IGNORE);
        if (code != MPI_SUCCESS || done)
            return code;
        if (lmb_seconds() - start > spin)
            nanosleep(&nap, NULL);
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
            code = finish(both);
        LMB_TRY(check(code, c, "exchange", err));
        if (n == 0)
            break;
    }
    return LMB_OK;
}

static lmb_status broadcast(lmb_comm *c, void *data, size_t n, int root, lmb_error *err)
{
    for (size_t at = 0; at < n; at += PIECE)
        LMB_TRY(check(MPI_Bcast((char *)data + at, n - at > PIECE ? PIECE : (int)(n - at), MPI_BYTE, root, ((mpi_comm *)c)->world), c,
                      "broadcast", err));
    return LMB_OK;
}

static lmb_status gather_all(lmb_comm *c, const void *mine, void *all, size_t n, lmb_error *err)
{
    if (n > PIECE)
        return LMB_FAIL(err, LMB_E_ARG, "%zu bytes to gather; at most %d", n, PIECE);
    return check(MPI_Allgather(mine, (int)n, MPI_BYTE, all, (int)n, MPI_BYTE, ((mpi_comm *)c)->world), c, "gather", err);
}

static void close_mpi(lmb_comm *c)
{
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
    c->base = (lmb_comm){ 0, 1, "mpi", exchange, broadcast, gather_all, close_mpi, abort_mpi, provided >= MPI_THREAD_SERIALIZED };
    MPI_Comm_rank(c->world, &c->base.rank);
    MPI_Comm_size(c->world, &c->base.size);
    *out = &c->base;
    return LMB_OK;
}
