/* Mirrors distill/search: the table of latencies, costs of a deployed form, Taylor scores against finite differences,
 * moves that do and gain what they say, the journal of points, the front. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/compiler.h"
#include "core/base/config.h"
#include "core/base/file.h"
#include "core/cpu/cpu.h"
#include "distill/quantize/ptq.h"
#include "distill/search/deployed.h"
#include "distill/search/points.h"
#include "tests/check_main.h"
#include "train/loss.h"
#include "train/model.h"
#include "train/program.h"

static lmb_error err;
static char dir[] = "/tmp/limbeck-search-XXXXXX", path[200];

static void setup(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    strcpy(dir, "/tmp/limbeck-search-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/lines.jsonl", dir);
}

static void teardown(void)
{
    remove(path);
    rmdir(dir);
}

static lmb_graph *make(const char *text)
{
    lmb_config *c;
    lmb_graph *g;
    lmb_shape sample = LMB_SHAPE(3, 8, 8);

    ck_ok(lmb_config_parse(text, strlen(text), "test", &c, &err));
    ck_ok(lmb_model_build(lmb_config_root(c), &sample, 4, 3, &g, &err));
    lmb_config_destroy(c);
    return g;
}

static lmb_dataset *data_of(int64_t n)
{
    static const char text[] = "{name: synthetic, train: %lld, test: 10, channels: 3, height: 8, width: 8, classes: 4}";
    char full[200];
    lmb_config *c;
    lmb_dataset *d;

    snprintf(full, sizeof full, text, (long long)n);
    ck_ok(lmb_config_parse(full, strlen(full), "test", &c, &err));
    ck_ok(lmb_dataset_open(lmb_config_root(c), LMB_PART_TRAIN, &d, &err));
    lmb_config_destroy(c);
    return d;
}

/* ---- the table ---- */

START_TEST(ops_are_measured_once)
{
    lmb_graph *g = make("{name: resnet, depth: 8, width: 8}");
    lmb_deployed d;
    lmb_latency *t;
    double us[64], again[64], sum, sum2;
    lmb_timing time;
    uint64_t bytes, bytes2;
    char key[LMB_LATENCY_KEY];

    ck_ok(lmb_deployed_sketch(g, &d, &err));
    lmb_latency_key(&d.model, 0, key);
    ck_assert_str_eq(key, "conv 8x8x3 to 8x8x8 k3x3 s1x1 d1x1 p1,1,1,1 g1 int8");
    ck_ok(lmb_latency_open(path, false, &t, &err));
    ck_ok(lmb_latency_ops(t, &d.model, us, &sum, &err));
    double all = 0;
    for (uint32_t i = 0; i < d.model.n_ops; i++) {
        ck_assert(us[i] > 0);
        all += us[i];
    }
    ck_assert_double_eq_tol(all, sum, 1e-9 * sum);
    ck_ok(lmb_latency_whole(t, &d.model, 1e-6, &time,
                            &err)); /* a deadline that nothing meets, and then one that all do */
    ck_assert(time.p50 > 0 && time.p99 >= time.p50 && time.throughput > 0);
    ck_assert_double_eq_tol(time.missed, 1, 1e-9);
    ck_ok(lmb_latency_whole(t, &d.model, 1e12, &time, &err));
    ck_assert(time.missed == 0);
    lmb_latency_close(t);
    ck_ok(lmb_file_size(path, &bytes, &err));
    /* read back: the same numbers to the bit, nothing is added */
    ck_ok(lmb_latency_open(path, true, &t, &err));
    ck_ok(lmb_latency_ops(t, &d.model, again, &sum2, &err));
    ck_assert(sum2 == sum && memcmp(us, again, d.model.n_ops * sizeof *us) == 0);
    ck_ok(lmb_latency_whole(t, &d.model, 0, &time, &err));
    ck_assert(time.p50 == sum && time.p99 == sum && time.missed == 0 && time.energy == 0);
    ck_assert_double_eq_tol(time.throughput * sum, 1e6, 1e-3);
    ck_ok(lmb_latency_whole(t, &d.model, sum / 2, &time, &err));
    ck_assert(time.missed == 1);
    lmb_latency_close(t);
    ck_ok(lmb_file_size(path, &bytes2, &err));
    ck_assert_uint_eq(bytes, bytes2);
    lmb_deployed_free(&d);
    lmb_graph_destroy(g);
}
END_TEST

