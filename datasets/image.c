/* datasets/image.c - see image.h. */
#include "datasets/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "datasets/image_decode.h"

static const struct { const char *magic; size_t n; lmbi_decode *decode; } decoders[] = {
    { "\x89PNG\r\n\x1a\n", 8, lmbi_png_decode },
    { "\xff\xd8\xff", 3, lmbi_jpeg_decode },
};

lmb_status lmbi_image_allocate(uint64_t height, uint64_t width, int channels, const char *name, lmb_image *out,
                               lmb_error *err)
{
    if (height < 1 || width < 1 || height > LMB_IMAGE_MAX_SIDE || width > LMB_IMAGE_MAX_SIDE ||
        height * width > LMB_IMAGE_MAX_PIXELS)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: a picture of %llu x %llu pixels; sides must be in [1, %d] and the "
                        "whole at most %d: make it smaller first", name, (unsigned long long)width,
                        (unsigned long long)height, LMB_IMAGE_MAX_SIDE, LMB_IMAGE_MAX_PIXELS);
    uint8_t *pixels = calloc(height * width, (size_t)channels);
    if (!pixels)
        return LMB_FAIL(err, LMB_E_NOMEM, "%s: no memory for %llu x %llu pixels", name, (unsigned long long)width,
                        (unsigned long long)height);
    *out = (lmb_image){ channels, (int)height, (int)width, pixels };
    return LMB_OK;
}

lmb_status lmb_image_decode(const void *bytes, size_t n, const char *name, int channels, int least_height,
                            int least_width, lmb_image *out, lmb_error *err)
{
    if (channels != 1 && channels != 3)
        return LMB_FAIL(err, LMB_E_ARG, "%s: a picture with %d channels; it must be 1 (grey) or 3 (colour)", name,
                        channels);
    for (size_t i = 0; i < sizeof decoders / sizeof decoders[0]; i++)
        if (n >= decoders[i].n && memcmp(bytes, decoders[i].magic, decoders[i].n) == 0)
            return decoders[i].decode(bytes, n, name, channels, least_height, least_width, out, err);
    return LMB_FAIL(err, LMB_E_FORMAT, "%s: neither a PNG nor a JPEG picture; convert it first", name);
}

lmb_status lmb_image_load(const char *path, int channels, int height, int width, uint8_t *out, lmb_error *err)
{
    lmb_image image;
    void *bytes;
    size_t n;

    LMB_TRY(lmb_file_read(path, LMB_IMAGE_MAX_BYTES, &bytes, &n, err));
    lmb_status st = lmb_image_decode(bytes, n, path, channels, height, width, &image, err);
    free(bytes);
    if (st != LMB_OK)
        return st;
    st = lmb_image_fit(&image, height, width, out, err);
    free(image.pixels);
    return st;
}

/* Weights of the input pixels [from[i], from[i] + taps) that make output pixel i along one axis. */
typedef struct filter {
    int taps;
    int *from;     /* [out]       */
    float *weight; /* [out, taps] */
} filter;

static void filter_free(filter *f)
{
    free(f->from);
    free(f->weight);
}

/* `out` pixels over the window of length out * scale in the middle of `in` pixels. */
static lmb_status filter_make(int in, int out, double scale, filter *f, lmb_error *err)
{
    double radius = scale > 1 ? scale : 1, first = (in - out * scale) / 2;

    f->taps = (int)ceil(radius) * 2 + 1;
    f->taps = f->taps > in ? in : f->taps;
    f->from = malloc(sizeof *f->from * (size_t)out);
    f->weight = malloc(sizeof *f->weight * (size_t)out * (size_t)f->taps);
    if (!f->from || !f->weight)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to scale a picture");
    for (int i = 0; i < out; i++) {
        double centre = first + (i + 0.5) * scale, sum = 0;
        int from = (int)floor(centre - radius + 0.5);
        from = from < 0 ? 0 : from > in - f->taps ? in - f->taps : from;
        float *w = f->weight + (size_t)i * (size_t)f->taps;
        for (int t = 0; t < f->taps; t++) {
            double far = fabs(from + t + 0.5 - centre) / radius;
            w[t] = far < 1 ? (float)(1 - far) : 0.0f;
            sum += w[t];
        }
        for (int t = 0; t < f->taps; t++)
            w[t] = (float)(w[t] / sum);
        f->from[i] = from;
    }
    return LMB_OK;
}

/* Along rows, for every row of the picture: in [H, W, C] -> mid [C, H, width]. */
static void filter_rows(const lmb_image *in, const filter *f, int width, float *mid)
{
    for (int c = 0; c < in->channels; c++)
        for (int y = 0; y < in->height; y++) {
            const uint8_t *row = in->pixels + (size_t)y * (size_t)in->width * (size_t)in->channels + c;
            for (int x = 0; x < width; x++) {
                const uint8_t *p = row + (size_t)f->from[x] * (size_t)in->channels;
                const float *w = f->weight + (size_t)x * (size_t)f->taps;
                float sum = 0;
                for (int t = 0; t < f->taps; t++, p += in->channels)
                    sum += w[t] * *p;
                *mid++ = sum;
            }
        }
}

/* Along columns: mid [C, H, width] -> out [C, height, width]. */
static void filter_columns(const lmb_image *in, const filter *f, int height, int width, const float *mid, uint8_t *out)
{
    for (int c = 0; c < in->channels; c++)
        for (int y = 0; y < height; y++) {
            const float *w = f->weight + (size_t)y * (size_t)f->taps;
            const float *top = mid + ((size_t)c * (size_t)in->height + (size_t)f->from[y]) * (size_t)width;
            for (int x = 0; x < width; x++) {
                float sum = 0.5f;
                for (int t = 0; t < f->taps; t++)
                    sum += w[t] * top[(size_t)t * (size_t)width + (size_t)x];
                *out++ = (uint8_t)(sum > 255 ? 255 : sum);
            }
        }
}

lmb_status lmb_image_fit(const lmb_image *in, int height, int width, uint8_t *out, lmb_error *err)
{
    if (height < 1 || width < 1 || height > LMB_IMAGE_MAX_SIDE || width > LMB_IMAGE_MAX_SIDE)
        return LMB_FAIL(err, LMB_E_ARG, "a picture cannot be scaled to %d x %d; sides must be in [1, %d]", width,
                        height, LMB_IMAGE_MAX_SIDE);
    double sy = (double)in->height / height, sx = (double)in->width / width, scale = sy < sx ? sy : sx;
    filter rows = { 0 }, columns = { 0 };
    float *mid = malloc(sizeof *mid * (size_t)in->channels * (size_t)in->height * (size_t)width);
    lmb_status st = mid ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to scale a picture");
    if (st == LMB_OK)
        st = filter_make(in->width, width, scale, &rows, err);
    if (st == LMB_OK)
        st = filter_make(in->height, height, scale, &columns, err);
    if (st == LMB_OK) {
        filter_rows(in, &rows, width, mid);
        filter_columns(in, &columns, height, width, mid, out);
    }
    filter_free(&rows);
    filter_free(&columns);
    free(mid);
    return st;
}
