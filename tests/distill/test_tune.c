/* Mirrors distill/tune: ranges, NSGA-II's sorting, the Gaussian process, methods on a function, a journal that goes
 * on. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "distill/tune/tune.h"
#include "tests/check_main.h"
#include "tests/temp_dir.h"

static lmb_error err;
static char dir[256];

static lmb_config *yaml(const char *text)
{
    lmb_config *c;
    ck_ok(lmb_config_parse(text, strlen(text), "t.yaml", &c, &err));
    return c;
}

/* ---- searches on a function ---- */

typedef struct world {
    lmb_space space;
    lmb_config *yaml, *how;
    lmb_tune_config c;
    unsigned char options[LMB_METHOD_CONFIG];
    const lmb_method *method;
    int trained, stop_at; /* E_STOPPED in this trial; -1: never */
    bool bad;             /* some settings fail */
    bool folded;          /* train_folds()      */
} world;

/* Accuracy of a hill at lr 0.03, width 20, with adam a little better. */
static double hill(const world *w, const double *x)
{
    double a = log10(lmb_param_number(&w->space.param[0], x[0]) / 0.03),
           b = (lmb_param_number(&w->space.param[1], x[1]) - 20) / 16;
    return 0.95 - 0.1 * a * a - 0.1 * b * b - 0.02 * (lmb_param_number(&w->space.param[2], x[2]) < 1);
}

static lmb_status train(void *ctx, int id, const double *x, lmb_tune_follow *f, double *score, double *spread,
                        lmb_error *e)
{
    world *w = ctx;

    if (id == w->stop_at)
        return LMB_FAIL(e, LMB_E_STOPPED, "stopped");
    w->trained++;
    if (w->bad && x[0] > 0.8)
        return LMB_FAIL(e, LMB_E_NUMERIC, "step 3: the gradient is not finite");
    const lmb_tune_request q = { .c = &w->c, .space = &w->space, .method = w->method, .method_config = w->options };
    int epochs = (int)ceil(4 * lmb_tune_rung(&q, id).share);
    for (int epoch = 1; epoch <= epochs; epoch++) {
        *score = hill(w, x) * epoch / 4;
        if (!lmb_tune_epoch(f, 0, *score, epoch == epochs))
            break;
    }
    *spread = 0;
    return LMB_OK;
}

/* Two folds, each as long as it goes on improving. The first five trials learn slowly, and are at 0.85 in the end; the
 * sixth is at 0.92 early, so that patience ends its first fold; the seventh is good in its first fold alone. */
static lmb_status train_folds(void *ctx, int id, const double *x, lmb_tune_follow *f, double *score, double *spread,
                              lmb_error *e)
{
    world *w = ctx;
    int epochs = id < 5 ? 14 : 9;
    double top = id < 5 ? 0.85 : 0.92, sum = 0;
    bool goes_on = true;

    (void)x, (void)e;
    w->trained++;
    for (int fold = 0; fold < 2 && goes_on; fold++) {
        double best = 0;
        for (int epoch = 0; epoch < epochs && goes_on; epoch++) {
            best = 0.55 + (top - 0.55) * fmin(1, epoch / 8.0);
            if (id == 6 && fold == 1)
                best = 0.3;
            goes_on = lmb_tune_epoch(f, fold, (sum + best) / (fold + 1), fold == 1 && epoch + 1 == epochs);
        }
        sum += best;
        *score = sum / (fold + 1);
    }
    *spread = 0;
    return LMB_OK;
}

static lmb_status cost(void *ctx, const double *x, double *out, lmb_error *e)
{
    const world *w = ctx;
    (void)e;
    *out = 100 * lmb_param_number(&w->space.param[1], x[1]);
    return LMB_OK;
}

static void open_world(world *w, const char *method)
{
    *w = (world){ .stop_at = -1 };
    w->yaml =
        yaml("{lr: {real: [0.001, 1], log: true}, width: {int: [4, 36], step: 2}, optimizer: {choice: [sgd, adam]}}");
    ck_ok(lmb_space_read(lmb_config_root(w->yaml), &w->space, &err));
    w->how = yaml(method);
    lmb_fields_default(lmb_tune_fields, &w->c);
    ck_ok(lmb_method_bind(lmb_config_root(w->how), &w->method, w->options, &err));
    w->c.seed = 3;
}

