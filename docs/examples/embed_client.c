/* docs/examples/embed_client.c - a device's own program that takes part in a federation. Its samples come from a
 * callback: there is no file, no configuration and no second process. tests/e2e/test_embed.sh runs it against a server.
 *
 *     embed_client STATE_DIR [INVITE]        an invite is needed once; later starts go on with what STATE_DIR holds
 *
 * Link it with limbeck_federated_local (CMake), which brings training and the client. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "federated/local.h"

enum { SIDE = 8, CLASSES = 4, SAMPLES = 60 };

/* A sample of the device: here a bright bar whose place is its class. Called from several threads. */
static lmb_status read_sensor(const lmb_dataset *d, int64_t index, void *sample, int32_t *label, lmb_error *err)
{
    uint8_t *pixel = sample;

    LMB_TRY(lmb_dataset_check_index(d, index, err));
    *label = (int32_t)(index % CLASSES);
    for (int i = 0; i < SIDE * SIDE; i++)
        pixel[i] = (uint8_t)((i % SIDE / 2 == *label ? 200 : 20) + (i * 7 + (int)index * 13) % 40);
    return LMB_OK;
}

static lmb_hash hash_sensor(const lmb_dataset *d) { return lmb_hash_of(&d->n, sizeof d->n); }

typedef struct device { lmb_local *local; lmb_dataset data; char memory[512]; } device;

/* Called when the server wants a round of training, on a thread of the client. */
static lmb_status train(void *ctx, const lmb_train_task *task, lmb_train_result *result, lmb_error *err)
{
    device *me = ctx;
    return lmb_local_train(me->local, &me->data, task, result, me->memory, err);
}

static void on_line(void *ctx, lmb_log_level level, const char *subsystem, const char *text)
{
    (void)ctx, (void)level;
    fprintf(stderr, "%s: %s\n", subsystem, text);
}

static lmb_client *client;
static void on_signal(int s)
{
    (void)s;
    lmb_client_stop(client);
}

int main(int argc, char **argv)
{
    device me = { .data = { .n = SAMPLES, .shape = LMB_SHAPE(1, SIDE, SIDE), .dtype = LMB_U8, .classes = CLASSES,
                            .read = read_sensor, .hash = hash_sensor } };
    lmb_log log = { on_line, NULL, LMB_LOG_INFO };
    lmb_local_trainer trainer = { train, &me };
    lmb_error err = LMB_ERROR_INIT;
    lmb_client_config cfg;

    if (argc < 2)
        return 2;
    lmb_fields_default(lmb_client_fields, &cfg); /* then what this device wants otherwise */
    cfg.state_dir = argv[1];
    cfg.name = "embedded";
    cfg.threads = 1;
    cfg.nice = 10;
    snprintf(me.memory, sizeof me.memory, "%s/memory.bin", argv[1]);
    if (lmb_local_create(&me.local, &err) == LMB_OK &&
        lmb_client_create(&cfg, argc > 2 ? argv[2] : NULL, &trainer, &log, &client, &err) == LMB_OK) {
        signal(SIGTERM, on_signal);
        signal(SIGINT, on_signal);
        if (lmb_client_run(client, &err) == LMB_OK)
            printf("the federation has ended\n");
    }
    if (err.status != LMB_OK)
        fprintf(stderr, "%s\n", err.msg);
    lmb_client_destroy(client);
    lmb_local_destroy(me.local);
    return err.status != LMB_OK;
}
