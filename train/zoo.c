/* train/zoo.c - the model families: MLP, LeNet-5, VGG-style, MobileNetV1 and V2; zoo_resnet.c has residual networks. */
#include <stdio.h>

#include "train/model.h"

/* ---- mlp ---- */
typedef struct mlp_config { lmb_field_ints hidden; double dropout; const char *activation; } mlp_config;
static const lmb_field mlp_fields[] = {
    LMB_INTS(mlp_config, hidden, "[300, 100]", 1, 65536, "", "sizes of the hidden layers"),
    LMB_REAL(mlp_config, dropout, 0, 0, 0.95, "", "share dropped after each hidden layer"),
    LMB_TEXT(mlp_config, activation, "relu", "after each hidden layer"), LMB_FIELD_END
};
static lmb_vid mlp(lmb_net *n, const void *config, lmb_vid x, int classes)
{
    const mlp_config *c = config;
    char name[32];
    x = lmb_net_flatten(n, x);
    for (int i = 0; i < c->hidden.n; i++) {
        snprintf(name, sizeof name, "fc%d", i + 1);
        x = lmb_net_activation(n, c->activation, lmb_net_linear(n, name, x, c->hidden.v[i]));
        x = lmb_net_dropout(n, x, c->dropout);
    }
    return lmb_net_linear(n, "head", x, classes);
}
static const lmb_model_family family_mlp = { "mlp", "fully connected layers", "", mlp_fields, sizeof(mlp_config), mlp };

/* ---- lenet ---- */
typedef struct lenet_config { const char *activation; double dropout; } lenet_config;
static const lmb_field lenet_fields[] = {
    LMB_TEXT(lenet_config, activation, "relu", "after each layer"),
    LMB_REAL(lenet_config, dropout, 0, 0, 0.95, "", "share dropped before the head"), LMB_FIELD_END
};
static lmb_vid lenet(lmb_net *n, const void *config, lmb_vid x, int classes)
{
    const lenet_config *c = config;
    x = lmb_net_activation(n, c->activation,
                           lmb_net_conv(n, "conv1", x, (lmb_conv_layer){ .out = 6, .kernel = 5, .bias = true }));
    x = lmb_net_max_pool(n, x, 2, 2, 0);
    x = lmb_net_activation(n, c->activation,
                           lmb_net_conv(n, "conv2", x, (lmb_conv_layer){ .out = 16, .kernel = 5, .bias = true }));
    x = lmb_net_max_pool(n, x, 2, 2, 0);
    x = lmb_net_flatten(n, x);
    x = lmb_net_activation(n, c->activation, lmb_net_linear(n, "fc1", x, 120));
    x = lmb_net_activation(n, c->activation, lmb_net_linear(n, "fc2", x, 84));
    return lmb_net_linear(n, "head", lmb_net_dropout(n, x, c->dropout), classes);
}
static const lmb_model_family family_lenet = { "lenet", "two 5x5 convolutions, three linear layers",
                                               "LeCun et al. 1998 (ReLU, max pooling, same padding)", lenet_fields,
                                               sizeof(lenet_config), lenet };

/* ---- vgg ---- */
typedef struct vgg_config { lmb_field_ints channels; double dropout; const char *activation; } vgg_config;
static const lmb_field vgg_fields[] = { LMB_INTS(vgg_config, channels, "[32, 32, 0, 64, 64, 0, 128, 128]", 0, 4096, "",
                                                 "3x3 convolutions; 0 is a max pooling"),
                                        LMB_REAL(vgg_config, dropout, 0, 0, 0.95, "", "share dropped before the head"),
                                        LMB_TEXT(vgg_config, activation, "relu", "after each convolution"),
                                        LMB_FIELD_END };
static lmb_vid vgg(lmb_net *n, const void *config, lmb_vid x, int classes)
{
    const vgg_config *c = config;
    char name[32];
    for (int i = 0; i < c->channels.n; i++) {
        snprintf(name, sizeof name, "layer%d", i + 1);
        x = c->channels.v[i]
                ? lmb_net_conv_norm(n, name, x, (lmb_conv_layer){ .out = c->channels.v[i], .kernel = 3 }, c->activation)
                : lmb_net_max_pool(n, x, 2, 2, 0);
    }
    return lmb_net_linear(n, "head", lmb_net_dropout(n, lmb_net_global_pool(n, x), c->dropout), classes);
}
static const lmb_model_family family_vgg = { "vgg", "3x3 convolutions and poolings, global average",
                                             "Simonyan and Zisserman 2015, with BatchNormalization", vgg_fields,
                                             sizeof(vgg_config), vgg };

