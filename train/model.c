/* train/model.c - layers with their initial weights, and building by name. See model.h. */
#include "train/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/random.h"
#include "core/base/threads.h"

typedef struct common { double mean, scale, bn_momentum; } common;
const lmb_field lmb_model_common_fields[] = {
    LMB_REAL(common, mean, 128, 0, 255, "",
             "subtracted from raw pixels; a whole number is exact in integers; model onnx: 0 unless it is named"),
    LMB_REAL(common, scale, 0.0157, 1e-9, 1e9, "", "then multiplied; model onnx: 1 unless it is named"),
    LMB_REAL(common, bn_momentum, 0.9, 0, 1, "", "memory of BatchNormalization's running statistics"), LMB_FIELD_END
};

enum { COPIES = 3 }; /* of every weight that any training has at least: the model's, the state's, a gradient */

/* Memory for the content of a tensor; NULL after an error. A model that no training could hold is refused here, with
 * the layer that is too much: `config check` builds models. */
static float *room_for(lmb_net *n, const char *name, double count)
{
    double bytes = (n->numbers += count) * sizeof(float) * COPIES, limit = lmb_memory_bytes();

    if (n->b.status != LMB_OK)
        return NULL;
    float *w = bytes < limit ? malloc(sizeof *w * ((size_t)count + 1)) : NULL;
    if (!w)
        n->b.status =
            LMB_FAIL(n->b.err, LMB_E_NOMEM,
                     "with %s the model has %.3g numbers; a training keeps each %d times or more, %.3g GB, and this "
                     "machine has %.3g GB: make the layers smaller",
                     name, n->numbers, COPIES, bytes / 1e9, limit / 1e9);
    return w;
}

/* He et al. 2015: variance 2 / fan_out for convolutions; uniform +-1/sqrt(fan_in) for the last layers. */
static lmb_vid weights(lmb_net *n, const char *name, lmb_shape shape, double deviation, bool uniform)
{
    int64_t count = lmb_shape_count(&shape);
    float *w = room_for(n, name, (double)count);
    lmb_rand r = lmb_rand_at(n->seed, LMB_RAND_INIT, 0, n->draws++);

    if (!w)
        return LMB_NONE;
    for (int64_t i = 0; i < count; i++)
        w[i] = (float)(uniform ? deviation * (2 * lmb_rand_uniform(&r, (uint32_t)i) - 1)
                               : deviation * lmb_rand_normal(&r, (uint32_t)i));
    lmb_vid v = lmb_emit_value(&n->b, LMB_ROLE_PARAMETER, name, LMB_F32, shape, w);
    free(w);
    return v;
}

static lmb_vid filled(lmb_net *n, lmb_role role, const char *name, int64_t count, float value)
{
    float *w = room_for(n, name, (double)count);
    if (!w)
        return LMB_NONE;
    for (int64_t i = 0; i < count; i++)
        w[i] = value;
    lmb_vid v = lmb_emit_value(&n->b, role, name, LMB_F32, LMB_SHAPE(count), w);
    free(w);
    if (v != LMB_NONE)
        n->b.g->value[v].decay = 0;
    return v;
}

static const char *part(char *buf, size_t cap, const char *name, const char *what)
{
    snprintf(buf, cap, "%s.%s", name, what);
    return buf;
}

lmb_vid lmb_net_conv(lmb_net *n, const char *name, lmb_vid x, lmb_conv_layer l)
{
    char buf[128];
    const lmb_shape *s = &lmb_builder_value(&n->b, x)->shape;
    int64_t groups = l.groups ? l.groups : 1, stride = l.stride ? l.stride : 1, c = s->n > 1 ? s->d[1] : 1,
            p = l.unpadded ? 0 : l.kernel / 2;
    bool line = s->n == 3;
    lmb_shape ws = line ? LMB_SHAPE(l.out, c / groups, l.kernel) : LMB_SHAPE(l.out, c / groups, l.kernel, l.kernel);
    double fan_out = (double)(l.out / groups) * (double)(line ? l.kernel : l.kernel * l.kernel);
    lmb_vid in[3] = { x, weights(n, part(buf, sizeof buf, name, "weight"), ws, sqrt(2 / fan_out), false), LMB_NONE };

    if (l.bias)
        in[2] = filled(n, LMB_ROLE_PARAMETER, part(buf, sizeof buf, name, "bias"), l.out, 0);
    if (line)
        return lmb_emit(&n->b, "Conv", name, in, l.bias ? 3 : 2,
                        LMB_ATTRS(LMB_AINTS("kernel_shape", l.kernel), LMB_AINTS("pads", p, p),
                                  LMB_AINTS("strides", stride), LMB_AINT("group", groups)));
    return lmb_emit(&n->b, "Conv", name, in, l.bias ? 3 : 2,
                    LMB_ATTRS(LMB_AINTS("kernel_shape", l.kernel, l.kernel), LMB_AINTS("pads", p, p, p, p),
                              LMB_AINTS("strides", stride, stride), LMB_AINT("group", groups)));
}

