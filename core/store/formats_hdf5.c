/* core/store/formats_hdf5.c - the store formats of a build with HDF5. */
#include "core/store/format.h"

const lmb_store_format *const lmbi_store_formats[] = { &lmb_store_bundle, &lmb_store_hdf5, NULL };
