/* Mirrors launch/report.c, report_html.c, report_svg.c: a small run folder, by hand. */
#include "launch/report.h"

#include <math.h>
#include <string.h>

#include "core/base/file.h"
#include "tests/check_main.h"
#include "tests/temp_dir.h"

static lmb_error err;
static char run_dir[128];

static void put(const char *stage, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", run_dir, stage);
    ck_ok(lmb_file_make_dirs(path, &err));
    snprintf(path, sizeof path, "%s/%s/%s", run_dir, stage, name);
    ck_ok(lmb_file_write(path, text, strlen(text), &err));
}

static void begin(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(run_dir, sizeof run_dir);
}

static const char teacher[] =
    "{\"name\": \"teacher\", \"parameters\": 1234567, \"macs\": 45600000, \"bytes\": 4938268, \"accuracy\": 0.9375, \"latency_us\": 812.25,"
    " \"interval\": [0.9, 0.96], \"confusion\": [[45, 3, 2], [0, 50, 0], [1, 0, 49]], \"classes\": [\"T-shirt\", \"<bag>\", \"coat\"], \"note\": \"vgg\","
    " \"peak_memory_bytes\": 98765432}\n";
static const char student[] =
    "{\"name\": \"student-int8\", \"parameters\": 77000, \"macs\": 3100000, \"bytes\": 81234, \"accuracy\": 0.92, \"latency_us\": 95.5,"
    " \"interval\": [0.88, 0.95], \"confusion\": [[40, 10, 0], [1, 49, 0], [0, 7, 43]], \"classes\": [\"T-shirt\", \"<bag>\", \"coat\"], \"note\": \"\"}\n";

static void small_run(void)
{
    begin();
    put("teacher", "stage.json", teacher);
    put("student-int8", "stage.json", student);
    /* Epoch 1 is told twice, as after an interruption, and the last line was never finished. */
    put("teacher", "history.jsonl",
        "{\"epoch\": 0, \"loss\": 1.5, \"accuracy\": 0.5, \"valid_loss\": 1.1, \"valid_accuracy\": 0.61, \"lr\": 0.1, \"seconds\": 2}\n"
        "{\"epoch\": 1, \"loss\": 0.9, \"accuracy\": 0.7, \"valid_loss\": 0.8, \"valid_accuracy\": 0.72}\n"
        "{\"epoch\": 1, \"loss\": 0.7, \"accuracy\": 0.7, \"valid_loss\": null, \"valid_accuracy\": 0.75}\n"
        "{\"epoch\": 2, \"loss\": 0.");
    put("federation", "history.jsonl",
        "{\"round\": 0, \"valid_accuracy\": 0.9012}\n"
        "{\"round\": 1, \"updates\": 4, \"valid_accuracy\": 0.9123, \"bytes_in\": 1000, \"bytes_out\": 500}\n"
        "{\"round\": 2, \"updates\": 4, \"valid_accuracy\": 0.9234, \"each_client_valid_accuracy_mean\": 0.88, "
        "\"each_client_valid_accuracy_median\": 0.9, \"each_client_valid_accuracy_worst_tenth\": 0.5, \"bytes_in\": 1000, \"bytes_out\": 500}\n");
}

