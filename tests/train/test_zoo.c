/* Mirrors train/zoo*.c: networks of the literature have as many parameters as the literature says. */
#include <string.h>

#include "core/base/config.h"
#include "tests/check_main.h"
#include "train/model.h"

static lmb_error err;

/* torchvision's documentation of its models (ImageNet, 1000 classes); for CIFAR-10 kuangliu/pytorch-cifar (ResNet-18)
 * and Zagoruyko and Komodakis 2016, table 4 (36.5M, 11.0M), counted to the number from their definition. */
static const struct { const char *text; int64_t size; int classes; double parameters; } known[] = {
    { "{name: resnet_imagenet, depth: 18}", 224, 1000, 11689512 },
    { "{name: resnet_imagenet, depth: 34}", 224, 1000, 21797672 },
    { "{name: resnet_imagenet, depth: 50}", 224, 1000, 25557032 },
    { "{name: resnet_imagenet, depth: 18, small: true}", 32, 10, 11173962 },
    { "{name: wide_resnet, depth: 28, width: 10}", 32, 10, 36479194 },
    { "{name: wide_resnet, depth: 16, width: 8, dropout: 0.3}", 32, 10, 10961370 },
    { "{name: mobilenet_v2, stem_stride: 2}", 224, 1000, 3504872 },
};

START_TEST(parameters_are_those_of_the_literature)
{
    const lmb_shape sample = LMB_SHAPE(3, known[_i].size, known[_i].size);
    lmb_config *c = NULL;
    lmb_graph *g = NULL;
    double n = 0;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(known[_i].text, strlen(known[_i].text), "m.yaml", &c, &err));
    ck_ok(lmb_model_build(lmb_config_root(c), &sample, known[_i].classes, 1, &g, &err));
    for (int v = 0; v < g->n_values; v++)
        n += g->value[v].role == LMB_ROLE_PARAMETER ? (double)lmb_shape_count(&g->value[v].shape) : 0;
    ck_assert_double_eq(n, known[_i].parameters);
    lmb_graph_destroy(g);
    lmb_config_destroy(c);
}
END_TEST

START_TEST(depths_that_there_are_not)
{
    static const char *const texts[][2] = { { "{name: wide_resnet, depth: 20}", "it must be 6 n + 4" },
                                            { "{name: resnet_imagenet, depth: 51}", "18, 34, 50, 101 or 152" } };
    const lmb_shape sample = LMB_SHAPE(3, 32, 32);
    for (int i = 0; i < 2; i++) {
        lmb_config *c = NULL;
        lmb_graph *g = NULL;
        err = (lmb_error)LMB_ERROR_INIT;
        ck_ok(lmb_config_parse(texts[i][0], strlen(texts[i][0]), "m.yaml", &c, &err));
        ck_assert_int_ne(lmb_model_build(lmb_config_root(c), &sample, 10, 1, &g, &err), LMB_OK);
        ck_assert_msg(strstr(err.msg, texts[i][1]) != NULL, "%s", err.msg);
        lmb_config_destroy(c);
    }
}
END_TEST

LMB_TEST_MAIN("train/zoo", add_loop(parameters_are_those_of_the_literature, sizeof known / sizeof *known);
              add(depths_that_there_are_not);)
