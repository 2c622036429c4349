/* launch/doctor.h - what `limbeck doctor` finds out: what is there, what of it will be used, what is missing and how to
 * get it.
 *
 * Idea: a finding is a row; each part of the machine has a function that adds its rows. Nothing here changes anything,
 * and what is missing is a row, no error.
 *
 *   source   proc(5), cgroups(7), kernel.org Documentation/admin-guide/cgroup-v2 (cpu.max, memory.max)
 */
#ifndef LMB_LAUNCH_DOCTOR_H
#define LMB_LAUNCH_DOCTOR_H

#include <stdio.h>

#include "comm/collective.h"
#include "comm/nccl.h"
#include "core/base/hash.h"
#include "core/cuda/cuda.h"

/* A job runs with all but LMB_WRONG; with LMB_LIMITS it is slower, or another way than on a whole machine; what is
 * LMB_ABSENT can be had and is then used. */
typedef enum { LMB_FINE, LMB_ABSENT, LMB_LIMITS, LMB_WRONG } lmb_health;

typedef struct lmb_finding {
    const char *topic; /* static: "memory" */
    lmb_health health;
    char found[320], use[200], advice[320]; /* one line each; "": nothing to say */
} lmb_finding;

enum { LMB_FINDINGS = 32 };
typedef struct lmb_findings {
    lmb_finding f[LMB_FINDINGS];
    int n;
} lmb_findings;

/* The next row, empty; its texts are filled in by the caller. Beyond LMB_FINDINGS: the last one again. */
lmb_finding *lmb_finding_add(lmb_findings *all, const char *topic, lmb_health health);

/* Processor, processors to be had, memory, locked memory, open files, shared memory. `root`: "" or, for tests, a folder
 * that stands for /. `ranks`: processes of this job on this machine; `processors`: that they together may run on. */
void lmb_doctor_host(const char *root, int ranks, int processors, lmb_findings *all);
/* Driver, devices, CUDA, cuDNN, NCCL; then lmb_doctor_try of the device, or, where device is -1, of all of them. */
void lmb_doctor_gpu(const char *root, int device, lmb_findings *all);
/* What a driver of CUDA `driver` (0: none) means for libraries of CUDA `runtime`, both as in lmb_cuda_versions. */
void lmb_doctor_match(int driver, int runtime, lmb_finding *f);
/* GPUs first to first + n - 1: each tries one of our kernels and says which of our code it runs, what memory is free
 * and how it is set. The first copies `bytes`, timed; 0: it does not. Selects the last device. */
void lmb_doctor_try(const lmb_cuda_api *api, int first, int n, size_t bytes, lmb_findings *all);
/* Adds to f what NVML tells of the GPU at a PCI address, which is number `device` here. */
void lmb_doctor_modes(const char *where, int device, lmb_finding *f);
/* MPI and the launcher. */
void lmb_doctor_ranks(lmb_findings *all);

/* What each rank says of itself and its machine. */
typedef struct lmb_rank_about {
    char host[64];
    char program[48];       /* of this executable, hashed: ranks must run the same */
    unsigned char may[128]; /* bit k: processor k is one that it may run on */
    int gpus;               /* that it sees; which ones: */
    lmb_hash set;           /* of their own names, in its order */
} lmb_rank_about;
/* [size] of all ranks, on all ranks at once. all: malloc'd for the caller. */
LMB_MUST_CHECK lmb_status lmb_doctor_gather(lmb_comm *c, lmb_rank_about **all, lmb_error *err);
/* Ranks on the machine of rank `of`, and processors that they together may run on. */
void lmb_doctor_machine(const lmb_rank_about *rank, int n, int of, int *ranks, int *processors);
/* Rows about ranks that differ or crowd. */
void lmb_doctor_compare(const lmb_rank_about *rank, int n, lmb_findings *all);

/* One measured size of one collective. */
typedef struct lmb_link {
    const char *what;
    size_t bytes;
    double seconds;
} lmb_link;
enum { LMB_LINKS = 32 };
/* Times exchange, broadcast, gather and sum over the ranks and compares what arrives with what must; on all ranks at
 * once. The slowest rank's time counts. E_PEER names what came out wrong. */
LMB_MUST_CHECK lmb_status lmb_doctor_collectives(lmb_comm *c, lmb_link link[LMB_LINKS], int *n, lmb_error *err);

/* The same between the ranks' GPUs, appended to the *n rows. `device`: of this rank on its host; `fixed_order`: as in
 * comm/nccl.h. */
LMB_MUST_CHECK lmb_status lmb_doctor_gpus(lmb_comm *c, const lmb_nccl_api *api, int device, bool fixed_order,
                                          lmb_link link[LMB_LINKS], int *n, lmb_error *err);
/* The GPU of a rank: how many of its host come before it. -1 where some rank would have to share one. */
int lmb_doctor_device(const lmb_rank_about *rank, int n, int of);

#endif