static void close_world(world *w)
{
    lmb_config_destroy(w->yaml);
    lmb_config_destroy(w->how);
}

static lmb_status search(world *w, const char *folder, const char *identity, lmb_trials *out)
{
    lmb_comm *comm;
    char path[400];

    snprintf(path, sizeof path, "%s/%s", dir, folder);
    ck_ok(lmbi_comm_open_self(&comm, &err));
    lmb_tune_request r = {
        &w->c, &w->space, w->method, w->options, path, identity, comm, w->folded ? train_folds : train,
        w->c.cost ? cost : NULL, NULL, w
    };
    lmb_error_clear(&err);
    lmb_status st = lmb_tune_run(&r, out, &err);
    lmb_comm_close(comm);
    return st;
}

static char *journal_of(const char *folder)
{
    char path[400];
    void *text;
    size_t n;

    snprintf(path, sizeof path, "%s/%s/journal.jsonl", dir, folder);
    ck_ok(lmb_file_read(path, 1 << 24, &text, &n, &err));
    return text;
}

static const char *const methods[] = { "{name: random}", "{name: grid, points: 4}", "{name: bayes, initial: 6}",
                                       "{name: nsga2}", "{name: pso}", "{name: halving}" };
enum { METHODS = 6, HALVING = 5, TRIALS = 32 };

/* Each finds a good place; the same search is the same again; stopped before each trial and going on, it is the same as
 * well. */
START_TEST(methods_search_and_go_on)
{
    world w;
    lmb_trials t, again;
    char name[32], killed[32];

    open_world(&w, methods[_i]);
    w.c.trials = TRIALS;
    w.c.cost = LMB_TUNE_COST_BYTES;
    snprintf(name, sizeof name, "whole%d", _i);
    snprintf(killed, sizeof killed, "killed%d", _i);
    ck_ok(search(&w, name, "a", &t));
    ck_assert_int_eq(t.n, TRIALS);
    int best = lmb_trials_best(&t);
    ck_assert_msg(t.trial[best].score > (_i == 2 ? 0.945 : 0.9), "%s: %g", methods[_i], t.trial[best].score);
    ck_assert(t.trial[best].front);
    w.trained = 0;
    ck_ok(search(&w, name, "a", &again)); /* all is done */
    ck_assert(w.trained == 0 && again.n == TRIALS);
    lmb_trials_free(&again);
    for (w.stop_at = 0; w.stop_at < TRIALS; w.stop_at++) {
        lmb_status st = search(&w, killed, "a", &again);
        ck_assert_msg(st == LMB_E_STOPPED || (st == LMB_OK && t.trial[w.stop_at].same >= 0), "%s: stopped at %d: %d %s",
                      methods[_i], w.stop_at, st, err.msg);
        if (st == LMB_OK)
            lmb_trials_free(&again);
    }
    w.stop_at = -1;
    ck_ok(search(&w, killed, "a", &again));
    char *a = journal_of(name), *b = journal_of(killed);
    ck_assert_str_eq(a, b);
    free(a);
    free(b);
    lmb_trials_free(&again);
    lmb_trials_free(&t);
    close_world(&w);
}
END_TEST

/* What was learnt of a model of the function beats luck, and evolution finds the front: cheap and less accurate ones
 * are on it. */
START_TEST(methods_do_what_they_are_for)
{
    double best[2];
    lmb_trials t;
    world w;

    for (int k = 0; k < 2; k++) {
        open_world(&w, methods[k == 0 ? 0 : 2]);
        w.c.trials = 24;
        w.c.round = 4;
        ck_ok(search(&w, k ? "model" : "luck", "a", &t));
        best[k] = t.trial[lmb_trials_best(&t)].score;
        if (k == 0)
            ck_assert(lmb_trials_matter(&t, &w.space, 0) > lmb_trials_matter(&t, &w.space, 2));
        lmb_trials_free(&t);
        close_world(&w);
    }
    ck_assert_msg(best[1] > best[0], "bayes %g, random %g", best[1], best[0]);
    open_world(&w, methods[3]);
    w.c.trials = 96;
    w.c.round = 16;
    w.c.cost = LMB_TUNE_COST_BYTES;
    ck_ok(search(&w, "front", "a", &t));
    int front = 0, late = 0;
    for (int i = 0; i < t.n; i++) {
        front += t.trial[i].front;
        late += t.trial[i].front && i >= 16;
        if (t.trial[i].front)
            ck_assert(lmb_param_number(&w.space.param[1], t.trial[i].x[1]) <= 22); /* wider is dearer and no better */
    }
    ck_assert_msg(front >= 5 && late >= 4, "%d on the front, %d of them children", front, late);
    lmb_trials_free(&t);
    close_world(&w);
}
END_TEST

