/* Mirrors core/base/field.c. */
#include "core/base/field.h"

#include <string.h>

#include "core/base/config.h"
#include "core/base/str.h"
#include "tests/check_main.h"

typedef struct inner { double lr; bool nesterov; } inner;
typedef struct outer {
    int64_t seed, mode;
    const char *path;
    lmb_field_ints milestones;
    lmb_field_reals scales;
    inner opt;
    const lmb_tree *model;
} outer;

static const char *const modes[] = { "fast", "exact", NULL };
static const lmb_field inner_rows[] = {
    LMB_REAL(inner, lr, 0.1, 0, 10, "", "step size"),
    LMB_BOOL(inner, nesterov, 1, "look ahead"),
    LMB_FIELD_END,
};
static const lmb_field outer_rows[] = {
    LMB_INT(outer, seed, 17, 0, 1000, "", "all randomness"),
    LMB_CHOICE(outer, mode, 1, modes, "how"),
    LMB_TEXT(outer, path, "runs/x", "where"),
    LMB_INTS(outer, milestones, "[30, 60]", 1, 100, "epochs", "when to drop"),
    LMB_REALS(outer, scales, NULL, 0, 1, "", "factors"),
    LMB_SECTION(outer, opt, inner_rows, "optimizer"),
    LMB_TREE(outer, model, "network"),
    LMB_FIELD_END,
};

static lmb_error err;
static lmb_config *doc;

static lmb_status bind(const char *text, outer *o)
{
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "f.yaml", &doc, &err));
    return lmb_fields_bind(outer_rows, lmb_config_root(doc), o, &err);
}

static void expect_defaults(const outer *o)
{
    ck_assert_int_eq(o->seed, 17);
    ck_assert_int_eq(o->mode, 1);
    ck_assert_str_eq(o->path, "runs/x");
    ck_assert_int_eq(o->milestones.n, 2);
    ck_assert_int_eq(o->milestones.v[1], 60);
    ck_assert_int_eq(o->scales.n, 0);
    ck_assert(o->opt.lr == 0.1 && o->opt.nesterov);
    ck_assert_ptr_null(o->model);
}

START_TEST(defaults)
{
    outer o;
    lmb_fields_default(outer_rows, &o);
    expect_defaults(&o);
    ck_ok(lmb_fields_bind(outer_rows, NULL, &o, &err));
    expect_defaults(&o);
    ck_ok(bind("seed:\nopt: ~\nname: ignored\n", &o));
    expect_defaults(&o);
    lmb_config_destroy(doc);
}
END_TEST

START_TEST(values)
{
    outer o;
    ck_ok(bind("seed: 3\nmode: fast\npath: /tmp/a b\nmilestones: [5]\nscales: [0.5, 1e-3]\n"
               "opt: {lr: 2, nesterov: off}\nmodel: {name: mlp, width: 8}\n", &o));
    ck_assert_int_eq(o.seed, 3);
    ck_assert_int_eq(o.mode, 0);
    ck_assert_str_eq(o.path, "/tmp/a b");
    ck_assert_int_eq(o.milestones.n, 1);
    ck_assert_int_eq(o.milestones.v[0], 5);
    ck_assert(o.scales.n == 2 && o.scales.v[1] == 1e-3);
    ck_assert(o.opt.lr == 2 && !o.opt.nesterov);
    ck_assert_uint_eq(lmb_tree_count(o.model), 2);
    lmb_config_destroy(doc);
}
END_TEST

