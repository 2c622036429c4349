/* core/cuda/dnn.c - see dnn.h. */
#include "core/cuda/dnn.h"

#include <stdlib.h>
#include <string.h>

enum { X = 'x', W = 'w', Y = 'y' }; /* the tensors' ids in the graph */
enum { MOST_ENGINES = 32 };
static const int64_t most_workspace = (int64_t)512 << 20;

struct lmbi_dnn {
    cudnnBackendDescriptor_t tensor[3], conv, operation, graph, heuristics, plan, variants;
    cudnnBackendDescriptor_t config[MOST_ENGINES];
    void *workspace; /* on the device */
};

/* ---- descriptors ---- */

static lmb_status make(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out, lmb_error *err)
{
    return lmbi_dnn_check(cudnnBackendCreateDescriptor(type, out), "making a descriptor", err);
}

static lmb_status set(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n,
                      const void *values, lmb_error *err)
{
    return lmbi_dnn_check(cudnnBackendSetAttribute(d, name, type, n, values), "setting an attribute", err);
}

static lmb_status finish(cudnnBackendDescriptor_t d, const char *doing, lmb_error *err)
{
    return lmbi_dnn_check(cudnnBackendFinalize(d), doing, err);
}

static lmb_status tensor(cudnnBackendDescriptor_t *out, int64_t id, const int64_t d[4], lmb_error *err)
{
    int64_t stride[4] = { d[1] * d[2] * d[3], d[2] * d[3], d[3], 1 }, alignment = 16;
    cudnnDataType_t type = CUDNN_DATA_FLOAT;

    LMB_TRY(make(CUDNN_BACKEND_TENSOR_DESCRIPTOR, out, err));
    LMB_TRY(set(*out, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type, err));
    LMB_TRY(set(*out, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, d, err));
    LMB_TRY(set(*out, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride, err));
    LMB_TRY(set(*out, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id, err));
    LMB_TRY(set(*out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment, err));
    return finish(*out, "describing a tensor", err);
}

static lmb_status convolution(cudnnBackendDescriptor_t *out, const lmb_conv *g, lmb_error *err)
{
    int64_t two = 2, stride[2] = { g->sh, g->sw }, dilation[2] = { g->dh, g->dw }, before[2] = { g->ph, g->pw },
            after[2] = { g->ph2, g->pw2 };
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;

    LMB_TRY(make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, out, err));
    LMB_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &two, err));
    LMB_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type, err));
    LMB_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode, err));
    LMB_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride, err));
    LMB_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation, err));
    LMB_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, before, err));
    LMB_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, after, err));
    return finish(*out, "describing a convolution", err);
}

/* What the three operations call their attributes. */
static const struct names {
    cudnnBackendDescriptorType_t operation;
    cudnnBackendAttributeName_t conv, x, w, y, alpha, beta;
} names[] = {
    [LMBI_DNN_FORWARD] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA },
    [LMBI_DNN_DATA] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA },
    [LMBI_DNN_WEIGHTS] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA },
};

lmbi_dnn_kind lmbi_dnn_kind_of(const char *op)
{
    return strcmp(op, "ConvGradData") == 0 ? LMBI_DNN_DATA : strcmp(op, "ConvGradWeights") == 0 ? LMBI_DNN_WEIGHTS : LMBI_DNN_FORWARD;
}

static lmb_status describe(lmbi_dnn *d, const struct names *n, const lmb_conv *g, lmb_error *err)
{
    const int64_t x[4] = { g->n, g->c, g->h, g->w }, w[4] = { g->k, g->c / g->group, g->kh, g->kw }, y[4] = { g->n, g->k, g->oh, g->ow };
    float one = 1, zero = 0;

    LMB_TRY(tensor(&d->tensor[0], X, x, err));
    LMB_TRY(tensor(&d->tensor[1], W, w, err));
    LMB_TRY(tensor(&d->tensor[2], Y, y, err));
    LMB_TRY(convolution(&d->conv, g, err));
    LMB_TRY(make(n->operation, &d->operation, err));
    LMB_TRY(set(d->operation, n->conv, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &d->conv, err));
    LMB_TRY(set(d->operation, n->x, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &d->tensor[0], err));
    LMB_TRY(set(d->operation, n->w, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &d->tensor[1], err));
    LMB_TRY(set(d->operation, n->y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &d->tensor[2], err));
    LMB_TRY(set(d->operation, n->alpha, CUDNN_TYPE_FLOAT, 1, &one, err));
    LMB_TRY(set(d->operation, n->beta, CUDNN_TYPE_FLOAT, 1, &zero, err));
    return finish(d->operation, "describing an operation", err);
}

