/* tests/distill/search.h - what tests of distill/search share: a folder with one file in it, a small model, made-up
 * images. */
#ifndef LMB_TESTS_DISTILL_SEARCH_H
#define LMB_TESTS_DISTILL_SEARCH_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "distill/search/moves.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"

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
    return graph_of(text, LMB_SHAPE(3, 8, 8), 4, 3);
}

static inline lmb_dataset *data_of(int64_t n)
{
    static const char text[] = "{name: synthetic, train: %lld, test: 10, channels: 3, height: 8, width: 8, classes: 4}";
    char full[200];

    snprintf(full, sizeof full, text, (long long)n);
    return dataset_of(full, LMB_PART_TRAIN);
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
