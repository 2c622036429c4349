/* tests/bench/loader.c - samples a second that the loader makes ready, by itself.
 *
 *     bench_loader "{name: cifar, path: data/cifar-10-batches-bin}" "{crop: 4, flip: true}" [THREADS [BATCH [SECONDS [later]]]]
 *
 * Arguments: the `data` and `augment` sections of a configuration; threads of the loader (1). Printed: samples a second
 * and microseconds of a thread's own time (not the time it stood aside) for one, shuffled, as f32, in batches of 128;
 * later: as a GPU gets them, bytes with the changes still to be made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/config.h"
#include "core/base/threads.h"
#include "datasets/loader.h"

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static lmb_status drain(lmb_loader *l, double seconds, lmb_error *err)
{
    const lmb_batch *b;
    int64_t n = 0;
    double start = lmb_seconds(), cpu = processor_seconds(), now = start;

    for (uint32_t epoch = 1; now - start < seconds; epoch++) {
        LMB_TRY(lmb_loader_begin(l, epoch, 0, err));
        do {
            LMB_TRY(lmb_loader_next(l, &b, err));
            n += b ? b->n : 0;
            now = lmb_seconds();
        } while (b && now - start < seconds);
    }
    printf("%.0f samples/s, %.2f us of a processor for one\n", (double)n / (now - start),
           (processor_seconds() - cpu) / (double)n * 1e6);
    return LMB_OK;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    lmb_config *d = NULL, *a = NULL;
    lmb_dataset *data = NULL;
    lmb_loader *l = NULL;
    lmb_augment augment;
    lmb_status st;

    LMB_TRY_GOTO(st, done, lmb_config_parse(argv[1], strlen(argv[1]), "data", &d, err));
    LMB_TRY_GOTO(st, done, lmb_config_parse(argv[2], strlen(argv[2]), "augment", &a, err));
    LMB_TRY_GOTO(st, done, lmb_fields_bind(lmb_augment_fields, lmb_config_root(a), &augment, err));
    LMB_TRY_GOTO(st, done, lmb_dataset_open(lmb_config_root(d), LMB_PART_TRAIN, &data, err));
    lmb_loader_options o = { .data = data, .batch = argc > 4 ? atoi(argv[4]) : 128, .seed = 1, .shuffle = true,
                             .threads = argc > 3 ? atoi(argv[3]) : 1, .augment = &augment,
                             .dtype = argc > 6 ? LMB_U8 : LMB_F32, .change_later = argc > 6 };
    LMB_TRY_GOTO(st, done, lmb_loader_create(&o, &l, err));
    st = drain(l, argc > 5 ? atof(argv[5]) : 2, err);
done:
    lmb_loader_destroy(l);
    lmb_dataset_destroy(data);
    lmb_config_destroy(a);
    lmb_config_destroy(d);
    return st;
}

int main(int argc, char **argv)
{
    lmb_error err = LMB_ERROR_INIT;

    if (argc < 3 || argc > 7) {
        fprintf(stderr, "usage: bench_loader DATA AUGMENT [THREADS [BATCH [SECONDS [later]]]]\n");
        return 2;
    }
    if (run(argc, argv, &err) != LMB_OK) {
        fprintf(stderr, "bench_loader: %s\n", err.msg);
        return 1;
    }
    return 0;
}
