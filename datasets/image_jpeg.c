/* datasets/image_jpeg.c - JPEG by libjpeg. The library reports errors by calling back and must not be returned to:
 * one setjmp, and everything that outlives the jump sits in one struct. A truncated file is only a warning to the
 * library, which paints the rest grey; it is an error here. */
#include <stdio.h> /* jpeglib.h needs it first */

#include <jpeglib.h>

#include <jerror.h>
#include <setjmp.h>
#include <stdlib.h>

#include "datasets/image_decode.h"

typedef struct decoder {
    struct jpeg_error_mgr errors; /* first: the library hands out a pointer to it */
    struct jpeg_decompress_struct jpeg;
    jmp_buf failed;
    lmb_image image;
    lmb_status status; /* of our own checks; LMB_OK when it was the library */
} decoder;

static void on_error(j_common_ptr jpeg) { longjmp(((decoder *)jpeg->err)->failed, 1); }

static void on_message(j_common_ptr jpeg, int level)
{
    if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF)
        on_error(jpeg);
}

static void read_picture(decoder *d, const void *bytes, size_t n, const char *name, int channels, unsigned least_height,
                         unsigned least_width, lmb_error *err)
{
    struct jpeg_decompress_struct *j = &d->jpeg;

    jpeg_create_decompress(j);
    jpeg_mem_src(j, bytes, (unsigned long)n);
    jpeg_read_header(j, TRUE);
    j->out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    j->dct_method = JDCT_ISLOW; /* the same pixels from every version of the library */
    j->scale_num = 1;
    for (j->scale_denom = 8; j->scale_denom > 1; j->scale_denom /= 2)
        if (least_height && least_width && j->image_height / j->scale_denom >= least_height &&
            j->image_width / j->scale_denom >= least_width)
            break;
    jpeg_calc_output_dimensions(j);
    d->status = lmbi_image_allocate(j->output_height, j->output_width, channels, name, &d->image, err);
    if (d->status != LMB_OK)
        return;
    jpeg_start_decompress(j);
    while (j->output_scanline < j->output_height) {
        JSAMPROW row = d->image.pixels + (size_t)j->output_scanline * j->output_width * (size_t)channels;
        jpeg_read_scanlines(j, &row, 1);
    }
    jpeg_finish_decompress(j);
}

lmb_status lmbi_jpeg_decode(const void *bytes, size_t n, const char *name, int channels, int least_height,
                            int least_width, lmb_image *out, lmb_error *err)
{
    decoder *d = calloc(1, sizeof *d);
    char why[JMSG_LENGTH_MAX];

    if (!d)
        return LMB_FAIL(err, LMB_E_NOMEM, "%s: no memory to decode a picture", name);
    d->jpeg.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = on_error;
    d->errors.emit_message = on_message;
    if (setjmp(d->failed) == 0) {
        read_picture(d, bytes, n, name, channels, (unsigned)least_height, (unsigned)least_width, err);
    } else {
        d->errors.format_message((j_common_ptr)&d->jpeg, why);
        d->status = LMB_FAIL(err, LMB_E_FORMAT, "%s: a damaged or unusual JPEG picture (%s)", name, why);
    }
    jpeg_destroy_decompress(&d->jpeg);
    lmb_status st = d->status;
    if (st == LMB_OK)
        *out = d->image;
    else
        free(d->image.pixels);
    free(d);
    return st;
}
