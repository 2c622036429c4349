/* core/ops/unary.c - activation functions: one row each, y = f(x) and dx = dy * f'(x, y).
 *
 *   LeakyRelu    x < 0 ? alpha x : x
 *   Sigmoid      1 / (1 + e^-x)
 *   HardSigmoid  max(0, min(1, alpha x + beta))
 *   HardSwish    x max(0, min(1, x/6 + 1/2))
 *   Tanh         tanh x
 *
 * The gradient is one op, UnaryGrad(dy, x, y) with the function's name and alpha, beta as attributes. f32
 * (and f64 forward).
 *   source   ONNX LeakyRelu-6, Sigmoid-13, HardSigmoid-6, HardSwish-14, Tanh-13
 */
#include <math.h>
#include <string.h>

#include "core/ops/attrs.h"
#include "core/ops/common.h"

static const lmb_attr_row leaky_rows[] = { LMB_A_REAL(lmb_unary_attr, alpha, 0.01f), LMB_A_END };
static const lmb_attr_row hard_rows[] = { LMB_A_REAL(lmb_unary_attr, alpha, 0.2f),
                                          LMB_A_REAL(lmb_unary_attr, beta, 0.5f), LMB_A_END };
static const lmb_attr_row grad_rows[] = { LMB_A_REAL(lmb_unary_attr, alpha, 0), LMB_A_REAL(lmb_unary_attr, beta, 0),
                                          LMB_A_TEXT(lmb_unary_attr, function, ""), LMB_A_END };

static double leaky(double x, const lmb_unary_attr *a) { return x < 0 ? a->alpha * x : x; }
static double leaky_d(double x, double y, const lmb_unary_attr *a) { (void)y; return x < 0 ? a->alpha : 1; }
static double sigmoid(double x, const lmb_unary_attr *a) { (void)a; return 1 / (1 + exp(-x)); }
static double sigmoid_d(double x, double y, const lmb_unary_attr *a) { (void)x; (void)a; return y * (1 - y); }
static double clip01(double x) { return x < 0 ? 0 : x > 1 ? 1 : x; }
static double hard_sigmoid(double x, const lmb_unary_attr *a) { return clip01(a->alpha * x + a->beta); }
static double hard_sigmoid_d(double x, double y, const lmb_unary_attr *a)
{
    (void)x;
    return y > 0 && y < 1 ? a->alpha : 0;
}
static double hard_swish(double x, const lmb_unary_attr *a) { (void)a; return x * clip01(x / 6 + 0.5); }
static double hard_swish_d(double x, double y, const lmb_unary_attr *a)
{
    (void)y; (void)a;
    return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5;
}
static double tanh_f(double x, const lmb_unary_attr *a) { (void)a; return tanh(x); }
static double tanh_d(double x, double y, const lmb_unary_attr *a) { (void)x; (void)a; return 1 - y * y; }

typedef struct function {
    const char *name;
    double (*f)(double x, const lmb_unary_attr *a);
    double (*d)(double x, double y, const lmb_unary_attr *a);
} function;
static const function functions[] = {
    { "LeakyRelu", leaky, leaky_d }, { "Sigmoid", sigmoid, sigmoid_d }, { "HardSigmoid", hard_sigmoid, hard_sigmoid_d },
    { "HardSwish", hard_swish, hard_swish_d }, { "Tanh", tanh_f, tanh_d },
};

static const function *find(const char *name)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (strcmp(functions[i].name, name) == 0)
            return &functions[i];
    return NULL;
}

static lmb_status unary_infer(const lmb_call *c, lmb_error *err)
{
    if (c->in[0].dtype != LMB_F32 && c->in[0].dtype != LMB_F64)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s of %s; f32 and f64 are supported", c->op->name,
                        lmb_dtype_name(c->in[0].dtype));
    return lmbi_infer_same(c, err);
}

static lmb_status run_function(const function *f, const lmb_run *r)
{
    int64_t n = lmb_shape_count(&r->out[0].shape);

    if (r->in[0].dtype == LMB_F64)
        for (int64_t i = 0; i < n; i++)
            ((double *)r->out[0].data)[i] = f->f(((const double *)r->in[0].data)[i], r->attr);
    else
        for (int64_t i = 0; i < n; i++)
            ((float *)r->out[0].data)[i] = (float)f->f((double)((const float *)r->in[0].data)[i], r->attr);
    return LMB_OK;
}

