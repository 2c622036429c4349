/* launch/rounds.c - see rounds.h. */
#include "launch/rounds.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "core/onnx/onnx.h"
#include "federated/local.h"
#include "launch/model_file.h"

/* ---- a round is over ---- */

static lmb_status accuracy_on(const lmb_rounds *r, const lmb_dataset *data, const float *model, double *accuracy,
                              double *loss, lmb_error *err)
{
    lmb_metrics m;

    LMB_TRY(lmb_metrics_init(&m, data->classes, err));
    lmb_status st = lmb_evaluate(r->model, model, data, "cpu", lmb_cpu_count(), &m, err);
    *accuracy = lmb_metrics_accuracy(&m);
    *loss = lmb_metrics_loss(&m);
    lmb_metrics_deinit(&m);
    return st;
}

static lmb_status evaluate(void *ctx, uint64_t round, const float *model, size_t n, double *score, lmb_figures *figures,
                           lmb_error *err)
{
    const lmb_rounds *r = ctx;
    double loss, test;

    (void)round, (void)n;
    LMB_TRY(accuracy_on(r, r->job->validation, model, score, &loss, err));
    lmb_figures_add(figures, "valid_accuracy", *score);
    lmb_figures_add(figures, "valid_loss", loss);
    if (r->test) {
        LMB_TRY(accuracy_on(r, r->test, model, &test, &loss, err));
        lmb_figures_add(figures, "test_accuracy", test);
    }
    return LMB_OK;
}

/* "clients 91.2 %, median 92.0, worst tenth 71.3": never the mean alone. */
static void print_fares(const lmb_round_report *r, char *text, size_t cap)
{
    static const char *const says[LMB_FARES] = { "clients", "heads of their own" };
    size_t at = 0;

    text[0] = 0;
    for (int k = 0; k < LMB_FARES; k++)
        if (r->fare[k].clients && at < cap)
            at += (size_t)snprintf(text + at, cap - at, "  %s %.2f %% (median %.2f, worst tenth %.2f)", says[k],
                                   100 * r->fare[k].mean, 100 * r->fare[k].median, 100 * r->fare[k].worst);
}

static void print_round(const lmb_round_report *r)
{
    char score[100] = "", bytes[120] = "", privacy[80] = "", fares[200];

    print_fares(r, fares, sizeof fares);
    if (r->scored)
        snprintf(score, sizeof score, "  validation %.2f %%%s", 100 * r->score, r->best ? " (best)" : "");
    double test = lmb_figures_find(&r->metrics, "test_accuracy");
    if (!isnan(test))
        snprintf(score + strlen(score), sizeof score - strlen(score), "  test %.2f %%", 100 * test);
    if (r->bytes_in || r->bytes_out)
        snprintf(bytes, sizeof bytes, "  %.0f kB in  %.0f kB out", (double)r->bytes_in / 1000,
                 (double)r->bytes_out / 1000);
    if (r->plain)
        snprintf(bytes + strlen(bytes), sizeof bytes - strlen(bytes), "  updates %.3g %% of f32",
                 100 * (double)r->payload / (double)r->plain);
    if (r->is_private)
        snprintf(privacy, sizeof privacy, "  epsilon %.4g at delta %g", r->epsilon, r->delta);
    if (r->round == 0)
        fprintf(stderr, "round 0, the model that clients are given%s\n", score);
    else
        fprintf(stderr, "round %llu/%llu  %s  %llu updates of %llu clients  %llu examples%s%s  %.2f s%s%s\n",
                (unsigned long long)r->round, (unsigned long long)r->rounds, r->committed ? "committed" : "abandoned",
                (unsigned long long)r->updates, (unsigned long long)r->selected, (unsigned long long)r->examples, score,
                fares, r->seconds, bytes, privacy);
}

/* `, "name": value` for each. Clients choose their names. */
static void add_figures(lmb_str *line, const char *prefix, const lmb_figures *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        char key[64 + LMB_METRIC_NAME];
        snprintf(key, sizeof key, "%s%s", prefix, f->row[i].name);
        lmb_str_add_member(line, key, f->row[i].value);
    }
}

