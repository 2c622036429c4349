/* distill/quantize/laid_file.h - .lmb files with weights laid out for kernel sets (core/edge/laid.h), in this program's
 * words. */
#ifndef LMB_DISTILL_QUANTIZE_LAID_FILE_H
#define LMB_DISTILL_QUANTIZE_LAID_FILE_H

#include "core/base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Lay out the weights of the plain file in `file`, in place, for these kernel sets, names with commas between them, in
 * place of what it had of that kind; "": without any. A signature goes. E_ARG, E_FORMAT. */
LMB_MUST_CHECK lmb_status lmb_laid_make(lmb_str *file, const char *sets, lmb_error *err);

/* What a file has laid out. */
typedef struct lmb_laid_facts {
    char sets[160];       /* "avx2 (5696 bytes), neon (...)"; "": nothing                                     */
    char false_sets[160]; /* of those, sets whose numbers are not those of the file's weights, or are not known */
    size_t prepared;      /* bytes that preparing takes with them here; 0: none are for the kernels of this CPU */
} lmb_laid_facts;

/* Of a plain file. E_FORMAT: it is none, or the section for this CPU is not as it must be. */
LMB_MUST_CHECK lmb_status lmb_laid_look(const void *file, size_t n, lmb_laid_facts *out, lmb_error *err);

/* Before one vouches for a plain file, called `name`: E_FORMAT where it has weights laid out that are not its own, for
 * devices would run those. */
LMB_MUST_CHECK lmb_status lmb_laid_true(const void *file, size_t n, const char *name, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
