/* Mirrors distill/search/latency.c and deployed.c: the table of latencies is measured once and read back to the bit,
 * and what a sketch of a deployed form costs is what the form costs.
 */
#include "distill/quantize/ptq.h"
#include "distill/quantize/facts.h"
#include "distill/search/deployed.h"
#include "distill/search/latency.h"
#include "core/edge/time/measure.h"
#include "tests/distill/search.h"

START_TEST(ops_are_measured_once)
{
    lmb_graph *g = make("{name: resnet, depth: 8, width: 8}");
    lmb_deployed d;
    lmb_latency *t;
    double us[64], again[64], sum, sum2;
    lmb_timing time;
    uint64_t bytes, bytes2;
    char key[LMB_LATENCY_KEY];

    ck_ok(lmb_deployed_sketch(g, NULL, &d, &err));
    lmb_latency_key(&d.model, 0, key);
    ck_assert_str_eq(key, "conv 8x8x3 to 8x8x8 k3x3 s1x1 d1x1 p1,1,1,1 g1 int8");
    ck_ok(lmb_latency_open(path, false, NULL, &t, &err));
    ck_ok(lmb_latency_ops(t, &d, us, &sum, &err));
    double all = 0;
    for (uint32_t i = 0; i < d.model.n_ops; i++) {
        ck_assert(us[i] > 0);
        all += us[i];
    }
    ck_assert_double_eq_tol(all, sum, 1e-9 * sum);
    /* a deadline that nothing meets, and then one that all do */
    ck_ok(lmb_latency_whole(t, &d, 1e-6, &time, &err));
    ck_assert(time.p50 > 0 && time.p99 >= time.p50 && time.throughput > 0);
    ck_assert_double_eq_tol(time.missed, 1, 1e-9);
    ck_ok(lmb_latency_whole(t, &d, 1e12, &time, &err));
    ck_assert(time.missed == 0);
    ck_ok(lmb_latency_ops(t, &d, us, &sum, &err)); /* what was measured in a slow moment has been put right */
    lmb_latency_close(t);
    ck_ok(lmb_file_size(path, &bytes, &err));
    /* read back: the same numbers to the bit, nothing is added */
    ck_ok(lmb_latency_open(path, true, NULL, &t, &err));
    ck_ok(lmb_latency_ops(t, &d, again, &sum2, &err));
    ck_assert(sum2 == sum && memcmp(us, again, d.model.n_ops * sizeof *us) == 0);
    ck_ok(lmb_latency_whole(t, &d, 0, &time, &err));
    ck_assert(time.p50 == sum && time.p99 == sum && time.missed == 0 && time.energy == 0);
    ck_assert_double_eq_tol(time.throughput * sum, 1e6, 1e-3);
    ck_ok(lmb_latency_whole(t, &d, sum / 2, &time, &err));
    ck_assert(time.missed == 1);
    lmb_latency_close(t);
    ck_ok(lmb_file_size(path, &bytes2, &err));
    ck_assert_uint_eq(bytes, bytes2);
    lmb_deployed_free(&d);
    lmb_graph_destroy(g);
}
END_TEST

/* An op is in the table with a minute: the whole model says that this can not be, then and when it is read again. */
START_TEST(a_slow_moment_is_put_right)
{
    lmb_graph *g = make("{name: resnet, depth: 8, width: 8}");
    lmb_deployed d;
    lmb_latency *t;
    double sum, right, again;
    lmb_timing time;
    char key[LMB_LATENCY_KEY], line[400];
    int usable = 0, i = 0;

    while (lmb_edge_kernels(i, &usable) && !usable)
        i++;
    ck_ok(lmb_deployed_sketch(g, NULL, &d, &err));
    lmb_latency_key(&d.model, 1, key);
    int n = snprintf(line, sizeof line, "{\"kernels\": \"%s\"}\n{\"op\": \"%s\", \"us\": 6e7}\n",
                     lmb_edge_kernels(i, &usable), key);
    ck_ok(lmb_file_write(path, line, (size_t)n, &err));
    ck_ok(lmb_latency_open(path, true, NULL, &t, &err));
    ck_assert_int_eq(lmb_latency_ops(t, &d, NULL, &sum, &err), LMB_E_UNSUPPORTED);
    lmb_latency_close(t);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_latency_open(path, false, NULL, &t, &err));
    ck_ok(lmb_latency_ops(t, &d, NULL, &sum, &err));
    ck_ok(lmb_latency_whole(t, &d, 0, &time, &err));
    ck_ok(lmb_latency_ops(t, &d, NULL, &right, &err));
    ck_assert_double_lt(right, 3e7);
    lmb_latency_close(t);
    ck_ok(lmb_latency_open(path, true, NULL, &t, &err));
    ck_ok(lmb_latency_ops(t, &d, NULL, &again, &err));
    ck_assert(again == right);
    lmb_latency_close(t);
    lmb_deployed_free(&d);
    lmb_graph_destroy(g);
}
END_TEST

