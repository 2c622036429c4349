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
    lmb_error why = LMB_ERROR_INIT;
    lmb_config *c;
    ck_assert_msg(lmb_config_parse(text, strlen(text), "t.yaml", &c, &why) == LMB_OK, "%s: %s", text, why.msg);
    return c;
}

static inline lmb_dataset *dataset_of(const char *text, lmb_part part)
{
    lmb_error why = LMB_ERROR_INIT;
    lmb_config *c = config_of(text);
    lmb_dataset *data;
    ck_assert_msg(lmb_dataset_open(lmb_config_root(c), part, &data, &why) == LMB_OK, "%s: %s", text, why.msg);
    lmb_config_destroy(c);
    return data;
}

static inline lmb_graph *graph_of(const char *text, lmb_shape sample, int classes, uint64_t seed)
{
    lmb_error why = LMB_ERROR_INIT;
    lmb_config *c = config_of(text);
    lmb_graph *g;
    ck_assert_msg(lmb_model_build(lmb_config_root(c), &sample, classes, seed, &g, &why) == LMB_OK, "%s: %s", text,
                  why.msg);
    lmb_config_destroy(c);
    return g;
}

/* A model for the samples and classes of `data`. */
static inline lmb_graph *model_of(const char *text, const lmb_dataset *data, uint64_t seed)
{
    return graph_of(text, data->shape, data->classes, seed);
}

#endif
