/* Mirrors core/base/config.c: what is read, refused, set and written back. test_config.c has the option rows. */
#include "core/base/config.h"

#include <string.h>

#include "core/base/str.h"
#include "tests/check_main.h"

static lmb_error err;

static lmb_config *parsed(const char *text)
{
    lmb_config *c = NULL;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "f.yaml", &c, &err));
    return c;
}

START_TEST(values_and_places)
{
    lmb_config *c =
        parsed("# comment\nseed: 17\ntrain:\n  lr: 0.5\n  steps: [1, 2]\n  name: \"17\"\n  on: yes\n  none:\n");
    const lmb_tree *train = lmb_tree_get(lmb_config_root(c), "train"), *name;
    const char *text;
    int64_t i;
    double r;
    bool b;

    ck_ok(lmb_tree_int(lmb_tree_get(lmb_config_root(c), "seed"), &i, &err));
    ck_assert_int_eq(i, 17);
    ck_ok(lmb_tree_real(lmb_tree_get(train, "lr"), &r, &err));
    ck_assert(r == 0.5);
    ck_ok(lmb_tree_bool(lmb_tree_get(train, "on"), &b, &err));
    ck_assert(b);
    ck_assert_uint_eq(lmb_tree_count(lmb_tree_get(train, "steps")), 2);
    ck_assert_int_eq(lmb_tree_get(train, "none")->kind, LMB_TREE_NULL);
    name = lmb_tree_get(train, "name");
    ck_assert_int_eq(name->line, 6);
    ck_assert_int_eq(name->column, 3);
    ck_ok(lmb_tree_text(name, &text, &err));
    ck_assert_str_eq(text, "17");
    ck_assert_int_eq(lmb_tree_int(name, &i, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "f.yaml:6:3: name is '17'; a whole number is needed");
    ck_assert_ptr_null(lmb_tree_get(name, "x"));
    ck_assert_ptr_null(lmb_tree_get(NULL, "x"));
    lmb_config_destroy(c);
}
END_TEST

START_TEST(json_is_yaml)
{
    lmb_config *c = parsed("{\"a\":[1,2.5e3,true,null],\n\t\"b\":{\"c\":\"x\\ny\\u00e9\"}}");
    const char *text;
    ck_assert_uint_eq(lmb_tree_count(lmb_tree_get(lmb_config_root(c), "a")), 4);
    ck_ok(lmb_tree_text(lmb_tree_get(lmb_tree_get(lmb_config_root(c), "b"), "c"), &text, &err));
    ck_assert_str_eq(text, "x\ny\xc3\xa9");
    lmb_config_destroy(c);
}
END_TEST

START_TEST(empty_is_a_mapping)
{
    lmb_config *c = parsed("# nothing\n");
    ck_assert_int_eq(lmb_config_root(c)->kind, LMB_TREE_MAP);
    lmb_config_destroy(c);
    lmb_config_destroy(NULL);
}
END_TEST

/* What must be refused, and the sentence it gets. */
static const struct { const char *text, *says; } bad[] = {
    { "a: 1\nb: 2\na: 3\n", "f.yaml:3:1: the key 'a' is already on line 1; remove one of the two" },
    { "a: &x 1\n", "f.yaml:1:4: anchors (&name) are not supported; write the value out" },
    { "a: *x\n", "f.yaml:1:4: aliases (*name) are not supported; write the value out" },
    { "a: !!int 1\n", "f.yaml:1:4: tags (!name) are not supported; write the value out" },
    { "? [1, 2]\n: 3\n", "f.yaml:1: a key must be plain text" },
    { "a: 1\n---\nb: 2\n", "f.yaml:3: more than one document" },
    { "a: \"x\\0y\"\n", "f.yaml:1:4: a NUL byte in a text" },
    { "a: [1, 2\n", "f.yaml:2:1: not valid YAML: did not find expected ',' or ']'" },
    { "a:\n\t- 1\n", "f.yaml:2:1: not valid YAML: found character that cannot start any token" },
    { "\"\": 1\n", "f.yaml:1:1: a key must have 1 to 200 characters" },
    { "a: \xff\n", NULL },
};
START_TEST(refused)
{
    lmb_config *c = NULL;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_config_parse(bad[_i].text, strlen(bad[_i].text), "f.yaml", &c, &err), LMB_E_FORMAT);
    ck_assert_ptr_null(c);
    if (bad[_i].says)
        ck_assert_str_eq(err.msg, bad[_i].says);
}
END_TEST

