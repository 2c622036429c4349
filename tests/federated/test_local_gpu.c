/* Mirrors federated/local.c and lanes.c with train.backend: cuda: a simulation's clients on one GPU. One after another
 * they share its memory and what is compiled; what a client sends is what it would send alone, and close to what it
 * sends without a GPU. Several at a time, each in a lane, leave the same bits, also when one fails, when the run is
 * killed in between, and when memory is short. Runs on what LMB_CUDA_MODULE names: the played module, whose kernels run
 * on the host, or, labelled gpu, the real one. */
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/str.h"
#include "core/cuda/device.h"
#include "core/onnx/onnx.h"
#include "federated/lanes.h"
#include "tests/gpu_main.h"
#include "train/model.h"

enum { SIDE = 6 };
static lmb_error err;
static lmb_graph *model;
static lmb_state_layout *layout;
static lmb_str graph;
static float *sent;

/* The class is where it is bright; each client has samples of its own. */
static lmb_status read_one(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *e)
{
    float *x = sample;
    (void)e;
    *label = (int32_t)(index % 3);
    for (int i = 0; i < SIDE * SIDE; i++)
        x[i] = sinf((float)(d->n * 13 + index * 31 + i * i * 7)) + (i / SIDE / 2 == *label ? 1.5f : 0.0f);
    return LMB_OK;
}

static void set_up(void)
{
    static const char text[] = "{name: resnet, depth: 8, width: 4, mean: 0, scale: 1}";
    const lmb_shape shape = LMB_SHAPE(1, SIDE, SIDE);
    lmb_config *yaml;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_config_parse(text, strlen(text), "m.yaml", &yaml, &err));
    ck_ok(lmb_model_build(lmb_config_root(yaml), &shape, 3, 1, &model, &err));
    lmb_config_destroy(yaml);
    graph = (lmb_str)LMB_STR_INIT;
    ck_ok(lmb_onnx_export(model, NULL, &graph, &err));
    ck_ok(lmb_state_layout_create(model, &layout, &err));
    sent = malloc(layout->count * sizeof *sent);
    lmb_state_from_graph(layout, model, sent);
}

static void tear_down(void)
{
    free(sent);
    lmb_str_free(&graph);
    lmb_state_layout_destroy(layout);
    lmb_graph_destroy(model);
}

/* What a client of so many samples sends; malloc'd. */
static float *train(lmb_local *l, int64_t samples, const char *backend)
{
    lmb_dataset data = {
        .n = samples, .shape = LMB_SHAPE(1, SIDE, SIDE), .dtype = LMB_F32, .classes = 3, .read = read_one
    };
    float *delta = calloc(layout->count, sizeof *delta);
    char settings[200];

    snprintf(settings, sizeof settings, "{prox: 0.1, train: {epochs: 2, batch: 32, lr: 0.02, threads: 1, backend: %s}}",
             backend);
    lmb_train_task task = { .round = 1, .model = sent, .n = layout->count, .layout = layout->hash, .graph = graph.text,
                            .graph_bytes = graph.n, .settings = settings };
    lmb_train_result r = { .delta = delta };
    ck_ok(lmb_local_train(l, &data, &task, &r, NULL, &err));
    ck_assert_uint_eq(r.examples, (uint64_t)samples);
    return delta;
}

static float *train_alone(int64_t samples, const char *backend)
{
    lmb_local *l;
    ck_ok(lmb_local_create(&l, &err));
    float *delta = train(l, samples, backend);
    lmb_local_destroy(l);
    return delta;
}

/* What the played device tells of itself; NULL on another. */
static long *of_played(const char *symbol)
{
    void *module = dlopen(getenv("LMB_CUDA_MODULE"), RTLD_NOW | RTLD_NOLOAD);
    long *n = module ? dlsym(module, symbol) : NULL;
    if (module)
        dlclose(module);
    return n;
}

static long allocations(void) /* how often memory was taken */
{
    const long *n = of_played("lmb_played_allocations");
    return n ? *n : 0;
}

