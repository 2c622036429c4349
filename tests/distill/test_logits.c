/* Mirrors distill/logits.c and logits_fill.c: rows are the teacher's answers to what training sees, a training from the
 * file ends in the bits of a live one, and a file that was cut, torn or spoilt anywhere is made whole again. */
#define _POSIX_C_SOURCE 200809L
#include "distill/logits.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/cpu/cpu.h"
#include "datasets/loader.h"
#include "train/loss.h"
#include "tests/check_main.h"
#include "tests/train/from_text.h"
#include "train/predictor.h"
#include "train/trainer.h"

enum { N = 1100, EPOCHS = 2, CLASSES = 4, CHUNK = 1024 * CLASSES * 4 + 32 }; /* two chunks an epoch, the second short */

static lmb_error err;
static lmb_dataset *data;
static lmb_graph *teacher, *student;
static lmb_comm *self;
static char folder[64];
static const lmb_augment augment = { .crop = 1, .flip = true };

static void set_up(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    data = dataset_of("{name: synthetic, train: 1100, classes: 4, height: 8, width: 8, noise: 0.4}", LMB_PART_TRAIN);
    teacher = model_of("{name: vgg, channels: [9, 0, 12], mean: 100, scale: 0.02}", data, 3);
    student = model_of("{name: resnet, depth: 8, width: 4, mean: 100, scale: 0.02}", data, 5);
    ck_ok(lmbi_comm_open_self(&self, &err));
    strcpy(folder, "/tmp/lmb_logits_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void tear_down(void)
{
    char path[400];
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unlink(path);
    }
    closedir(d);
    rmdir(folder);
    lmb_comm_close(self);
    lmb_graph_destroy(teacher);
    lmb_graph_destroy(student);
    lmb_dataset_destroy(data);
}

static lmb_logits_key key_of(const lmb_augment *a)
{
    return (lmb_logits_key){ teacher, data, a, 9, "cpu", 32, EPOCHS, LMB_TRAIN_F32 };
}

typedef struct counted {
    int64_t done, all;
} counted;
static bool count(void *ctx, int64_t done, int64_t all)
{
    *(counted *)ctx = (counted){ done, all };
    return true;
}

static lmb_logits *open_file(const lmb_logits_key *k, int threads, int64_t *computed)
{
    counted n = { 0, 0 };
    lmb_logits_watch w = { count, &n };
    lmb_logits *l;
    ck_ok(lmb_logits_open(folder, k, threads, self, &w, &l, &err));
    ck_assert_int_eq(n.done, n.all);
    if (computed)
        *computed = n.done / 1024; /* chunks */
    return l;
}

/* The one file of the folder. */
static void file_path(char path[400])
{
    int files = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.') {
            snprintf(path, 400, "%s/%s", folder, e->d_name);
            files++;
        }
    closedir(d);
    ck_assert_int_eq(files, 1);
}

START_TEST(rows_are_the_answers_to_what_training_sees)
{
    lmb_loader_options o = { .batch = 100, .seed = 9, .shuffle = true };
    const lmb_backend *backends[3];
    lmb_predictor *p;
    lmb_loader *loader;
    const lmb_batch *b;
    const float *y;
    float row[CLASSES];

    set_up();
    lmb_logits_key k = key_of(_i ? &augment : NULL);
    lmb_logits *l = open_file(&k, 2, NULL);
    o.data = data;
    o.augment = k.augment;
    ck_ok(lmb_cpu_backends("cpu", backends, &err));
    ck_ok(lmb_predictor_create(teacher, NULL, backends, 1, &p, &err));
    ck_ok(lmb_loader_create(&o, &loader, &err));
    for (uint32_t e = 0; e < EPOCHS; e++) {
        ck_ok(lmb_loader_begin(loader, e, 0, &err));
        for (;;) {
            ck_ok(lmb_loader_next(loader, &b, &err));
            if (!b)
                break;
            for (int64_t i = 0; i < b->n; i += 7) {
                lmb_step_info info = { 9, e, b->sample + i };
                ck_ok(lmb_predictor_run(p, b->x + i * 64, 1, &y, &err));
                ck_ok(lmb_logits_rows(l, &info, 1, row, &err));
                for (int c = 0; c < CLASSES; c++) /* another batch size: close, and equal where kernels are */
                    ck_assert_float_eq_tol(row[c], y[c], 1e-5f);
            }
        }
    }
    uint32_t outside = N;
    lmb_step_info info = { 9, 0, &outside };
    ck_assert_int_eq(lmb_logits_rows(l, &info, 1, row, &err), LMB_E_ARG);
    lmb_error_clear(&err);
    uint32_t inside = 0;
    info = (lmb_step_info){ 9, EPOCHS, &inside };
    ck_assert_int_eq(lmb_logits_rows(l, &info, 1, row, &err), _i ? LMB_E_ARG : LMB_OK); /* no augmentation: any epoch */
    lmb_loader_destroy(loader);
    lmb_predictor_destroy(p);
    lmb_logits_close(l);
    tear_down();
}
END_TEST

