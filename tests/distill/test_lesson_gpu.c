/* Mirrors what train/lesson.c and distill/logits_fill.c do on a GPU: teacher and student are one plan on the device,
 * the teacher in inference form; a training from a file of logits, which the GPU has computed, ends in the bits of a
 * live one. Runs on what LMB_CUDA_MODULE names: the played module, whose kernels run on the host, or, labelled gpu,
 * the real one. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cuda/device.h"
#include "distill/logits.h"
#include "tests/gpu_main.h"
#include "tests/train/from_text.h"
#include "train/loss.h"
#include "train/trainer.h"

enum { ROWS = 16 };

static lmb_error err;
static lmb_dataset *data;
static lmb_graph *teacher, *student;
static lmb_augment augment;
static double rho; /* train.sam */

static void set_up(void)
{
    err = (lmb_error)LMB_ERROR_INIT;
    data = dataset_of("{name: synthetic, train: 48, classes: 4, height: 8, width: 8, noise: 0.4}", LMB_PART_TRAIN);
    teacher = model_of("{name: resnet, depth: 8, width: 8, mean: 100, scale: 0.02}", data, 3);
    student = model_of("{name: vgg, channels: [4, 0, 6], mean: 100, scale: 0.02}", data, 5);
}

static void tear_down(void)
{
    lmb_graph_destroy(teacher);
    lmb_graph_destroy(student);
    lmb_dataset_destroy(data);
}

static int count(const lmb_graph *g, const char *op)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n += strcmp(g->node[i].op->name, op) == 0;
    return n;
}

/* Every step is a kernel of the device, and the convolutions of both models are among them, forward once each. */
START_TEST(teacher_and_student_are_one_plan)
{
    lmb_objective o = { .distill = { .alpha = 0.6, .temperature = 2 }, .teacher = teacher, .rows = ROWS };
    lmb_loss loss = lmb_objective_loss(&o);
    const lmb_plan *plan;
    lmb_program *p;
    lmb_gpu *gpu;
    int convolutions = 0;

    set_up();
    o.teacher = teacher;
    ck_ok(lmb_gpu_open(0, &gpu, &err));
    const lmb_backend *list[] = { lmb_gpu_backend(gpu, LMB_CUDA_F32_EXACT), NULL };
    ck_ok(lmb_program_create(student, &loss, list, &p, &err));
    ck_ok(lmb_program_plan(p, ROWS, false, &plan, &err));
    for (int i = 0; i < lmb_plan_steps(plan); i++) {
        lmb_plan_step s = lmb_plan_step_at(plan, i);
        ck_assert_str_ne(s.kernel, "reference");
        convolutions += s.op && strncmp(s.op, "Conv", 4) == 0 && !strstr(s.op, "Grad");
    }
    ck_assert_int_ge(convolutions, count(teacher, "Conv") + count(student, "Conv"));
    lmb_program_destroy(p);
    lmb_gpu_close(gpu);
    tear_down();
}
END_TEST

/* How often memory was taken on the played device, pinned or its own; 0 on another. */
static long allocations(void)
{
    void *module = dlopen(getenv("LMB_CUDA_MODULE"), RTLD_NOW | RTLD_NOLOAD);
    const long *n = module ? dlsym(module, "lmb_played_allocations") : NULL;
    long value = n ? *n : 0;
    if (module)
        dlclose(module);
    return value;
}

/* mb: of the GPU's memory for the file's rows; pinned: of the host's. */
static float *train(lmb_logits *cache, const char *backend, int64_t mb, int64_t pinned, size_t *n)
{
    lmb_objective o = { .distill = { .alpha = 0.6, .temperature = 2, .gpu_mb = mb, .pinned_mb = pinned },
                        .teacher = teacher, .rows = ROWS,
                        .logits = cache ? lmb_logits_rows : NULL, .logits_ctx = cache };
    if (cache)
        lmb_logits_extent(cache, &o.logits_epochs, &o.logits_samples);
    lmb_loss loss = lmb_objective_loss(&o);
    lmb_config *c = config_of("{epochs: 3, batch: 32, shard: 16, lr: 0.02, seed: 9, threads: 1}");
    lmb_train_config settings;
    lmb_trainer *t;

    ck_ok(lmb_fields_bind(lmb_train_fields, lmb_config_root(c), &settings, &err));
    settings.backend = backend;
    settings.augment = augment;
    settings.sam.rho = rho;
    ck_ok(lmb_trainer_create(&settings, student, &loss, data, NULL, NULL, &t, &err));
    ck_ok(lmb_trainer_run(t, NULL, &err));
    *n = lmb_trainer_state_of(t)->layout->count;
    float *w = malloc(*n * sizeof *w);
    memcpy(w, lmb_trainer_state_of(t)->state, *n * sizeof *w);
    lmb_trainer_destroy(t);
    lmb_config_destroy(c);
    return w;
}

static void remove_folder(const char *folder)
{
    char path[400];
    DIR *d = opendir(folder);

    for (struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unlink(path);
    }
    closedir(d);
    rmdir(folder);
}

/* Samples as they are, whose rows are the same in all epochs, and augmented ones, which also in two passes a
 * step (train.sam). */
START_TEST(from_a_file_as_live)
{
    char folder[] = "/tmp/lmb_gpu_lesson_XXXXXX";
    double error = 0, size = 0;
    lmb_logits *l;
    lmb_comm *self;
    size_t n;

    set_up();
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_ok(lmbi_comm_open_self(&self, &err));
    rho = _i == 2 ? 0.1 : 0;
    augment = _i ? (lmb_augment){ .crop = 1, .flip = true } : (lmb_augment){ 0 };
    lmb_logits_key k = { teacher, data, _i ? &augment : NULL, 9, "cuda", ROWS, 3 };
    ck_ok(lmb_logits_open(folder, &k, 2, self, NULL, &l, &err));
    float *live = train(NULL, "cuda", 0, 0, &n), *host = train(NULL, "portable", 0, 0, &n);
    long taken[4] = { allocations() };
    float *cached = train(l, "cuda", 0, 0, &n);
    taken[1] = allocations();
    float *kept = train(l, "cuda", 1, 0, &n);
    taken[2] = allocations();
    float *pinned = train(l, "cuda", 0, 1, &n);
    taken[3] = allocations();
    ck_assert_int_eq(taken[3] - taken[2], taken[2] - taken[1]); /* a table, and the rows of a shard */
    ck_assert(!taken[3] || taken[3] - taken[2] == taken[1] - taken[0] + 2);
    ck_assert_mem_eq(live, cached, n * sizeof *live);
    ck_assert_mem_eq(live, kept, n * sizeof *live);
    ck_assert_mem_eq(live, pinned, n * sizeof *live);
    for (size_t i = 0; i < n; i++) {
        error = fmax(error, fabs((double)host[i] - live[i]));
        size = fmax(size, fabs(host[i]));
    }
    ck_assert_double_le(error, 1e-3 * size);
    free(live);
    free(cached);
    free(kept);
    free(pinned);
    free(host);
    lmb_logits_close(l);
    lmb_comm_close(self);
    remove_folder(folder);
    tear_down();
}
END_TEST

LMB_GPU_TEST_MAIN("distill/lesson_gpu", add(teacher_and_student_are_one_plan); add_loop(from_a_file_as_live, 3);)
