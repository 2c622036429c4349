/* launch/job_check.c - is a configuration sound? What would else be found out hours later is found out here: every
 * section bound, every model built, the data opened, the clients' samples divided. Nothing is written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "federated/local.h"
#include "federated/server.h"
#include "federated/lanes.h"
#include "launch/compress.h"
#include "launch/feddf.h"
#include "launch/federation.h"
#include "launch/groups.h"
#include "launch/job.h"
#include "launch/model_file.h"
#include "launch/rounds.h"
#include "launch/tune.h"
#include "launch/update.h"
#include "train/model.h"

lmb_status lmb_job_check_training(const lmb_train_config *c, const lmb_graph *model, const lmb_dataset *data,
                                  lmb_error *err)
{
    double smoothing = c->label_smoothing;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_trainer *t;

    LMB_TRY(lmb_trainer_create(c, model, &loss, data, NULL, NULL, &t, err));
    lmb_trainer_destroy(t);
    return LMB_OK;
}

lmb_status lmb_job_check_patience(const lmb_train_config *c, const lmb_dataset *validation, lmb_error *err)
{
    if (c->patience && !validation)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "train.patience is %lld, and nothing says whether the model still improves: give split.validation some samples",
            (long long)c->patience);
    if (c->target_accuracy > 0 && !validation)
        return LMB_FAIL(err, LMB_E_ARG,
                        "train.target_accuracy is %g, and nothing says when it is reached: give split.validation some "
                        "samples",
                        c->target_accuracy);
    return LMB_OK;
}

static lmb_status check_stage(const char *path, const lmb_args *a, const char *stage, bool quiet, lmb_error *err)
{
    lmb_graph *model = NULL;
    lmb_job j;

    LMB_TRY(lmb_job_open(path, a, stage, &j, err));
    lmb_status st = lmb_job_data(&j, err);
    if (st == LMB_OK)
        st = lmb_model_of(&j, j.stage.model, 1, !quiet, &model, err);
    if (st == LMB_OK)
        st = stage || !j.c.federation ? lmb_job_training(&j, err) : LMB_OK; /* else clients may have all there is */
    if (st == LMB_OK && j.train)
        st = lmb_job_check_training(&j.stage.train, model, j.train, err);
    if (st == LMB_OK)
        st = lmb_job_check_patience(&j.stage.train, j.validation, err);
    if (st == LMB_OK && stage && strcmp(stage, "student") == 0)
        st = lmb_distill_check_job(&j, model, err);
    if (st == LMB_OK && !quiet)
        printf("%s: %s is sound: %d nodes, %lld training samples\n", path, j.stage_name, model->n_nodes,
               j.train ? (long long)j.train->n : 0LL);
    lmb_graph_destroy(model);
    lmb_job_close(&j);
    return st;
}

/* How clients train, tried on the student: the server does not know their data, but it sends them these settings.
 * What clients are to keep is there. */
static lmb_status check_kept(const lmb_federation_config *c, const lmb_graph *model, lmb_error *err)
{
    lmb_state_layout *layout = NULL;
    lmb_keep keep;

    LMB_TRY(lmb_state_layout_create(model, &layout, err));
    lmb_status st = lmb_local_stays(c->local, model, layout, &keep, err);
    lmb_keep_close(&keep);
    lmb_state_layout_destroy(layout);
    return st;
}

/* What `serve` or `simulate` would refuse of this model's size: sums that could overflow or wrap, too few clients for a
 * round. */
static lmb_status check_sums(const lmb_federation_config *c, const lmb_server_config *server, const lmb_client_group *g,
                             const lmb_graph *model, lmb_error *err)
{
    lmb_state_layout *layout = NULL;
    const lmb_term *term;

    LMB_TRY(lmb_rounds_term(c, &term, err));
    LMB_TRY(lmb_state_layout_create(model, &layout, err));
    size_t n = layout->count + (term ? term->extra(layout->count) : 0);
    lmb_state_layout_destroy(layout);
    if (c->groups || c->simulate)
        return lmb_simulate_check(server, (int)g->clients, n, c->distill != NULL, err);
    LMB_TRY(lmb_server_check_model(server, n, c->distill != NULL, err));
    return lmb_server_check_client(server, &c->client, n, err); /* the defaults take whatever it asks for */
}

static lmb_status check_group(const lmb_job *j, const lmb_federation_config *c, const lmb_server_config *server,
                              const lmb_client_group *g, lmb_error *err)
{
    const lmb_tree *named = g->model ? g->model : j->stage.model ? j->stage.model : j->c.model;
    lmb_train_config local;
    lmb_graph *model = NULL;

    LMB_TRY(lmb_fields_bind(lmb_train_fields, lmb_tree_get(c->local, "train"), &local, err));
    LMB_TRY(lmb_model_build(named, &j->all->shape, j->all->classes, 1, &model, err));
    lmb_status st = lmb_job_check_training(&local, model, j->clients ? j->clients : j->train, err);
    if (st == LMB_OK)
        st = check_kept(c, model, err);
    if (st == LMB_OK)
        st = check_sums(c, server, g, model, err);
    lmb_graph_destroy(model);
    return st;
}

