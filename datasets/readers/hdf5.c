/* datasets/readers/hdf5.c - samples and labels as two arrays of an HDF5 file, for each part.
 *
 *   samples  integer bytes: u8 images [n, H, W], [n, C, H, W] or, with layout nhwc, [n, H, W, C];
 *            floating point: f32 signals [n, C, T] or images as above
 *   labels   integers [n] or [n, 1]
 *   source   HDF5 C library; the names of the arrays are options, so that files of others can be read as they are
 *   note     a part is read whole into memory; the library's own error printing is silenced around our calls
 *   threads  Debian's HDF5 is not thread-safe: do not open two such sets at once
 */
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "datasets/dataset.h"

enum { NCHW, NHWC };
static const char *const layouts[] = { "nchw", "nhwc", NULL };

typedef struct config {
    const char *path, *train_samples, *train_labels, *test_samples, *test_labels;
    int64_t classes, layout;
} config;
static const lmb_field fields[] = {
    LMB_TEXT(config, path, "", "HDF5 file"),
    LMB_TEXT(config, train_samples, "train/images", "array of the training part's samples"),
    LMB_TEXT(config, train_labels, "train/labels", "array of the training part's labels"),
    LMB_TEXT(config, test_samples, "test/images", "array of the test part's samples"),
    LMB_TEXT(config, test_labels, "test/labels", "array of the test part's labels"),
    LMB_INT(config, classes, 10, 2, 100000, "", "number of classes"),
    LMB_CHOICE(config, layout, 0, layouts, "order of the axes of images"),
    LMB_FIELD_END
};

enum { MAX_RANK = 4 };
static const uint64_t max_bytes = (uint64_t)1 << 38; /* of one array */

/* One array of the file, open. */
typedef struct array {
    hid_t set;
    int rank;
    hsize_t d[MAX_RANK];
    uint64_t count;
    H5T_class_t kind;
    size_t bytes; /* of one number */
} array;

static lmb_status open_array(hid_t file, const config *c, const char *name, array *a, lmb_error *err)
{
    a->set = H5Dopen2(file, name, H5P_DEFAULT);
    if (a->set < 0)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: there is no array '%s' in it; name the arrays with train_samples, "
                        "train_labels, test_samples, test_labels", c->path, name);
    hid_t space = H5Dget_space(a->set), type = H5Dget_type(a->set);
    a->rank = H5Sget_simple_extent_ndims(space);
    if (a->rank >= 1 && a->rank <= MAX_RANK)
        H5Sget_simple_extent_dims(space, a->d, NULL);
    a->kind = H5Tget_class(type);
    a->bytes = H5Tget_size(type);
    H5Sclose(space);
    H5Tclose(type);
    a->count = 1;
    for (int i = 0; i < a->rank && i < MAX_RANK; i++)
        a->count = a->d[i] && a->count <= max_bytes / a->d[i] ? a->count * a->d[i] : 0;
    if (a->rank < 1 || a->rank > MAX_RANK || a->count == 0 || (a->kind != H5T_INTEGER && a->kind != H5T_FLOAT)) {
        H5Dclose(a->set);
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: array '%s' has %d dimensions and %llu numbers; it must hold integers "
                        "or floating point numbers in 1 to %d dimensions, none empty, up to %llu bytes", c->path, name,
                        a->rank, (unsigned long long)a->count, MAX_RANK, (unsigned long long)max_bytes);
    }
    return LMB_OK;
}

static lmb_status read_array(const array *a, hid_t type, size_t bytes, const config *c, const char *name, void **out,
                             lmb_error *err)
{
    void *data = malloc(a->count * bytes);

    if (!data)
        return LMB_FAIL(err, LMB_E_NOMEM, "%s: no memory for the %llu numbers of '%s'", c->path,
                        (unsigned long long)a->count, name);
    if (H5Dread(a->set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0) {
        free(data);
        return LMB_FAIL(err, LMB_E_IO, "%s: array '%s' cannot be read; the file is damaged or needs a filter that is "
                        "not installed: write it again", c->path, name);
    }
    *out = data;
    return LMB_OK;
}

static lmb_status read_labels(hid_t file, const config *c, const char *name, int32_t **out, int64_t *n, lmb_error *err)
{
    array a;

    LMB_TRY(open_array(file, c, name, &a, err));
    lmb_status st = LMB_OK;
    void *data = NULL;
    if (a.kind != H5T_INTEGER || a.count != a.d[0])
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s: labels '%s' must be integers, one a sample", c->path, name);
    else
        st = read_array(&a, H5T_NATIVE_INT32, sizeof(int32_t), c, name, &data, err); /* clips what does not fit */
    H5Dclose(a.set);
    if (st == LMB_OK) {
        *out = data;
        *n = (int64_t)a.count;
    }
    return st;
}

/* [n, H, W, C] -> [n, C, H, W], numbers of `bytes`. */
static lmb_status to_channels_first(void **data, const hsize_t d[4], size_t bytes, lmb_error *err)
{
    size_t n = d[0], pixels = d[1] * d[2], channels = d[3];
    char *in = *data, *out = malloc(n * pixels * channels * bytes);

    if (!out)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to change the order of the axes");
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < channels; c++)
            for (size_t p = 0; p < pixels; p++)
                memcpy(out + ((i * channels + c) * pixels + p) * bytes, in + ((i * pixels + p) * channels + c) * bytes,
                       bytes);
    free(in);
    *data = out;
    return LMB_OK;
}

