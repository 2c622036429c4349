/* distill/search/judge.c - see judge.h. */
#include "distill/search/judge_parts.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/threads.h"
#include "core/graph/op.h"
#include "distill/quantize/lower.h"
#include "train/predictor.h"

#define ROWS LMBI_JUDGE_ROWS

bool lmbi_judge_tell(lmb_judge *j, const char *what, int64_t done, int64_t all)
{
    return !j->watch.work || j->watch.work(j->watch.ctx, what, done, all);
}

/* ---- the teacher ---- */

lmb_status lmb_judge_check(const lmb_graph *teacher, const lmb_dataset *data, lmb_error *err)
{
    const lmb_value *x = &teacher->value[lmb_graph_input(teacher, 0)];
    lmb_shape sample = x->shape;
    char a[LMB_SHAPE_TEXT], b[LMB_SHAPE_TEXT];
    int classes;

    if (data->dtype != LMB_U8 || data->shape.n != 3)
        return LMB_FAIL(err, LMB_E_SHAPE, "the deployed runtime takes images of bytes; the data has samples %s of %s",
                        lmb_shape_text(&data->shape, a, sizeof a), lmb_dtype_name(data->dtype));
    LMB_TRY(lmb_model_classes(teacher, &classes, err));
    if (sample.n == 4)
        sample = LMB_SHAPE(sample.d[1], sample.d[2], sample.d[3]);
    if (!lmb_shape_equal(&sample, &data->shape))
        return LMB_FAIL(err, LMB_E_SHAPE, "the teacher takes samples %s, the data has %s",
                        lmb_shape_text(&sample, a, sizeof a), lmb_shape_text(&data->shape, b, sizeof b));
    if (classes != data->classes)
        return LMB_FAIL(err, LMB_E_SHAPE, "the teacher has %d classes, the data %d", classes, data->classes);
    return LMB_OK;
}

static lmb_status answer_held_out(lmb_judge *j, lmb_predictor *p, lmb_loader *l, bool *right, lmb_error *err)
{
    const lmb_batch *b;
    const float *y;

    LMB_TRY(lmb_loader_begin(l, 0, 0, err));
    for (int64_t at = 0; at < j->held_out->n; at += b->n) {
        (void)lmbi_judge_tell(j, "the teacher answers the held-out samples", at,
                              j->held_out->n); /* soon done, and other ranks would wait */
        LMB_TRY(lmb_loader_next(l, &b, err));
        LMB_TRY(lmb_predictor_run(p, b->x, b->n, &y, err));
        for (int64_t i = 0; i < b->n; i++)
            right[b->sample[i]] = lmb_argmax(y + i * j->classes, j->classes) == b->y[i];
    }
    return LMB_OK;
}

static int64_t count(const bool *right, int64_t n)
{
    int64_t k = 0;
    for (int64_t i = 0; i < n; i++)
        k += right[i];
    return k;
}

static lmb_status ask(lmb_judge *j, const lmb_graph *teacher, bool *right, lmb_error *err)
{
    const lmb_backend *backends[3];
    lmb_loader_options o = { .data = j->held_out, .batch = ROWS };
    lmb_predictor *p = NULL;
    lmb_loader *l = NULL;

    LMB_TRY(lmb_cpu_backends(j->c->tune.backend, backends, err));
    lmb_status st = lmb_predictor_create(teacher, NULL, backends, ROWS, &p, err);
    if (st == LMB_OK)
        st = lmb_loader_create(&o, &l, err);
    if (st == LMB_OK)
        st = answer_held_out(j, p, l, right, err);
    lmb_loader_destroy(l);
    lmb_predictor_destroy(p);
    return st;
}

static lmb_status ask_teacher(lmb_judge *j, lmb_error *err)
{
    LMB_TRY(ask(j, j->teaches, j->teacher_right, err));
    j->n_teaches_right = count(j->teacher_right, j->held_out->n);
    if (j->teaches != j->teacher)
        LMB_TRY(ask(j, j->teacher, j->teacher_right, err));
    j->n_teacher_right = count(j->teacher_right, j->held_out->n);
    return LMB_OK;
}

