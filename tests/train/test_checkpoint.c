/* Mirrors train/checkpoint.c: a run goes on to the same bits; a save that is killed or starved of space at any point
 * leaves a whole checkpoint; damage, and other models and configurations, are said. */
#include "train/checkpoint.h"

#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "core/base/random.h"
#include "tests/check_main.h"
#include "tests/temp_dir.h"
#include "train/model.h"

static lmb_error err;
static char dir[256], path[300], prev[310];

/* ---- a state made by hand: generation g is recognisable in every number ---- */

enum { COUNT = 3000, VECTORS = 5 };
static lmb_segment segments[] = {
    { .name = (char *)"conv1.weight", .shape = { 2, { 50, 40 } }, .count = 2000 },
    { .name = (char *)"fc.weight", .shape = { 2, { 100, 10 } }, .offset = 2000, .count = 1000 }
};
static lmb_state_layout layout;
static float content[VECTORS][COUNT];
static lmb_trainer_state state;
static const char config[] = "train:\n  lr: 0.1\n  batch: 64\n";

static void make_state(int64_t g)
{
    layout = (lmb_state_layout){ 2, segments, COUNT, lmb_hash_of("layout", 6) };
    for (int v = 0; v < VECTORS; v++)
        for (int i = 0; i < COUNT; i++)
            content[v][i] = (float)(g * 10 + v);
    state = (lmb_trainer_state){ .layout = &layout,
                                 .state = content[0],
                                 .ema = content[1],
                                 .best = content[2],
                                 .n_slots = 2,
                                 .slot = { content[3], content[4] },
                                 .epoch = g,
                                 .batch = g + 1,
                                 .step = g + 2,
                                 .best_accuracy = (double)g / 3,
                                 .best_epoch = g + 3,
                                 .loss_sum = (double)g / 7,
                                 .correct = g + 4,
                                 .seen = g + 5 };
}

/* Every number of `state` is of one generation, which is returned. */
static int64_t generation(void)
{
    int64_t g = state.epoch;
    ck_assert(state.batch == g + 1 && state.step == g + 2 && state.best_epoch == g + 3 && state.correct == g + 4 &&
              state.seen == g + 5);
    ck_assert(state.best_accuracy == (double)g / 3 && state.loss_sum == (double)g / 7);
    for (int v = 0; v < VECTORS; v++)
        for (int i = 0; i < COUNT; i++)
            ck_assert(content[v][i] == (float)(g * 10 + v));
    return g;
}

static void setup(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/checkpoint.h5", dir);
    snprintf(prev, sizeof prev, "%s.prev", path);
}

static void teardown(void) { temp_remove(dir); }

static void save(int64_t g)
{
    make_state(g);
    ck_ok(lmb_checkpoint_save(path, &state, config, &err));
}

static char warning[600];
static void on_line(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)level, (void)subsystem;
    snprintf(warning, sizeof warning, "%s", text);
}
static const lmb_log log_to = { on_line, NULL, LMB_LOG_WARN };

/* The generation that a load from `file` gives; whether it had to warn is in `warning`. */
static int64_t load(const char *file)
{
    warning[0] = '\0';
    make_state(-100);
    ck_ok(lmb_checkpoint_load(file, &state, config, &log_to, &err));
    return generation();
}

/* A load that must fail, say `words`, and touch nothing. */
static void refuse(lmb_status want, const char *words)
{
    err = (lmb_error)LMB_ERROR_INIT;
    int64_t before = generation();
    ck_assert_int_eq(lmb_checkpoint_load(path, &state, config, &log_to, &err), want);
    ck_assert_msg(strstr(err.msg, words) != NULL, "'%s' does not say '%s'", err.msg, words);
    ck_assert_msg(strncmp(err.msg, path, strlen(path)) == 0 && !strstr(err.msg + 1, dir),
                  "'%s' names its file not once", err.msg);
    ck_assert_int_eq(generation(), before);
}

static int files(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

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
    ck_ok(lmb_checkpoint_save(path, &state, "train:\n  lr: 0.1\n  stages: 4\n  batch: 64\n  backend: \"cuda\"\n", &err));
    ck_ok(lmb_checkpoint_load(path, &state, config, &log_to, &err)); /* who works is no matter */
    ck_ok(lmb_checkpoint_save(path, &state, "train:\n  lr: 0.1\n", &err));
    refuse(LMB_E_ARG, "`(nothing)` where this one has `batch: 64`");
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

/* ---- saves that end too early ---- */

START_TEST(a_full_disk_costs_nothing)
{
    struct rlimit whole, tight;
    uint64_t size;

    setup();
    save(30);
    save(31);
    ck_ok(lmb_file_size(path, &size, &err));
    getrlimit(RLIMIT_FSIZE, &whole);
    signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit then fails as on a full disk */
    for (uint64_t k = 0; k < size; k += size / 41 + 1) {
        err = (lmb_error)LMB_ERROR_INIT;
        make_state(32);
        tight = (struct rlimit){ k, whole.rlim_max };
        setrlimit(RLIMIT_FSIZE, &tight);
        lmb_status st = lmb_checkpoint_save(path, &state, config, &err);
        setrlimit(RLIMIT_FSIZE, &whole);
        ck_assert_int_eq(st, LMB_E_IO);
        ck_assert_msg(strstr(err.msg, path) && strstr(err.msg, "File too large"), "%s", err.msg);
        ck_assert_int_eq(files(), 2);
        ck_assert_int_eq(load(path), 31);
        ck_assert_int_eq(load(prev), 30);
    }
    signal(SIGXFSZ, SIG_DFL);
    err = (lmb_error)LMB_ERROR_INIT;
    save(33);
    ck_assert_int_eq(load(prev), 31);
    teardown();
}
END_TEST

/* In a child: save generations g, g + 1, ... for ever, telling each that is done. */
static void save_for_ever(int64_t g, int tell)
{
    for (;; g++) {
        lmb_error own = LMB_ERROR_INIT;
        make_state(g);
        if (lmb_checkpoint_save(path, &state, config, &own) != LMB_OK || write(tell, &g, sizeof g) != sizeof g)
            _exit(1);
    }
}

START_TEST(killed_at_any_time)
{
    const lmb_rand when = lmb_rand_at(11, LMB_RAND_TEST, 0, 0);
    int64_t last = 0, told;

    setup();
    save(0);
    for (int i = 0; i < 20; i++) {
        int ends[2], how;
        ck_assert_int_eq(pipe(ends), 0);
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0)
            save_for_ever(last + 1, ends[1]);
        close(ends[1]);
        ck_assert_int_eq(read(ends[0], &told, sizeof told), sizeof told); /* it is under way */
        usleep(lmb_rand_below(&when, (uint32_t)i, 12000));
        kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, &how, 0), child);
        ck_assert_msg(WIFSIGNALED(how), "the child gave up by itself");
        int64_t newest = told;
        while (read(ends[0], &told, sizeof told) == sizeof told)
            newest = told;
        close(ends[0]);
        last = load(path); /* all that was told is there; what was under way is, or is not */
        ck_assert_str_eq(warning, "");
        ck_assert(last == newest || last == newest + 1);
    }
    save(last + 1);
    ck_assert_int_eq(load(prev), last);
    teardown();
}
END_TEST

