/* train/train_options.c - options of a training, and what follows from them alone: backends, memory, threads, shards.
 * See trainer.h.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "train/trainer_internal.h"

static const char *const modes[] = { "deterministic", "fast", NULL };
static const char *const precisions[] = { "f32", "bf16", "tf32", NULL };
static const char *const costs[] = { "counted", "measured", NULL };
static const char *const graphs[] = { "auto", "on", "off", NULL };
static const char *const changers[] = { "auto", "gpu", "cpu", NULL };
static const char *const ways[] = { "auto", "window", "messages", "nccl", NULL };
static const char *const reduce_types[] = { "f32", "bf16", NULL };

static const lmb_field pipeline_fields[] = {
    LMB_INT(lmb_pipeline_config, stages, 1, 1, LMB_MOST_STAGES, "",
            "the model is cut into; ranks share them out in order; 1: no pipeline"),
    LMB_INT(lmb_pipeline_config, microbatches, 8, 1, 4096, "",
            "a batch is cut into, each with BatchNormalization statistics of its own"),
    LMB_CHOICE(lmb_pipeline_config, cost, LMB_COST_COUNTED, costs,
               "that stages share evenly; measured: rank 0 runs the model's pieces first; no f32 bit changes"),
    LMB_FIELD_END
};

static const lmb_field sam_fields[] = {
    LMB_REAL(lmb_sam_config, rho, 0, 0, 1000, "", "how far uphill, such as 0.05, or 0.5 if adaptive; 0: not at all"),
    LMB_BOOL(lmb_sam_config, adaptive, false, "ASAM: a weight goes as far as its size allows"),
    LMB_FIELD_END
};

const lmb_field lmb_train_fields[] = {
    LMB_INT(lmb_train_config, epochs, 10, 1, 1e6, "epochs", "passes over the training set"),
    LMB_INT(lmb_train_config, batch, 128, 1, 1e6, "samples", "in a global batch, over all ranks"),
    LMB_CHOICE(lmb_train_config, mode, 0, modes, "deterministic: the same bits on any number of workers"),
    LMB_CHOICE(lmb_train_config, precision, 0, precisions,
               "of feature maps in a step; bf16 halves them and doubles the speed of products, weights stay f32; "
               "tf32 (cuda): f32, products of 11 bits"),
    LMB_INT(lmb_train_config, shard, 32, 1, 1e6, "samples",
            "a shard of deterministic mode, the work of one thread; losses that compare samples look no further"),
    LMB_INT(lmb_train_config, bucket_kb, 256, 0, 1e6, "KiB",
            "of gradients are summed over ranks while the backward pass goes on; 0: all at its end"),
    LMB_CHOICE(lmb_train_config, reduce, LMBI_AUTO, ways,
               "sums over ranks; window: through memory that the ranks of a node share; auto: where they can; "
               "nccl: between GPUs, as auto does"),
    LMB_CHOICE(lmb_train_config, reduce_type, 0, reduce_types,
               "in which gradients travel between GPUs; bf16 halves the bytes and rounds each summand"),
    LMB_INT(lmb_train_config, threads, 0, 0, 1024, "",
            "of each rank; 0: all processors, shared among the ranks of a node"),
    LMB_INT(lmb_train_config, seed, 1, 0, 9e15, "", "of weights, order and augmentation"),
    LMB_REAL(lmb_train_config, lr, 0.1, 0, 1000, "", "learning rate, before the schedule"),
    LMB_REAL(lmb_train_config, warmup_epochs, 0, 0, 1e6, "epochs", "in which the rate rises from 0"),
    LMB_REAL(lmb_train_config, clip, 0, 0, 1e9, "", "largest norm of the gradient; 0: no limit"),
    LMB_REAL(lmb_train_config, loss_scale, 1, 1e-9, 1e9, "",
             "backward passes begin with it, and gradients are divided by it before all else; bf16 needs none"),
    LMB_REAL(lmb_train_config, label_smoothing, 0, 0, 0.99, "", "share of the label spread over all classes"),
    LMB_REAL(lmb_train_config, ema, 0, 0, 1, "", "memory of the averaged weights; 0: none are kept"),
    LMB_INT(lmb_train_config, patience, 0, 0, 1e6, "epochs",
            "stop when validation has not improved for so long; 0: never"),
    LMB_INT(lmb_train_config, validate_from, 1, 1, 1e6, "",
            "first epoch that ends with validation, and so may be the best; the last one always does"),
    LMB_REAL(lmb_train_config, target_accuracy, 0, 0, 1, "",
             "stop as soon as validation reaches it, such as 0.94, and say when that was; 0: go on"),
    LMB_REAL(lmb_train_config, minutes, 0, 0, 1e6, "min",
             "of one `limbeck train` or `distill`, which then saves and ends with exit code 3; the same command goes "
             "on; 0: no limit"),
    LMB_SECTION(lmb_train_config, augment, lmb_augment_fields, "random changes to training images"),
    LMB_CHOICE(lmb_train_config, augment_on, LMB_CHANGE_AUTO, changers,
               "where (cuda); gpu: images go there as bytes and are changed there; auto: if it can be; no bit changes"),
    LMB_TREE(lmb_train_config, optimizer, "name and options; `limbeck list optimizers`"),
    LMB_BOOL(lmb_train_config, decay_all, false,
             "weight_decay and l1 of biases and BatchNormalization too, which have none otherwise"),
    LMB_TREE(lmb_train_config, schedule, "name and options; `limbeck list schedules`"),
    LMB_BOOL(lmb_train_config, shard_optimizer, false,
             "divide what the optimizer remembers, and its step, among the ranks (ZeRO-1); no bit changes"),
    LMB_BOOL(
        lmb_train_config, sync_batch_norm, false,
        "normalise over the rows of all ranks, one shard each (train.mode=fast, train.threads=1); slow on processors"),
    LMB_BOOL(lmb_train_config, share_gpu, false,
             "several ranks of a host may take one GPU; their gradients are then summed on the host"),
    LMB_SECTION(lmb_train_config, sam, sam_fields,
                "sharpness-aware minimisation: the gradient of a second pass, uphill of the weights"),
    LMB_SECTION(lmb_train_config, pipeline, pipeline_fields, "a model in stages, for what one rank has no room for"),
    LMB_REAL(lmb_train_config, stall_s, 25, 0.5, 1e6, "s",
             "a rank that keeps the others waiting, or a GPU its host, for so long is named and the job ends"),
    LMB_REAL(lmb_train_config, measure_s, 60, 0, 1e6, "s",
             "for timing a GPU's ways of convolutions and products in fast mode, in all; then the first way is taken"),
    LMB_REAL(lmb_train_config, checkpoint_s, 30, 0, 1e6, "s",
             "between checkpoints inside an epoch; each epoch ends with one"),
    LMB_TEXT(lmb_train_config, memory, "fast",
             "of a rank's feature maps: fast; small: cheap ones are computed twice; "
             "or a limit in bytes, as 500M or 2G; no bit changes"),
    LMB_CHOICE(lmb_train_config, graph, 0, graphs,
               "a step on a GPU is recorded and replayed as one; auto: where it can be, on: or the training ends"),
    LMB_TEXT(lmb_train_config, backend, "cpu",
             "cpu, onednn, own, portable or reference; cuda: steps run on a GPU, one for each rank of a node"),
    LMB_FIELD_END
};

lmb_status lmb_train_backends(const lmb_train_config *c, const lmb_backend **list, lmb_error *err)
{
    if (c->precision == LMB_TRAIN_TF32)
        return LMB_FAIL(err, LMB_E_ARG,
                        "train.precision=tf32 is a way of multiplying on GPUs; set train.precision=f32 or "
                        "train.backend=cuda");
    return c->precision == LMB_TRAIN_BF16 ? lmb_cpu_backends_bf16(c->backend, list, err)
                                          : lmb_cpu_backends(c->backend, list, err);
}

lmb_status lmb_train_memory(const lmb_train_config *c, int threads, size_t *bytes, lmb_error *err)
{
    static const char units[] = "KMG";
    char *end = NULL;
    double n = strtod(c->memory, &end);

    *bytes = SIZE_MAX;
    if (strcmp(c->memory, "fast") == 0)
        return LMB_OK;
    *bytes = 0;
    if (strcmp(c->memory, "small") == 0)
        return LMB_OK;
    const char *unit = *end ? strchr(units, *end) : NULL;
    for (long i = unit ? unit - units : -1; i >= 0; i--)
        n *= 1000;
    if (end == c->memory || (unit ? end[1] : *end) || !(n >= 1000 && n < 1e15))
        return LMB_FAIL(err, LMB_E_ARG,
                        "train.memory is '%s'; it must be fast, small, or bytes from 1000 on, as 500M or 2G",
                        c->memory);
    *bytes = (size_t)(n / threads);
    return LMB_OK;
}

bool lmb_train_on_gpu(const lmb_train_config *c) { return strcmp(c->backend, "cuda") == 0; }
bool lmb_train_is_fast(const lmb_train_config *c) { return c->mode == LMBI_FAST; }

int lmbi_train_threads(const lmb_train_config *c, int ranks)
{
    return lmb_train_on_gpu(c) ? 1 : c->threads ? (int)c->threads : (lmb_cpu_count() + ranks - 1) / ranks;
}

int64_t lmb_train_rows(const lmb_train_config *c, int64_t samples, int ranks)
{
    int64_t batch = c->batch < samples ? c->batch : samples, slots = (int64_t)lmbi_train_threads(c, ranks) * ranks;

    if (c->mode == LMBI_FAST)
        return (batch + slots - 1) / slots;
    if (c->pipeline.stages > 1)
        return (batch + c->pipeline.microbatches - 1) / c->pipeline.microbatches;
    return c->shard < batch ? c->shard : batch;
}
