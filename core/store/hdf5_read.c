/* core/store/hdf5_read.c - an HDF5 file into a list of items, once its seal is checked. See hdf5.c for the layout. */
#include <stdlib.h>
#include <string.h>

#include "core/store/hdf5.h"

typedef struct reader {
    hid_t file;
    lmbi_items items;
    int64_t format;    /* 0 until its attribute is seen */
    lmb_status status; /* of a callback that stopped an iteration */
    lmb_error *err;
} reader;

static lmb_status foreign(lmb_error *err, const char *name, const char *what)
{
    return LMB_FAIL(err, LMB_E_FORMAT, "not a Limbeck checkpoint: '%.200s' %s", name, what);
}

static bool read_type_name(hid_t set, char name[8])
{
    hid_t a = H5Aopen(set, "dtype", H5P_DEFAULT), t = a < 0 ? a : H5Aget_type(a);
    bool ok = t >= 0 && H5Tget_class(t) == H5T_STRING && H5Tis_variable_str(t) == 0 && H5Tget_size(t) <= 7;

    memset(name, 0, 8);
    ok = ok && H5Aread(a, t, name) >= 0;
    if (t >= 0)
        H5Tclose(t);
    if (a >= 0)
        H5Aclose(a);
    return ok;
}

/* The element type that `type` is in a file, for a data set `set` that may name another of the same bytes. */
static bool read_dtype(hid_t set, hid_t type, lmb_dtype *out)
{
    char name[8] = "";
    bool named = H5Aexists(set, "dtype") > 0;

    if (named && !read_type_name(set, name))
        return false;
    for (int i = 0; i < LMB_DTYPE_COUNT; i++) {
        lmb_dtype t = (lmb_dtype)i;
        if (lmbi_h5_needs_name(t) == named && (!named || !strcmp(name, lmb_dtype_name(t))) &&
            H5Tequal(type, lmbi_h5_type(t)) > 0) {
            *out = t;
            return true;
        }
    }
    return false;
}

static bool read_shape(hid_t set, lmb_shape *out)
{
    hsize_t d[H5S_MAX_RANK];
    hid_t space = H5Dget_space(set);
    int n = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    bool ok = n >= 0 && n <= LMB_MAX_DIMS && H5Sget_simple_extent_type(space) != H5S_NULL &&
              H5Sget_simple_extent_dims(space, d, NULL) == n;

    memset(out, 0, sizeof *out);
    out->n = ok ? n : 0;
    for (int i = 0; i < out->n; i++) {
        out->d[i] = d[i] > INT32_MAX ? -1 : (int64_t)d[i];
        ok &= out->d[i] >= 0;
    }
    if (space >= 0)
        H5Sclose(space);
    return ok;
}

/* A text lies whole in the file: its size is bounded by what is stored. */
static lmb_status add_text(reader *r, const char *name, hid_t set, hid_t type)
{
    size_t n = H5Tget_size(type);
    lmb_store_item it = { .kind = LMB_STORE_TEXT, .name = name };
    char *text;
    lmb_status st;

    if (H5Tis_variable_str(type) != 0 || H5Dget_storage_size(set) != n)
        return foreign(r->err, name, "is a text of variable length");
    text = calloc(1, n + 1);
    if (!text)
        return LMB_FAIL(r->err, LMB_E_NOMEM, "out of memory for '%s'", name);
    it.text = text;
    if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text) < 0)
        st = lmbi_h5_fail(r->err, LMB_E_FORMAT, "read", name);
    else
        st = lmbi_items_add(&r->items, &it, r->err);
    free(text);
    return st;
}

static lmb_status add_tensor(reader *r, const char *name, hid_t set, hid_t type)
{
    lmb_store_item it = { .kind = LMB_STORE_TENSOR, .name = name };

    if (!read_dtype(set, type, &it.dtype))
        return foreign(r->err, name, "has an element type that this program does not write");
    if (!read_shape(set, &it.shape) || lmb_shape_check(&it.shape, it.dtype, NULL) != LMB_OK)
        return foreign(r->err, name, "has an impossible shape");
    if (H5Dget_storage_size(set) != lmb_shape_bytes(&it.shape, it.dtype))
        return foreign(r->err, name, "is not stored contiguously, or not completely");
    return lmbi_items_add(&r->items, &it, r->err);
}

static lmb_status add_dataset(reader *r, const char *name, hid_t set)
{
    hid_t type = H5Dget_type(set);
    lmb_status st;

    if (type < 0)
        return lmbi_h5_fail(r->err, LMB_E_FORMAT, "read", name);
    if (H5Tget_class(type) == H5T_STRING)
        st = add_text(r, name, set, type);
    else
        st = add_tensor(r, name, set, type);
    H5Tclose(type);
    return st;
}

static herr_t on_link(hid_t group, const char *name, const H5L_info_t *info, void *ctx)
{
    reader *r = ctx;
    hid_t o;

    if (info->type != H5L_TYPE_HARD) {
        r->status = foreign(r->err, name, "is a link to somewhere else");
        return -1;
    }
    o = H5Oopen(group, name, H5P_DEFAULT);
    if (o < 0)
        r->status = lmbi_h5_fail(r->err, LMB_E_FORMAT, "read", name);
    else if (H5Iget_type(o) == H5I_DATASET)
        r->status = add_dataset(r, name, o);
    else if (H5Iget_type(o) != H5I_GROUP)
        r->status = foreign(r->err, name, "is neither a group nor a data set");
    if (o >= 0)
        H5Oclose(o);
    return r->status == LMB_OK ? 0 : -1;
}

