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
    LMB_INT(config, classes, 10, 2, 256, "", "number of classes"), LMB_FIELD_END
};

static uint32_t be32(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

static const char *const files[2][2] = { { "train-images-idx3-ubyte", "train-labels-idx1-ubyte" },
                                         { "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" } };

static lmb_status read_idx(const char *dir, const char *name, int dims, uint8_t **data, uint32_t size[3], lmb_error *err)
{
    char path[1024];
    void *bytes;
    size_t n, want = 1, header = 4 + 4 * (size_t)dims;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!lmb_file_exists(path))
        snprintf(path, sizeof path, "%s/%s.gz", dir, name);
    if (!lmb_file_exists(path))
        return LMB_FAIL(err, LMB_E_IO, "%s: there is no %s(.gz) here; install the Debian package dataset-fashion-mnist "
                        "or set the data set's path", dir, name);
    LMB_TRY(lmb_file_read_gz(path, (size_t)1 << 31, &bytes, &n, err));
    const uint8_t *p = bytes;
    lmb_status st = LMB_OK;
    if (n < header || be32(p) != 0x800u + (uint32_t)dims) {
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s: not an IDX file of bytes in %d dimensions (it starts %02x%02x%02x%02x)", path,
                      dims, n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, n > 3 ? p[3] : 0);
    } else {
        for (int i = 0; i < dims; i++) {
            size[i] = be32(p + 4 + 4 * i);
            want = size[i] && want > ((size_t)1 << 31) / size[i] ? SIZE_MAX / 2 : want * size[i];
        }
        if (want != n - header)
            st = LMB_FAIL(err, LMB_E_FORMAT, "%s: %zu bytes of data, its header promises %zu; fetch the file again", path,
                          n - header, want);
    }
    if (st == LMB_OK) {
        memmove(bytes, p + header, want);
        *data = bytes;
    } else {
        free(bytes);
    }
    return st;
}

static lmb_status open_idx(const void *c, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    const config *o = c;
    uint8_t *pixels = NULL, *labels = NULL;
    uint32_t image[3] = { 0 }, label[3] = { 0 };

    LMB_TRY(read_idx(o->path, files[part][0], 3, &pixels, image, err));
    lmb_status st = read_idx(o->path, files[part][1], 1, &labels, label, err);
    if (st != LMB_OK) {
        free(pixels);
        return st;
    }
    if (image[0] != label[0]) {
        free(pixels);
        free(labels);
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: %u images, but %u labels", o->path, image[0], label[0]);
    }
    return lmb_dataset_memory(pixels, labels, image[0], LMB_SHAPE(1, image[1], image[2]), (int)o->classes, out, err);
}

const lmb_dataset_format lmb_dataset_idx = {
    .name = "idx", .summary = "MNIST, Fashion-MNIST and others in IDX files", .source = "LeCun et al. 1998",
    .fields = fields, .config_size = sizeof(config), .open = open_idx,
};
