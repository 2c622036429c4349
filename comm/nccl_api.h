/* comm/nccl_api.h - the seam to NCCL: the few calls that comm/nccl.c makes, as a table.
 *
 * Idea: everything that needs NCCL's headers lives in a module, liblimbeck_nccl.so (comm/nccl_module.c), that exports
 * one table. Programs link none of it, and tests hand in a table of their own. Nothing here waits: a call starts
 * something, `state` and `stream_state` tell what became of it.
 *
 *   codes    0, LMB_NCCL_BUSY: not done yet; any other: NCCL's ncclResult_t, or LMB_NCCL_CUDA and above: CUDA's code.
 *            `text` makes a sentence of each
 *   source   NCCL 2.28 API: Creating a Communicator, Fault Tolerance
 */
#ifndef LMB_COMM_NCCL_API_H
#define LMB_COMM_NCCL_API_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_NCCL_API = 4, LMB_NCCL_ID = 128, LMB_NCCL_DEVICE_ID = 16 };
enum { LMB_NCCL_OK = 0, LMB_NCCL_BUSY = 7 /* ncclInProgress */, LMB_NCCL_CUDA = 1000 };
typedef enum { LMB_NCCL_F32, LMB_NCCL_BF16, LMB_NCCL_F64 } lmb_nccl_type;
typedef enum { LMB_NCCL_ADD, LMB_NCCL_LEAST, LMB_NCCL_GREATEST } lmb_nccl_op;

#define LMB_NCCL_MODULE_FILE "liblimbeck_nccl.so"
#define LMB_NCCL_MODULE_TABLE "lmb_nccl_module" /* the exported symbol: one const lmb_nccl_api */

typedef struct lmb_nccl_api {
    uint32_t version, size; /* LMB_NCCL_API and sizeof(lmb_nccl_api) of the module */

    const char *(*text)(int code); /* static */
    int (*library)(int *version);  /* 10000 a major and 100 a minor version */

    int (*device_select)(int device); /* modulo those there are, for the calling thread */
    int (*device_id)(unsigned char id[LMB_NCCL_DEVICE_ID]);
    int (*alloc)(size_t bytes, void **device); /* as NCCL likes it */
    int (*free)(void *device);
    int (*upload)(void *device, const void *host, size_t bytes, void *stream);
    int (*download)(void *host, const void *device, size_t bytes, void *stream);
    int (*stream_create)(void **stream);
    int (*stream_destroy)(void *stream);
    int (*stream_state)(void *stream);              /* 0: all done */
    int (*stream_after)(void *stream, void *other); /* work from now on waits for what `other` has now */
    int (*event_state)(void *event);                /* a cudaEvent_t; 0: passed, or never recorded */

    /* A count of what streams have passed, in the host's memory, from 0; destroyed when no stream counts any more. */
    int (*count_create)(volatile uint64_t **count);
    int (*count_destroy)(volatile uint64_t *count);
    int (*count)(volatile uint64_t *count, void *stream); /* one more, once all that `stream` has now is done */

    int (*unique_id)(unsigned char id[LMB_NCCL_ID]);
    int (*init)(void **comm, int size, const unsigned char id[LMB_NCCL_ID], int rank); /* non-blocking */
    int (*state)(void *comm); /* of the communicator: what went wrong behind our back */
    int (*finalize)(void *comm);
    int (*destroy)(void *comm);
    int (*abort)(void *comm);

    /* On the stream, non-blocking; n elements of a type. What lies between group_begin and group_end is one piece of
     * work. */
    int (*group_begin)(void);
    int (*group_end)(void);
    int (*reduce)(const void *from, void *to, size_t n, lmb_nccl_type t, lmb_nccl_op op, void *comm, void *stream);
    int (*reduce_to)(void *at, size_t n, lmb_nccl_type t, lmb_nccl_op op, int root, void *comm, void *stream);
    int (*spread)(void *at, size_t n, lmb_nccl_type t, int root, void *comm, void *stream);
    int (*sum_scatter)(const void *from, void *to, size_t n_each, lmb_nccl_type t, void *comm, void *stream);
    int (*gather)(const void *from, void *to, size_t n_each, lmb_nccl_type t, void *comm, void *stream);
    /* Send to `peer_to` and receive from `peer_from`; either may be -1. */
    int (*exchange)(const void *from, int peer_to, void *to, int peer_from, size_t n, lmb_nccl_type t, void *comm,
                    void *stream);
    /* f32 to bf16 (to the nearest, ties to even) and back, on a stream. */
    int (*narrow)(const float *from, uint16_t *to, size_t n, void *stream);
    int (*widen)(const uint16_t *from, float *to, size_t n, void *stream);
} lmb_nccl_api;

#ifdef __cplusplus
}
#endif
#endif
