/* launch/tune_end.c - what a search over recipes leaves: tune.json, best.yaml, and the answer. See tune.h. */
#include <stdio.h>

#include "core/base/file.h"
#include "launch/tune.h"

void lmb_tune_values(const lmb_space *s, const double *x, lmb_str *out)
{
    for (int d = 0; d < s->n; d++) {
        lmb_str_addf(out, "%s%s=", d ? " " : "", s->param[d].key);
        lmb_param_text(&s->param[d], x[d], out);
    }
}

/* Numbers as numbers, a choice as the text that it stands for. */
static void values(lmb_str *s, const lmb_space *space, const double *x)
{
    lmb_str_add(s, "{");
    for (int d = 0; d < space->n; d++) {
        lmb_str text = LMB_STR_INIT;
        lmb_param_text(&space->param[d], x[d], &text);
        lmb_str_add(s, d ? ", " : "");
        lmb_str_add_json(s, space->param[d].key);
        lmb_str_add(s, ": ");
        if (space->param[d].kind == LMB_PARAM_CHOICE)
            lmb_str_add_json(s, text.text ? text.text : "");
        else
            lmb_str_add(s, text.text ? text.text : "0");
        s->failed |= text.failed;
        lmb_str_free(&text);
    }
    lmb_str_add(s, "}");
}

static void trial(lmb_str *s, const lmb_tune_end *e, const lmb_trial *t)
{
    lmb_str_addf(s, "  {\"trial\": %d, \"state\": \"%s\", \"front\": %s", t->id,
                 t->failed      ? "failed"
                 : t->hopeless  ? "hopeless"
                 : t->same >= 0 ? "same"
                                : "done",
                 t->front ? "true" : "false");
    if (t->share < 1)
        lmb_str_add_member(s, "share", t->share);
    if (t->same >= 0)
        lmb_str_addf(s, ", \"same_as\": %d", t->same);
    if (t->failed) {
        lmb_str_add(s, ", \"why\": ");
        lmb_str_add_json(s, t->why);
    } else {
        lmb_str_add_member(s, "score", t->score);
        if (e->c->folds > 1)
            lmb_str_add_member(s, "spread", t->spread);
        if (e->c->cost)
            lmb_str_add_member(s, "cost", t->cost);
    }
    lmb_str_add(s, ", \"values\": ");
    values(s, e->space, t->x);
    lmb_str_add(s, "}");
}

static void json(const lmb_tune_end *e, lmb_str *s)
{
    int best = lmb_trials_best(e->all);

    lmb_str_addf(s,
                 "{\"method\": \"%s\", \"cost\": \"%s\", \"folds\": %lld, \"seed\": %lld, \"budget\": %lld, \"best\": ",
                 e->method->name, lmb_tune_costs[e->c->cost], (long long)e->c->folds, (long long)e->c->seed,
                 (long long)e->budget);
    if (best < 0)
        lmb_str_add(s, "null");
    else
        lmb_str_addf(s, "%d", best);
    lmb_str_add(s, ",\n \"keys\": [");
    for (int d = 0; d < e->space->n; d++) {
        lmb_str_add(s, d ? ", {\"key\": " : "{\"key\": ");
        lmb_str_add_json(s, e->space->param[d].key);
        lmb_str_addf(s, ", \"kind\": \"%s\"", lmb_param_kinds[e->space->param[d].kind]);
        lmb_str_add_member(s, "matters", lmb_trials_matter(e->all, e->space, d));
        lmb_str_add(s, "}");
    }
    lmb_str_add(s, "],\n \"trials\": [\n");
    for (int i = 0; i < e->all->n; i++) {
        trial(s, e, &e->all->trial[i]);
        lmb_str_add(s, i + 1 < e->all->n ? ",\n" : "\n");
    }
    lmb_str_add(s, " ]}\n");
}

/* The configuration without `tune`: what train, distill and run take. */
static lmb_status best_yaml(const lmb_tune_end *e, lmb_str *s, lmb_error *err)
{
    int best = lmb_trials_best(e->all);

    lmb_str_addf(s, "# Best of %d trials: trial %d, with a score of %.2f %%.\n#   ", e->all->n, best,
                 100 * e->all->trial[best].score);
    lmb_tune_values(e->space, e->all->trial[best].x, s);
    lmb_str_add(s, "\n");
    for (const lmb_tree *t = lmb_config_root(e->best)->child; t; t = t->next) {
        const lmb_tree only = { .kind = LMB_TREE_MAP,
                                .child = &(lmb_tree){ t->kind, t->key, t->text, t->quoted, t->file, t->line, t->column,
                                                      t->child, NULL, t->owner } };
        lmb_str one = LMB_STR_INIT;
        if (lmb_tree_get(lmb_config_root(e->best), "tune") == t)
            continue;
        if (lmb_tree_dump(&only, 0, &one) != LMB_OK)
            s->failed = true;
        else
            lmb_str_add(s, one.text + 1); /* a mapping begins on a new line */
        lmb_str_free(&one);
    }
    return lmb_str_check(s, err);
}

static lmb_status leave(const lmb_tune_end *e, const char *name, lmb_str *s, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    lmb_status st = lmb_str_check(s, err);

    if (st == LMB_OK)
        st = lmb_path_join(path, sizeof path, e->folder, name, err);
    if (st == LMB_OK)
        st = lmb_file_write(path, s->text, s->n, err);
    lmb_str_clear(s);
    return st;
}

static void answer(const lmb_tune_end *e)
{
    int best = lmb_trials_best(e->all), count[3] = { 0 };
    lmb_str s = LMB_STR_INIT;

    for (int i = 0; i < e->all->n; i++) {
        count[0] += e->all->trial[i].failed;
        count[1] += e->all->trial[i].hopeless;
        count[2] += e->all->trial[i].front;
    }
    if (best >= 0)
        lmb_tune_values(e->space, e->all->trial[best].x, &s);
    if (e->all->n < e->budget)
        printf("%d of %lld trials: tune.seconds are over; with more of them the same command goes on%s\n", e->all->n,
               (long long)e->budget,
               e->method->all ? ". These are one corner of the grid, in which the first keys hardly change" : "");
    if (best < 0)
        printf("none of %d trials ended: %d failed, %d were hopeless\n", e->all->n, count[0], count[1]);
    else
        printf("best of %d trials (%d failed, %d hopeless): trial %d with %.2f %%: %s\n", e->all->n, count[0], count[1],
               best, 100 * e->all->trial[best].score, s.text ? s.text : "");
    if (best >= 0 && e->c->cost)
        printf("on the front of accuracy and %s: %d trials\n", lmb_tune_costs[e->c->cost], count[2]);
    if (best >= 0)
        printf("its configuration: %s/best.yaml\n", e->folder);
    printf("%s/tune.json\n", e->folder);
    lmb_str_free(&s);
}

lmb_status lmb_tune_leave(const lmb_tune_end *e, lmb_error *err)
{
    static const char best[] = "best.yaml";
    lmb_str s = LMB_STR_INIT;

    json(e, &s);
    lmb_status st = leave(e, "tune.json", &s, err);
    if (st == LMB_OK) {
        lmb_tune_page(e, &s);
        st = leave(e, "report.html", &s, err);
    }
    if (st == LMB_OK && e->best)
        st = best_yaml(e, &s, err);
    if (st == LMB_OK)
        st = e->best ? leave(e, best, &s, err) : lmb_trials_forget(e->folder, (const char *const[]){ best, NULL }, err);
    lmb_str_free(&s);
    if (st == LMB_OK)
        answer(e);
    return st;
}
