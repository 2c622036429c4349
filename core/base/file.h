/* core/base/file.h - files that are whole or not there.
 *
 * Idea: everything the program leaves behind is written to "<path>.tmp", synced, renamed over <path>, and
 * the folder synced. A crash at any instant leaves the old file or the new one. Readers state a limit.
 *
 *   errors   E_IO names the path, the operation and strerror; "no space left" says how many bytes were
 *            wanted. The temporary is removed on failure.
 */
#ifndef LMB_CORE_BASE_FILE_H
#define LMB_CORE_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whole file into malloc'd memory (one NUL byte appended beyond *n). E_FORMAT above `limit` bytes. */
LMB_MUST_CHECK lmb_status lmb_file_read(const char *path, size_t limit, void **data, size_t *n, lmb_error *err);
/* The same for .gz files as well (by magic; zlib). */
LMB_MUST_CHECK lmb_status lmb_file_read_gz(const char *path, size_t limit, void **data, size_t *n, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_file_write(const char *path, const void *data, size_t n, lmb_error *err);
/* Is there nothing at `path`, or a file? E_IO: something that a file does not take the place of. */
LMB_MUST_CHECK lmb_status lmb_file_replaceable(const char *path, lmb_error *err);
/* For writers with their own library (HDF5): produce "<path>.tmp" yourself, then publish it. */
LMB_MUST_CHECK lmb_status lmb_file_publish(const char *tmp, const char *path, lmb_error *err);
/* Sync a file and its folder: what was appended survives a loss of power. */
LMB_MUST_CHECK lmb_status lmb_file_sync(const char *path, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_file_append(const char *path, const void *data, size_t n, lmb_error *err);
bool lmb_file_exists(const char *path);
LMB_MUST_CHECK lmb_status lmb_file_size(const char *path, uint64_t *size, lmb_error *err);
/* mkdir -p. */
LMB_MUST_CHECK lmb_status lmb_file_make_dirs(const char *path, lmb_error *err);
/* The same, and one that is made anew is its owner's alone; those above it are as umask says. */
LMB_MUST_CHECK lmb_status lmb_file_make_private_dir(const char *path, lmb_error *err);
/* "dir/name" into a buffer; E_ARG when it does not fit. */
LMB_MUST_CHECK lmb_status lmb_path_join(char *out, size_t cap, const char *dir, const char *name, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
