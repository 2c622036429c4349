/* tests/train/from_text.h - configurations and models from a line of text. */
#ifndef LMB_TESTS_TRAIN_FROM_TEXT_H
#define LMB_TESTS_TRAIN_FROM_TEXT_H

#include <string.h>

#include "core/base/config.h"
#include "datasets/dataset.h"
#include "tests/check_main.h"
#include "train/model.h"

static inline lmb_config *config_of(const char *text)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_config *c;
    ck_ok(lmb_config_parse(text, strlen(text), "t.yaml", &c, &err));
    return c;
}

/* A model for the samples and classes of `data`. */
static inline lmb_graph *model_of(const char *text, const lmb_dataset *data, uint64_t seed)
{
    lmb_error err = LMB_ERROR_INIT;
    lmb_config *c = config_of(text);
    lmb_graph *g;
    ck_ok(lmb_model_build(lmb_config_root(c), &data->shape, data->classes, seed, &g, &err));
    lmb_config_destroy(c);
    return g;
}

#endif
