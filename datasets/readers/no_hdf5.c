/* datasets/readers/no_hdf5.c - stands in for hdf5.c in a build without HDF5: the format is listed and says why not. */
#include "datasets/dataset.h"

typedef struct config { const char *path; } config;
static const lmb_field fields[] = { LMB_TEXT(config, path, "", "HDF5 file"), LMB_FIELD_END };

static lmb_status open_hdf5(const void *c, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    (void)part, (void)out;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s: built without HDF5; install libhdf5-dev and build again",
                    ((const config *)c)->path);
}

const lmb_dataset_format lmb_dataset_hdf5 = {
    .name = "hdf5",
    .summary = "arrays in an HDF5 file (not in this build)",
    .source = "The HDF Group, HDF5 1.10",
    .fields = fields,
    .config_size = sizeof(config),
    .open = open_hdf5,
};