START_TEST(a_frozen_table_names_what_it_lacks)
{
    static const char table[] =
        "{\"kernels\": \"elsewhere\"}\n{\"op\": \"conv 8x8x3 to 8x8x8 k3x3 s1x1 d1x1 p1,1,1,1 g1 int8\", \"us\": 2.5}\n{\"op\": \"co";
    lmb_graph *g = make("{name: vgg, channels: [8, 0, 12]}");
    lmb_deployed d;
    lmb_latency *t;
    double sum;
    uint64_t bytes;

    ck_ok(lmb_file_write(path, table, sizeof table - 1, &err));
    ck_assert_int_eq(lmb_latency_open(path, false, &t, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "elsewhere"));
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_latency_open(path, true, &t, &err));
    ck_ok(lmb_file_size(path, &bytes, &err));
    ck_assert_uint_eq(bytes, sizeof table - 1 - strlen("{\"op\": \"co")); /* the torn line is cut off */
    ck_ok(lmb_deployed_sketch(g, &d, &err));
    ck_assert_int_eq(lmb_latency_ops(t, &d.model, NULL, &sum, &err), LMB_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.msg, "has no max"));
    lmb_latency_close(t);
    lmb_deployed_free(&d);
    lmb_graph_destroy(g);
}
END_TEST

/* Made-up ranges change no size: the sketch and the calibrated model are files of as many bytes, MACs and
 * parameters. */
START_TEST(a_sketch_costs_what_the_model_costs)
{
    lmb_graph *g = make("{name: resnet, depth: 8, width: 8, mean: 120, scale: 0.02}"), *frozen;
    lmb_dataset *data = data_of(64);
    lmb_ptq_config c = { 32, 1, NULL, "cpu", 1 };
    lmb_deployed sketch, real;

    ck_ok(lmb_deployed_sketch(g, &sketch, &err));
    ck_ok(lmb_ptq(g, &c, data, &frozen, &err));
    ck_ok(lmb_deployed_real(frozen, &real, NULL, &err));
    ck_assert_uint_eq(sketch.file.n, real.file.n);
    ck_assert_uint_eq(lmb_edge_macs(&sketch.model), lmb_edge_macs(&real.model));
    ck_assert_uint_eq(lmb_edge_parameters(&sketch.model), lmb_edge_parameters(&real.model));
    lmb_deployed_free(&sketch);
    lmb_deployed_free(&real);
    lmb_graph_destroy(g);
    lmb_graph_destroy(frozen);
    lmb_dataset_destroy(data);
}
END_TEST

/* ---- scores ---- */

static double loss_of(const lmb_graph *g, const lmb_dataset *data)
{
    const lmb_backend *backends[3];
    lmb_loss loss = { .build = lmb_loss_cross_entropy };
    lmb_program *p;
    lmb_step_info info = { 0, 0, NULL };
    int64_t n = data->n, numbers = lmb_shape_count(&data->shape);
    float *x = malloc(sizeof *x * (size_t)(n * numbers));
    int64_t *y = malloc(sizeof *y * (size_t)n);
    uint8_t raw[192];
    int32_t label;

    for (int64_t i = 0; i < n; i++) {
        ck_ok(data->read(data, i, raw, &label, &err));
        for (int64_t k = 0; k < numbers; k++)
            x[i * numbers + k] = raw[k];
        y[i] = label;
    }
    ck_ok(lmb_cpu_backends("reference", backends, &err));
    ck_ok(lmb_program_create(g, &loss, backends, &p, &err));
    const lmb_state_layout *l = lmb_program_layout(p);
    float *state = malloc(sizeof *state * l->count), *out = malloc(sizeof *out * l->count);
    lmb_state_from_graph(l, g, state);
    lmb_program_step s = { .n = n, .x = x, .y = y, .state = state, .out = out, .info = &info };
    ck_ok(lmb_program_run(p, &s, &err));
    lmb_program_destroy(p);
    free(state);
    free(out);
    free(x);
    free(y);
    return s.loss;
}

