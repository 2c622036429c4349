/* comm/nccl.h - sums between GPUs, one process each, by NCCL, that never wait for ever.
 *
 * Idea: MPI brings the ranks together (comm/collective.h) and hands round NCCL's name of the job; from then on device
 * memory goes from GPU to GPU on a stream of our own. Communicators are non-blocking, so that no call of NCCL's can
 * hold us: we look at the stream and at the communicator's state until work is done, one of them tells of an error, or
 * the time is over. Then the communicator is aborted, and the error says which collective, bucket and step it was, on
 * which rank and host, and, where the ranks have a noticeboard (comm/watch.h), who is behind and at what.
 *
 * Work may be recorded with the stream that it comes after (CUDA graphs): then calls write it down, and it is done
 * whenever the graph is started. A graph is waited for as everything else is: looked at, within the time, and a piece
 * of it that nothing comes of is named as one that was not recorded (comm/nccl_log.h).
 *
 * What NCCL's documentation promises and asks for, and where it is kept:
 *
 *   a call says "in progress"   no other call on that communicator, and no work on a stream that it uses, until its
 *                               state is success: follow() looks until then, behind every call and every group
 *   inside a group              calls put nothing on a stream yet; only the group's end is followed
 *   an error                    nothing may be assumed of any work since, and the communicator can be aborted alone
 *   abort                       also in progress and after an error; tells kernels on the GPU to quit, which may leave
 *                               rubbish, and waits for graphs (comm/nccl_abort.h): nobody waits for it without end
 *   finalize, then destroy      all ranks, after all work; state success between the two. Both, too, wait until graphs
 *                               with the communicator's work are gone: resident steps end before their sums do
 *   graphs                      from NCCL 2.9 on, recorded on all ranks or none (lmb_device_sum.agree), started by all
 *                               in the same order; one GPU a process. Recording is thread-local (core/cuda/record.c),
 *                               as a communicator that does not block launches from a thread of its own. Letters
 *                               between neighbours, whose first one connects them, are not recorded
 *                               (train/pipeline_device.c)
 *   several communicators       never two at once with work that could wait for the other's (train/device_stages.c); of
 *                               at most one are there graphs
 *
 *   errors   E_PEER (exit code 75) a peer failed or is late; afterwards every call says so at once. E_UNSUPPORTED no
 *            module
 *   threads  one
 *   source   NCCL 2.28: nccl.h; User Guide, chapters Fault Tolerance, Group Calls (Nonblocking Group Operation), CUDA
 *            Stream Semantics, Using NCCL with CUDA Graphs, and API, ncclCommGetAsyncError
 */
#ifndef LMB_COMM_NCCL_H
#define LMB_COMM_NCCL_H

#include <stdbool.h>

#include "comm/collective.h"
#include "comm/nccl_api.h"
#include "comm/watch.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_nccl lmb_nccl;

typedef struct lmb_nccl_options {
    int device;       /* of this rank on its host, modulo those there are */
    double limit_s;   /* how long nothing may come of anything; below train.stall_s it is NCCL that speaks first */
    bool fixed_order; /* the same bits at equal numbers of ranks: one ring, one protocol, one channel count. Sets NCCL's
                       * environment of this process, over what the user has set */
    lmb_watch *watch; /* told what this rank waits for, and asked who is behind; or NULL */
} lmb_nccl_options;

/* What a piece of work is for, for sentences. */
typedef struct lmb_nccl_label {
    int64_t step;
    int bucket; /* -1: none */
} lmb_nccl_label;

/* The module beside the program, or the one that LMB_NCCL_MODULE in the environment names; stays loaded. */
LMB_MUST_CHECK lmb_status lmb_nccl_load(const lmb_nccl_api **out, lmb_error *err);

/* On all ranks at once; c and api must outlive *out. Refuses ranks with different versions of NCCL, and two on one GPU.
 */
LMB_MUST_CHECK lmb_status lmb_nccl_open(lmb_comm *c, const lmb_nccl_api *api, const lmb_nccl_options *o, lmb_nccl **out,
                                        lmb_error *err);
void lmb_nccl_close(lmb_nccl *n); /* NULL is a no-op */
void *lmb_nccl_stream(const lmb_nccl *n);

/* Put on the stream, after what `after` (a CUDA stream, or NULL) has now; on all ranks in the same order. Device
 * memory.
 *   sum          to[count] = over all ranks; to may be from
 *   sum_scatter  to[n_each] = this rank's part of from[size * n_each]
 *   gather       to[size * n_each] = all ranks' from[n_each]
 *   exchange     either peer may be -1 */
