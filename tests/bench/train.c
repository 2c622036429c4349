/* tests/bench/train.c - what determinism costs, and what summing gradients during the backward pass gains.
 *
 *     bench_train [pairs [settings]]                  deterministic / fast; with several ranks also overlap on / off
 *     mpirun -n 2 --bind-to none bench_train 7 "{model: {name: resnet, depth: 20}, train: {threads: 1, batch: 128}}"
 *
 * The two sides of a pair run one after the other and pairs alternate, so that whatever else the machine does meets
 * both; the figure is the median of the ratios of images per second. One line a comparison, from rank 0.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/threads.h"
#include "train/model.h"
#include "train/trainer.h"

enum { MAX_PAIRS = 101 };

typedef struct bench {
    lmb_comm *comm;
    lmb_dataset *data;
    lmb_graph *model;
    const lmb_tree *train;
} bench;

static lmb_status on_epoch(void *seconds, lmb_trainer *t, const lmb_epoch *e, lmb_error *err)
{
    (void)t, (void)err;
    *(double *)seconds = e->seconds;
    return LMB_OK;
}

/* Images per second of the second epoch: the first compiles the plans. */
static lmb_status speed(const bench *b, int64_t mode, int64_t bucket_kb, double *out, lmb_error *err)
{
    double smoothing = 0, seconds = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_train_watch watch = { .epoch = on_epoch, .ctx = &seconds };
    lmb_train_config c;
    lmb_trainer *t;

    LMB_TRY(lmb_fields_bind(lmb_train_fields, b->train, &c, err));
    c.epochs = 2;
    c.mode = mode;
    if (bucket_kb >= 0)
        c.bucket_kb = bucket_kb;
    LMB_TRY(lmb_trainer_create(&c, b->model, &loss, b->data, NULL, b->comm, &t, err));
    lmb_status st = lmb_trainer_run(t, &watch, err);
    lmb_trainer_destroy(t);
    *out = (double)b->data->n / seconds;
    return st;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct side { const char *name; int64_t mode, bucket_kb; } side;

static lmb_status compare(const bench *b, int pairs, const side *s, lmb_error *err)
{
    double v[2][MAX_PAIRS], ratio[MAX_PAIRS];

    for (int i = 0; i < pairs; i++) {
        for (int k = 0; k < 2; k++) {
            int which = (i + k) % 2;
            LMB_TRY(speed(b, s[which].mode, s[which].bucket_kb, &v[which][i], err));
        }
        ratio[i] = v[0][i] / v[1][i];
    }
    for (int k = 0; k < 2; k++)
        qsort(v[k], (size_t)pairs, sizeof *v[k], by_size);
    qsort(ratio, (size_t)pairs, sizeof *ratio, by_size);
    if (b->comm->rank == 0)
        printf("%d ranks: %s %.0f images/s, %s %.0f images/s, ratio %.3f (%.3f to %.3f)\n", b->comm->size, s[0].name,
               v[0][pairs / 2], s[1].name, v[1][pairs / 2], ratio[pairs / 2], ratio[0], ratio[pairs - 1]);
    return LMB_OK;
}

static lmb_status run(bench *b, int pairs, const char *settings, lmb_error *err)
{
    static const char data[] = "{name: synthetic, train: 2048, classes: 10, height: 32, width: 32, channels: 3}";
    static const side modes[2] = { { "deterministic", 0, -1 }, { "fast", 1, -1 } };
    static const side overlap[2] = { { "overlap", 0, -1 }, { "no overlap", 0, 0 } };
    lmb_config *d = NULL, *c = NULL;
    lmb_status st;

    LMB_TRY_GOTO(st, done, lmb_config_parse(data, strlen(data), "data", &d, err));
    LMB_TRY_GOTO(st, done, lmb_config_parse(settings, strlen(settings), "settings", &c, err));
    b->train = lmb_tree_get(lmb_config_root(c), "train");
    LMB_TRY_GOTO(st, done, lmb_dataset_open(lmb_config_root(d), LMB_PART_TRAIN, &b->data, err));
    LMB_TRY_GOTO(st, done,
                 lmb_model_build(lmb_tree_get(lmb_config_root(c), "model"), &b->data->shape, b->data->classes, 1,
                                 &b->model, err));
    LMB_TRY_GOTO(st, done, compare(b, pairs, modes, err));
    if (b->comm->size > 1)
        st = compare(b, pairs, overlap, err);
done:
    lmb_graph_destroy(b->model);
    lmb_dataset_destroy(b->data);
    lmb_config_destroy(c);
    lmb_config_destroy(d);
    return st;
}

int main(int argc, char **argv)
{
    int pairs = argc > 1 ? atoi(argv[1]) : 7;
    const char *settings =
        argc > 2 ? argv[2] : "{model: {name: resnet, depth: 8}, train: {batch: 128, threads: 1, lr: 0.01}}";
    lmb_error err = LMB_ERROR_INIT;
    bench b = { 0 };

    if (pairs < 1 || pairs > MAX_PAIRS)
        return fprintf(stderr, "1 to %d pairs\n", MAX_PAIRS), 2;
    lmb_status st = lmb_comm_open(&b.comm, &err);
    if (st == LMB_OK)
        st = run(&b, pairs, settings, &err);
    if (st != LMB_OK)
        fprintf(stderr, "bench_train: %s\n", err.msg);
    if (st != LMB_OK && b.comm)
        b.comm->abort(b.comm, 1);
    lmb_comm_close(b.comm);
    return st != LMB_OK;
}
