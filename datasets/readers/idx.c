/* datasets/readers/idx.c - the IDX files of MNIST and its relatives, plain or gzip'd.
 *
 *   images  0x00000803, n, rows, columns (big-endian u32), then n * rows * columns bytes
 *   labels  0x00000801, n, then n bytes
 *   source  LeCun, Cortes, Burges: the MNIST database, "file formats"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "datasets/dataset.h"

typedef struct config { const char *path; int64_t classes; } config;
static const lmb_field fields[] = {
    LMB_TEXT(config, path, "/usr/share/datasets/fashion-mnist", "folder with the four files, .gz or unpacked"),
    LMB_INT(config, classes, 10, 2, 256, "", "number of classes"),
    LMB_FIELD_END
};

static const size_t limit = (size_t)1 << 31; /* bytes of one unpacked file; MNIST has 47 million */
static const char *const files[2][2] = { { "train-images-idx3-ubyte", "train-labels-idx1-ubyte" },
                                         { "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" } };

typedef struct idx {
    char path[1024];
    void *bytes; /* the whole file */
    size_t header;
    uint32_t size[3];
} idx;

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static lmb_status find(const char *dir, const char *name, idx *f, lmb_error *err)
{
    char gz[64];

    snprintf(gz, sizeof gz, "%s.gz", name);
    LMB_TRY(lmb_path_join(f->path, sizeof f->path, dir, name, err));
    if (!lmb_file_exists(f->path))
        LMB_TRY(lmb_path_join(f->path, sizeof f->path, dir, gz, err));
    if (!lmb_file_exists(f->path))
        return LMB_FAIL(err, LMB_E_IO, "%s: there is no %s or %s here; set the data set's path, or install the Debian "
                        "package dataset-fashion-mnist", dir, name, gz);
    return LMB_OK;
}

static lmb_status check_header(idx *f, size_t n, int dims, lmb_error *err)
{
    const uint8_t *p = f->bytes; /* n is 0: one NUL byte is there */
    size_t want = 1;

    f->header = 4 + 4 * (size_t)dims;
    if (n < f->header || be32(p) != 0x800u + (uint32_t)dims)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: not an IDX file of bytes in %d dimension%s (it has %zu bytes and "
                        "starts with %02x, not with 0000080%d); fetch the file again", f->path, dims,
                        dims > 1 ? "s" : "", n, p[0], dims);
    for (int i = 0; i < dims; i++) {
        f->size[i] = be32(p + 4 + 4 * i);
        if (f->size[i] == 0 || want > limit / f->size[i])
            return LMB_FAIL(err, LMB_E_FORMAT, "%s: its header says %u in dimension %d; the data must have 1 to %zu "
                            "bytes", f->path, f->size[i], i, limit);
        want *= f->size[i];
    }
    if (want != n - f->header)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: %zu bytes of data, its header promises %zu; fetch the file again",
                        f->path, n - f->header, want);
    return LMB_OK;
}

static lmb_status read_idx(const char *dir, const char *name, int dims, idx *f, lmb_error *err)
{
    size_t n;

    LMB_TRY(find(dir, name, f, err));
    LMB_TRY(lmb_file_read_gz(f->path, limit, &f->bytes, &n, err));
    lmb_status st = check_header(f, n, dims, err);
    if (st != LMB_OK)
        free(f->bytes);
    return st;
}

static lmb_status open_idx(const void *c, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    const config *o = c;
    idx image, label;

    LMB_TRY(read_idx(o->path, files[part][0], 3, &image, err));
    lmb_status st = read_idx(o->path, files[part][1], 1, &label, err);
    if (st != LMB_OK) {
        free(image.bytes);
        return st;
    }
    uint32_t n = image.size[0];
    int32_t *labels = n == label.size[0] ? malloc(sizeof *labels * n) : NULL;
    if (n != label.size[0])
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s: %u images, but %s has %u labels", image.path, n, label.path,
                      label.size[0]);
    else if (!labels)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for %u labels", n);
    for (uint32_t i = 0; i < n && st == LMB_OK; i++)
        labels[i] = ((const uint8_t *)label.bytes)[label.header + i];
    free(label.bytes);
    if (st != LMB_OK) {
        free(image.bytes);
        return st;
    }
    const lmb_dataset_arrays a = { .samples = image.bytes,
                                   .offset = image.header,
                                   .labels = labels,
                                   .n = n,
                                   .dtype = LMB_U8,
                                   .shape = LMB_SHAPE(1, image.size[1], image.size[2]),
                                   .classes = (int)o->classes };
    return lmb_dataset_memory(&a, label.path, out, err);
}

const lmb_dataset_format lmb_dataset_idx = {
    .name = "idx",
    .summary = "MNIST, Fashion-MNIST and others in IDX files",
    .source = "LeCun, Cortes, Burges: the MNIST database",
    .fields = fields,
    .config_size = sizeof(config),
    .open = open_idx,
};