static void on_round(void *ctx, const lmb_round_report *r)
{
    const lmb_rounds *s = ctx;
    lmb_str line = LMB_STR_INIT;

    lmb_round_report shown = *r;

    if (s->total)
        shown.rounds = s->total;
    if (s->group)
        fprintf(stderr, "%s: ", s->group);
    print_round(&shown);
    lmb_str_addf(&line, "{\"round\": %llu, \"committed\": %s, \"updates\": %llu", (unsigned long long)r->round,
                 r->committed ? "true" : "false", (unsigned long long)r->updates);
    add_figures(&line, "", &r->metrics);
    add_figures(&line, "clients_", &r->clients);
    for (int k = 0; k < LMB_FARES; k++)
        if (r->fare[k].clients) {
            lmb_spread f = r->fare[k];
            lmb_figures rows = { 3, { { "mean", f.mean }, { "median", f.median }, { "worst_tenth", f.worst } } };
            char prefix[64];
            snprintf(prefix, sizeof prefix, "each_client_%s_", lmb_fare_names[k]);
            add_figures(&line, prefix, &rows);
        }
    lmb_str_addf(&line, ", \"bytes_in\": %llu, \"bytes_out\": %llu", (unsigned long long)r->bytes_in,
                 (unsigned long long)r->bytes_out);
    if (r->plain)
        lmb_str_addf(&line, ", \"payload_bytes\": %llu, \"payload_f32_bytes\": %llu", (unsigned long long)r->payload,
                     (unsigned long long)r->plain);
    if (r->is_private)
        lmb_str_addf(&line, ", \"epsilon\": %.9g, \"delta\": %g, \"clip\": %.9g", r->epsilon, r->delta, r->clip);
    lmb_str_add(&line, ", \"seconds\": ");
    lmb_str_add_number(&line, r->seconds);
    lmb_str_add(&line, "}\n");
    if (lmb_file_append(s->history, line.text, line.n, NULL) != LMB_OK)
        fprintf(stderr, "warning: %s can not be written\n", s->history);
    lmb_str_free(&line);
}

/* ---- opening ---- */

/* Parameters travel, and what the aggregator's term adds; statistics, observers and masks stay as the server has them,
 * and so does what clients keep for themselves. */
static lmb_status open_segments(lmb_rounds *r, const lmb_federation_config *c, lmb_error *err)
{
    const lmb_state_layout *l = r->layout;
    lmb_fed_segment *s = calloc((size_t)l->n + 2, sizeof *s);
    lmb_keep keep;

    r->segments = s;
    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a model of %d tensors", l->n);
    lmb_status st = lmb_local_stays(c->local, r->model, l, &keep, err);
    for (int i = 0; st == LMB_OK && i < l->n; i++)
        s[i] = (lmb_fed_segment){ l->segment[i].offset, l->segment[i].count,
                                  lmb_local_travels(&l->segment[i]) && !lmb_keep_has(&keep, i) };
    s[l->n] = (lmb_fed_segment){ l->count, r->n - l->count, true };
    r->partial = keep.values > 0;
    lmb_keep_close(&keep);
    return st;
}

/* The aggregator may ask something of clients, which they learn from their settings. */
lmb_status lmb_rounds_term(const lmb_federation_config *c, const lmb_term **out, lmb_error *err)
{
    const lmb_aggregator *a;
    lmb_server_config server;
    const char *name = "fedavg";

    LMB_TRY(lmb_fields_bind(lmb_server_fields, c->server, &server, err));
    if (server.aggregator)
        LMB_TRY(lmb_tree_name(server.aggregator, &name, err));
    LMB_TRY(lmb_aggregator_find(name, &a, err));
    *out = a->term ? lmb_term_find(a->term) : NULL;
    if (!a->term)
        return LMB_OK;
    if (!*out)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "aggregator %s asks for %s, which is not built in", a->name, a->term);
    if (server.server_lr != 1)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "aggregator %s keeps numbers beside the model that server_lr (%g) would change too; set it to 1", a->name,
            server.server_lr);
    return lmb_local_check(c->local, a->term, err);
}

static lmb_status find_term(lmb_rounds *r, const lmb_federation_config *c, lmb_error *err)
{
    LMB_TRY(lmb_rounds_term(c, &r->term, err));
    r->n = r->layout->count;
    if (!r->term)
        return LMB_OK;
    r->n += r->term->extra(r->layout->count);
    lmb_str_addf(&r->settings, "\nterm: %s\n", r->term->name);
    return lmb_str_check(&r->settings, err);
}

static lmb_status refine(void *ctx, uint64_t round, const float *before, const lmb_updates *u, float *model,
                         lmb_error *err)
{
    lmb_rounds *r = ctx;
    return lmb_feddf_round(r->feddf, round, r->model, r->layout, before, u, model, err);
}

static lmb_status open_feddf(lmb_rounds *r, const lmb_federation_config *c, lmb_error *err)
{
    if (!c->distill)
        return LMB_OK;
    if (r->partial)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "federation.distill asks whole models, and clients keep a part of theirs (local.keep); set one of them");
    r->server.refine = refine;
    return lmb_feddf_open(c->distill, r->job, r->n, &r->feddf, err);
}

