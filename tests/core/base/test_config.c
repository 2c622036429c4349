/* Mirrors core/base/config.c, core/base/field.c and core/base/agree.c. */
#include "core/base/config.h"

#include <string.h>

#include "core/base/agree.h"
#include "core/base/field.h"
#include "core/base/str.h"
#include "tests/check_main.h"

typedef struct inner { double lr; lmb_field_ints milestones; } inner;
typedef struct outer {
    int64_t epochs, mode;
    bool nesterov;
    const char *path;
    inner schedule;
    const lmb_tree *model;
} outer;
static const char *const modes[] = { "fast", "deterministic", NULL };
static const lmb_field inner_rows[] = { LMB_REAL(inner, lr, 0.1, 0, 10, "", "step size"),
                                        LMB_INTS(inner, milestones, "[30, 60]", 0, 1e6, "epochs", "when to step"),
                                        LMB_FIELD_END };
static const lmb_field outer_rows[] = { LMB_INT(outer, epochs, 10, 1, 1000, "epochs", "how long"),
                                        LMB_CHOICE(outer, mode, 0, modes, "how to sum"),
                                        LMB_BOOL(outer, nesterov, 0, "look ahead"),
                                        LMB_TEXT(outer, path, "here", "where"),
                                        LMB_SECTION(outer, schedule, inner_rows, "step sizes"),
                                        LMB_TREE(outer, model, "the model"), LMB_FIELD_END };
static lmb_error err;

static lmb_config *parse(const char *text)
{
    lmb_config *c;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "a.yaml", &c, &err));
    return c;
}

START_TEST(values_defaults_and_round_trip)
{
    lmb_config *c =
        parse("epochs: 3\nnesterov: yes\npath: 'a: b'\nschedule: {lr: 5%}\nmodel:\n  name: lenet\n  sizes: [1, 2]\n");
    outer o, again;
    ck_ok(lmb_fields_bind(outer_rows, lmb_config_root(c), &o, &err));
    ck_assert_int_eq(o.epochs, 3);
    ck_assert_int_eq(o.mode, 0);
    ck_assert(o.nesterov);
    ck_assert_str_eq(o.path, "a: b");
    ck_assert_double_eq_tol(o.schedule.lr, 0.05, 1e-12);
    ck_assert_int_eq(o.schedule.milestones.n, 2);
    ck_assert_int_eq(o.schedule.milestones.v[1], 60);
    const char *name;
    ck_ok(lmb_tree_name(o.model, &name, &err));
    ck_assert_str_eq(name, "lenet");

    lmb_str s = LMB_STR_INIT, s2 = LMB_STR_INIT;
    ck_ok(lmb_fields_dump(outer_rows, &o, 0, &s));
    lmb_config *d = parse(s.text);
    ck_ok(lmb_fields_bind(outer_rows, lmb_config_root(d), &again, &err));
    ck_ok(lmb_fields_dump(outer_rows, &again, 0, &s2));
    ck_assert_str_eq(s.text, s2.text);
    lmb_str_free(&s);
    lmb_str_free(&s2);
    lmb_config_destroy(c);
    lmb_config_destroy(d);
}
END_TEST

static bool is_path(const char *line) { return strncmp(line, "path:", 5) == 0; }

