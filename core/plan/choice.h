/* core/plan/choice.h - which kernel runs an op, found out by measuring instead of taken from a fixed order.
 *
 * Idea: a backend's list of kernels says which is best for most shapes. A table of choices says it for single ones: a
 * plan that is compiled with a table (lmb_plan_options.choices) asks it about every step that has arithmetic of
 * products and more than one kernel which takes and gives the same forms. What the table does not know yet is measured
 * once (while `measuring` is on) or takes the fixed choice. Kernels differ in the last bit, so a table is part of what
 * a training's numbers depend on: it is written as text into checkpoints, sent to all ranks, and kept on disk from one
 * run to the next.
 *
 *   key      backend, op, attributes, types and shapes of the operands; a gradient is an op of its own, so the pass is
 *            in it
 *   text     a line a choice: key, TAB, name of the kernel
 *   threads  any, one after the other (a lock): plans that are compiled side by side end in the same choices
 */
#ifndef LMB_CORE_PLAN_CHOICE_H
#define LMB_CORE_PLAN_CHOICE_H

#include "core/base/log.h"
#include "core/base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_choices lmb_choices;

/* An empty table. `threads` plans will run side by side, so kernels are measured so. */
LMB_MUST_CHECK lmb_status lmb_choices_create(int threads, lmb_choices **out, lmb_error *err);
void lmb_choices_destroy(lmb_choices *c);
/* Off at first. */
void lmb_choices_measuring(lmb_choices *c, bool on);
int lmb_choices_count(const lmb_choices *c);
int lmb_choices_measured(const lmb_choices *c); /* how many of them by this process */
/* How many names were asked for that no kernel of this build and processor has for the shape. */
int lmb_choices_lost(const lmb_choices *c);
/* Append all as text, sorted by key; or, `asked`, those that plans have asked for. */
void lmb_choices_text(const lmb_choices *c, bool asked, lmb_str *out);
/* Take over the choices of a text; of a key that is there already the table's own stays. E_FORMAT: no such text, and
 * nothing is taken over. A name that no kernel has does no harm: it is measured anew, or without `measuring` the fixed
 * choice is taken. */
LMB_MUST_CHECK lmb_status lmb_choices_add(lmb_choices *c, const char *text, size_t n, lmb_error *err);

/* For who keeps choices of another kind in a table (core/cuda/results.h): what stands for a key, NULL if nothing does,
 * good until the table changes; and something new for it. What a line of text can not hold is not kept. */
const char *lmb_choices_find(lmb_choices *c, const char *key);
LMB_MUST_CHECK lmb_status lmb_choices_put(lmb_choices *c, const char *key, const char *name, lmb_error *err);

/* ---- on disk: one small file in `folder` for each `machine` (processor, its instructions, library versions) and
 * number of threads ---- Whole or not there, with a check sum; several processes may read and write. */

/* Add what the file has. None is an empty table; one that is damaged or not for us is passed over, with one warning to
 * `log`. */
LMB_MUST_CHECK lmb_status lmb_choices_load(lmb_choices *c, const char *folder, const char *machine, const lmb_log *log,
                                           lmb_error *err);
/* Write the table and what others have added to the file meanwhile. */
LMB_MUST_CHECK lmb_status lmb_choices_save(lmb_choices *c, const char *folder, const char *machine, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
