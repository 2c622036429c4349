/* datasets/image_no_png.c - stands in for image_png.c in a build without libpng. */
#include "datasets/image_decode.h"

lmb_status lmbi_png_decode(const void *bytes, size_t n, const char *name, int channels, int least_height,
                           int least_width, lmb_image *out, lmb_error *err)
{
    (void)bytes, (void)n, (void)channels, (void)least_height, (void)least_width, (void)out;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s: built without PNG; install libpng-dev and build again, or convert it "
                    "to JPEG", name);
}

lmb_status lmb_image_save(const char *path, const lmb_image *image, lmb_error *err)
{
    (void)image;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s: built without PNG; install libpng-dev and build again", path);
}
