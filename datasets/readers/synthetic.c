/* datasets/readers/synthetic.c - made-up images, for tests, examples and trying a set-up without data.
 *
 * Each class is a fixed random pattern; a sample is its pattern, shifted and mixed with noise. Everything is a
 * function of (seed, class) and (seed, index), so any number of samples needs no memory. */
#include <stdlib.h>

#include "core/base/random.h"
#include "datasets/dataset.h"

typedef struct config { int64_t seed, classes, channels, height, width, train, test; double noise; } config;
static const lmb_field fields[] = {
    LMB_INT(config, seed, 1, 0, 1e15, "", "of patterns and noise"), LMB_INT(config, classes, 10, 2, 256, "", "number of classes"),
    LMB_INT(config, channels, 1, 1, 16, "", "colours"), LMB_INT(config, height, 28, 1, 512, "pixels", "of an image"),
    LMB_INT(config, width, 28, 1, 512, "pixels", "of an image"),
    LMB_INT(config, train, 2000, 1, 1e8, "samples", "in the training part"),
    LMB_INT(config, test, 500, 1, 1e8, "samples", "in the test part"),
    LMB_REAL(config, noise, 0.5, 0, 1, "", "share of noise in a sample"), LMB_FIELD_END
};
typedef struct state { config c; uint64_t offset; } state;

static lmb_status read_sample(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    const state *s = d->state;
    const config *c = &s->c;
    uint8_t *out = sample;

    if (index < 0 || index >= d->n)
        return LMB_FAIL(err, LMB_E_ARG, "sample %lld of %lld", (long long)index, (long long)d->n);
    lmb_rand r = lmb_rand_at((uint64_t)c->seed, LMB_RAND_SYNTHETIC, 1, s->offset + (uint64_t)index);
    uint32_t k = lmb_rand_below(&r, 0, (uint32_t)c->classes), dy = lmb_rand_below(&r, 1, 3), dx = lmb_rand_below(&r, 2, 3);
    lmb_rand p = lmb_rand_at((uint64_t)c->seed, LMB_RAND_SYNTHETIC, 0, k);
    uint32_t e = 3;
    for (int64_t ch = 0; ch < c->channels; ch++)
        for (int64_t y = 0; y < c->height; y++)
            for (int64_t x = 0; x < c->width; x++, e++) {
                int64_t cell = (ch * 64 + (y + dy) / 4) * 128 + (x + dx) / 4; /* patterns of 4 x 4 patches */
                double v = (1 - c->noise) * lmb_rand_uniform(&p, (uint32_t)cell) + c->noise * lmb_rand_uniform(&r, e);
                *out++ = (uint8_t)(255 * v);
            }
    *label = (int32_t)k;
    return LMB_OK;
}

static void destroy(lmb_dataset *d) { free(d->state); }

static lmb_status open_synthetic(const void *c, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    lmb_dataset *d = calloc(1, sizeof *d);
    state *s = calloc(1, sizeof *s);

    if (!d || !s) {
        free(d);
        free(s);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a data set");
    }
    *s = (state){ *(const config *)c, part == LMB_PART_TEST ? 1ull << 40 : 0 };
    *d = (lmb_dataset){ .n = part == LMB_PART_TEST ? s->c.test : s->c.train, .shape = LMB_SHAPE(s->c.channels, s->c.height, s->c.width),
                        .dtype = LMB_U8, .classes = (int)s->c.classes, .hash = lmb_hash_of(s, sizeof *s),
                        .read = read_sample, .destroy = destroy, .state = s };
    *out = d;
    return LMB_OK;
}

const lmb_dataset_format lmb_dataset_synthetic = {
    .name = "synthetic", .summary = "made-up images, no files needed", .source = "", .fields = fields,
    .config_size = sizeof(config), .open = open_synthetic,
};
