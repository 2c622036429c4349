/* distill/search/judge_train.c - the lessons of a candidate: a moment after each step (tune), and for what may go out a
 * long one in floats (recover) and one as the integers that it becomes (finish). See judge.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/hash.h"
#include "datasets/split.h"
#include "distill/quantize/narrow.h"
#include "distill/quantize/ptq.h"
#include "distill/search/identity.h"
#include "distill/search/judge_parts.h"
#include "train/checkpoint.h"

enum { LMB_JUDGE_PATH = 1024 };

/* The teacher's logits of a step, by the numbers that its samples have in the whole training part. */
static lmb_status rows_of(void *ctx, const lmb_step_info *info, int64_t n, float *out, lmb_error *err)
{
    const lmb_judge *j = ctx;

    if (!j->subset)
        return lmb_logits_rows(j->asked, info, n, out, err);
    for (int64_t i = 0; i < n; i++) {
        lmb_step_info one = { info->seed, info->epoch, &j->subset[info->sample[i]] };
        LMB_TRY(lmb_logits_rows(j->asked, &one, 1, out + i * j->classes, err));
    }
    return LMB_OK;
}

static bool on_step(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    lmb_judge *j = ctx;
    char what[100];

    (void)loss, (void)rate;
    snprintf(what, sizeof what, "%s, epoch %lld of %lld, %.1f %% right", j->what, (long long)epoch + 1,
             (long long)j->epochs, 100 * accuracy);
    return lmbi_judge_tell(j, what, epoch * batches + batch, batches * j->epochs);
}

/* Zeros that a model came with are held in each of its trainings. */
static lmb_status hold(const lmb_judge *j, lmb_trainer *t, lmb_error *err)
{
    LMB_TRY(lmb_trainer_together(t, err));
    return lmb_masks_stepped(j->masks, t, err);
}

static lmb_status on_stepped(void *ctx, lmb_trainer *t, lmb_error *err) { return hold(ctx, t, err); }

/* ---- a long training goes on ---- */

static const char *const names[LMBI_LESSONS] = { "tune", "recover", "finish", "alone" };

lmb_status lmb_judge_ranks_share(const lmb_judge_config *c, int64_t samples, int ranks, lmb_error *err)
{
    const lmb_train_config *last[] = { c->recovers ? &c->recover : NULL, c->finishes ? &c->finish : NULL };
    lmb_status st = LMB_OK;
    int64_t slots;

    for (int i = 0; i < 2 && st == LMB_OK; i++)
        if (last[i] && (st = lmb_train_ranks_share(last[i], samples, ranks, &slots, err)) != LMB_OK)
            lmb_error_context(err, i ? "compress.finish" : "compress.recover");
    return st;
}

bool lmb_judge_on_all(const lmb_judge *j)
{
    return lmb_judge_ranks_share(j->c, j->train->n, j->comm->size, NULL) == LMB_OK;
}

/* Who works on a lesson; NULL: this rank alone. */
static lmb_comm *who(const lmb_judge *j, lmbi_lesson lesson)
{
    return lesson != LMBI_TUNE && lmb_judge_on_all(j) ? j->comm : NULL;
}

/* Where a training that has ended an epoch goes on after a stop. Rank 0 reads and writes it. */
typedef struct kept {
    lmb_judge *j;
    lmb_comm *comm; /* NULL: this rank alone */
    char path[LMB_JUDGE_PATH];
    lmb_str config;
} kept;

static bool leads(const kept *k) { return !k->comm || k->comm->rank == 0; }

static lmb_status path_of(const lmb_judge *j, lmbi_lesson lesson, int id, char path[LMB_JUDGE_PATH], lmb_error *err)
{
    int n = snprintf(path, LMB_JUDGE_PATH, "%s/%s-%d.h5", j->folder, names[lesson], id);
    return n > 0 && n < LMB_JUDGE_PATH ? LMB_OK : LMB_FAIL(err, LMB_E_ARG, "the path %.80s... is too long", j->folder);
}

static lmb_status on_epoch(void *ctx, lmb_trainer *t, const lmb_epoch *e, lmb_error *err)
{
    kept *k = ctx;
    (void)e;
    LMB_TRY(lmb_trainer_gather(t, err));
    lmb_status st = leads(k) ? lmb_checkpoint_save(k->path, lmb_trainer_state_of(t), k->config.text, err) : LMB_OK;
    lmb_trainer_drop(t);
    return st;
}