/* ---- mobilenets ---- */
typedef struct mobile_config {
    double width;
    int64_t stem_stride;
    const char *activation;
    double dropout;
} mobile_config;
static const lmb_field mobile_fields[] = {
    LMB_REAL(mobile_config, width, 1, 0.05, 4, "", "multiplies every channel count (rounded to 8)"),
    LMB_INT(mobile_config, stem_stride, 1, 1, 2, "", "2 for large images, 1 for 32 x 32"),
    LMB_TEXT(mobile_config, activation, "relu6", "after each convolution"),
    LMB_REAL(mobile_config, dropout, 0, 0, 0.95, "", "share dropped before the head"), LMB_FIELD_END
};
static int64_t scaled(double width, int64_t c)
{
    int64_t v = (int64_t)((double)c * width + 4) / 8 * 8;
    return v < 8 ? 8 : v;
}
static lmb_vid mobilenet_v1(lmb_net *n, const void *config, lmb_vid x, int classes)
{
    static const struct { int64_t out, stride; } layers[] = { { 64, 1 }, { 128, 2 }, { 128, 1 }, { 256, 2 }, { 256, 1 },
        { 512, 2 }, { 512, 1 }, { 512, 1 }, { 512, 1 }, { 512, 1 }, { 512, 1 }, { 1024, 2 }, { 1024, 1 } };
    const mobile_config *c = config;
    char name[32];
    x = lmb_net_conv_norm(n, "stem", x,
                          (lmb_conv_layer){ .out = scaled(c->width, 32), .kernel = 3, .stride = c->stem_stride },
                          c->activation);
    for (int i = 0; i < 13; i++) {
        int64_t in = lmb_builder_value(&n->b, x)->shape.d[1];
        snprintf(name, sizeof name, "dw%d", i + 1);
        x = lmb_net_conv_norm(n, name, x,
                              (lmb_conv_layer){ .out = in, .kernel = 3, .stride = layers[i].stride, .groups = in },
                              c->activation);
        snprintf(name, sizeof name, "pw%d", i + 1);
        x = lmb_net_conv_norm(n, name, x, (lmb_conv_layer){ .out = scaled(c->width, layers[i].out), .kernel = 1 },
                              c->activation);
    }
    return lmb_net_linear(n, "head", lmb_net_dropout(n, lmb_net_global_pool(n, x), c->dropout), classes);
}
static const lmb_model_family family_v1 = { "mobilenet_v1",
                                            "depthwise separable convolutions",
                                            "Howard et al. 2017, arXiv:1704.04861",
                                            mobile_fields,
                                            sizeof(mobile_config),
                                            mobilenet_v1 };

static lmb_vid inverted(lmb_net *n, const char *name, lmb_vid x, int64_t out, int64_t stride, int64_t expand,
                        const char *activation)
{
    char part[48];
    lmb_vid y = x;
    int64_t in = lmb_builder_value(&n->b, x)->shape.d[1], wide = in * expand;
    if (expand != 1) {
        snprintf(part, sizeof part, "%s.expand", name);
        y = lmb_net_conv_norm(n, part, y, (lmb_conv_layer){ .out = wide, .kernel = 1 }, activation);
    }
    snprintf(part, sizeof part, "%s.dw", name);
    y = lmb_net_conv_norm(n, part, y, (lmb_conv_layer){ .out = wide, .kernel = 3, .stride = stride, .groups = wide },
                          activation);
    snprintf(part, sizeof part, "%s.project", name);
    y = lmb_net_conv_norm(n, part, y, (lmb_conv_layer){ .out = out, .kernel = 1 }, "");
    return stride == 1 && in == out ? lmb_emit(&n->b, "Add", name, LMB_IN(y, x), LMB_NO_ATTRS) : y;
}
static lmb_vid mobilenet_v2(lmb_net *n, const void *config, lmb_vid x, int classes)
{
    static const struct { int64_t expand, out, count, stride;
    } stages[] = { { 1, 16, 1, 1 }, { 6, 24, 2, 1 },  { 6, 32, 3, 2 }, { 6, 64, 4, 2 },
                   { 6, 96, 3, 1 }, { 6, 160, 3, 2 }, { 6, 320, 1, 1 } };
    const mobile_config *c = config;
    char name[32];
    x = lmb_net_conv_norm(n, "stem", x,
                          (lmb_conv_layer){ .out = scaled(c->width, 32), .kernel = 3, .stride = c->stem_stride },
                          c->activation);
    for (int s = 0; s < 7; s++)
        for (int64_t i = 0; i < stages[s].count; i++) {
            snprintf(name, sizeof name, "block%d.%d", s + 1, (int)i);
            x = inverted(n, name, x, scaled(c->width, stages[s].out),
                         i        ? 1
                         : s == 1 ? c->stem_stride
                                  : stages[s].stride,
                         stages[s].expand, c->activation);
        }
    x = lmb_net_conv_norm(n, "last", x,
                          (lmb_conv_layer){ .out = c->width > 1 ? scaled(c->width, 1280) : 1280, .kernel = 1 },
                          c->activation);
    return lmb_net_linear(n, "head", lmb_net_dropout(n, lmb_net_global_pool(n, x), c->dropout), classes);
}
static const lmb_model_family family_v2 = { "mobilenet_v2",
                                            "inverted residuals with linear bottlenecks",
                                            "Sandler et al. 2018, arXiv:1801.04381",
                                            mobile_fields,
                                            sizeof(mobile_config),
                                            mobilenet_v2 };

extern const lmb_model_family lmb_model_layers, lmb_model_onnx, lmb_model_resnet, lmb_model_resnet_imagenet,
    lmb_model_wide_resnet;

const lmb_model_family *const lmb_model_families[] = {
    &lmb_model_layers, &family_lenet, &family_mlp, &family_v1, &family_v2, &lmb_model_onnx, &lmb_model_resnet,
    &lmb_model_resnet_imagenet, &family_vgg, &lmb_model_wide_resnet, NULL,
};