static lmb_status add_number(reader *r, const char *name, hid_t a, hid_t type, hssize_t count)
{
    lmb_store_item it = { .kind = LMB_STORE_INT, .name = name };

    if (count != 1 || (H5Tequal(type, H5T_STD_I64LE) <= 0 && H5Tequal(type, H5T_IEEE_F64LE) <= 0))
        return foreign(r->err, name, "is an attribute that this program does not write");
    if (H5Tget_class(type) == H5T_FLOAT)
        it.kind = LMB_STORE_REAL;
    if (H5Aread(a, type, it.kind == LMB_STORE_REAL ? (void *)&it.real : (void *)&it.integer) < 0)
        return lmbi_h5_fail(r->err, LMB_E_FORMAT, "read", name);
    if (!strcmp(name, "limbeck.format")) {
        r->format = it.integer;
        return LMB_OK;
    }
    return lmbi_items_add(&r->items, &it, r->err);
}

static herr_t on_attribute(hid_t file, const char *name, const H5A_info_t *info, void *ctx)
{
    reader *r = ctx;
    hid_t a = H5Aopen(file, name, H5P_DEFAULT), type = a < 0 ? a : H5Aget_type(a), space = a < 0 ? a : H5Aget_space(a);

    (void)info;
    if (type < 0 || space < 0)
        r->status = lmbi_h5_fail(r->err, LMB_E_FORMAT, "read", name);
    else
        r->status = add_number(r, name, a, type, H5Sget_simple_extent_npoints(space));
    if (space >= 0)
        H5Sclose(space);
    if (type >= 0)
        H5Tclose(type);
    if (a >= 0)
        H5Aclose(a);
    return r->status == LMB_OK ? 0 : -1;
}

static lmb_status read_tensor(hid_t file, const lmb_store_item *it, void *data, lmb_error *err)
{
    hid_t set = H5Dopen2(file, it->name, H5P_DEFAULT);
    lmb_status st = LMB_OK;

    if (set < 0 || H5Dread(set, lmbi_h5_type(it->dtype), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        st = lmbi_h5_fail(err, LMB_E_FORMAT, "read", it->name);
    if (set >= 0)
        H5Dclose(set);
    return st;
}

static lmb_status read_all(reader *r)
{
    hsize_t at = 0;

    if (H5Aiterate2(r->file, H5_INDEX_NAME, H5_ITER_NATIVE, &at, on_attribute, r) < 0 ||
        H5Lvisit(r->file, H5_INDEX_NAME, H5_ITER_NATIVE, on_link, r) < 0) {
        if (r->status != LMB_OK)
            return r->status;
        return lmbi_h5_fail(r->err, LMB_E_FORMAT, "read", "its table of contents");
    }
    if (r->format != LMBI_H5_FORMAT)
        return LMB_FAIL(r->err, LMB_E_FORMAT, "a checkpoint of format %lld; this program reads format %d",
                        (long long)r->format, LMBI_H5_FORMAT);
    return LMB_OK;
}

void lmbi_h5_close(void *state)
{
    hid_t *file = state;
    if (!file)
        return;
    H5Fclose(*file);
    free(file);
}

static lmb_status open_file(const char *path, hid_t **out, lmb_error *err)
{
    hid_t *file = malloc(sizeof *file), how = H5Pcreate(H5P_FILE_ACCESS);

    if (!file)
        return LMB_FAIL(err, LMB_E_NOMEM, "out of memory for a store");
    /* Closing the file closes whatever is still open in it. */
    if (how >= 0)
        H5Pset_fclose_degree(how, H5F_CLOSE_STRONG);
    *file = how < 0 ? how : H5Fopen(path, H5F_ACC_RDONLY, how);
    if (how >= 0)
        H5Pclose(how);
    if (*file < 0) {
        free(file);
        return lmbi_h5_fail(err, LMB_E_FORMAT, "open", path);
    }
    *out = file;
    return LMB_OK;
}

lmb_status lmbi_h5_open(const char *path, lmb_store **out, lmb_error *err)
{
    reader r = { .err = err };
    hid_t *file = NULL;
    lmbi_h5_quiet q;
    lmb_status st;

    LMB_TRY(lmbi_h5_check_seal(path, err));
    q = lmbi_h5_silence();
    st = open_file(path, &file, err);
    if (st == LMB_OK) {
        r.file = *file;
        st = lmbi_as_format(read_all(&r), err);
        if (st == LMB_OK) {
            st = lmbi_store_new(&lmb_store_hdf5, &r.items, file, out, err);
        } else {
            lmb_error_context(err, "%.200s", path);
            lmbi_items_free(&r.items);
            lmbi_h5_close(file);
        }
    }
    lmbi_h5_restore(q);
    return st;
}

lmb_status lmbi_h5_fetch(void *state, const lmb_store_item *it, void *data, lmb_error *err)
{
    lmbi_h5_quiet q = lmbi_h5_silence();
    lmb_status st = read_tensor(*(hid_t *)state, it, data, err);
    lmbi_h5_restore(q);
    return st;
}
