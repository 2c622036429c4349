/* core/cuda/dnn_plan.c - which engine of cuDNN runs a convolution, and running it. See dnn.h. */
#include "core/cuda/dnn_internal.h"

static const int64_t most_workspace = (int64_t)512 << 20;

/* Does a note forbid an engine? It gives the same bits each time, and no less than the form asks for: what is f32 is
 * neither multiplied on tensor cores (TF32) unless that is wanted, nor ever cut shorter; sums are f32. The largest
 * tiles of Winograd lose three digits. */
static bool forbidden(const lmbi_dnn_form *f, cudnnBackendNumericalNote_t note)
{
    bool exact = f->maps == LMB_F32 && !f->tensor_cores;

    return note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC || (exact && note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE) ||
           note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
           note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION || note == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13;
}

static bool fit(const lmbi_dnn_form *f, cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t engine = NULL;
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t n = 0;
    bool good = false;

    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine) ==
            CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                 CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n, note) == CUDNN_STATUS_SUCCESS) {
        good = true;
        for (int64_t i = 0; i < n; i++)
            good = good && !forbidden(f, note[i]);
    }
    lmbi_dnn_drop(&engine);
    return good;
}

/* Make the plan of one engine; false: this engine can not. */
static bool try_engine(lmbi_dnn *d, cudnnBackendDescriptor_t config, cudnnHandle_t handle)
{
    int64_t n = 0;

    lmbi_dnn_drop(&d->plan);
    return fit(&d->form, config) &&
           cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &d->plan) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendSetAttribute(d->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle) ==
               CUDNN_STATUS_SUCCESS &&
           cudnnBackendSetAttribute(d->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                    &config) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendFinalize(d->plan) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendGetAttribute(d->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n,
                                    &d->workspace) == CUDNN_STATUS_SUCCESS &&
           d->workspace <= most_workspace;
}

static lmb_status ask(lmbi_dnn *d, cudnnBackendHeurMode_t mode, cudnnHandle_t handle, lmb_error *err)
{
    int64_t n = 0;

    lmbi_dnn_drop(&d->heuristics);
    LMB_TRY(lmbi_dnn_make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &d->heuristics, err));
    LMB_TRY(lmbi_dnn_set(d->heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                         &d->graph, err));
    LMB_TRY(lmbi_dnn_set(d->heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode, err));
    LMB_TRY(lmbi_dnn_finish(d->heuristics, "asking the heuristics", err));
    for (int i = 0; i < LMBI_DNN_ENGINES; i++) {
        lmbi_dnn_drop(&d->config[i]);
        LMB_TRY(lmbi_dnn_make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &d->config[i], err));
    }
    LMB_TRY(lmbi_dnn_check(cudnnBackendGetAttribute(d->heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                    CUDNN_TYPE_BACKEND_DESCRIPTOR, LMBI_DNN_ENGINES, &n, d->config),
                           "reading what the heuristics say", err));
    for (int64_t i = 0; i < n; i++)
        if (try_engine(d, d->config[i], handle))
            return LMB_OK;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "none of %lld engines is reproducible in this precision", (long long)n);
}

lmb_status lmbi_dnn_plan(lmbi_dnn *d, lmb_cuda_queue *q, lmb_error *err)
{
    lmb_error first = LMB_ERROR_INIT;

    LMB_TRY(lmbi_dnn_make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &d->graph, err));
    LMB_TRY(lmbi_dnn_set(d->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, d->n_stages,
                         d->operation, err));
    LMB_TRY(lmbi_dnn_set(d->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &q->dnn, err));
    LMB_TRY(lmbi_dnn_finish(d->graph, "describing a graph", err));
    if (ask(d, CUDNN_HEUR_MODE_A, q->dnn, &first) != LMB_OK)
        LMB_TRY(ask(d, CUDNN_HEUR_MODE_FALLBACK, q->dnn, err));
    return lmbi_queue_workspace(q, (size_t)d->workspace, err);
}

lmb_status lmbi_dnn_run(lmbi_dnn *d, lmb_cuda_queue *q, const lmbi_dnn_operands *o, lmb_error *err)
{
    const void *all[5] = { o->x, o->w, o->y, o->bias, o->add }, *data[5];
    int64_t ids[5];
    int n = 0;

    for (int i = 0; i < 5; i++)
        if (d->id[i]) {
            ids[n] = d->id[i];
            data[n++] = all[i];
        }
    lmbi_dnn_drop(&d->variants);
    LMB_TRY(lmbi_dnn_make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &d->variants, err));
    LMB_TRY(lmbi_dnn_set(d->variants, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, ids, err));
    LMB_TRY(lmbi_dnn_set(d->variants, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n, data, err));
    LMB_TRY(
        lmbi_dnn_set(d->variants, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &q->dnn_workspace, err));
    LMB_TRY(lmbi_dnn_finish(d->variants, "binding operands", err));
    return lmbi_dnn_check(cudnnBackendExecute(q->dnn, d->plan, d->variants), "running a convolution", err);
}
