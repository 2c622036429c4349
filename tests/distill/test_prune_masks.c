/* Mirrors distill/prune/masks.c: the schedule's shares, the least weights by hand, zeros that stay through every step,
 * a run that was stopped anywhere and goes on from its state alone: the same bits; and none that ends before its
 * schedule. */
#include "distill/prune/masks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "distill/prune/channels.h"
#include "distill/prune/pattern.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"

static lmb_error err;
static lmb_dataset *data;
static lmb_graph *model;

static void set_up(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    data = dataset_of("{name: synthetic, train: 300, classes: 4, height: 8, width: 8, noise: 0.4}", LMB_PART_TRAIN);
    model = model_of("{name: vgg, channels: [8, 0, 12]}", data, 5);
}

static void tear_down(void)
{
    lmb_dataset_destroy(data);
    lmb_graph_destroy(model);
}

/* A model of two weights, [2, 3] and [4, 1], and a bias; its state in the hand. */
typedef struct tiny { lmb_graph *g; lmb_state_layout *l; lmb_trainer_state s; float state[14], ema[14]; } tiny;

static void make_tiny(tiny *t)
{
    static const float start[14] = { 3, -1, 2, -6, 5, 4, /* bias */ 0.1f, 0, -0.2f, 0.3f, /* second */ 0.5f, -0.25f,
        10, -0.25f };
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(&t->g, &err));
    lmb_builder b = lmb_builder_of(t->g, &err);
    lmb_emit_value(&b, LMB_ROLE_PARAMETER, "first", LMB_F32, LMB_SHAPE(2, 3), NULL);
    lmb_vid bias = lmb_emit_value(&b, LMB_ROLE_PARAMETER, "bias", LMB_F32, LMB_SHAPE(4), NULL);
    lmb_emit_value(&b, LMB_ROLE_PARAMETER, "second", LMB_F32, LMB_SHAPE(4, 1), NULL);
    ck_ok(lmb_builder_status(&b));
    t->g->value[bias].decay = 0;
    ck_ok(lmb_state_layout_create(t->g, &t->l, &err));
    memcpy(t->state, start, sizeof start);
    memcpy(t->ema, start, sizeof start);
    t->s = (lmb_trainer_state){ .layout = t->l, .state = t->state, .ema = t->ema, .best_accuracy = 0.5 };
}

static void drop_tiny(tiny *t)
{
    lmb_state_layout_destroy(t->l);
    lmb_graph_destroy(t->g);
}

static int zeros(const float *w, int lo, int hi)
{
    int n = 0;
    for (int i = lo; i < hi; i++)
        n += w[i] == 0;
    return n;
}

START_TEST(the_least_go)
{
    const lmb_prune_magnitude
        layer = { .sparsity = 0.5, .initial = 0.5, .every = 1, .end = 1, .scope = LMB_SCOPE_LAYER },
        global = { .sparsity = 0.5, .initial = 0.5, .every = 1, .end = 1, .scope = LMB_SCOPE_GLOBAL };
    const float by_layer[14] = { 0, 0, 0, -6, 5, 4, 0.1f, 0, -0.2f, 0.3f, 0.5f, 0, 10, 0 };
    const float by_all[14] = { 3, 0, 0, -6, 5, 4, 0.1f, 0, -0.2f, 0.3f, 0, 0, 10, 0 };
    lmb_masks *m;
    tiny t;

    make_tiny(&t);
    ck_ok(lmb_masks_create(&layer, t.g, 1, 10, &m, &err));
    lmb_masks_apply(m, &t.s);
    ck_assert_mem_eq(t.state, by_layer, sizeof by_layer);
    ck_assert_mem_eq(t.ema, by_layer, sizeof by_layer);
    ck_assert(t.s.best_accuracy < 0); /* what was best was less sparse */
    t.s.best_accuracy = 0.6;
    lmb_masks_apply(m, &t.s);
    ck_assert(t.s.best_accuracy > 0);
    lmb_masks_destroy(m);
    drop_tiny(&t);

    make_tiny(&t);
    ck_ok(lmb_masks_create(&global, t.g, 1, 10, &m, &err));
    lmb_masks_apply(m, &t.s);
    ck_assert_mem_eq(t.state, by_all, sizeof by_all);
    lmb_masks_destroy(m);
    drop_tiny(&t);

    make_tiny(&t); /* of equal ones the first: -0.25 goes before -0.25 */
    const lmb_prune_magnitude one = {
        .sparsity = 0.1, .initial = 0.1, .every = 1, .end = 1, .scope = LMB_SCOPE_GLOBAL
    };
    ck_ok(lmb_masks_create(&one, t.g, 1, 10, &m, &err));
    lmb_masks_apply(m, &t.s);
    ck_assert(t.state[11] == 0 && t.state[13] != 0);
    lmb_masks_destroy(m);
    drop_tiny(&t);
}
END_TEST