/* What an older program stored has not all keys of now. */
START_TEST(keys_that_nobody_named_need_not_be_there)
{
    static const struct { const char *now, *stored, *had, *has; } rows[] = {
        { "epochs: 3",
          "epochs: 3\nmode: fast\nnesterov: false\npath: \"here\"\nschedule:\n  lr: 0.1\n  milestones: [30, 60]\n", NULL, NULL },
        { "epochs: 3", "epochs: 3\nnesterov: false\npath: \"here\"\nschedule:\n  milestones: [30, 60]\n", NULL, NULL },
        { "epochs: 3", "epochs: 3\nmode: fast\n", NULL, NULL }, /* a whole section is new */
        { "epochs: 3", "epochs: 3\nschedule:\n  lr: 0.1  # default\n", NULL, NULL }, /* its marks say nothing */
        { "epochs: 3", "epochs: 3\npath: \"there\"\n", NULL, NULL }, /* passed over */
        { "epochs: 3\nnesterov: true", "epochs: 3\nmode: fast\n", "(nothing)", "nesterov: true" },
        { "{}", "epochs: 3\nmode: fast\n", "epochs: 3", "epochs: 10" }, /* the default was another */
        { "epochs: 3", "epochs: 3\nmomentum: 0.9\n", "momentum: 0.9", "(nothing)" },
        { "epochs: 3", "epochs: 3\nlr: 0.1\n", "lr: 0.1", "(nothing)" }, /* not that of the schedule */
        { "schedule: {lr: 0.2}", "epochs: 10\n", "(nothing)", "schedule:" },
        { "schedule: {lr: 0.2}", "epochs: 10\nschedule:\n  lr: 0.1\n", "lr: 0.1", "lr: 0.2" },
        { "schedule: {milestones: [30, 61]}", "schedule:\n  milestones: [30, 60]\n", "milestones: [30, 60]",
          "milestones: [30, 61]" },
        { "model: lenet", "epochs: 10\n", "(nothing)", "model: lenet" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmb_config *c = parse(rows[i].now);
        lmb_agree_lines differ;
        lmb_str s = LMB_STR_INIT;
        outer o;

        ck_ok(lmb_fields_bind(outer_rows, lmb_config_root(c), &o, &err));
        ck_ok(lmb_fields_dump_marked(outer_rows, &o, 0, &s));
        bool same = lmb_agree(rows[i].stored, s.text, is_path, &differ);
        ck_assert_msg(same == !rows[i].had, "%s and now %s", rows[i].stored, s.text);
        if (!same) {
            ck_assert_str_eq(differ.had, rows[i].had);
            ck_assert_str_eq(differ.has, rows[i].has);
        }
        ck_assert(lmb_agree(s.text, s.text, NULL, NULL));
        lmb_config *again = parse(s.text); /* it is still YAML */
        lmb_str t = LMB_STR_INIT;
        ck_ok(lmb_fields_bind(outer_rows, lmb_config_root(again), &o, &err));
        ck_ok(lmb_fields_dump_marked(outer_rows, &o, 0, &t));
        ck_assert_str_eq(s.text, t.text);
        lmb_str_free(&s);
        lmb_str_free(&t);
        lmb_config_destroy(c);
        lmb_config_destroy(again);
    }
}
END_TEST

START_TEST(what_is_not_said_stands)
{
    lmb_config *c = parse("epochs: 3\npath: there\nmodel: lenet\n"), *d = parse("epochs: 4\nmodel:\n");
    outer o;
    ck_ok(lmb_fields_bind(outer_rows, lmb_config_root(c), &o, &err));
    ck_ok(lmb_fields_bind_over(outer_rows, lmb_config_root(d), &o, &err));
    ck_assert_int_eq(o.epochs, 4);
    ck_assert_str_eq(o.path, "there");
    ck_assert_ptr_null(o.model); /* said to be none */
    ck_ok(lmb_fields_bind_over(outer_rows, NULL, &o, &err));
    ck_assert_int_eq(o.epochs, 4);
    lmb_config_destroy(c);
    lmb_config_destroy(d);
}
END_TEST

START_TEST(set_edits_and_creates)
{
    lmb_config *c = parse("epochs: 3\nmodel: lenet\n");
    outer o;
    ck_ok(lmb_config_set(c, "epochs=7", &err));
    ck_ok(lmb_config_set(c, "schedule.lr=0.25", &err));
    ck_ok(lmb_config_set(c, "model.width=2", &err));
    ck_ok(lmb_fields_bind(outer_rows, lmb_config_root(c), &o, &err));
    ck_assert_int_eq(o.epochs, 7);
    ck_assert_double_eq(o.schedule.lr, 0.25);
    const char *name;
    ck_ok(lmb_tree_name(o.model, &name, &err));
    ck_assert_str_eq(name, "lenet");
    ck_assert_ptr_nonnull(lmb_tree_get(o.model, "width"));
    ck_assert_int_eq(lmb_config_set(c, "epochs", &err), LMB_E_ARG);
    ck_ok(lmb_config_set(c, "model=", &err)); /* takes a section away */
    ck_ok(lmb_fields_bind(outer_rows, lmb_config_root(c), &o, &err));
    ck_assert_ptr_null(o.model);
    lmb_config_destroy(c);
}
END_TEST

static const struct { const char *text, *message;
} bad[] = {
    { "epocs: 3\n",
      "a.yaml:1:1: there is no key 'epocs' here; did you mean 'epochs'? keys are: epochs, mode, nesterov, path, schedule, model" },
    { "epochs: 3\nzzzzzzzz: 1\n",
      "a.yaml:2:1: there is no key 'zzzzzzzz' here; keys are: epochs, mode, nesterov, path, schedule, model" },
    { "epochs: 0\n", "a.yaml:1:1: epochs is 0; it must be in [1, 1000] epochs" },
    { "epochs: ten\n", "a.yaml:1:1: epochs is 'ten'; a whole number is needed" },
    { "mode: quick\n", "a.yaml:1:1: mode is 'quick'; it must be one of: fast, deterministic" },
    { "schedule:\n  lr: [1]\n", "a.yaml:2:3: lr is 'a list'; a number is needed" },
    { "nesterov: 2\n", "a.yaml:1:1: nesterov is '2'; true or false is needed" },
    { "schedule: 5\n", "a.yaml:1:1: schedule is '5'; it needs a section of 'key: value' lines" },
    { "schedule: off\n", "a.yaml:1:1: schedule is 'off'; it needs a section of 'key: value' lines" },
    { "schedule: [1]\n", "a.yaml:1:1: schedule needs a section of 'key: value' lines" },
    { "- a\n", "a.yaml:1:1: this needs a section of 'key: value' lines" },
};

START_TEST(complaints_point_at_the_text)
{
    lmb_config *c = parse(bad[_i].text);
    outer o;
    lmb_status st = lmb_fields_bind(outer_rows, lmb_config_root(c), &o, &err);
    ck_assert_int_eq(st, LMB_E_ARG);
    ck_assert_str_eq(err.msg, bad[_i].message);
    lmb_config_destroy(c);
}
END_TEST

static const char *const unreadable[] = { "a: 1\na: 2\n", "a: [1\n", "a: &x 1\nb: *x\n", "a: 1\n---\nb: 2\n",
    "? [a]\n: 1\n",
                                          "a: \"\\0\"\n" };
START_TEST(bad_yaml_is_refused)
{
    lmb_config *c = NULL;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_config_parse(unreadable[_i], strlen(unreadable[_i]), "a.yaml", &c, &err), LMB_E_FORMAT);
    ck_assert_ptr_null(c);
    ck_assert_uint_gt(strlen(err.msg), 10);
}
END_TEST

START_TEST(depth_is_bounded)
{
    char deep[400];
    lmb_config *c;
    memset(deep, '[', sizeof deep);
    ck_assert_int_eq(lmb_config_parse(deep, sizeof deep, "a.yaml", &c, &err), LMB_E_FORMAT);
}
END_TEST

LMB_TEST_MAIN("core/base/config", add(values_defaults_and_round_trip); add(what_is_not_said_stands);
              add(set_edits_and_creates); add(keys_that_nobody_named_need_not_be_there);
              add_loop(complaints_point_at_the_text, sizeof bad / sizeof bad[0]);
              add_loop(bad_yaml_is_refused, sizeof unreadable / sizeof unreadable[0]); add(depth_is_bounded);)