/* One batch that is the whole set: a small change of one filter changes the loss by what is said. */
START_TEST(scores_are_differences_of_the_loss)
{
    lmb_graph *g = make("{name: mlp, hidden: [12], mean: 120, scale: 0.02}"), *moved;
    lmb_dataset *data = data_of(48);
    lmb_taylor_config c = { 1, 48, 1, "reference" };
    lmb_taylor *t;
    lmb_vid w = LMB_NONE;

    for (int i = 0; i < g->n_nodes && w == LMB_NONE; i++)
        if (lmb_lowrank_fits(g, &g->node[i]))
            w = g->node[i].in[1];
    int64_t n = lmb_shape_count(&g->value[w].shape), each = n / g->value[w].shape.d[0];
    float *changed = malloc(sizeof *changed * (size_t)n);
    memcpy(changed, g->value[w].data, sizeof *changed * (size_t)n);
    for (int64_t k = 5 * each; k < 6 * each; k++)
        changed[k] *= 0.97f;
    ck_ok(lmb_taylor_create(g, data, &c, &t, &err));
    double said = lmb_taylor_weights(t, g, w, changed);
    ck_ok(lmb_graph_copy(g, &moved, &err));
    ck_ok(lmb_graph_set_data(moved, w, changed, &err));
    double is = fabs(loss_of(moved, data) - loss_of(g, data));
    ck_assert_msg(said > 1e-6 && fabs(is - said) < 0.15 * said + 1e-6, "said %g, is %g", said, is);
    lmb_taylor_destroy(t);
    c.rows = 49;
    ck_assert_int_eq(lmb_taylor_create(g, data, &c, &t, &err), LMB_E_ARG);
    free(changed);
    lmb_graph_destroy(g);
    lmb_graph_destroy(moved);
    lmb_dataset_destroy(data);
}
END_TEST

/* A channel without any weight is worth nothing, and is the first to go. */
START_TEST(a_dead_channel_goes_first)
{
    lmb_graph *g = make("{name: vgg, channels: [8, 0, 8]}"), *small;
    lmb_dataset *data = data_of(64);
    lmb_taylor_config tc = { 2, 32, 1, "cpu" };
    lmb_moves_config mc = { 1, 1, { true }, 8 };
    lmb_taylor *t;
    lmb_latency *latency;
    lmb_moves m;
    float ones[8] = { 1, 1, 1, 0, 1, 1, 1, 1 };
    int which = -1;

    lmb_vid scale = LMB_NONE;
    for (int i = 0; i < g->n_nodes && scale == LMB_NONE; i++)
        if (strcmp(g->node[i].op->name, "BatchNormalization") == 0)
            scale = g->node[i].in[1];
    for (int i = 0; i < 8; i++)
        ones[i] *= 0.5f + 0.1f * (float)i;
    ck_ok(lmb_graph_set_data(g, scale, ones, &err)); /* its bias is 0 as it was made */
    ck_ok(lmb_latency_open(path, false, &latency, &err));
    ck_ok(lmb_taylor_create(g, data, &tc, &t, &err));
    ck_ok(lmb_moves_find(g, &mc, t, latency, &m, &err));
    for (int i = 0; i < m.n; i++)
        if (m.move[i].from == 8 && m.move[i].to == 7 && which < 0)
            which = i;
    ck_assert_int_ge(which, 0);
    ck_assert_double_le(m.move[which].loss, 2e-12);
    ck_ok(lmb_moves_apply(&m, &which, 1, &small, &err));
    const float *left = small->value[lmb_graph_find(small, g->value[scale].name)].data;
    for (int i = 0, k = 0; i < 8; i++)
        if (i != 3)
            ck_assert(left[k++] == ones[i]);
    lmb_moves_free(&m);
    lmb_taylor_destroy(t);
    lmb_latency_close(latency);
    lmb_graph_destroy(g);
    lmb_graph_destroy(small);
    lmb_dataset_destroy(data);
}
END_TEST

/* ---- moves ---- */

/* By MACs, which have no noise: every move gains what the model after it has less, the batch reaches its share with
 * moves that do not touch each other, and a move that has been made dear is left alone. */