/* Brackets of 9, 3 and 1 trials with a ninth, a third and all of the epochs: the best of a rung go on, as they are;
 * what was seen of few epochs is never the best; another bracket has other points. With a cost the front goes on. */
START_TEST(halving_keeps_the_better_ones)
{
    static const int size[] = { 9, 3, 1 };
    static const double share[] = { 1.0 / 9, 1.0 / 3, 1 };
    lmb_trials t;
    world w;

    open_world(&w, "{name: halving, eta: 3, rungs: 3}");
    w.c.round = 9;
    w.c.trials = 2 * (9 + 3 + 1);
    ck_ok(search(&w, "halving", "a", &t));
    ck_assert_int_eq(t.n, 26);
    for (int bracket = 0, i = 0; bracket < 2; bracket++)
        for (int k = 0; k < 3; k++) {
            int n = size[k], worse = 0, before = k ? i - size[k - 1] : i;
            for (int m = 0; m < n; m++)
                ck_assert_double_eq_tol(t.trial[i + m].share, share[k], 1e-12);
            for (int m = 0; k && m < n; m++) {
                int from = -1;
                for (int b = before; b < i; b++)
                    from = memcmp(t.trial[b].x, t.trial[i + m].x, sizeof t.trial[b].x) == 0 ? b : from;
                ck_assert_int_ge(from, 0);
                for (int b = before; b < i; b++)
                    worse += t.trial[b].score > t.trial[from].score;
            }
            ck_assert_int_eq(worse, n * (n - 1) / 2 * (k > 0)); /* the best has none above it, the next one, ... */
            i += n;
        }
    ck_assert(memcmp(t.trial[0].x, t.trial[13].x, sizeof t.trial[0].x) != 0);
    lmb_trials again;
    ck_ok(search(&w, "halving", "a", &again)); /* a third comes back as what it was */
    ck_assert(again.n == t.n && again.trial[9].share == t.trial[9].share);
    lmb_trials_free(&again);
    int best = lmb_trials_best(&t);
    ck_assert(best == 12 || best == 25);
    ck_assert(t.trial[best].front && !t.trial[11].front);
    lmb_trials_free(&t);
    close_world(&w);

    open_world(&w, "{name: halving, eta: 2, rungs: 2}");
    w.c.round = 16;
    w.c.trials = 24;
    w.c.cost = LMB_TUNE_COST_BYTES;
    ck_ok(search(&w, "goals", "a", &t));
    int kept = 0, front = 0, dropped = 0;
    for (int i = 0; i < 16; i++) {
        bool goes_on = false, is_beaten = false;
        for (int k = 16; k < 24; k++)
            goes_on |= memcmp(t.trial[i].x, t.trial[k].x, sizeof t.trial[i].x) == 0;
        for (int k = 0; k < 16; k++)
            is_beaten |= t.trial[k].score > t.trial[i].score && t.trial[k].cost < t.trial[i].cost;
        kept += goes_on;
        front += !is_beaten;
        dropped += !is_beaten && !goes_on;
    }
    ck_assert_int_eq(kept, 8);
    ck_assert_msg(front >= 3 && dropped == (front > 8 ? front - 8 : 0), "%d on the front, %d of them dropped", front,
                  dropped);
    lmb_trials_free(&t);
    w.c.round = 1;
    ck_assert_int_eq(search(&w, "few", "a", &t), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "give it 2 or more"));
    close_world(&w);
}
END_TEST

