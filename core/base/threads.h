/* core/base/threads.h - a persistent pool that runs `n` tasks and returns when all are done.
 *
 * Idea: workers are created once; the caller works too, so a pool of 1 has no thread and no lock. Which
 * thread runs a task is unspecified; results must not depend on it. Who waits looks for a while before it sleeps,
 * because to be woken takes long (a millisecond and more where the system then puts the thread beside another that
 * works), but lets others have the processor meanwhile: a busy machine costs its fair share.
 *
 *   threads  one run at a time on a pool; a task must not run the same pool again
 */
#ifndef LMB_CORE_BASE_THREADS_H
#define LMB_CORE_BASE_THREADS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_pool lmb_pool;
typedef void (*lmb_task)(void *ctx, int task, int worker); /* worker in [0, size) */

LMB_MUST_CHECK lmb_status lmb_pool_create(int size, lmb_pool **out, lmb_error *err);
void lmb_pool_destroy(lmb_pool *p);
int lmb_pool_size(const lmb_pool *p); /* NULL: 1 */
void lmb_pool_run(lmb_pool *p, int n_tasks, lmb_task fn, void *ctx); /* p NULL: in the caller */

/* Look until over(ctx), a little without a pause, then yielding the processor between looks; false: half a millisecond
 * has passed, and it is time to sleep. */
bool lmb_wait_briefly(bool (*over)(void *ctx), void *ctx);

/* Processors this process may use (affinity mask), at least 1. */
int lmb_cpu_count(void);
/* Bytes of memory of this machine: what can not fit is refused before it is asked for, because the system would grant
 * it and end the process later. */
double lmb_memory_bytes(void);
/* Give the pages that lie wholly in memory[0, bytes) back to the system: what is there reads as zeros, and has pages
 * again once it is written. Of malloc's memory, too; where a system can not, nothing happens. */
void lmb_memory_forget(void *memory, size_t bytes);
/* Monotonic seconds. */
double lmb_seconds(void);

#ifdef __cplusplus
}
#endif
#endif
