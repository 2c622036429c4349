/* core/cuda/dnn_plan.c - which engines of cuDNN could run a convolution, and running one. See dnn.h.
 *
 * An engine that is not reproducible is never taken, whatever the mode of a training: a recorded step is checked by its
 * bits before it replaces the one that was (train/resident_graph.c).
 */
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

static bool fit(const lmbi_dnn_form *f, cudnnBackendDescriptor_t config, int64_t *number)
{
    cudnnBackendDescriptor_t engine = NULL;
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t n = 0;
    bool good = false;

    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine) ==
            CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &n, number) ==
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
static bool make_plan(const lmbi_dnn_form *f, struct planned *p, cudnnBackendDescriptor_t config, cudnnHandle_t handle)
{
    int64_t n = 0;

    bool made =
        fit(f, config, &p->engine) &&
        cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &p->plan) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendSetAttribute(p->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle) ==
            CUDNN_STATUS_SUCCESS &&
        cudnnBackendSetAttribute(p->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                 &config) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendFinalize(p->plan) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(p->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n,
                                 &p->workspace) == CUDNN_STATUS_SUCCESS &&
        p->workspace <= most_workspace;
    if (!made)
        lmbi_dnn_drop(&p->plan);
    return made;
}

/* Up to `most` engines of one list of the heuristics, from its number `first` on. */
static lmb_status ask(lmbi_dnn *d, int list, int first, int most, cudnnHandle_t handle, lmb_error *err)
{
    cudnnBackendHeurMode_t mode = list == 0 ? CUDNN_HEUR_MODE_A : CUDNN_HEUR_MODE_FALLBACK;
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
    for (int i = first; i < n && d->n_made < most; i++)
        if (make_plan(&d->form, &d->made[d->n_made], d->config[i], handle))
            d->made[d->n_made++].place = list * LMBI_DNN_ENGINES + i;
    if (d->n_made)
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_UNSUPPORTED, "none of %lld engines is reproducible in this precision", (long long)n);
}

static lmb_status describe_graph(lmbi_dnn *d, lmb_cuda_queue *q, lmb_error *err)
{
    if (d->graph)
        return LMB_OK;
    LMB_TRY(lmbi_dnn_make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &d->graph, err));
    LMB_TRY(lmbi_dnn_set(d->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, d->n_stages,
                         d->operation, err));
    LMB_TRY(lmbi_dnn_set(d->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &q->dnn, err));
    return lmbi_dnn_finish(d->graph, "describing a graph", err);
}

static void forget(lmbi_dnn *d)
{
    for (int i = 0; i < d->n_made; i++)
        lmbi_dnn_drop(&d->made[i].plan);
    d->n_made = d->at = 0;
}

lmb_status lmbi_dnn_plan(lmbi_dnn *d, lmb_cuda_queue *q, int most, lmb_error *err)
{
    lmb_error first = LMB_ERROR_INIT;

    forget(d);
    LMB_TRY(describe_graph(d, q, err));
    if (ask(d, 0, 0, most, q->dnn, &first) != LMB_OK)
        return ask(d, 1, 0, most, q->dnn, err);
    return LMB_OK;
}

lmb_status lmbi_dnn_plan_only(lmbi_dnn *d, lmb_cuda_queue *q, int place, lmb_error *err)
{
    forget(d);
    LMB_TRY(describe_graph(d, q, err));
    return ask(d, place / LMBI_DNN_ENGINES, place % LMBI_DNN_ENGINES, 1, q->dnn, err);
}

int lmbi_dnn_made(const lmbi_dnn *d) { return d->n_made; }
int lmbi_dnn_place(const lmbi_dnn *d, int i) { return d->made[i].place; }
int64_t lmbi_dnn_engine(const lmbi_dnn *d, int i) { return d->made[i < 0 ? d->at : i].engine; }

lmb_status lmbi_dnn_take(lmbi_dnn *d, lmb_cuda_queue *q, int i, lmb_error *err)
{
    d->at = i;
    return lmbi_queue_workspace(q, (size_t)d->made[i].workspace, err);
}

void lmbi_dnn_keep(lmbi_dnn *d, int i)
{
    for (int k = 0; k < d->n_made; k++)
        if (k != i)
            lmbi_dnn_drop(&d->made[k].plan);
    d->at = i < 0 ? 0 : i;
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
    return lmbi_dnn_check(cudnnBackendExecute(q->dnn, d->made[d->at].plan, d->variants), "running a convolution", err);
}