/* Run one save in a traced child and kill it as it enters its k-th system call. Returns whether it was killed; -1 where
 * processes may not be traced. */
static int killed_at_call(int64_t g, int k)
{
    int how;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        lmb_error own = LMB_ERROR_INIT;
        make_state(g);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(77);
        raise(SIGSTOP);
        _exit(lmb_checkpoint_save(path, &state, config, &own) != LMB_OK);
    }
    ck_assert_int_eq(waitpid(child, &how, 0), child);
    if (WIFEXITED(how))
        return -1;
    for (int stops = 0; stops < 2 * k; stops++) { /* entering and leaving stop alike */
        if (ptrace(PTRACE_SYSCALL, child, NULL, NULL) != 0)
            return -1;
        ck_assert_int_eq(waitpid(child, &how, 0), child);
        if (!WIFSTOPPED(how)) {
            ck_assert_msg(WIFEXITED(how) && WEXITSTATUS(how) == 0, "the traced save failed");
            return 0;
        }
    }
    kill(child, SIGKILL);
    waitpid(child, &how, 0);
    return 1;
}

START_TEST(killed_between_any_two_system_calls)
{
    int64_t last = 50;
    int killed = 1, changed = 0;

    setup();
    save(49);
    save(50);
    for (int k = 0; killed == 1; k++) {
        killed = killed_at_call(last + 1, k);
        if (killed < 0)
            break;
        int64_t g = load(path);
        ck_assert_str_eq(warning, "");
        ck_assert(g == last || g == last + 1);
        ck_assert_int_lt(load(prev), g);
        ck_assert_str_eq(warning, "");
        changed += g != last;
        last = g;
        ck_assert_int_lt(k, 3000);
    }
    if (killed == 0)
        ck_assert_int_ge(changed, 2); /* after the rename, and the save that was let go */
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

static lmb_config *parse(const char *text)
{
    lmb_config *c;
    ck_ok(lmb_config_parse(text, strlen(text), "t.yaml", &c, &err));
    return c;
}

/* Train, going on from the checkpoint if `go_on`; returns the hash of the result. */
static lmb_hash train(const lmb_dataset *data, const lmb_graph *model, const lmb_dataset *valid, int64_t stop_epoch,
                      bool go_on)
{
    lmb_config *c = parse("{epochs: 3, batch: 64, threads: 1, lr: 0.01, ema: 0.9, backend: portable, optimizer: adam}");
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
    lmb_config *d = parse("{name: synthetic, train: 200, test: 50, classes: 4, height: 8, width: 8, noise: 0.4}");
    lmb_config *m = parse("{name: vgg, channels: [4, 0, 8], dropout: 0.1}");
    lmb_dataset *data, *valid;
    lmb_graph *model;

    setup();
    ck_ok(lmb_dataset_open(lmb_config_root(d), LMB_PART_TRAIN, &data, &err));
    ck_ok(lmb_dataset_open(lmb_config_root(d), LMB_PART_TEST, &valid, &err));
    ck_ok(lmb_model_build(lmb_config_root(m), &data->shape, data->classes, 5, &model, &err));
    lmb_hash straight = train(data, model, valid, 3, false);
    for (int64_t stop = 0; stop < 3; stop++)
        train(data, model, valid, stop, stop > 0);
    lmb_hash in_parts = train(data, model, valid, 3, true);
    ck_assert_mem_eq(&straight, &in_parts, sizeof straight);
    lmb_graph_destroy(model);
    lmb_dataset_destroy(data);
    lmb_dataset_destroy(valid);
    lmb_config_destroy(d);
    lmb_config_destroy(m);
    teardown();
}
END_TEST

LMB_TEST_MAIN("train/checkpoint", add(everything_comes_back); add(differences_are_named); add(no_file_is_said);
              add(the_one_before_is_taken); add(a_full_disk_costs_nothing); add(killed_at_any_time);
              add(killed_between_any_two_system_calls); add(a_run_goes_on_to_the_same_bits);)