lmb_status lmbi_dnn_describe(lmbi_dnn_kind kind, const lmb_conv *g, lmbi_dnn **out, lmb_error *err)
{
    lmbi_dnn *d = calloc(1, sizeof *d);

    if (!d)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a convolution");
    lmb_status st = describe(d, &names[kind], g, err);
    if (st != LMB_OK) {
        lmbi_dnn_destroy(d);
        return st;
    }
    *out = d;
    return LMB_OK;
}

static void drop(cudnnBackendDescriptor_t *d)
{
    if (*d)
        cudnnBackendDestroyDescriptor(*d);
    *d = NULL;
}

void lmbi_dnn_destroy(lmbi_dnn *d)
{
    if (!d)
        return;
    drop(&d->variants);
    drop(&d->plan);
    for (int i = 0; i < MOST_ENGINES; i++)
        drop(&d->config[i]);
    drop(&d->heuristics);
    drop(&d->graph);
    drop(&d->operation);
    drop(&d->conv);
    for (int i = 0; i < 3; i++)
        drop(&d->tensor[i]);
    if (d->workspace && cudaFree(d->workspace) != cudaSuccess)
        (void)cudaGetLastError();
    free(d);
}

/* ---- planning ---- */

/* Does this engine give the same bits each time, and products of f32 numbers? */
static bool fit(cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t engine = NULL;
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t n = 0;
    bool good = false;

    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine) ==
            CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n,
                                 note) == CUDNN_STATUS_SUCCESS) {
        good = true;
        for (int64_t i = 0; i < n; i++)
            good = good && note[i] != CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC && note[i] != CUDNN_NUMERICAL_NOTE_TENSOR_CORE &&
                   note[i] != CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS && note[i] != CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION;
    }
    drop(&engine);
    return good;
}

/* Make the plan of one engine; false: this engine can not. */
static bool try_engine(lmbi_dnn *d, cudnnBackendDescriptor_t config, cudnnHandle_t handle, int64_t *workspace)
{
    int64_t n = 0;

    drop(&d->plan);
    return fit(config) && cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &d->plan) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendSetAttribute(d->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendSetAttribute(d->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config) ==
               CUDNN_STATUS_SUCCESS &&
           cudnnBackendFinalize(d->plan) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendGetAttribute(d->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n, workspace) ==
               CUDNN_STATUS_SUCCESS && *workspace <= most_workspace;
}

static lmb_status ask(lmbi_dnn *d, cudnnBackendHeurMode_t mode, cudnnHandle_t handle, int64_t *workspace, lmb_error *err)
{
    int64_t n = 0;

    drop(&d->heuristics);
    LMB_TRY(make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &d->heuristics, err));
    LMB_TRY(set(d->heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &d->graph, err));
    LMB_TRY(set(d->heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode, err));
    LMB_TRY(finish(d->heuristics, "asking the heuristics", err));
    for (int i = 0; i < MOST_ENGINES; i++) {
        drop(&d->config[i]);
        LMB_TRY(make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &d->config[i], err));
    }
    LMB_TRY(lmbi_dnn_check(cudnnBackendGetAttribute(d->heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, MOST_ENGINES,
                                                    &n, d->config), "reading what the heuristics say", err));
    for (int64_t i = 0; i < n; i++)
        if (try_engine(d, d->config[i], handle, workspace))
            return LMB_OK;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "none of %lld engines is reproducible in f32", (long long)n);
}

lmb_status lmbi_dnn_plan(lmbi_dnn *d, lmb_cuda_queue *q, lmb_error *err)
{
    lmb_error first = LMB_ERROR_INIT;
    int64_t workspace = 0;

    LMB_TRY(make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &d->graph, err));
    LMB_TRY(set(d->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &d->operation, err));
    LMB_TRY(set(d->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &q->dnn, err));
    LMB_TRY(finish(d->graph, "describing a graph", err));
    if (ask(d, CUDNN_HEUR_MODE_A, q->dnn, &workspace, &first) != LMB_OK)
        LMB_TRY(ask(d, CUDNN_HEUR_MODE_FALLBACK, q->dnn, &workspace, err));
    if (workspace)
        LMB_TRY(lmbi_cuda_check(cudaMalloc(&d->workspace, (size_t)workspace), "allocating the workspace of a convolution", err));
    return LMB_OK;
}

lmb_status lmbi_dnn_run(lmbi_dnn *d, lmb_cuda_queue *q, const void *x, const void *w, const void *y, lmb_error *err)
{
    const void *data[3] = { x, w, y };
    int64_t ids[3] = { X, W, Y };

    drop(&d->variants);
    LMB_TRY(make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &d->variants, err));
    LMB_TRY(set(d->variants, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, ids, err));
    LMB_TRY(set(d->variants, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, data, err));
    LMB_TRY(set(d->variants, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &d->workspace, err));
    LMB_TRY(finish(d->variants, "binding operands", err));
    return lmbi_dnn_check(cudnnBackendExecute(q->dnn, d->plan, d->variants), "running a convolution", err);
}
