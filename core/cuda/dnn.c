/* core/cuda/dnn.c - what cuDNN is told of a convolution and of what follows it. See dnn.h. */
#include <stdlib.h>
#include <string.h>

#include "core/cuda/dnn_internal.h"

/* ---- descriptors ---- */

lmb_status lmbi_dnn_make(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out, lmb_error *err)
{
    return lmbi_dnn_check(cudnnBackendCreateDescriptor(type, out), "making a descriptor", err);
}

lmb_status lmbi_dnn_set(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                        int64_t n, const void *values, lmb_error *err)
{
    return lmbi_dnn_check(cudnnBackendSetAttribute(d, name, type, n, values), "setting an attribute", err);
}

lmb_status lmbi_dnn_finish(cudnnBackendDescriptor_t d, const char *doing, lmb_error *err)
{
    return lmbi_dnn_check(cudnnBackendFinalize(d), doing, err);
}

void lmbi_dnn_drop(cudnnBackendDescriptor_t *d)
{
    if (*d)
        cudnnBackendDestroyDescriptor(*d);
    *d = NULL;
}

/* ---- tensors ---- */

static cudnnDataType_t type_of(lmb_dtype t) { return t == LMB_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT; }

/* The next tensor of the graph. `inside`: it lives between two operations, and never in memory. */
static lmb_status tensor(lmbi_dnn *d, lmb_dtype kept, bool last, bool inside, const int64_t n[4],
                         cudnnBackendDescriptor_t **out, lmb_error *err)
{
    int64_t plain[4] = { n[1] * n[2] * n[3], n[2] * n[3], n[3], 1 },
            nhwc[4] = { n[1] * n[2] * n[3], 1, n[3] * n[1], n[1] };
    int64_t id = d->n_tensors + 1, alignment = 16;
    cudnnDataType_t type = type_of(kept);
    cudnnBackendDescriptor_t *t = &d->tensor[d->n_tensors++];

    LMB_TRY(lmbi_dnn_make(CUDNN_BACKEND_TENSOR_DESCRIPTOR, t, err));
    LMB_TRY(lmbi_dnn_set(*t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type, err));
    LMB_TRY(lmbi_dnn_set(*t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, n, err));
    LMB_TRY(lmbi_dnn_set(*t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, last ? nhwc : plain, err));
    LMB_TRY(lmbi_dnn_set(*t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id, err));
    LMB_TRY(lmbi_dnn_set(*t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment, err));
    LMB_TRY(lmbi_dnn_set(*t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &inside, err));
    *out = t;
    return lmbi_dnn_finish(*t, "describing a tensor", err);
}

/* ---- the convolution ---- */

static lmb_status convolution(cudnnBackendDescriptor_t *out, const lmb_conv *g, lmb_error *err)
{
    int64_t two = 2, stride[2] = { g->sh, g->sw }, dilation[2] = { g->dh, g->dw }, before[2] = { g->ph, g->pw },
            after[2] = { g->ph2, g->pw2 };
    cudnnDataType_t type = CUDNN_DATA_FLOAT; /* sums are f32, whatever the operands are */
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;

    LMB_TRY(lmbi_dnn_make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, out, err));
    LMB_TRY(lmbi_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &two, err));
    LMB_TRY(lmbi_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type, err));
    LMB_TRY(lmbi_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode, err));
    LMB_TRY(lmbi_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride, err));
    LMB_TRY(lmbi_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation, err));
    LMB_TRY(lmbi_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before, err));
    LMB_TRY(lmbi_dnn_set(*out, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after, err));
    return lmbi_dnn_finish(*out, "describing a convolution", err);
}

/* What the three operations call their attributes. */
static const struct names {
    cudnnBackendDescriptorType_t operation;
    cudnnBackendAttributeName_t conv, x, w, y, alpha, beta;
} names[] = {
    [LMBI_DNN_FORWARD] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA },
    [LMBI_DNN_DATA] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA },
    [LMBI_DNN_WEIGHTS] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA },
};

lmbi_dnn_kind lmbi_dnn_kind_of(const char *op)
{
    return strcmp(op, "ConvGradData") == 0      ? LMBI_DNN_DATA
           : strcmp(op, "ConvGradWeights") == 0 ? LMBI_DNN_WEIGHTS
                                                : LMBI_DNN_FORWARD;
}

static lmb_status operation(lmbi_dnn *d, const struct names *n, const lmb_conv *g, const cudnnBackendDescriptor_t *x,
                            const cudnnBackendDescriptor_t *w, const cudnnBackendDescriptor_t *y, lmb_error *err)
{
    cudnnBackendDescriptor_t *op = &d->operation[d->n_stages], *how = &d->how[d->n_stages];
    float one = 1, zero = 0;

    d->n_stages++;
    LMB_TRY(convolution(how, g, err));
    LMB_TRY(lmbi_dnn_make(n->operation, op, err));
    LMB_TRY(lmbi_dnn_set(*op, n->conv, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, how, err));
    LMB_TRY(lmbi_dnn_set(*op, n->x, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, x, err));
    LMB_TRY(lmbi_dnn_set(*op, n->w, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, w, err));
    LMB_TRY(lmbi_dnn_set(*op, n->y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, y, err));
    LMB_TRY(lmbi_dnn_set(*op, n->alpha, CUDNN_TYPE_FLOAT, 1, &one, err));
    LMB_TRY(lmbi_dnn_set(*op, n->beta, CUDNN_TYPE_FLOAT, 1, &zero, err));
    return lmbi_dnn_finish(*op, "describing an operation", err);
}

