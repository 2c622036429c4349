/* tests/datasets/pictures.h - write small PNG and JPEG files with the libraries themselves. */
#ifndef LMB_TESTS_DATASETS_PICTURES_H
#define LMB_TESTS_DATASETS_PICTURES_H

#include <stdio.h>

#include <jpeglib.h>
#include <png.h>

#include "tests/datasets/temp_data.h"

/* rgb: [h, w, 3] */
static inline void put_png(const char *name, int h, int w, const uint8_t *rgb)
{
    png_image png = { .version = PNG_IMAGE_VERSION, .width = (png_uint_32)w, .height = (png_uint_32)h,
                      .format = PNG_FORMAT_RGB };
    put(name, "", 0);
    ck_assert(png_image_write_to_file(&png, in_dir(name), 0, rgb, 0, NULL));
}

static inline void put_jpeg(const char *name, int h, int w, const uint8_t *rgb)
{
    struct jpeg_error_mgr errors;
    struct jpeg_compress_struct j = { .err = jpeg_std_error(&errors) };
    put(name, "", 0);
    FILE *f = fopen(in_dir(name), "wb");
    ck_assert_ptr_nonnull(f);
    jpeg_create_compress(&j);
    jpeg_stdio_dest(&j, f);
    j.image_height = (JDIMENSION)h, j.image_width = (JDIMENSION)w;
    j.input_components = 3, j.in_color_space = JCS_RGB;
    jpeg_set_defaults(&j);
    jpeg_set_quality(&j, 95, TRUE);
    jpeg_start_compress(&j, TRUE);
    for (int y = 0; y < h; y++) {
        JSAMPROW row = (JSAMPROW)(rgb + y * w * 3);
        jpeg_write_scanlines(&j, &row, 1);
    }
    jpeg_finish_compress(&j);
    jpeg_destroy_compress(&j);
    ck_assert_int_eq(fclose(f), 0);
}

#endif