/* Conv [2, 5, 1, 2] by 2:4: rows along the inputs for each place of the kernel, the fifth input is left whole. By hand.
 */
START_TEST(two_of_four)
{
    float w[20] = { 1, 8, -2, 7, 3, -6, 4, 5, 9, 1,    0.5f, 1, 0.5f, 2, 0.5f, -3, 0.5f, 0, 0.1f, 0.1f };
    const float half[20] = { 0, 8, 0, 7, 3, 0, 4, 0, 9, 1,    0, 0, 0, 2, 0.5f, -3, 0.5f, 0, 0.1f, 0.1f };
    const lmb_shape s = LMB_SHAPE(2, 5, 1, 2);
    lmb_pattern p;
    int64_t rows, over;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_pattern_parse("2:4", &p, &err));
    lmb_pattern_count(w, &s, 1, p, &rows, &over);
    ck_assert_int_eq(rows, 4);
    ck_assert_int_eq(over, 4);
    ck_assert(lmb_pattern_prune(w, &s, 1, 4, 2));
    ck_assert_mem_eq(w, half, sizeof w);
    ck_assert(!lmb_pattern_prune(w, &s, 1, 4, 2));
    lmb_pattern_count(w, &s, 1, p, &rows, &over);
    ck_assert_int_eq(over, 0);
    static const char *const bad[] = { "4:4", "0:4", "2:33", "2", "2:4x", "a:b", "22222:44444" };
    for (int i = 0; i < LMB_COUNT(bad); i++) {
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_pattern_parse(bad[i], &p, &err), LMB_E_ARG);
    }
}
END_TEST

/* Over a schedule: one zero in each row at first, two in the end; the layers that a pattern fits, and no others. */
START_TEST(a_pattern_grows)
{
    const lmb_prune_magnitude c = { .initial = 0.25, .every = 5, .end = 1, .pattern = "2:4" };
    lmb_state_layout *l;
    lmb_masks *m;

    set_up();
    lmb_graph *g = model;
    ck_ok(lmb_state_layout_create(g, &l, &err));
    float *state = malloc(sizeof *state * l->count);
    lmb_state_from_graph(l, g, state);
    lmb_trainer_state s = { .layout = l, .state = state };
    ck_ok(lmb_masks_create(&c, g, 2, 10, &m, &err));
    int seen = 0;
    for (s.step = 0; s.step <= 10; s.step += 10) {
        lmb_masks_apply(m, &s);
        for (int i = 0; i < l->n; i++) {
            int64_t rows, over = 0;
            const lmb_segment *x = &l->segment[i];
            int axis = x->shape.n < 2 ? -1 : lmb_pattern_axis(g, x->value);
            if (axis < 0 || x->shape.d[axis] < 4)
                continue;
            lmb_pattern_count(state + x->offset, &x->shape, axis, (lmb_pattern){ s.step ? 2 : 3, 4 }, &rows, &over);
            ck_assert_int_eq(over, 0);
            lmb_pattern_count(state + x->offset, &x->shape, axis, (lmb_pattern){ s.step ? 1 : 2, 4 }, &rows, &over);
            ck_assert_int_eq(over, rows); /* and no more */
            seen++;
        }
    }
    ck_assert_int_eq(seen, 2 * 2); /* the second convolution and the head */
    lmb_masks_destroy(m);
    lmb_state_layout_destroy(l);
    free(state);
    tear_down();
}
END_TEST

