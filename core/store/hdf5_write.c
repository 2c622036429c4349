/* core/store/hdf5_write.c - a list of items into an HDF5 file. See hdf5.c for the layout. */
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/store/hdf5.h"

/* A scalar attribute. False: HDF5 knows why. */
static bool put_attribute(hid_t at, const char *name, hid_t type, const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t a = space < 0 ? space : H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = a >= 0 && H5Awrite(a, type, value) >= 0;

    if (a >= 0)
        ok &= H5Aclose(a) >= 0;
    if (space >= 0)
        H5Sclose(space);
    return ok;
}

static hid_t text_type(size_t bytes)
{
    hid_t t = H5Tcopy(H5T_C_S1);
    if (t >= 0 && (H5Tset_size(t, bytes) < 0 || H5Tset_cset(t, H5T_CSET_UTF8) < 0)) {
        H5Tclose(t);
        return H5I_INVALID_HID;
    }
    return t;
}

static bool put_dataset(hid_t file, const lmb_store_item *it, hid_t type, hid_t space, const void *data)
{
    hid_t links = H5Pcreate(H5P_LINK_CREATE), how = H5Pcreate(H5P_DATASET_CREATE), set = H5I_INVALID_HID;
    /* Without time stamps the same content gives the same bytes. */
    bool ok = links >= 0 && how >= 0 && H5Pset_create_intermediate_group(links, 1) >= 0 &&
              H5Pset_obj_track_times(how, 0) >= 0 && H5Pset_fill_time(how, H5D_FILL_TIME_NEVER) >= 0;

    if (ok)
        set = H5Dcreate2(file, it->name, type, space, links, how, H5P_DEFAULT);
    ok = set >= 0 && (!data || H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    if (ok && it->kind == LMB_STORE_TENSOR && lmbi_h5_needs_name(it->dtype)) {
        const char *name = lmb_dtype_name(it->dtype);
        hid_t t = text_type(strlen(name) + 1);
        ok = t >= 0 && put_attribute(set, "dtype", t, name);
        if (t >= 0)
            H5Tclose(t);
    }
    if (set >= 0)
        ok &= H5Dclose(set) >= 0;
    if (links >= 0)
        H5Pclose(links);
    if (how >= 0)
        H5Pclose(how);
    return ok;
}

static bool put_tensor(hid_t file, const lmb_store_item *it)
{
    hsize_t d[LMB_MAX_DIMS];
    hid_t space;
    bool ok;

    for (int i = 0; i < it->shape.n; i++)
        d[i] = (hsize_t)it->shape.d[i];
    space = it->shape.n ? H5Screate_simple(it->shape.n, d, NULL) : H5Screate(H5S_SCALAR);
    if (space < 0)
        return false;
    ok = put_dataset(file, it, lmbi_h5_type(it->dtype), space, lmb_shape_count(&it->shape) ? it->data : NULL);
    H5Sclose(space);
    return ok;
}

static bool put_text(hid_t file, const lmb_store_item *it)
{
    hid_t type = text_type(strlen(it->text) + 1), space = H5Screate(H5S_SCALAR);
    bool ok = type >= 0 && space >= 0 && put_dataset(file, it, type, space, it->text);

    if (type >= 0)
        H5Tclose(type);
    if (space >= 0)
        H5Sclose(space);
    return ok;
}

static bool put_item(hid_t file, const lmb_store_item *it)
{
    switch (it->kind) {
    case LMB_STORE_TENSOR: return put_tensor(file, it);
    case LMB_STORE_TEXT: return put_text(file, it);
    case LMB_STORE_INT: return put_attribute(file, it->name, H5T_STD_I64LE, &it->integer);
    case LMB_STORE_REAL: return put_attribute(file, it->name, H5T_IEEE_F64LE, &it->real);
    }
    return false;
}

static lmb_status write_items(hid_t file, const lmb_store_item *const *sorted, size_t n, lmb_error *err)
{
    const int64_t version = LMBI_H5_FORMAT;

    for (size_t i = 0; i < n; i++)
        if (!put_item(file, sorted[i]))
            return lmbi_h5_fail(err, LMB_E_IO, "write", sorted[i]->name);
    if (!put_attribute(file, "limbeck.format", H5T_STD_I64LE, &version))
        return lmbi_h5_fail(err, LMB_E_IO, "write", "limbeck.format");
    return LMB_OK;
}

/* The file is made in memory and its image written by us: an HDF5 file whose write failed (a full disk) can not be
 * closed, and HDF5 1.10 crashes when it tries again at the end of the process. */
static lmb_status make_image(const lmbi_items *items, const lmb_store_item *const *sorted, unsigned char **image,
                             size_t *n, lmb_error *err)
{
    hid_t memory = H5Pcreate(H5P_FILE_ACCESS);
    hid_t file = memory >= 0 && H5Pset_fapl_core(memory, 1 << 16, 0) >= 0
                     ? H5Fcreate("image", H5F_ACC_TRUNC, H5P_DEFAULT, memory) : H5I_INVALID_HID;
    lmb_status st =
        file < 0 ? lmbi_h5_fail(err, LMB_E_IO, "create", "image") : write_items(file, sorted, items->n, err);
    ssize_t bytes = st == LMB_OK && H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0 ? H5Fget_file_image(file, NULL, 0) : -1;

    if (st == LMB_OK && bytes < 0)
        st = lmbi_h5_fail(err, LMB_E_IO, "finish", "image");
    if (st == LMB_OK) {
        *image = malloc((size_t)bytes + LMBI_H5_SEAL);
        *n = (size_t)bytes;
        if (!*image)
            st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for an HDF5 file of %zd bytes", bytes);
        else if (H5Fget_file_image(file, *image, (size_t)bytes) != bytes)
            st = lmbi_h5_fail(err, LMB_E_IO, "copy", "image");
    }
    if (file >= 0)
        H5Fclose(file);
    if (memory >= 0)
        H5Pclose(memory);
    return st;
}

lmb_status lmbi_h5_write(const lmbi_items *items, const lmb_store_item *const *sorted, const char *tmp, lmb_error *err)
{
    lmbi_h5_quiet q = lmbi_h5_silence();
    unsigned char *image = NULL;
    size_t n = 0;
    lmb_status st = make_image(items, sorted, &image, &n, err);

    lmbi_h5_restore(q);
    if (st == LMB_OK) {
        lmbi_h5_seal(image, n);
        st = lmb_file_write(tmp, image, n + LMBI_H5_SEAL, err);
    }
    free(image);
    return st;
}
