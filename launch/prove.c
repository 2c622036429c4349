/* launch/prove.c - see prove.h. */
#include "launch/prove.h"

#include <stdio.h>

#include "train/loss.h"
#include "train/trainer.h"

static lmb_status worth(const lmb_graph *model, const lmb_dataset *validation, int threads, double *out, lmb_error *err)
{
    lmb_metrics m;

    LMB_TRY(lmb_metrics_init(&m, validation->classes, err));
    lmb_status st = lmb_evaluate(model, NULL, validation, "cpu", threads, &m, err);
    *out = lmb_metrics_accuracy(&m);
    lmb_metrics_deinit(&m);
    return st;
}

lmb_status lmb_prove_teacher(const char *stage, const lmb_dataset *validation, int threads, bool say,
                             lmb_prove_train *train, void *ctx, lmb_graph *model, lmb_error *err)
{
    static const char *const suffix[2] = { "-alone", "-taught" };
    lmb_graph *tried[2] = { NULL, NULL };
    double accuracy[2] = { 0, 0 };
    char name[80];
    lmb_status st;

    if (!validation)
        return LMB_FAIL(err, LMB_E_ARG,
                        "`prove` compares by validation samples, and there are none; set split.validation");
    snprintf(name, sizeof name, "%s-first", stage);
    LMB_TRY_GOTO(st, done, train(ctx, name, false, model, err));
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s%s", stage, suffix[i]);
        LMB_TRY_GOTO(st, done, lmb_graph_copy(model, &tried[i], err));
        LMB_TRY_GOTO(st, done, train(ctx, name, i == 1, tried[i], err));
        LMB_TRY_GOTO(st, done, worth(tried[i], validation, threads, &accuracy[i], err));
    }
    int best = accuracy[1] > accuracy[0];
    if (say)
        printf("%s: validation %.2f %% with the teacher, %.2f %% without: %s\n", stage, 100 * accuracy[1],
               100 * accuracy[0], best ? "the teacher's is kept" : "the teacher is rejected");
    st = lmb_objective_finish(tried[best], model, err);
done:
    lmb_graph_destroy(tried[0]);
    lmb_graph_destroy(tried[1]);
    return st;
}
