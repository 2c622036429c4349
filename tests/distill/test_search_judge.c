/* Mirrors distill/search/judge_train.c: a last training that is stopped goes on from its last epoch and ends in the
 * same bits; what another training has left is not gone on with; the teacher is asked once for all versions. The last
 * training has a share and losses of its own, and others may teach.
 */
#include "comm/collective.h"
#include "core/graph/state.h"
#include "core/base/field.h"
#include "distill/search/judge.h"
#include "distill/teachers.h"
#include "tests/distill/search.h"
#include "train/loss.h"

enum { SAMPLES = 128, EPOCHS = 4, STEPS = SAMPLES / 32 };

static lmb_comm *comm;
static lmb_dataset *data;
static const lmb_dataset *lessons; /* what is learnt from; candidates are judged on `data` */
static lmb_graph *model;
static lmb_judge_config config;

static lmb_judge_last last; /* of the last that was finished */

/* How many epochs of the last trainings were seen to end, and with which it is to stop; 0: never. */
static int seen, stop_after, asked;

static bool work(void *ctx, const char *what, int64_t done, int64_t all)
{
    (void)ctx, (void)all;
    asked += strcmp(what, "the teacher's logits") == 0;
    if (strncmp(what, "recover, epoch", 14) == 0 || strncmp(what, "finish, epoch", 13) == 0 ||
        strncmp(what, "alone, epoch", 12) == 0)
        return done % STEPS != 0 || ++seen != stop_after;
    return true;
}

static void bind(const char *text, lmb_train_config *out)
{
    lmb_config *c;
    ck_ok(lmb_config_parse(text, strlen(text), "test", &c, &err));
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), out, &err));
    lmb_config_destroy(c);
}

static void begin(void)
{
    setup();
    ck_ok(lmbi_comm_open_self(&comm, &err));
    lessons = data = data_of(SAMPLES);
    model = make("{name: resnet, depth: 8, width: 4, mean: 120, scale: 0.02}");
    config = (lmb_judge_config){ .recovers = true, .finishes = true, .samples = SAMPLES, .calibration = 32, .seed = 1,
                                 .distill = { .alpha = 0.5, .temperature = 2 } };
    bind("{epochs: 1, batch: 32, threads: 1}", &config.tune);
    bind("{epochs: 4, batch: 32, lr: 0.05, threads: 1, augment: {flip: true, versions: 2}}", &config.recover);
    bind("{epochs: 4, batch: 32, lr: 0.002, threads: 1, clip: 1}", &config.finish);
    seen = stop_after = asked = 0;
}