static lmb_shape shape_of(const array *a, bool image, bool last)
{
    int64_t d[MAX_RANK];
    for (int i = 0; i < MAX_RANK; i++)
        d[i] = i < a->rank ? (int64_t)a->d[i] : 1;
    if (a->rank == 4)
        return last ? LMB_SHAPE(d[3], d[1], d[2]) : LMB_SHAPE(d[1], d[2], d[3]);
    return image ? LMB_SHAPE(1, d[1], d[2]) : LMB_SHAPE(d[1], d[2]);
}

static lmb_status read_samples(hid_t file, const config *c, const char *name, lmb_dataset_arrays *out, lmb_error *err)
{
    array a;

    LMB_TRY(open_array(file, c, name, &a, err));
    bool image = a.kind == H5T_INTEGER;
    lmb_status st = LMB_OK;
    if (image && a.bytes != 1)
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s: array '%s' holds integers of %zu bytes; images have one byte a pixel (0 "
                      "to 255)", c->path, name, a.bytes);
    else if (a.rank < 3)
        st = LMB_FAIL(err, LMB_E_FORMAT, "%s: array '%s' has %d dimensions; images have 3 or 4 and signals 3", c->path,
                      name, a.rank);
    out->dtype = image ? LMB_U8 : LMB_F32;
    size_t bytes = lmb_dtype_bytes(out->dtype);
    if (st == LMB_OK)
        st = read_array(&a, image ? H5T_NATIVE_UINT8 : H5T_NATIVE_FLOAT, bytes, c, name, &out->samples, err);
    H5Dclose(a.set);
    if (st != LMB_OK)
        return st;
    out->n = (int64_t)a.d[0];
    out->shape = shape_of(&a, image, c->layout == NHWC);
    return a.rank == 4 && c->layout == NHWC ? to_channels_first(&out->samples, a.d, bytes, err) : LMB_OK;
}

static lmb_status read_part(hid_t file, const config *c, lmb_part part, lmb_dataset_arrays *a, lmb_error *err)
{
    const char *samples = part == LMB_PART_TEST ? c->test_samples : c->train_samples;
    const char *labels = part == LMB_PART_TEST ? c->test_labels : c->train_labels;
    int64_t n;

    LMB_TRY(read_samples(file, c, samples, a, err));
    LMB_TRY(read_labels(file, c, labels, &a->labels, &n, err));
    if (n != a->n)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: '%s' has %lld samples, but '%s' %lld labels", c->path, samples,
                        (long long)a->n, labels, (long long)n);
    return LMB_OK;
}

static lmb_status open_file(const config *c, lmb_part part, lmb_dataset_arrays *a, lmb_error *err)
{
    if (!*c->path || !lmb_file_exists(c->path))
        return LMB_FAIL(err, LMB_E_IO, "%s: there is no such file; set the data set's path to an HDF5 file", c->path);
    hid_t file = H5Fopen(c->path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: not an HDF5 file, or a truncated one; write it again", c->path);
    lmb_status st = read_part(file, c, part, a, err);
    H5Fclose(file);
    return st;
}

static lmb_status open_hdf5(const void *config_, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    const config *c = config_;
    lmb_dataset_arrays a = { .classes = (int)c->classes };
    H5E_auto2_t print;
    void *print_to;

    H5Eget_auto2(H5E_DEFAULT, &print, &print_to);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    lmb_status st = open_file(c, part, &a, err);
    H5Eset_auto2(H5E_DEFAULT, print, print_to);
    if (st != LMB_OK) {
        free(a.samples);
        free(a.labels);
        return st;
    }
    return lmb_dataset_memory(&a, c->path, out, err);
}

const lmb_dataset_format lmb_dataset_hdf5 = {
    .name = "hdf5",
    .summary = "samples and labels as arrays of an HDF5 file",
    .source = "The HDF Group, HDF5 1.10",
    .fields = fields,
    .config_size = sizeof(config),
    .open = open_hdf5,
};