/* Zhu and Gupta 2017, equation 1, from 0 to 0.8 in 10 steps: at half time 0.8 - 0.8 / 8 = 0.7. */
START_TEST(the_share_rises_with_the_cube)
{
    const lmb_prune_magnitude c = {
        .sparsity = 0.8, .initial = 0, .begin = 1, .end = 3, .every = 5, .scope = LMB_SCOPE_GLOBAL
    };
    lmb_graph *g;
    lmb_state_layout *l;
    lmb_masks *m;
    enum { N = 1000 };
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_emit_value(&b, LMB_ROLE_PARAMETER, "w", LMB_F32, LMB_SHAPE(10, 100), NULL);
    ck_ok(lmb_builder_status(&b));
    ck_ok(lmb_state_layout_create(g, &l, &err));
    float w[N];
    for (int i = 0; i < N; i++)
        w[i] = (i % 2 ? 1e-3f : -1e-3f) * (float)((i * 7919) % N + 1);
    lmb_trainer_state s = { .layout = l, .state = w };
    ck_ok(lmb_masks_create(&c, g, 4, 5, &m, &err));
    for (s.step = 0; s.step <= 20; s.step++) {
        int want = s.step < 10 ? 0 : s.step < 15 ? 700 : 800;
        if (s.step > 10) /* an optimizer that moves everything */
            for (int i = 0; i < N; i++)
                w[i] += w[i] == 0 ? 5.0f : 1e-6f;
        lmb_masks_apply(m, &s);
        ck_assert_msg(zeros(w, 0, N) == want, "step %d: %d zeros, not %d", (int)s.step, zeros(w, 0, N), want);
    }
    lmb_masks_destroy(m);
    lmb_state_layout_destroy(l);
    lmb_graph_destroy(g);
}
END_TEST

START_TEST(a_schedule_that_does_not_fit_is_refused)
{
    const lmb_prune_magnitude late = { .sparsity = 0.5, .end = 3, .every = 1 },
                              falling = { .sparsity = 0.5, .initial = 0.6, .every = 1 };
    lmb_masks *m;
    set_up();
    ck_assert_int_eq(lmb_masks_create(&late, model, 2, 10, &m, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "2 epochs"));
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_masks_create(&falling, model, 2, 10, &m, &err), LMB_E_ARG);
    tear_down();
}
END_TEST

/* ---- in a training ---- */

enum { EPOCHS = 4, BATCHES = 5 };
static const lmb_prune_magnitude schedule = {
    .sparsity = 0.75, .initial = 0.1, .begin = 0.4, .end = 3, .every = 3, .scope = LMB_SCOPE_LAYER
};

typedef struct hand { lmb_masks *m; int64_t stop; bool *was; const lmb_prune_magnitude *c; } hand;

/* Zeros of the step before are zeros still. */
static lmb_status stepped(void *ctx, lmb_trainer *t, lmb_error *e)
{
    hand *h = ctx;
    const lmb_trainer_state *s = lmb_trainer_state_of(t);
    LMB_TRY(lmb_masks_stepped(h->m, t, e));
    for (int i = 0; i < s->layout->n && h->was; i++) {
        const lmb_segment *g = &s->layout->segment[i];
        if (g->role != LMB_ROLE_PARAMETER || g->shape.n < 2)
            continue;
        for (size_t k = g->offset; k < g->offset + g->count; k++) {
            ck_assert(!h->was[k] || (s->state[k] == 0 && s->ema[k] == 0));
            h->was[k] = s->state[k] == 0;
        }
    }
    return s->step == h->stop ? LMB_FAIL(e, LMB_E_STOPPED, "as asked") : LMB_OK;
}

static const char settings[] =
    "{epochs: 4, batch: 64, lr: 0.05, threads: %d, ema: 0.9, shard: 16, optimizer: {name: sgd, momentum: 0.9, "
    "weight_decay: 1.0e-3}}";

static lmb_trainer *trainer(int threads, lmb_train_config *o, lmb_config **text, const lmb_loss *loss)
{
    char line[300];
    lmb_trainer *t;
    snprintf(line, sizeof line, settings, threads);
    *text = config_of(line);
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(*text), o, &err));
    ck_ok(lmb_trainer_create(o, model, loss, data, NULL, NULL, &t, &err));
    return t;
}

/* Train with a break after each of `stops` (ends with 0): a new trainer and new masks, given what a checkpoint
 * holds. */
