/* Mirrors train/checkpoint.c: what is saved comes back, and a run goes on from it to the same bits; damage, and other
 * models and configurations, are said.
 */
#include <math.h>
#include <stddef.h>
#include <sys/stat.h>

#include "core/base/file.h"
#include "tests/train/checkpoint_by_hand.h"
#include "tests/train/from_text.h"

/* ---- what a checkpoint holds ---- */

START_TEST(everything_comes_back)
{
    setup();
    save(7);
    ck_assert_int_eq(files(), 1);
    ck_assert_int_eq(load(path), 7);
    save(8);
    ck_assert_int_eq(load(path), 8);
    ck_assert_int_eq(load(prev), 7);
    save(9);
    ck_assert_int_eq(load(path), 9);
    ck_assert_int_eq(load(prev), 8);
    ck_assert_int_eq(files(), 2);
    teardown();
}
END_TEST

START_TEST(differences_are_named)
{
    setup();
    save(3);
    make_state(4);
    layout.hash.b[0] ^= 1;
    segments[1].shape.d[1] = 12;
    refuse(LMB_E_SHAPE, "it has `fc.weight [100, 10]` where this one has `fc.weight [100, 12]`");
    segments[1].shape.d[1] = 10;
    layout.n = 1;
    refuse(LMB_E_SHAPE, "`fc.weight [100, 10]` where this one has `(nothing)`");
    make_state(4);
    state.ema = NULL;
    refuse(LMB_E_SHAPE, "keeps `ema`");
    make_state(4);
    state.n_slots = 1;
    refuse(LMB_E_SHAPE, "keeps `slot/1`");
    make_state(4);
    state.n_slots = 3;
    state.slot[2] = content[0];
    refuse(LMB_E_SHAPE, "has no `slot/2`");
    make_state(4);
    ck_ok(lmb_checkpoint_save(path, &state, "train:\n  lr: 0.05\n  batch: 64\n", &err));
    refuse(LMB_E_ARG, "`lr: 0.05` where this one has `lr: 0.1`");
    ck_ok(lmb_checkpoint_save(path, &state, "train:\n  lr: 0.1\n  stages: 4\n  backend: \"cuda\"\n", &err));
    refuse(LMB_E_ARG, "`(nothing)` where this one has `batch: 64`");
    const char *others = "train:\n  lr: 0.1\n  stages: 4\n  batch: 64\n  backend: \"cuda\"\n";
    ck_ok(lmb_checkpoint_save(path, &state, others, &err));
    ck_ok(lmb_checkpoint_load(path, &state, config, &log_to, &err)); /* who works is no matter */
    ck_ok(lmb_checkpoint_save(path, &state, "train:\n  lr: 0.1\n", &err));
    refuse(LMB_E_ARG, "`(nothing)` where this one has `batch: 64`");
    /* of a version that did not know `batch`, which is now as nobody named it */
    const char *marked = "train:\n  lr: 0.1\n  batch: 64  # default\n";
    ck_ok(lmb_checkpoint_load(path, &state, marked, &log_to, &err));
    ck_ok(lmb_checkpoint_save(path, &state, marked, &err));
    ck_ok(lmb_checkpoint_load(path, &state, config, &log_to, &err)); /* or as somebody named it, the same */
    ck_ok(lmb_checkpoint_save(path, &state, "train:\n  lr: 0.1\n  batch: 32\n", &err));
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_checkpoint_load(path, &state, marked, &log_to, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "`batch: 32` where this one has `batch: 64`"));
    teardown();
}
END_TEST

/* Which a file whose checksum is right may hold, as others can work that out: none is gone on from. */
START_TEST(counters_of_no_run_are_refused)
{
    static const struct { size_t at; int64_t value; } rows[] = {
        { offsetof(lmb_trainer_state, epoch), -1 },        { offsetof(lmb_trainer_state, epoch), INT64_MAX },
        { offsetof(lmb_trainer_state, batch), -1 },        { offsetof(lmb_trainer_state, batch), 13 },
        { offsetof(lmb_trainer_state, step), -1 },         { offsetof(lmb_trainer_state, step), INT64_MAX - 1 },
        { offsetof(lmb_trainer_state, steps_before), -1 }, { offsetof(lmb_trainer_state, steps_before), INT64_MAX },
        { offsetof(lmb_trainer_state, seen), -1 },         { offsetof(lmb_trainer_state, seen), INT64_MAX },
        { offsetof(lmb_trainer_state, seen), 0 },          { offsetof(lmb_trainer_state, correct), INT64_MIN },
        { offsetof(lmb_trainer_state, correct), 13 },      { offsetof(lmb_trainer_state, best_epoch), INT64_MIN },
        { offsetof(lmb_trainer_state, best_epoch), 8 },
    };
    static const double best[] = { NAN, 1e300, -2 };
    const int rows_n = sizeof rows / sizeof *rows, best_n = sizeof best / sizeof *best;

    setup();
    for (int i = 0; i < rows_n + best_n; i++) {
        make_state(7);
        if (i < rows_n)
            memcpy((char *)&state + rows[i].at, &rows[i].value, sizeof rows[i].value);
        else
            state.best_accuracy = best[i - rows_n];
        ck_ok(lmb_checkpoint_save(path, &state, config, &err));
        unlink(prev);
        make_state(4);
        refuse(LMB_E_FORMAT, "its counters are those of no run");
        ck_assert_int_eq(generation(), 4);
    }
    teardown();
}
END_TEST