START_TEST(summary_is_exact)
{
    lmb_report r;
    lmb_str s = LMB_STR_INIT;

    small_run();
    ck_ok(lmb_report_read(run_dir, NULL, &r, &err));
    lmb_report_summary(&r, &s);
    ck_ok(lmb_str_check(&s, &err));
    ck_assert_str_eq(s.text, "{\"stages\": [\n"
                             "  {\"name\": \"teacher\", \"parameters\": 1234567, \"macs\": 45600000, \"bytes\": 4938268, \"accuracy\": 0.9375, "
                             "\"latency_us\": 812.25, \"peak_memory_bytes\": 98765432},\n"
                             "  {\"name\": \"student-int8\", \"parameters\": 77000, \"macs\": 3100000, \"bytes\": 81234, \"accuracy\": 0.92, "
                             "\"latency_us\": 95.5}\n]}\n");
    lmb_str_clear(&s);
    lmb_report_table(&r, &s);
    ck_assert_ptr_nonnull(strstr(
        s.text, "teacher              1.23 M    45.6 M   4.94 MB    93.75 %             812.2 us      98.8 MB\n"));
    ck_assert_ptr_nonnull(strstr(
        s.text, "student-int8         77.0 k    3.10 M   81.2 kB    92.00 %              95.5 us            -\n"));
    ck_assert_ptr_nonnull(strstr(s.text, "without a result: student, federated-int8\n"));
    lmb_report_free(&r);
    lmb_str_clear(&s);
    /* of a private federation: repeated */
    put("federation", "privacy.json", "{\"epsilon\": 1.5, \"statement\": \"one client\"}\n");
    ck_ok(lmb_report_read(run_dir, NULL, &r, &err));
    lmb_report_summary(&r, &s);
    ck_assert_ptr_nonnull(
        strstr(s.text, "95.5}\n], \"privacy\": {\"epsilon\": 1.5, \"statement\": \"one client\"}}\n"));
    lmb_str_free(&s);
    lmb_report_free(&r);
    put("federation", "privacy.json", "[1]\n");
    ck_assert_int_eq(lmb_report_read(run_dir, NULL, &r, &err), LMB_E_FORMAT);
    err = (lmb_error)LMB_ERROR_INIT;
    temp_remove(run_dir);
}
END_TEST

/* Stages that lie there but are not asked for belong to another configuration. */
START_TEST(only_the_configured_stages_count)
{
    static const char *const stages[] = { "teacher", "student", NULL };
    lmb_report r;

    small_run();
    ck_ok(lmb_report_read(run_dir, stages, &r, &err));
    ck_assert_int_eq(r.n_stages, 1);
    ck_assert_str_eq(r.stage[0].name, "teacher");
    ck_assert_str_eq(r.missing, "student");
    ck_assert_int_eq(r.n_curves, 1);
    lmb_report_free(&r);
    temp_remove(run_dir);
}
END_TEST

START_TEST(histories_are_what_happened_last)
{
    lmb_report r;

    small_run();
    ck_ok(lmb_report_read(run_dir, NULL, &r, &err));
    ck_assert_int_eq(r.n_curves, 2);
    ck_assert_int_eq(r.curve[0].n, 2);
    ck_assert_double_eq(r.curve[0].point[0].at, 1); /* epochs are shown from 1 */
    ck_assert_double_eq(r.curve[0].point[1].loss, 0.7);
    ck_assert(isnan(r.curve[0].point[1].valid_loss));
    ck_assert_str_eq(r.curve[1].name, "federation");
    ck_assert_double_eq(r.curve[1].point[2].at, 2);
    ck_assert_double_eq(r.curve[1].point[2].valid_accuracy, 0.9234);
    ck_assert_double_eq(r.curve[1].point[2].worst, 0.5);
    ck_assert_double_eq(r.curve[1].point[2].median, 0.9);
    lmb_report_free(&r);
    temp_remove(run_dir);
}
END_TEST

static void has(const lmb_str *page, const char *text)
{
    ck_assert_msg(strstr(page->text, text) != NULL, "the page lacks: %s", text);
}

