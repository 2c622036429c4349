/* launch/cmd_quantize.c - `limbeck quantize`: a float model to integers with a few images and no training. */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/onnx/onnx.h"
#include "distill/quantize/integer_form.h"
#include "distill/quantize/ptq.h"
#include "launch/compare.h"
#include "launch/job.h"
#include "launch/model_file.h"

static const char usage[] =
    "usage: limbeck quantize CONFIG.yaml [MODEL.onnx] [--calibration 1000] [--observer NAME] [--seed 1] [--out OUT.onnx]\n"
    "                        [--qat \"{bits: 4}\"] [--equalise] [--correct-bias] [--set key=value ...]\n\n"
    "Post-training quantisation. Folds BatchNormalization, runs `--calibration` images of the configuration's training part (all\n"
    "where it has fewer than 1,000; a choice by --seed, no augmentation) through the float model, and sets the range of every activation by what was seen:\n"
    "  minmax            the widest range (usual)  moving_average    of batches of 32\n"
    "  percentile        without the rarest values; \"{name: percentile, percent: 99.9}\" sets how many stay\n"
    "  mse               least squared error (usual with qat.activation_bits of 6 or fewer)\n"
    "  entropy           the range that loses least information\n"
    "Weights are s8 with one scale an output channel, activations u8. --qat takes the keys of `quantize.qat` in a configuration\n"
    "(docs/quantisation.md): bits of weights, of single layers, of activations; symmetric activations; scales that are powers of two.\n"
    "--equalise first balances channels between layers (Clip becomes Relu); --correct-bias takes back what rounding shifts. Then says what it cost: accuracy before and after on the\n"
    "test part, and how many answers differ. The file (default: MODEL.qat.onnx) is a model with its ranges fixed, for `limbeck export`,\n"
    "which makes a .lmb, C or an ONNX file for others of it; ONNX Runtime does not load it itself.\n\n"
    "MODEL takes raw samples (pixels 0 .. 255), or what the section of the configuration says that names this file, such as\n"
    "  model: {name: onnx, path: MODEL.onnx, mean: 73, scale: 0.0111}\n"
    "A student that loses too much this way learns with its rounding in place: `quantize` in `limbeck distill`.\n";

/* "model.onnx" to "model.qat.onnx". */
static lmb_status name_file(const lmb_args *a, lmb_str *out, lmb_error *err)
{
    const char *given = lmb_args_get(a, "out", NULL), *model = a->n_words > 1 ? a->word[1] : "model.onnx";
    size_t n = strlen(model);

    if (given)
        lmb_str_add(out, given);
    else
        lmb_str_addf(out, "%.*s.qat.onnx", (int)(n > 5 && strcmp(model + n - 5, ".onnx") == 0 ? n - 5 : n), model);
    return lmb_str_check(out, err);
}

static lmb_status quantize(lmb_job *j, const lmb_args *a, lmb_ptq_config *c, lmb_error *err)
{
    lmb_graph *model = NULL, *form = NULL, *frozen = NULL;
    lmb_str out = LMB_STR_INIT;
    lmb_status st;

    LMB_TRY(lmb_job_data(j, err));
    LMB_TRY(lmb_job_training(j, err));
    if (!lmb_args_get(a, "calibration", NULL) && c->calibration > j->train->n) /* nobody has asked for so many */
        c->calibration = j->train->n;
    LMB_TRY(lmb_ptq_check(c, j->train, false, err));
    LMB_TRY_GOTO(st, done, name_file(a, &out, err));
    if (a->n_words > 1 && lmb_same_file(out.text, a->word[1]))
        LMB_TRY_GOTO(st, done,
                     LMB_FAIL(err, LMB_E_ARG,
                              "--out %s is the model itself, whose floats would be gone; name another file", out.text));
    LMB_TRY_GOTO(st, done,
                 a->n_words > 1 ? lmb_model_file(j, a->word[1], &model, err)
                                : lmb_model_of(j, j->stage.model, 1, true, &model, err));
    LMB_TRY_GOTO(st, done, lmb_pass_integer_form(model, &form, err));
    LMB_TRY_GOTO(st, done, lmb_ptq(form, c, j->train, &frozen, err));
    LMB_TRY_GOTO(st, done, lmb_onnx_write(out.text, frozen, NULL, err));
    LMB_TRY_GOTO(st, done, lmb_compare_print("quantised", model, frozen, j->test, c->backend, err));
    printf("%s\n", out.text);
    fprintf(stderr, "for `limbeck export %s --out` a .lmb or an .onnx file; and of the .lmb, with --to c, C\n", out.text);
done:
    lmb_graph_destroy(model);
    lmb_graph_destroy(form);
    lmb_graph_destroy(frozen);
    lmb_str_free(&out);
    return st;
}

/* Options as they would stand in a configuration, in YAML: a name, or a mapping. */
static lmb_status read_option(const lmb_args *a, const char *name, const char *def, lmb_config **out, lmb_error *err)
{
    lmb_str s = LMB_STR_INIT, from = LMB_STR_INIT;

    lmb_str_addf(&s, "%s: %s\n", name, lmb_args_get(a, name, def));
    lmb_str_addf(&from, "--%s", name);
    lmb_status st = lmb_str_check(&s, err);
    if (st == LMB_OK)
        st = lmb_str_check(&from, err);
    if (st == LMB_OK)
        st = lmb_config_parse(s.text, s.n, from.text, out, err);
    lmb_str_free(&s);
    lmb_str_free(&from);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "calibration", "observer", "seed", "out", "qat", "!equalise", "!correct-bias",
        NULL };
    lmb_qat_config q;
    lmb_ptq_config c = { .backend = "cpu", .qat = &q };
    lmb_config *observer = NULL, *qat = NULL;
    int64_t seed;
    lmb_args a;
    lmb_job j;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words < 1 || a.n_words > 2)
        return LMB_FAIL(err, LMB_E_ARG, "give a configuration (for the data) and a model file; --help explains");
    LMB_TRY(lmb_args_int(&a, "calibration", 1000, 1, INT32_MAX, &c.calibration, err));
    LMB_TRY(lmb_args_int(&a, "seed", 1, 0, INT64_MAX, &seed, err));
    c.seed = (uint64_t)seed;
    c.equalise = lmb_args_get(&a, "equalise", NULL) != NULL;
    c.correct_bias = lmb_args_get(&a, "correct-bias", NULL) != NULL;
    lmb_status st = lmb_args_get(&a, "observer", NULL) ? read_option(&a, "observer", "", &observer, err) : LMB_OK;
    if (st == LMB_OK)
        st = read_option(&a, "qat", "{}", &qat, err);
    if (st == LMB_OK)
        st = lmb_fields_bind(lmb_qat_fields, lmb_tree_get(lmb_config_root(qat), "qat"), &q, err);
    if (st == LMB_OK)
        st = lmb_job_open(a.word[0], &a, a.n_words > 1 ? LMB_JOB_DATA_ONLY : NULL, &j, err);
    if (st == LMB_OK) {
        c.observer = observer ? lmb_tree_get(lmb_config_root(observer), "observer") : NULL;
        st = quantize(&j, &a, &c, err);
        lmb_job_close(&j);
    }
    lmb_config_destroy(observer);
    lmb_config_destroy(qat);
    return st;
}

const lmb_cmd lmb_cmd_quantize = { "quantize", "a float model to integers with a few images, without training", usage,
                                   run };
