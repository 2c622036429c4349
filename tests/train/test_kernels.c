/* Mirrors train/kernels.c, core/plan/choice.c, choice_file.c and choose.c: measured kernels are kept, replayed after a
 * checkpoint, the same on any number of threads; whatever lies in the cache's folder, a training runs. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/file.h"
#include "core/plan/internal.h"
#include "tests/check_main.h"
#include "tests/temp_dir.h"
#include "tests/train/from_text.h"
#include "train/checkpoint.h"
#include "train/trainer_internal.h"

static lmb_error err;
static char dir[256], warning[600];
static lmb_dataset *data;
static lmb_graph *model;
static lmb_hash weights;   /* after the last training            */
static char kernels[20000]; /* what it recorded                   */
static char *forged;        /* what its checkpoint says instead; NULL: the same */

static void on_line(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)level, (void)subsystem;
    snprintf(warning, sizeof warning, "%s", text);
}
static const lmb_log log_to = { on_line, NULL, LMB_LOG_WARN };

static void set_up(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(dir, sizeof dir);
    data = dataset_of("{name: synthetic, train: 150, classes: 4, height: 16, width: 16, noise: 0.4}", LMB_PART_TRAIN);
    model = model_of("{name: vgg, channels: [16, 0, 16]}", data, 5);
}

static void tear_down(void)
{
    lmb_dataset_destroy(data);
    lmb_graph_destroy(model);
    temp_remove(dir);
}

static bool stop_after_first(void *ctx, int64_t epoch, int64_t batch, int64_t batches, double loss, double accuracy,
                             double rate)
{
    (void)ctx, (void)batches, (void)loss, (void)accuracy, (void)rate;
    return !(epoch == 1 && batch >= 1);
}

/* Two epochs with kernels of `folder`. `from`: go on from this checkpoint; `to`: stop in the second epoch and leave one
 * there. */
static void train(const char *folder, int threads, const char *from, const char *to)
{
    char text[120];
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_watch watch = { .step = stop_after_first };
    lmb_train_config o;
    lmb_trainer *t;

    snprintf(text, sizeof text, "{epochs: 2, batch: 64, shard: 32, lr: 0.05, threads: %d}", threads);
    lmb_config *c = config_of(text);
    warning[0] = '\0';
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &o, &err));
    ck_ok(lmb_trainer_create(&o, model, &loss, data, NULL, NULL, &t, &err));
    lmb_trainer_state *s = lmb_trainer_state_of(t);
    if (from)
        ck_ok(lmb_checkpoint_load(from, s, "", NULL, &err));
    ck_ok(lmb_trainer_kernels(t, folder, from != NULL, &log_to, &err));
    lmb_status st = lmb_trainer_run(t, to ? &watch : NULL, &err);
    ck_assert_msg(st == (to ? LMB_E_STOPPED : LMB_OK), "%s", err.msg);
    err = (lmb_error)LMB_ERROR_INIT;
    char *recorded = s->kernels;
    s->kernels = forged ? forged : recorded;
    if (to)
        ck_ok(lmb_checkpoint_save(to, s, "", &err));
    s->kernels = recorded;
    weights = lmb_hash_of(s->state, s->layout->count * sizeof *s->state);
    snprintf(kernels, sizeof kernels, "%s", s->kernels ? s->kernels : "");
    lmb_trainer_destroy(t);
    lmb_config_destroy(c);
}

static bool same(lmb_hash a, lmb_hash b) { return memcmp(&a, &b, sizeof a) == 0; }

static void folder_of(char out[300], const char *name) { snprintf(out, 300, "%s/%s", dir, name); }

/* Every convolution of `choices` done by the kernels whose names begin with `maker`. */
static lmb_str made_by(const char *maker, const char *choices)
{
    lmb_str text = LMB_STR_INIT;

    for (const char *line = choices; *line; line = strchr(line, '\n') + 1) {
        const char *tab = strchr(line, '\t'), *colon = strchr(tab, ':'), *end = strchr(tab, '\n');
        if (colon && colon < end && strstr(line, " Gemm") != strchr(line, ' '))
            lmb_str_addf(&text, "%.*s\t%s%.*s\n", (int)(tab - line), line, maker, (int)(end - colon), colon);
    }
    return text;
}

/* A cache of that. */
static void fill_cache(const char *folder, const char *choices, const char *maker)
{
    lmb_str text = made_by(maker, choices), machine = LMB_STR_INIT;
    lmb_choices *c;

    ck_ok(lmb_choices_create(lmb_train_measuring_threads(), &c, &err));
    ck_ok(lmb_choices_add(c, text.text, text.n, &err));
    lmb_cpu_machine(&machine);
    ck_ok(lmb_choices_save(c, folder, machine.text, &err));
    lmb_choices_destroy(c);
    lmb_str_free(&text);
    lmb_str_free(&machine);
}

