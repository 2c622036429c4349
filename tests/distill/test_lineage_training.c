/* Mirrors distill/prune/lineage.c and carry.c in a training: a model is cut in the middle of it, weights, running
 * statistics and the optimizer's slots go along the lineage, and the smaller one learns on as the whole one does with
 * the same channels held at zero; also as a training of its own, whose schedule begins anew. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "distill/prune/carry.h"
#include "distill/prune/channels.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/trainer.h"

static lmb_error err;
static const char *const optimizers[] = { "{name: sgd, momentum: 0.9}", "{name: adam}", "{name: rmsprop}" };

/* Where a training stood after its first epoch, and in the end. */
typedef struct stand { float *state, *slot[LMB_MAX_SLOTS]; int64_t epoch, batch, step; } stand;

typedef struct hand {
    const bool *lost;    /* [count] held at zero; NULL: none */
    stand middle, end;
    lmb_carry *into;     /* taken after the first epoch; NULL: not */
    const lmb_graph *g;
} hand;

static void note(const lmb_trainer_state *s, stand *at)
{
    size_t bytes = sizeof *s->state * s->layout->count;
    *at = (stand){ .state = malloc(bytes), .epoch = s->epoch, .batch = s->batch, .step = s->step };
    memcpy(at->state, s->state, bytes);
    for (int i = 0; i < s->n_slots; i++) {
        at->slot[i] = malloc(bytes);
        memcpy(at->slot[i], s->slot[i], bytes);
    }
}

static void drop(stand *at)
{
    free(at->state);
    for (int i = 0; i < LMB_MAX_SLOTS; i++)
        free(at->slot[i]);
}

static void hold(const hand *h, lmb_trainer_state *s)
{
    for (size_t i = 0; i < s->layout->count && h->lost; i++)
        if (h->lost[i])
            s->state[i] = 0;
}

static lmb_status stepped(void *ctx, lmb_trainer *t, lmb_error *e)
{
    (void)e;
    hold(ctx, lmb_trainer_state_of(t));
    return LMB_OK;
}

static lmb_status epoch_done(void *ctx, lmb_trainer *t, const lmb_epoch *at, lmb_error *e)
{
    hand *h = ctx;
    if (at->epoch == 0)
        note(lmb_trainer_state_of(t), &h->middle);
    return at->epoch == 0 && h->into ? lmb_carry_take(h->into, h->g, lmb_trainer_state_of(t), e) : LMB_OK;
}

/* Train two epochs, the second alone from where `from` stood before the cut. `carry` (may be NULL): with what the
 * optimizer remembers, as step 0 of another training. */
static void train(const char *optimizer, const lmb_graph *g, const lmb_dataset *data, const lmb_lineage *lineage,
                  const stand *from, bool slots, const lmb_carry *carry, hand *h)
{
    char text[300];
    lmb_train_config c;
    lmb_trainer *t;
    double none = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &none, NULL };

    snprintf(text, sizeof text, "{epochs: 2, batch: 60, lr: 0.005, threads: 1, shard: 20, optimizer: %s}", optimizer);
    lmb_config *config = config_of(text);
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(config), &c, &err));
    ck_ok(lmb_trainer_create(&c, g, &loss, data, NULL, NULL, &t, &err));
    lmb_trainer_state *s = lmb_trainer_state_of(t);
    if (from) {
        ck_assert_uint_eq(lineage->count, s->layout->count);
        lmb_lineage_carry(lineage, from->state, s->state);
        for (int i = 0; i < s->n_slots && slots; i++)
            lmb_lineage_carry(lineage, from->slot[i], s->slot[i]);
        s->epoch = from->epoch;
        s->batch = from->batch;
        s->step = carry ? 0 : from->step;
        if (carry)
            ck_ok(lmb_carry_give(carry, s, &err));
    }
    hold(h, s);
    lmb_train_watch watch = { .epoch = from ? NULL : epoch_done, .ctx = h, .stepped = stepped };
    ck_ok(lmb_trainer_run(t, &watch, &err));
    note(s, &h->end);
    lmb_trainer_destroy(t);
    lmb_config_destroy(config);
}

/* What makes a lost channel lies along axis 0 here; what reads one along it (the head) reads zeros. */
static bool *find_lost(const lmb_graph *g, const lmb_lineage *lineage)
{
    lmb_state_layout *l;
    ck_ok(lmb_state_layout_create(g, &l, &err));
    bool *lost = calloc(l->count, sizeof *lost);
    for (int i = 0; i < l->n; i++) {
        const lmb_segment *s = &l->segment[i];
        const lmb_kept *kept = &lineage->row[i].kept[0];
        if (s->role != LMB_ROLE_PARAMETER || kept->n < 0)
            continue;
        size_t each = s->count / (size_t)s->shape.d[0];
        memset(lost + s->offset, 1, s->count);
        for (int64_t k = 0; k < kept->n; k++)
            memset(lost + s->offset + (size_t)kept->index[k] * each, 0, each);
    }
    lmb_state_layout_destroy(l);
    return lost;
}

static double far_apart(const float *a, const float *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]) / (1 + fabs((double)a[i])));
    return most;
}

