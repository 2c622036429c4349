/* datasets/image_no_jpeg.c - stands in for image_jpeg.c in a build without libjpeg. */
#include "datasets/image_decode.h"

lmb_status lmbi_jpeg_decode(const void *bytes, size_t n, const char *name, int channels, int least_height,
                            int least_width, lmb_image *out, lmb_error *err)
{
    (void)bytes, (void)n, (void)channels, (void)least_height, (void)least_width, (void)out;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s: built without JPEG; install libjpeg-dev and build again, or convert "
                    "it to PNG", name);
}