START_TEST(hopeless_ones_are_stopped_and_failures_kept)
{
    lmb_trials t;
    world w;
    int hopeless = 0, failed = 0;

    open_world(&w, methods[0]);
    w.c.trials = 40;
    w.c.stop = (lmb_tune_stop_config){ LMB_TUNE_STOP_MEDIAN, 2, 4 };
    w.bad = true;
    ck_ok(search(&w, "median", "a", &t));
    for (int i = 0; i < t.n; i++) {
        const lmb_trial *x = &t.trial[i];
        hopeless += x->hopeless;
        failed += x->failed;
        if (x->hopeless) {
            ck_assert(x->n_curve >= 2 && x->n_curve < 4 && i >= 8);
        } else if (!x->failed)
            ck_assert_int_eq(x->n_curve, 4);
        if (x->failed)
            ck_assert_str_eq(x->why, "step 3: the gradient is not finite");
    }
    ck_assert_msg(hopeless >= 8 && failed >= 3, "%d hopeless, %d failed", hopeless, failed);
    int best = lmb_trials_best(&t);
    ck_assert(!t.trial[best].hopeless && !t.trial[best].failed);
    lmb_trials_free(&t);
    close_world(&w);
}
END_TEST

static void write_journal(const char *folder, const char *text)
{
    char path[400];

    snprintf(path, sizeof path, "%s/%s/journal.jsonl", dir, folder);
    ck_ok(lmb_file_write(path, text, strlen(text), &err));
}

/* A fold that ended early is not compared with what others had of it after as many epochs in all; a journal tells the
 * folds apart, and one that does not is refused where that matters. */
START_TEST(the_median_is_of_the_same_epoch_of_the_same_fold)
{
    lmb_trials t;
    world w;

    open_world(&w, methods[0]);
    w.folded = true;
    w.c.folds = 2;
    w.c.round = 5;
    w.c.trials = 5;
    w.c.stop = (lmb_tune_stop_config){ LMB_TUNE_STOP_MEDIAN, 1, 5 };
    ck_ok(search(&w, "folded", "a", &t));
    lmb_trials_free(&t);
    w.c.trials = 7;
    ck_ok(search(&w, "folded", "a", &t)); /* the first five are read again */
    ck_assert_int_eq(w.trained, 7);
    const lmb_trial *good = &t.trial[5], *bad = &t.trial[6];
    ck_assert_msg(!good->hopeless && good->n_folds == 2 && good->epochs[0] == 9 && good->epochs[1] == 9,
                  "%d folds, the last with %d epochs", good->n_folds, good->epochs[good->n_folds - 1]);
    ck_assert_int_eq(lmb_trials_best(&t), 5);
    ck_assert_msg(bad->hopeless && bad->n_folds == 2 && bad->epochs[0] == 9 && bad->epochs[1] == 1,
                  "%d folds, the last with %d epochs", bad->n_folds, bad->epochs[bad->n_folds - 1]);
    lmb_trials_free(&t);

    static char lie[1 << 14];
    char *whole = journal_of("folded"), *found;
    snprintf(lie, sizeof lie, "%s", whole);
    free(whole);
    ck_assert_ptr_nonnull(found = strstr(lie, "\"folds\": [14, 14]"));
    memcpy(found, "\"folds\": [14, 15]", 17);
    write_journal("folded", lie);
    ck_assert_int_eq(search(&w, "folded", "a", &t), LMB_E_FORMAT);
    ck_assert_msg(strstr(err.msg, "fold 1 has 15 epochs"), "%s", err.msg);
    while ((found = strstr(lie, "\"folds\"")) != NULL)
        memcpy(found, "\"older\"", 7);
    write_journal("folded", lie);
    ck_assert_int_eq(search(&w, "folded", "a", &t), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "of an older version") && strstr(err.msg, "--fresh"), "%s", err.msg);
    w.c.stop.rule = LMB_TUNE_STOP_NONE;
    ck_ok(search(&w, "folded", "a", &t));
    ck_assert_int_eq(w.trained, 7);
    lmb_trials_free(&t);
    close_world(&w);
}
END_TEST

