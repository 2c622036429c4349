/* datasets/image_decode.h - what a picture decoder is; one file a library, one that declines where it is absent. */
#ifndef LMB_DATASETS_IMAGE_DECODE_H
#define LMB_DATASETS_IMAGE_DECODE_H

#include "datasets/image.h"

/* Arguments as in lmb_image_decode. */
typedef lmb_status lmbi_decode(const void *bytes, size_t n, const char *name, int channels, int least_height,
                               int least_width, lmb_image *out, lmb_error *err);
lmbi_decode lmbi_png_decode, lmbi_jpeg_decode;

/* Check the size in a header against the limits and allocate the pixels. */
LMB_MUST_CHECK lmb_status lmbi_image_allocate(uint64_t height, uint64_t width, int channels, const char *name,
                                              lmb_image *out, lmb_error *err);

#endif
