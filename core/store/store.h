/* core/store/store.h - named tensors, texts and numbers in one file: checkpoints, client state, messages.
 *
 * Idea: a store is a flat list of (name, value). Writing gathers the list and commits it at once, so that a
 * file is whole or not there (core/base/file.h); opening checks the whole content, so that whatever is read
 * afterwards is what was written: a truncated or bit-flipped file is refused with a sentence.
 *
 *   names    1 to 200 bytes, parts separated by single slashes ("optimizer/momentum"), no control characters,
 *            no part "." or "..", not beginning with "limbeck."; no name twice, and no name that is also the
 *            folder of another ("a" beside "a/b")
 *   formats  "bundle" (core/store/bundle.h: no library needed, also for the wire) and "hdf5" (checkpoints that
 *            other programs read; only where HDF5 was found). Both hold exactly the same things.
 *   threads  distinct stores are independent, but HDF5 itself wants one caller at a time in a process
 */
#ifndef LMB_CORE_STORE_STORE_H
#define LMB_CORE_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"
#include "core/base/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Values are written to files: append, never renumber. */
typedef enum {
    LMB_STORE_TENSOR = 1,
    LMB_STORE_TEXT = 2,
    LMB_STORE_INT = 3,
    LMB_STORE_REAL = 4
} lmb_store_kind;

typedef struct lmb_store_item {
    lmb_store_kind kind;
    const char *name;
    lmb_dtype dtype;  /* TENSOR */
    lmb_shape shape;  /* TENSOR */
    const void *data; /* TENSOR: its elements; NULL in a reader that fetches them on demand */
    const char *text; /* TEXT   */
    int64_t integer;  /* INT    */
    double real;      /* REAL   */
} lmb_store_item;

/* ---- writing: create, put ..., commit, destroy ------------------------------------------------- */

typedef struct lmb_store_writer lmb_store_writer;

/* Nothing is touched on disk before the commit. `format` is "bundle" or "hdf5". */
LMB_MUST_CHECK lmb_status lmb_store_create(const char *path, const char *format, lmb_store_writer **out,
                                           lmb_error *err);
/* `data` is borrowed until the commit; names and texts are copied. */
LMB_MUST_CHECK lmb_status lmb_store_put_tensor(lmb_store_writer *w, const char *name, lmb_dtype dtype,
                                               const lmb_shape *shape, const void *data, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_store_put_text(lmb_store_writer *w, const char *name, const char *text, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_store_put_int(lmb_store_writer *w, const char *name, int64_t v, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_store_put_real(lmb_store_writer *w, const char *name, double v, lmb_error *err);
/* Write "<path>.tmp", sync, rename, sync the folder. On failure the old file, if any, is untouched. */
LMB_MUST_CHECK lmb_status lmb_store_commit(lmb_store_writer *w, lmb_error *err);
void lmb_store_writer_destroy(lmb_store_writer *w); /* after the commit, or instead of it; NULL is a no-op */

/* ---- reading ----------------------------------------------------------------------------------- */

typedef struct lmb_store lmb_store;

/* The format is told by the file's first bytes. E_FORMAT: damaged, or no store at all. */
LMB_MUST_CHECK lmb_status lmb_store_open(const char *path, lmb_store **out, lmb_error *err);
/* Does the file begin like one of the formats, HDF5 included where it can not be read? */
bool lmb_store_is(const char *path);
void lmb_store_close(lmb_store *s); /* NULL is a no-op */

size_t lmb_store_count(const lmb_store *s);
/* Item i, in the order of writing (bundle) or of names (hdf5); borrowed from the store. */
const lmb_store_item *lmb_store_at(const lmb_store *s, size_t i);
const lmb_store_item *lmb_store_find(const lmb_store *s, const char *name); /* NULL: not there */

/* Copy a tensor's elements into `data`.
 *   errors  E_FORMAT when it is not there or no tensor; E_SHAPE unless dtype and shape are as expected */
LMB_MUST_CHECK lmb_status lmb_store_get_tensor(const lmb_store *s, const char *name, lmb_dtype dtype,
                                               const lmb_shape *shape, void *data, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_store_get_text(const lmb_store *s, const char *name, const char **out, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_store_get_int(const lmb_store *s, const char *name, int64_t *out, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_store_get_real(const lmb_store *s, const char *name, double *out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
