/* tests/core/cuda/networks.h - the networks that are measured beside PyTorch, in the sizes in which they are. */
#ifndef LMB_TESTS_CORE_CUDA_NETWORKS_H
#define LMB_TESTS_CORE_CUDA_NETWORKS_H

#include <string.h>

#include "core/base/config.h"
#include "tests/check_main.h"
#include "train/model.h"

static const struct { const char *model; int64_t size; int classes; } networks[] = {
    { "{name: resnet_imagenet, depth: 18, small: true}", 32, 10 }, { "{name: resnet_imagenet, depth: 50}", 224, 1000 },
    { "{name: wide_resnet}", 32, 10 },                             { "{name: mobilenet_v2}", 32, 10 },
    { "{name: resnet, depth: 8}", 32, 10 },
};
enum { NETWORKS = sizeof networks / sizeof *networks };

static lmb_graph *network(int i)
{
    const lmb_shape sample = LMB_SHAPE(3, networks[i].size, networks[i].size);
    lmb_error err = LMB_ERROR_INIT;
    lmb_config *c;
    lmb_graph *g;
    ck_ok(lmb_config_parse(networks[i].model, strlen(networks[i].model), "m.yaml", &c, &err));
    ck_ok(lmb_model_build(lmb_config_root(c), &sample, networks[i].classes, 1, &g, &err));
    lmb_config_destroy(c);
    return g;
}
#endif
