/* distill/search/identity.h - what the lines of a journal depend on, and the refusal of a journal of something else.
 *
 * Idea: a journal begins with all that its decisions depend on, as a marked dump (core/base/agree.h). That is settings,
 * and it is samples: the files that a `data` section names can change while the section stays the same. So each set
 * of samples has a line with the hash of its content. It is marked, so that a journal from before there was such a line
 * goes on.
 *
 *   cost  of lmb_dataset's hash, once a process: sets in memory about a second a gigabyte; of pictures in folders their
 *         names, sizes and last 4 kB (datasets/readers/folder.c)
 */
#ifndef LMB_DISTILL_SEARCH_IDENTITY_H
#define LMB_DISTILL_SEARCH_IDENTITY_H

#include "core/base/str.h"
#include "datasets/dataset.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A line for the `which` samples ("training", "held-out"); of NULL none. */
void lmb_identity_samples(lmb_str *out, const char *which, const lmb_dataset *d);

/* Does a journal that began with `stored` go on here?
 *   what, elsewhere  for the sentence: "configuration", "`run`"
 *   errors           E_ARG: it is of other samples, or of another `what`, with the first lines that differ */
LMB_MUST_CHECK lmb_status lmb_identity_check(const char *stored, const char *here, const char *what,
                                             const char *elsewhere, lmb_error *err);

/* The same below a key of another dump, of a checkpoint that is part of a search: two spaces in front of each line, and
 * without those that change nothing. */
void lmb_identity_indent(const char *identity, lmb_str *out);

#ifdef __cplusplus
}
#endif
#endif