/* Every model that clients have. */
static lmb_status check_models(const lmb_job *j, const lmb_federation_config *c, const lmb_server_config *server,
                               lmb_error *err)
{
    lmb_client_group *group;
    lmb_status st = LMB_OK;
    int n;

    LMB_TRY(lmb_client_groups(c, &group, &n, err));
    for (int k = 0; k < n && st == LMB_OK; k++)
        if (k || j->stage.model || j->c.model)
            st = check_group(j, c, server, &group[k], err);
    free(group);
    return st;
}

static lmb_status check_update(const char *path, const lmb_args *a, const char *stage, bool quiet, lmb_error *err)
{
    char begins[LMB_UPDATE_BEGINS];
    lmb_job j;

    LMB_TRY(lmb_job_open(path, a, stage, &j, err));
    lmb_status st = lmb_job_data(&j, err);
    if (st == LMB_OK)
        st = lmb_job_training(&j, err);
    if (st == LMB_OK)
        st = lmbi_update_check(&j, begins, err);
    if (st == LMB_OK && !quiet)
        printf("%s: update is sound; it begins with %s\n", path, *begins ? begins : "the stage that --stage names");
    lmb_job_close(&j);
    return st;
}

/* How far the budget will carry. */
static lmb_status tell_privacy(const char *path, const lmb_server_config *server, lmb_error *err)
{
    lmb_privacy p;

    LMB_TRY(lmb_privacy_open(server->privacy, (uint64_t)server->target, &p, err));
    uint64_t left = lmb_privacy_rounds_left(&p),
             rounds = left < (uint64_t)server->rounds ? left : (uint64_t)server->rounds;
    printf("%s: federation is private: epsilon %.4g at delta %g after %llu of %lld rounds, the budget is %g\n", path,
           lmb_privacy_after(&p, lmb_privacy_share(&p), rounds), p.c.delta, (unsigned long long)rounds,
           (long long)server->rounds, p.c.epsilon_budget);
    return LMB_OK;
}

static lmb_status check_federation(const char *path, const lmb_args *a, const char *stage, bool quiet, lmb_error *err)
{
    char state_dir[LMB_FEDERATION_PATH];
    lmb_federation_config c;
    lmb_server_config server = { 0 };
    lmb_simulate_config simulate;
    lmb_dataset *slice = NULL;
    lmb_job j;

    LMB_TRY(lmb_job_open(path, a, stage, &j, err));
    lmb_status st = lmb_federation_of(&j, &c, err);
    if (st == LMB_OK)
        st = lmb_federation_server(&j, &c, &server, state_dir, err);
    if (st == LMB_OK)
        st = lmb_server_check(&server, err);
    if (st == LMB_OK)
        st = lmb_client_check(&c.client, err);
    if (st == LMB_OK)
        st = lmb_feddf_check(c.distill, err);
    if (st == LMB_OK)
        st = lmb_fields_bind(lmb_simulate_fields, c.simulate, &simulate, err);
    if (st == LMB_OK)
        st = lmb_lanes_check(c.local, simulate.streams, err);
    if (st == LMB_OK && server.privacy && !quiet)
        st = tell_privacy(path, &server, err);
    if (st == LMB_OK)
        st = lmb_job_data(&j, err);
    if (st == LMB_OK && !j.validation)
        st = LMB_FAIL(err, LMB_E_ARG, "split.validation is 0: rounds are chosen on validation samples");
    if (st == LMB_OK && j.clients)
        st = lmb_federation_slice(&j, &c, 0, (int)c.clients, &slice, err);
    if (st == LMB_OK)
        st = check_models(&j, &c, &server, err);
    if (st == LMB_OK && !quiet)
        printf("%s: federation is sound: %lld rounds, %lld samples for clients\n", path, (long long)server.rounds,
               j.clients ? (long long)j.clients->n : 0LL);
    lmb_dataset_destroy(slice);
    lmb_job_close(&j);
    return st;
}

lmb_status lmb_job_check(const char *path, const lmb_args *a, const char *only, bool quiet, lmb_error *err)
{
    lmb_job j;

    if (only)
        return check_stage(path, a, only, quiet, err);
    LMB_TRY(lmb_job_open(path, a, LMB_JOB_DATA_ONLY, &j, err));
    bool model = j.c.model != NULL, teacher = j.c.teacher != NULL, student = j.c.student != NULL,
         federation = j.c.federation != NULL;
    bool compress = j.c.compress != NULL, tune = j.c.tune != NULL, update = j.c.update != NULL;
    bool by_stage = !model && !compress && (teacher || student); /* which is updated, --stage will say */
    lmb_job_close(&j);
    if (model || (!teacher && !student && !federation && !compress))
        LMB_TRY(check_stage(path, a, NULL, quiet, err));
    if (teacher)
        LMB_TRY(check_stage(path, a, "teacher", quiet, err));
    if (student)
        LMB_TRY(check_stage(path, a, "student", quiet, err));
    if (compress)
        LMB_TRY(lmb_compress_check(path, a, quiet, err));
    if (update)
        LMB_TRY(check_update(path, a, by_stage ? LMB_JOB_DATA_ONLY : LMB_JOB_UPDATE, quiet, err));
    if (tune)
        LMB_TRY(lmb_tune_check(path, a, quiet, err));
    return federation ? check_federation(path, a, student ? "student" : LMB_JOB_DATA_ONLY, quiet, err) : LMB_OK;
}
