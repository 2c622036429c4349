/* train/layers_kinds.c - the kinds of layers that stand alone: convolutions, pooling, dense, and what goes between. */
#include <stdio.h>

#include "train/layers.h"

/* Would its weights be more than a layer may have? */
static bool too_large(const lmb_layer *l, double count)
{
    if (count <= LMB_LAYER_MAX_WEIGHTS)
        return false;
    lmb_layer_refuse(l, LMB_E_ARG, "has %.0f weights; at most %d are allowed: use fewer channels or a smaller kernel",
                     count, LMB_LAYER_MAX_WEIGHTS);
    return true;
}

static lmb_vid finish(const lmb_layer *l, lmb_vid y, bool norm, const char *activation)
{
    lmb_net *n = l->list->net;
    char name[LMB_LAYER_MAX_NAME + 32];

    if (norm) {
        snprintf(name, sizeof name, "%s.bn", l->name);
        y = lmb_net_norm(n, name, y);
    }
    return lmb_net_activation(n, lmb_layer_activation(l, activation), y);
}

/* ---- convolutions ---- */

typedef struct conv_config {
    const char *name;
    int64_t channels, kernel, stride, groups;
    bool pad, norm;
    const char *activation;
} conv_config;
static const lmb_field conv_fields[] = {
    LMB_TEXT(conv_config, name, "", "of its tensors; default: kind and place"),
    LMB_INT(conv_config, channels, 16, 1, 65536, "", "of the output"),
    LMB_INT(conv_config, kernel, 3, 1, 64, "", "side"),
    LMB_INT(conv_config, stride, 1, 1, 64, "", ""),
    LMB_INT(conv_config, groups, 1, 1, 65536, "", "must divide the channels before and after"),
    LMB_BOOL(conv_config, pad, 1, "with half the kernel of zeros on each side, which keeps the size at odd kernels"),
    LMB_BOOL(conv_config, norm, 1, "BatchNormalization behind it; else a bias"),
    LMB_TEXT(conv_config, activation, "", "behind it; none: nothing; default: the list's"), LMB_FIELD_END
};

static lmb_vid convolve(const lmb_layer *l, const conv_config *c)
{
    const lmb_shape *s = lmb_layer_shape(l, l->x);
    char text[LMB_SHAPE_TEXT], name[LMB_LAYER_MAX_NAME + 32];
    int64_t in = s->n > 1 ? s->d[1] : 0;

    if (s->n != 3 && s->n != 4)
        return lmb_layer_refuse(l, LMB_E_SHAPE,
                                "wants images or signals and gets %s; it can not stand behind flatten, dense or "
                                "pool: global",
                                lmb_shape_text(s, text, sizeof text));
    if (in % c->groups || c->channels % c->groups)
        return lmb_layer_refuse(l, LMB_E_SHAPE, "%lld groups must divide the %lld channels before it and its own %lld",
                                (long long)c->groups, (long long)in, (long long)c->channels);
    for (int i = 2; i < s->n; i++)
        if (!c->pad && s->d[i] < c->kernel)
            return lmb_layer_refuse(l, LMB_E_SHAPE, "its kernel of %lld does not fit into %s without padding",
                                    (long long)c->kernel, lmb_shape_text(s, text, sizeof text));
    if (too_large(l, (double)c->channels * (double)(in / c->groups) * (double)c->kernel *
                         (s->n == 4 ? (double)c->kernel : 1)))
        return LMB_NONE;
    snprintf(name, sizeof name, "%s.conv", l->name);
    lmb_vid y = lmb_net_conv(l->list->net, name, l->x,
                             (lmb_conv_layer){ c->channels, c->kernel, c->stride, c->groups, !c->norm, !c->pad });
    return finish(l, y, c->norm, c->activation);
}

static lmb_vid conv(const lmb_layer *l, const void *config) { return convolve(l, config); }
static const lmb_layer_kind kind_conv = { "conv", "convolution, BatchNormalization, activation", "channels",
                                          conv_fields, sizeof(conv_config), conv };

