/* launch/teacher.c - see teacher.h. */
#include "launch/teacher.h"

#include <stdio.h>

#include "core/base/file.h"
#include "core/onnx/onnx.h"
#include "core/store/store.h"
#include "launch/stage.h"
#include "launch/terminal.h"
#include "train/checkpoint_model.h"

lmb_status lmb_teacher_read(const lmb_job *j, const lmb_distill_config *c, lmb_graph **out, lmb_error *err)
{
    char path[LMB_STAGE_PATH];

    LMB_TRY(lmb_stage_path(path, j->c.run, "teacher", "model.onnx", err));
    if (*c->teacher && lmb_store_is(c->teacher))
        return lmb_checkpoint_model(c->teacher, &j->all->shape, j->all->classes, out, err);
    return lmb_onnx_read(*c->teacher ? c->teacher : path, NULL, out, err);
}

/* `auto`: a file pays where an epoch reads what another has written, or where there is one already. */
static lmb_status pays(const char *folder, const lmb_logits_key *k, bool *use, lmb_error *err)
{
    uint64_t bytes, room;

    *use = false;
    if (!k->augment || !lmb_augment_any(k->augment)) {
        LMB_TRY(lmb_logits_size(folder, k, &bytes, &room, err));
        *use = k->epochs > 1 && bytes <= room;
        if (bytes > room)
            fprintf(stderr, "the teacher answers live: its logits would need %llu bytes, and %llu are free\n", (unsigned long long)bytes,
                    (unsigned long long)room);
        return LMB_OK;
    }
    return lmb_logits_there(folder, k, use, err);
}

static lmb_status decide(const char *folder, const lmb_logits_key *k, int64_t mode, lmb_comm *comm, bool *use, lmb_error *err)
{
    char flag = mode != LMB_CACHE_FALSE;

    if (mode == LMB_CACHE_AUTO && comm->rank == 0) { /* the disk that counts is that of rank 0 */
        LMB_TRY(pays(folder, k, use, err));
        flag = *use;
    }
    LMB_TRY(comm->broadcast(comm, &flag, 1, 0, err));
    *use = flag;
    return LMB_OK;
}

static void show(void *ctx, int64_t done, int64_t all) { lmb_progress_show(ctx, "teacher's logits", done, all, "samples"); }

lmb_status lmb_teacher_cache(const lmb_job *j, const lmb_train_config *c, lmb_comm *comm, lmb_objective *d, lmb_logits **out, lmb_error *err)
{
    char folder[LMB_STAGE_PATH];
    lmb_progress bar;
    lmb_logits_watch watch = { comm->rank ? NULL : show, &bar };
    bool use;

    *out = NULL;
    d->rows = lmb_train_rows(c, j->train->n, comm->size);
    lmb_logits_key k = { d->teacher, j->train, d->distill.cache == LMB_CACHE_PLAIN ? NULL : &c->augment, (uint64_t)c->seed, c->backend,
                         d->rows, c->epochs };
    LMB_TRY(lmb_stage_path(folder, j->c.run, "teacher", "", err));
    LMB_TRY(decide(folder, &k, d->distill.cache, comm, &use, err));
    if (!use)
        return LMB_OK;
    lmb_progress_begin(&bar);
    LMB_TRY(lmb_logits_open(folder, &k, (int)c->threads, comm, &watch, out, err));
    if (comm->rank == 0)
        lmb_progress_line(&bar, "the teacher answers from its file of logits");
    d->logits = lmb_logits_rows;
    d->logits_ctx = *out;
    return LMB_OK;
}