START_TEST(a_frozen_table_names_what_it_lacks)
{
    static const char table[] =
        "{\"kernels\": \"elsewhere\"}\n"
        "{\"op\": \"conv 8x8x3 to 8x8x8 k3x3 s1x1 d1x1 p1,1,1,1 g1 int8\", \"us\": 2.5}\n"
        "{\"op\": \"co";
    lmb_graph *g = make("{name: vgg, channels: [8, 0, 12]}");
    lmb_deployed d;
    lmb_latency *t;
    double sum;
    uint64_t bytes;

    ck_ok(lmb_file_write(path, table, sizeof table - 1, &err));
    ck_assert_int_eq(lmb_latency_open(path, false, NULL, &t, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "elsewhere"));
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_latency_open(path, true, NULL, &t, &err));
    ck_ok(lmb_file_size(path, &bytes, &err));
    ck_assert_uint_eq(bytes, sizeof table - 1 - strlen("{\"op\": \"co")); /* the torn line is cut off */
    ck_ok(lmb_deployed_sketch(g, NULL, &d, &err));
    ck_assert_int_eq(lmb_latency_ops(t, &d, NULL, &sum, &err), LMB_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.msg, "has no max"));
    lmb_latency_close(t);
    lmb_deployed_free(&d);
    lmb_graph_destroy(g);
}
END_TEST

/* Made-up ranges and blank facts change no size: the sketch, the calibrated model, and what a search says of it are files
 * of as many bytes, MACs and parameters. */
START_TEST(a_sketch_costs_what_the_model_costs)
{
    lmb_graph *g = make("{name: resnet, depth: 8, width: 8, mean: 120, scale: 0.02}"), *frozen;
    lmb_dataset *data = data_of(64);
    lmb_ptq_config c = { 32, 1, NULL, "cpu", 1 };
    lmb_deployed sketch, real;

    ck_ok(lmb_deployed_sketch(g, NULL, &sketch, &err));
    ck_ok(lmb_ptq(g, &c, data, &frozen, &err));
    ck_ok(lmb_deployed_real(frozen, &real, NULL, &err));
    ck_assert_uint_eq(sketch.file.n, real.file.n);
    lmb_facts facts = lmb_facts_blank;
    facts.point = 999;
    facts.right = 49999;
    facts.samples = 50000;
    ck_ok(lmb_facts_put(&real.file, &facts, &err));
    ck_assert_uint_eq(sketch.file.n, real.file.n);
    lmb_edge_model m;
    char why[200] = "";
    size_t n;
    ck_assert_msg(lmb_edge_open(real.file.text, real.file.n, &m, why, sizeof why) == LMB_EDGE_OK, "%s", why);
    ck_assert_mem_eq(lmb_edge_meta(&m, "accuracy", &n), "1.0000\n", 7);
    ck_assert_mem_eq(lmb_edge_meta(&m, "samples", &n), "50000\n", 6);
    ck_assert_mem_eq(lmb_edge_meta(&m, "data", &n), "0000000000000000\n", 17);
    ck_assert_uint_eq(lmb_edge_macs(&sketch.model), lmb_edge_macs(&m));
    ck_assert_uint_eq(lmb_edge_parameters(&sketch.model), lmb_edge_parameters(&m));
    lmb_deployed_free(&sketch);
    lmb_deployed_free(&real);
    lmb_graph_destroy(g);
    lmb_graph_destroy(frozen);
    lmb_dataset_destroy(data);
}
END_TEST

/* Of nine repeats one was disturbed: a fifth of its 301 runs. They are more than a hundredth of all runs, and late. */
START_TEST(the_tail_is_of_all_runs)
{
    enum { RUNS = 301, REPEATS = 9, SLOW = 60 };
    double run[REPEATS * RUNS];
    lmb_timing t = { .p50 = 10, .throughput = 1e5 };

    for (int i = 0; i < REPEATS * RUNS; i++)
        run[i] = 10e-6 + 1e-9 * (i % RUNS);
    for (int i = 0; i < SLOW; i++)
        run[4 * RUNS + 5 * i] = 100e-6;
    lmbi_measure_tail(run, REPEATS * RUNS, 50, &t);
    ck_assert_double_eq_tol(t.p99, 100, 1e-9);
    ck_assert_double_eq_tol(t.missed, (double)SLOW / (REPEATS * RUNS), 1e-12);
    ck_assert(t.p50 == 10 && t.throughput == 1e5);
    lmbi_measure_tail(run, REPEATS * RUNS, 0, &t); /* no deadline: nothing is late */
    ck_assert(t.missed == 0);
}
END_TEST

/* Whatever the machine does: half of each repeat's runs are no shorter than the best repeat's median. */
START_TEST(a_whole_has_a_tail)
{
    lmb_graph *g = make("{name: mlp, hidden: [16], mean: 120, scale: 0.02}");
    lmb_latency *t;
    lmb_deployed d;
    lmb_timing all, none;

    ck_ok(lmb_deployed_sketch(g, NULL, &d, &err));
    ck_ok(lmb_latency_open(path, false, NULL, &t, &err));
    ck_ok(lmb_latency_whole(t, &d, 1e-9, &all, &err));
    ck_ok(lmb_latency_whole(t, &d, 1e12, &none, &err));
    ck_assert(all.p99 >= all.p50 && none.p99 >= none.p50 && all.missed == 1 && none.missed == 0);
    lmb_latency_close(t);
    lmb_deployed_free(&d);
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("distill/search_table", tcase_add_checked_fixture(tc_, setup, teardown); add(ops_are_measured_once);
              add(a_slow_moment_is_put_right);
              add(a_frozen_table_names_what_it_lacks); add(a_sketch_costs_what_the_model_costs);
              add(the_tail_is_of_all_runs); add(a_whole_has_a_tail);)
