/* datasets/readers/cifar.c - the binary version of CIFAR-10: records of one label byte and 3 x 32 x 32 pixels.
 *   source  Krizhevsky 2009, "CIFAR-10 binary version" */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "datasets/dataset.h"

typedef struct config { const char *path; } config;
static const lmb_field fields[] = {
    LMB_TEXT(config, path, "data/cifar-10-batches-bin", "folder with data_batch_1.bin .. 5 and test_batch.bin"),
    LMB_FIELD_END
};
enum { PIXELS = 3 * 32 * 32, RECORD = PIXELS + 1, PER_FILE = 10000 };

static lmb_status read_batch(const char *dir, const char *name, uint8_t *pixels, uint8_t *labels, lmb_error *err)
{
    char path[1024];
    void *bytes;
    size_t n;

    LMB_TRY(lmb_path_join(path, sizeof path, dir, name, err));
    if (!lmb_file_exists(path))
        return LMB_FAIL(err, LMB_E_IO, "%s: there is no %s here; unpack the binary version of CIFAR-10 and set the data "
                        "set's path", dir, name);
    LMB_TRY(lmb_file_read_gz(path, (size_t)1 << 28, &bytes, &n, err));
    if (n != (size_t)PER_FILE * RECORD) {
        free(bytes);
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: %zu bytes; a batch has %d", path, n, PER_FILE * RECORD);
    }
    for (int i = 0; i < PER_FILE; i++) {
        const uint8_t *r = (const uint8_t *)bytes + (size_t)i * RECORD;
        labels[i] = r[0];
        memcpy(pixels + (size_t)i * PIXELS, r + 1, PIXELS);
    }
    free(bytes);
    return LMB_OK;
}

static lmb_status open_cifar(const void *c, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    static const char *const names[] = { "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse",
                                         "ship", "truck" };
    int n = part == LMB_PART_TRAIN ? 5 : 1;
    uint8_t *pixels = malloc((size_t)n * PER_FILE * PIXELS), *labels = malloc((size_t)n * PER_FILE);
    lmb_status st = pixels && labels ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for CIFAR-10");
    char name[32];

    for (int i = 0; i < n && st == LMB_OK; i++) {
        if (part == LMB_PART_TRAIN)
            snprintf(name, sizeof name, "data_batch_%d.bin", i + 1);
        else
            snprintf(name, sizeof name, "test_batch.bin");
        st = read_batch(((const config *)c)->path, name, pixels + (size_t)i * PER_FILE * PIXELS, labels + i * PER_FILE, err);
    }
    if (st != LMB_OK) {
        free(pixels);
        free(labels);
        return st;
    }
    LMB_TRY(lmb_dataset_memory(pixels, labels, (int64_t)n * PER_FILE, LMB_SHAPE(3, 32, 32), 10, out, err));
    (*out)->class_names = names;
    return LMB_OK;
}

const lmb_dataset_format lmb_dataset_cifar = {
    .name = "cifar", .summary = "CIFAR-10, binary version", .source = "Krizhevsky 2009", .fields = fields,
    .config_size = sizeof(config), .open = open_cifar,
};