START_TEST(moves_gain_what_they_say)
{
    lmb_graph *g = make("{name: resnet, depth: 8, width: 16}"), *after;
    lmb_dataset *data = data_of(128);
    lmb_taylor_config tc = { 2, 64, 1, "cpu" };
    lmb_moves_config mc = { 4, 4, { true, true }, 8 };
    lmb_taylor *t;
    lmb_latency *latency;
    lmb_moves m;
    int factors = 0, n;

    ck_ok(lmb_latency_open(path, false, &latency, &err));
    ck_ok(lmb_taylor_create(g, data, &tc, &t, &err));
    ck_ok(lmb_moves_find(g, &mc, t, latency, &m, &err));
    for (int i = 0; i < m.n; i++) {
        const lmb_move *x = &m.move[i];
        lmb_deployed d;
        ck_ok(lmb_moves_apply(&m, &i, 1, &after, &err));
        ck_ok(lmb_deployed_sketch(after, &d, &err));
        ck_assert(x->loss > 0);
        ck_assert_double_eq_tol(m.cost[LMB_GOAL_MACS] - (double)lmb_edge_macs(&d.model), x->gain[LMB_GOAL_MACS], 0.5);
        ck_assert_double_eq_tol(m.cost[LMB_GOAL_BYTES] - (double)d.file.n, x->gain[LMB_GOAL_BYTES], 0.5);
        factors += x->kind == LMB_MOVE_FACTOR;
        if (x->kind == LMB_MOVE_SHRINK)
            ck_assert(x->to % 4 == 0 && x->to >= 4 && x->to < x->from);
        lmb_deployed_free(&d);
        lmb_graph_destroy(after);
    }
    ck_assert_int_gt(factors, 3);
    ck_assert_int_gt(m.n - factors, 6);

    int *which = malloc(sizeof *which * (size_t)m.n);
    double *weight = malloc(sizeof *weight * (size_t)m.n), cost[LMB_COSTS];
    ck_ok(lmb_moves_choose(&m, LMB_GOAL_MACS, 0.2, NULL, latency, which, &n, cost, &after, &err));
    ck_assert_int_ge(n, 1);
    ck_assert_double_le(cost[LMB_GOAL_MACS], 0.9 * m.cost[LMB_GOAL_MACS]);
    for (int i = 0; i < n && cost[LMB_GOAL_MACS] > 0.8 * m.cost[LMB_GOAL_MACS];
         i++) /* half was enough: no large move was needed */
        ck_assert_double_le(m.move[which[i]].gain[LMB_GOAL_MACS], 0.2 * m.cost[LMB_GOAL_MACS]);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            ck_assert(m.move[which[i]].kind != m.move[which[k]].kind ||
                      strcmp(m.move[which[i]].what, m.move[which[k]].what) != 0);
    lmb_graph_destroy(after);
    int first = which[0];
    for (int i = 0; i < m.n; i++)
        weight[i] = strcmp(m.move[i].what, m.move[first].what) == 0 ? 1e6 : 1;
    ck_ok(lmb_moves_choose(&m, LMB_GOAL_MACS, 0.05, weight, latency, which, &n, cost, &after, &err));
    ck_assert_int_ge(n, 1);
    for (int i = 0; i < n; i++)
        ck_assert_str_ne(m.move[which[i]].what, m.move[first].what);
    lmb_graph_destroy(after);
    free(which);
    free(weight);
    lmb_moves_free(&m);
    lmb_taylor_destroy(t);
    lmb_latency_close(latency);
    lmb_graph_destroy(g);
    lmb_dataset_destroy(data);
}
END_TEST

/* Fewer bits: bytes and nothing else, a layer at a time, from where the model says it is, and with fewer channels at
 * once. */
