/* Mirrors launch/device.c: limbeck-time as it was built, started by a command, and what else a command may turn out to
 * be. Nothing depends on how long anything takes. */
#include "launch/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"
#include "distill/search/deployed.h"
#include "tests/check_main.h"
#include "tests/core/edge/network.h"
#include "tests/temp_dir.h"

#define PROGRAM LMB_BINARY_DIR "/core/edge/limbeck-time"

static lmb_error err;
static char dir[128], path[160], said[1000];
static lmb_deployed model;

static void setup(void)
{
    lmb_edge_buffer file = { NULL, 0, 0 };

    err = (lmb_error)LMB_ERROR_INIT;
    temp_make(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/model.lmb", dir);
    ck_assert_int_eq(small_network(&file, NULL, 0), LMB_EDGE_OK);
    ck_ok(lmb_file_write(path, file.data, file.size, &err));
    ck_ok(lmb_deployed_read(path, &model, &err));
    free(file.data);
    snprintf(path, sizeof path, "%s/latency.jsonl", dir);
    *said = '\0';
}

static void teardown(void)
{
    lmb_deployed_free(&model);
    temp_remove(dir);
}

static void hear(void *ctx, const char *line)
{
    (void)ctx;
    strncat(said, line, sizeof said - strlen(said) - 1);
}

static lmb_device *device_of(const lmb_device_config *c)
{
    lmb_device *d;
    ck_ok(lmb_device_open(c, hear, NULL, &d, &err));
    return d;
}

START_TEST(a_device_measures_and_its_table_is_its_own)
{
    const lmb_device_config c = { "pi", PROGRAM, 60, 0 };
    lmb_device *d = device_of(&c);
    lmb_latency *t;
    lmb_timing time;
    double us[64], sum, again;

    ck_ok(lmb_latency_open(path, false, lmb_device_timer(d), &t, &err));
    ck_assert_str_eq(said, ""); /* nothing is started before something is asked */
    ck_ok(lmb_latency_ops(t, &model, us, &sum, &err));
    for (uint32_t i = 0; i < model.model.n_ops; i++)
        ck_assert(us[i] > 0);
    ck_ok(lmb_latency_whole(t, &model, 1e-6, &time, &err));
    ck_assert(time.p50 > 0 && time.p99 >= time.p50 && time.missed > 1 - 1e-9);
    ck_ok(lmb_latency_ready(t, &err));
    ck_ok(lmb_latency_ops(t, &model, NULL, &sum, &err));
    ck_assert_ptr_nonnull(strstr(said, "the device pi is "));
    ck_assert_str_eq(lmb_latency_about(t)->device, "pi");
    ck_assert((time.energy > 0) == !*lmb_latency_about(t)->no_energy);
    lmb_latency_close(t);
    lmb_device_close(d);
    /* of this machine it is not, nor of another device; frozen it is whose it is */
    ck_assert_int_eq(lmb_latency_open(path, false, NULL, &t, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "measured on the device pi, and this search measures on its own machine"));
    const lmb_device_config other = { "phone", "false", 60, 0 };
    lmb_error_clear(&err);
    d = device_of(&other);
    for (int frozen = 0; frozen < 2; frozen++) {
        lmb_error_clear(&err);
        ck_assert_int_eq(lmb_latency_open(path, frozen, lmb_device_timer(d), &t, &err), LMB_E_ARG);
        ck_assert_ptr_nonnull(strstr(err.msg, "on the device phone"));
    }
    lmb_device_close(d);
    lmb_error_clear(&err);
    ck_ok(lmb_latency_open(path, true, NULL, &t, &err));
    ck_ok(lmb_latency_ops(t, &model, NULL, &again, &err));
    ck_assert(again == sum);
    ck_assert_str_eq(lmb_latency_about(t)->device, "pi");
    ck_assert(*lmb_latency_about(t)->processor && *lmb_latency_about(t)->kernels);
    lmb_latency_close(t);
}
END_TEST

/* The table says what the device was; one that is another is refused before it has measured anything. */
START_TEST(another_machine_of_the_same_name_is_refused)
{
    static const char table[] =
        "{\"kernels\": \"elsewhere\", \"device\": \"pi\", \"processor\": \"an older board\", \"no_energy\": \"\"}\n";
    const lmb_device_config c = { "pi", PROGRAM, 60, 0 };
    lmb_device *d = device_of(&c);
    lmb_latency *t;
    double sum;

    ck_ok(lmb_file_write(path, table, sizeof table - 1, &err));
    ck_ok(lmb_latency_open(path, false, lmb_device_timer(d), &t, &err));
    ck_assert_int_eq(lmb_latency_ops(t, &model, NULL, &sum, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "was measured on an older board with elsewhere"));
    lmb_latency_close(t);
    lmb_device_close(d);
}
END_TEST

/* ---- what else a command may be ---- */

static void write_frame(const char *name, lmb_frame_kind kind, const void *body, size_t n, size_t cut)
{
    char file[200];
    uint8_t frame[LMB_FRAME_HEAD + LMB_FRAME_BODY];

    snprintf(file, sizeof file, "%s/%s", dir, name);
    lmb_frame_seal(frame, kind, body, n);
    memcpy(frame + LMB_FRAME_HEAD, body, n);
    ck_ok(lmb_file_write(file, frame, LMB_FRAME_HEAD + n - cut, &err));
}

static const struct failure {
    const char *command;
    lmb_status status;
    const char *says;
} failures[] = {
    { "/nowhere/limbeck-time", LMB_E_ARG, "exit code 127" },
    { "echo the board is off >&2; exit 255", LMB_E_IO, "exit code 255: the board is off" },
    { "kill -9 $$", LMB_E_IO, "exit code 137" },
    { "true", LMB_E_IO, "exit code 0" },
    { "echo 'Welcome to Board OS 12'; sleep 5", LMB_E_FORMAT, "'Welcome to Board" },
    { "printf 'Hi\\033[2J'; sleep 5", LMB_E_FORMAT, "'Hi?[2J')" },
    { "sleep 100", LMB_E_TIMEOUT, "has not answered in time; compress.device.timeout_s (0.5)" },
    { "cat version; sleep 5", LMB_E_ARG, "limbeck-time of version 9, and this program asks as version 1" },
    { "cat good | tr '\\r' '\\n'; sleep 5", LMB_E_FORMAT, "is not what was sent" },
    { "cat short; sleep 5", LMB_E_TIMEOUT, "has not answered in time" },
    { "cat short", LMB_E_IO, "exit code 0" },
    { "cat long; sleep 5", LMB_E_FORMAT, "is a frame that is too long" },
    { "cat other; sleep 5", LMB_E_FORMAT, "answers another question" },
    { "cat sorry; sleep 5", LMB_E_DEVICE, "the device pi: not?today" },
    { "cat nothing; sleep 5", LMB_E_FORMAT, "is no hello" },
};

START_TEST(a_failure_is_one_sentence)
{
    const struct failure *f = &failures[_i];
    lmb_frame_hello h = { LMB_FRAME_VERSION, "neon", "a board", "" };
    uint8_t body[LMB_FRAME_BODY];
    char command[400];
    lmb_timer_about about;

    size_t n = lmb_frame_put_hello(body, &h);
    write_frame("good", LMB_FRAME_HELLO, body, n, 0);
    write_frame("short", LMB_FRAME_HELLO, body, n, 1);
    write_frame("other", LMB_FRAME_OP, body, n, 0);
    write_frame("nothing", LMB_FRAME_HELLO, body, 5, 0);
    write_frame("sorry", LMB_FRAME_SORRY, "not\ntoday", 9, 0);
    h.version = 9;
    write_frame("version", LMB_FRAME_HELLO, body, lmb_frame_put_hello(body, &h), 0);
    memset(body, 0xff, sizeof body);
    write_frame("long", LMB_FRAME_MODEL, body, sizeof body, 0);
    snprintf(path, sizeof path, "%s/long", dir);
    FILE *file = fopen(path, "r+"); /* it announces more than an answer may have */
    ck_assert(file && fseek(file, 8, SEEK_SET) == 0 && fwrite("\x01\x04\x00", 1, 3, file) == 3 && fclose(file) == 0);
    snprintf(command, sizeof command, "cd %s; %s", dir, f->command);
    const lmb_device_config c = { "pi", command, 0.5, 100 }; /* never reached: it is not waited for */
    lmb_device *d = device_of(&c);
    const lmb_timer *t = lmb_device_timer(d);
    lmb_status st = t->ready(t->ctx, &about, &err);
    ck_assert_msg(st == f->status, "%s: %s", lmb_status_name(st), err.msg);
    ck_assert_msg(strstr(err.msg, f->says) != NULL, "'%s' has no '%s'", err.msg, f->says);
    lmb_device_close(d);
}
END_TEST

/* Times that no clock shows: refused, and not in the table. */
START_TEST(a_time_that_can_not_be_is_refused)
{
    lmb_frame_hello h = { LMB_FRAME_VERSION, "neon", "a board", "" };
    uint8_t body[LMB_FRAME_BODY];
    const double nothing = 0;
    char command[400];
    lmb_latency *t;
    double sum;

    write_frame("hello", LMB_FRAME_HELLO, body, lmb_frame_put_hello(body, &h), 0);
    write_frame("model", LMB_FRAME_MODEL, body, 0, 0);
    write_frame("op", LMB_FRAME_OP, body, lmb_frame_put_numbers(body, &nothing, 1), 0);
    snprintf(command, sizeof command, "cd %s; cat hello hello model op; cat >/dev/null", dir);
    const lmb_device_config c = { "pi", command, 60, 0 };
    lmb_device *d = device_of(&c);
    ck_ok(lmb_latency_open(path, false, lmb_device_timer(d), &t, &err));
    ck_assert_int_eq(lmb_latency_ops(t, &model, NULL, &sum, &err), LMB_E_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.msg, "is no number of microseconds"));
    lmb_latency_close(t);
    lmb_device_close(d);
    ck_assert(!lmb_file_exists(path));
}
END_TEST

