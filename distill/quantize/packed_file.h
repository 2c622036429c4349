/* distill/quantize/packed_file.h - .lmb files with coded weights (core/edge/packed.h), in this program's words. */
#ifndef LMB_DISTILL_QUANTIZE_PACKED_FILE_H
#define LMB_DISTILL_QUANTIZE_PACKED_FILE_H

#include <stdbool.h>

#include "core/base/str.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The plain file of a packed one: *out is the caller's to free; NULL: `file` is plain, use it as it is. E_FORMAT. */
LMB_MUST_CHECK lmb_status lmb_packed_open(const void *file, size_t n, void **out, size_t *bytes, lmb_error *err);
/* A .lmb file, plain in any case; *out is the caller's to free. *packed (may be NULL): it was not. E_IO, E_FORMAT. */
LMB_MUST_CHECK lmb_status lmb_packed_read(const char *path, void **out, size_t *n, bool *packed, lmb_error *err);
/* Code the weights of the plain file in `file`, unsigned, in place. */
LMB_MUST_CHECK lmb_status lmb_packed_make(lmb_str *file, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
