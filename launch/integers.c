/* launch/integers.c - see integers.h. */
#include "launch/integers.h"

#include <stdio.h>
#include <string.h>

#include "core/base/threads.h"

lmb_status lmb_integers_evaluate(const lmb_args *a, const char *backend, const void *file, size_t n,
                                 const lmb_dataset *data, lmb_metrics *out, float *logits, lmb_deploy_figures *figures,
                                 lmb_error *err)
{
    const char *asked = lmb_args_get(a, "kernels", NULL),
               *kernels = lmb_deploy_kernels(asked, lmb_args_get(a, "backend", backend));
    bool may_fall_back = !asked && kernels && !lmb_args_get(a, "backend", NULL);
    lmb_error why = LMB_ERROR_INIT;

    if (!may_fall_back)
        return lmb_deploy_evaluate(file, n, data, kernels, lmb_cpu_count(), out, logits, figures, err);
    lmb_status st = lmb_deploy_evaluate(file, n, data, kernels, lmb_cpu_count(), out, logits, figures, &why);
    if (st == LMB_OK)
        return LMB_OK;
    if ((st != LMB_E_DEVICE && st != LMB_E_NOMEM && st != LMB_E_UNSUPPORTED) || out->n) /* it had begun */
        return LMB_FAIL(err, st, "%s", why.msg);
    fprintf(stderr, "limbeck: the integers are computed on the processor: %s\n", why.msg);
    return lmb_deploy_evaluate(file, n, data, NULL, lmb_cpu_count(), out, logits, figures, err);
}
