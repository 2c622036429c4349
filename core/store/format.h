/* core/store/format.h - what a store format has to do, for those who add one.
 *
 * A format is a const row: it writes a checked list of items into a new file, and opens a file into a list of
 * items, having verified all of it. Naming rules, lookups, type checks and atomic replacement are common
 * (core/store/store.c, core/store/open.c). A new format is its file and a line in core/store/formats*.c.
 */
#ifndef LMB_CORE_STORE_FORMAT_H
#define LMB_CORE_STORE_FORMAT_H

#include "core/store/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Items being gathered; owns the array, the names and the texts. */
typedef struct lmbi_items {
    lmb_store_item *v;
    size_t n, cap;
} lmbi_items;

/* Append a copy of `item`, its name and text copied too. E_ARG for a bad name, E_SHAPE for a bad shape. */
LMB_MUST_CHECK lmb_status lmbi_items_add(lmbi_items *items, const lmb_store_item *item, lmb_error *err);
/* Pointers to the items sorted by name, malloc'd; E_ARG for a name twice or a name that is also a folder. */
LMB_MUST_CHECK lmb_status lmbi_items_sort(const lmbi_items *items, const lmb_store_item ***sorted, lmb_error *err);
void lmbi_items_free(lmbi_items *items);
/* What is a bad argument when writing is a malformed file when reading: E_ARG and E_SHAPE become E_FORMAT. */
lmb_status lmbi_as_format(lmb_status st, lmb_error *err);

typedef struct lmb_store_format {
    const char *name, *summary;
    unsigned char magic[8]; /* the first bytes of its files */
    /* Write all of `items` (sorted[] is the same list by name) to `tmp`, which is synced and renamed later. */
    lmb_status (*write)(const lmbi_items *items, const lmb_store_item *const *sorted, const char *tmp, lmb_error *err);
    /* Open and verify; the result comes from lmbi_store_new. */
    lmb_status (*open)(const char *path, lmb_store **out, lmb_error *err);
    /* Elements of a tensor whose item has no data; NULL when items always have it. */
    lmb_status (*fetch)(void *state, const lmb_store_item *item, void *data, lmb_error *err);
    void (*close)(void *state);
} lmb_store_format;

/* A reader out of its parts. Takes over `items` and `state`, also on failure (then it closes them). */
LMB_MUST_CHECK lmb_status lmbi_store_new(const lmb_store_format *format, lmbi_items *items, void *state,
                                         lmb_store **out, lmb_error *err);

struct lmb_store_writer {
    const lmb_store_format *format; /* NULL: a bundle in memory */
    char *path;                     /* NULL with it             */
    lmbi_items items;
};
LMB_MUST_CHECK lmb_status lmbi_store_writer_new(const lmb_store_format *format, const char *path,
                                                lmb_store_writer **out, lmb_error *err);

/* Of this build, NULL-terminated. */
extern const lmb_store_format *const lmbi_store_formats[];
extern const lmb_store_format lmb_store_bundle, lmb_store_hdf5;

#ifdef __cplusplus
}
#endif
#endif