/* ---- what follows it ---- */

/* y = x + b, or, without b, y = x held between 0 and hi (0: no upper limit). */
static lmb_status pointwise(lmbi_dnn *d, const cudnnBackendDescriptor_t *x, const cudnnBackendDescriptor_t *b,
                            const cudnnBackendDescriptor_t *y, double hi, lmb_error *err)
{
    cudnnBackendDescriptor_t *op = &d->operation[d->n_stages], *how = &d->how[d->n_stages];
    cudnnPointwiseMode_t mode = b ? CUDNN_POINTWISE_ADD : CUDNN_POINTWISE_RELU_FWD;
    cudnnDataType_t type = CUDNN_DATA_FLOAT;

    d->n_stages++;
    LMB_TRY(lmbi_dnn_make(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, how, err));
    LMB_TRY(lmbi_dnn_set(*how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode, err));
    LMB_TRY(lmbi_dnn_set(*how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type, err));
    if (!b && hi > 0)
        LMB_TRY(lmbi_dnn_set(*how, CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, CUDNN_TYPE_DOUBLE, 1, &hi, err));
    LMB_TRY(lmbi_dnn_finish(*how, "describing what follows a convolution", err));
    LMB_TRY(lmbi_dnn_make(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, op, err));
    LMB_TRY(
        lmbi_dnn_set(*op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, how, err));
    LMB_TRY(lmbi_dnn_set(*op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, x, err));
    if (b)
        LMB_TRY(lmbi_dnn_set(*op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, b, err));
    LMB_TRY(lmbi_dnn_set(*op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, y, err));
    return lmbi_dnn_finish(*op, "describing what follows a convolution", err);
}

/* The result of one stage: in memory after the last one, else f32 and between two. */
static lmb_status result(lmbi_dnn *d, const int64_t n[4], int *left, cudnnBackendDescriptor_t **out, lmb_error *err)
{
    bool last = --*left == 0;

    LMB_TRY(tensor(d, last ? d->form.maps : LMB_F32, d->form.maps_nhwc, !last, n, out, err));
    if (last)
        d->id[2] = d->n_tensors;
    return LMB_OK;
}

static lmb_status describe(lmbi_dnn *d, const struct names *n, const lmb_conv *g, const lmbi_dnn_ending *e,
                           lmb_error *err)
{
    const int64_t x[4] = { g->n, g->c, g->h, g->w }, w[4] = { g->k, g->c / g->group, g->kh, g->kw },
                  y[4] = { g->n, g->k, g->oh, g->ow };
    const int64_t b[4] = { 1, g->k, 1, 1 };
    const lmbi_dnn_form *f = &d->form;
    int left = 1 + e->add + e->bias + (e->function != 0);
    cudnnBackendDescriptor_t *tx, *tw, *ty, *other, *next;

    LMB_TRY(tensor(d, f->maps, f->maps_nhwc, false, x, &tx, err));
    d->id[0] = d->n_tensors;
    LMB_TRY(tensor(d, f->weights, f->weights_nhwc, false, w, &tw, err));
    d->id[1] = d->n_tensors;
    LMB_TRY(result(d, y, &left, &ty, err));
    LMB_TRY(operation(d, n, g, tx, tw, ty, err));
    for (int k = 0; k < 2; k++) { /* the sum first: the order that cuDNN has engines of its own for */
        if (k == 0 ? !e->add : !e->bias)
            continue;
        LMB_TRY(tensor(d, k == 0 ? f->maps : LMB_F32, f->maps_nhwc, false, k == 0 ? y : b, &other, err));
        d->id[k == 0 ? 4 : 3] = d->n_tensors;
        LMB_TRY(result(d, y, &left, &next, err));
        LMB_TRY(pointwise(d, ty, other, next, 0, err));
        ty = next;
    }
    if (!e->function)
        return LMB_OK;
    LMB_TRY(result(d, y, &left, &next, err));
    return pointwise(d, ty, NULL, next, e->function == 'C' ? e->hi : 0, err);
}

lmb_status lmbi_dnn_describe(lmbi_dnn_kind kind, const lmb_conv *g, const lmbi_dnn_form *form,
                             const lmbi_dnn_ending *ending, lmbi_dnn **out, lmb_error *err)
{
    lmbi_dnn *d = calloc(1, sizeof *d);

    if (!d)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a convolution");
    d->form = *form;
    lmb_status st = describe(d, &names[kind], g, ending, err);
    if (st != LMB_OK) {
        lmbi_dnn_destroy(d);
        return st;
    }
    *out = d;
    return LMB_OK;
}

void lmbi_dnn_destroy(lmbi_dnn *d)
{
    if (!d)
        return;
    lmbi_dnn_drop(&d->variants);
    for (int i = 0; i < LMBI_DNN_TRIED; i++)
        lmbi_dnn_drop(&d->made[i].plan);
    for (int i = 0; i < LMBI_DNN_ENGINES; i++)
        lmbi_dnn_drop(&d->config[i]);
    lmbi_dnn_drop(&d->heuristics);
    lmbi_dnn_drop(&d->graph);
    for (int i = LMBI_DNN_STAGES - 1; i >= 0; i--) {
        lmbi_dnn_drop(&d->operation[i]);
        lmbi_dnn_drop(&d->how[i]);
    }
    for (int i = 0; i < LMBI_DNN_TENSORS; i++)
        lmbi_dnn_drop(&d->tensor[i]);
    free(d);
}