static bool on_kept_step(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy,
                         double rate)
{
    return on_step(((kept *)ctx)->j, epoch, batch, batches, loss, accuracy, rate);
}

static lmb_status on_kept_stepped(void *ctx, lmb_trainer *t, lmb_error *err) { return hold(((kept *)ctx)->j, t, err); }

/* What a checkpoint must agree with: settings, the weights that the training begins with, the search it is part of. How
 * many threads there are changes no bit. */
static lmb_status describe(const lmb_judge *j, const lmb_train_config *c, const lmb_trainer_state *s, lmb_str *out,
                           lmb_error *err)
{
    lmb_hash begins = lmb_hash_of(s->state, s->layout->count * sizeof *s->state);
    lmb_train_config same = *c;
    char hex[LMB_HASH_HEX];

    same.threads = 0;
    lmb_hash_hex(&begins, hex);
    LMB_TRY(lmb_fields_dump_marked(lmb_train_fields, &same, 0, out));
    lmb_str_addf(out, "begins_with: %s\nsearch:\n", hex);
    lmb_identity_indent(j->c->identity ? j->c->identity : "", out);
    return lmb_str_check(out, err);
}

/* What another training has left, or what is damaged, is as good as nothing. */
static lmb_status load(kept *k, const lmb_train_config *c, lmb_trainer_state *s, lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;

    LMB_TRY(describe(k->j, c, s, &k->config, err));
    if (!lmb_file_exists(k->path))
        return LMB_OK;
    lmb_status st = lmb_checkpoint_load(k->path, s, k->config.text, NULL, &why);
    return st == LMB_OK || st == LMB_E_ARG || st == LMB_E_SHAPE || st == LMB_E_FORMAT ? LMB_OK
                                                                                     : LMB_FAIL(err, st, "%s", why.msg);
}

/* From where it was stopped, or from the beginning, as rank 0 has it. */
static lmb_status go_on(kept *k, const lmb_train_config *c, lmb_trainer *t, lmb_error *err)
{
    lmb_trainer_state *s = lmb_trainer_state_of(t);

    LMB_TRY(lmb_trainer_gather(t, err));
    if (leads(k))
        LMB_TRY(load(k, c, s, err));
    if (k->comm)
        LMB_TRY(lmb_checkpoint_share(k->comm, s, err));
    return lmb_trainer_scatter(t, err);
}

static lmb_status run_kept(lmb_judge *j, lmbi_lesson lesson, int id, const lmb_train_config *c, lmb_trainer *t,
                           lmb_error *err)
{
    kept k = { .j = j, .comm = who(j, lesson), .config = LMB_STR_INIT };
    lmb_train_watch watch = {
        .step = on_kept_step, .epoch = on_epoch, .ctx = &k, .stepped = j->masks ? on_kept_stepped : NULL
    };

    LMB_TRY(path_of(j, lesson, id, k.path, err));
    lmb_status st = go_on(&k, c, t, err);
    if (st == LMB_OK && j->masks)
        st = hold(j, t, err);
    if (st == LMB_OK)
        st = lmb_trainer_run(t, &watch, err);
    lmb_str_free(&k.config);
    return st;
}

void lmb_judge_forget(const lmb_judge *j, int id)
{
    static const char *const ends[] = { "", ".prev" };
    lmb_error none = LMB_ERROR_INIT;
    char path[LMB_JUDGE_PATH], file[LMB_JUDGE_PATH + 8];

    for (int lesson = LMBI_RECOVER; lesson < LMBI_LESSONS; lesson++)
        for (int i = 0; i < 2 && path_of(j, (lmbi_lesson)lesson, id, path, &none) == LMB_OK; i++) {
            snprintf(file, sizeof file, "%s%s", path, ends[i]);
            (void)remove(file);
        }
}

/* ---- lessons ---- */