static lmb_status unary_grad(lmb_grad *g, lmb_error *err)
{
    const lmb_unary_attr *a = g->node->op->attr_size ? g->node->attr : NULL;
    (void)err;
    g->din[0] = lmb_emit(g->b, "UnaryGrad", NULL, LMB_IN(g->dout[0], g->node->in[0], g->node->out[0]),
                         LMB_ATTRS(LMB_AREAL("alpha", a ? a->alpha : 0), LMB_AREAL("beta", a ? a->beta : 0),
                                   LMB_ATEXT("function", g->node->op->name)));
    return LMB_OK;
}

#define ROW(lower, Name, formula, version, index, size, attr_rows)                                           \
    static lmb_status lower##_run(const lmb_run *r, lmb_error *err)                                          \
    {                                                                                                        \
        (void)err;                                                                                           \
        return run_function(&functions[index], r);                                                           \
    }                                                                                                        \
    const lmb_op lmb_op_##lower = {                                                                          \
        .name = Name, .domain = "", .summary = formula, .source = "ONNX " Name "-" #version, .since = version, \
        .min_in = 1, .max_in = 1, .min_out = 1, .max_out = 1, .flags = LMB_OP_ELEMENTWISE,                   \
        .attr_size = size, .attrs = attr_rows, .infer = unary_infer, .grad = unary_grad,                     \
        .cost = lmbi_cost_elementwise, .axes = lmbi_axes_same, .run = lower##_run,                           \
    }
ROW(leaky_relu, "LeakyRelu", "y = x < 0 ? alpha x : x", 6, 0, sizeof(lmb_unary_attr), leaky_rows);
ROW(sigmoid, "Sigmoid", "y = 1 / (1 + exp(-x))", 13, 1, 0, NULL);
ROW(hard_sigmoid, "HardSigmoid", "y = max(0, min(1, alpha x + beta))", 6, 2, sizeof(lmb_unary_attr), hard_rows);
ROW(hard_swish, "HardSwish", "y = x max(0, min(1, x/6 + 1/2))", 14, 3, 0, NULL);
ROW(tanh, "Tanh", "y = tanh x", 13, 4, 0, NULL);

static lmb_status grad_infer(const lmb_call *c, lmb_error *err)
{
    for (int i = 0; i < 3; i++) {
        LMB_TRY(lmbi_want(c, i, LMB_F32, "operand", err));
        if (!lmb_shape_equal(&c->in[i].shape, &c->in[0].shape))
            return LMB_FAIL(err, LMB_E_SHAPE, "dy, x and y have different shapes");
    }
    if (!find(((const lmb_unary_attr *)c->attr)->function))
        return LMB_FAIL(err, LMB_E_ARG, "no function '%s'", ((const lmb_unary_attr *)c->attr)->function);
    return lmbi_infer_same(c, err);
}

static lmb_status grad_run(const lmb_run *r, lmb_error *err)
{
    const function *f = find(((const lmb_unary_attr *)r->attr)->function);
    const float *dy = r->in[0].data, *x = r->in[1].data, *y = r->in[2].data;
    float *dx = r->out[0].data;
    int64_t n = lmb_shape_count(&r->out[0].shape);

    (void)err;
    for (int64_t i = 0; i < n; i++)
        dx[i] = (float)(dy[i] * f->d(x[i], y[i], r->attr));
    return LMB_OK;
}

const lmb_op lmb_op_unary_grad = {
    .name = "UnaryGrad", .domain = "limbeck", .summary = "dx = dy * f'(x)", .source = "gradient of the functions above",
    .min_in = 3, .max_in = 3, .min_out = 1, .max_out = 1, .flags = LMB_OP_ELEMENTWISE | LMB_OP_INPLACE,
    .attr_size = sizeof(lmb_unary_attr), .attrs = grad_rows, .infer = grad_infer, .cost = lmbi_cost_elementwise,
    .run = grad_run,
};
