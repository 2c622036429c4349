/* datasets/image_png.c - PNG by libpng's simplified interface, which reports by return value and never jumps. */
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "datasets/image_decode.h"

lmb_status lmbi_png_decode(const void *bytes, size_t n, const char *name, int channels, int least_height,
                           int least_width, lmb_image *out, lmb_error *err)
{
    png_image png = { .version = PNG_IMAGE_VERSION };
    const png_color black = { 0, 0, 0 };
    lmb_image image;

    (void)least_height;
    (void)least_width;
    if (!png_image_begin_read_from_memory(&png, bytes, n))
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: a damaged PNG picture (%s)", name, png.message);
    png.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
    lmb_status st = lmbi_image_allocate(png.height, png.width, channels, name, &image, err);
    if (st != LMB_OK) {
        png_image_free(&png);
        return st;
    }
    if (!png_image_finish_read(&png, &black, image.pixels, 0, NULL)) {
        free(image.pixels);
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: a damaged PNG picture (%s)", name, png.message);
    }
    *out = image;
    return LMB_OK;
}

lmb_status lmb_image_save(const char *path, const lmb_image *image, lmb_error *err)
{
    png_image png = { .version = PNG_IMAGE_VERSION, .width = (png_uint_32)image->width,
                      .height = (png_uint_32)image->height,
                      .format = image->channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB };
    png_alloc_size_t n = PNG_IMAGE_PNG_SIZE_MAX(png);
    void *bytes = malloc(n);

    if (!bytes)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %s", path);
    lmb_status st = png_image_write_to_memory(&png, bytes, &n, 0, image->pixels, 0, NULL)
                        ? lmb_file_write(path, bytes, n, err)
                        : LMB_FAIL(err, LMB_E_ARG, "%s can not be made a PNG picture (%s)", path, png.message);
    free(bytes);
    return st;
}
