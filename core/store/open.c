/* core/store/open.c - choosing a format: by name for writing, by the first bytes for reading. See store.h. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/store/format.h"

/* Known by sight even where it cannot be read, so that the refusal says why. */
static const unsigned char hdf5_magic[8] = { 0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n' };

lmb_status lmb_store_create(const char *path, const char *format, lmb_store_writer **out, lmb_error *err)
{
    for (const lmb_store_format *const *f = lmbi_store_formats; *f; f++)
        if (!strcmp((*f)->name, format))
            return lmbi_store_writer_new(*f, path, out, err);
    if (!strcmp(format, "hdf5"))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "%s cannot be written: this build has no HDF5; use the format 'bundle', "
                        "or build with libhdf5-dev installed",
                        path);
    return LMB_FAIL(err, LMB_E_ARG, "no store format '%s'; use 'bundle' or 'hdf5'", format);
}

lmb_status lmb_store_commit(lmb_store_writer *w, lmb_error *err)
{
    const lmb_store_item **sorted = NULL;
    char tmp[PATH_MAX];
    int n = snprintf(tmp, sizeof tmp, "%s.tmp", w->path ? w->path : "");
    lmb_status st;

    if (!w->path || n < 0 || (size_t)n >= sizeof tmp)
        return LMB_FAIL(err, LMB_E_ARG, "%s", w->path ? "the path of a store is too long" : "this store has no file");
    LMB_TRY(lmbi_items_sort(&w->items, &sorted, err));
    st = w->format->write(&w->items, sorted, tmp, err);
    free(sorted);
    if (st != LMB_OK) {
        unlink(tmp);
        return st;
    }
    return lmb_file_publish(tmp, w->path, err);
}

bool lmb_store_is(const char *path)
{
    unsigned char head[8] = { 0 };
    FILE *f = fopen(path, "rb");
    bool is = f && fread(head, 1, sizeof head, f) == sizeof head && memcmp(head, hdf5_magic, sizeof head) == 0;

    for (const lmb_store_format *const *p = lmbi_store_formats; f && *p; p++)
        is = is || memcmp((*p)->magic, head, sizeof head) == 0;
    if (f)
        fclose(f);
    return is;
}

lmb_status lmb_store_open(const char *path, lmb_store **out, lmb_error *err)
{
    unsigned char head[8] = { 0 };
    FILE *f = fopen(path, "rb");
    size_t n;

    if (!f)
        return LMB_FAIL(err, LMB_E_IO, "cannot open %s: %s", path, strerror(errno));
    n = fread(head, 1, sizeof head, f);
    fclose(f);
    for (const lmb_store_format *const *p = lmbi_store_formats; n == sizeof head && *p; p++)
        if (!memcmp((*p)->magic, head, sizeof head))
            return (*p)->open(path, out, err);
    if (!memcmp(head, hdf5_magic, sizeof head))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "%s is an HDF5 file, and this build has no HDF5; build with libhdf5-dev "
                        "installed",
                        path);
    return LMB_FAIL(err, LMB_E_FORMAT, "%s is neither a bundle nor an HDF5 file (or it is truncated)", path);
}
