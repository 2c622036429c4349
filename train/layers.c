/* train/layers.c - reading a list of layers: which kind an item is, its options, its name, its place. See layers.h. */
#include "train/layers.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"

const lmb_shape *lmb_layer_shape(const lmb_layer *l, lmb_vid v)
{
    return &lmb_builder_value(&l->list->net->b, v)->shape;
}

lmb_vid lmb_layer_refuse(const lmb_layer *l, lmb_status s, const char *fmt, ...)
{
    lmb_builder *b = &l->list->net->b;
    char text[400];
    va_list ap;

    if (b->status != LMB_OK)
        return LMB_NONE;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    b->status = lmb_tree_fail(l->at, b->err, s, "%s: %s", l->name, text);
    l->list->placed = true;
    return LMB_NONE;
}

const char *lmb_layer_activation(const lmb_layer *l, const char *own)
{
    const char *a = *own ? own : l->list->activation;
    return strcmp(a, "none") == 0 ? "" : a;
}

/* An item is `kind` or `{kind: options}`: the word, and the node with the options (NULL: all defaults). */
static const char *kind_word(const lmb_layer *l, const lmb_tree **options)
{
    const lmb_tree *t = l->at;

    *options = NULL;
    if (t->kind == LMB_TREE_SCALAR)
        return t->text;
    if (t->kind == LMB_TREE_MAP && lmb_tree_count(t) == 1) {
        *options = t->child->kind == LMB_TREE_NULL ? NULL : t->child;
        return t->child->key;
    }
    lmb_layer_refuse(l, LMB_E_ARG,
                     "a layer is written as one word or as one `kind: options`, for example `- conv: {channels: 16}`; "
                     "options stand inside the braces");
    return NULL;
}

static const lmb_layer_kind *find(const lmb_layer *l, const char *word)
{
    const char *names[64];
    int n = 0;

    for (; lmb_layer_kinds[n] && n < 63; n++) {
        names[n] = lmb_layer_kinds[n]->name;
        if (strcmp(names[n], word) == 0)
            return lmb_layer_kinds[n];
    }
    names[n] = NULL;
    const char *near = lmb_nearest(word, names);
    lmb_layer_refuse(l, LMB_E_ARG, "there is no layer '%.60s'%s%s; `limbeck list layers` shows all", word,
                     near ? "; did you mean " : "", near ? near : "");
    return NULL;
}

/* Options of a kind; a value that stands alone becomes its main option. `alone` is storage for that. */
static lmb_status bind(const lmb_layer *l, const lmb_layer_kind *k, const lmb_tree *options, lmb_tree alone[2],
                       void *config)
{
    lmb_error *err = l->list->net->b.err;

    if (options && options->kind != LMB_TREE_MAP) {
        if (!k->main)
            return lmb_tree_fail(options, err, LMB_E_ARG, "%s takes no value; write its options as {key: value}",
                                 k->name);
        alone[1] = *options;
        alone[1].key = k->main;
        alone[1].next = NULL;
        alone[0] = (lmb_tree){ .kind = LMB_TREE_MAP, .key = k->name, .file = options->file, .line = options->line,
                               .column = options->column, .child = &alone[1], .owner = options->owner };
        options = alone;
    }
    return lmb_fields_bind(k->fields, options, config, err);
}

static bool name_is_good(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return n > 0 && n <= LMB_LAYER_MAX_NAME && !name[n];
}

static lmb_vid build_named(lmb_layer *l, const lmb_layer_kind *k, const void *config)
{
    const char *own = *(const char *const *)config; /* every config begins with the name */
    lmb_builder *b = &l->list->net->b;
    char shape[LMB_SHAPE_TEXT];

    if (*own && !name_is_good(own))
        return lmb_layer_refuse(l, LMB_E_ARG, "the name '%.60s' must have 1 to %d letters, digits, '_', '.' or '-'",
                                own, LMB_LAYER_MAX_NAME);
    if (*own)
        l->name = own;
    if (++l->list->built > LMB_LAYERS_MAX)
        return lmb_layer_refuse(l, LMB_E_ARG, "more than %d layers; repeat less", LMB_LAYERS_MAX);
    lmb_vid y = k->build(l, config);
    if (b->status != LMB_OK && !l->list->placed) {
        lmb_error_context(b->err, "%s:%d:%d: %s takes %s", l->at->file, l->at->line, l->at->column, l->name,
                          lmb_shape_text(lmb_layer_shape(l, l->x), shape, sizeof shape));
        l->list->placed = true;
    }
    return b->status == LMB_OK ? y : LMB_NONE;
}