START_TEST(moves_to_fewer_bits)
{
    lmb_graph *g = make("{name: resnet, depth: 8, width: 16}"), *after;
    lmb_dataset *data = data_of(64);
    lmb_taylor_config tc = { 1, 64, 1, "cpu" };
    lmb_moves_config mc = { 4, 4, { true, false, true }, 3 };
    lmb_taylor *t;
    lmb_latency *latency;
    lmb_moves m;
    int bits = 0, n, lowered = 0;
    double cost[LMB_COSTS];

    for (int v = 0, first = 1; v < g->n_values && first; v++)
        if (g->value[v].role == LMB_ROLE_PARAMETER && g->value[v].shape.n == 4) {
            g->value[v].bits = 4; /* the stem: 3 is all that is left to it */
            first = 0;
        }
    ck_ok(lmb_latency_open(path, false, &latency, &err));
    ck_ok(lmb_taylor_create(g, data, &tc, &t, &err));
    ck_ok(lmb_moves_find(g, &mc, t, latency, &m, &err));
    for (int i = 0; i < m.n; i++) {
        const lmb_move *x = &m.move[i];
        lmb_deployed d;
        if (x->kind != LMB_MOVE_BITS)
            continue;
        ck_assert(bits > 0 || (x->from == 4 && x->to == 3));
        ck_assert(bits == 0 || (x->from == 8 && (x->to == 6 || x->to == 4)));
        bits++;
        ck_ok(lmb_moves_apply(&m, &i, 1, &after, &err));
        ck_ok(lmb_deployed_sketch(after, &d, &err));
        ck_assert(x->loss > 0 && x->gain[LMB_GOAL_MACS] == 0 && x->gain[LMB_GOAL_BYTES] > 0);
        ck_assert_double_eq_tol(m.cost[LMB_GOAL_BYTES] - (double)d.file.n, x->gain[LMB_GOAL_BYTES], 0.5);
        lmb_deployed_free(&d);
        lmb_graph_destroy(after);
    }
    ck_assert_int_eq(bits, 1 + 2 * 9); /* ten layers: a stem, two convolutions a block, two shortcuts, a head */
    int *which = malloc(sizeof *which * (size_t)m.n);
    ck_ok(lmb_moves_choose(&m, LMB_GOAL_BYTES, 0.3, NULL, latency, which, &n, cost, &after, &err));
    ck_assert_double_le(cost[LMB_GOAL_BYTES], 0.85 * m.cost[LMB_GOAL_BYTES]);
    for (int v = 0; v < after->n_values; v++)
        lowered += after->value[v].bits != 0;
    ck_assert_int_ge(lowered, 2);
    free(which);
    lmb_graph_destroy(after);
    lmb_moves_free(&m);
    lmb_taylor_destroy(t);
    lmb_latency_close(latency);
    lmb_graph_destroy(g);
    lmb_dataset_destroy(data);
}
END_TEST

/* ---- points ---- */

static lmb_point point(int id, int64_t right, double us, double bytes)
{
    lmb_point p = { .id = id,
                    .parent = id - 1,
                    .kind = id ? LMB_POINT_STEP : LMB_POINT_TEACHER,
                    .step = 0.1,
                    .predicted = { 1.0 / 3, 5, 7 },
                    .cost = { us, bytes, 100 },
                    .timing = { us, us / 7, 1e6 / us, 1.0 / 301, us / 3 },
                    .parameters = 12,
                    .arena = 64,
                    .pair = { 1000, 3, 4 },
                    .right = right,
                    .limit = 0.1 / 3,
                    .accepted = id != 2 };
    if (id == 3) {
        p.kind = LMB_POINT_FINISHED;
        p.before = (lmb_paired){ 1000, 5, 6 };
    }
    p.move = calloc(1, sizeof *p.move);
    ck_assert_ptr_nonnull(p.move);
    if (id) {
        p.n_moves = 1;
        p.move[0] = (lmb_move){ .kind = LMB_MOVE_FACTOR,
                                .what = "a \"layer\"",
                                .from = 64,
                                .to = 16,
                                .rank_in = 24,
                                .loss = 0.1,
                                .gain = { 1e-9, 2, 3 } };
    }
    return p;
}