START_TEST(no_file_is_said)
{
    setup();
    make_state(1);
    refuse(LMB_E_IO, "there is no such file");
    char nowhere[400];
    snprintf(nowhere, sizeof nowhere, "%s/no/folder/c.h5", dir);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_checkpoint_save(nowhere, &state, config, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, nowhere));
    err = (lmb_error)LMB_ERROR_INIT;
    if (geteuid() != 0) { /* root writes anywhere */
        ck_assert_int_eq(chmod(dir, 0555), 0);
        ck_assert_int_eq(lmb_checkpoint_save(path, &state, config, &err), LMB_E_IO);
        ck_assert_ptr_nonnull(strstr(err.msg, "ermission denied"));
        ck_assert_int_eq(chmod(dir, 0755), 0);
    }
    ck_assert_int_eq(files(), 0);
    teardown();
}
END_TEST

/* ---- damage ---- */

/* Flip a bit of byte `at`, or cut there. */
static void spoil(const char *file, size_t at, bool cut)
{
    FILE *f = fopen(file, "r+b");
    ck_assert_ptr_nonnull(f);
    fseek(f, (long)at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, (long)at, SEEK_SET);
    fputc(c ^ 0x10, f);
    fclose(f);
    if (cut)
        ck_assert_int_eq(truncate(file, (off_t)at), 0);
}

START_TEST(the_one_before_is_taken)
{
    uint64_t size;
    setup();
    for (int i = 0; i < 30; i++) {
        unlink(prev);
        unlink(path);
        save(20);
        save(21);
        ck_ok(lmb_file_size(path, &size, &err));
        spoil(path, (size_t)(size * (uint64_t)i / 30), i % 2);
        ck_assert_int_eq(load(path), 20);
        ck_assert_ptr_nonnull(strstr(warning, prev));
        save(22); /* the damaged file must not push out the good one before the new one is there */
        ck_assert_int_eq(load(path), 22);
        ck_assert_str_eq(warning, "");
    }
    save(23);
    spoil(path, 100, false);
    spoil(prev, 100, false);
    make_state(5);
    refuse(LMB_E_FORMAT, "damaged");
    teardown();
}
END_TEST

/* ---- the point of it all ---- */

typedef struct run { int64_t stop_epoch, stop_batch, epochs_seen; } run;

static bool on_step(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy, double rate)
{
    const run *r = ctx;
    (void)batches, (void)loss, (void)accuracy, (void)rate;
    return epoch != r->stop_epoch || batch < r->stop_batch;
}

/* Train, going on from the checkpoint if `go_on`; returns the hash of the result. */
static lmb_hash train(const lmb_dataset *data, const lmb_graph *model, const lmb_dataset *valid, int64_t stop_epoch,
                      bool go_on)
{
    lmb_config *c = config_of("{epochs: 3, batch: 64, threads: 1, lr: 0.01, ema: 0.9, backend: portable, optimizer: adam}");
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    run r = { stop_epoch, 0, 0 };
    lmb_train_watch watch = { on_step, NULL, &r };
    lmb_train_config o;
    lmb_trainer *t;

    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &o, &err));
    ck_ok(lmb_trainer_create(&o, model, &loss, data, valid, NULL, &t, &err));
    if (go_on)
        ck_ok(lmb_checkpoint_load(path, lmb_trainer_state_of(t), config, NULL, &err));
    lmb_status st = lmb_trainer_run(t, &watch, &err);
    if (st == LMB_E_STOPPED)
        lmb_error_clear(&err);
    ck_assert_int_eq(st, stop_epoch < 3 ? LMB_E_STOPPED : LMB_OK);
    ck_ok(lmb_checkpoint_save(path, lmb_trainer_state_of(t), config, &err));
    const lmb_trainer_state *s = lmb_trainer_state_of(t);
    lmb_hasher h;
    lmb_hash_begin(&h);
    const float *all[] = { s->state, s->ema, s->best, s->slot[0], s->slot[1] };
    for (int i = 0; i < 5; i++)
        lmb_hash_add(&h, all[i], s->layout->count * sizeof(float));
    lmb_trainer_destroy(t);
    lmb_config_destroy(c);
    return lmb_hash_end(&h);
}

START_TEST(a_run_goes_on_to_the_same_bits)
{
    static const char text[] = "{name: synthetic, train: 200, test: 50, classes: 4, height: 8, width: 8, noise: 0.4}";
    lmb_dataset *data = dataset_of(text, LMB_PART_TRAIN), *valid = dataset_of(text, LMB_PART_TEST);
    lmb_graph *model = model_of("{name: vgg, channels: [4, 0, 8], dropout: 0.1}", data, 5);

    setup();
    lmb_hash straight = train(data, model, valid, 3, false);
    for (int64_t stop = 0; stop < 3; stop++)
        train(data, model, valid, stop, stop > 0);
    lmb_hash in_parts = train(data, model, valid, 3, true);
    ck_assert_mem_eq(&straight, &in_parts, sizeof straight);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
    lmb_dataset_destroy(valid);
    teardown();
}
END_TEST

LMB_TEST_MAIN("train/checkpoint", add(everything_comes_back); add(differences_are_named);
              add(counters_of_no_run_are_refused); add(no_file_is_said); add(the_one_before_is_taken);
              add(a_run_goes_on_to_the_same_bits);)