static float *train(lmb_logits *cache, const lmb_augment *a, int64_t rows, const char *settings, size_t *n)
{
    lmb_objective d = { .distill = { .alpha = 0.6, .temperature = 2 }, .teacher = teacher, .rows = rows };
    lmb_train_config o;
    lmb_trainer *t;
    lmb_config *c;

    if (cache) {
        d.logits = lmb_logits_rows;
        d.logits_ctx = cache;
    }
    lmb_loss loss = lmb_objective_loss(&d);
    ck_ok(lmb_config_parse(settings, strlen(settings), "t.yaml", &c, &err));
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &o, &err));
    o.augment = a ? *a : (lmb_augment){ 0 };
    ck_ok(lmb_trainer_create(&o, student, &loss, data, NULL, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, NULL, &err));
    *n = lmb_trainer_state_of(t)->layout->count;
    float *w = malloc(*n * sizeof *w);
    memcpy(w, lmb_trainer_state_of(t)->state, *n * sizeof *w);
    lmb_trainer_destroy(t);
    lmb_config_destroy(c);
    return w;
}

/* Shards of 32, of 20, and the 12 that are left of the last batch of 64. */
START_TEST(a_training_from_the_file_ends_in_the_same_bits)
{
    static const char *const settings[] = {
        "{epochs: 2, batch: 64, lr: 0.05, seed: 9, threads: 2}",
        "{epochs: 2, batch: 64, shard: 20, lr: 0.05, seed: 9, threads: 1}",
        "{epochs: 2, batch: 64, lr: 0.05, seed: 9, threads: 3, mode: fast}",
        "{epochs: 2, batch: 64, lr: 0.05, seed: 9, threads: 1, backend: portable}"
    };
    static const int64_t rows[] = { 32, 20, 22, 32 }; /* the last: a third of 64 */
    size_t n;

    set_up();
    const lmb_augment *a = _i % 2 ? &augment : NULL;
    lmb_logits_key k = key_of(a);
    k.backend = _i / 2 == 3 ? "portable" : "cpu";
    k.rows = rows[_i / 2];
    lmb_logits *l = open_file(&k, 1 + _i % 3, NULL);
    float *live = train(NULL, a, k.rows, settings[_i / 2], &n), *cached = train(l, a, k.rows, settings[_i / 2], &n);
    ck_assert_mem_eq(live, cached, n * sizeof *live);
    free(live);
    free(cached);
    lmb_logits_close(l);
    tear_down();
}
END_TEST

/* Two versions of each sample: five epochs need the file of two, and end as they would live. */
START_TEST(epochs_that_repeat_share_their_rows)
{
    static const char settings[] = "{epochs: 5, batch: 64, lr: 0.05, seed: 4, threads: 2}";
    lmb_augment twice = augment, once = augment;
    int64_t computed;
    size_t n;

    set_up();
    twice.seed = once.seed = 9;
    twice.versions = 2;
    lmb_logits_key k = key_of(&twice);
    k.epochs = 5;
    k.seed = 4;
    lmb_logits *l = open_file(&k, 2, &computed);
    ck_assert_int_eq(computed, 4);
    float *live = train(NULL, &twice, 32, settings, &n), *cached = train(l, &twice, 32, settings, &n);
    ck_assert_mem_eq(live, cached, n * sizeof *live);
    lmb_logits_close(l);
    k.augment = &once; /* all five are different: the two that are there are their beginning */
    lmb_logits_close(open_file(&k, 2, &computed));
    ck_assert_int_eq(computed, 6);
    free(live);
    free(cached);
    tear_down();
}
END_TEST