/* The first time it has no more than a hello to say (16 + 6 bytes of questions), and is gone. */
static void gone_once(char command[600], const char *after)
{
    snprintf(command, 600, "cd %s; test -e once && exec %s; touch once; dd bs=1 count=44 2>/dev/null | " PROGRAM, dir,
             after);
}

START_TEST(a_device_that_comes_back_goes_on)
{
    char command[600];
    double us = 0;
    lmb_timer_about about;
    void *bench;

    gone_once(command, PROGRAM);
    const lmb_device_config c = { "pi", command, 60, 100 };
    lmb_device *d = device_of(&c);
    const lmb_timer *t = lmb_device_timer(d);
    ck_ok(t->ready(t->ctx, &about, &err)); /* two hellos: one to begin with */
    ck_ok(t->begin(t->ctx, &model, &bench, &err));
    ck_ok(t->op(t->ctx, bench, 0, &us, &err));
    ck_assert(us > 0);
    ck_assert_msg(strstr(said, "has ended") && strstr(said, "it is tried again for"), "%s", said);
    t->end(t->ctx, bench);
    lmb_device_close(d);
}
END_TEST

/* Not ended, nor waiting to be buried. */
static bool runs(int pid)
{
    char name[40], state = 'Z';

    snprintf(name, sizeof name, "/proc/%d/stat", pid);
    FILE *f = fopen(name, "r");
    if (f) {
        (void)!fscanf(f, "%*d %*s %c", &state);
        fclose(f);
    }
    return state != 'Z' && state != 'X';
}