START_TEST(depth_and_size_are_bounded)
{
    lmb_config *c = NULL;
    lmb_str s = LMB_STR_INIT;

    for (int depth = 32; depth <= 33; depth++) {
        lmb_str_clear(&s);
        for (int i = 0; i < 2 * depth; i++)
            lmb_str_add(&s, i < depth ? "[" : "]");
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_config_parse(s.text, s.n, "f", &c, &err), depth == 32 ? LMB_OK : LMB_E_FORMAT);
        if (depth == 32)
            lmb_config_destroy(c);
    }
    lmb_str_clear(&s);
    lmb_str_add(&s, "[");
    for (int i = 0; i < 100001; i++)
        lmb_str_add(&s, "1,");
    lmb_str_add(&s, "]");
    ck_assert_int_eq(lmb_config_parse(s.text, s.n, "f", &c, NULL), LMB_E_FORMAT);
    for (int i = 0; i < 1 << 20; i++)
        lmb_str_add(&s, " ");
    ck_assert_int_eq(lmb_config_parse(s.text, s.n, "f", &c, NULL), LMB_E_FORMAT);
    lmb_str_free(&s);
}
END_TEST

static void expect_dump(const lmb_config *c, const char *want)
{
    lmb_str s = LMB_STR_INIT;
    ck_ok(lmb_tree_dump(lmb_config_root(c), 0, &s));
    ck_assert_str_eq(s.text, want);
    lmb_str_free(&s);
}

START_TEST(settings)
{
    lmb_config *c = parsed("optimizer: sgd\nlayers: [{out: 4}, {out: 8}]\nseed: 1\n");
    static const char *const sets[] = { "optimizer.lr=0.1", "layers.1.out=16", "seed=2", "a.b.c=[1, x y]", "t={k: 'v'}",
                                        "seed=", "path=/x/y.h5", "seed=3" };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        ck_ok(lmb_config_set(c, sets[i], &err));
    expect_dump(c,
                "\noptimizer:\n  name: sgd\n  lr: 0.1\nlayers:\n  -\n    out: 4\n  -\n    out: 16\nseed: 3\na:\n  b:\n"
                "    c:\n      - 1\n      - \"x y\"\nt:\n  k: \"v\"\npath: /x/y.h5\n");
    lmb_config_destroy(c);
}
END_TEST

static const struct { const char *set, *says; } bad_sets[] = {
    { "lr", "--set lr: write it as key=value, for example train.epochs=10" },
    { "=1", "--set =1: write it as key=value, for example train.epochs=10" },
    { "layers.2.out=1", "--set layers.2.out=1: there is no item 2 in the list" },
    { "layers.x.out=1", "--set layers.x.out=1: there is no item x in the list" },
    { "a..b=1", "--set a..b=1: an empty name in the key" },
    { "a=[1", NULL },
    { "a=1\n---\n2", NULL },
    { "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a=1", NULL },
};
START_TEST(refused_settings)
{
    lmb_config *c = parsed("layers: [{out: 4}]\n");
    ck_assert_int_ne(lmb_config_set(c, bad_sets[_i].set, &err), LMB_OK);
    ck_assert_int_ne(err.msg[0], 0);
    if (bad_sets[_i].says)
        ck_assert_str_eq(err.msg, bad_sets[_i].says);
    lmb_config_destroy(c);
}
END_TEST