static lmb_status open_model(lmb_rounds *r, const char *path, lmb_error *err)
{
    const lmb_job *j = r->job;
    char student[LMB_STAGE_PATH];

    if (!path && j->c.model)
        return lmb_model_of(j, j->c.model, (uint64_t)j->c.train.seed, true, &r->model, err);
    if (path)
        return lmb_model_file(j, path, &r->model, err);
    LMB_TRY(lmb_stage_path(student, j->c.run, "student-int8", "qat.onnx", err));
    return lmb_onnx_read(student, NULL, &r->model, err);
}

lmb_status lmb_rounds_open(const lmb_job *j, const lmb_federation_config *c, const char *path, const char *stage,
                           lmb_rounds *r, lmb_error *err)
{
    *r = (lmb_rounds){ .job = j, .graph = LMB_STR_INIT, .settings = LMB_STR_INIT };
    if (!j->validation)
        return LMB_FAIL(err, LMB_E_ARG, "split.validation is 0: rounds are chosen on validation samples");
    LMB_TRY(lmb_stage_path(r->history, j->c.run, stage, "history.jsonl", err));
    LMB_TRY(lmb_stage_path(r->leave, j->c.run, stage, "model.onnx", err));
    LMB_TRY(open_model(r, path, err));
    LMB_TRY(lmb_onnx_export(r->model, NULL, &r->graph, err));
    LMB_TRY(lmb_state_layout_create(r->model, &r->layout, err));
    if (c->local)
        LMB_TRY(lmb_tree_dump(c->local, 0, &r->settings));
    LMB_TRY(find_term(r, c, err));
    LMB_TRY(open_segments(r, c, err));
    r->state = calloc(r->n + 1, sizeof *r->state);
    if (!r->state)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a model of %zu numbers", r->layout->count);
    lmb_state_from_graph(r->layout, r->model, r->state);
    r->server = (lmb_server_job){ .n = r->n,
                                  .initial = r->state,
                                  .layout = r->layout->hash,
                                  .graph = r->graph.text,
                                  .graph_bytes = r->graph.n,
                                  .settings = r->settings.text ? r->settings.text : "",
                                  .segments = r->segments,
                                  .n_segments = (size_t)r->layout->n + 1,
                                  .evaluate = r->partial ? NULL : evaluate,
                                  .on_round = on_round,
                                  .ctx = r };
    return open_feddf(r, c, err);
}

void lmb_rounds_close(lmb_rounds *r)
{
    lmb_feddf_close(r->feddf);
    lmb_state_layout_destroy(r->layout);
    lmb_graph_destroy(r->model);
    lmb_str_free(&r->graph);
    lmb_str_free(&r->settings);
    free(r->segments);
    free(r->state);
}

/* What was promised, for people, and beside the model for the summary of a run. */
static lmb_status leave_privacy(const lmb_rounds *r, const lmb_privacy *p, lmb_error *err)
{
    char text[LMB_PRIVACY_TEXT], path[LMB_STAGE_PATH];
    lmb_str json = LMB_STR_INIT;

    snprintf(path, sizeof path, "%.*s/privacy.json", (int)(strrchr(r->leave, '/') - r->leave), r->leave);
    if (!p->on) {
        unlink(path); /* of an earlier federation */
        return LMB_OK;
    }
    lmb_privacy_describe(p, text);
    printf("privacy: %s\n", text);
    lmb_str_addf(&json, "{\"epsilon\": %.9g, \"delta\": %g, \"epsilon_budget\": %g, \"rounds\": %llu, \"statement\": ",
                 lmb_privacy_epsilon(p), p->c.delta, p->c.epsilon_budget, (unsigned long long)p->ledger.rounds);
    lmb_str_add_json(&json, text);
    lmb_str_add(&json, "}\n");
    lmb_status st = lmb_str_check(&json, err);
    if (st == LMB_OK)
        st = lmb_file_write(path, json.text, json.n, err);
    lmb_str_free(&json);
    return st;
}

lmb_status lmb_rounds_leave(lmb_rounds *r, uint64_t round, double score, double first_score, const lmb_privacy *privacy,
                            lmb_error *err)
{
    LMB_TRY(lmb_state_to_graph(r->layout, r->state, r->model, err));
    LMB_TRY(lmb_onnx_write(r->leave, r->model, NULL, err));
    if (r->partial)
        printf("the model of round %llu, whose other part each client keeps for itself (local.keep): %s\n",
               (unsigned long long)round, r->leave);
    else if (round == 0)
        printf("no round was better than the model that clients were given, validation %.2f %%; it stays: %s\n",
               100 * score, r->leave);
    else
        printf("validation rose by %.2f points, from %.2f to %.2f %%, in round %llu: %s\n", 100 * (score - first_score),
               100 * first_score, 100 * score, (unsigned long long)round, r->leave);
    return leave_privacy(r, privacy, err);
}
