/* comm/mpi.c - the MPI row of comm/collective.h. MPI-3.1, one communicating thread. */
#include <mpi.h>
#include <stdlib.h>

#include "comm/collective.h"

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

static lmb_status exchange(lmb_comm *c, const void *send, int to, void *recv, int from, size_t n, lmb_error *err)
{
    MPI_Comm w = ((mpi_comm *)c)->world;
    for (size_t at = 0; at < n || n == 0; at += PIECE) {
        int k = n - at > PIECE ? PIECE : (int)(n - at);
        int code = MPI_Sendrecv(send ? (const char *)send + at : NULL, send ? k : 0, MPI_BYTE, to < 0 ? MPI_PROC_NULL : to, 1,
                                recv ? (char *)recv + at : NULL, recv ? k : 0, MPI_BYTE, from < 0 ? MPI_PROC_NULL : from, 1, w,
                                MPI_STATUS_IGNORE);
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
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
        free(c);
        return LMB_FAIL(err, LMB_E_PEER, "MPI could not be started");
    }
    c->world = MPI_COMM_WORLD;
    MPI_Comm_set_errhandler(c->world, MPI_ERRORS_RETURN);
    c->base = (lmb_comm){ 0, 1, "mpi", exchange, broadcast, gather_all, close_mpi, abort_mpi };
    MPI_Comm_rank(c->world, &c->base.rank);
    MPI_Comm_size(c->world, &c->base.size);
    *out = &c->base;
    return LMB_OK;
}
