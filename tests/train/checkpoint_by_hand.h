/* tests/train/checkpoint_by_hand.h - checkpoints of a state made by hand: generation g is recognisable in every number,
 * so a load that mixes two of them is seen.
 */
#ifndef LMB_TESTS_TRAIN_CHECKPOINT_BY_HAND_H
#define LMB_TESTS_TRAIN_CHECKPOINT_BY_HAND_H

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "tests/check_main.h"
#include "tests/temp_dir.h"
#include "train/checkpoint.h"

static lmb_error err;
static char dir[256], path[300], prev[310];

enum { COUNT = 3000, VECTORS = 5 };
static lmb_segment segments[] = {
    { .name = (char *)"conv1.weight", .shape = { 2, { 50, 40 } }, .count = 2000 },
    { .name = (char *)"fc.weight", .shape = { 2, { 100, 10 } }, .offset = 2000, .count = 1000 }
};
static lmb_state_layout layout;
static float content[VECTORS][COUNT];
static lmb_trainer_state state;
static const char config[] = "train:\n  lr: 0.1\n  batch: 64\n";

static inline void make_state(int64_t g)
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
                                 .steps_before = g + 6,
                                 .best_accuracy = 1.0 / (double)(g + 3),
                                 .best_epoch = g,
                                 .loss_sum = (double)g / 7,
                                 .correct = g + 4,
                                 .seen = g + 5 };
}

/* Every number of `state` is of one generation, which is returned. */
static inline int64_t generation(void)
{
    int64_t g = state.epoch;
    ck_assert(state.batch == g + 1 && state.step == g + 2 && state.best_epoch == g && state.correct == g + 4 &&
              state.seen == g + 5 && state.steps_before == g + 6);
    ck_assert(state.best_accuracy == 1.0 / (double)(g + 3) && state.loss_sum == (double)g / 7);
    for (int v = 0; v < VECTORS; v++)
        for (int i = 0; i < COUNT; i++)
            ck_assert(content[v][i] == (float)(g * 10 + v));
    return g;
}

static inline void setup(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/checkpoint.h5", dir);
    snprintf(prev, sizeof prev, "%s.prev", path);
}

static inline void teardown(void) { temp_remove(dir); }

static inline void save(int64_t g)
{
    make_state(g);
    ck_ok(lmb_checkpoint_save(path, &state, config, &err));
}

static char warning[600];
static inline void on_line(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)level, (void)subsystem;
    snprintf(warning, sizeof warning, "%s", text);
}
static const lmb_log log_to = { on_line, NULL, LMB_LOG_WARN };

/* The generation that a load from `file` gives; whether it had to warn is in `warning`. */
static inline int64_t load(const char *file)
{
    warning[0] = '\0';
    make_state(-100);
    ck_ok(lmb_checkpoint_load(file, &state, config, &log_to, &err));
    return generation();
}

/* A load that must fail, say `words`, and touch nothing. */
static inline void refuse(lmb_status want, const char *words)
{
    err = (lmb_error)LMB_ERROR_INIT;
    int64_t before = generation();
    ck_assert_int_eq(lmb_checkpoint_load(path, &state, config, &log_to, &err), want);
    ck_assert_msg(strstr(err.msg, words) != NULL, "'%s' does not say '%s'", err.msg, words);
    ck_assert_msg(strncmp(err.msg, path, strlen(path)) == 0 && !strstr(err.msg + 1, dir),
                  "'%s' names its file not once", err.msg);
    ck_assert_int_eq(generation(), before);
}

static inline int files(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

#endif
