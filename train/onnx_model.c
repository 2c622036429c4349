/* train/onnx_model.c - a model from an ONNX file as a family of the zoo: to evaluate, to go on training, as a teacher,
 * or with a new head for other classes (transfer learning).
 *
 * The file's graph is appended behind the normalisation that its authors trained with, as an f32 prefix: the common
 * mean and scale bring pixels to what they call 0 to 1, then per-channel mean and deviation. Only what the section
 * names is done: a file that normalises pixels itself must not get them normalised.
 */
#include <stdlib.h>
#include <string.h>

#include "core/onnx/onnx.h"
#include "train/model.h"

typedef struct config {
    const char *path;
    lmb_field_reals channel_mean, channel_deviation;
    bool new_head, freeze;
} config;
static const lmb_field fields[] = {
    LMB_TEXT(config, path, "", "the .onnx file: one input of images, one output of logits"),
    LMB_REALS(config, channel_mean, "[]", -1e6, 1e6, "", "subtracted from each channel after mean and scale"),
    LMB_REALS(config, channel_deviation, "[]", 1e-6, 1e6, "", "then each channel is divided by this"),
    LMB_BOOL(config, new_head, 0, "replace the last linear layer by a new one for the data set's classes"),
    LMB_BOOL(config, freeze, 0, "do not train what came from the file"), LMB_FIELD_END
};

static lmb_status fail(lmb_net *n, lmb_status st)
{
    if (n->b.status == LMB_OK)
        n->b.status = st;
    return st;
}

/* x op v along the channels; v empty: x. */
static lmb_vid per_channel(lmb_net *n, const char *op, lmb_vid x, const lmb_field_reals *v, const char *key)
{
    const lmb_shape *s = &lmb_builder_value(&n->b, x)->shape;
    float f[LMB_FIELD_MAX_LIST];

    if (v->n == 0)
        return x;
    if (s->n != 4 || s->d[1] != v->n) {
        fail(n, LMB_FAIL(n->b.err, LMB_E_ARG, "%s has %d numbers; samples have %lld channels", key, v->n,
                         (long long)(s->n > 1 ? s->d[1] : 0)));
        return LMB_NONE;
    }
    for (int i = 0; i < v->n; i++)
        f[i] = (float)v->v[i];
    lmb_vid c = lmb_emit_value(&n->b, LMB_ROLE_CONSTANT, key, LMB_F32, LMB_SHAPE(v->n, 1, 1), f);
    return lmb_emit(&n->b, op, key, LMB_IN(x, c), LMB_NO_ATTRS);
}

/* Copy a value or a node of `g` behind x; map[] translates ids. */
static lmb_status append(lmb_net *n, const lmb_graph *g, lmb_vid x, bool freeze, lmb_vid *map)
{
    lmb_builder *b = &n->b;

    for (int v = 0; v < g->n_values;) {
        const lmb_value *y = &g->value[v];
        if (y->role == LMB_ROLE_INPUT) {
            map[v++] = x;
            continue;
        }
        if (y->node == LMB_NONE) {
            LMB_TRY(lmb_graph_value(b->g, y->role, y->name, y->dtype, &y->shape, y->data, &map[v], b->err));
            lmb_value *made = &b->g->value[map[v++]];
            made->decay = y->decay;
            made->bits = y->bits;
            made->frozen = freeze || y->frozen;
            continue;
        }
        const lmb_node *node = &g->node[y->node];
        lmb_vid in[LMB_MAX_IN];
        for (int k = 0; k < node->n_in; k++)
            in[k] = node->in[k] == LMB_NONE ? LMB_NONE : map[node->in[k]];
        LMB_TRY(lmb_graph_node_like(b->g, node, in, &map[v], b->err));
        v += node->n_out;
    }
    return LMB_OK;
}

static lmb_vid with_file(lmb_net *n, const config *c, const lmb_graph *g, lmb_vid x, int classes)
{
    lmb_vid *map = malloc(sizeof *map * ((size_t)g->n_values + 1)), out = LMB_NONE;
    lmb_status st =
        map ? append(n, g, x, c->freeze, map) : LMB_FAIL(n->b.err, LMB_E_NOMEM, "no memory to read %s", c->path);

    if (st == LMB_OK && c->new_head) {
        lmb_vid y = g->output[0].value;
        const lmb_node *last = g->value[y].node == LMB_NONE ? NULL : &g->node[g->value[y].node];
        if (!last || strcmp(last->op->name, "Gemm") != 0)
            st = LMB_FAIL(n->b.err, LMB_E_UNSUPPORTED,
                          "%s does not end with a linear layer (Gemm); it can not get a new head", c->path);
        else
            out = lmb_net_linear(n, "new_head", map[last->in[0]], classes);
    } else if (st == LMB_OK) {
        out = map[g->output[0].value];
    }
    free(map);
    if (st != LMB_OK)
        fail(n, st);
    return out;
}

static lmb_vid build(lmb_net *n, const void *cfg, lmb_vid x, int classes)
{
    const config *c = cfg;
    lmb_onnx_import_options o = { .batch = 1 };
    lmb_graph *g = NULL;

    if (n->b.status != LMB_OK)
        return LMB_NONE;
    if (!*c->path) {
        fail(n, LMB_FAIL(n->b.err, LMB_E_ARG, "model onnx needs a `path`"));
        return LMB_NONE;
    }
    lmb_status st = lmb_onnx_read(c->path, &o, &g, n->b.err);
    if (st == LMB_OK && (lmb_graph_input(g, 0) == LMB_NONE || g->n_outputs < 1))
        st = LMB_FAIL(n->b.err, LMB_E_FORMAT, "%s has no input or no output", c->path);
    if (st == LMB_OK) {
        const lmb_shape *want = &g->value[lmb_graph_input(g, 0)].shape, *have = &lmb_builder_value(&n->b, x)->shape;
        char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];
        if (!lmb_shape_equal(want, have))
            st = LMB_FAIL(n->b.err, LMB_E_SHAPE, "%s takes %s, the data gives %s", c->path,
                          lmb_shape_text(want, a, sizeof a), lmb_shape_text(have, b, sizeof b));
    }
    if (st != LMB_OK) {
        fail(n, st);
        lmb_graph_destroy(g);
        return LMB_NONE;
    }
    x = per_channel(n, "Sub", x, &c->channel_mean, "channel_mean");
    x = per_channel(n, "Div", x, &c->channel_deviation, "channel_deviation");
    lmb_vid y = with_file(n, c, g, x, classes);
    lmb_graph_destroy(g);
    return y;
}

const lmb_model_family lmb_model_onnx = {
    "onnx", "a model from an ONNX file, with a new head if wanted", "", fields, sizeof(config), build, .raw = true
};
