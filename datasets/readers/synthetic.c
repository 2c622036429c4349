/* datasets/readers/synthetic.c - made-up images, for tests, examples and trying a set-up without data.
 *
 * Idea: each class is a fixed random pattern of 4 x 4 patches; a sample is its class's pattern, shifted by up to
 * two pixels and mixed with noise. A sample is a function of (seed, part, index) alone, so any number of them needs no
 * memory and every rank makes the same. Classes take turns: index modulo classes.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "datasets/dataset.h"

typedef struct config { int64_t seed, classes, channels, height, width, train, test; double noise; } config;
static const lmb_field fields[] = {
    LMB_INT(config, seed, 1, 0, 1e15, "", "of the patterns and the noise"),
    LMB_INT(config, classes, 10, 2, 1000, "", "number of classes"),
    LMB_INT(config, channels, 1, 1, 16, "", "colours"),
    LMB_INT(config, height, 28, 1, 512, "pixels", "of an image"),
    LMB_INT(config, width, 28, 1, 512, "pixels", "of an image"),
    LMB_INT(config, train, 2000, 1, 1e8, "samples", "in the training part"),
    LMB_INT(config, test, 500, 1, 1e8, "samples", "in the test part"),
    LMB_REAL(config, noise, 0.5, 0, 1, "", "share of noise in a sample"),
    LMB_FIELD_END
};

enum { PATCH = 4, SHIFTS = 3 };
typedef struct state {
    config c;
    lmb_part part;
    int64_t rows, columns; /* of a pattern, in patches, enough for the shift */
    uint8_t pattern[];     /* [classes, channels, rows, columns] */
} state;

/* `n` random bytes, sixteen a block: element e of the stream is bytes 4e .. 4e + 3. */
static void random_bytes(lmb_rand r, uint8_t *out, int64_t n)
{
    uint32_t word[4];

    for (int64_t i = 0; i < n; i += 16) {
        lmb_philox(r.counter, r.key, word);
        r.counter[0]++;
        for (int64_t j = i; j < n && j < i + 16; j++)
            out[j] = (uint8_t)(word[(j - i) / 4] >> (8 * (j % 4)));
    }
}

static int32_t label_of(const lmb_dataset *d, int64_t index) { return (int32_t)(index % d->classes); }

static lmb_status read_sample(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    const state *s = d->state;
    const config *c = &s->c;
    uint8_t *out = sample;
    uint32_t noise = (uint32_t)(256 * c->noise + 0.5);

    LMB_TRY(lmb_dataset_check_index(d, index, err));
    *label = label_of(d, index);
    lmb_rand shift = lmb_rand_at((uint64_t)c->seed, LMB_RAND_SYNTHETIC, 1 + 2 * s->part, (uint64_t)index);
    uint32_t dy = lmb_rand_below(&shift, 0, SHIFTS), dx = lmb_rand_below(&shift, 1, SHIFTS);
    random_bytes(lmb_rand_at((uint64_t)c->seed, LMB_RAND_SYNTHETIC, 2 + 2 * s->part, (uint64_t)index), out,
                 lmb_shape_count(&d->shape));
    for (int64_t ch = 0; ch < c->channels; ch++)
        for (int64_t y = 0; y < c->height; y++, out += c->width) {
            const uint8_t *row = s->pattern + ((*label * c->channels + ch) * s->rows + (y + dy) / PATCH) * s->columns;
            for (int64_t x = 0; x < c->width; x++)
                out[x] = (uint8_t)((noise * out[x] + (256 - noise) * row[(x + dx) / PATCH]) >> 8);
        }
    return LMB_OK;
}

static void destroy(lmb_dataset *d) { free(d->state); }

static lmb_hash hash_of(const lmb_dataset *d)
{
    const state *s = d->state;
    const config *c = &s->c;
    int64_t head[] = { c->seed, c->classes, c->channels, c->height, c->width, c->train, c->test, s->part };
    lmb_hasher h;

    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, "synthetic 1");
    lmb_hash_add(&h, head, sizeof head);
    lmb_hash_add(&h, &c->noise, sizeof c->noise);
    return lmb_hash_end(&h);
}

static lmb_status open_synthetic(const void *config_, lmb_part part, lmb_dataset **out, lmb_error *err)
{
    const config *c = config_;
    int64_t rows = (c->height + SHIFTS - 2) / PATCH + 1, columns = (c->width + SHIFTS - 2) / PATCH + 1;
    int64_t bytes = c->classes * c->channels * rows * columns;
    lmb_dataset *d = malloc(sizeof *d);
    state *s = malloc(sizeof *s + (size_t)bytes);

    if (!d || !s) {
        free(d);
        free(s);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a synthetic data set");
    }
    s->c = *c;
    s->part = part;
    s->rows = rows;
    s->columns = columns;
    random_bytes(lmb_rand_at((uint64_t)c->seed, LMB_RAND_SYNTHETIC, 0, 0), s->pattern, bytes);
    *d = (lmb_dataset){ .n = part == LMB_PART_TEST ? c->test : c->train,
                        .shape = LMB_SHAPE(c->channels, c->height, c->width), .dtype = LMB_U8,
                        .classes = (int)c->classes, .hash = hash_of, .read = read_sample, .label = label_of,
                        .destroy = destroy, .state = s };
    *out = d;
    return LMB_OK;
}

const lmb_dataset_format lmb_dataset_synthetic = {
    .name = "synthetic",
    .summary = "made-up images, no files needed",
    .source = "",
    .fields = fields,
    .config_size = sizeof(config),
    .open = open_synthetic,
};
