/* Mirrors distill/search/taylor.c and moves.c: Taylor scores against differences of the loss; moves that do and gain
 * what they say.
 */
#include <math.h>

#include "core/cpu/cpu.h"
#include "distill/search/deployed.h"
#include "distill/search/moves.h"
#include "tests/distill/search.h"
#include "train/loss.h"
#include "train/program.h"

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
    ck_ok(lmb_latency_open(path, false, NULL, &latency, &err));
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

/* Where a free move leaves a little to go, the second is one that gains that little, though another, which gains much
 * more, loses less for each MAC. */
static void no_more_than_is_wanted(lmb_moves *m, lmb_latency *latency, int *which)
{
    int pick[3], n_pick = 0, n;
    double cost[LMB_COSTS];
    lmb_graph *after;

    for (int class = 0; class < m->map->n_classes && n_pick < 3; class++)
        for (int i = 0; i < m->n; i++)
            if (m->move[i].kind == LMB_MOVE_SHRINK && m->move[i].class == class) {
                pick[n_pick++] = i; /* its first: the least that can be taken */
                break;
            }
    ck_assert_int_eq(n_pick, 3);
    for (int i = 0; i < m->n; i++)
        m->move[i].loss = 1e6 * m->move[i].gain[LMB_GOAL_MACS];
    int free_one = pick[0], little = pick[1], much = pick[2];
    double *a = &m->move[little].gain[LMB_GOAL_MACS], *b = &m->move[much].gain[LMB_GOAL_MACS];
    if (*a > *b) {
        little = pick[2];
        much = pick[1];
        double *other = a;
        a = b;
        b = other;
    }
    ck_assert_double_gt(*b, 1.2 * *a);
    m->move[free_one].loss = 0;
    m->move[little].loss = *a;
    m->move[much].loss = 0.9 * *b;
    double step = (m->move[free_one].gain[LMB_GOAL_MACS] + *a) / m->cost[LMB_GOAL_MACS];
    ck_assert_double_gt(step * m->cost[LMB_GOAL_MACS], *b); /* or it would not be looked at */
    ck_ok(lmb_moves_choose(m, LMB_GOAL_MACS, step, NULL, NULL, latency, which, &n, cost, &after, &err));
    ck_assert_int_ge(n, 2);
    ck_assert_int_eq(which[0], free_one);
    ck_assert_int_eq(which[1], little);
    lmb_graph_destroy(after);
}

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

    ck_ok(lmb_latency_open(path, false, NULL, &latency, &err));
    ck_ok(lmb_taylor_create(g, data, &tc, &t, &err));
    ck_ok(lmb_moves_find(g, &mc, t, latency, &m, &err));
    for (int i = 0; i < m.n; i++) {
        const lmb_move *x = &m.move[i];
        lmb_deployed d;
        ck_ok(lmb_moves_apply(&m, &i, 1, &after, &err));
        ck_ok(lmb_deployed_sketch(after, NULL, &d, &err));
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
    ck_ok(lmb_moves_choose(&m, LMB_GOAL_MACS, 0.2, NULL, NULL, latency, which, &n, cost, &after, &err));
    ck_assert_int_ge(n, 1);
    ck_assert_double_le(cost[LMB_GOAL_MACS], 0.9 * m.cost[LMB_GOAL_MACS]);
    /* half was enough: no large move was needed */
    for (int i = 0; i < n && cost[LMB_GOAL_MACS] > 0.8 * m.cost[LMB_GOAL_MACS]; i++)
        ck_assert_double_le(m.move[which[i]].gain[LMB_GOAL_MACS], 0.2 * m.cost[LMB_GOAL_MACS]);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            ck_assert(m.move[which[i]].kind != m.move[which[k]].kind ||
                      strcmp(m.move[which[i]].what, m.move[which[k]].what) != 0);
    lmb_graph_destroy(after);
    int first = which[0];
    for (int i = 0; i < m.n; i++)
        weight[i] = strcmp(m.move[i].what, m.move[first].what) == 0 ? 1e6 : 1;
    ck_ok(lmb_moves_choose(&m, LMB_GOAL_MACS, 0.05, weight, NULL, latency, which, &n, cost, &after, &err));
    ck_assert_int_ge(n, 1);
    for (int i = 0; i < n; i++)
        ck_assert_str_ne(m.move[which[i]].what, m.move[first].what);
    lmb_graph_destroy(after);
    /* a share of the file's bytes counts for ten of MACs: another move comes first */
    const double exchange[LMB_COSTS] = { [LMB_GOAL_BYTES] = 10 }, mac = m.cost[LMB_GOAL_MACS];
    int best = -1, alone = -1;
    double most = 0, most_alone = 0;
    for (int i = 0; i < m.n; i++) {
        const double *gain = m.move[i].gain, part = gain[LMB_GOAL_MACS] / mac,
                     both = part + 10 * gain[LMB_GOAL_BYTES] / m.cost[LMB_GOAL_BYTES];
        m.move[i].loss = 1; /* what is lost is not the question */
        if (part > 0 && part <= 0.2 && both > most) {
            most = both;
            best = i;
        }
        if (part > 0 && part <= 0.2 && part > most_alone) {
            most_alone = part;
            alone = i;
        }
    }
    ck_assert_int_ne(best, alone);
    ck_ok(lmb_moves_choose(&m, LMB_GOAL_MACS, 0.2, NULL, NULL, latency, which, &n, cost, &after, &err));
    ck_assert_int_eq(alone, which[0]);
    lmb_graph_destroy(after);
    ck_ok(lmb_moves_choose(&m, LMB_GOAL_MACS, 0.2, NULL, exchange, latency, which, &n, cost, &after, &err));
    ck_assert_double_le(cost[LMB_GOAL_MACS], 0.9 * mac);
    ck_assert_int_eq(best, which[0]);
    lmb_graph_destroy(after);
    no_more_than_is_wanted(&m, latency, which);
    free(which);
    free(weight);
    lmb_moves_free(&m);
    lmb_taylor_destroy(t);
    lmb_latency_close(latency);
    lmb_graph_destroy(g);
    lmb_dataset_destroy(data);
}
END_TEST