static float *train(int threads, const int64_t *stops, size_t *n, bool *was)
{
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_config o;
    lmb_config *text;
    lmb_trainer *t = trainer(threads, &o, &text, &loss);

    for (;; stops++) {
        lmb_trainer_state *s = lmb_trainer_state_of(t);
        hand h = { .stop = *stops, .was = was };
        lmb_train_watch watch = { .stepped = stepped, .ctx = &h };
        ck_ok(lmb_masks_create(&schedule, model, EPOCHS, BATCHES, &h.m, &err));
        lmb_masks_apply(h.m, s);
        lmb_status st = lmb_trainer_run(t, &watch, &err);
        lmb_masks_destroy(h.m);
        if (!*stops) {
            ck_ok(st);
            break;
        }
        ck_assert_int_eq(st, LMB_E_STOPPED);
        err = (lmb_error)LMB_ERROR_INIT;
        lmb_config *other;
        lmb_train_config p;
        lmb_trainer *next = trainer(threads, &p, &other, &loss);
        lmb_trainer_state *to = lmb_trainer_state_of(next);
        size_t bytes = s->layout->count * sizeof *s->state;
        memcpy(to->state, s->state, bytes);
        memcpy(to->ema, s->ema, bytes);
        for (int k = 0; k < s->n_slots; k++)
            memcpy(to->slot[k], s->slot[k], bytes);
        to->step = s->step;
        to->epoch = s->step / BATCHES; /* the hand stops before the cursor moves on */
        to->batch = s->step % BATCHES;
        to->best_accuracy = s->best_accuracy;
        lmb_trainer_destroy(t);
        lmb_config_destroy(text);
        t = next;
        text = other;
    }
    const lmb_trainer_state *s = lmb_trainer_state_of(t);
    *n = s->layout->count;
    float *w = malloc(2 * *n * sizeof *w);
    memcpy(w, s->state, *n * sizeof *w);
    memcpy(w + *n, s->ema, *n * sizeof *w);
    ck_ok(lmb_state_to_graph(s->layout, s->state, model, &err));
    lmb_trainer_destroy(t);
    lmb_config_destroy(text);
    return w;
}

START_TEST(zeros_stay_and_the_target_is_met)
{
    const int64_t never[] = { 0 };
    size_t n;
    bool was[4096] = { 0 };
    set_up();
    free(train(1, never, &n, was));
    ck_assert_uint_le(n, 4096);
    ck_assert_double_eq_tol(lmb_masks_sparsity(model), 0.75, 0.005);
    for (int v = 0; v < model->n_values; v++) /* layer by layer */
        if (model->value[v].role == LMB_ROLE_PARAMETER && model->value[v].shape.n >= 2) {
            int count = (int)lmb_shape_count(&model->value[v].shape);
            ck_assert_int_eq(zeros(model->value[v].data, 0, count), lround(0.75 * count));
        }
    /* hold: more training takes nothing away and gives nothing back */
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_config o;
    lmb_config *text;
    lmb_trainer *t = trainer(1, &o, &text, &loss);
    hand h = { .was = was };
    lmb_train_watch watch = { .stepped = stepped, .ctx = &h };
    ck_ok(lmb_masks_create(NULL, model, EPOCHS, BATCHES, &h.m, &err));
    lmb_masks_apply(h.m, lmb_trainer_state_of(t));
    ck_ok(lmb_trainer_run(t, &watch, &err));
    ck_ok(lmb_state_to_graph(lmb_trainer_state_of(t)->layout, lmb_trainer_state_of(t)->ema, model, &err));
    ck_assert_double_eq_tol(lmb_masks_sparsity(model), 0.75, 0.005);
    lmb_masks_destroy(h.m);
    lmb_trainer_destroy(t);
    lmb_config_destroy(text);
    tear_down();
}
END_TEST

START_TEST(gone_on_and_on_more_threads_is_the_same_run)
{
    const int64_t never[] = { 0 }, often[] = { 1, 2, 3, 7, 8, 14, 15, 16, 19, 0 };
    size_t n;
    set_up();
    float *whole = train(1, never, &n, NULL);
    tear_down();
    set_up();
    float *broken = train(1, often, &n, NULL);
    ck_assert_mem_eq(whole, broken, 2 * n * sizeof *whole);
    tear_down();
    set_up();
    float *wide = train(4, never, &n, NULL);
    ck_assert_mem_eq(whole, wide, 2 * n * sizeof *whole);
    tear_down();
    free(whole);
    free(broken);
    free(wide);
}
END_TEST

