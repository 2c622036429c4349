/* train/reduce_internal.h - the inside of a reducer, shared by its files:
 *
 *   sum_tree.c      how two vectors become one
 *   sum_products.c  gradients that shards leave as what they are products of
 *   sum_ahead.c     a bucket over slots, then over ranks; the thread that does so while shards are at work
 *   reduce.c        a batch, from begin() to end(); making one and ending it
 */
#ifndef LMB_TRAIN_REDUCE_INTERNAL_H
#define LMB_TRAIN_REDUCE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "train/reduce.h"

struct lmbi_reducer {
    const lmb_state_layout *layout;
    lmb_comm *comm;
    size_t width;
    int slots, filled, n_buckets, stride;
    const size_t *const *cut; /* [buckets]: ranks keep parts of sums; NULL: all keep all */
    lmbi_bucket *bucket;
    float **slot;       /* [slots][width]                                   */
    float *weight;      /* [slots] of the running batch                     */
    lmb_window *window; /* where slot 0 lies; NULL: ranks exchange messages  */
    float *scratch;     /* [width]: what a peer sends; NULL with a window   */
    lmb_trace *trace;
    lmb_factors *const *factors; /* [slots][segments] or NULL                  */
    struct {
        void *memory;
        size_t bytes;
    } * room;              /* [slots + 1]: scratch of products, of each worker and of the thread    */
    bool multiplied;       /* the products of the buckets that are left        */
    atomic_bool no_memory; /* for a scratch                                    */

    /* Guarded by the lock: what the shards have finished, and the thread that sums ahead. */
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    int *pending;     /* [n_buckets] slots still at work on it            */
    int next;         /* bucket to be summed                              */
    bool ahead, quit; /* there is a thread; it shall end                  */
    bool open;        /* between begin() and end()                        */
    bool failed;      /* a sum of the thread, see err                     */
    atomic_bool busy; /* the thread sums bucket next - 1                  */
    lmb_error err;
    pthread_t thread;
};

/* ---- sum_products.c ---- */

/* Do slots have factors instead of a vector's segment? */
bool lmbi_reducer_factored(const lmbi_reducer *r, int segment);
/* The products of bucket b, by worker `worker`. */
void lmbi_reducer_multiply(lmbi_reducer *r, const lmbi_bucket *b, int worker);
/* Those of all buckets that are left, divided among all workers. */
void lmbi_reducer_multiply_left(lmbi_reducer *r, lmb_pool *pool);

/* ---- sum_ahead.c ---- */

/* A bucket of all slots into slot 0. `lane`: of the thread that calls. */
void lmbi_reducer_sum_slots(lmbi_reducer *r, const lmbi_bucket *b, int lane);
/* Slot 0's bucket over ranks. While shards are at work the thread that calls must not take a processor from them. */
LMB_MUST_CHECK lmb_status lmbi_reducer_sum_ranks(const lmbi_reducer *r, const lmbi_bucket *b, int lane, lmb_error *err);
/* Start the thread; have it finish the bucket that it is at and touch no other till begin(); end it. */
LMB_MUST_CHECK lmb_status lmbi_reducer_start_ahead(lmbi_reducer *r, lmb_error *err);
void lmbi_reducer_stop_ahead(lmbi_reducer *r);
void lmbi_reducer_end_ahead(lmbi_reducer *r);

#endif
