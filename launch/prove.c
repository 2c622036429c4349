/* launch/prove.c - see prove.h. */
#include "launch/prove.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "core/base/str.h"
#include "distill/search/paired.h"
#include "launch/answers.h"
#include "launch/stage.h"
#include "train/loss.h"
#include "train/metrics.h"

enum { ALONE, TAUGHT };
static const char *const names[2] = { "alone", "taught" };

/* ---- which is right where ---- */

static lmb_status answer(const lmb_prove *p, const lmb_graph *model, const int32_t *label, bool *right, lmb_error *err)
{
    const lmb_dataset *d = p->validation;
    float *logits = malloc(sizeof *logits * (size_t)(d->n * d->classes));

    if (!logits)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld answers", (long long)d->n);
    lmb_status st = lmb_answers(model, d, p->backend, logits, err);
    for (int64_t i = 0; st == LMB_OK && i < d->n; i++)
        right[i] = lmb_argmax(logits + i * d->classes, d->classes) == label[i];
    free(logits);
    return st;
}

/* pair: lost, only right alone; won, only right when taught. right: how many each has. */
static lmb_status compare(const lmb_prove *p, lmb_graph *const tried[2], lmb_paired *pair, int64_t right[2],
                          lmb_error *err)
{
    int64_t n = p->validation->n;
    int32_t *label = malloc(sizeof *label * (size_t)n);
    bool *is = malloc(2 * sizeof *is * (size_t)n);
    lmb_status st = label && is ? lmb_dataset_labels(p->validation, label, err)
                                : LMB_FAIL(err, LMB_E_NOMEM, "no memory to compare %lld answers", (long long)n);

    for (int k = 0; k < 2 && st == LMB_OK; k++) {
        right[k] = 0;
        st = answer(p, tried[k], label, is + k * n, err);
        for (int64_t i = 0; st == LMB_OK && i < n; i++)
            right[k] += is[k * n + i];
    }
    if (st == LMB_OK)
        *pair = lmb_paired_count(is, is + n, n);
    free(label);
    free(is);
    return st;
}

/* ---- what is left of it ---- */

static lmb_status leave(const lmb_prove *p, const lmb_paired *pair, const int64_t right[2], int kept, lmb_error *err)
{
    lmb_paired other = { pair->n, pair->won, pair->lost };
    double of[2] = { (double)right[ALONE] / (double)pair->n, (double)right[TAUGHT] / (double)pair->n };
    double chance = lmb_paired_worse(kept == TAUGHT ? &other : pair);
    char says[240], path[LMB_STAGE_PATH];
    lmb_str s = LMB_STR_INIT;

    snprintf(
        says, sizeof says,
        "validation %.2f %% with the teacher, %.2f %% without (%lld won, %lld lost of %lld; p %.2g): the teacher%s",
        100 * of[TAUGHT], 100 * of[ALONE], (long long)pair->won, (long long)pair->lost, (long long)pair->n, chance,
        kept == TAUGHT ? "'s is kept" : " is rejected");
    lmb_str_addf(&s, "{\"kept\": \"%s\", \"samples\": %lld", names[kept], (long long)pair->n);
    lmb_str_add_member(&s, names[TAUGHT], of[TAUGHT]);
    lmb_str_add_member(&s, names[ALONE], of[ALONE]);
    lmb_str_add_member(&s, "won", (double)pair->won);
    lmb_str_add_member(&s, "lost", (double)pair->lost);
    lmb_str_add_member(&s, "p", chance);
    lmb_str_add(&s, ", \"says\": ");
    lmb_str_add_json(&s, says);
    lmb_str_add(&s, "}\n");
    lmb_status st = lmb_str_check(&s, err);
    if (st == LMB_OK)
        st = lmb_stage_path(path, p->run, p->stage, "proof.json", err);
    if (st == LMB_OK)
        st = lmb_file_write(path, s.text, s.n, err);
    lmb_str_free(&s);
    if (st == LMB_OK)
        printf("%s: %s\n", p->stage, says);
    return st;
}

lmb_status lmb_prove_forget(const char *run, const char *stage, lmb_error *err)
{
    char path[LMB_STAGE_PATH];

    LMB_TRY(lmb_stage_path(path, run, stage, "proof.json", err));
    return lmb_file_exists(path) && remove(path) ? LMB_FAIL(err, LMB_E_IO, "cannot remove %s", path) : LMB_OK;
}

lmb_status lmb_prove_note(const char *run, const char *stage, char *note, size_t cap, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    const char *says;
    size_t n = strlen(note);
    lmb_config *json = NULL;

    LMB_TRY(lmb_stage_path(path, run, stage, "proof.json", err));
    if (!lmb_file_exists(path))
        return LMB_OK;
    LMB_TRY(lmb_config_read(path, &json, err));
    const lmb_tree *text = lmb_tree_get(lmb_config_root(json), "says");
    lmb_status st = text ? lmb_tree_text(text, &says, err)
                         : LMB_FAIL(err, LMB_E_FORMAT, "%s: has no `says`; run the stage again with --fresh", path);
    if (st == LMB_OK)
        snprintf(note + n, cap - n, "; %s", says);
    lmb_config_destroy(json);
    return st;
}

/* ---- the whole ---- */

lmb_status lmb_prove_teacher(const lmb_prove *p, lmb_graph *model, lmb_error *err)
{
    lmb_graph *tried[2] = { NULL, NULL };
    int64_t right[2];
    lmb_paired pair;
    char name[80];
    lmb_status st;

    if (!p->validation)
        return LMB_FAIL(err, LMB_E_ARG,
                        "`prove` compares by validation samples, and there are none; set split.validation");
    snprintf(name, sizeof name, "%s-first", p->stage);
    LMB_TRY_GOTO(st, done, p->train(p->ctx, name, false, model, err));
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s-%s", p->stage, names[i]);
        LMB_TRY_GOTO(st, done, lmb_graph_copy(model, &tried[i], err));
        LMB_TRY_GOTO(st, done, p->train(p->ctx, name, i == TAUGHT, tried[i], err));
    }
    LMB_TRY_GOTO(st, done, compare(p, tried, &pair, right, err));
    int kept = pair.won > pair.lost ? TAUGHT : ALONE;
    if (p->leave)
        LMB_TRY_GOTO(st, done, leave(p, &pair, right, kept, err));
    st = lmb_objective_finish(tried[kept], model, err);
done:
    lmb_graph_destroy(tried[0]);
    lmb_graph_destroy(tried[1]);
    return st;
}
