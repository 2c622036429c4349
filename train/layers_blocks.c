/* train/layers_blocks.c - the kinds of layers that hold lists of layers: residual, concat, repeat. See layers.h. */
#include <stdio.h>

#include "train/layers.h"

enum { MAX_BRANCHES = 16 };

/* ---- residual ---- */

typedef struct residual_config { const char *name, *activation; const lmb_tree *layers; } residual_config;
static const lmb_field residual_fields[] = {
    LMB_TEXT(residual_config, name, "", "prefix of its tensors; default: kind and place"),
    LMB_TEXT(residual_config, activation, "", "behind the sum; none: nothing; default: the list's"),
    LMB_TREE(residual_config, layers, "the layers beside the shortcut"), LMB_FIELD_END
};

/* The shortcut: x itself, or a 1x1 convolution with BatchNormalization where shapes differ. */
static lmb_vid shortcut(const lmb_layer *l, lmb_vid y)
{
    const lmb_shape *a = lmb_layer_shape(l, l->x), *b = lmb_layer_shape(l, y);
    char ta[LMB_SHAPE_TEXT], tb[LMB_SHAPE_TEXT], name[LMB_LAYER_MAX_NAME + 32];

    if (lmb_shape_equal(a, b))
        return l->x;
    int64_t stride = a->n > 2 && b->n == a->n && b->d[2] > 0 ? (a->d[2] + b->d[2] - 1) / b->d[2] : 0;
    if (stride < 1 || (b->n != 3 && b->n != 4))
        return lmb_layer_refuse(l, LMB_E_SHAPE, "its layers turn %s into %s, which no 1x1 convolution does",
                                lmb_shape_text(a, ta, sizeof ta), lmb_shape_text(b, tb, sizeof tb));
    snprintf(name, sizeof name, "%s.skip", l->name);
    lmb_vid s = lmb_net_conv_norm(l->list->net, name, l->x,
                                  (lmb_conv_layer){ .out = b->d[1], .kernel = 1, .stride = stride }, "");
    if (l->list->net->b.status == LMB_OK && !lmb_shape_equal(lmb_layer_shape(l, s), lmb_layer_shape(l, y)))
        return lmb_layer_refuse(
            l, LMB_E_SHAPE,
            "its layers turn %s into %s, a 1x1 convolution with stride %lld does not; use the same stride in both "
            "directions and padding that keeps sizes",
            lmb_shape_text(lmb_layer_shape(l, l->x), ta, sizeof ta),
            lmb_shape_text(lmb_layer_shape(l, y), tb, sizeof tb), (long long)stride);
    return s;
}

static lmb_vid residual(const lmb_layer *l, const void *config)
{
    const residual_config *c = config;
    lmb_net *n = l->list->net;
    lmb_vid y = lmb_layers_append(l->list, c->layers, l->name, l->x);

    if (n->b.status != LMB_OK)
        return LMB_NONE;
    lmb_vid s = shortcut(l, y);
    if (n->b.status != LMB_OK)
        return LMB_NONE;
    return lmb_net_activation(n, lmb_layer_activation(l, c->activation),
                              lmb_emit(&n->b, "Add", l->name, LMB_IN(y, s), LMB_NO_ATTRS));
}
const lmb_layer_kind lmb_layer_residual = { "residual",
                                            "x + layers(x), projected where shapes differ, activation",
                                            "layers",
                                            residual_fields,
                                            sizeof(residual_config),
                                            residual };

/* ---- concat ---- */

typedef struct concat_config { const char *name; const lmb_tree *branches; } concat_config;
static const lmb_field concat_fields[] = {
    LMB_TEXT(concat_config, name, "", "prefix of its tensors; default: kind and place"),
    LMB_TREE(concat_config, branches, "a list of lists of layers"), LMB_FIELD_END
};
static lmb_vid concat(const lmb_layer *l, const void *config)
{
    const concat_config *c = config;
    lmb_net *n = l->list->net;
    lmb_vid in[MAX_BRANCHES];
    char scope[LMB_LAYER_MAX_NAME + 32], ta[LMB_SHAPE_TEXT], tb[LMB_SHAPE_TEXT];
    int k = 0;

    if (!c->branches || c->branches->kind != LMB_TREE_LIST || lmb_tree_count(c->branches) < 2 ||
        lmb_tree_count(c->branches) > MAX_BRANCHES)
        return lmb_layer_refuse(
            l, LMB_E_ARG, "needs 2 to %d branches, each a list of layers: [[{conv: 16}], [{conv: 16}]]", MAX_BRANCHES);
    for (const lmb_tree *t = c->branches->child; t; t = t->next, k++) {
        snprintf(scope, sizeof scope, "%s.%d", l->name, k + 1);
        in[k] = lmb_layers_append(l->list, t, scope, l->x);
        if (n->b.status != LMB_OK)
            return LMB_NONE;
        const lmb_shape *a = lmb_layer_shape(l, in[0]), *b = lmb_layer_shape(l, in[k]);
        bool fits = a->n == b->n;
        for (int i = 0; fits && i < a->n; i++)
            fits = i == 1 || a->d[i] == b->d[i];
        if (!fits)
            return lmb_layer_refuse(l, LMB_E_SHAPE,
                                    "branch %d gives %s, the first %s; all but the channels must be equal", k + 1,
                                    lmb_shape_text(b, tb, sizeof tb), lmb_shape_text(a, ta, sizeof ta));
    }
    return lmb_emit(&n->b, "Concat", l->name, in, k, LMB_ATTRS(LMB_AINT("axis", 1)));
}
const lmb_layer_kind lmb_layer_concat = {
    "concat", "channels of several branches side by side", "branches", concat_fields, sizeof(concat_config), concat
};

/* ---- repeat ---- */

typedef struct repeat_config { const char *name; int64_t times; const lmb_tree *layers; } repeat_config;
static const lmb_field repeat_fields[] = {
    LMB_TEXT(repeat_config, name, "", "prefix of its tensors; default: kind and place"),
    LMB_INT(repeat_config, times, 2, 1, LMB_LAYERS_MAX, "", "how often"),
    LMB_TREE(repeat_config, layers, "the layers, new weights each time"), LMB_FIELD_END
};
static lmb_vid repeat(const lmb_layer *l, const void *config)
{
    const repeat_config *c = config;
    char scope[LMB_LAYER_MAX_NAME + 32];
    lmb_vid x = l->x;

    for (int64_t i = 0; i < c->times && l->list->net->b.status == LMB_OK; i++) {
        snprintf(scope, sizeof scope, "%s.%lld", l->name, (long long)i + 1);
        x = lmb_layers_append(l->list, c->layers, scope, x);
    }
    return x;
}
const lmb_layer_kind lmb_layer_repeat = {
    "repeat", "a list of layers several times", NULL, repeat_fields, sizeof(repeat_config), repeat
};
