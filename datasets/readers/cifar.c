/* datasets/readers/cifar.c - the binary version of CIFAR-10: files of 10,000 records, each one label byte and
 * 3 x 32 x 32 pixels (red, green, blue planes, rows from the top).
 *
 *   source  Krizhevsky 2009, Learning multiple layers of features from tiny images; "CIFAR-10 binary version"
 */
#include <stdlib.h>

#include "core/base/file.h"
#include "datasets/dataset.h"

typedef struct config { const char *path; } config;
static const lmb_field fields[] = {
    LMB_TEXT(config, path, "data/cifar-10-batches-bin", "folder with data_batch_1.bin .. 5 and test_batch.bin"),
    LMB_FIELD_END
};

enum { RECORD = 1 + 3 * 32 * 32, PER_FILE = 10000 };
static const char *const class_names[] = { "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse",
                                           "ship", "truck" };
static const char *const files[2][6] = {
    { "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin", NULL },
    { "test_batch.bin", NULL }
};

static lmb_status read_batch(const char *dir, const char *name, uint8_t *records, int32_t *labels, lmb_error *err)
{
    char path[1024];

    LMB_TRY(lmb_path_join(path, sizeof path, dir, name, err));
    if (!lmb_file_exists(path))
        return LMB_FAIL(err, LMB_E_IO, "%s: there is no %s here; unpack the binary version of CIFAR-10 and set the "
                        "data set's path to its folder", dir, name);
    lmb_status st = lmb_file_read_exactly(path, records, (size_t)PER_FILE * RECORD, err);
    if (st == LMB_E_FORMAT)
        return lmb_error_context(err, "a batch of CIFAR-10 is not whole, fetch it again");
    LMB_TRY(st);
    for (int i = 0; i < PER_FILE; i++)
        labels[i] = records[(size_t)i * RECORD];
    return LMB_OK;
}

static lmb_status open_cifar(const void *c, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    const char *dir = ((const config *)c)->path;
    size_t n = part == LMB_PART_TRAIN ? 5 * PER_FILE : PER_FILE;
    uint8_t *records = lmb_dataset_room(n * RECORD); /* as they are in the files: nothing is copied twice */
    int32_t *labels = malloc(n * sizeof *labels);
    lmb_status st = records && labels ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu images of CIFAR-10", n);

    for (size_t i = 0; files[part][i] && st == LMB_OK; i++)
        st = read_batch(dir, files[part][i], records + i * PER_FILE * RECORD, labels + i * PER_FILE, err);
    if (st != LMB_OK) {
        free(records);
        free(labels);
        return st;
    }
    const lmb_dataset_arrays a = { .samples = records, .offset = 1, .stride = RECORD, .labels = labels, .n = (int64_t)n, .shape = LMB_SHAPE(3, 32, 32),
                                   .dtype = LMB_U8, .classes = 10, .class_names = class_names };
    return lmb_dataset_memory(&a, dir, out, err);
}

const lmb_dataset_format lmb_dataset_cifar = {
    .name = "cifar",
    .summary = "CIFAR-10, binary version",
    .source = "Krizhevsky 2009",
    .fields = fields,
    .config_size = sizeof(config),
    .open = open_cifar,
};