typedef struct depthwise_config {
    const char *name;
    int64_t kernel, stride;
    bool norm;
    const char *activation;
} depthwise_config;
static const lmb_field depthwise_fields[] = {
    LMB_TEXT(depthwise_config, name, "", "of its tensors; default: kind and place"),
    LMB_INT(depthwise_config, kernel, 3, 1, 64, "", "side"),
    LMB_INT(depthwise_config, stride, 1, 1, 64, "", ""),
    LMB_BOOL(depthwise_config, norm, 1, "BatchNormalization behind it; else a bias"),
    LMB_TEXT(depthwise_config, activation, "", "behind it; none: nothing; default: the list's"), LMB_FIELD_END
};
static lmb_vid depthwise(const lmb_layer *l, const void *config)
{
    const depthwise_config *c = config;
    const lmb_shape *s = lmb_layer_shape(l, l->x);
    int64_t channels = s->n > 1 ? s->d[1] : 1;
    return convolve(l,
                    &(conv_config){ c->name, channels, c->kernel, c->stride, channels, true, c->norm, c->activation });
}
static const lmb_layer_kind kind_depthwise = { "depthwise", "a convolution of each channel by itself", "stride",
                                               depthwise_fields, sizeof(depthwise_config), depthwise };

/* ---- pooling ---- */

static const char *const pools[] = { "max", "average", "global", NULL };
enum { POOL_MAX, POOL_AVERAGE, POOL_GLOBAL };
typedef struct pool_config { const char *name; int64_t kind, kernel, stride, padding; } pool_config;
static const lmb_field pool_fields[] = {
    LMB_TEXT(pool_config, name, "", "unused: it has no tensors"),
    LMB_CHOICE(pool_config, kind, POOL_MAX, pools, "global: the mean of each channel, [N, C]"),
    LMB_INT(pool_config, kernel, 2, 1, 64, "", "side"),
    LMB_INT(pool_config, stride, 0, 0, 64, "", "0: the kernel"),
    LMB_INT(pool_config, padding, 0, 0, 32, "", "on each side; below the kernel"), LMB_FIELD_END
};
static lmb_vid pool(const lmb_layer *l, const void *config)
{
    const pool_config *c = config;
    const lmb_shape *s = lmb_layer_shape(l, l->x);
    char text[LMB_SHAPE_TEXT];
    int64_t stride = c->stride ? c->stride : c->kernel;

    if (s->n != 3 && s->n != 4)
        return lmb_layer_refuse(l, LMB_E_SHAPE, "wants images or signals and gets %s",
                                lmb_shape_text(s, text, sizeof text));
    if (c->kind == POOL_GLOBAL)
        return lmb_net_global_pool(l->list->net, l->x);
    if (c->padding >= c->kernel)
        return lmb_layer_refuse(l, LMB_E_ARG, "padding %lld; it must be below the kernel, %lld", (long long)c->padding,
                                (long long)c->kernel);
    for (int i = 2; i < s->n; i++)
        if (s->d[i] + 2 * c->padding < c->kernel)
            return lmb_layer_refuse(l, LMB_E_SHAPE,
                                    "its kernel of %lld does not fit into %s; pool less often or use `pool: global`",
                                    (long long)c->kernel, lmb_shape_text(s, text, sizeof text));
    return (c->kind == POOL_MAX ? lmb_net_max_pool : lmb_net_average_pool)(l->list->net, l->x, c->kernel, stride,
                                                                           c->padding);
}
static const lmb_layer_kind kind_pool = { "pool", "maximum or mean of windows, or of all", "kind", pool_fields,
                                          sizeof(pool_config), pool };

/* ---- the rest ---- */

typedef struct dense_config { const char *name; int64_t units; const char *activation; } dense_config;
static const lmb_field dense_fields[] = {
    LMB_TEXT(dense_config, name, "", "of its tensors; default: kind and place"),
    LMB_INT(dense_config, units, 0, 0, 1048576, "", "outputs; 0: one a class, without activation"),
    LMB_TEXT(dense_config, activation, "", "behind it; none: nothing; default: the list's"), LMB_FIELD_END
};
static lmb_vid dense(const lmb_layer *l, const void *config)
{
    const dense_config *c = config;
    const lmb_shape *s = lmb_layer_shape(l, l->x);
    int64_t units = c->units ? c->units : l->list->classes;
    char text[LMB_SHAPE_TEXT];

    if (s->n != 2)
        return lmb_layer_refuse(l, LMB_E_SHAPE,
                                "wants [N, numbers] and gets %s; put `flatten` or `pool: global` before it",
                                lmb_shape_text(s, text, sizeof text));
    if (too_large(l, (double)units * (double)s->d[1]))
        return LMB_NONE;
    lmb_vid y = lmb_net_linear(l->list->net, l->name, l->x, units);
    return c->units ? finish(l, y, false, c->activation) : y;
}
static const lmb_layer_kind kind_dense = { "dense", "fully connected, with bias", "units", dense_fields,
                                           sizeof(dense_config), dense };