START_TEST(page_is_complete_and_alone)
{
    lmb_report r;
    lmb_str s = LMB_STR_INIT;

    small_run();
    ck_ok(lmb_report_read(run_dir, NULL, &r, &err));
    lmb_report_page(&r, "runs/a & b", "train: {lr: 0.1}  # <fast>\n", &s);
    ck_ok(lmb_str_check(&s, &err));
    has(&s, "<h1>runs/a &amp; b</h1>");
    has(&s, "right on <strong>92.00 %</strong> of the test samples with a file of <strong>81.2 kB</strong>: 1.75 points less than teacher, in a file 61 times smaller.");
    has(&s, "<td title=\"1234567\">1.23 M</td>");
    has(&s, "<td>88.00 to 95.00 %</td><td>95.5 &micro;s</td>");
    has(&s, "teacher, epoch 2: 75.00 %");
    has(&s, "federation, round 2: 92.34 %");
    has(&s, "clients, worst tenth, round 2: 50.00 %");
    has(&s, "Over 2 rounds the server received 2.00 kB and sent 1.00 kB.");
    has(&s, "<td class=\"hit\" style=\"--v:0.980\">49</td>");
    has(&s, "<td style=\"--v:1.000\">10</td>");
    has(&s, "<li>T-shirt taken for &lt;bag&gt;: 10 of 50 (20.0 %)</li>\n<li>coat taken for &lt;bag&gt;: 7 of 50 (14.0 %)</li>");
    has(&s, "student-int8: 92.00 % (95 % interval 88.00 to 95.00) at 81.2 kB");
    has(&s, "train: {lr: 0.1}  # &lt;fast&gt;");
    has(&s, "Without a result yet: student, federated-int8.");
    ck_assert_ptr_null(strstr(s.text, "http"));
    ck_assert_ptr_null(strstr(s.text, "<script"));
    ck_assert_ptr_null(strstr(s.text, "nan"));
    ck_assert_ptr_null(strstr(s.text, "inf,"));
    lmb_str_free(&s);
    lmb_report_free(&r);
    temp_remove(run_dir);
}
END_TEST

/* Layers of a factorised student: a table, names as text; only where the student is one of the stages. */
START_TEST(factorised_layers_have_a_table)
{
    static const char *const others[] = { "teacher", NULL };
    lmb_report r;
    lmb_str s = LMB_STR_INIT;

    small_run();
    put("student", "lowrank.json",
        "{\"energy\": 0.9, \"macs\": 30000, \"macs_after\": 12000, \"layers\": [\n"
        "{\"weight\": \"a<b>.weight\", \"out\": 16, \"in\": 12, \"taps\": 9, \"rank_out\": 8, \"rank_in\": 4, \"energy\": 0.925, "
        "\"macs\": 20000, \"macs_after\": 2000, \"thin\": true},\n"
        "{\"weight\": \"fc.weight\", \"out\": 10, \"in\": 64, \"taps\": 1, \"rank_out\": 0, \"rank_in\": 0, \"energy\": 1, "
        "\"macs\": 10000, \"macs_after\": 10000, \"thin\": false}]}\n");
    ck_ok(lmb_report_read(run_dir, NULL, &r, &err));
    lmb_report_page(&r, "runs/a", "", &s);
    ck_ok(lmb_str_check(&s, &err));
    has(&s, "1 of 2 layers have become thinner ones: 12.0 k of their 30.0 k MACs are left.");
    has(&s, "a&lt;b&gt;.weight</th><td>16 &times; 12 &times; 9</td><td>8, 4</td><td>92.50 %</td><td>20.0 k</td><td>2.00 k</td>");
    has(&s, "fc.weight</th><td>10 &times; 64 &times; 1</td><td></td><td></td><td>10.0 k</td><td>stays</td>");
    lmb_report_free(&r);
    lmb_str_clear(&s);
    ck_ok(lmb_report_read(run_dir, others, &r, &err));
    lmb_report_page(&r, "runs/a", "", &s);
    ck_assert_ptr_null(strstr(s.text, "thinner"));
    lmb_str_free(&s);
    lmb_report_free(&r);
    temp_remove(run_dir);
}
END_TEST