/* The one file of a cache. */
static void file_of(const char *folder, char path[600])
{
    int n = 0;
    DIR *d = opendir(folder);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.') {
            snprintf(path, 600, "%s/%s", folder, e->d_name);
            n++;
        }
    closedir(d);
    ck_assert_int_eq(n, 1); /* and no temporaries */
}

START_TEST(measured_once_then_the_same_bits)
{
    char cache[300], path[600];
    struct stat before, after;

    set_up();
    folder_of(cache, "made/on/the/way");
    train(NULL, 1, NULL, NULL);
    lmb_hash fixed = weights;
    ck_assert_str_eq(kernels, "");
    train(NULL, 1, NULL, NULL);
    ck_assert(same(weights, fixed));
    train(cache, 1, NULL, NULL);
    lmb_hash first = weights;
    ck_assert_ptr_nonnull(strstr(kernels, "ConvGradWeights"));
    file_of(cache, path);
    stat(path, &before);
    train(cache, 2, NULL, NULL); /* whatever the number of threads */
    stat(path, &after);
    ck_assert(same(weights, first));
    ck_assert_int_eq(before.st_ino, after.st_ino); /* nothing new: not written */
    ck_assert_str_eq(warning, "");
    tear_down();
}
END_TEST

START_TEST(a_cache_decides_and_a_checkpoint_keeps_its_decision)
{
    char a[300], b[300], file[300], choices[20000];

    set_up();
    folder_of(a, "a");
    folder_of(b, "b");
    folder_of(file, "checkpoint");
    train(a, 1, NULL, NULL);
    snprintf(choices, sizeof choices, "%s", kernels);
    temp_remove(a);
    fill_cache(a, choices, "winograd");
    fill_cache(b, choices, "own");
    train(a, 1, NULL, NULL);
    lmb_hash with_a = weights;
    ck_assert_ptr_nonnull(strstr(kernels, "winograd:conv_weights"));
    train(b, 1, NULL, NULL);
    lmb_hash with_b = weights;
    ck_assert_ptr_nonnull(strstr(kernels, "own:conv_weights"));
    ck_assert(!same(with_a, with_b)); /* the kernels differ in their last bits, else this test shows nothing */
    train(a, 1, NULL, file);
    train(b, 1, file, NULL); /* goes on where another cache has other winners */
    ck_assert(same(weights, with_a));
    train(NULL, 2, file, NULL); /* or where there is none */
    ck_assert(same(weights, with_a));
    train(NULL, 1, NULL, file);
    train(b, 1, file, NULL); /* the fixed choice is one as well */
    ck_assert_str_eq(kernels, "");
    train(NULL, 1, NULL, NULL);
    lmb_hash fixed = weights;
    train(b, 1, file, NULL);
    ck_assert(same(weights, fixed));
    tear_down();
}
END_TEST

START_TEST(names_that_no_kernel_has_are_measured_anew_or_passed_over)
{
    char a[300], file[300], path[600], choices[20000];
    void *cache;
    size_t n;

    set_up();
    folder_of(a, "a");
    folder_of(file, "checkpoint");
    train(a, 1, NULL, NULL);
    snprintf(choices, sizeof choices, "%s", kernels);
    temp_remove(a);
    fill_cache(a, choices, "another");
    lmb_str text = made_by("another", choices);
    forged = text.text;
    train(a, 1, NULL, file); /* of the cache: measured anew, and the cache is mended */
    forged = NULL;
    ck_assert_str_eq(warning, "");
    ck_assert_ptr_null(strstr(kernels, "another:"));
    file_of(a, path);
    ck_ok(lmb_file_read(path, 1 << 20, &cache, &n, &err));
    ck_assert_ptr_nonnull(strstr(cache, "conv"));
    ck_assert_ptr_null(strstr(cache, "another:"));
    free(cache);
    train(a, 1, file, NULL); /* of the checkpoint: nobody can replay that */
    lmb_str_free(&text);
    ck_assert_ptr_nonnull(strstr(warning, "kernels that this build or processor lacks"));
    tear_down();
}
END_TEST

static void spoil(const char *path, int how, const char *whole, size_t n)
{
    char *copy = malloc(n + 100);
    memcpy(copy, whole, n);
    switch (how) {
    case 0: n = 0; break;                                     /* empty               */
    case 1: n = 10; break;                                    /* cut short           */
    case 2: n -= 1; break;                                    /* by its last byte    */
    case 3: copy[n / 2] ^= 1; break;                          /* one bit             */
    case 4: memset(copy, '\0', n); break;
    case 5: memset(copy, '\t', n); break;
    case 6: copy[n++] = '\n'; break;                          /* and more            */
    case 7: memcpy(copy, "end ", 4); n = 69; break;
    default: memset(copy, 'x', n); break;
    }
    ck_ok(lmb_file_write(path, copy, n, &err));
    free(copy);
}