LMB_MUST_CHECK lmb_status lmb_nccl_sum(lmb_nccl *n, lmb_nccl_label l, const void *from, void *to, size_t count,
                                       lmb_nccl_type t, void *after, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_nccl_sum_scatter(lmb_nccl *n, lmb_nccl_label l, const void *from, void *to, size_t n_each,
                                               lmb_nccl_type t, void *after, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_nccl_gather(lmb_nccl *n, lmb_nccl_label l, const void *from, void *to, size_t n_each,
                                          lmb_nccl_type t, void *after, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_nccl_exchange(lmb_nccl *n, lmb_nccl_label l, const void *from, int peer_to, void *to,
                                            int peer_from, size_t count, lmb_nccl_type t, void *after, lmb_error *err);

/* v[count] = its sum over all ranks, put on `stream` itself. `what`: for sentences, static. */
LMB_MUST_CHECK lmb_status lmb_nccl_sum_on(lmb_nccl *n, lmb_nccl_label l, const char *what, void *v, size_t count,
                                          lmb_nccl_type t, void *stream, lmb_error *err);

/* Floats for a neighbour, or from one: the other of give and get is NULL. */
typedef struct lmb_nccl_letter {
    int peer;
    const float *give;
    float *get;
    size_t n;
} lmb_nccl_letter;
/* Several as one piece of work, which ends when the last has arrived. what: for sentences, "microbatch 3 to rank 2".
 * What `after` gets from now on waits for all work before this one, not for this one: so it computes while letters
 * travel. */
LMB_MUST_CHECK lmb_status lmb_nccl_swap(lmb_nccl *n, lmb_nccl_label l, const char *what, const lmb_nccl_letter *letter,
                                        int letters, void *after, lmb_error *err);

/* A range of device memory that is worked on where it lies. */
typedef struct lmb_nccl_piece {
    void *at;
    size_t n;
    lmb_nccl_type type;
    lmb_nccl_op op; /* of reduce() */
    int root;
} lmb_nccl_piece;
/* Several ranges as one piece of work. reduce: a range becomes that of all ranks on rank `root`, or, -1, on all; the
 * others' is then undefined. spread: `root`'s range on all. */
LMB_MUST_CHECK lmb_status lmb_nccl_reduce(lmb_nccl *n, lmb_nccl_label l, const lmb_nccl_piece *p, int pieces,
                                          void *after, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_nccl_spread(lmb_nccl *n, lmb_nccl_label l, const lmb_nccl_piece *p, int pieces,
                                          void *after, lmb_error *err);
/* On the stream, after what `after` has: numbers in other types. */
LMB_MUST_CHECK lmb_status lmb_nccl_narrow(lmb_nccl *n, const float *from, uint16_t *to, size_t count, void *after,
                                          lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_nccl_widen(lmb_nccl *n, const uint16_t *from, float *to, size_t count, lmb_error *err);
/* What `stream` gets from now on waits for all work so far. */
LMB_MUST_CHECK lmb_status lmb_nccl_release(lmb_nccl *n, void *stream, lmb_error *err);

/* Until all of it is done. A rank that is late is told by the first piece of work that its streams have not passed. */
LMB_MUST_CHECK lmb_status lmb_nccl_wait(lmb_nccl *n, lmb_error *err);
/* The same for a stream that waits for it: of a step, for sentences; -1: of the last piece of work. */
LMB_MUST_CHECK lmb_status lmb_nccl_wait_for(lmb_nccl *n, void *stream, int64_t step, lmb_error *err);
/* The same for an event (cudaEvent_t as void *) on such a stream. */
LMB_MUST_CHECK lmb_status lmb_nccl_wait_event(lmb_nccl *n, void *event, int64_t step, lmb_error *err);

/* Does this version of NCCL let its work be recorded? */
bool lmb_nccl_records(const lmb_nccl *n);
/* Between on and off the streams that work is put on are being recorded: what fails is E_UNSUPPORTED and ends
 * nothing. What was recorded must be gone when the communicator is closed: NCCL waits for that. */
void lmb_nccl_record(lmb_nccl *n, bool on);
/* What was recorded has been started once more, for `step`. */
void lmb_nccl_replayed(lmb_nccl *n, int64_t step);

/* End what is under way, of which nothing is expected any more as another communicator has failed: what is on streams
 * behind it goes on. Afterwards every call says so. */
void lmb_nccl_abort(lmb_nccl *n);
/* The noticeboard, if there was none yet at open(). */
void lmb_nccl_watch(lmb_nccl *n, lmb_watch *w);

#ifdef __cplusplus
}
#endif
#endif
