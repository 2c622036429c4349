/* Mirrors distill/search/config.c, and what of it judge_train.c and search.c do: points have the scales and bits that
 * were asked for, calibrated and trained; what can not go together is refused before any work.
 */
#include "comm/collective.h"
#include "core/graph/state.h"
#include "distill/quantize/bits.h"
#include "distill/quantize/profile.h"
#include "distill/search/search.h"
#include "tests/distill/search.h"

enum { SAMPLES = 64 };

static lmb_comm *comm;
static lmb_dataset *data;

static void begin(void)
{
    setup();
    ck_ok(lmbi_comm_open_self(&comm, &err));
    data = data_of(SAMPLES);
}

static void end(void)
{
    char command[300];

    lmb_dataset_destroy(data);
    lmb_comm_close(comm);
    snprintf(command, sizeof command, "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static void bind(const lmb_field *rows, const char *text, void *out)
{
    lmb_config *c;
    ck_ok(lmb_config_parse(text, strlen(text), "test", &c, &err));
    ck_ok(lmb_fields_bind(rows, lmb_config_root(c), out, &err));
    lmb_config_destroy(c);
}

/* ---- as they are asked for ---- */

/* The largest weight of the deployed integers, which must fit the profile, NULL: any. */
static int largest(const lmb_graph *frozen, const char *profile)
{
    const lmb_profile *p;
    lmb_graph *qdq, *fits;
    lmb_deployed d;
    int most = 0;

    ck_ok(lmb_deployed_real(frozen, &d, &qdq, &err));
    lmb_deployed_free(&d);
    if (profile) {
        ck_ok(lmb_profile_find(profile, &p, &err));
        ck_ok(lmb_pass_profile(qdq, p, &fits, &err));
        lmb_graph_destroy(fits);
    }
    for (int v = 0; v < qdq->n_values; v++)
        for (int64_t i = 0;
             qdq->value[v].dtype == LMB_S8 && qdq->value[v].data && i < lmb_shape_count(&qdq->value[v].shape); i++) {
            int q = abs(((const int8_t *)qdq->value[v].data)[i]);
            most = q > most ? q : most;
        }
    lmb_graph_destroy(qdq);
    return most;
}

static const struct asked {
    const char *qat, *profile;
    int least, most; /* the largest weight is between them */
} asked[] = {
    { "{}", NULL, 127, 127 },
    { "{scales: power_of_two}", "pot", 64, 127 },
    { "{bits: 7, ends: 7}", "weights7", 63, 63 },
    { "{activations: symmetric}", "tensorrt", 127, 127 },
    { "{activations: symmetric, scales: power_of_two, bits: 7, ends: 7}", "universal", 32, 63 },
    { "{scheme: learned, bits: 4, ends: 5}", NULL, 15, 15 },
};
enum { N_ASKED = sizeof asked / sizeof *asked };

START_TEST(points_have_the_integers_that_were_asked_for)
{
    const struct asked *a = &asked[_i];
    lmb_graph *model = make("{name: resnet, depth: 8, width: 4, mean: 128, scale: 0.02}"), *frozen;
    lmb_qat_config q;
    lmb_judge_last last = { 0 };
    lmb_judge_config c = { .finishes = true, .samples = SAMPLES, .calibration = 32, .seed = 1, .qat = &q };
    lmb_judge *j;

    bind(lmb_qat_fields, a->qat, &q);
    bind(lmb_train_fields, "{epochs: 1, batch: 32, threads: 1}", &c.tune);
    bind(lmb_train_fields, "{epochs: 1, batch: 32, lr: 0.002, threads: 1, clip: 1}", &c.finish);
    ck_ok(lmb_judge_create(&c, model, data, data, dir, comm, NULL, &j, &err));
    ck_ok(lmb_judge_open_logits(j, &err));
    for (int trained = 0; trained < 2; trained++) {
        ck_ok(trained ? lmb_judge_finish(j, model, 1, &frozen, &last, &err)
                      : lmb_judge_quantise(j, model, &frozen, &err));
        int most = largest(frozen, a->profile);
        ck_assert_msg(most >= a->least && most <= a->most, "%s, %s: the largest weight is %d", a->qat,
                      trained ? "trained" : "calibrated", most);
        lmb_graph_destroy(last.floats);
        lmb_graph_destroy(frozen);
    }
    lmb_judge_destroy(j);
    lmb_graph_destroy(model);
}
END_TEST

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

/* Weights by equalising; biases, whose correction only calibration has, and no training. */
START_TEST(channels_are_equalised_and_biases_corrected)
{
    lmb_graph *model = make("{name: vgg, channels: [8, 0, 8], mean: 128, scale: 0.02}"), *frozen[2];
    lmb_judge_config c = { .finishes = true, .samples = SAMPLES, .calibration = 32, .seed = 1 };
    lmb_judge *j;
    lmb_judge_last last = { 0 };
    size_t n, m;

    bind(lmb_train_fields, "{epochs: 1, batch: 32, threads: 1}", &c.tune);
    bind(lmb_train_fields, "{epochs: 1, batch: 32, lr: 0.002, threads: 1, clip: 1}", &c.finish);
    for (int which = 0; which < 4; which++) {
        bool trained = which & 1;
        for (int on = 0; on < 2; on++) {
            c.equalise = on && !(which & 2);
            c.correct_bias = on && which & 2;
            ck_ok(lmb_judge_create(&c, model, data, data, dir, comm, NULL, &j, &err));
            ck_ok(lmb_judge_open_logits(j, &err));
            ck_ok(trained ? lmb_judge_finish(j, model, 1, &frozen[on], &last, &err)
                          : lmb_judge_quantise(j, model, &frozen[on], &err));
            lmb_graph_destroy(last.floats);
            last.floats = NULL;
            lmb_judge_forget(j, 1);
            lmb_judge_destroy(j);
        }
        float *without = numbers(frozen[0], &n), *with = numbers(frozen[1], &m);
        ck_assert_uint_eq(n, m);
        bool same = memcmp(with, without, sizeof *with * n) == 0;
        ck_assert_msg(same == (which == 3), "%s of %s", which & 2 ? "correct_bias" : "equalise",
                      trained ? "finish" : "calibration");
        free(without);
        free(with);
        lmb_graph_destroy(frozen[0]);
        lmb_graph_destroy(frozen[1]);
    }
    lmb_graph_destroy(model);
}
END_TEST

/* A sketch has the bytes of what will be deployed. */
START_TEST(sketches_have_the_bits_that_were_asked_for)
{
    lmb_graph *model = make("{name: resnet, depth: 8, width: 16, mean: 128, scale: 0.02}");
    lmb_qat_config q;
    lmb_deployed eight, four;

    bind(lmb_qat_fields, "{bits: 4, ends: 4}", &q);
    ck_ok(lmb_deployed_sketch(model, NULL, &eight, &err));
    ck_ok(lmb_deployed_sketch(model, &q, &four, &err));
    ck_assert_uint_lt(four.file.n, eight.file.n * 3 / 4);
    lmb_deployed_free(&eight);
    lmb_deployed_free(&four);
    lmb_graph_destroy(model);
}
END_TEST

/* Said by the model, bits stay with a layer whose name is gone, and with the first layer when it is no longer that. */
START_TEST(layers_keep_the_bits_that_they_begin_with)
{
    static const char text[] = "{bits: 6, ends: 7, layers: {fc.weight: 3}}";
    lmb_graph *model = make("{name: mlp, hidden: [12, 12], mean: 128, scale: 0.02}"), *plain;
    lmb_qat_config q;
    lmb_config *c;
    lmb_vid w[3];
    int n = 0;

    for (int i = 0; i < model->n_nodes && n < 3; i++)
        if (strcmp(model->node[i].op->name, "Gemm") == 0)
            w[n++] = model->node[i].in[1];
    ck_assert_int_eq(n, 3);
    ck_ok(lmb_graph_copy(model, &plain, &err));
    bind(lmb_qat_fields, "{}", &q);
    ck_ok(lmb_bits_settle(plain, &q, &err));
    ck_assert_int_eq(plain->value[w[1]].bits, 0); /* nothing is said where all is as it was */
    ck_ok(lmb_graph_rename(model, w[2], "fc.weight", &err));
    ck_ok(lmb_config_parse(text, strlen(text), "test", &c, &err));
    ck_ok(lmb_fields_bind(lmb_qat_fields, lmb_config_root(c), &q, &err));
    ck_ok(lmb_bits_settle(model, &q, &err));
    ck_assert_int_eq(model->value[w[0]].bits, 7);
    ck_assert_int_eq(model->value[w[1]].bits, 6);
    ck_assert_int_eq(model->value[w[2]].bits, 3);
    lmb_config_destroy(c);
    lmb_graph_destroy(model);
    lmb_graph_destroy(plain);
}
END_TEST

/* ---- refusals ---- */

static const struct refusal {
    const char *search, *sentence;
} refusals[] = {
    { "qat: {bits: 7, ends: 7}, tune: {precision: bf16}", NULL }, /* 7 bits are not felt while it learns */
    { "qat: {scheme: learned}, finish: {epochs: 1}", NULL },
    { "bits_min: 4, qat: {bits: 6}", NULL },
    { "qat: {scheme: learned}", "give a section `finish`, or leave the scheme at range" },
    { "qat: {scheme: learned, scales: power_of_two}, finish: {epochs: 1}", "exclude each other" },
    { "bits_min: 6, qat: {bits: 4}", "compress.qat.bits is 4, and bits_min says that the search may go down to 6" },
    { "bits_min: 4, tune: {precision: bf16}", "compress.tune.precision is bf16, and weights of 6 bits or fewer" },
    { "qat: {bits: 4}, recover: {precision: bf16}", "compress.recover.precision is bf16" },
    { "finish: {precision: bf16}", "compress.finish.precision is bf16" },
    { "qat: {layers: {stem.conv.weigt: 4}}", "did you mean stem.conv.weight?" },
    { "distill: {losses: [dkd, {name: kl, weight: 0.5}]}, finish: {epochs: 1}, finish_distill: {temperature: 1}",
      NULL },
    { "distill: {losses: [kl, attention]}",
      "the loss 'attention' looks into the teacher, and a search teaches from a file" },
    { "finish: {epochs: 1}, finish_distill: {losses: [contrastive]}", "the loss 'contrastive' looks into the teacher" },
    { "distill: {losses: [klm]}", "a teacher has no loss 'klm'" },
    { "prove: true, finish: {epochs: 1}", NULL },
    { "prove: true", "compress.prove asks whether the teacher helps in `finish`, and there is no such section" },
    { "prove: true, finish: {epochs: 1}, finish_distill: {alpha: 0}", "and its share there is 0" },
    { "slack: 2 %, recover: {epochs: 1}", NULL },
    { "slack: 2 %", "compress.slack is 2 %, which only a last training may give back" },
    { "slack: 200 %, finish: {epochs: 1}", "no more than 100 % can be lost" },
    { "slack: much, finish: {epochs: 1}", "slack" },
    { "finish_distill: {alpha: 0.3}",
      "compress.finish_distill is the teacher's share in `finish`, and there is no such" },
    { "finish: {epochs: 1}, finish_distill: {alpha: -0.5}", "finish_distill.alpha is -0.5; it must be 0 .. 1, or -1" },
    { "finish: {epochs: 1}, finish_distill: {temperature: 0.01}", "it must be 0.05 .. 100, or 0" },
};
enum { N_REFUSALS = sizeof refusals / sizeof *refusals };

/* What is not said of the last lesson is as in the others. */
START_TEST(the_last_lesson_is_as_the_others_unless_said)
{
    lmb_search_config s;
    lmb_distill_config d;
    lmb_config *c;
    static const char text[] = "{distill: {alpha: 0.7, temperature: 4, losses: [dkd]}, finish_distill: {alpha: 0}}";

    bind(lmb_search_fields, "{distill: {alpha: 0.7, temperature: 4}}", &s);
    ck_ok(lmb_search_lessons(&s, false, &d, &err));
    ck_assert(d.alpha == 0.7 && d.temperature == 4 && !d.losses);
    bind(lmb_search_fields, "{distill: {alpha: 0.7, temperature: 4}, finish_distill: {temperature: 1}}", &s);
    ck_ok(lmb_search_lessons(&s, true, &d, &err));
    ck_assert(d.alpha == 0.7 && d.temperature == 1);
    ck_ok(lmb_config_parse(text, strlen(text), "test", &c, &err));
    ck_ok(lmb_fields_bind(lmb_search_fields, lmb_config_root(c), &s, &err));
    ck_ok(lmb_search_lessons(&s, true, &d, &err));
    ck_assert(d.alpha == 0 && d.temperature == 4 && d.losses == s.distill.losses && d.losses);
    lmb_config_destroy(c);
}
END_TEST

START_TEST(what_can_not_go_together_is_refused)
{
    const struct refusal *r = &refusals[_i];
    lmb_graph *model = make("{name: resnet, depth: 8, width: 4, mean: 128, scale: 0.02}");
    lmb_search_config s;
    lmb_config *c;
    char text[300];

    snprintf(text, sizeof text, "{accuracy_drop_max: \"50 %%\", %s}", r->search);
    ck_ok(lmb_config_parse(text, strlen(text), "test", &c, &err));
    const lmb_tree *root = lmb_config_root(c);
    ck_ok(lmb_fields_bind(lmb_search_fields, root, &s, &err));
    const lmb_search_request q = { .c = &s,
                                   .recover = lmb_tree_has(root, "recover"),
                                   .finish = lmb_tree_has(root, "finish"),
                                   .teacher = model,
                                   .train = data,
                                   .held_out = data };
    lmb_status st = lmb_search_check(&q, &err);
    ck_assert_int_eq(st, r->sentence ? LMB_E_ARG : LMB_OK);
    ck_assert_msg(!r->sentence || strstr(err.msg, r->sentence), "%s", err.msg);
    lmb_config_destroy(c);
    lmb_graph_destroy(model);
}
END_TEST

LMB_TEST_MAIN("distill/search_config", tcase_add_checked_fixture(tc_, begin, end);
              add_loop(points_have_the_integers_that_were_asked_for, N_ASKED);
              add(channels_are_equalised_and_biases_corrected); add(sketches_have_the_bits_that_were_asked_for);
              add(layers_keep_the_bits_that_they_begin_with); add(the_last_lesson_is_as_the_others_unless_said);
              add_loop(what_can_not_go_together_is_refused, N_REFUSALS);)
