/* federated/local_memory.h - the file of what a client keeps from round to round: two vectors, before and after the
 * round it last trained for, so that training for it once more, after a crash, begins where it did. Of local.c, not for
 * others. */
#ifndef LMB_FEDERATED_LOCAL_MEMORY_H
#define LMB_FEDERATED_LOCAL_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

/* memory [values]: what `round` begins with; zeros where there is no file, or path is NULL.
 *   errors  E_FORMAT when the file is damaged or of another model */
LMB_MUST_CHECK lmb_status lmbi_memory_read(const char *path, size_t values, uint64_t round, float *memory,
                                           lmb_error *err);
LMB_MUST_CHECK lmb_status lmbi_memory_write(const char *path, size_t values, uint64_t round, const float *before,
                                            const float *after, lmb_error *err);

#endif
