/* datasets/image.c - see image.h. */
#include "datasets/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
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

/* Weights of the input pixels from[i] .. from[i] + taps that make output pixel i along one axis. */
typedef struct filter {
    int taps;
    int *from;     /* [out]       */
    float *weight; /* [taps, out] */
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
        for (int t = 0; t < f->taps; t++) {
            double far = fabs(from + t + 0.5 - centre) / radius;
            f->weight[(size_t)t * (size_t)out + (size_t)i] = far < 1 ? (float)(1 - far) : 0.0f;
            sum += far < 1 ? (double)(float)(1 - far) : 0;
        }
        for (int t = 0; t < f->taps; t++) {
            float *w = &f->weight[(size_t)t * (size_t)out + (size_t)i];
            *w = (float)(*w / sum);
        }
        f->from[i] = from;
    }
    return LMB_OK;
}

/* line[0 .. n) = line + w row: a row of the picture as it is, colours side by side. */
LMB_HOT static void add_row(float *LMB_RESTRICT line, const uint8_t *LMB_RESTRICT row, float w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        line[i] += w * (float)row[i];
}

/* sum[x] = sum + w[x] line[from[x] * channels]: neighbours side by side, one tap at a time. */
static void add_tap(float *LMB_RESTRICT sum, const float *LMB_RESTRICT line, const float *LMB_RESTRICT w,
                            const int *LMB_RESTRICT from, int channels, int width)
{
    for (int x = 0; x < width; x++)
        sum[x] += w[x] * line[from[x] * channels];
}

/* One output row of one colour; line: the first of its numbers. */
static void filter_line(const float *line, const filter *f, int channels, int width, float *sum, uint8_t *out)
{
    for (int x = 0; x < width; x++)
        sum[x] = 0.5f;
    for (int t = 0; t < f->taps; t++)
        add_tap(sum, line + t * channels, f->weight + (size_t)t * (size_t)width, f->from, channels, width);
    for (int x = 0; x < width; x++)
        out[x] = (uint8_t)(sum[x] > 255 ? 255 : sum[x]);
}

/* Row by row: first along columns, which makes fewer rows, then along the row. `line`: a row of the picture, `sum`: of
 * the output. */
static void fit_rows(const lmb_image *in, const filter *columns, const filter *rows, int height, int width, float *line,
                     float *sum, uint8_t *out)
{
    size_t n = (size_t)in->width * (size_t)in->channels;

    for (int y = 0; y < height; y++) {
        memset(line, 0, sizeof *line * n);
        for (int t = 0; t < columns->taps; t++)
            add_row(line, in->pixels + (size_t)(columns->from[y] + t) * n, columns->weight[t * height + y], n);
        for (int c = 0; c < in->channels; c++)
            filter_line(line + c, rows, in->channels, width, sum,
                        out + ((size_t)c * (size_t)height + (size_t)y) * (size_t)width);
    }
}

lmb_status lmb_image_fit(const lmb_image *in, int height, int width, uint8_t *out, lmb_error *err)
{
    if (height < 1 || width < 1 || height > LMB_IMAGE_MAX_SIDE || width > LMB_IMAGE_MAX_SIDE)
        return LMB_FAIL(err, LMB_E_ARG, "a picture cannot be scaled to %d x %d; sides must be in [1, %d]", width,
                        height, LMB_IMAGE_MAX_SIDE);
    double sy = (double)in->height / height, sx = (double)in->width / width, scale = sy < sx ? sy : sx;
    filter rows = { 0 }, columns = { 0 };
    float *line = malloc(sizeof *line * ((size_t)in->channels * (size_t)in->width + (size_t)width));
    lmb_status st = line ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to scale a picture");
    if (st == LMB_OK)
        st = filter_make(in->width, width, scale, &rows, err);
    if (st == LMB_OK)
        st = filter_make(in->height, height, scale, &columns, err);
    if (st == LMB_OK)
        fit_rows(in, &columns, &rows, height, width, line, line + (size_t)in->channels * (size_t)in->width, out);
    filter_free(&rows);
    filter_free(&columns);
    free(line);
    return st;
}