lmb_vid lmb_net_norm(lmb_net *n, const char *name, lmb_vid x)
{
    char buf[128];
    int64_t c = lmb_builder_value(&n->b, x)->shape.d[1];
    lmb_vid scale = filled(n, LMB_ROLE_PARAMETER, part(buf, sizeof buf, name, "scale"), c, 1);
    lmb_vid bias = filled(n, LMB_ROLE_PARAMETER, part(buf, sizeof buf, name, "bias"), c, 0);
    lmb_vid mean = filled(n, LMB_ROLE_STATISTIC, part(buf, sizeof buf, name, "mean"), c, 0);
    lmb_vid var = filled(n, LMB_ROLE_STATISTIC, part(buf, sizeof buf, name, "var"), c, 1);

    return lmb_emit(&n->b, "BatchNormalization", name, LMB_IN(x, scale, bias, mean, var),
                    LMB_ATTRS(LMB_AREAL("momentum", (float)n->bn_momentum)));
}

lmb_vid lmb_net_activation(lmb_net *n, const char *kind, lmb_vid x)
{
    static const char *const names[][2] = { { "relu", "Relu" }, { "hardswish", "HardSwish" }, { "sigmoid", "Sigmoid" },
                                            { "hardsigmoid", "HardSigmoid" }, { "tanh", "Tanh" }, { "leaky_relu",
                                              "LeakyRelu" } };
    if (!*kind)
        return x;
    if (strcmp(kind, "relu6") == 0)
        return lmb_emit(&n->b, "Clip", "relu6", LMB_IN(x, lmb_emit_scalar(&n->b, 0), lmb_emit_scalar(&n->b, 6)),
                        LMB_NO_ATTRS);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i][0], kind) == 0)
            return lmb_emit(&n->b, names[i][1], kind, LMB_IN(x), LMB_NO_ATTRS);
    if (n->b.status == LMB_OK)
        n->b.status = LMB_FAIL(n->b.err, LMB_E_ARG, "activation '%s'; it must be relu, relu6, leaky_relu, hardswish, "
                               "hardsigmoid, sigmoid or tanh", kind);
    return LMB_NONE;
}

lmb_vid lmb_net_linear(lmb_net *n, const char *name, lmb_vid x, int64_t out)
{
    char buf[128];
    const lmb_shape *s = &lmb_builder_value(&n->b, x)->shape;
    int64_t in = s->n == 2 ? s->d[1] : 1;
    double limit = 1 / sqrt((double)in);
    lmb_vid w = weights(n, part(buf, sizeof buf, name, "weight"), LMB_SHAPE(out, in), limit, true);
    lmb_vid bias = filled(n, LMB_ROLE_PARAMETER, part(buf, sizeof buf, name, "bias"), out, 0);

    return lmb_emit(&n->b, "Gemm", name, LMB_IN(x, w, bias), LMB_ATTRS(LMB_AINT("transB", 1)));
}

static lmb_vid pool(lmb_net *n, const char *op, lmb_vid x, int64_t k, int64_t s, int64_t p)
{
    if (lmb_builder_value(&n->b, x)->shape.n == 3)
        return lmb_emit(&n->b, op, "pool", LMB_IN(x),
                        LMB_ATTRS(LMB_AINTS("kernel_shape", k), LMB_AINTS("strides", s), LMB_AINTS("pads", p, p)));
    return lmb_emit(
        &n->b, op, "pool", LMB_IN(x),
        LMB_ATTRS(LMB_AINTS("kernel_shape", k, k), LMB_AINTS("strides", s, s), LMB_AINTS("pads", p, p, p, p)));
}

lmb_vid lmb_net_max_pool(lmb_net *n, lmb_vid x, int64_t k, int64_t s, int64_t p)
{
    return pool(n, "MaxPool", x, k, s, p);
}
lmb_vid lmb_net_average_pool(lmb_net *n, lmb_vid x, int64_t k, int64_t s, int64_t p)
{
    return pool(n, "AveragePool", x, k, s, p);
}

lmb_vid lmb_net_flatten(lmb_net *n, lmb_vid x)
{
    return lmb_emit(&n->b, "Flatten", "flatten", LMB_IN(x), LMB_NO_ATTRS);
}

