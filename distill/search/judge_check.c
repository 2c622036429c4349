/* distill/search/judge_check.c - the lessons that a search will give, tried before any of them is: an optimizer,
 * schedule, observer or GPU that there is not would be found out hours later. See judge.h. */
#include "distill/quantize/ptq.h"
#include "distill/search/judge.h"

/* Nobody looks at validation samples while it runs. */
static lmb_status check_ends(const char *key, const lmb_train_config *c, lmb_error *err)
{
    if (c->patience || c->target_accuracy > 0)
        return LMB_FAIL(err, LMB_E_ARG,
                        "compress.%s.%s: the trainings of a search have no validation samples, and are judged at their "
                        "end; leave it out, and say with `epochs` how long it takes",
                        key, c->patience ? "patience" : "target_accuracy");
    return LMB_OK;
}

static lmb_status try_lesson(const char *key, const lmb_train_config *c, const lmb_graph *model,
                             const lmb_dataset *train, lmb_comm *comm, lmb_error *err)
{
    double smoothing = c->label_smoothing;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_trainer *t = NULL;

    LMB_TRY(check_ends(key, c, err));
    lmb_status st = lmb_trainer_create(c, model, &loss, train, NULL, comm, &t, err);
    lmb_trainer_destroy(t);
    if (st != LMB_OK)
        lmb_error_context(err, "compress.%s", key);
    return st;
}

lmb_status lmb_judge_check_lessons(const lmb_judge_config *c, const lmb_graph *model, const lmb_dataset *train,
                                   lmb_comm *comm, lmb_error *err)
{
    lmb_comm *last = comm && lmb_judge_ranks_share(c, train->n, comm->size, NULL) == LMB_OK ? comm : NULL;

    LMB_TRY(lmb_ptq_check_observer(c->observer, err));
    LMB_TRY(try_lesson("tune", &c->tune, model, train, NULL, err));
    if (c->recovers)
        LMB_TRY(try_lesson("recover", &c->recover, model, train, last, err));
    return c->finishes ? try_lesson("finish", &c->finish, model, train, last, err) : LMB_OK;
}