static void end(void)
{
    char command[300];

    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
    lmb_comm_close(comm);
    snprintf(command, sizeof command, "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static lmb_judge *judge(void)
{
    lmb_judge_watch watch = { work, NULL };
    lmb_judge *j;
    ck_ok(lmb_judge_create(&config, model, lessons, data, dir, comm, &watch, &j, &err));
    ck_ok(lmb_judge_open_logits(j, &err));
    return j;
}

/* All numbers of a model, one after the other. */
static float *numbers(const lmb_graph *g, size_t *n)
{
    lmb_state_layout *l;
    ck_ok(lmb_state_layout_create(g, &l, &err));
    float *out = malloc(sizeof *out * (l->count + 1));
    lmb_state_from_graph(l, g, out);
    *n = l->count;
    lmb_state_layout_destroy(l);
    return out;
}

/* Finish `from` as number `id`, in one go or stopped with such an epoch; what comes out. */
static float *finish(const lmb_graph *from, int id, int stop, size_t *n, int *epochs)
{
    lmb_graph *frozen;
    lmb_judge *j = judge();

    seen = 0;
    stop_after = stop;
    if (stop) {
        ck_assert_int_eq(lmb_judge_finish(j, from, id, &frozen, &last, &err), LMB_E_STOPPED);
        err = (lmb_error)LMB_ERROR_INIT;
        lmb_judge_destroy(j);
        j = judge();
        seen = stop_after = 0;
    }
    ck_ok(lmb_judge_finish(j, from, id, &frozen, &last, &err));
    float *out = numbers(frozen, n);
    *epochs = seen;
    lmb_graph_destroy(last.floats);
    lmb_graph_destroy(frozen);
    lmb_judge_destroy(j);
    return out;
}

static bool there(const char *file)
{
    char full[300];
    snprintf(full, sizeof full, "%s/%s", dir, file);
    return lmb_file_exists(full);
}

START_TEST(a_last_training_goes_on)
{
    size_t n, n2;
    int whole, rest;
    float *want = finish(model, 1, 0, &n, &whole), *got;

    ck_assert_int_eq(whole, 2 * EPOCHS);
    ck_assert(there("recover-1.h5") && there("finish-1.h5"));
    lmb_judge *j = judge();
    lmb_judge_forget(j, 1);
    lmb_judge_destroy(j);
    ck_assert(!there("recover-1.h5") && !there("recover-1.h5.prev") && !there("finish-1.h5") && !there("finish-1.h5.prev"));
    /* in the third epoch of the first, and of the second training: two epochs are not done again */
    got = finish(model, 1, 3, &n2, &rest);
    ck_assert_uint_eq(n, n2);
    ck_assert_mem_eq(want, got, sizeof *want * n);
    ck_assert_int_le(rest, whole - 2);
    free(got);
    j = judge();
    lmb_judge_forget(j, 1);
    lmb_judge_destroy(j);
    got = finish(model, 1, EPOCHS + 3, &n2, &rest);
    ck_assert_mem_eq(want, got, sizeof *want * n);
    ck_assert_int_le(rest, 2);
    free(got);
    free(want);
}
END_TEST

START_TEST(what_another_training_left_is_nothing)
{
    lmb_graph *other = make("{name: resnet, depth: 8, width: 4, mean: 120, scale: 0.02}");
    size_t n, n2;
    int whole, again;
    float *want, *got;

    free(finish(model, 3, 0, &n2, &whole));
    lmb_vid v = lmb_graph_find(other, "stem.conv.weight");
    float *w = calloc((size_t)lmb_shape_count(&other->value[v].shape), sizeof *w);
    w[0] = 1;
    ck_ok(lmb_graph_set_data(other, v, w, &err));
    free(w);
    got = finish(other, 3, 0, &n2, &again); /* the same shape and settings, other weights to begin with */
    ck_assert_int_eq(again, 2 * EPOCHS);
    lmb_judge *j = judge();
    lmb_judge_forget(j, 3);
    lmb_judge_destroy(j);
    want = finish(other, 3, 0, &n, &again); /* where nothing was left */
    ck_assert_uint_eq(n, n2);
    ck_assert_mem_eq(want, got, sizeof *want * n);
    config.identity = "another search";
    free(finish(other, 3, 0, &n, &again));
    ck_assert_int_eq(again, 2 * EPOCHS);
    free(finish(other, 3, 0, &n, &again));
    ck_assert_int_eq(again, 0); /* its own is gone on with, however many threads there are */
    static const struct {
        const char *identity;
        bool same;
    } after[] = { { "data: those\n  tune:\n    threads: 1\n    lr: 0.1\n", false },
                  { "data: those\n  tune:\n    threads: 4\n    lr: 0.1\n", true },
                  { "data: those\n  tune:\n    threads: 4\n    lr: 0.1\n    newer: 0" LMB_FIELD_MARK "\n", true },
                  { "data: those\n  tune:\n    threads: 4\n    lr: 0.2\n", false } };
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        config.identity = after[i].identity;
        free(finish(other, 3, 0, &n, &again));
        ck_assert_int_eq(again, after[i].same ? 0 : 2 * EPOCHS);
    }
    free(got);
    free(want);
    lmb_graph_destroy(other);
}
END_TEST

START_TEST(versions_are_asked_for_once)
{
    size_t n;
    int epochs;

    free(finish(model, 1, 0, &n, &epochs));
    ck_assert_int_gt(asked, 0);
    asked = 0;
    free(finish(model, 2, 0, &n, &epochs));
    ck_assert_int_eq(asked, 0);
}
END_TEST

/* ---- who teaches what ---- */

/* Finished as number 1 by the present configuration, where nothing is left of an earlier one. */
static float *finished(size_t *n)
{
    int epochs;
    lmb_judge *j = judge();
    lmb_judge_forget(j, 1);
    lmb_judge_destroy(j);
    return finish(model, 1, 0, n, &epochs);
}

static void ends_as(const float *want, bool same)
{
    size_t n;
    float *got = finished(&n);
    ck_assert((memcmp(got, want, sizeof *got * n) == 0) == same);
    free(got);
}

START_TEST(the_last_lesson_has_a_share_of_its_own)
{
    const lmb_distill_config alone = { .alpha = 0, .temperature = 1 }, taught = { .alpha = 0.5, .temperature = 2 };
    size_t n;

    config.recovers = false;
    config.finish.epochs = 1;
    float *want = finished(&n), *without;
    config.finish_distill = &alone;
    without = finished(&n);
    ck_assert(memcmp(want, without, sizeof *want * n) != 0);
    config.distill.alpha = 0;
    ends_as(without, true);
    config.finish_distill = NULL;
    ends_as(without, true);
    config.finish_distill = &taught;
    ends_as(want, true);
    free(want);
    free(without);
}
END_TEST

START_TEST(losses_are_those_that_were_asked_for)
{
    static const char text[] = "{plain: [kl], half: [{name: kl, weight: 0.5}], dkd: [dkd]}";
    lmb_config *c;
    size_t n;

    ck_ok(lmb_config_parse(text, strlen(text), "test", &c, &err));
    config.recovers = false;
    config.finish.epochs = 1;
    float *want = finished(&n);
    config.distill.losses = lmb_tree_get(lmb_config_root(c), "plain");
    ends_as(want, true);
    config.distill.losses = lmb_tree_get(lmb_config_root(c), "half");
    ends_as(want, false);
    config.distill.losses = lmb_tree_get(lmb_config_root(c), "dkd");
    ends_as(want, false);
    free(want);
    lmb_config_destroy(c);
}
END_TEST

/* They say what is to be learnt, and it is still the model itself that its points are compared with. */
START_TEST(others_may_teach)
{
    lmb_graph *other = make("{name: mlp, hidden: [16], mean: 120, scale: 0.02}"), *both;
    size_t n;

    config.recovers = false;
    config.finish.epochs = 1;
    float *want = finished(&n);
    lmb_judge *j = judge();
    int64_t right = lmb_judge_teacher_right(j);
    lmb_judge_destroy(j);
    ck_ok(lmb_teachers_join((const lmb_graph *[]){ model, other }, (double[]){ 1, 2 }, 2, &both, &err));
    config.teachers = both;
    ends_as(want, false);
    j = judge();
    ck_assert_int_eq(lmb_judge_teacher_right(j), right);
    lmb_judge_destroy(j);
    config.teachers = model;
    ends_as(want, true);
    free(want);
    lmb_graph_destroy(both);
    lmb_graph_destroy(other);
}
END_TEST

/* ---- does it help? ---- */

/* The model learns what the samples are, so that there is something to lose. */
static void learn(void)
{
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_config c;
    lmb_trainer *t;

    bind("{epochs: 8, batch: 32, lr: 0.05, threads: 1}", &c);
    ck_ok(lmb_trainer_create(&c, model, &loss, data, NULL, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, NULL, &err));
    ck_ok(lmb_trainer_store(t, model, &err));
    lmb_trainer_destroy(t);
}

/* 0: labels say nothing, and the teacher knows. 1: the teacher has learnt nothing, and labels are right. */
START_TEST(the_better_of_both_is_kept)
{
    const lmb_distill_config alone = { .alpha = 0, .temperature = 1 };
    lmb_graph *fool = make("{name: mlp, hidden: [16], mean: 120, scale: 0.02}");
    lmb_dataset *unlabelled;
    size_t n;

    learn();
    ck_ok(lmb_dataset_unlabelled(data, 4, &unlabelled, &err));
    lessons = _i ? data : unlabelled;
    config.teachers = _i ? fool : NULL;
    config.recovers = false;
    config.distill.alpha = 1;
    bind("{epochs: 3, batch: 32, lr: 0.02, threads: 1, augment: {flip: true, versions: 2}}", &config.finish);
    float *taught = finished(&n);
    ck_assert_int_eq(last.proof.n, 0);
    config.finish_distill = &alone;
    config.finish.augment.seed = 1; /* as versions have it, which nobody is asked for now */
    float *untaught = finished(&n);
    config.finish_distill = NULL;
    config.finish.augment.seed = 0;
    config.proves = true;
    float *kept = finished(&n);
    ck_assert_int_eq(last.proof.n, SAMPLES);
    ck_assert_msg(_i ? last.proof.lost > last.proof.won : last.proof.won > last.proof.lost, "%lld won, %lld lost",
                  (long long)last.proof.won, (long long)last.proof.lost);
    ck_assert_mem_eq(kept, _i ? untaught : taught, sizeof *kept * n);
    ck_assert(memcmp(taught, untaught, sizeof *kept * n) != 0);
    free(taught);
    free(untaught);
    free(kept);
    lmb_dataset_destroy(unlabelled);
    lmb_graph_destroy(fool);
}
END_TEST

/* Stopped in the second of the two: the first is not done again. */
START_TEST(a_proof_goes_on)
{
    size_t n, n2;
    int whole, rest;

    config.recovers = false;
    config.proves = true;
    float *want = finish(model, 1, 0, &n, &whole), *got;
    lmb_paired all = last.proof;
    ck_assert_int_eq(whole, 2 * EPOCHS);
    ck_assert(there("finish-1.h5") && there("alone-1.h5"));
    lmb_judge *j = judge();
    lmb_judge_forget(j, 1);
    lmb_judge_destroy(j);
    ck_assert(!there("alone-1.h5") && !there("alone-1.h5.prev"));
    got = finish(model, 1, EPOCHS + 3, &n2, &rest);
    ck_assert_uint_eq(n, n2);
    ck_assert_mem_eq(want, got, sizeof *want * n);
    ck_assert_int_le(rest, 2);
    ck_assert(last.proof.won == all.won && last.proof.lost == all.lost && last.proof.n == all.n);
    free(want);
    free(got);
}
END_TEST

/* How many zeros of `was` are zeros of the weights of the same name in g, and how many `was` has; dense ones are none. */
static size_t zeros_left(const lmb_graph *was, const lmb_graph *g, size_t *all)
{
    size_t left = 0;

    *all = 0;
    for (int v = 0; v < was->n_values; v++) {
        const lmb_value *x = &was->value[v];
        lmb_vid y = x->role == LMB_ROLE_PARAMETER && x->shape.n >= 2 ? lmb_graph_find(g, x->name) : LMB_NONE;
        for (int64_t i = 0; y != LMB_NONE && i < lmb_shape_count(&x->shape); i++)
            if (((const float *)x->data)[i] == 0) {
                ++*all;
                left += ((const float *)g->value[y].data)[i] == 0;
            }
    }
    return left;
}

/* Three of four weights are zero when the search begins, and when any of its trainings ends. */
START_TEST(zeros_are_held_in_every_lesson)
{
    lmb_graph *tuned, *frozen;
    size_t all, left;

    for (int v = 0; v < model->n_values; v++) {
        const lmb_value *x = &model->value[v];
        if (x->role != LMB_ROLE_PARAMETER || x->shape.n < 2)
            continue;
        float *w = malloc(sizeof *w * (size_t)lmb_shape_count(&x->shape));
        for (int64_t i = 0; i < lmb_shape_count(&x->shape); i++)
            w[i] = i % 8 > 1 ? 0 : ((const float *)x->data)[i];
        ck_ok(lmb_graph_set_data(model, v, w, &err));
        free(w);
    }
    lmb_judge *j = judge();
    ck_ok(lmb_graph_copy(model, &tuned, &err));
    ck_ok(lmb_judge_tune(j, tuned, 1, &err));
    left = zeros_left(model, tuned, &all);
    ck_assert_uint_gt(all, 100);
    ck_assert_uint_eq(left, all);
    ck_ok(lmb_judge_finish(j, tuned, 1, &frozen, &last, &err)); /* recover and finish */
    left = zeros_left(model, frozen, &all);
    ck_assert_uint_gt(all, 100);
    ck_assert_uint_eq(left, all);
    left = zeros_left(model, last.floats, &all); /* what goes on from there */
    ck_assert_uint_eq(left, all);
    lmb_graph_destroy(last.floats);
    lmb_graph_destroy(tuned);
    lmb_graph_destroy(frozen);
    lmb_judge_destroy(j);
}
END_TEST

LMB_TEST_MAIN("distill/search_judge", tcase_add_checked_fixture(tc_, begin, end); add(a_last_training_goes_on);
              add(what_another_training_left_is_nothing); add(versions_are_asked_for_once);
              add(the_last_lesson_has_a_share_of_its_own); add(losses_are_those_that_were_asked_for);
              add(others_may_teach); add_loop(the_better_of_both_is_kept, 2); add(a_proof_goes_on);
              add(zeros_are_held_in_every_lesson);)