lmb_vid lmb_net_global_pool(lmb_net *n, lmb_vid x)
{
    return lmb_net_flatten(n, lmb_emit(&n->b, "GlobalAveragePool", "global_pool", LMB_IN(x), LMB_NO_ATTRS));
}

lmb_vid lmb_net_dropout(lmb_net *n, lmb_vid x, double ratio)
{
    if (ratio <= 0)
        return x;
    return lmb_emit(&n->b, "Dropout", "dropout", LMB_IN(x, lmb_emit_scalar(&n->b, (float)ratio)),
                    LMB_ATTRS(LMB_AINT("seed", ++n->dropouts)));
}

lmb_vid lmb_net_conv_norm(lmb_net *n, const char *name, lmb_vid x, lmb_conv_layer l, const char *activation)
{
    char buf[128];
    x = lmb_net_conv(n, part(buf, sizeof buf, name, "conv"), x, l);
    x = lmb_net_norm(n, part(buf, sizeof buf, name, "bn"), x);
    return lmb_net_activation(n, activation, x);
}

/* Option rows of a family with the common ones behind them, over one struct: family first, then common. */
static lmb_status bind(const lmb_model_family *f, const lmb_tree *t, void *config, common *c, lmb_error *err)
{
    lmb_field rows[40];
    int n = 0;

    for (const lmb_field *r = f->fields; r->key; r++)
        rows[n++] = *r;
    for (const lmb_field *r = lmb_model_common_fields; r->key; r++) {
        rows[n] = *r;
        rows[n++].offset += f->config_size;
    }
    rows[n] = (lmb_field)LMB_FIELD_END;
    LMB_TRY(lmb_fields_bind(rows, t, config, err));
    memcpy(c, (char *)config + f->config_size, sizeof *c);
    if (f->raw && !lmb_tree_has(t, "mean"))
        c->mean = 0;
    if (f->raw && !lmb_tree_has(t, "scale"))
        c->scale = 1;
    return LMB_OK;
}

static const lmb_model_family *find(const lmb_tree *t, const char *name, lmb_error *err)
{
    const char *names[32];
    int n = 0;

    for (int i = 0; lmb_model_families[i] && n < 31; i++) {
        names[n++] = lmb_model_families[i]->name;
        if (strcmp(lmb_model_families[i]->name, name) == 0)
            return lmb_model_families[i];
    }
    names[n] = NULL;
    const char *near = lmb_nearest(name, names);
    lmb_tree_fail(t, err, LMB_E_ARG, "there is no model '%s'%s%s; `limbeck list models` shows all", name,
                  near ? "; did you mean " : "", near ? near : "");
    return NULL;
}

lmb_status lmb_model_build(const lmb_tree *model, const lmb_shape *sample, int classes, uint64_t seed, lmb_graph **out,
                           lmb_error *err)
{
    const char *name;
    common c;
    lmb_shape input = *sample;
    lmb_graph *g = NULL;
    lmb_net n = { .seed = seed };

    LMB_TRY(lmb_tree_name(model, &name, err));
    const lmb_model_family *f = find(model, name, err);
    if (!f)
        return LMB_E_ARG;
    void *config = calloc(1, f->config_size + sizeof c);
    if (!config)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to build a model");
    lmb_status st = bind(f, model, config, &c, err);
    if (st == LMB_OK)
        st = lmb_graph_create(&g, err);
    if (st == LMB_OK) {
        memmove(input.d + 1, sample->d, sizeof *input.d * (size_t)sample->n);
        input.d[0] = 1;
        input.n = sample->n + 1;
        n.b = lmb_builder_of(g, err);
        n.bn_momentum = c.bn_momentum;
        lmb_vid x = lmb_emit_value(&n.b, LMB_ROLE_INPUT, "x", LMB_F32, input, NULL);
        if (!f->raw || c.mean != 0)
            x = lmb_emit(&n.b, "Sub", "centre", LMB_IN(x, lmb_emit_scalar(&n.b, (float)c.mean)), LMB_NO_ATTRS);
        if (!f->raw || c.scale != 1)
            x = lmb_emit(&n.b, "Mul", "normalise", LMB_IN(x, lmb_emit_scalar(&n.b, (float)c.scale)), LMB_NO_ATTRS);
        lmb_emit_output(&n.b, "logits", f->build(&n, config, x, classes));
        st = lmb_builder_status(&n.b);
    }
    free(config);
    if (st != LMB_OK) {
        lmb_graph_destroy(g);
        return lmb_error_context(err, "model %s", name), st;
    }
    *out = g;
    return LMB_OK;
}