static lmb_vid build_one(lmb_layers *list, const lmb_tree *item, int place, lmb_vid x)
{
    char name[LMB_LAYER_MAX_NAME + 16];
    lmb_layer l = { list, item, "this item", x };
    const lmb_tree *options;
    lmb_tree alone[2];
    const char *word = kind_word(&l, &options);
    const lmb_layer_kind *k = word ? find(&l, word) : NULL;

    if (!k)
        return LMB_NONE;
    snprintf(name, sizeof name, "%s%d", k->name, place);
    l.name = name;
    void *config = calloc(1, k->config_size);
    if (!config)
        return lmb_layer_refuse(&l, LMB_E_NOMEM, "no memory for its options");
    lmb_status st = bind(&l, k, options, alone, config);
    if (st != LMB_OK) {
        list->net->b.status = st;
        list->placed = true; /* binding names the line */
    } else {
        x = build_named(&l, k, config);
    }
    free(config);
    return st == LMB_OK ? x : LMB_NONE;
}

lmb_vid lmb_layers_append(lmb_layers *list, const lmb_tree *items, const char *scope, lmb_vid x)
{
    lmb_builder *b = &list->net->b;
    size_t had = strlen(b->scope), more = strlen(scope);
    int place = 0;

    if (b->status != LMB_OK)
        return LMB_NONE;
    if (!items || items->kind != LMB_TREE_LIST || !items->child) {
        lmb_layer l = { list, items, *scope ? scope : "layers", x };
        if (items)
            return lmb_layer_refuse(&l, LMB_E_ARG,
                                    "needs a list of layers, at least one: [{conv: {channels: 16}}, ...]");
        b->status =
            LMB_FAIL(b->err, LMB_E_ARG, "%s needs `layers`, a list of them: [{conv: {channels: 16}}, ...]", l.name);
        return LMB_NONE;
    }
    if (more) {
        if (had + more + 2 > sizeof b->scope)
            return lmb_layer_refuse(&(lmb_layer){ list, items, scope, x }, LMB_E_ARG,
                                    "nested too deep for its name, which begins with %s%s; "
                                    "nest less, or give the blocks shorter names",
                                    b->scope, scope);
        snprintf(b->scope + had, sizeof b->scope - had, "%s.", scope);
    }
    for (const lmb_tree *t = items->child; t && b->status == LMB_OK; t = t->next)
        x = build_one(list, t, ++place, x);
    b->scope[had] = '\0';
    return b->status == LMB_OK ? x : LMB_NONE;
}

/* ---- the family of the zoo ---- */

typedef struct config { const char *activation; const lmb_tree *layers; } config;
static const lmb_field fields[] = {
    LMB_TEXT(config, activation, "relu", "of layers that name none themselves"),
    LMB_TREE(config, layers, "the list; `limbeck list layers` shows the kinds"), LMB_FIELD_END
};

static lmb_vid build(lmb_net *n, const void *options, lmb_vid x, int classes)
{
    const config *c = options;
    lmb_layers list = { .net = n, .classes = classes, .activation = c->activation };
    char text[LMB_SHAPE_TEXT];

    x = lmb_layers_append(&list, c->layers, "", x);
    const lmb_shape *s = &lmb_builder_value(&n->b, x)->shape;
    if (n->b.status == LMB_OK && (s->n != 2 || s->d[1] != classes)) {
        lmb_layer last = { &list, c->layers, "the last layer", x };
        return lmb_layer_refuse(&last, LMB_E_SHAPE, "gives %s, and %d classes need [1, %d]; end the list with `dense`",
                                lmb_shape_text(s, text, sizeof text), classes, classes);
    }
    return x;
}

const lmb_model_family lmb_model_layers = {
    "layers", "a list of layers; `limbeck list layers`", "", fields, sizeof(config), build
};
