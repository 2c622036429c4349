/* Mirrors federated/simulate_lanes.c: clients that train at a time leave what they leave one after another, to the bit
 * and in the same order, whoever is ready first; a client that fails is the same one; lanes without memory are closed,
 * which is said once. Nothing here depends on how fast a thread is: who must wait waits for the others. */
#include "federated/simulate.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/config.h"
#include "tests/check_main.h"

enum { N = 7, CLIENTS = 16, TARGET = 12, ROUNDS = 4, LANES = 4 };

static lmb_error err;
static char folder[200], said[4000];
static lmb_config *yaml;
static lmb_server_config server;
static lmb_server_job job;
static lmb_simulation s;
static lmb_comm *comm;
static float initial[N], model[N];
static uint64_t examples[CLIENTS];
static double history[ROUNDS + 1][3];
static int failing, lanes_with_memory, left, asked;

/* Who trains now: a lane trains one client at a time, and no two calls have the same. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static int busy[LANES], running, most, company; /* company: clients that must have met before one is ready */

static void hear(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)level, (void)subsystem;
    snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", text);
}
static const lmb_log log_of_test = { hear, NULL, LMB_LOG_INFO };

static void meet(int lane)
{
    pthread_mutex_lock(&lock);
    ck_assert_int_eq(busy[lane]++, 0);
    most = ++running > most ? running : most;
    pthread_cond_broadcast(&moved);
    while (most < company)
        pthread_cond_wait(&moved, &lock);
    running--;
    busy[lane]--;
    pthread_mutex_unlock(&lock);
}

static lmb_status train(void *ctx, int lane, int client, const lmb_train_task *task, lmb_train_result *result,
                        lmb_error *e)
{
    (void)ctx;
    meet(lane);
    if (lane >= lanes_with_memory)
        return LMB_FAIL(e, LMB_E_NOMEM, "lane %d is full", lane);
    if (client == 5 || client == 7)
        return LMB_FAIL(e, LMB_E_NUMERIC, "it diverged");
    if (client == failing || client == failing + 1)
        return LMB_FAIL(e, LMB_E_IO, "client %d has no disk", client);
    for (size_t i = 0; i < N; i++)
        result->delta[i] = 0.3f * ((float)client - task->model[i]) / (float)(i + 3);
    result->examples = examples[client];
    lmb_figures_add(&result->metrics, "loss", client + (double)task->model[0]);
    return LMB_OK;
}

static lmb_status evaluate(void *ctx, uint64_t round, const float *m, size_t n, double *out, lmb_figures *f,
                           lmb_error *e)
{
    (void)ctx, (void)round, (void)n, (void)f, (void)e;
    *out = -fabs((double)m[0] - 3);
    return LMB_OK;
}

static void on_round(void *ctx, const lmb_round_report *r)
{
    (void)ctx;
    ck_assert_uint_le(r->round, ROUNDS);
    history[r->round][0] = r->score;
    history[r->round][1] = (double)r->examples;
    history[r->round][2] = (double)r->updates;
}

static int room(void *ctx)
{
    (void)ctx;
    asked++;
    ck_assert_int_eq(most, 1); /* the first client was alone */
    return 3;
}

static void leave(void *ctx, int lane)
{
    (void)ctx, (void)lane;
    left++;
}

static void set_up(const char *options, int lanes)
{
    char command[300];

    err = (lmb_error)LMB_ERROR_INIT;
    snprintf(folder, sizeof folder, "simulate-lanes-%d", (int)getpid());
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
    ck_ok(lmb_config_parse(options, strlen(options), "t.yaml", &yaml, &err));
    ck_ok(lmb_fields_bind(lmb_server_fields, lmb_config_root(yaml), &server, &err));
    server.state_dir = folder;
    for (int i = 0; i < CLIENTS; i++)
        examples[i] = (uint64_t)(10 + i);
    job = (lmb_server_job){ .n = N, .initial = initial, .settings = "", .evaluate = evaluate, .on_round = on_round,
                            .log = &log_of_test };
    s = (lmb_simulation){ .server = &server, .job = &job, .clients = CLIENTS, .examples = examples, .train = train,
                          .lanes = lanes, .leave = leave };
    ck_ok(lmb_fields_bind(lmb_simulate_fields, NULL, &s.c, &err));
    ck_ok(lmbi_comm_open_self(&comm, &err));
    memset(history, 0, sizeof history);
    said[0] = '\0';
    failing = -9;
    lanes_with_memory = LANES;
    left = asked = most = company = running = 0;
}

