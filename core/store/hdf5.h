/* core/store/hdf5.h - what the two halves of the HDF5 format share (core/store/hdf5.c describes the layout). */
#ifndef LMB_CORE_STORE_HDF5_H
#define LMB_CORE_STORE_HDF5_H

#define H5_USE_110_API 1
#include <hdf5.h>

#include "core/store/format.h"

enum { LMBI_H5_FORMAT = 1, LMBI_H5_SEAL = 64 };

/* HDF5 prints its error stack unless told otherwise: call at every entry, restore at every exit. */
typedef struct lmbi_h5_quiet { H5E_auto2_t fn; void *ctx; } lmbi_h5_quiet;
lmbi_h5_quiet lmbi_h5_silence(void);
void lmbi_h5_restore(lmbi_h5_quiet q);
/* One sentence out of the error stack. */
lmb_status lmbi_h5_fail(lmb_error *err, lmb_status st, const char *verb, const char *name);

hid_t lmbi_h5_type(lmb_dtype t);
bool lmbi_h5_needs_name(lmb_dtype t); /* types that HDF5 does not have */
/* The seal: hash the n bytes of a file's image and put the trailer into the LMBI_H5_SEAL bytes behind them; or
 * check that the file at `path` has one that is right. */
void lmbi_h5_seal(unsigned char *image, size_t n);
lmb_status lmbi_h5_check_seal(const char *path, lmb_error *err);

lmb_status lmbi_h5_write(const lmbi_items *items, const lmb_store_item *const *sorted, const char *tmp, lmb_error *err);
lmb_status lmbi_h5_open(const char *path, lmb_store **out, lmb_error *err);
lmb_status lmbi_h5_fetch(void *state, const lmb_store_item *it, void *data, lmb_error *err);
void lmbi_h5_close(void *state);

#endif
