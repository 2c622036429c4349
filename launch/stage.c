/* launch/stage.c - see stage.h. */
#include "launch/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "train/predictor.h"
#include "train/trainer.h"

lmb_status lmb_stage_path(char out[LMB_STAGE_PATH], const char *run, const char *stage, const char *file,
                          lmb_error *err)
{
    int n = snprintf(out, LMB_STAGE_PATH, "%s/%s", run, stage);
    if (n < 0 || n >= LMB_STAGE_PATH)
        return LMB_FAIL(err, LMB_E_ARG, "the path %.80s.../%s is too long", run, stage);
    LMB_TRY(lmb_file_make_dirs(out, err));
    n = snprintf(out, LMB_STAGE_PATH, "%s/%s%s%s", run, stage, *file ? "/" : "", file);
    return n < LMB_STAGE_PATH ? LMB_OK : LMB_FAIL(err, LMB_E_ARG, "the path of %s is too long", file);
}

/* The most memory that this process has had at any time. */
static double peak_memory_bytes(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? 1024.0 * (double)u.ru_maxrss : 0; /* Linux counts KiB */
}

static void add_confusion(lmb_str *s, const lmb_metrics *m, const char *const *names)
{
    lmb_str_add(s, ", \"confusion\": [");
    for (int i = 0; i < m->classes; i++) {
        lmb_str_add(s, i ? ", [" : "[");
        for (int k = 0; k < m->classes; k++)
            lmb_str_addf(s, "%s%lld", k ? ", " : "", (long long)m->confusion[i * m->classes + k]);
        lmb_str_add(s, "]");
    }
    lmb_str_add(s, "]");
    for (int k = 0; names && k < m->classes; k++) {
        lmb_str_add(s, k ? ", " : ", \"classes\": [");
        lmb_str_add_json(s, names[k]);
    }
    lmb_str_add(s, names ? "]" : "");
}

