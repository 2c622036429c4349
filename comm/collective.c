/* comm/collective.c - see collective.h. */
#include "comm/collective.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lmb_status self_exchange(lmb_comm *c, const void *send, int to, void *recv, int from, size_t n, lmb_error *err)
{
    (void)c, (void)send, (void)recv, (void)n;
    return to < 0 && from < 0 ? LMB_OK : LMB_FAIL(err, LMB_E_PEER, "there is no rank %d: this job has one process", to);
}

static lmb_status self_broadcast(lmb_comm *c, void *data, size_t n, int root, lmb_error *err)
{
    (void)c, (void)data, (void)n, (void)root, (void)err;
    return LMB_OK;
}

static lmb_status self_gather(lmb_comm *c, const void *mine, void *all, size_t n, lmb_error *err)
{
    (void)c, (void)err;
    memcpy(all, mine, n);
    return LMB_OK;
}

static void self_close(lmb_comm *c) { free(c); }
static void self_abort(lmb_comm *c, int code) { (void)c, (void)code; }

lmb_status lmbi_comm_open_self(lmb_comm **out, lmb_error *err)
{
    lmb_comm *c = malloc(sizeof *c);
    if (!c)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a communicator");
    *c = (lmb_comm){
        0, 1, "self", self_exchange, self_broadcast, self_gather, self_close, self_abort, true, NULL, NULL
    };
    *out = c;
    return LMB_OK;
}

/* Number of processes that the environment tells of, 0 when it does not. */
static int told(const char *name)
{
    const char *v = getenv(name);
    int n = v ? atoi(v) : 0;
    return n > 0 ? n : 0;
}

/* Number of processes a launcher says it started, 0 when there is none. Of several (mpirun inside srun) the first
 * started MPI. */
static int launched(const char **launcher)
{
    static const char *const names[][2] = { { "OMPI_COMM_WORLD_SIZE", "mpirun" },
                                            { "PMIX_SIZE", "PMIx" },
                                            { "PMI_SIZE", "srun" } };
    for (int i = 0; i < 3; i++)
        if (told(names[i][0])) {
            *launcher = names[i][1];
            return told(names[i][0]);
        }
    /* Slurm's PMIx tells a task its rank alone; how many there are is in the step's own variables. */
    if (getenv("PMIX_NAMESPACE") && getenv("PMIX_RANK")) {
        *launcher = "srun";
        return told("SLURM_STEP_NUM_TASKS");
    }
    return 0;
}

/* A lone process that was meant to be one of several: each would train by itself, and all would write to the same
 * folder. */
static lmb_status check_alone(int n, lmb_error *err)
{
    const int pmi = told("PMI_SIZE"), tasks = told("SLURM_NTASKS");

    if (n == 1 && pmi > 1)
        return LMB_FAIL(
            err, LMB_E_PEER,
            "mpirun started one process inside each of %d that srun started; start with srun --mpi=pmix alone, or "
            "with mpirun alone",
            pmi);
    if (n == 0 && tasks > 1 && getenv("SLURM_STEP_ID"))
        return LMB_FAIL(err, LMB_E_PEER,
                        "srun started %d tasks that do not know of each other; start with srun --mpi=pmix", tasks);
    if (n == 0 && tasks > 1)
        return LMB_FAIL(
            err, LMB_E_PEER,
            "this is one process in a Slurm allocation of %d tasks; start it with srun --mpi=pmix or mpirun, or "
            "with SLURM_NTASKS=1 if one process is meant",
            tasks);
    return LMB_OK;
}

lmb_status lmb_comm_open(lmb_comm **out, lmb_error *err)
{
    const char *launcher = "";
    int n = launched(&launcher);

    if (n <= 1) {
        LMB_TRY(check_alone(n, err));
        return lmbi_comm_open_self(out, err);
    }
    LMB_TRY(lmbi_comm_open_mpi(out, err));
    if ((*out)->size != n) {
        int got = (*out)->size;
        lmb_comm_close(*out);
        *out = NULL;
        return LMB_FAIL(err, LMB_E_PEER, "%s started %d processes, MPI sees %d; build against the MPI that launches",
                        launcher, n, got);
    }
    return LMB_OK;
}

void lmb_comm_close(lmb_comm *c)
{
    if (c)
        c->close(c);
}

int lmbi_comm_power(int n)
{
    int power = 1;
    while (power * 2 <= n)
        power *= 2;
    return power;
}

/* Ranks beyond the largest power of two hand their vector to a partner first and get the result back. */
lmb_status lmbi_comm_reduce_stride(lmb_comm *c, int stride, float *v, float *scratch, size_t at, size_t n,
                                   lmb_combine combine, void *ctx, lmb_error *err)
{
    int me = c->rank / stride, size = c->size / stride, base = c->rank % stride;
    int power = lmbi_comm_power(size), extra = size - power;
    size_t bytes = n * sizeof *v;

    if (me >= power) {
        LMB_TRY(c->exchange(c, v, (me - power) * stride + base, NULL, -1, bytes, err));
        return c->exchange(c, NULL, -1, v, (me - power) * stride + base, bytes, err);
    }
    if (me < extra) {
        LMB_TRY(c->exchange(c, NULL, -1, scratch, (me + power) * stride + base, bytes, err));
        combine(ctx, v, scratch, at, n);
    }
    for (int bit = 1; bit < power; bit *= 2) {
        int peer = (me ^ bit) * stride + base;
        LMB_TRY(c->exchange(c, v, peer, scratch, peer, bytes, err));
        combine(ctx, v, scratch, at, n);
    }
    if (me < extra)
        return c->exchange(c, v, (me + power) * stride + base, NULL, -1, bytes, err);
    return LMB_OK;
}

lmb_status lmb_comm_reduce_all(lmb_comm *c, float *v, float *scratch, size_t n, lmb_combine combine, void *ctx,
                               lmb_error *err)
{
    return lmbi_comm_reduce_stride(c, 1, v, scratch, 0, n, combine, ctx, err);
}

lmb_status lmb_comm_agree(lmb_comm *c, const char *what, const void *mine, size_t n, lmb_error *err)
{
    char list[120] = "";
    char *all = malloc(n * (size_t)c->size + 1);

    if (!all)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to compare ranks");
    lmb_status st = c->gather_all(c, mine, all, n, err);
    for (int r = 1; r < c->size && st == LMB_OK; r++)
        if (memcmp(all, all + (size_t)r * n, n))
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%d", *list ? ", " : "", r);
    free(all);
    if (st == LMB_OK && *list)
        return LMB_FAIL(err, LMB_E_PEER,
                        "rank %s has another %s than rank 0; give all ranks the same files and options", list, what);
    return st;
}