START_TEST(what_is_missing_or_spoilt_is_computed_again)
{
    static const struct {
        int64_t cut;
        int64_t flip;
        int64_t redone;
    } cases[] = {
        { -1, -1, 0 },
        { 0, -1, 4 },
        { 60, -1, 4 },
        { 128, -1, 4 },
        { 129, -1, 4 },
        { 128 + CHUNK - 1, -1, 4 },
        { 128 + CHUNK, -1, 3 },
        { 128 + 3 * CHUNK + 5, -1, 1 },
        { -1, 20, 4 },
        { -1, 128 + CHUNK + 77, 1 },
        { -1, 128 + 3 * CHUNK - 1, 1 },
    };
    char path[400];
    void *whole, *again;
    size_t n, m;
    int64_t computed;

    set_up();
    lmb_logits_key k = key_of(&augment);
    lmb_logits_close(open_file(&k, 1, &computed));
    ck_assert_int_eq(computed, 4);
    file_path(path);
    ck_ok(lmb_file_read(path, 1 << 20, &whole, &n, &err));
    ck_assert_uint_eq(n, 128 + 4 * CHUNK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *spoilt = malloc(n);
        bool there;
        memcpy(spoilt, whole, n);
        if (cases[i].flip >= 0)
            spoilt[cases[i].flip] ^= 4;
        ck_ok(lmb_file_write(path, spoilt, cases[i].cut < 0 ? n : (size_t)cases[i].cut, &err));
        ck_ok(lmb_logits_there(folder, &k, &there, &err));
        ck_assert_int_eq(there, cases[i].redone == 0);
        lmb_logits_close(open_file(&k, 3, &computed));
        ck_assert_int_eq(computed, cases[i].redone);
        ck_ok(lmb_file_read(path, 1 << 20, &again, &m, &err));
        ck_assert_uint_eq(m, n);
        ck_assert_mem_eq(whole, again, n);
        free(again);
        free(spoilt);
    }
    free(whole);
    tear_down();
}
END_TEST

static bool enough(void *ctx, int64_t done, int64_t all)
{
    (void)all;
    return done / 1024 < *(int64_t *)ctx;
}

/* Asked to stop after the last part there is nothing left to stop. */
START_TEST(stopped_it_goes_on_with_what_is_there)
{
    int64_t parts = 3, computed;
    lmb_logits_watch w = { enough, &parts };
    lmb_logits *l = NULL;

    set_up();
    lmb_logits_key k = key_of(&augment);
    ck_assert_int_eq(lmb_logits_open(folder, &k, 2, self, &w, &l, &err), LMB_E_STOPPED);
    ck_assert_ptr_null(l);
    ck_assert_ptr_nonnull(strstr(err.msg, "3 of 4 parts"));
    lmb_error_clear(&err);
    lmb_logits_close(open_file(&k, 2, &computed));
    ck_assert_int_eq(computed, 1);
    k.epochs = 3;
    parts = 2;
    ck_ok(lmb_logits_open(folder, &k, 2, self, &w, &l, &err));
    lmb_logits_close(l);
    tear_down();
}
END_TEST

