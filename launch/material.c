/* launch/material.c - see material.h. */
#include "launch/material.h"

lmb_status lmb_material_open(const lmb_job *j, const lmb_distill_config *dc, lmb_material *m, lmb_error *err)
{
    char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];

    *m = (lmb_material){ NULL, NULL, j->train };
    if (!dc || !(dc->alpha > 0) || !dc->unlabelled)
        return LMB_OK;
    LMB_TRY(lmb_dataset_open(dc->unlabelled, LMB_PART_TRAIN, &m->whole, err));
    if (!lmb_shape_equal(&m->whole->shape, &j->all->shape) || m->whole->dtype != j->all->dtype)
        return lmb_tree_fail(dc->unlabelled, err, LMB_E_SHAPE, "`unlabelled` has samples %s of %s, `data` %s of %s",
                             lmb_shape_text(&m->whole->shape, a, sizeof a), lmb_dtype_name(m->whole->dtype),
                             lmb_shape_text(&j->all->shape, b, sizeof b), lmb_dtype_name(j->all->dtype));
    LMB_TRY(lmb_dataset_unlabelled(m->whole, j->all->classes, &m->view, err));
    m->samples = m->view;
    return LMB_OK;
}

void lmb_material_close(lmb_material *m)
{
    lmb_dataset_destroy(m->view);
    lmb_dataset_destroy(m->whole);
}