static lmb_status train(lmb_judge *j, lmbi_lesson lesson, const lmb_train_config *config, const lmb_dataset *data,
                        lmb_graph *model, int id, lmb_error *err)
{
    lmb_train_config c = *config;
    lmb_objective o = j->how[lesson];
    lmb_train_watch watch = { .step = on_step, .ctx = j };
    lmb_trainer *t = NULL;

    o.label_smoothing = c.label_smoothing;
    c.seed += id;
    c.threads = c.threads ? c.threads : j->threads;
    lmb_logits *versions = j->versions[lesson == LMBI_ALONE ? LMBI_FINISH : lesson]; /* shown the same samples */
    if (versions)
        c.augment = lmbi_judge_augment(&c.augment);
    j->what = names[lesson];
    j->epochs = c.epochs;
    j->asked = versions ? versions : j->logits;
    if (o.distill.alpha > 0) {
        o.teacher = j->teaches;
        o.rows = LMBI_JUDGE_ROWS;
        o.logits = rows_of;
        o.logits_ctx = j;
    }
    lmb_loss loss = lmb_objective_loss(&o);
    LMB_TRY(lmb_masks_hold(model, &j->masks, NULL, err));
    lmb_status st = lmb_trainer_create(&c, model, &loss, data, NULL, who(j, lesson), &t, err);
    if (st == LMB_OK && lesson == LMBI_TUNE && j->masks) {
        watch.stepped = on_stepped;
        st = hold(j, t, err);
    }
    if (st == LMB_OK)
        st = lesson == LMBI_TUNE ? lmb_trainer_run(t, &watch, err) : run_kept(j, lesson, id, &c, t, err);
    if (st == LMB_OK)
        st = lmb_trainer_store(t, model, err);
    lmb_trainer_destroy(t);
    lmb_masks_destroy(j->masks);
    j->masks = NULL;
    return st;
}

/* In floats, with its normalisation; few bits are felt while it learns. */
static lmb_status in_floats(lmb_judge *j, lmbi_lesson lesson, const lmb_train_config *c, const lmb_dataset *data,
                            lmb_graph *model, int id, lmb_error *err)
{
    lmb_graph *narrow = NULL;
    lmb_status st = lmb_pass_narrow(model, &narrow, err);

    if (st == LMB_OK)
        st = train(j, lesson, c, data, narrow ? narrow : model, id, err);
    if (st == LMB_OK && narrow)
        st = lmb_objective_finish(narrow, model, err);
    lmb_graph_destroy(narrow);
    return st;
}

lmb_status lmb_judge_tune(lmb_judge *j, lmb_graph *model, int id, lmb_error *err)
{
    int64_t n = j->c->samples < j->train->n ? j->c->samples : j->train->n;
    uint32_t *order = malloc(sizeof *order * (size_t)j->train->n);
    lmb_dataset *some = NULL;

    if (!order)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to choose %lld samples", (long long)n);
    lmb_split((uint64_t)(j->c->seed + id), (uint32_t)j->train->n, order);
    lmb_status st = lmb_dataset_subset(j->train, order, n, &some, err);
    j->subset = order;
    if (st == LMB_OK)
        st = in_floats(j, LMBI_TUNE, &j->c->tune, some, model, id, err);
    j->subset = NULL;
    lmb_dataset_destroy(some);
    free(order);
    return st;
}

static lmb_ptq_config calibration_of(const lmb_judge *j)
{
    int64_t n = j->c->calibration < j->train->n ? j->c->calibration : j->train->n;
    return (lmb_ptq_config){ n,         (uint64_t)j->c->seed, j->c->observer,    j->c->tune.backend, j->threads,
                             j->c->qat, j->c->equalise,       j->c->correct_bias };
}

/* What begins a search has integers (search.c, check_form): where its descendants have none, as for a bias that is too
 * large for its scale, their numbers diverged without a step that said so. Takes `frozen`. */
static lmb_status if_deployable(lmb_graph *frozen, lmb_graph **out, lmb_error *err)
{
    lmb_error why = LMB_ERROR_INIT;
    lmb_deployed d;
    lmb_status st = lmb_deployed_real(frozen, &d, NULL, &why);

    if (st == LMB_OK) {
        lmb_deployed_free(&d);
        *out = frozen;
        return LMB_OK;
    }
    lmb_graph_destroy(frozen);
    return LMB_FAIL(err, st == LMB_E_NOMEM ? st : LMB_E_NUMERIC, "%s", why.msg);
}

lmb_status lmb_judge_quantise(lmb_judge *j, const lmb_graph *model, lmb_graph **frozen, lmb_error *err)
{
    lmb_ptq_config c = calibration_of(j);
    lmb_graph *ranges;

    LMB_TRY(lmb_ptq(model, &c, j->train, &ranges, err));
    return if_deployable(ranges, frozen, err);
}

/* Trained on from `start`, which stays. */
static lmb_status learn_integers(lmb_judge *j, lmbi_lesson lesson, const lmb_graph *start, int id, lmb_graph **frozen,
                                 lmb_error *err)
{
    lmb_graph *qat, *learnt;

    LMB_TRY(lmb_graph_copy(start, &qat, err));
    lmb_status st = train(j, lesson, &j->c->finish, j->train, qat, id, err);
    if (st == LMB_OK)
        st = lmb_pass_qat_freeze(qat, &learnt, err);
    lmb_graph_destroy(qat);
    return st == LMB_OK ? if_deployable(learnt, frozen, err) : st;
}