/* A space of four points: the grid has four trials, and others take over what was seen of the same values. */
START_TEST(small_spaces_are_not_tried_twice)
{
    lmb_trials t;
    world w;

    for (int k = 0; k < METHODS; k++) {
        char name[32];
        open_world(&w, methods[k]);
        lmb_config_destroy(w.yaml);
        w.yaml = yaml("{lr: {choice: [0.1]}, width: {int: [4, 6], step: 2}, optimizer: {choice: [sgd, adam]}}");
        ck_ok(lmb_space_read(lmb_config_root(w.yaml), &w.space, &err));
        ck_assert_int_eq(lmb_space_points(&w.space), 4);
        w.c.trials = 20;
        snprintf(name, sizeof name, "small%d", k);
        ck_ok(search(&w, name, "a", &t));
        ck_assert_int_eq(t.n, k == 1 ? 4 : 20);
        ck_assert_msg(w.trained <= (k == HALVING ? 3 * 4 : 4), "%s trained %d", methods[k], w.trained);
        lmb_trials_free(&t);
        close_world(&w);
    }
}
END_TEST

/* The first trials of a grid change its last keys alone. */
START_TEST(a_corner_of_a_grid_is_refused)
{
    lmb_trials t;
    world w;

    open_world(&w, methods[1]);
    const lmb_tune_request r = { .c = &w.c, .space = &w.space, .method = w.method, .method_config = w.options };
    w.c.trials = 31;
    ck_assert_int_eq(search(&w, "corner", "a", &t), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "the grid has 32 points, and tune.trials is 31"), "%s", err.msg);
    ck_assert_int_eq(w.trained, 0);
    lmb_error_clear(&err);
    w.c.trials = 32;
    ck_ok(lmb_tune_request_check(&r, &err));
    close_world(&w);
    open_world(&w, "{name: grid, points: 1000}"); /* 1000 x 17 x 2 */
    w.c.trials = 100;
    ck_assert_int_eq(lmb_tune_request_check(&r, &err), LMB_E_ARG);
    ck_assert_msg(strstr(err.msg, "the grid has 34000 points") && strstr(err.msg, "Give it as many trials"), "%s",
                  err.msg);
    close_world(&w);
}
END_TEST

START_TEST(refusals)
{
    lmb_config *bad = yaml("{name: bayse}"), *option = yaml("{name: pso, intertia: 1}");
    unsigned char options[LMB_METHOD_CONFIG];
    const lmb_method *m;
    lmb_trials t;
    world w;
    char path[400];

    ck_assert_int_eq(lmb_method_bind(lmb_config_root(bad), &m, options, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "did you mean bayes"));
    lmb_error_clear(&err);
    ck_assert_int_eq(lmb_method_bind(lmb_config_root(option), &m, options, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "inertia"));
    lmb_config_destroy(bad);
    lmb_config_destroy(option);
    open_world(&w, methods[3]);
    w.c.round = 2;
    ck_assert_int_eq(search(&w, "refused", "a", &t), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "population"));
    w.c.round = 8;
    w.c.trials = 8;
    ck_ok(search(&w, "mine", "a", &t));
    lmb_trials_free(&t);
    ck_assert_int_eq(search(&w, "mine", "b", &t), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "another configuration"));
    snprintf(path, sizeof path, "%s/mine/journal.jsonl", dir);
    const char *lies = "{\"trial\": 12, \"score\": 1, \"spread\": 0, \"cost\": 0, \"same\": -1, \"hopeless\": false, "
                       "\"failed\": false, \"why\": \"\", "
                       "\"curve\": [], \"x\": [0, 0, 0]}\n";
    ck_ok(lmb_file_append(path, lies, strlen(lies), &err));
    lmb_error_clear(&err);
    ck_assert_int_eq(search(&w, "mine", "a", &t), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "line 10"));
    close_world(&w);
}
END_TEST

static void begin(void)
{
    lmb_error_clear(&err);
    temp_make(dir, sizeof dir);
}

static void end(void) { temp_remove(dir); }

LMB_TEST_MAIN("distill/tune", tcase_add_checked_fixture(tc_, begin, end); add_loop(methods_search_and_go_on, METHODS);
              add(methods_do_what_they_are_for); add(halving_keeps_the_better_ones);
              add(hopeless_ones_are_stopped_and_failures_kept); add(the_median_is_of_the_same_epoch_of_the_same_fold);
              add(small_spaces_are_not_tried_twice); add(a_corner_of_a_grid_is_refused); add(refusals);)