/* One stage, no matrix, no history, perfect accuracy: nothing to divide by, nothing to draw. */
START_TEST(bare_run_has_a_page)
{
    lmb_report r;
    lmb_str s = LMB_STR_INIT;

    begin();
    put("student", "stage.json", "{\"parameters\": 0, \"macs\": 0, \"bytes\": 0, \"accuracy\": 1, \"latency_us\": 0}");
    ck_ok(lmb_report_read(run_dir, NULL, &r, &err));
    lmb_report_page(&r, "bare", "", &s);
    ck_ok(lmb_str_check(&s, &err));
    has(&s, "student is right on <strong>100.00 %</strong>");
    ck_assert_ptr_null(strstr(s.text, "<svg"));
    ck_assert_ptr_null(strstr(s.text, "Confusions"));
    lmb_str_free(&s);
    lmb_report_free(&r);
    temp_remove(run_dir);
}
END_TEST

static const struct damage { const char *name, *text, *says; } damages[] = {
    { "stage.json", "{\"parameters\": 1", "stage.json" },
    { "stage.json", "[1, 2]", "is no JSON object" },
    { "stage.json", "{\"parameters\": 1}", "`macs` is missing" },
    { "stage.json", "{\"parameters\": -1}", "`parameters` must be a number, 0 or more" },
    { "stage.json", "{\"parameters\": 1, \"macs\": 1, \"bytes\": 1, \"accuracy\": 93, \"latency_us\": 1}",
      "between 0 and 1" },
    { "stage.json",
      "{\"parameters\": 1, \"macs\": 1, \"bytes\": 1, \"accuracy\": 0.9, \"latency_us\": 1, \"interval\": [0.95, 0.99]}",
      "does not contain the accuracy" },
    { "stage.json",
      "{\"parameters\": 1, \"macs\": 1, \"bytes\": 1, \"accuracy\": 0.9, \"latency_us\": 1, \"confusion\": [[1, 2], [3]]}",
      "row 2 of `confusion` has 1 numbers" },
    { "stage.json",
      "{\"parameters\": 1, \"macs\": 1, \"bytes\": 1, \"accuracy\": 0.9, \"latency_us\": 1, \"confusion\": [[1]], \"classes\": []}",
      "`classes` has 0 names" },
    { "history.jsonl", "{\"epoch\": 0}\n{\"epoch\n", "history.jsonl line 2" },
    { "history.jsonl", "{\"loss\": 1}\n", "neither `epoch` nor `round`" },
    { "lowrank.json", "{\"energy\": 0.9}", "has no list `layers`" },
    { "lowrank.json", "{\"layers\": [{\"weight\": \"w\"}]}", "without `weight` or `thin`" },
    { "lowrank.json", "{\"layers\": [{\"weight\": \"w\", \"thin\": true, \"out\": 1}]}", "`in` is missing" },
    { "lowrank.json", "{\"layers\": [{\"weight\": \"w\", \"thin\": true, \"out\": -1}]}", "`out` must be a number" },
};

START_TEST(damage_is_one_sentence)
{
    const struct damage *d = &damages[_i];
    lmb_report r;

    begin();
    put("teacher", "stage.json", teacher);
    put(strcmp(d->name, "lowrank.json") == 0 ? "student" : "teacher", d->name, d->text);
    lmb_status st = lmb_report_read(run_dir, NULL, &r, &err);
    ck_assert_msg(st != LMB_OK && strstr(err.msg, d->says) && strstr(err.msg, d->name), "%s gave: %s", d->text,
                  err.msg);
    temp_remove(run_dir);
}
END_TEST

START_TEST(empty_run_is_refused)
{
    lmb_report r;

    begin();
    ck_assert_int_eq(lmb_report_read(run_dir, NULL, &r, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "no stage has left a result in "));
    temp_remove(run_dir);
}
END_TEST

LMB_TEST_MAIN("launch/report", add(summary_is_exact); add(only_the_configured_stages_count);
              add(histories_are_what_happened_last); add(page_is_complete_and_alone);
              add(factorised_layers_have_a_table); add(bare_run_has_a_page);
              add_loop(damage_is_one_sentence, (int)(sizeof damages / sizeof *damages)); add(empty_run_is_refused);)