START_TEST(points_come_back_to_the_bit)
{
    lmb_points a, b;

    ck_ok(lmb_points_read(path, "me", &a, &err));
    ck_assert_int_eq(a.n, 0);
    for (int i = 0; i < 4; i++) {
        lmb_point p = point(i, 900 + i, 10.0 / (i + 3), 1000 - i);
        ck_ok(lmb_points_add(path, &a, &p, 1, &err));
    }
    ck_ok(lmb_file_append(path, "{\"point\": 4, \"par", 17, &err));
    ck_ok(lmb_points_read(path, "me", &b, &err));
    ck_assert_int_eq(b.n, 4);
    for (int i = 0; i < 4; i++) {
        const lmb_point *x = &a.point[i], *y = &b.point[i];
        ck_assert(x->id == y->id && x->parent == y->parent && x->kind == y->kind && x->goal == y->goal &&
                  x->step == y->step && memcmp(&x->timing, &y->timing, sizeof x->timing) == 0);
        ck_assert(memcmp(x->cost, y->cost, sizeof x->cost) == 0 &&
                  memcmp(x->predicted, y->predicted, sizeof x->cost) == 0);
        ck_assert(x->right == y->right && memcmp(&x->pair, &y->pair, sizeof x->pair) == 0 &&
                  memcmp(&x->before, &y->before, sizeof x->before) == 0 && x->limit == y->limit &&
                  x->accepted == y->accepted);
        ck_assert_int_eq(x->n_moves, y->n_moves);
        for (int k = 0; k < x->n_moves; k++)
            ck_assert(strcmp(x->move[k].what, y->move[k].what) == 0 && x->move[k].loss == y->move[k].loss &&
                      x->move[k].rank_in == 24);
    }
    lmb_points_free(&b);
    ck_assert_int_eq(lmb_points_read(path, "another", &b, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "--fresh"));
    lmb_points_free(&a);
}
END_TEST

START_TEST(a_damaged_journal_is_refused)
{
    static const char *const bad[] = {
        "{\"search\": \"me\"}\n{\"points\": [{\"point\": 1, \"parent\": 0}]}\n", "{\"point\": 0}\n",
        "{\"search\": \"me\"}\n{\"points\": [{\"point\": 1e30}]}\n",
        "{\"search\": \"me\"}\n{\"points\": [{\"point\": 0, \"parent\": -1, \"round\": 0, \"kind\": \"teacher\", \"goal\": \"latency\", \"step\": 0, \"moves\": [], "
        "\"predicted\": {\"latency\": 1, \"bytes\": 1, \"macs\": 1}, \"cost\": {\"latency\": 1, \"bytes\": 1, \"macs\": 1}, \"p99\": 1, \"throughput\": 1, \"missed\": 0, \"energy\": 0, "
        "\"parameters\": 1, \"arena\": 1, \"n\": 10, \"right\": 5, \"lost\": 8e15, \"won\": 1, \"limit\": 1, \"accepted\": true, \"beaten\": false}]}\n"
    };
    lmb_points p;

    for (size_t i = 0; i < LMB_COUNT(bad); i++) {
        err = (lmb_error)LMB_ERROR_INIT;
        ck_ok(lmb_file_write(path, bad[i], strlen(bad[i]), &err));
        ck_assert_int_eq(lmb_points_read(path, "me", &p, &err), LMB_E_FORMAT);
        ck_assert_ptr_nonnull(strstr(err.msg, "line"));
    }
    ck_assert_ptr_nonnull(strstr(err.msg, "counts that no held-out samples have"));
}
END_TEST

START_TEST(the_front)
{
    lmb_points p = { 0 };
    static const struct { int64_t right; double us, bytes; bool front;
    } rows[] = {
        { 950, 30, 100, true }, { 940, 20, 80, true },  { 940, 25, 80, false },
        { 930, 25, 70, true },  { 950, 30, 100, true }, { 900, 40, 200, false },
    };

    snprintf(p.identity, sizeof p.identity, "me");
    for (int i = 0; i < (int)LMB_COUNT(rows); i++) {
        lmb_point x = point(i, rows[i].right, rows[i].us, rows[i].bytes);
        ck_ok(lmb_points_add(path, &p, &x, 1, &err));
    }
    lmb_points_front(&p);
    for (int i = 0; i < p.n; i++)
        ck_assert_msg(p.point[i].front == rows[i].front, "point %d", i);
    lmb_points_free(&p);
}
END_TEST

LMB_TEST_MAIN("distill/search", tcase_add_checked_fixture(tc_, setup, teardown); add(ops_are_measured_once);
              add(a_frozen_table_names_what_it_lacks); add(a_sketch_costs_what_the_model_costs);
              add(scores_are_differences_of_the_loss); add(a_dead_channel_goes_first); add(moves_gain_what_they_say);
              add(moves_to_fewer_bits); add(points_come_back_to_the_bit); add(a_damaged_journal_is_refused);
              add(the_front);)
