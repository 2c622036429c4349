/* tests/distill/train_on.h - a brief training, so that norms have statistics of their own. */
#ifndef LMB_TESTS_DISTILL_TRAIN_ON_H
#define LMB_TESTS_DISTILL_TRAIN_ON_H

#include "tests/train/from_text.h"
#include "train/trainer.h"

/* The model in place; `settings` as section `train` has them. */
static inline void train_on(const lmb_dataset *data, lmb_graph *g, const char *settings)
{
    lmb_error why = LMB_ERROR_INIT;
    lmb_config *c = config_of(settings);
    lmb_train_config o;
    lmb_trainer *t = NULL;
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };

    lmb_status st = lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &o, &why);
    if (st == LMB_OK)
        st = lmb_trainer_create(&o, g, &loss, data, NULL, NULL, &t, &why);
    if (st == LMB_OK)
        st = lmb_trainer_run(t, NULL, &why);
    if (st == LMB_OK)
        st = lmb_trainer_store(t, g, &why);
    ck_assert_msg(st == LMB_OK, "%s", why.msg);
    lmb_trainer_destroy(t);
    lmb_config_destroy(c);
}

#endif
