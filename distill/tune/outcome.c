/* distill/tune/outcome.c - what trials say: is one hopeless, which is best, what matters. See tune.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "distill/tune/front.h"
#include "distill/tune/internal.h"

/* A trial that ended by itself and is nobody's copy. */
static bool counts(const lmb_trial *t) { return !t->failed && !t->hopeless && t->same < 0; }

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What it had after this epoch of this fold; NULL: it never had one. */
static const double *at(const lmb_trial *t, int fold, int epoch)
{
    int before = 0;

    for (int i = 0; i < fold && i < t->n_folds; i++)
        before += t->epochs[i];
    return fold < t->n_folds && epoch < t->epochs[fold] ? &t->curve[before + epoch] : NULL;
}

/* The median of what trials of earlier rounds had after the same epoch; false: too few got there. */
static bool median_at(const lmb_tune_follow *f, int fold, int epoch, double *out)
{
    double *v = malloc(sizeof *v * ((size_t)f->before + 1));
    int n = 0;

    for (int i = 0; v && i < f->before; i++) {
        const lmb_trial *t = &f->all->trial[i];
        const double *had = at(t, fold, epoch);
        if (counts(t) && t->share == f->trial->share && had)
            v[n++] = *had;
    }
    bool enough = n > 0 && n >= f->c->trials;
    if (enough) {
        qsort(v, (size_t)n, sizeof *v, by_size);
        *out = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
    }
    free(v);
    return enough;
}

bool lmb_tune_epoch(lmb_tune_follow *f, int fold, double score, bool last)
{
    lmb_trial *t = f->trial;
    int step = t->n_curve;
    double median;

    if (step == LMB_TUNE_CURVE || fold >= LMB_TUNE_FOLDS) /* longer than is kept: it goes on to its end */
        return true;
    t->curve[t->n_curve++] = score;
    t->n_folds = fold + 1;
    int epoch = t->epochs[fold]++;
    if (f->c->rule != LMB_TUNE_STOP_MEDIAN || last || step + 1 < f->c->epochs || !median_at(f, fold, epoch, &median) ||
        score >= median)
        return true;
    t->hopeless = true;
    return false;
}

void lmb_trials_free(lmb_trials *t)
{
    free(t->trial);
    *t = (lmb_trials){ 0, 0, NULL };
}

lmb_status lmbi_trials_add(lmb_trials *all, const lmb_trial *t, lmb_error *err)
{
    if (all->n == all->room) {
        int room = all->room ? 2 * all->room : 32;
        lmb_trial *more = realloc(all->trial, sizeof *more * (size_t)room);
        if (!more)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %d trials", room);
        all->trial = more;
        all->room = room;
    }
    all->trial[all->n++] = *t;
    return LMB_OK;
}

int lmb_trials_best(const lmb_trials *t)
{
    int best = -1;

    for (int i = 0; i < t->n; i++) {
        const lmb_trial *x = &t->trial[i], *b = best < 0 ? NULL : &t->trial[best];
        if (counts(x) && (!b || x->share > b->share || (x->share == b->share && x->score > b->score) ||
                          (x->share == b->share && x->score == b->score && x->cost < b->cost)))
            best = i;
    }
    return best;
}

lmb_status lmb_trials_front(lmb_trials *t, lmb_error *err)
{
    lmb_front_point *p = malloc(sizeof *p * ((size_t)t->n + 1));
    int n = 0, best = lmb_trials_best(t);
    double share = best < 0 ? 1 : t->trial[best].share;

    if (!p)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the front of %d trials", t->n);
    for (int i = 0; i < t->n; i++)
        if (counts(&t->trial[i]) && t->trial[i].share == share)
            p[n++] = (lmb_front_point){ { 1 - t->trial[i].score, t->trial[i].cost }, 0, 0 };
    lmb_front_rank(p, n);
    n = 0;
    for (int i = 0; i < t->n; i++)
        t->trial[i].front = counts(&t->trial[i]) && t->trial[i].share == share && p[n++].rank == 0;
    free(p);
    return LMB_OK;
}

double lmb_trials_matter(const lmb_trials *t, const lmb_space *s, int key)
{
    const lmb_param *p = &s->param[key];
    int parts = p->kind == LMB_PARAM_CHOICE ? (int)p->n : 4, n = 0, in[LMB_TUNE_CHOICES] = { 0 };
    double sum[LMB_TUNE_CHOICES] = { 0 }, mean = 0, all = 0, between = 0;

    for (int i = 0; i < t->n; i++)
        if (counts(&t->trial[i]) && t->trial[i].share == t->trial[0].share) {
            int part = (int)fmin(t->trial[i].x[key] * parts, parts - 1);
            in[part]++;
            sum[part] += t->trial[i].score;
            mean += t->trial[i].score;
            n++;
        }
    mean /= n ? n : 1;
    for (int i = 0; i < t->n; i++)
        if (counts(&t->trial[i]) && t->trial[i].share == t->trial[0].share)
            all += (t->trial[i].score - mean) * (t->trial[i].score - mean);
    for (int k = 0; k < parts; k++)
        if (in[k])
            between += in[k] * (sum[k] / in[k] - mean) * (sum[k] / in[k] - mean);
    return all > 0 ? between / all : 0;
}