static const struct { const char *text, *says; } bad[] = {
    { "sede: 1\n", "f.yaml:1:1: unknown key 'sede'; did you mean 'seed'?" },
    { "opt:\n  nestrov: on\n", "f.yaml:2:3: unknown key 'nestrov'; did you mean 'nesterov'?" },
    { "zzzzz: 1\n", "f.yaml:1:1: unknown key 'zzzzz'; the first known key is seed" },
    { "seed: 1001\n", "f.yaml:1:1: 'seed' is 1001; it must be in [0, 1000]" },
    { "milestones: [1, 101]\n", "f.yaml:1:17: 'milestones' is 101 epochs; it must be in [1, 100]" },
    { "milestones: 3\n", "f.yaml:1:1: 'milestones' must be a list such as [1, 2]" },
    { "seed: 1.5\n", "f.yaml:1:1: 'seed' must be a whole number, not '1.5'" },
    { "mode: slow\n", "f.yaml:1:1: 'mode' is 'slow'; it must be one of fast, exact" },
    { "opt: 3\n", "f.yaml:1:1: 'opt' must be a mapping of options" },
    { "opt: {nesterov: 2}\n", "f.yaml:1:7: 'nesterov' must be true or false, not '2'" },
    { "path: [a]\n", "f.yaml:1:1: 'path' must be text, not a list" },
    { "just text\n", "f.yaml:1:1: this must be a mapping of options" },
    { "[1]\n", "f.yaml:1:1: this must be a mapping of options" },
};
START_TEST(refused)
{
    outer o;
    ck_assert_int_eq(bind(bad[_i].text, &o), LMB_E_ARG);
    ck_assert_str_eq(err.msg, bad[_i].says);
    lmb_config_destroy(doc);
}
END_TEST

START_TEST(a_name_alone_selects_defaults)
{
    lmb_config *c = NULL;
    inner in;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse("o: sgd", 6, "f.yaml", &c, &err));
    ck_ok(lmb_fields_bind(inner_rows, lmb_tree_get(lmb_config_root(c), "o"), &in, &err));
    ck_assert(in.lr == 0.1);
    lmb_config_destroy(c);
}
END_TEST

START_TEST(dump_binds_to_the_same)
{
    outer o, again;
    lmb_config *first;
    lmb_str s = LMB_STR_INIT, t = LMB_STR_INIT;

    ck_ok(bind("seed: 3\npath: \"a: #\\n\"\nscales: [0.1, 0.30000000000000004]\nmodel: {name: mlp, layers: [{out: 4}]}\n", &o));
    first = doc;
    ck_ok(lmb_fields_dump(outer_rows, &o, 0, &s));
    ck_assert_str_eq(s.text, "seed: 3\nmode: exact\npath: \"a: #\\n\"\nmilestones: [30, 60]\n"
                             "scales: [0.1, 0.30000000000000004]\nopt:\n  lr: 0.1\n  nesterov: true\n"
                             "model:\n  name: mlp\n  layers:\n    - {out: 4}\n");
    ck_ok(bind(s.text, &again));
    ck_ok(lmb_fields_dump(outer_rows, &again, 0, &t));
    ck_assert_str_eq(s.text, t.text);
    lmb_str_free(&s);
    lmb_str_free(&t);
    lmb_config_destroy(first);
    lmb_config_destroy(doc);
}
END_TEST

START_TEST(help_has_a_line_a_row)
{
    lmb_str s = LMB_STR_INIT;
    int lines = 0;
    lmb_fields_help(outer_rows, 2, &s);
    for (const char *p = s.text; *p; p++)
        lines += *p == '\n';
    ck_assert_int_eq(lines, 9);
    ck_assert_ptr_nonnull(strstr(s.text, "default 17, in [0, 1000]; all randomness"));
    ck_assert_ptr_nonnull(strstr(s.text, "default [30, 60], each in [1, 100] epochs; when to drop"));
    ck_assert_ptr_nonnull(strstr(s.text, "default exact, one of fast exact; how"));
    lmb_str_free(&s);
}
END_TEST

LMB_TEST_MAIN("core/base/field", add(defaults); add(values); add_loop(refused, sizeof bad / sizeof bad[0]);
              add(a_name_alone_selects_defaults); add(dump_binds_to_the_same); add(help_has_a_line_a_row);)