/* Patience that is spent and an accuracy that is reached at once end a training after its schedule, and at once then;
 * what was trained is as sparse as asked for, and one that ended before says so. */
START_TEST(no_training_ends_before_its_schedule)
{
    static const char *const early[] = { "target_accuracy: 0.01", "patience: 1" };
    const lmb_prune_magnitude kinds[] = {
        { .sparsity = 0.75, .end = 3, .every = 100, .scope = LMB_SCOPE_LAYER },
        { .sparsity = 0.75, .end = 3, .every = 100, .scope = LMB_SCOPE_GLOBAL },
        { .end = 3, .every = 100, .pattern = "2:4" },
    };
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };

    for (int i = 0; i < LMB_COUNT(kinds) * LMB_COUNT(early); i++) {
        const lmb_prune_magnitude *c = &kinds[i / 2];
        char text[160];
        lmb_train_config o;
        lmb_trainer *t;
        hand h = { .c = c };
        set_up();
        snprintf(text, sizeof text, "{epochs: 9, batch: 64, lr: 1.0e-12, threads: 1, %s}", early[i % 2]);
        lmb_config *config = config_of(text);
        ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(config), &o, &err));
        for (int whole = 0; whole < 2; whole++) { /* without the schedule's steps it is as it would be by itself */
            ck_ok(lmb_trainer_create(&o, model, &loss, data, data, NULL, &t, &err));
            ck_ok(lmb_masks_create(c, model, o.epochs, BATCHES, &h.m, &err));
            ck_assert_int_eq(lmb_masks_end(h.m), 3 * BATCHES);
            lmb_train_watch watch = { .stepped = stepped, .ctx = &h, .least_steps = whole ? lmb_masks_end(h.m) : 0 };
            lmb_masks_apply(h.m, lmb_trainer_state_of(t));
            ck_ok(lmb_trainer_run(t, &watch, &err));
            int64_t steps = lmb_trainer_state_of(t)->step;
            ck_ok(lmb_trainer_store(t, model, &err));
            if (whole) {
                ck_assert_int_ge(steps, 3 * BATCHES);
                ck_assert_int_le(steps, 6 * BATCHES);
                ck_ok(lmb_masks_check(c, model, &err));
            } else {
                ck_assert_int_lt(steps, 3 * BATCHES);
                ck_assert_int_eq(lmb_masks_check(c, model, &err), LMB_E_ARG);
                ck_assert_ptr_nonnull(strstr(err.msg, "ended before the schedule did"));
                err = (lmb_error)LMB_ERROR_INIT;
            }
            lmb_masks_destroy(h.m);
            lmb_trainer_destroy(t);
        }
        lmb_config_destroy(config);
        tear_down();
    }
}
END_TEST

START_TEST(a_pattern_without_rows_is_refused)
{
    const lmb_prune_magnitude wide = { .every = 1, .pattern = "1:32" };
    lmb_masks *m;
    set_up();
    ck_assert_int_eq(lmb_masks_create(&wide, model, 2, 10, &m, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "no layer of the model has 32 inputs"));
    tear_down();
}
END_TEST

/* What came sparse stays so, and nothing else is held: dense tensors with a zero, selections of channels, and layers
 * that are zero altogether. A model just made has nothing to hold. */