static lmb_status run(void)
{
    uint64_t best;
    double score, first;
    char command[300];
    lmb_status st = lmb_simulate(&s, comm, model, &best, &score, &first, &err);

    lmb_comm_close(comm);
    lmb_config_destroy(yaml);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
    return st;
}

static const char *const rules[] = {
    "{rounds: 4, target: 12, minimum: 2}",
    "{rounds: 4, target: 12, minimum: 2, aggregator: median}",
    "{rounds: 4, target: 12, minimum: 2, codec: {name: topk, share: 0.3}, selection: by_loss}",
    "{rounds: 4, target: 12, minimum: 2, secure_aggregation: {clip: 4}}",
};

/* All lanes are busy at once at least in the first round, and what comes of it is that of one. */
START_TEST(any_number_leaves_the_same)
{
    float alone[N];
    double figures[ROUNDS + 1][3];
    char words[sizeof said];

    for (size_t k = 0; k < sizeof rules / sizeof *rules; k++)
        for (int lanes = 1; lanes <= LANES; lanes *= 2) {
            set_up(rules[k], lanes);
            company = lanes;
            s.c.masks = strstr(rules[k], "secure") != NULL;
            ck_ok(run());
            ck_assert_int_eq(most, lanes);
            if (lanes > 1) {
                ck_assert_mem_eq(model, alone, sizeof alone);
                ck_assert_mem_eq(history, figures, sizeof figures);
                ck_assert_str_eq(said, words); /* clients that diverged, in their order */
                continue;
            }
            memcpy(alone, model, sizeof alone);
            memcpy(figures, history, sizeof figures);
            memcpy(words, said, sizeof words);
            ck_assert_msg(strstr(said, "goes on without client 5: it diverged") != NULL, "%s", said);
        }
}
END_TEST

START_TEST(the_first_that_fails_is_told)
{
    char words[sizeof err.msg] = "";

    for (int lanes = 1; lanes <= LANES; lanes *= 2) {
        set_up("{rounds: 4, target: 16, minimum: 2}", lanes);
        failing = 8;
        company = lanes;
        ck_assert_int_eq(run(), LMB_E_IO);
        if (lanes == 1)
            memcpy(words, err.msg, sizeof words);
        ck_assert_str_eq(err.msg, words);
        ck_assert_msg(strstr(err.msg, "has no disk") != NULL, "%s", err.msg);
    }
}
END_TEST

START_TEST(lanes_without_memory_are_closed)
{
    float alone[N];

    set_up(rules[0], 1);
    ck_ok(run());
    memcpy(alone, model, sizeof alone);
    for (int memory = 1; memory < LANES; memory++) {
        set_up(rules[0], LANES);
        company = LANES;
        lanes_with_memory = memory;
        ck_ok(run());
        ck_assert_mem_eq(model, alone, sizeof alone);
        ck_assert_int_eq(left, LANES - memory);
        const char *line = strstr(said, memory == 1 ? "from now on 1 client trains at a time, not 4, as there is no "
                                                      "memory for more: lane "
                                                    : "clients train at a time, not 4");
        ck_assert_msg(line != NULL, "%s", said);
        ck_assert_ptr_null(strstr(line + 1, "from now on")); /* once */
    }
    set_up(rules[0], LANES); /* not one fits */
    lanes_with_memory = 0;
    ck_assert_int_eq(run(), LMB_E_NOMEM);
    ck_assert_msg(strstr(err.msg, "there is no memory to train one client: lane ") != NULL, "%s", err.msg);
    ck_assert_int_eq(left, LANES - 1);
}
END_TEST

/* The first client trains alone, and what it shows decides. */
START_TEST(as_many_as_there_is_room_for)
{
    set_up(rules[0], LANES);
    s.room = room;
    ck_ok(run());
    ck_assert_int_eq(asked, 1);
    ck_assert_int_eq(left, LANES - 3);
    ck_assert_int_le(most, 3);
    set_up(rules[0], LANES);
    s.room = room;
    lanes_with_memory = 0;
    ck_assert_int_eq(run(), LMB_E_NOMEM);
    ck_assert_int_eq(asked, 0);
}
END_TEST

LMB_TEST_MAIN("federated/simulate_lanes", add(any_number_leaves_the_same); add(the_first_that_fails_is_told);
              add(lanes_without_memory_are_closed); add(as_many_as_there_is_room_for);)
