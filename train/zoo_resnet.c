/* train/zoo_resnet.c - residual networks: of CIFAR, of ImageNet with plain and bottleneck blocks, and wide ones. */
#include <stdio.h>

#include "train/model.h"

extern const lmb_model_family lmb_model_resnet, lmb_model_resnet_imagenet, lmb_model_wide_resnet;

/* ---- resnet ---- */
typedef struct resnet_config { int64_t depth, width; const char *activation; } resnet_config;
static const lmb_field resnet_fields[] = {
    LMB_INT(resnet_config, depth, 20, 8, 1202, "", "6 n + 2: 8, 20, 32, 44, 56, ..."),
    LMB_INT(resnet_config, width, 16, 1, 1024, "channels", "of the first stage; the next have 2 and 4 times as many"),
    LMB_TEXT(resnet_config, activation, "relu", "after each block"), LMB_FIELD_END
};
/* Projection shortcuts (option B) where the shape changes. */
static lmb_vid block(lmb_net *n, const char *name, lmb_vid x, int64_t out, int64_t stride, const char *activation)
{
    char part[64];
    lmb_vid y, skip = x;
    snprintf(part, sizeof part, "%s.1", name);
    y = lmb_net_conv_norm(n, part, x, (lmb_conv_layer){ .out = out, .kernel = 3, .stride = stride }, activation);
    snprintf(part, sizeof part, "%s.2", name);
    y = lmb_net_conv_norm(n, part, y, (lmb_conv_layer){ .out = out, .kernel = 3 }, "");
    if (stride != 1 || lmb_builder_value(&n->b, x)->shape.d[1] != out) {
        snprintf(part, sizeof part, "%s.skip", name);
        skip = lmb_net_conv_norm(n, part, x, (lmb_conv_layer){ .out = out, .kernel = 1, .stride = stride }, "");
    }
    return lmb_net_activation(n, activation, lmb_emit(&n->b, "Add", name, LMB_IN(y, skip), LMB_NO_ATTRS));
}
static lmb_vid resnet(lmb_net *n, const void *config, lmb_vid x, int classes)
{
    const resnet_config *c = config;
    char name[32];
    if ((c->depth - 2) % 6) {
        if (n->b.status == LMB_OK)
            n->b.status =
                LMB_FAIL(n->b.err, LMB_E_ARG, "depth is %lld; it must be 6 n + 2 (8, 14, 20, 32, 44, 56, ...)",
                         (long long)c->depth);
        return LMB_NONE;
    }
    x = lmb_net_conv_norm(n, "stem", x, (lmb_conv_layer){ .out = c->width, .kernel = 3 }, c->activation);
    for (int64_t stage = 0; stage < 3; stage++)
        for (int64_t i = 0; i < (c->depth - 2) / 6; i++) {
            snprintf(name, sizeof name, "stage%d.%d", (int)stage + 1, (int)i);
            x = block(n, name, x, c->width << stage, stage && !i ? 2 : 1, c->activation);
        }
    return lmb_net_linear(n, "head", lmb_net_global_pool(n, x), classes);
}
const lmb_model_family lmb_model_resnet = { "resnet", "residual networks of CIFAR", "He et al. 2016, section 4.2",
                                            resnet_fields, sizeof(resnet_config), resnet };

/* ---- resnet for pictures of 224 x 224 ---- */
typedef struct imagenet_config { int64_t depth, width; bool small; const char *activation; } imagenet_config;
static const lmb_field imagenet_fields[] = {
    LMB_INT(imagenet_config, depth, 18, 18, 152, "", "18, 34, or with bottlenecks 50, 101, 152"),
    LMB_INT(imagenet_config, width, 64, 1, 1024, "channels",
            "of the first stage; the next have 2, 4 and 8 times as many"),
    LMB_BOOL(imagenet_config, small, false, "a 3x3 stem without stride and pooling, for pictures of 32 x 32"),
    LMB_TEXT(imagenet_config, activation, "relu", "after each block"), LMB_FIELD_END
};
/* 1x1, 3x3, 1x1; the stride is in the 3x3 convolution (version 1.5). */
static lmb_vid bottleneck(lmb_net *n, const char *name, lmb_vid x, int64_t width, int64_t stride,
                          const char *activation)
{
    char part[64];
    lmb_vid y, skip = x;
    snprintf(part, sizeof part, "%s.1", name);
    y = lmb_net_conv_norm(n, part, x, (lmb_conv_layer){ .out = width, .kernel = 1 }, activation);
    snprintf(part, sizeof part, "%s.2", name);
    y = lmb_net_conv_norm(n, part, y, (lmb_conv_layer){ .out = width, .kernel = 3, .stride = stride }, activation);
    snprintf(part, sizeof part, "%s.3", name);
    y = lmb_net_conv_norm(n, part, y, (lmb_conv_layer){ .out = 4 * width, .kernel = 1 }, "");
    if (stride != 1 || lmb_builder_value(&n->b, x)->shape.d[1] != 4 * width) {
        snprintf(part, sizeof part, "%s.skip", name);
        skip = lmb_net_conv_norm(n, part, x, (lmb_conv_layer){ .out = 4 * width, .kernel = 1, .stride = stride }, "");
    }
    return lmb_net_activation(n, activation, lmb_emit(&n->b, "Add", name, LMB_IN(y, skip), LMB_NO_ATTRS));
}
/* Stride 2 in the 3x3 convolution of a stage's first block. */
static lmb_vid resnet_imagenet(lmb_net *n, const void *config, lmb_vid x, int classes)
{
    static const struct { int depth, blocks[4];
    } sizes[] = { { 18, { 2, 2, 2, 2 } },
                  { 34, { 3, 4, 6, 3 } },
                  { 50, { 3, 4, 6, 3 } },
                  { 101, { 3, 4, 23, 3 } },
                  { 152, { 3, 8, 36, 3 } } };
    enum { SIZES = sizeof sizes / sizeof *sizes };
    const imagenet_config *c = config;
    char name[32];
    int s = 0;
    while (s < SIZES && sizes[s].depth != c->depth)
        s++;
    if (s == SIZES) {
        if (n->b.status == LMB_OK)
            n->b.status =
                LMB_FAIL(n->b.err, LMB_E_ARG, "depth is %lld; it must be 18, 34, 50, 101 or 152", (long long)c->depth);
        return LMB_NONE;
    }
    x = lmb_net_conv_norm(n, "stem", x,
                          (lmb_conv_layer){ .out = c->width, .kernel = c->small ? 3 : 7, .stride = c->small ? 1 : 2 },
                          c->activation);
    x = c->small ? x : lmb_net_max_pool(n, x, 3, 2, 1);
    for (int64_t stage = 0; stage < 4; stage++)
        for (int64_t i = 0; i < sizes[s].blocks[stage]; i++) {
            snprintf(name, sizeof name, "stage%d.%d", (int)stage + 1, (int)i);
            x = (c->depth < 50 ? block : bottleneck)(n, name, x, c->width << stage, stage && !i ? 2 : 1, c->activation);
        }
    return lmb_net_linear(n, "head", lmb_net_global_pool(n, x), classes);
}
const lmb_model_family lmb_model_resnet_imagenet = { "resnet_imagenet",         "residual networks of ImageNet",
                                                     "He et al. 2016, table 1", imagenet_fields,
                                                     sizeof(imagenet_config),   resnet_imagenet };

