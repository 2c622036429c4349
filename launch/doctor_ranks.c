/* launch/doctor_ranks.c - MPI, who started us, and whether the ranks of a job fit together. See doctor.h. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/about.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/cuda/cuda.h"
#include "launch/doctor.h"

static bool on_path(const char *program)
{
    const char *path = getenv("PATH");
    char file[512];

    for (const char *at = path ? path : ""; *at;) {
        size_t n = strcspn(at, ":");
        snprintf(file, sizeof file, "%.*s/%s", n < 256 ? (int)n : 256, at, program);
        if (access(file, X_OK) == 0)
            return true;
        at += n + (at[n] == ':');
    }
    return false;
}

static void check_mpi(lmb_findings *all)
{
    lmb_mpi_about a;
    lmb_finding *f = lmb_finding_add(all, "MPI", LMB_FINE);

    lmb_mpi_describe(&a);
    if (!a.built) {
        f->health = LMB_ABSENT;
        snprintf(f->found, sizeof f->found, "not in this build");
        snprintf(f->use, sizeof f->use, "one process with threads");
        snprintf(f->advice, sizeof f->advice,
                 "install libopenmpi-dev and openmpi-bin (or the cluster's Open MPI) and build again");
        return;
    }
    snprintf(f->found, sizeof f->found, "%.120s (MPI %d.%d), %s device memory", a.library, a.major, a.minor,
             !a.cuda_known ? "does not say whether it takes"
             : a.cuda      ? "takes"
                           : "does not take");
    snprintf(f->use, sizeof f->use,
             "start-up, control and sums of processors; GPUs sum by NCCL, so device memory is not needed here");
    if (!on_path("mpirun") && !on_path("srun")) {
        f->health = LMB_LIMITS;
        snprintf(f->advice, sizeof f->advice,
                 "neither mpirun nor srun is on the PATH: install openmpi-bin, or load the cluster's module");
    }
}

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v ? v : "";
}

static void check_launcher(lmb_findings *all)
{
    lmb_finding *f = lmb_finding_add(all, "launcher", LMB_FINE);
    bool slurm = env("SLURM_JOB_ID")[0], pmix = env("PMIX_RANK")[0];

    if (env("OMPI_COMM_WORLD_SIZE")[0])
        snprintf(f->found, sizeof f->found, "started by mpirun, %.10s processes", env("OMPI_COMM_WORLD_SIZE"));
    else if (pmix)
        snprintf(f->found, sizeof f->found, "started over PMIx, this is process %.10s", env("PMIX_RANK"));
    else
        snprintf(f->found, sizeof f->found, "started by hand%s%s", on_path("mpirun") ? "; mpirun is there" : "",
                 on_path("srun") ? "; srun is there" : "");
    if (slurm) {
        size_t n = strlen(f->found);
        snprintf(f->found + n, sizeof f->found - n, "; Slurm job %.20s, %.10s tasks on %.10s nodes",
                 env("SLURM_JOB_ID"), env("SLURM_NTASKS")[0] ? env("SLURM_NTASKS") : "1", env("SLURM_JOB_NUM_NODES"));
    }
    if (on_path("srun") && !pmix)
        snprintf(f->advice, sizeof f->advice,
                 "`srun --mpi=list` must name pmix for `srun --mpi=pmix limbeck ...`; otherwise start with mpirun "
                 "inside the allocation");
}

void lmb_doctor_ranks(lmb_findings *all)
{
    check_mpi(all);
    check_launcher(all);
}

/* ---- the ranks beside each other ---- */

static void name_program(char out[48])
{
    void *data = NULL;
    size_t n = 0;
    lmb_error e = LMB_ERROR_INIT;
    char hex[LMB_HASH_HEX];

    snprintf(out, 48, "unknown");
    if (lmb_file_read("/proc/self/exe", (size_t)1 << 30, &data, &n, &e) != LMB_OK)
        return;
    lmb_hash h = lmb_hash_of(data, n);
    free(data);
    lmb_hash_hex(&h, hex);
    snprintf(out, 48, "%.12s", hex);
}

/* GPUs by their own names, as training tells them apart (train/gpu_pick.h). */
static void see_gpus(const lmb_cuda_api *api, lmb_rank_about *mine)
{
    lmb_error quiet = LMB_ERROR_INIT;
    lmb_cuda_device d;
    lmb_hasher set;
    int n = 0;

    lmb_hash_begin(&set);
    lmb_status st = api->device_count(&n, &quiet);
    for (int i = 0; i < n && st == LMB_OK; i++) {
        st = api->device_info(i, &d, &quiet);
        lmb_hash_add(&set, d.uuid, st == LMB_OK ? sizeof d.uuid : 0);
    }
    mine->set = lmb_hash_end(&set);
    mine->gpus = st == LMB_OK ? n : 0;
}