static bool on_logits(void *ctx, int64_t done, int64_t all)
{
    return lmbi_judge_tell(ctx, "the teacher's logits", done, all);
}

/* Are the samples of a lesson shown in versions? (`tune` sees other samples each time, whose versions go by their place
 * among them.) */
static bool has_versions(int lesson, const lmb_train_config *c)
{
    return lesson != LMBI_TUNE && c->augment.versions > 0 && lmb_augment_any(&c->augment);
}

/* Of the samples as they are, and, for a last training whose samples have versions, of these. */
lmb_status lmb_judge_open_logits(lmb_judge *j, lmb_error *err)
{
    const lmb_train_config *all[LMBI_LESSONS] = { &j->c->tune, j->c->recovers ? &j->c->recover : NULL,
                                                  j->c->finishes ? &j->c->finish : NULL };
    lmb_logits_key k = { j->teaches, j->train, NULL, 0, j->c->tune.backend, ROWS, 1, j->c->distill.precision };
    lmb_logits_watch watch = { on_logits, j };
    bool plain = false;

    for (int i = 0; i < LMBI_LESSONS; i++) {
        if (j->how[i].distill.alpha == 0)
            all[i] = NULL;
        plain |= all[i] && !has_versions(i, all[i]);
    }
    if (plain)
        LMB_TRY(lmb_logits_open(j->folder, &k, j->threads, j->comm, &watch, &j->logits, err));
    for (int i = 0; i < LMBI_LESSONS; i++) {
        if (!all[i] || !has_versions(i, all[i]))
            continue;
        lmb_augment shown = lmbi_judge_augment(&all[i]->augment);
        k.rows = lmb_train_rows(all[i], j->train->n, 1); /* as `limbeck distill` asks: a file serves both */
        k.augment = &shown;
        k.epochs = shown.versions;
        LMB_TRY(lmb_logits_open(j->folder, &k, j->threads, j->comm, &watch, &j->versions[i], err));
    }
    return LMB_OK;
}

/* ---- lessons ---- */

lmb_status lmb_judge_lesson(const lmb_distill_config *c, lmb_objective *out, lmb_error *err)
{
    lmb_objective o = { .distill = { .alpha = c->alpha, .temperature = c->temperature, .losses = c->losses } };

    LMB_TRY(lmb_objective_bind(&o, err));
    for (int i = 0; i < o.n_taught; i++)
        if (o.taught[i].term->flags & LMB_TERM_FEATURES)
            return lmb_tree_fail(
                c->losses, err, LMB_E_ARG,
                "the loss '%s' looks into the teacher, and a search teaches from a file of its logits; take "
                "kl or dkd here, and the others in `limbeck distill`",
                o.taught[i].term->name);
    *out = o;
    return LMB_OK;
}

static lmb_status bind_lessons(lmb_judge *j, lmb_error *err)
{
    const lmb_distill_config *finish = j->c->finish_distill ? j->c->finish_distill : &j->c->distill;

    for (int i = 0; i < LMBI_LESSONS; i++)
        LMB_TRY(lmb_judge_lesson(i == LMBI_FINISH ? finish : &j->c->distill, &j->how[i], err));
    j->how[LMBI_ALONE].distill.alpha = 0;
    return LMB_OK;
}

void lmb_judge_destroy(lmb_judge *j)
{
    if (!j)
        return;
    lmb_logits_close(j->logits);
    for (int i = 0; i < LMBI_LESSONS; i++)
        lmb_logits_close(j->versions[i]);
    free(j->teacher_right);
    free(j);
}

int64_t lmb_judge_teacher_right(const lmb_judge *j) { return j->n_teacher_right; }
int64_t lmb_judge_teaches_right(const lmb_judge *j) { return j->n_teaches_right; }

