/* tests/distill/search.h - what tests of distill/search share: a folder with one file in it, a small model, made-up
 * images. */
#ifndef LMB_TESTS_DISTILL_SEARCH_H
#define LMB_TESTS_DISTILL_SEARCH_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "datasets/dataset.h"
#include "distill/search/moves.h"
#include "tests/check_main.h"
#include "train/model.h"

static lmb_error err;
static char dir[] = "/tmp/limbeck-search-XXXXXX", path[200];

static inline void setup(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    strcpy(dir, "/tmp/limbeck-search-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/lines.jsonl", dir);
}

static inline void teardown(void)
{
    remove(path);
    rmdir(dir);
}

static inline lmb_graph *make(const char *text)
{
    lmb_config *c;
    lmb_graph *g;
    lmb_shape sample = LMB_SHAPE(3, 8, 8);

    ck_ok(lmb_config_parse(text, strlen(text), "test", &c, &err));
    ck_ok(lmb_model_build(lmb_config_root(c), &sample, 4, 3, &g, &err));
    lmb_config_destroy(c);
    return g;
}

static inline lmb_dataset *data_of(int64_t n)
{
    static const char text[] = "{name: synthetic, train: %lld, test: 10, channels: 3, height: 8, width: 8, classes: 4}";
    char full[200];
    lmb_config *c;
    lmb_dataset *d;

    snprintf(full, sizeof full, text, (long long)n);
    ck_ok(lmb_config_parse(full, strlen(full), "test", &c, &err));
    ck_ok(lmb_dataset_open(lmb_config_root(c), LMB_PART_TRAIN, &d, &err));
    lmb_config_destroy(c);
    return d;
}

/* A model with all its moves, by gradients on made-up images. */
typedef struct found {
    lmb_graph *g;
    lmb_dataset *data;
    lmb_taylor *taylor;
    lmb_latency *latency;
    lmb_moves m;
} found;

static inline void find_moves(found *f, lmb_graph *g, int64_t samples, lmb_taylor_config tc, lmb_moves_config mc)
{
    f->g = g;
    f->data = data_of(samples);
    ck_ok(lmb_latency_open(path, false, NULL, &f->latency, &err));
    ck_ok(lmb_taylor_create(g, f->data, &tc, &f->taylor, &err));
    ck_ok(lmb_moves_find(g, &mc, f->taylor, f->latency, &f->m, &err));
}

static inline void forget_moves(found *f)
{
    lmb_moves_free(&f->m);
    lmb_taylor_destroy(f->taylor);
    lmb_latency_close(f->latency);
    lmb_dataset_destroy(f->data);
    lmb_graph_destroy(f->g);
}

#endif