/* Patience begins when its time to answer is over; and nothing that the command has started outlives it. */
START_TEST(a_device_that_falls_silent_is_tried_again)
{
    char command[600], pid_file[300];
    double us = 0;
    lmb_timer_about about;
    int pid = 0;

    snprintf(command, sizeof command,
             "cd %s; test -e once && exec " PROGRAM "; touch once; "
             "{ dd bs=1 count=44 2>/dev/null; sleep 1000 & echo $! >pid; wait; } | " PROGRAM,
             dir);
    const lmb_device_config c = { "pi", command, 5, 4 };
    lmb_device *d = device_of(&c);
    const lmb_timer *t = lmb_device_timer(d);
    ck_ok(t->ready(t->ctx, &about, &err));
    ck_ok(t->op(t->ctx, &model, 0, &us, &err));
    ck_assert_msg(strstr(said, "has not answered in time") && strstr(said, "it is tried again for"), "%s", said);
    lmb_device_close(d);
    snprintf(pid_file, sizeof pid_file, "%s/pid", dir);
    FILE *f = fopen(pid_file, "r");
    ck_assert(f && fscanf(f, "%d", &pid) == 1 && pid > 1);
    fclose(f);
    while (runs(pid))
        nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
}
END_TEST

START_TEST(a_device_that_comes_back_as_another_does_not)
{
    lmb_frame_hello h = { LMB_FRAME_VERSION, "neon", "another board", "" };
    uint8_t body[LMB_FRAME_BODY];
    char command[600];
    double us = 0;
    lmb_timer_about about;

    write_frame("hello", LMB_FRAME_HELLO, body, lmb_frame_put_hello(body, &h), 0);
    gone_once(command, "cat hello");
    const lmb_device_config c = { "pi", command, 60, 100 };
    lmb_device *d = device_of(&c);
    const lmb_timer *t = lmb_device_timer(d);
    ck_ok(t->ready(t->ctx, &about, &err));
    ck_assert_int_eq(t->op(t->ctx, &model, 0, &us, &err), LMB_E_ARG);
    ck_assert_ptr_nonnull(strstr(err.msg, "is now another board with neon"));
    lmb_device_close(d);
}
END_TEST