/* A spoiled cache is measured anew and replaced; a folder in its place, or no right to write, costs one warning. */
START_TEST(whatever_lies_in_the_folder_a_training_runs)
{
    char cache[300], path[600];
    void *whole;
    size_t n;

    set_up();
    folder_of(cache, "cache");
    train(cache, 1, NULL, NULL);
    file_of(cache, path);
    ck_ok(lmb_file_read(path, 1 << 20, &whole, &n, &err));
    for (int how = 0; how < 9; how++) {
        spoil(path, how, whole, n);
        train(cache, 1, NULL, NULL);
        ck_assert_msg(strstr(warning, "measured anew") != NULL, "spoiled in way %d: '%s'", how, warning);
        train(cache, 1, NULL, NULL);
        ck_assert_str_eq(warning, "");
    }
    unlink(path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    train(cache, 1, NULL, NULL);
    ck_assert_ptr_nonnull(strstr(warning, "measures its kernels again"));
    free(whole);
    folder_of(cache, "file");
    ck_ok(lmb_file_write(cache, "x", 1, &err));
    train(cache, 1, NULL, NULL); /* a file where the folder should be */
    ck_assert_ptr_nonnull(strstr(warning, "measures its kernels again"));
    tear_down();
}
END_TEST

START_TEST(texts_that_are_no_tables_are_refused_whole)
{
    static const char *const bad[] = { "key", "key\tname", "\tname\n", "key\t\n", "good\tname\nbad\n",
        "key\tna\001me\n", "key\tname\n\n",
                                       "k\303\244y\tname\n" };
    lmb_choices *c;
    lmb_str s = LMB_STR_INIT;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_choices_create(1, &c, &err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_choices_add(c, bad[i], strlen(bad[i]), &err), LMB_E_FORMAT);
        ck_assert_int_eq(lmb_choices_count(c), 0);
    }
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmbi_choices_put(c, "of\na model", "name", true, &err)); /* no line could hold it: kept by nobody */
    ck_ok(lmb_choices_add(c, "b\tx:y\na\tz\n", 10, &err));
    ck_ok(lmb_choices_add(c, "a\tother\nc\tw\n", 12, &err)); /* what is there stays */
    lmb_choices_text(c, false, &s);
    ck_assert_str_eq(s.text, "a\tz\nb\tx:y\nc\tw\n");
    lmb_choices_destroy(c);
    lmb_str_free(&s);
}
END_TEST

/* A line to other ranks that shows what rank 0 says first, or on rank 1 says it. */
static int64_t said;

static lmb_status tell(lmb_comm *c, void *d, size_t n, int root, lmb_error *e)
{
    (void)root, (void)e;
    ck_assert_uint_eq(n, sizeof said);
    if (c->rank == 0)
        memcpy(&said, d, n);
    else
        memcpy(d, &said, n);
    return LMB_OK;
}

START_TEST(nobody_waits_for_a_rank_0_that_fails)
{
    static char folder[2 * 4096];
    lmb_comm comm = { .size = 2, .name = "test", .broadcast = tell }, *own;
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_config *c = config_of("{batch: 64, shard: 32, threads: 1}");
    lmb_train_config o;
    lmb_trainer *t;

    set_up();
    memset(folder, 'x', sizeof folder - 1); /* no path is as long */
    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &o, &err));
    static const char *why[2] = { "xxx", "rank 0 could not choose kernels" };
    for (comm.rank = 0; comm.rank < 2; comm.rank++) {
        ck_ok(lmb_trainer_create(&o, model, &loss, data, NULL, NULL, &t, &err));
        own = t->comm;
        t->comm = &comm;
        ck_assert_int_eq(lmb_trainer_kernels(t, folder, false, &log_to, &err), comm.rank ? LMB_E_PEER : LMB_E_ARG);
        ck_assert_msg(strstr(err.msg, why[comm.rank]) != NULL, "%s", err.msg);
        ck_assert_int_eq(said, -1);
        err = (lmb_error)LMB_ERROR_INIT;
        t->comm = own;
        lmb_trainer_destroy(t);
    }
    lmb_config_destroy(c);
    tear_down();
}
END_TEST

LMB_TEST_MAIN("train/kernels", add(measured_once_then_the_same_bits);
              add(a_cache_decides_and_a_checkpoint_keeps_its_decision);
              add(names_that_no_kernel_has_are_measured_anew_or_passed_over);
              add(whatever_lies_in_the_folder_a_training_runs); add(texts_that_are_no_tables_are_refused_whole);
              add(nobody_waits_for_a_rank_0_that_fails);)
