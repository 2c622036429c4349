/* core/cuda/results.h - ways that were the best of their contests (contest.h), from one process to the next.
 *
 * Idea: the table of kernels' choices (core/plan/choice.h) and its file are what is needed: a line a shape, whole or
 * not there, several processes may write. `machine` names GPU and libraries, as a way means something to these alone;
 * what was found with others is in files of their own and stays there. A file that is damaged is passed over with a
 * sentence. What is new is written every few seconds and at the end; if it can not be written, that is said once and
 * costs the next process its time.
 *
 *   threads  one at a time
 */
#ifndef LMB_CORE_CUDA_RESULTS_H
#define LMB_CORE_CUDA_RESULTS_H

#include "core/base/log.h"
#include "core/cuda/cuda.h"

typedef struct lmbi_results lmbi_results;

/* folder: made when there is something to keep; log is borrowed, or NULL. */
LMB_MUST_CHECK lmb_status lmbi_results_open(const char *folder, const char *machine, const lmb_log *log,
                                            lmbi_results **out, lmb_error *err);
void lmbi_results_close(lmbi_results *r);             /* writes what is new; NULL is fine */
lmb_cuda_known lmbi_results_known(lmbi_results *r); /* as long as r is open */

#endif