typedef struct plain_config { const char *name; } plain_config;
static const lmb_field plain_fields[] = { LMB_TEXT(plain_config, name, "", "of its tensors; default: kind and place"),
                                          LMB_FIELD_END };
static lmb_vid flatten(const lmb_layer *l, const void *config)
{
    (void)config;
    return lmb_net_flatten(l->list->net, l->x);
}
static const lmb_layer_kind kind_flatten = { "flatten", "[N, C, H, W] to [N, C H W]", NULL, plain_fields,
                                             sizeof(plain_config), flatten };

static lmb_vid norm(const lmb_layer *l, const void *config)
{
    (void)config;
    return lmb_net_norm(l->list->net, l->name, l->x);
}
static const lmb_layer_kind kind_norm = { "norm", "BatchNormalization", NULL, plain_fields, sizeof(plain_config),
                                          norm };

typedef struct activation_config { const char *name, *kind; } activation_config;
static const lmb_field activation_fields[] = {
    LMB_TEXT(activation_config, name, "", "unused: it has no tensors"),
    LMB_TEXT(activation_config, kind, "",
             "relu, relu6, leaky_relu, hardswish, hardsigmoid, sigmoid, tanh; default: the list's"),
    LMB_FIELD_END
};
static lmb_vid activation(const lmb_layer *l, const void *config)
{
    return lmb_net_activation(l->list->net, lmb_layer_activation(l, ((const activation_config *)config)->kind), l->x);
}
static const lmb_layer_kind kind_activation = { "activation", "a function of each number", "kind", activation_fields,
                                                sizeof(activation_config), activation };

typedef struct dropout_config { const char *name; double ratio; } dropout_config;
static const lmb_field dropout_fields[] = {
    LMB_TEXT(dropout_config, name, "", "unused: it has no tensors"),
    LMB_REAL(dropout_config, ratio, 0.5, 0, 0.95, "", "share that is dropped in training"), LMB_FIELD_END
};
static lmb_vid dropout(const lmb_layer *l, const void *config)
{
    return lmb_net_dropout(l->list->net, l->x, ((const dropout_config *)config)->ratio);
}
static const lmb_layer_kind kind_dropout = { "dropout", "drops a share of the numbers in training", "ratio",
                                             dropout_fields, sizeof(dropout_config), dropout };

typedef struct scale_config { const char *name; double factor; } scale_config;
static const lmb_field scale_fields[] = {
    LMB_TEXT(scale_config, name, "", "unused: it has no tensors"),
    LMB_REAL(scale_config, factor, 0.125, 1e-9, 1e9, "", "that each number is multiplied by"), LMB_FIELD_END
};
static lmb_vid scale(const lmb_layer *l, const void *config)
{
    lmb_builder *b = &l->list->net->b;
    const float factor = (float)((const scale_config *)config)->factor;
    return lmb_emit(b, "Mul", "scale", LMB_IN(l->x, lmb_emit_scalar(b, factor)), LMB_NO_ATTRS);
}
static const lmb_layer_kind kind_scale = { "scale", "multiplies by a constant, which also slows the layer behind it",
                                           "factor", scale_fields, sizeof(scale_config), scale };

const lmb_layer_kind *const lmb_layer_kinds[] = {
    &kind_conv, &kind_depthwise, &kind_pool, &kind_dense, &kind_flatten, &kind_norm, &kind_activation, &kind_dropout,
    &kind_scale, &lmb_layer_residual, &lmb_layer_concat, &lmb_layer_repeat, NULL,
};
