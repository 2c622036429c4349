/* train/memory.h - embeddings of the samples that were shown last, for terms that want more wrong answers than a
 * batch has.
 *
 * Idea: a ring of `slots` rows is a part of the state of the graph that is trained, as the statistics of a
 * normalisation are: it goes into checkpoints, and every rank has it. A row's slot follows from how many samples were
 * shown before it, so that rows of one batch, which are worked off in shards on any number of ranks, have slots of
 * their own. A step leaves its rows in a second ring of the same size, where all other rows are marked as empty (-2:
 * rows have the length 1), and shards are put together by the maximum: no bit depends on who had which row. The next
 * step begins with those rows put into the ring. A third ring knows which sample each row was of, so that a sample's
 * own earlier row is no wrong answer.
 *
 *   first   rows at random of length 1 (as CRD has them), so that there are wrong answers from the first step on
 *   source  the memory of Tian et al. 2020 (CRD), arXiv:1910.10699, section 3.2, which has a row for each sample of
 *           the training set; a queue of fixed size: He et al. 2020 (MoCo), arXiv:1911.05722
 */
#ifndef LMB_TRAIN_MEMORY_H
#define LMB_TRAIN_MEMORY_H

#include "train/loss.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows of the graph that are such a memory, beginning with what is random or empty. `of`: its number in the graph, 0
 * or 1. */
LMB_MUST_CHECK lmb_status lmb_memory_add(lmb_graph *g, int of, int64_t slots, int64_t width, uint64_t seed,
                                         lmb_error *err);

/* In a training graph whose memory `of` was made by lmb_memory_add: its rows [slots, width], of earlier steps alone;
 * and what it will be after this step, with `rows` [n, width] of length 1 where lmb_memory_where says. */
lmb_vid lmb_memory_use(lmb_builder *b, int of, lmb_vid rows, lmb_vid where);
/* The same for whose rows both memories have: a mask [n, slots], 0 where a slot has another sample's row, and far below
 * any similarity where it has an earlier one of the row's own sample. */
lmb_vid lmb_memory_others(lmb_builder *b, lmb_vid where);

/* where [n, slots]: at the slot of each row the number of its sample plus 1, else 0. From 2^24 - 1 samples on numbers
 * begin anew, as floats have no more of them: a rare wrong answer less.
 *   errors  E_ARG: a batch has more rows than there are slots */
LMB_MUST_CHECK lmb_status lmb_memory_where(const lmb_step_info *info, const lmb_place *place, int64_t n, int64_t slots,
                                           float *where, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
