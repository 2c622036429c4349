/* launch/cmd_inspect.c - `limbeck inspect`: what a configuration's model is made of, and the plan that would run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/threads.h"
#include "core/cpu/cpu.h"
#include "launch/job.h"
#include "train/model.h"

static const char usage[] =
    "usage: limbeck inspect CONFIG.yaml [--stage NAME] [--batch N] [--plan train|infer] [--time] [--set key=value ...]\n\n"
    "Prints parameters, MACs and memory of the model that a configuration describes; with --plan every step: kernel, shape,\n"
    "MACs, place in memory, and why a faster kernel was refused. --time runs the plan and adds microseconds a step.\n";

static void print_state(const lmb_graph *g)
{
    char shape[LMB_SHAPE_TEXT];
    size_t total[LMB_ROLE_COUNT] = { 0 };

    for (int v = 0; v < g->n_values; v++) {
        const lmb_value *x = &g->value[v];
        if (!lmb_role_is_state(x->role))
            continue;
        printf("  %-10s %-28s %s\n", lmb_role_name(x->role), x->name, lmb_shape_text(&x->shape, shape, sizeof shape));
        total[x->role] += (size_t)lmb_shape_count(&x->shape);
    }
    for (int r = 0; r < LMB_ROLE_COUNT; r++)
        if (total[r])
            printf("%zu numbers in %ss\n", total[r], lmb_role_name((lmb_role)r));
}

static lmb_status print_plan(const lmb_plan *plan, bool time, lmb_error *err)
{
    lmb_str s = LMB_STR_INIT;

    if (time) {
        lmb_step_info info = { 1, 0, NULL };
        LMB_TRY(lmb_plan_run((lmb_plan *)plan, &info, err));
        lmb_plan_timing((lmb_plan *)plan, true);
        for (int i = 0; i < 10; i++)
            LMB_TRY(lmb_plan_run((lmb_plan *)plan, &info, err));
    }
    lmb_plan_print(plan, &s);
    printf("%s", s.text ? s.text : "");
    lmb_str_free(&s);
    return LMB_OK;
}

static lmb_status inspect(lmb_job *j, const lmb_args *a, lmb_error *err)
{
    const char *plan = lmb_args_get(a, "plan", "");
    int64_t batch = atoll(lmb_args_get(a, "batch", "1"));
    bool time = lmb_args_get(a, "time", NULL) != NULL;
    const lmb_backend *backends[3];
    lmb_graph *model = NULL;
    lmb_program *program = NULL;
    const lmb_plan *p = NULL;
    lmb_plan *inference = NULL;
    double smoothing = 0;
    lmb_loss loss = { lmb_loss_cross_entropy, &smoothing };
    lmb_status st;

    if (batch < 1 || batch > 1000000)
        return LMB_FAIL(err, LMB_E_ARG, "--batch %s; it must be in [1, 1000000]", lmb_args_get(a, "batch", ""));
    LMB_TRY(lmb_cpu_backends(j->stage.train.backend, backends, err));
    LMB_TRY(lmb_job_data(j, err));
    LMB_TRY(lmb_model_build(j->stage.model, &j->train->shape, j->train->classes, 1, &model, err));
    lmb_plan_options o = { .backends = backends };
    LMB_TRY_GOTO(st, done, lmb_plan_compile(model, &o, &inference, err));
    print_state(model);
    printf("%.0f MACs an image, %zu bytes of activations at batch 1\n", lmb_plan_describe(inference).cost.macs,
           lmb_plan_describe(inference).arena_bytes);
    if (strcmp(plan, "train") == 0) {
        LMB_TRY_GOTO(st, done, lmb_program_create(model, &loss, backends, &program, err));
        LMB_TRY_GOTO(st, done, lmb_program_plan(program, batch, &p, err));
        st = print_plan(p, time, err);
    } else if (strcmp(plan, "infer") == 0 || time) {
        st = print_plan(inference, time, err);
    } else if (*plan) {
        st = LMB_FAIL(err, LMB_E_ARG, "--plan %s; it must be train or infer", plan);
    }
done:
    lmb_plan_destroy(inference);
    lmb_program_destroy(program);
    lmb_graph_destroy(model);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "stage", "batch", "plan", "!time", NULL };
    lmb_args a;
    lmb_job j;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file; --help explains");
    LMB_TRY(lmb_job_open(a.word[0], &a, lmb_args_get(&a, "stage", NULL), &j, err));
    lmb_status st = inspect(&j, &a, err);
    lmb_job_close(&j);
    return st;
}

const lmb_cmd lmb_cmd_inspect = { "inspect", "what is in a model: parameters, MACs, memory, the plan", usage, run };