/* A block: all of its arithmetic, and nothing in it is made thinner by the same batch. */
START_TEST(moves_of_blocks)
{
    lmb_graph *after;
    found f;
    int n, blocks = 0;
    double cost[LMB_COSTS];

    find_moves(&f, make("{name: resnet, depth: 14, width: 8}"), 128, (lmb_taylor_config){ 2, 64, 1, "cpu" },
               (lmb_moves_config){ 4, 4, { true, true, [LMB_MOVE_BLOCK] = true }, 8 });
    for (int i = 0; i < f.m.n; i++) {
        bool inside = strncmp(f.m.move[i].what, "stage1.1.", 9) == 0;
        blocks += f.m.move[i].kind == LMB_MOVE_BLOCK;
        if (f.m.move[i].kind == LMB_MOVE_BLOCK && inside) /* two convolutions of 8 to 8 channels, 3x3, of 8 x 8 pixels */
            ck_assert_double_eq(f.m.move[i].gain[LMB_GOAL_MACS], 2 * 8 * 8 * 9 * 64);
        ck_assert_double_gt(f.m.move[i].loss, 0);
        f.m.move[i].loss *= inside && f.m.move[i].kind == LMB_MOVE_BLOCK ? 1e-9 : inside ? 1e-6 : 1;
    }
    ck_assert_int_eq(blocks, 4);
    int *which = malloc(sizeof *which * (size_t)f.m.n), with_block = 0;
    for (double step = 0.1; step < 0.7; step += 0.1) {
        ck_ok(lmb_moves_choose(&f.m, LMB_GOAL_MACS, step, NULL, NULL, f.latency, which, &n, cost, &after, &err));
        lmb_deployed d;
        ck_ok(lmb_deployed_sketch(after, NULL, &d, &err));
        ck_assert_double_eq((double)lmb_edge_macs(&d.model), cost[LMB_GOAL_MACS]);
        lmb_deployed_free(&d);
        bool goes = false, thinner = false;
        for (int i = 0; i < n; i++) {
            const lmb_move *x = &f.m.move[which[i]];
            goes |= x->kind == LMB_MOVE_BLOCK && strncmp(x->what, "stage1.1.", 9) == 0;
            thinner |= x->kind != LMB_MOVE_BLOCK && strncmp(x->what, "stage1.1.", 9) == 0;
        }
        ck_assert(!goes || !thinner);
        with_block += goes;
        lmb_graph_destroy(after);
    }
    ck_assert_int_gt(with_block, 0);
    free(which);
    forget_moves(&f);
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
    ck_ok(lmb_latency_open(path, false, NULL, &latency, &err));
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
        ck_ok(lmb_deployed_sketch(after, NULL, &d, &err));
        ck_assert(x->loss > 0 && x->gain[LMB_GOAL_MACS] == 0 && x->gain[LMB_GOAL_BYTES] > 0);
        ck_assert_double_eq_tol(m.cost[LMB_GOAL_BYTES] - (double)d.file.n, x->gain[LMB_GOAL_BYTES], 0.5);
        lmb_deployed_free(&d);
        lmb_graph_destroy(after);
    }
    ck_assert_int_eq(bits, 1 + 2 * 9); /* ten layers: a stem, two convolutions a block, two shortcuts, a head */
    int *which = malloc(sizeof *which * (size_t)m.n);
    ck_ok(lmb_moves_choose(&m, LMB_GOAL_BYTES, 0.3, NULL, NULL, latency, which, &n, cost, &after, &err));
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

LMB_TEST_MAIN("distill/search", tcase_add_checked_fixture(tc_, setup, teardown);
              add(scores_are_differences_of_the_loss); add(a_dead_channel_goes_first); add(moves_gain_what_they_say);
              add(moves_of_blocks); add(moves_to_fewer_bits);)