lmb_status lmb_stage_write(const char *run, const lmb_stage_result *r, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    lmb_str s = LMB_STR_INIT;
    const lmb_metrics *m = r->metrics;
    double lo, hi;

    lmb_metrics_interval(m, &lo, &hi);
    lmb_str_add(&s, "{\"name\": ");
    lmb_str_add_json(&s, r->name);
    lmb_str_add_member(&s, "parameters", r->parameters);
    lmb_str_add_member(&s, "macs", r->macs);
    lmb_str_add_member(&s, "bytes", r->bytes);
    lmb_str_add_member(&s, "accuracy", lmb_metrics_accuracy(m));
    lmb_str_add_member(&s, "latency_us", r->latency_us);
    lmb_str_add_member(&s, "macro_f1", lmb_metrics_macro_f1(m));
    lmb_str_add_member(&s, "peak_memory_bytes", peak_memory_bytes());
    lmb_str_addf(&s, ", \"interval\": [%.6f, %.6f]", lo, hi);
    if (m->classes <= LMB_STAGE_CLASSES)
        add_confusion(&s, m, r->data ? r->data->class_names : NULL);
    lmb_str_add(&s, ", \"note\": ");
    lmb_str_add_json(&s, r->note ? r->note : "");
    lmb_str_add(&s, "}\n");
    lmb_status st = lmb_str_check(&s, err);
    if (st == LMB_OK)
        st = lmb_stage_path(path, run, r->name, "stage.json", err);
    if (st == LMB_OK)
        st = lmb_file_write(path, s.text, s.n, err);
    lmb_str_free(&s);
    return st;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static lmb_status median_latency(lmb_predictor *p, const float *x, double *out, lmb_error *err)
{
    enum { WARM = 20, RUNS = 200 };
    double t[RUNS];
    const float *logits;

    for (int i = -WARM; i < RUNS; i++) {
        double start = lmb_seconds();
        LMB_TRY(lmb_predictor_run(p, x, 1, &logits, err));
        if (i >= 0)
            t[i] = lmb_seconds() - start;
    }
    qsort(t, RUNS, sizeof *t, by_time);
    *out = 1e6 * t[RUNS / 2];
    return LMB_OK;
}

lmb_status lmb_stage_measure(const lmb_graph *model, const float *state, const lmb_dataset *data, const char *backend,
                             lmb_stage_result *r, lmb_error *err)
{
    const lmb_backend *backends[3];
    lmb_predictor *p = NULL;
    lmb_state_layout *l = NULL;
    int64_t n = lmb_shape_count(&data->shape);
    float *x = malloc(sizeof *x * (size_t)(n + 1));
    uint8_t *raw = malloc((size_t)n * 4 + 1);
    int32_t label;
    lmb_status st = x && raw ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to measure a model");

    if (st == LMB_OK)
        st = data->read(data, 0, data->dtype == LMB_F32 ? (void *)x : raw, &label, err);
    for (int64_t i = 0; st == LMB_OK && data->dtype == LMB_U8 && i < n; i++)
        x[i] = raw[i];
    if (st == LMB_OK)
        st = lmb_cpu_backends(backend, backends, err);
    if (st == LMB_OK)
        st = lmb_predictor_create(model, state, backends, 1, &p, err);
    if (st == LMB_OK)
        st = median_latency(p, x, &r->latency_us, err);
    if (st == LMB_OK)
        st = lmb_state_layout_create(model, &l, err);
    if (st == LMB_OK) {
        lmb_plan_options o = { .backends = NULL };
        lmb_plan *plan;
        r->parameters = (double)lmb_state_parameters(l);
        st = lmb_plan_compile(model, &o, &plan, err);
        if (st == LMB_OK) {
            r->macs = lmb_plan_describe(plan).cost.macs / (double)model->value[lmb_graph_input(model, 0)].shape.d[0];
            lmb_plan_destroy(plan);
        }
    }
    lmb_state_layout_destroy(l);
    lmb_predictor_destroy(p);
    free(x);
    free(raw);
    return st;
}

void lmb_stage_print(const lmb_stage_result *r)
{
    double lo, hi;
    lmb_metrics_interval(r->metrics, &lo, &hi);
    printf(
        "%s: %s accuracy %.2f %% (95 %% interval %.2f to %.2f), macro F1 %.4f, %.0f parameters, %.0f MACs, %.0f bytes, %.1f us at batch 1\n",
        r->name, r->part ? r->part : "test", 100 * lmb_metrics_accuracy(r->metrics), 100 * lo, 100 * hi,
        lmb_metrics_macro_f1(r->metrics), r->parameters, r->macs, r->bytes, r->latency_us);
}

lmb_status lmb_stage_evaluate(const lmb_graph *model, const lmb_dataset *data, const char *backend, bool asked,
                              lmb_metrics *out, lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;

    if (strcmp(backend, "cuda") == 0) {
        lmb_status st = lmb_evaluate_gpu(model, data, out, &why);
        if (st == LMB_OK)
            return LMB_OK;
        if (asked || (st != LMB_E_DEVICE && st != LMB_E_NOMEM && st != LMB_E_UNSUPPORTED) || out->n) /* it had begun */
            return LMB_FAIL(err, st, "%s", why.msg);
        fprintf(stderr, "limbeck: the evaluation is done on the processor: %s\n", why.msg);
    }
    return lmb_evaluate(model, NULL, data, backend, lmb_cpu_count(), out, err);
}

lmb_status lmb_stage_report(const char *run, const char *stage, const char *file, const lmb_graph *model,
                            const lmb_dataset *test, const char *backend, lmb_error *err)
{
    lmb_stage_result r = { .name = stage, .data = test };
    lmb_metrics m;
    uint64_t bytes = 0;

    LMB_TRY(lmb_metrics_init(&m, test->classes, err));
    lmb_status st = lmb_stage_evaluate(model, test, backend, false, &m, err);
    r.metrics = &m;
    if (st == LMB_OK)
        st = lmb_stage_measure(model, NULL, test, backend, &r, err);
    if (st == LMB_OK)
        st = lmb_file_size(file, &bytes, err);
    r.bytes = (double)bytes;
    if (st == LMB_OK)
        st = lmb_stage_write(run, &r, err);
    if (st == LMB_OK)
        lmb_stage_print(&r);
    lmb_metrics_deinit(&m);
    return st;
}
