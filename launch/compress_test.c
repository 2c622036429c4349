/* launch/compress_test.c - what the test part says of a search, which it had no say in. See compress.h.
 *
 * A search looks at the same held-out samples at every step and takes what looks best there, so that what they say in
 * the end is a little too good. The test part is looked at once, and the answer and the teacher are compared on the
 * very samples (distill/search/paired.h): people are told whether the drop that was decided on is borne out.
 */
#include <stdlib.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "distill/quantize/lower.h"
#include "distill/search/judge.h"
#include "launch/compress.h"
#include "launch/stage.h"

lmb_status lmb_compress_test_point(const lmb_compress_end *e, int id, bool *right, lmb_compress_test *out,
                                   lmb_error *err)
{
    const lmb_dataset *d = e->test;
    char path[LMB_SEARCH_PATH];
    void *file;
    size_t n;
    lmb_metrics m;

    LMB_TRY(lmb_search_file(path, e->folder, id, "model.lmb", err));
    LMB_TRY(lmb_file_read(path, (size_t)1 << 30, &file, &n, err));
    float *logits = right ? malloc(sizeof *logits * (size_t)d->n * (size_t)d->classes) : NULL;
    lmb_status st = right && !logits
                        ? LMB_FAIL(err, LMB_E_NOMEM, "no memory for the answers to %lld samples", (long long)d->n)
                        : lmb_metrics_init(&m, d->classes, err);
    if (st == LMB_OK) {
        st = lmb_deploy_evaluate(file, n, d, lmb_deploy_kernels(NULL, e->c->tune.backend), lmb_cpu_count(), &m, logits,
                                 NULL, err);
        *out = (lmb_compress_test){ true, lmb_metrics_accuracy(&m), 0, 0 };
        lmb_metrics_interval(&m, &out->lo, &out->hi);
        lmb_metrics_deinit(&m);
    }
    if (st == LMB_OK && right)
        st = lmb_judge_marks(d, logits, right, err);
    free(logits);
    free(file);
    return st == LMB_OK ? LMB_OK : lmb_error_context(err, "%s", path);
}

static lmb_status test_teacher(const lmb_compress_end *e, bool *right, lmb_compress_report *r, lmb_error *err)
{
    lmb_stage_result stage = { .name = "teacher" };
    const char *backend = e->c->tune.backend;
    lmb_metrics m;

    LMB_TRY(lmb_metrics_init(&m, e->test->classes, err));
    lmb_status st = lmb_evaluate_each(e->teacher, NULL, e->test, backend, lmb_cpu_count(), &m, right, err);
    if (st == LMB_OK && !e->c->table.frozen)
        st = lmb_stage_measure(e->teacher, NULL, e->test, backend, &stage, err);
    r->teacher = (lmb_compress_test){ true, lmb_metrics_accuracy(&m), 0, 0 };
    r->teacher_us = stage.latency_us;
    lmb_metrics_interval(&m, &r->teacher.lo, &r->teacher.hi);
    lmb_metrics_deinit(&m);
    return st;
}

lmb_status lmb_compress_test_answer(const lmb_compress_end *e, lmb_compress_test *test, lmb_compress_report *r,
                                    lmb_error *err)
{
    int best = e->result->best;
    bool *is = malloc((size_t)e->test->n + 1), *was = malloc((size_t)e->test->n + 1);
    lmb_status st =
        is && was ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld samples", (long long)e->test->n);

    if (st == LMB_OK)
        st = lmb_compress_test_point(e, best, is, &test[best], err);
    if (st == LMB_OK)
        st = test_teacher(e, was, r, err);
    if (st == LMB_OK)
        r->tested = lmb_paired_count(was, is, e->test->n);
    free(is);
    free(was);
    return st;
}