START_TEST(complaints_about_settings)
{
    lmb_config *c = parsed("");
    int64_t i;
    ck_ok(lmb_config_set(c, "seed=1.5", &err));
    ck_assert_int_eq(lmb_tree_int(lmb_tree_get(lmb_config_root(c), "seed"), &i, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "--set seed: seed is '1.5'; a whole number is needed");
    lmb_config_destroy(c);
}
END_TEST

static const struct { const char *text; bool is_int, is_real;
} numbers[] = {
    { "12", true, true },
    { "-3", true, true },
    { "+4", true, true },
    { "1e3", false, true },
    { ".5", false, true },
    { "0x10", true, false },
    { "010", true, true },
    { "5%", false, true },
    { "0x", false, false },
    { "nan", false, false },
    { "inf", false, false },
    { "1e999", false, false },
    { "1 2", false, false },
    { "--1", false, false },
    { "-", false, false },
    { "9223372036854775807", true, true },
    { "9223372036854775808", false, true },
    { "true", false, false },
    { "[1]", false, false },
};
START_TEST(what_is_a_number)
{
    lmb_config *c = parsed(numbers[_i].text);
    int64_t i;
    double r;
    ck_assert_int_eq(lmb_tree_int(lmb_config_root(c), &i, NULL) == LMB_OK, numbers[_i].is_int);
    ck_assert_int_eq(lmb_tree_real(lmb_config_root(c), &r, NULL) == LMB_OK, numbers[_i].is_real);
    lmb_config_destroy(c);
}
END_TEST

START_TEST(dump_reads_back_the_same)
{
    lmb_config *c = parsed(
                   "a: {b: [1, [2, {c: d}]], e: {}, f: [], 'g h': ~}\nt: \"line\\nbreak: #x\"\nu: \"- not a list\"\n"
                   "v: 'null'\nw: '-12'\nx: a, b\nlist:\n- k: 1\n  l: [a]\n- x\n"),
               *again = NULL;
    lmb_str s = LMB_STR_INIT;
    ck_ok(lmb_tree_dump(lmb_config_root(c), 0, &s));
    ck_ok(lmb_config_parse(s.text, s.n, "again", &again, &err));
    expect_dump(again, s.text);
    ck_assert(lmb_tree_get(lmb_config_root(again), "v")->kind == LMB_TREE_SCALAR);
    ck_assert(lmb_tree_get(lmb_config_root(again), "w")->quoted);
    ck_assert_str_eq(lmb_tree_get(lmb_config_root(again), "u")->text, "- not a list");
    ck_assert_uint_eq(lmb_tree_count(lmb_tree_get(lmb_config_root(again), "list")), 2);
    lmb_str_free(&s);
    lmb_config_destroy(c);
    lmb_config_destroy(again);
}
END_TEST

START_TEST(names_select)
{
    lmb_config *c = parsed("a: sgd\nb: {name: adam, lr: 1}\nc: {lr: 1}\n");
    const lmb_tree *root = lmb_config_root(c);
    const char *name;
    ck_ok(lmb_tree_name(lmb_tree_get(root, "a"), &name, &err));
    ck_assert_str_eq(name, "sgd");
    ck_ok(lmb_tree_name(lmb_tree_get(root, "b"), &name, &err));
    ck_assert_str_eq(name, "adam");
    ck_assert_int_eq(lmb_tree_name(lmb_tree_get(root, "c"), &name, &err), LMB_E_ARG);
    ck_assert_str_eq(err.msg, "f.yaml:3:1: c needs a 'name'");
    lmb_config_destroy(c);
}
END_TEST

START_TEST(nearest_names)
{
    static const char *const names[] = { "lr", "momentum", "weight_decay", "nesterov", NULL };
    ck_assert_str_eq(lmb_nearest("momentun", names), "momentum");
    ck_assert_str_eq(lmb_nearest("wieght_decay", names), "weight_decay");
    ck_assert_str_eq(lmb_nearest("weightdecay", names), "weight_decay");
    ck_assert_str_eq(lmb_nearest("rl", names), "lr");
    ck_assert_ptr_null(lmb_nearest("batch", names));
    ck_assert_ptr_null(lmb_nearest("x", names));
}
END_TEST

LMB_TEST_MAIN("core/base/tree", add(values_and_places); add(json_is_yaml); add(empty_is_a_mapping);
              add_loop(refused, sizeof bad / sizeof bad[0]); add(depth_and_size_are_bounded); add(settings);
              add_loop(refused_settings, sizeof bad_sets / sizeof bad_sets[0]); add(complaints_about_settings);
              add_loop(what_is_a_number, sizeof numbers / sizeof numbers[0]); add(dump_reads_back_the_same);
              add(names_select); add(nearest_names);)