lmb_status lmb_judge_create(const lmb_judge_config *c, const lmb_graph *teacher, const lmb_dataset *train,
                            const lmb_dataset *held_out, const char *folder, lmb_comm *comm,
                            const lmb_judge_watch *watch, lmb_judge **out, lmb_error *err)
{
    lmb_judge *j;

    LMB_TRY(lmb_judge_check(teacher, train, err));
    if (c->teachers)
        LMB_TRY(lmb_judge_check(c->teachers, train, err));
    j = calloc(1, sizeof *j);
    if (!j)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to judge models");
    j->c = c;
    j->teacher = teacher;
    j->teaches = c->teachers ? c->teachers : teacher;
    j->train = train;
    j->held_out = held_out;
    j->folder = folder;
    j->comm = comm;
    j->classes = train->classes;
    j->threads = c->tune.threads > 0 ? (int)c->tune.threads : lmb_cpu_count();
    if (watch)
        j->watch = *watch;
    j->teacher_right = calloc((size_t)held_out->n + 1, sizeof *j->teacher_right);
    lmb_status st = j->teacher_right ? ask_teacher(j, err)
                                     : LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld answers", (long long)held_out->n);
    if (st == LMB_OK)
        st = bind_lessons(j, err);
    if (st != LMB_OK) {
        lmb_judge_destroy(j);
        return st;
    }
    *out = j;
    return LMB_OK;
}

/* ---- comparing ---- */

lmb_status lmb_judge_marks(const lmb_dataset *d, const float *logits, bool *right, lmb_error *err)
{
    int32_t *label = malloc(sizeof *label * (size_t)d->n);
    lmb_status st = label ? lmb_dataset_labels(d, label, err)
                          : LMB_FAIL(err, LMB_E_NOMEM, "no memory to compare answers");

    for (int64_t i = 0; st == LMB_OK && i < d->n; i++)
        right[i] = lmb_argmax(logits + i * d->classes, d->classes) == label[i];
    free(label);
    return st;
}

static lmb_status answers(const lmb_judge *j, const lmb_deployed *d, bool *right, lmb_error *err)
{
    float *logits = malloc(sizeof *logits * (size_t)(j->held_out->n * j->classes));
    lmb_metrics m;

    if (!logits)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %lld answers", (long long)j->held_out->n);
    lmb_status st = lmb_metrics_init(&m, j->classes, err);
    if (st == LMB_OK) {
        st = lmb_deploy_evaluate(d->file.text, d->file.n, j->held_out, lmb_deploy_kernels(NULL, j->c->tune.backend),
                                 j->threads, &m, logits, NULL, err);
        lmb_metrics_deinit(&m);
    }
    if (st == LMB_OK)
        st = lmb_judge_marks(j->held_out, logits, right, err);
    free(logits);
    return st;
}

/* first NULL: the teacher. */
static lmb_status compare(const lmb_judge *j, const lmb_deployed *first, const lmb_deployed *second, lmb_paired *pair,
                          int64_t *right, lmb_error *err)
{
    int64_t n = j->held_out->n;
    bool *a = malloc(sizeof *a * 2 * (size_t)n), *b = a ? a + n : NULL;
    lmb_status st = a ? answers(j, second, b, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to compare answers");

    if (st == LMB_OK && first)
        st = answers(j, first, a, err);
    if (st == LMB_OK) {
        *pair = lmb_paired_count(first ? a : j->teacher_right, b, n);
        *right = count(b, n);
    }
    free(a);
    return st;
}

lmb_status lmb_judge_compare(lmb_judge *j, const lmb_deployed *d, lmb_paired *pair, int64_t *right, lmb_error *err)
{
    return compare(j, NULL, d, pair, right, err);
}

lmb_status lmb_judge_against(lmb_judge *j, const lmb_deployed *first, const lmb_deployed *second, lmb_paired *pair,
                             lmb_error *err)
{
    int64_t right;
    return compare(j, first, second, pair, &right, err);
}