START_TEST(cut_in_the_middle_it_learns_on)
{
    const lmb_prune_channels c = { .criterion = "l2", .keep = 0.5, .min_channels = 2, .round_to = 1 };
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_dataset *data =
        dataset_of("{name: synthetic, train: 300, classes: 4, height: 8, width: 8, noise: 0.4}", LMB_PART_TRAIN);
    lmb_graph *g = model_of("{name: vgg, channels: [8, 0, 12]}", data, 5), *small;
    lmb_lineage *lineage;
    ck_ok(lmb_pass_prune_channels(g, &c, &small, &lineage, &err));
    bool *lost = find_lost(g, lineage);

    hand whole = { .lost = lost }, carried = { .lost = NULL }, bare = { .lost = NULL };
    train(optimizers[_i], g, data, NULL, NULL, false, NULL, &whole);
    train(optimizers[_i], small, data, lineage, &whole.middle, true, NULL, &carried);
    train(optimizers[_i], small, data, lineage, &whole.middle, false, NULL, &bare);
    float *want = malloc(sizeof *want * lineage->count);
    lmb_lineage_carry(lineage, whole.end.state, want);
    double with = far_apart(want, carried.end.state, lineage->count),
           without = far_apart(want, bare.end.state, lineage->count);
    ck_assert_msg(with < 2e-4, "%s: %g apart", optimizers[_i], with);
    ck_assert_msg(without > 10 * with && without > 1e-3, "%s: the slots do not matter: %g apart with, %g without",
                  optimizers[_i], with, without);
    for (int i = 0; i < LMB_MAX_SLOTS; i++)
        if (whole.end.slot[i]) {
            lmb_lineage_carry(lineage, whole.end.slot[i], want);
            ck_assert_double_lt(far_apart(want, carried.end.slot[i], lineage->count), 1e-3);
        }

    free(want);
    free(lost);
    drop(&whole.middle);
    drop(&whole.end);
    drop(&carried.end);
    drop(&bare.end);
    lmb_lineage_destroy(lineage);
    lmb_graph_destroy(g);
    lmb_graph_destroy(small);
    lmb_dataset_destroy(data);
}
END_TEST

static void drop_hand(hand *h)
{
    drop(&h->middle);
    drop(&h->end);
}

/* The second training counts its steps from 0, the optimizer goes on: it ends in the bits of the one that was carried
 * on as a whole. With another optimizer it begins anew. */
START_TEST(another_training_goes_on)
{
    const lmb_prune_channels c = { .criterion = "l2", .keep = 0.5, .min_channels = 2, .round_to = 1 };
    int n = (int)(sizeof optimizers / sizeof optimizers[0]);
    err = (lmb_error)LMB_ERROR_INIT;
    lmb_carry carry = { 0 };
    lmb_lineage *lineage;
    lmb_dataset *data =
        dataset_of("{name: synthetic, train: 300, classes: 4, height: 8, width: 8, noise: 0.4}", LMB_PART_TRAIN);
    lmb_graph *g = model_of("{name: vgg, channels: [8, 0, 12]}", data, 5), *small;
    ck_ok(lmb_pass_prune_channels(g, &c, &small, &lineage, &err));

    hand whole = { .into = &carry, .g = g }, one = { 0 }, other = { 0 }, bare = { 0 }, strange = { 0 };
    train(optimizers[_i], g, data, NULL, NULL, false, NULL, &whole);
    ck_assert_int_eq(carry.steps, 5);
    ck_ok(lmb_carry_cut(&carry, lineage, small, &err));
    train(optimizers[_i], small, data, lineage, &whole.middle, true, NULL, &one);
    train(optimizers[_i], small, data, lineage, &whole.middle, false, &carry, &other);
    size_t bytes = lineage->count * sizeof *one.end.state;
    ck_assert_mem_eq(one.end.state, other.end.state, bytes);
    for (int i = 0; i < carry.n_slots; i++)
        ck_assert_mem_eq(one.end.slot[i], other.end.slot[i], bytes);

    const char *next = optimizers[(_i + 1) % n];
    train(next, small, data, lineage, &whole.middle, false, &carry, &strange);
    lmb_carry empty = { 0 };
    train(next, small, data, lineage, &whole.middle, false, &empty, &bare);
    ck_assert_mem_eq(bare.end.state, strange.end.state, bytes);
    ck_assert_int_eq(lmb_carry_cut(&carry, lineage, small, &err), LMB_E_SHAPE); /* it has been cut already */

    drop_hand(&whole);
    drop_hand(&one);
    drop_hand(&other);
    drop_hand(&bare);
    drop_hand(&strange);
    lmb_carry_free(&carry);
    lmb_lineage_destroy(lineage);
    lmb_graph_destroy(g);
    lmb_graph_destroy(small);
    lmb_dataset_destroy(data);
}
END_TEST

LMB_TEST_MAIN("distill/lineage_training",
              add_loop(cut_in_the_middle_it_learns_on, (int)(sizeof optimizers / sizeof optimizers[0]));
              add_loop(another_training_goes_on, (int)(sizeof optimizers / sizeof optimizers[0]));)