START_TEST(virtual_clients_share_a_gpu)
{
    static const int64_t samples[] = {
        20, 32, 45, 32, 64, 20
    }; /* one batch that is not full, a full one, two of either kind */
    lmb_local *l;
    long before = 0;

    set_up();
    ck_ok(lmb_local_create(&l, &err));
    for (size_t k = 0; k < sizeof samples / sizeof *samples; k++) {
        float *shared = train(l, samples[k], "cuda"), *alone = train_alone(samples[k], "cuda"),
              *host = train_alone(samples[k], "portable");
        double error = 0, size = 0;
        for (size_t i = 0; i < layout->count; i++) {
            error = fmax(error, fabs((double)shared[i] - host[i]));
            size = fmax(size, fabs(host[i]));
        }
        ck_assert_mem_eq(shared, alone, layout->count * sizeof *shared);
        ck_assert_double_le(error, 1e-3 * size);
        free(alone);
        free(host);
        free(shared);
    }
    for (int k = 0; k < 2; k++) /* the third full batch is recorded */
        free(train(l, 32, "cuda"));
    before = allocations();
    for (int k = 0; k < 3; k++)
        free(train(l, 32, "cuda"));
    ck_assert_int_eq(allocations(), before);
    lmb_local_destroy(l);
    tear_down();
}
END_TEST

/* ---- several at a time ---- */

enum { CLIENTS = 6, BROKEN = 2 };
static char said[4000];
static int trained, stop_at;
static bool alike; /* as many samples for each, so that each takes as much memory */

/* The first clients begin when so many are there. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static int there, company;

static void meet(void)
{
    pthread_mutex_lock(&lock);
    there++;
    pthread_cond_broadcast(&moved);
    while (there < company)
        pthread_cond_wait(&moved, &lock);
    pthread_mutex_unlock(&lock);
}

static void hear(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)level, (void)subsystem;
    snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", text);
}
static const lmb_log log_of_test = { hear, NULL, LMB_LOG_INFO };

static lmb_status read_broken(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *e)
{
    lmb_status st = read_one(d, index, sample, label, e);
    ((float *)sample)[0] = NAN;
    return st;
}

static lmb_status train_client(void *ctx, int lane, int client, const lmb_train_task *task, lmb_train_result *result,
                               lmb_error *e)
{
    static const int64_t samples[CLIENTS] = { 32, 20, 32, 45, 64, 32 };
    lmb_dataset data = { .n = alike ? 32 : samples[client], .shape = LMB_SHAPE(1, SIDE, SIDE), .dtype = LMB_F32,
                         .classes = 3, .read = client == BROKEN ? read_broken : read_one };
    meet();
    return lmb_lanes_train(ctx, lane, &data, task, result, NULL, e);
}

static int lane_room(void *ctx) { return lmb_lanes_room(ctx); }
static void lane_left(void *ctx, int lane) { lmb_lanes_leave(ctx, lane); }

static void on_round(void *ctx, const lmb_round_report *r)
{
    (void)ctx;
    trained = (int)r->round;
}

static bool stop(void *ctx)
{
    (void)ctx;
    return trained == stop_at;
}

/* A simulation of them on so many lanes, or as many as there is room for; the model that comes out, malloc'd, or NULL
 * with an error. */
static float *simulate(int streams, bool fresh)
{
    static const char settings[] = "{prox: 0.1, train: {epochs: 2, batch: 32, lr: 0.02, threads: 1, backend: cuda}}";
    static const char rules[] = "{rounds: 2, target: 6, minimum: 2}";
    static const uint64_t examples[CLIENTS] = { 32, 20, 32, 45, 64, 32 };
    lmb_server_config server;
    lmb_config *yaml, *own;
    lmb_lanes *lanes;
    lmb_comm *comm;
    float *out = calloc(layout->count, sizeof *out);
    double score, first;
    uint64_t best;
    bool unsettled;

    err = (lmb_error)LMB_ERROR_INIT;
    there = 0;
    company = streams;
    ck_ok(lmb_config_parse(rules, strlen(rules), "s.yaml", &yaml, &err));
    ck_ok(lmb_fields_bind(lmb_server_fields, lmb_config_root(yaml), &server, &err));
    ck_ok(lmb_config_parse(settings, strlen(settings), "l.yaml", &own, &err));
    ck_ok(lmb_lanes_create(lmb_config_root(own), streams, &log_of_test, &lanes, &err));
    ck_ok(lmbi_comm_open_self(&comm, &err));
    server.state_dir = "local-gpu-state";
    const lmb_server_job job = { .n = layout->count, .initial = sent, .layout = layout->hash, .graph = graph.text,
                                 .graph_bytes = graph.n, .settings = settings, .on_round = on_round,
                                 .log = &log_of_test };
    lmb_simulation s = { .server = &server, .job = &job, .clients = CLIENTS, .examples = examples,
                         .train = train_client, .leave = lane_left, .stop = stop, .fresh = fresh, .ctx = lanes };
    ck_ok(lmb_fields_bind(lmb_simulate_fields, NULL, &s.c, &err));
    s.lanes = lmb_lanes_count(lanes, &unsettled);
    s.room = unsettled ? lane_room : NULL;
    if (lmb_simulate(&s, comm, out, &best, &score, &first, &err) != LMB_OK) {
        free(out);
        out = NULL;
    }
    lmb_lanes_destroy(lanes);
    lmb_comm_close(comm);
    lmb_config_destroy(own);
    lmb_config_destroy(yaml);
    return out;
}