START_TEST(without_patience_it_ends_and_can_be_asked_again)
{
    char command[600];
    double us = 0;
    lmb_timer_about about;

    gone_once(command, PROGRAM);
    const lmb_device_config c = { "pi", command, 60, 0 };
    lmb_device *d = device_of(&c);
    const lmb_timer *t = lmb_device_timer(d);
    ck_ok(t->ready(t->ctx, &about, &err));
    ck_assert_int_eq(t->op(t->ctx, &model, 0, &us, &err), LMB_E_IO);
    ck_assert_ptr_nonnull(strstr(err.msg, "has ended"));
    lmb_error_clear(&err);
    ck_ok(t->op(t->ctx, &model, 0, &us, &err));
    lmb_device_close(d);
}
END_TEST

START_TEST(half_a_configuration_is_refused)
{
    const lmb_device_config half[] = { { "pi", "", 1, 1 }, { "", "true", 1, 1 } };
    char name[100];

    for (int i = 0; i < 2; i++) {
        lmb_error_clear(&err);
        ck_assert_int_eq(lmb_device_check(&half[i], &err), LMB_E_ARG);
        ck_assert_ptr_nonnull(strstr(err.msg, i ? "has a command and no name" : "has a name and no command"));
    }
    memset(name, 'n', sizeof name);
    name[99] = '\0';
    lmb_error_clear(&err);
    ck_assert_int_eq(lmb_device_check(&(lmb_device_config){ name, "true", 1, 1 }, &err), LMB_E_ARG);
    ck_ok(lmb_device_check(&(lmb_device_config){ "", "", 1, 1 }, NULL));
}
END_TEST

LMB_TEST_MAIN("launch/device", tcase_add_checked_fixture(tc_, setup, teardown);
              add(a_device_measures_and_its_table_is_its_own); add(another_machine_of_the_same_name_is_refused);
              add_loop(a_failure_is_one_sentence, (int)(sizeof failures / sizeof *failures));
              add(a_time_that_can_not_be_is_refused); add(a_device_that_comes_back_goes_on);
              add(a_device_that_falls_silent_is_tried_again);
              add(a_device_that_comes_back_as_another_does_not); add(without_patience_it_ends_and_can_be_asked_again);
              add(half_a_configuration_is_refused);)