/* ---- wide resnet ---- */
typedef struct wide_config { int64_t depth, width; double dropout; const char *activation; } wide_config;
static const lmb_field wide_fields[] = {
    LMB_INT(wide_config, depth, 28, 10, 1000, "", "6 n + 4: 10, 16, 22, 28, 40, ..."),
    LMB_INT(wide_config, width, 10, 1, 64, "", "the stages have 16, 32 and 64 times as many channels"),
    LMB_REAL(wide_config, dropout, 0, 0, 0.95, "", "share dropped inside each block"),
    LMB_TEXT(wide_config, activation, "relu", "before each convolution"), LMB_FIELD_END
};
static lmb_vid normal_and_active(lmb_net *n, const char *name, const char *which, lmb_vid x, const char *activation)
{
    char part[64];
    snprintf(part, sizeof part, "%s.%s.bn", name, which);
    return lmb_net_activation(n, activation, lmb_net_norm(n, part, x));
}
/* Normalisation and activation come first; where the shape changes, a projection of what is active goes round. */
static lmb_vid wide_block(lmb_net *n, const char *name, lmb_vid x, int64_t out, int64_t stride, const wide_config *c)
{
    char part[64];
    lmb_vid active = normal_and_active(n, name, "1", x, c->activation), skip = x;
    if (stride != 1 || lmb_builder_value(&n->b, x)->shape.d[1] != out) {
        snprintf(part, sizeof part, "%s.skip.conv", name);
        skip = lmb_net_conv(n, part, active, (lmb_conv_layer){ .out = out, .kernel = 1, .stride = stride });
    }
    snprintf(part, sizeof part, "%s.1.conv", name);
    lmb_vid y = lmb_net_conv(n, part, active, (lmb_conv_layer){ .out = out, .kernel = 3, .stride = stride });
    y = lmb_net_dropout(n, normal_and_active(n, name, "2", y, c->activation), c->dropout);
    snprintf(part, sizeof part, "%s.2.conv", name);
    y = lmb_net_conv(n, part, y, (lmb_conv_layer){ .out = out, .kernel = 3 });
    return lmb_emit(&n->b, "Add", name, LMB_IN(y, skip), LMB_NO_ATTRS);
}
static lmb_vid wide(lmb_net *n, const void *config, lmb_vid x, int classes)
{
    const wide_config *c = config;
    char name[32];
    if ((c->depth - 4) % 6) {
        if (n->b.status == LMB_OK)
            n->b.status = LMB_FAIL(n->b.err, LMB_E_ARG, "depth is %lld; it must be 6 n + 4 (10, 16, 22, 28, 40, ...)",
                                   (long long)c->depth);
        return LMB_NONE;
    }
    x = lmb_net_conv(n, "stem.conv", x, (lmb_conv_layer){ .out = 16, .kernel = 3 });
    for (int64_t stage = 0; stage < 3; stage++)
        for (int64_t i = 0; i < (c->depth - 4) / 6; i++) {
            snprintf(name, sizeof name, "stage%d.%d", (int)stage + 1, (int)i);
            x = wide_block(n, name, x, (16 * c->width) << stage, stage && !i ? 2 : 1, c);
        }
    x = normal_and_active(n, "last", "1", x, c->activation);
    return lmb_net_linear(n, "head", lmb_net_global_pool(n, x), classes);
}
const lmb_model_family lmb_model_wide_resnet = {
    "wide_resnet", "wide residual networks of CIFAR", "Zagoruyko and Komodakis 2016", wide_fields, sizeof(wide_config),
    wide
};