/* More epochs add to the file; another seed, augmentation, teacher or backend has a file of its own. */
START_TEST(the_key_tells_what_may_be_shared)
{
    int64_t computed;
    bool there;

    set_up();
    lmb_logits_key k = key_of(&augment);
    lmb_logits_close(open_file(&k, 1, &computed));
    k.epochs = 3;
    lmb_logits_close(open_file(&k, 1, &computed));
    ck_assert_int_eq(computed, 2);
    k.epochs = 1;
    lmb_logits_close(open_file(&k, 1, &computed));
    ck_assert_int_eq(computed, 0);
    lmb_augment other = augment;
    other.cutout = 2;
    lmb_logits_key changed[] = { k, k, k, k, k, k, k };
    changed[0].seed++;
    changed[1].augment = &other;
    changed[2].backend = "portable";
    changed[3].teacher = student;
    changed[4].augment = NULL;
    changed[5].rows = 16;
    changed[6].precision = LMB_TRAIN_BF16;
    for (int i = 0; i < 7; i++) {
        ck_ok(lmb_logits_there(folder, &changed[i], &there, &err));
        ck_assert(!there);
    }
    lmb_augment named = augment; /* the same changes, whoever says what they are drawn from */
    named.seed = 9;
    changed[0].augment = &named;
    ck_ok(lmb_logits_there(folder, &changed[0], &there, &err));
    ck_assert(there);
    lmb_logits_close(open_file(&changed[4], 1, &computed));
    changed[4].seed = 77; /* which nothing depends on */
    changed[4].epochs = 100;
    ck_ok(lmb_logits_there(folder, &changed[4], &there, &err));
    ck_assert(there);
    tear_down();
}
END_TEST

/* Of a teacher in bf16 they are nearly the same, and in a file of their own; without its kernels nothing is made. */
START_TEST(a_teacher_in_bf16_says_nearly_the_same)
{
    const lmb_backend *backends[LMB_CPU_BACKENDS];
    float exact[CLASSES], close[CLASSES];
    double far = 0, size = 0;
    lmb_logits *narrow = NULL;

    set_up();
    lmb_logits_key k = key_of(&augment);
    lmb_logits *l = open_file(&k, 2, NULL);
    k.precision = LMB_TRAIN_BF16;
    if (lmb_cpu_backends_bf16("cpu", backends, &err) != LMB_OK) {
        lmb_error_clear(&err);
        ck_assert_int_eq(lmb_logits_open(folder, &k, 2, self, NULL, &narrow, &err), LMB_E_UNSUPPORTED);
    } else {
        narrow = open_file(&k, 2, NULL);
        for (uint32_t i = 0; i < N; i++) {
            lmb_step_info info = { 9, i % EPOCHS, &i };
            ck_ok(lmb_logits_rows(l, &info, 1, exact, &err));
            ck_ok(lmb_logits_rows(narrow, &info, 1, close, &err));
            for (int c = 0; c < CLASSES; c++) {
                far += (exact[c] - close[c]) * (exact[c] - close[c]);
                size += exact[c] * exact[c];
            }
        }
        ck_assert_double_gt(far, 0);
        ck_assert_double_lt(far, 4e-4 * size); /* 2 %: the error of Winograd in bf16, twice */
    }
    lmb_logits_close(narrow);
    lmb_logits_close(l);
    tear_down();
}
END_TEST

START_TEST(a_disk_that_is_too_small_is_told_before_any_work)
{
    lmb_logits *l = NULL;
    uint64_t bytes, room;

    set_up();
    lmb_logits_key k = key_of(&augment);
    ck_ok(lmb_logits_size(folder, &k, &bytes, &room, &err));
    ck_assert_uint_eq(bytes, 128 + 4 * CHUNK);
    k.epochs = (int64_t)(room / CHUNK) + 10; /* twice the room: others may free some in between */
    if (k.epochs < 100000000) { /* a disk of terabytes would need a list of as many chunks */
        ck_assert_int_eq(lmb_logits_open(folder, &k, 1, self, NULL, &l, &err), LMB_E_IO);
        ck_assert_ptr_nonnull(strstr(err.msg, "use distill.cache=false"));
    }
    lmb_error_clear(&err);
    k.epochs = 1000000000000;
    ck_assert_int_eq(lmb_logits_open(folder, &k, 1, self, NULL, &l, &err), LMB_E_ARG);
    tear_down();
}
END_TEST

LMB_TEST_MAIN("distill/logits", add_loop(rows_are_the_answers_to_what_training_sees, 2);
              add_loop(a_training_from_the_file_ends_in_the_same_bits, 8); add(epochs_that_repeat_share_their_rows);
              add(what_is_missing_or_spoilt_is_computed_again);
              add(stopped_it_goes_on_with_what_is_there); add(the_key_tells_what_may_be_shared);
              add(a_teacher_in_bf16_says_nearly_the_same); add(a_disk_that_is_too_small_is_told_before_any_work);)