START_TEST(zeros_that_came_are_held)
{
    static const struct {
        const char *name;
        float w[8];
        bool held;
    } rows[] = {
        { "sparse", { 1, 0, 0, 2, 0, 0, 0, 3 }, true },    { "half", { 1, 0, 0, 2, 0, 3, 0, 4 }, true },
        { "dense", { 1, 0, 0, 2, 5, 3, 0, 4 }, false },    { "selection", { 0, 1, 0, 0, 0, 0, 1, 0 }, false },
        { "nothing", { 0, 0, 0, 0, 0, 0, 0, 0 }, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const lmb_shape shape = LMB_SHAPE(2, 4);
        lmb_state_layout *l;
        lmb_graph *g;
        lmb_masks *m;
        double share;
        lmb_vid v;
        float state[8], ema[8];

        err = (lmb_error)LMB_ERROR_INIT;
        ck_ok(lmb_graph_create(&g, &err));
        ck_ok(lmb_graph_value(g, LMB_ROLE_PARAMETER, "w", LMB_F32, &shape, rows[i].w, &v, &err));
        ck_ok(lmb_masks_hold(g, &m, &share, &err));
        ck_assert_msg((m != NULL) == rows[i].held && (share > 0) == rows[i].held, "%s", rows[i].name);
        ck_ok(lmb_state_layout_create(g, &l, &err));
        lmb_trainer_state s = { .layout = l, .state = state, .ema = ema };
        memcpy(state, rows[i].w, sizeof state);
        if (m)
            lmb_masks_apply(m, &s);
        for (int k = 0; k < 8; k++) /* a step */
            state[k] = ema[k] = rows[i].w[k] + 0.5f;
        if (m)
            lmb_masks_apply(m, &s);
        for (int k = 0; k < 8 && m; k++)
            ck_assert((state[k] == 0) == (rows[i].w[k] == 0) && (ema[k] == 0) == (rows[i].w[k] == 0));
        lmb_masks_destroy(m);
        lmb_state_layout_destroy(l);
        lmb_graph_destroy(g);
    }
    lmb_masks *m;
    set_up();
    ck_ok(lmb_masks_hold(model, &m, NULL, &err));
    ck_assert_ptr_null(m);
    tear_down();
}
END_TEST

/* A pattern that takes less than half is one too, zeros that fell by chance are none; and what is sparse somewhere keeps
 * all its zeros. */
START_TEST(a_pattern_that_came_is_held)
{
    lmb_masks *m;
    double share;

    set_up();
    lmb_vid second = LMB_NONE, last = LMB_NONE;
    uint32_t dice = 1;
    for (int v = 0; v < model->n_values; v++)
        if (model->value[v].role == LMB_ROLE_PARAMETER && model->value[v].shape.n >= 2)
            *(model->value[v].shape.d[1] == 8 ? &second : &last) = v; /* [12, 8, 3, 3]; [4, 12] comes after it */
    ck_assert(second != LMB_NONE && last != LMB_NONE);
    size_t n = (size_t)lmb_shape_count(&model->value[second].shape),
           k = (size_t)lmb_shape_count(&model->value[last].shape);
    float *w = malloc(n * sizeof *w), *head = malloc(k * sizeof *head);
    for (int pattern = 0; pattern < 2; pattern++) {
        for (size_t i = 0; i < n; i++)
            w[i] = pattern || (dice = dice * 1664525u + 1013904223u) >> 30 ? 1 + (float)i : 0; /* a quarter, anywhere */
        if (pattern)
            lmb_pattern_prune(w, &model->value[second].shape, 1, 4, 1);
        for (size_t i = 0; i < k; i++)
            head[i] = i % 10 ? 1 : 0;
        ck_ok(lmb_graph_set_data(model, second, w, &err));
        ck_ok(lmb_graph_set_data(model, last, head, &err));
        ck_ok(lmb_masks_hold(model, &m, &share, &err));
        ck_assert_int_eq(m != NULL, pattern);
        if (!m)
            continue;
        lmb_state_layout *l;
        ck_ok(lmb_state_layout_create(model, &l, &err));
        float *state = malloc(l->count * sizeof *state);
        lmb_trainer_state s = { .layout = l, .state = state };
        for (int i = 0; i < l->n; i++)
            memcpy(state + l->segment[i].offset, model->value[l->segment[i].value].data,
                   l->segment[i].count * sizeof *state);
        lmb_masks_apply(m, &s);
        for (size_t i = 0; i < l->count; i++)
            state[i] = 7;
        lmb_masks_apply(m, &s);
        size_t zero = 0;
        for (size_t i = 0; i < l->count; i++)
            zero += state[i] == 0;
        ck_assert_uint_eq(zero, n / 4 + (k + 9) / 10);
        free(state);
        lmb_state_layout_destroy(l);
        lmb_masks_destroy(m);
    }
    free(w);
    free(head);
    tear_down();
}
END_TEST

LMB_TEST_MAIN("distill/prune_masks", add(a_pattern_that_came_is_held); add(the_least_go); add(the_share_rises_with_the_cube); add(two_of_four);
              add(zeros_that_came_are_held); add(a_pattern_grows); add(a_schedule_that_does_not_fit_is_refused); add(zeros_stay_and_the_target_is_met);
              add(gone_on_and_on_more_threads_is_the_same_run); add(no_training_ends_before_its_schedule);
              add(a_pattern_without_rows_is_refused);)
