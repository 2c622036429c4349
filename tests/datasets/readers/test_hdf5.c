/* Mirrors datasets/readers/hdf5.c. */
#include <hdf5.h>

#include "tests/datasets/temp_data.h"

/* One array under groups; the file is made when it is not there. */
static void put_array(const char *name, hid_t type, hid_t memory, int rank, const hsize_t *d, const void *data)
{
    char path[512];
    snprintf(path, sizeof path, "%s", in_dir("set.h5"));
    hid_t f = lmb_file_exists(path) ? H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT)
                                    : H5Fcreate(path, H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT);
    hid_t groups = H5Pcreate(H5P_LINK_CREATE), space = H5Screate_simple(rank, d, NULL);
    H5Pset_create_intermediate_group(groups, 1);
    hid_t set = H5Dcreate2(f, name, type, space, groups, H5P_DEFAULT, H5P_DEFAULT);
    ck_assert(set >= 0);
    ck_assert(H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(groups);
    H5Fclose(f);
}

static const uint8_t pixels[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
static const int32_t two[] = { 1, 0 };

static void put_labels(const char *name, hsize_t n, const int32_t *v)
{
    put_array(name, H5T_STD_I64BE, H5T_NATIVE_INT32, 1, &n, v);
}

START_TEST(images_in_three_and_four_dimensions)
{
    const hsize_t grey[] = { 2, 2, 3 }, colour[] = { 2, 1, 2, 3 };
    const uint8_t first[6] = { 1, 4, 2, 5, 3, 6 }; /* nhwc [1, 2, 3] as [3, 1, 2] */
    lmb_dataset *d;
    uint8_t x[6];
    int32_t y;
    begin();
    put_array("train/images", H5T_STD_U8LE, H5T_NATIVE_UINT8, 3, grey, pixels);
    put_labels("train/labels", 2, two);
    put_array("test/images", H5T_STD_U8LE, H5T_NATIVE_UINT8, 4, colour, pixels);
    put_labels("y", 2, two);
    ck_ok(open_from("{name: hdf5, path: %s/set.h5}", LMB_PART_TRAIN, &d));
    ck_assert_int_eq(d->n, 2);
    ck_assert_int_eq(d->shape.d[0], 1);
    ck_assert_int_eq(d->shape.d[1], 2);
    ck_assert_int_eq(d->shape.d[2], 3);
    ck_ok(d->read(d, 1, x, &y, &err));
    ck_assert_mem_eq(x, pixels + 6, 6);
    ck_assert_int_eq(y, 0);
    lmb_dataset_destroy(d);
    ck_ok(open_from("{name: hdf5, path: %s/set.h5, layout: nhwc, test_labels: y}", LMB_PART_TEST, &d));
    ck_assert_int_eq(d->shape.d[0], 3);
    ck_assert_int_eq(d->shape.d[2], 2);
    ck_ok(d->read(d, 0, x, &y, &err));
    ck_assert_mem_eq(x, first, 6);
    lmb_dataset_destroy(d);
    end();
}
END_TEST

START_TEST(signals_are_f32)
{
    const hsize_t shape[] = { 2, 3, 2 };
    const double v[12] = { 0.5, 1, 2, 3, 4, 5, 6.25, 7, 8, 9, 10, 11 };
    lmb_dataset *d;
    float x[6];
    int32_t y;
    begin();
    put_array("train/images", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 3, shape, v);
    put_labels("train/labels", 2, two);
    ck_ok(open_from("{name: hdf5, path: %s/set.h5}", LMB_PART_TRAIN, &d));
    ck_assert_int_eq(d->dtype, LMB_F32);
    ck_assert_int_eq(d->shape.n, 2);
    ck_ok(d->read(d, 1, x, &y, &err));
    ck_assert_float_eq(x[0], 6.25f);
    lmb_dataset_destroy(d);
    end();
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
    const hsize_t three[] = { 3, 2, 2 }, flat[] = { 2, 6 }, none[] = { 0, 2, 2 };
    const char *const yaml = "{name: hdf5, path: %s/set.h5}";
    const int32_t wide[3] = { 0, 10, 0 };
    begin();
    refused(yaml, LMB_PART_TRAIN, LMB_E_IO, "there is no such file");
    put_array("train/images", H5T_STD_U8LE, H5T_NATIVE_UINT8, 3, three, pixels);
    refused(yaml, LMB_PART_TRAIN, LMB_E_FORMAT, "there is no array 'train/labels'");
    put_labels("train/labels", 2, two);
    refused(yaml, LMB_PART_TRAIN, LMB_E_FORMAT, "has 3 samples, but 'train/labels' 2 labels");
    put_labels("wide", 3, wide);
    refused("{name: hdf5, path: %s/set.h5, train_labels: wide}", LMB_PART_TRAIN, LMB_E_FORMAT, "sample 1 has label 10");
    put_array("flat", H5T_STD_U8LE, H5T_NATIVE_UINT8, 2, flat, pixels);
    refused("{name: hdf5, path: %s/set.h5, train_samples: flat}", LMB_PART_TRAIN, LMB_E_FORMAT, "has 2 dimensions");
    refused("{name: hdf5, path: %s/set.h5, train_samples: wide}", LMB_PART_TRAIN, LMB_E_FORMAT, "integers of 8 bytes");
    put_array("none", H5T_STD_U8LE, H5T_NATIVE_UINT8, 3, none, pixels);
    refused("{name: hdf5, path: %s/set.h5, train_samples: none}", LMB_PART_TRAIN, LMB_E_FORMAT, "none empty");
    ck_assert_int_eq(truncate(in_dir("set.h5"), 900), 0);
    refused(yaml, LMB_PART_TRAIN, LMB_E_FORMAT, "not an HDF5 file, or a truncated one");
    put("set.h5", "no", 2);
    refused(yaml, LMB_PART_TRAIN, LMB_E_FORMAT, "not an HDF5 file");
    end();
}
END_TEST

LMB_TEST_MAIN("datasets/readers/hdf5", add(images_in_three_and_four_dimensions); add(signals_are_f32);
              add(what_does_not_fit_is_refused);)