lmb_status lmb_doctor_gather(lmb_comm *c, lmb_rank_about **all, lmb_error *err)
{
    lmb_rank_about mine;
    lmb_error quiet = LMB_ERROR_INIT;
    lmb_cuda *cuda = NULL;

    memset(&mine, 0, sizeof mine); /* the bytes between its members travel too */
    gethostname(mine.host, sizeof mine.host - 1);
    name_program(mine.program);
    cpu_set_t may;
    if (sched_getaffinity(0, sizeof may, &may) == 0)
        for (int k = 0; k < 8 * (int)sizeof mine.may && k < CPU_SETSIZE; k++)
            mine.may[k / 8] |= (unsigned char)((CPU_ISSET(k, &may) != 0) << k % 8);
    if (lmb_cuda_open(NULL, &cuda, &quiet) == LMB_OK) {
        see_gpus(cuda->api, &mine);
        lmb_cuda_close(cuda);
    }
    lmb_rank_about *got = calloc((size_t)c->size, sizeof *got);
    if (!got)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d ranks", c->size);
    lmb_status st = c->gather_all(c, &mine, got, sizeof mine, err);
    if (st != LMB_OK) {
        free(got);
        return st;
    }
    *all = got;
    return LMB_OK;
}

static int ranks_on(const lmb_rank_about *rank, int n, const char *host)
{
    int k = 0;
    for (int r = 0; r < n; r++)
        k += strcmp(rank[r].host, host) == 0;
    return k;
}

void lmb_doctor_machine(const lmb_rank_about *rank, int n, int of, int *ranks, int *processors)
{
    int count = 0;
    for (int k = 0; k < 8 * (int)sizeof rank->may; k++) {
        bool any = false;
        for (int r = 0; r < n && !any; r++)
            any = strcmp(rank[r].host, rank[of].host) == 0 && (rank[r].may[k / 8] >> k % 8 & 1);
        count += any;
    }
    *ranks = ranks_on(rank, n, rank[of].host);
    *processors = count > 0 ? count : 1;
}

/* The first rank of each machine speaks for it. */
static bool first_on_host(const lmb_rank_about *rank, int r) { return ranks_on(rank, r, rank[r].host) == 0; }

/* Of the first n ranks those that see the same GPUs as rank r. A launcher may show each rank one of its own. */
static int ranks_alike(const lmb_rank_about *rank, int n, int r)
{
    int k = 0;
    for (int q = 0; q < n; q++)
        k += strcmp(rank[q].host, rank[r].host) == 0 && memcmp(&rank[q].set, &rank[r].set, sizeof rank->set) == 0;
    return k;
}

/* Those that the ranks of rank r's machine see together. */
static int gpus_on(const lmb_rank_about *rank, int n, int r)
{
    int k = 0;
    for (int q = 0; q < n; q++)
        k += strcmp(rank[q].host, rank[r].host) == 0 && ranks_alike(rank, q, q) == 0 ? rank[q].gpus : 0;
    return k;
}

int lmb_doctor_device(const lmb_rank_about *rank, int n, int of)
{
    for (int r = 0; r < n; r++)
        if (ranks_alike(rank, n, r) > rank[r].gpus)
            return -1;
    return ranks_alike(rank, of, of);
}

void lmb_doctor_compare(const lmb_rank_about *rank, int n, lmb_findings *all)
{
    int hosts = 0;
    lmb_finding *f = lmb_finding_add(all, "ranks", LMB_FINE);

    for (int r = 0; r < n; r++)
        hosts += first_on_host(rank, r);
    snprintf(f->found, sizeof f->found, "%d on %d machine%s", n, hosts, hosts == 1 ? "" : "s");
    for (int r = 0; r < n; r++) {
        size_t at = strlen(f->found);
        int here, processors;
        lmb_doctor_machine(rank, n, r, &here, &processors);
        if (first_on_host(rank, r) && at + 100 < sizeof f->found) /* of many machines the first few */
            snprintf(f->found + at, sizeof f->found - at, "; %.40s: %d with %d processors, %d GPUs", rank[r].host, here,
                     processors, gpus_on(rank, n, r));
        if (strcmp(rank[r].program, rank[0].program) != 0) {
            f->health = LMB_WRONG;
            snprintf(f->advice, sizeof f->advice,
                     "rank %d on %.60s runs another program (%.12s) than rank 0 on %.60s (%.12s): install the "
                     "same build on all machines",
                     r, rank[r].host, rank[r].program, rank[0].host, rank[0].program);
            return;
        }
    }
    for (int r = 0; r < n && f->health == LMB_FINE; r++) {
        int alike = ranks_alike(rank, n, r), there = gpus_on(rank, n, r), first = gpus_on(rank, n, 0);
        if (rank[r].gpus > 0 && alike > rank[r].gpus) {
            f->health = LMB_LIMITS;
            snprintf(f->advice, sizeof f->advice,
                     "%.60s has %d ranks and %d GPUs: with train.backend=cuda several would share one; start one "
                     "rank a GPU",
                     rank[r].host, alike, rank[r].gpus);
        } else if (there != first) {
            f->health = LMB_LIMITS;
            snprintf(f->advice, sizeof f->advice,
                     "%.60s has %d GPUs, %.60s has %d: the job goes at the speed of the slowest", rank[r].host,
                     there, rank[0].host, first);
        }
    }
}