/* Which of the two answers more held-out samples rightly, as it is deployed. */
static lmb_status weigh(lmb_judge *j, const lmb_graph *alone, const lmb_graph *taught, lmb_paired *proof,
                        lmb_error *err)
{
    lmb_deployed a, t;

    LMB_TRY(lmb_deployed_real(alone, &a, NULL, err));
    lmb_status st = lmb_deployed_real(taught, &t, NULL, err);
    if (st == LMB_OK) {
        st = lmb_judge_against(j, &a, &t, proof, err);
        lmb_deployed_free(&t);
    }
    lmb_deployed_free(&a);
    return st;
}

/* Does the teacher help? */
static lmb_status prove(lmb_judge *j, const lmb_graph *start, int id, lmb_graph **frozen, lmb_paired *proof,
                        lmb_error *err)
{
    lmb_graph *taught = NULL, *alone = NULL;
    lmb_status st;

    LMB_TRY_GOTO(st, done, learn_integers(j, LMBI_FINISH, start, id, &taught, err));
    LMB_TRY_GOTO(st, done, learn_integers(j, LMBI_ALONE, start, id, &alone, err));
    LMB_TRY_GOTO(st, done, weigh(j, alone, taught, proof, err));
    if (who(j, LMBI_ALONE)) /* rank 0's word counts, whatever processors the others have */
        LMB_TRY_GOTO(st, done, j->comm->broadcast(j->comm, proof, sizeof *proof, 0, err));
    lmb_graph **better = proof->won > proof->lost ? &taught : &alone;
    *frozen = *better;
    *better = NULL;
done:
    lmb_graph_destroy(taught);
    lmb_graph_destroy(alone);
    return st;
}

/* Folded, and as the integers that it becomes. */
static lmb_status in_integers(lmb_judge *j, const lmb_graph *model, int id, lmb_graph **frozen, lmb_paired *proof,
                              lmb_error *err)
{
    lmb_ptq_config c = calibration_of(j);
    lmb_graph *qat = NULL;

    c.correct_bias = false;                                 /* biases learn what rounding shifts */
    LMB_TRY(lmb_ptq_start(model, &c, j->train, &qat, err)); /* where the observers, or steps, go on from */
    lmb_status st =
        j->c->proves ? prove(j, qat, id, frozen, proof, err) : learn_integers(j, LMBI_FINISH, qat, id, frozen, err);
    lmb_graph_destroy(qat);
    return st;
}

static void taken_back(lmb_judge_last *last, lmb_error *err)
{
    last->proof = (lmb_paired){ 0 };
    last->diverged = true;
    lmb_error_clear(err);
}

/* In floats: *out, which is `model` as it was where that diverges. */
static lmb_status recover(lmb_judge *j, const lmb_graph *model, int id, lmb_graph **out, lmb_judge_last *last,
                          lmb_error *err)
{
    LMB_TRY(lmb_graph_copy(model, out, err));
    if (!j->c->recovers)
        return LMB_OK;
    lmb_status st = in_floats(j, LMBI_RECOVER, &j->c->recover, j->train, *out, id, err);
    if (st != LMB_E_NUMERIC)
        return st;
    taken_back(last, err);
    lmb_graph_destroy(*out);
    *out = NULL;
    return lmb_graph_copy(model, out, err);
}

lmb_status lmb_judge_finish(lmb_judge *j, const lmb_graph *model, int id, lmb_graph **frozen, lmb_judge_last *last,
                            lmb_error *err)
{
    lmb_graph *is = NULL;

    *last = (lmb_judge_last){ 0 };
    lmb_status st = recover(j, model, id, &is, last, err);
    if (st == LMB_OK)
        st = j->c->finishes ? in_integers(j, is, id, frozen, &last->proof, err)
                            : lmb_judge_quantise(j, is, frozen, err);
    for (int back = 0; back < 2 && st == LMB_E_NUMERIC; back++) { /* without finish, and without both */
        taken_back(last, err);
        if (back) {
            lmb_graph_destroy(is);
            is = NULL;
            LMB_TRY(lmb_graph_copy(model, &is, err));
        }
        st = lmb_judge_quantise(j, is, frozen, err);
    }
    if (st == LMB_OK)
        last->floats = is;
    else
        lmb_graph_destroy(is);
    return st;
}
