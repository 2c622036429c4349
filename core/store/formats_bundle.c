/* core/store/formats_bundle.c - the store formats of a build without HDF5. */
#include "core/store/format.h"

const lmb_store_format *const lmbi_store_formats[] = { &lmb_store_bundle, NULL };
