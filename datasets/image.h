/* datasets/image.h - a picture file as the u8 [C, H, W] a network starts from.
 *
 * Idea: decode (PNG, JPEG: told apart by their first bytes), then cut the largest centred window that has the wanted
 * proportions and scale it. The filter is a triangle as wide as one output pixel (bilinear when enlarging, an average
 * when shrinking), so that shrinking does not alias.
 *
 *   limits   files up to 256 MiB, pictures up to 16384 x 16384 and 64 million pixels
 *   threads  safe; no shared state
 *   note     transparent parts of a PNG become black; grey is made of colour by the decoding library
 */
#ifndef LMB_DATASETS_IMAGE_H
#define LMB_DATASETS_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_IMAGE_MAX_SIDE = 16384, LMB_IMAGE_MAX_PIXELS = 64 << 20, LMB_IMAGE_MAX_BYTES = 256 << 20 };

typedef struct lmb_image {
    int channels, height, width;
    uint8_t *pixels; /* [height, width, channels], malloc'd */
} lmb_image;

/* Read `path` into out [channels, height, width], caller storage; channels is 1 or 3.
 *   errors  E_IO no such file; E_FORMAT no picture or a damaged one; E_UNSUPPORTED built without its library */
LMB_MUST_CHECK lmb_status lmb_image_load(const char *path, int channels, int height, int width, uint8_t *out,
                                         lmb_error *err);
/* The same in two steps. A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size where that still leaves at least
 * least_height x least_width (0, 0: full size). The caller frees out->pixels; `name` is for messages. */
LMB_MUST_CHECK lmb_status lmb_image_decode(const void *bytes, size_t n, const char *name, int channels,
                                           int least_height, int least_width, lmb_image *out, lmb_error *err);
/* As a PNG file. errors  E_UNSUPPORTED built without its library */
LMB_MUST_CHECK lmb_status lmb_image_save(const char *path, const lmb_image *image, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_image_fit(const lmb_image *in, int height, int width, uint8_t *out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