/* The same model, and the same words: client 2 has samples that are no numbers. */
START_TEST(several_at_a_time_are_one_after_another)
{
    static const int streams[] = { 2, 4, 0 };
    char words[sizeof said], line[60];

    set_up();
    said[0] = '\0';
    stop_at = -1;
    float *alone = simulate(1, true);
    ck_assert_msg(alone != NULL, "%s", err.msg);
    ck_assert_msg(strstr(said, "goes on without client 2") != NULL, "%s", said);
    memcpy(words, said, sizeof words);
    for (size_t k = 0; k < sizeof streams / sizeof *streams; k++) {
        said[0] = '\0';
        float *several = simulate(streams[k], true);
        ck_assert_msg(several != NULL, "%s", err.msg);
        ck_assert_mem_eq(several, alone, layout->count * sizeof *alone);
        snprintf(line, sizeof line, "%d clients train at a time\n", streams[k]);
        ck_assert_msg(!streams[k] || strncmp(said, line, strlen(line)) == 0, "%s", said);
        if (streams[k])
            ck_assert_str_eq(said + strlen(line), words);
        free(several);
    }
    stop_at = 1;
    ck_assert_ptr_null(simulate(4, true));
    ck_assert_int_eq(err.status, LMB_E_STOPPED);
    stop_at = -1;
    float *later = simulate(2, false);
    ck_assert_msg(later != NULL, "%s", err.msg);
    ck_assert_mem_eq(later, alone, layout->count * sizeof *alone);
    free(later);
    free(alone);
    tear_down();
}
END_TEST

/* The played GPU has as little as the test says. */
START_TEST(as_many_as_fit)
{
    const struct { const char *bytes; int streams; const char *says; } cases[] = {
        { "1000", 4, "there is no memory to train one client: " },
        { NULL, 4, " at a time, not 4, as there is no memory for more: " }, { NULL, 0, "" },
    };
    long *most = of_played("lmb_played_most");
    char some[40];

    if (!most)
        return; /* a real one has what it has */
    set_up();
    stop_at = -1;
    alike = true;
    *most = 0;
    float *alone = simulate(1, true);
    ck_assert_msg(alone != NULL, "%s", err.msg);
    snprintf(some, sizeof some, "%lld", (long long)(2.5 * (double)*most));
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        ck_assert_int_eq(setenv("LMB_PLAYED_MEMORY", cases[k].bytes ? cases[k].bytes : some, 1), 0);
        said[0] = '\0';
        float *out = simulate(cases[k].streams, true);
        if (cases[k].bytes) {
            ck_assert_ptr_null(out);
            ck_assert_int_eq(err.status, LMB_E_NOMEM);
            ck_assert_msg(strstr(err.msg, cases[k].says) != NULL, "%s", err.msg);
            continue;
        }
        ck_assert_msg(out != NULL, "%s", err.msg);
        ck_assert_mem_eq(out, alone, layout->count * sizeof *alone);
        const char *line = strstr(said, cases[k].says);
        ck_assert_msg(line != NULL, "%s", said);
        ck_assert_ptr_null(cases[k].streams ? strstr(line + 1, cases[k].says) : strstr(said, "no memory"));
        free(out);
    }
    ck_assert_int_eq(unsetenv("LMB_PLAYED_MEMORY"), 0);
    alike = false;
    free(alone);
    tear_down();
}
END_TEST

LMB_GPU_TEST_MAIN("federated/local_gpu", add(virtual_clients_share_a_gpu);
                  add(several_at_a_time_are_one_after_another); add(as_many_as_fit);)
