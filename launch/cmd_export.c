/* launch/cmd_export.c - `limbeck export`: the deployable files of a student, and what they are worth. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "core/base/threads.h"
#include "core/onnx/onnx.h"
#include "core/passes/fold.h"
#include "distill/quantize/facts.h"
#include "distill/quantize/laid_file.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/packed_file.h"
#include "distill/quantize/profile.h"
#include "distill/quantize/qdq.h"
#include "launch/answers.h"
#include "launch/export.h"
#include "launch/integers.h"
#include "launch/job.h"
#include "launch/model_file.h"
#include "launch/prove.h"
#include "launch/signature.h"
#include "launch/softmax.h"
#include "launch/stage.h"

static const char usage[] =
    "usage: limbeck export CONFIG.yaml [--from student|federation] [--packed | --laid NAMES] [--profile NAME]\n"
    "                      [--kernels NAME] [--set key=value ...]\n"
    "       limbeck export MODEL.onnx --out FILE.onnx|FILE.lmb [--packed | --laid NAMES] [--profile NAME]\n"
    "       limbeck export MODEL.lmb --out FILE.lmb --packed | --laid NAMES\n"
    "       limbeck export MODEL.lmb --to c --out FOLDER [--name NAME]\n\n"
    "Of a run, the quantised student (or the federation's best round) as deployable files, in <run>/student-int8 or\n"
    "<run>/federated-int8:\n"
    "  model.lmb         integers for the device runtime (core/edge)\n"
    "  model-int8.onnx   the same integers in ONNX's words, QuantizeLinear and DequantizeLinear, opset 13: input f32, "
    "raw bytes\n"
    "and of the float student <run>/student/model-f32.onnx, opset 13, BatchNormalization folded. Evaluates the "
    "integers on the\n"
    "test part, with the runtime that devices use, and says how many answers differ from the simulation that training "
    "saw.\n\n"
    "Of one file: a float model becomes portable ONNX; one that `limbeck quantize` or `distill` left, or a QDQ model "
    "from\n"
    "elsewhere, becomes QDQ ONNX or .lmb.\n\n"
    "--packed codes the weights of the .lmb to about their entropy: sparse ones and those of few bits take far less "
    "than a byte\n"
    "each. A device unpacks such a file into memory before it opens it (core/edge/packed.h).\n\n"
    "--laid puts the weights into the .lmb once more, in the order in which the kernels of the devices read them: a device "
    "that\n"
    "maps the file and calls lmb_edge_use_laid (core/edge/laid.h) leaves them there instead of repacking them in RAM, with the\n"
    "same answers. NAMES, with commas between them: avx512vnni, avxvnni, avx2, neondot, neon; \"\": without any again.\n\n"
    "--to c writes NAME.c and NAME.h (NAME: the file's), C99 for devices without an operating system: no heap, weights in\n"
    "flash, one static arena, the same bytes as the .lmb. `NAME_run(input, output)` is all there is to call; NAME_test.c has\n"
    "`NAME_selftest()`, which says on the device whether its answers are those of the runtime.\n\n"
    "--profile writes the ONNX file for a runtime (docs/quantisation.md), and refuses a model that it would answer "
    "otherwise for:\n"
    "  ort-x86   u8 activations (the default)           ort-arm    s8 activations\n"
    "  tensorrt  s8, zero points 0                      universal  u8, zero points 128: the same integers as s8 with 0\n"
    "  pot       all scales powers of two               weights7   |w| <= 64, for AVX2 alone\n"
    "  int4      weights of 4 bits as INT4, opset 21\n"
    "It is of integers alone, and of ONNX files: floats and --out FILE.lmb have none.\n";

/* Answers of the simulation (the FakeQuant graph) that differ from the integers'. */
static lmb_status count_flips(const lmb_graph *qat, const lmb_dataset *test, const float *logits, int classes,
                              int64_t *flips, lmb_error *err)
{
    float *simulated = malloc(sizeof *simulated * (size_t)(test->n * classes + 1));
    lmb_status st =
        simulated ? lmb_answers(qat, test, "cpu", simulated, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory to compare");

    *flips = 0;
    for (int64_t i = 0; i < test->n && st == LMB_OK; i++)
        *flips += lmb_argmax(simulated + i * classes, classes) != lmb_argmax(logits + i * classes, classes);
    free(simulated);
    return st;
}

static lmb_status evaluate(const lmb_job *j, const char *stage, const lmb_graph *qat, const lmb_str *file,
                           const lmb_args *a, lmb_facts *facts, lmb_error *err)
{
    lmb_stage_result r = { .name = stage, .data = j->test };
    lmb_deploy_figures f = { 0 };
    char note[400];
    lmb_metrics m;
    int64_t flips = 0;
    float *logits = malloc(sizeof *logits * (size_t)(j->test->n * j->test->classes));

    if (!logits)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for logits");
    lmb_status st = lmb_metrics_init(&m, j->test->classes, err);
    if (st != LMB_OK) {
        free(logits);
        return st;
    }
    st = lmb_integers_evaluate(a, j->c.train.backend, file->text, file->n, j->test, &m, logits, &f, err);
    if (st == LMB_OK)
        st = count_flips(qat, j->test, logits, j->test->classes, &flips, err);
    snprintf(note, sizeof note, "%lld of %lld answers differ from the simulation; %.0f bytes of working memory",
             (long long)flips, (long long)j->test->n, f.arena_bytes);
    if (st == LMB_OK)
        st = lmb_prove_note(j->c.run, stage, note, sizeof note, err);
    r.metrics = &m;
    r.parameters = f.parameters, r.macs = f.macs, r.bytes = f.bytes, r.latency_us = f.latency_us, r.note = note;
    if (st == LMB_OK)
        st = lmb_stage_write(j->c.run, &r, err);
    if (st == LMB_OK) {
        lmb_stage_print(&r);
        printf("%s: %s\n", stage, note);
    }
    for (int k = 0; k < m.classes; k++)
        facts->right += m.confusion[(size_t)k * (size_t)m.classes + (size_t)k];
    facts->samples = m.n;
    lmb_metrics_deinit(&m);
    free(logits);
    return st;
}

/* ---- files ---- */

static lmb_status write_portable(const char *path, const lmb_graph *g, lmb_error *err)
{
    const lmb_onnx_export_options strict = { .strict = true };
    return lmb_onnx_write(path, g, &strict, err);
}

static lmb_status write_integers(const char *path, const lmb_graph *qdq, const char *profile, lmb_error *err)
{
    const lmb_profile *p;
    lmb_graph *g = NULL;

    LMB_TRY(lmb_profile_find(profile, &p, err));
    LMB_TRY(lmb_pass_profile(qdq, p, &g, err));
    const lmb_onnx_export_options o = { .strict = true, .int4 = p->int4 };
    lmb_status st = lmb_onnx_write(path, g, &o, err);
    lmb_graph_destroy(g);
    return st;
}

/* What is done with the weights of a .lmb. */
typedef struct form {
    bool packed;
    const char *laid; /* kernel sets; NULL: not asked */
} form;

static lmb_status form_of(const lmb_args *a, form *f, lmb_error *err)
{
    f->packed = lmb_args_get(a, "packed", NULL) != NULL;
    f->laid = lmb_args_get(a, "laid", NULL);
    if (f->packed && f->laid)
        return LMB_FAIL(err, LMB_E_ARG,
                        "--packed and --laid: a packed file is unpacked into RAM, which --laid is to save; give one");
    return LMB_OK;
}

static lmb_status apply(const form *f, lmb_str *file, lmb_error *err)
{
    if (f->laid)
        LMB_TRY(lmb_laid_make(file, f->laid, err));
    return f->packed ? lmb_packed_make(file, err) : LMB_OK;
}

/* The .lmb, with its facts where there are any. */
static lmb_status lower(const lmb_graph *qdq, const form *f, const lmb_facts *facts, lmb_str *file, lmb_error *err)
{
    lmb_str_clear(file);
    LMB_TRY(lmb_lower(qdq, file, err));
    if (facts)
        LMB_TRY(lmb_facts_put(file, facts, err));
    return apply(f, file, err);
}

/* BatchNormalization folded, operators of ONNX only. */
static lmb_status write_float(const char *path, const lmb_graph *g, lmb_error *err)
{
    lmb_graph *folded = NULL;
    LMB_TRY(lmb_pass_fold(g, &folded, err));
    lmb_status st = write_portable(path, folded, err);
    lmb_graph_destroy(folded);
    return st;
}

/* The float student that the integers come from, if this run has one. */
static lmb_status export_float(const lmb_job *j, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    lmb_graph *g = NULL;

    LMB_TRY(lmb_stage_path(path, j->c.run, "student", "model.onnx", err));
    if (!lmb_file_exists(path))
        return LMB_OK;
    LMB_TRY(lmb_onnx_read(path, NULL, &g, err));
    lmb_status st = lmb_stage_path(path, j->c.run, "student", "model-f32.onnx", err);
    if (st == LMB_OK)
        st = write_float(path, g, err);
    lmb_graph_destroy(g);
    return st;
}

static lmb_status export(lmb_job *j, const lmb_args *a, lmb_error *err)
{
    const char *from = lmb_args_get(a, "from", "student");
    bool federated = strcmp(from, "federation") == 0;
    const char *stage = federated ? "federated-int8" : "student-int8";
    char path[LMB_STAGE_PATH];
    lmb_graph *qat = NULL, *qdq = NULL;
    lmb_str file = LMB_STR_INIT;
    lmb_facts facts = { .part = "test" };
    lmb_status st;
    form f;

    LMB_TRY(form_of(a, &f, err));
    if (!federated && strcmp(from, "student") != 0)
        return LMB_FAIL(err, LMB_E_ARG, "--from %s; it must be student or federation", from);
    LMB_TRY(lmb_job_data(j, err));
    facts.samples = j->test->n;
    LMB_TRY(
        lmb_stage_path(path, j->c.run, federated ? "federation" : stage, federated ? "model.onnx" : "qat.onnx", err));
    LMB_TRY(lmb_onnx_read(path, NULL, &qat, err));
    LMB_TRY_GOTO(st, done, lmb_pass_qdq(qat, &qdq, err));
    if (!federated && j->train) { /* what a federation's clients have is theirs */
        facts.data = j->train->hash(j->train);
        facts.has_data = true;
    }
    LMB_TRY_GOTO(st, done, lower(qdq, &f, &facts, &file, err));
    LMB_TRY_GOTO(st, done, lmb_stage_path(path, j->c.run, stage, "model-int8.onnx", err));
    LMB_TRY_GOTO(st, done, write_integers(path, qdq, lmb_args_get(a, "profile", "ort-x86"), err));
    if (!federated)
        LMB_TRY_GOTO(st, done, export_float(j, err));
    LMB_TRY_GOTO(st, done, lmb_stage_path(path, j->c.run, stage, "model.lmb", err));
    LMB_TRY_GOTO(st, done, evaluate(j, stage, qat, &file, a, &facts, err));
    LMB_TRY_GOTO(st, done, lower(qdq, &f, &facts, &file, err)); /* now it can say how accurate it is */
    LMB_TRY_GOTO(st, done, lmb_file_write(path, file.text, file.n, err));
    printf("%s\n", path);
done:
    lmb_str_free(&file);
    lmb_graph_destroy(qat);
    lmb_graph_destroy(qdq);
    return st;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

static bool has_fake_quant(const lmb_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (strcmp(g->node[i].op->name, "FakeQuant") == 0)
            return true;
    return false;
}

/* A finished .lmb, with what others have put into it, once more with its weights in this form; a signature would not
 * hold. Packed, it has none laid out. */
static lmb_status form_file(const char *from, const char *to, const form *f, lmb_error *err)
{
    lmb_str file = LMB_STR_INIT;
    bool was_signed = lmb_signature_is_in(from);
    void *plain;
    size_t n;

    LMB_TRY(lmb_packed_read(from, &plain, &n, NULL, err));
    lmb_str_add_n(&file, plain, n);
    free(plain);
    lmb_status st = lmb_str_check(&file, err);
    if (st == LMB_OK && f->packed)
        st = lmb_laid_make(&file, "", err);
    if (st == LMB_OK)
        st = apply(f, &file, err);
    if (st != LMB_OK)
        lmb_error_context(err, "%s", from);
    if (st == LMB_OK)
        st = lmb_file_write(to, file.text, file.n, err);
    if (st == LMB_OK)
        lmb_signature_gone(was_signed, to);
    lmb_str_free(&file);
    return st;
}

/* One file into another, without a configuration. `profile` NULL: not asked. */
static lmb_status export_file(const char *from, const char *to, const form *f, const char *profile, lmb_error *err)
{
    bool lmb = ends_with(to, ".lmb");
    lmb_graph *g = NULL, *qdq = NULL;
    lmb_str file = LMB_STR_INIT;
    lmb_status st;

    if (profile && lmb)
        return LMB_FAIL(err, LMB_E_ARG,
                        "--profile %s is how an ONNX file is written, and %s has the same integers whatever the profile; "
                        "leave it out, or give --out FILE.onnx", profile, to);
    if ((f->packed || f->laid) && !lmb)
        return LMB_FAIL(err, LMB_E_ARG, "--%s is for --out FILE.lmb, and this is %s", f->packed ? "packed" : "laid", to);
    if (!lmb && !ends_with(to, ".onnx"))
        return LMB_FAIL(err, LMB_E_ARG, "--out %s; its name must end in .onnx or .lmb", to);
    if ((f->packed || f->laid) && ends_with(from, ".lmb"))
        return form_file(from, to, f, err);
    LMB_TRY(lmb_no_lmb(from, err));
    LMB_TRY(lmb_onnx_read(from, NULL, &g, err));
    if (has_fake_quant(g))
        LMB_TRY_GOTO(st, done, lmb_pass_qdq(g, &qdq, err));
    const lmb_graph *whole = qdq ? qdq : g;
    if (lmb && !lmb_is_qdq(whole)) {
        st = LMB_FAIL(err, LMB_E_UNSUPPORTED,
                      "%s is not quantised, and .lmb holds integers; run `limbeck quantize` on it first", from);
    } else if (profile && !lmb_is_qdq(whole)) {
        st = LMB_FAIL(err, LMB_E_UNSUPPORTED,
                      "%s is not quantised, and --profile %s is how integers are written; run `limbeck quantize` on it "
                      "first, or leave --profile out", from, profile);
    } else if (lmb) {
        lmb_say_outputs(from, whole);
        LMB_TRY_GOTO(st, done, lower(whole, f, NULL, &file, err));
        st = lmb_file_write(to, file.text, file.n, err);
    } else {
        st = lmb_is_qdq(whole) ? write_integers(to, whole, profile ? profile : "ort-x86", err) : write_float(to, whole, err);
    }
done:
    lmb_str_free(&file);
    lmb_graph_destroy(g);
    lmb_graph_destroy(qdq);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "from", "kernels", "out", "to", "name", "profile", "laid", "!packed", NULL };
    lmb_args a;
    form f;
    lmb_job j;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one configuration file, or a model and --out; --help explains");
    if (lmb_args_get(&a, "name", NULL) && !lmb_args_get(&a, "to", NULL))
        return LMB_FAIL(err, LMB_E_ARG, "--name is for --to c");
    LMB_TRY(form_of(&a, &f, err));
    if ((f.packed || f.laid) && lmb_args_get(&a, "to", NULL))
        return LMB_FAIL(err, LMB_E_ARG, "--%s is for .lmb files; C source has its weights as they are",
                        f.packed ? "packed" : "laid");
    if (lmb_args_get(&a, "to", NULL) && lmb_args_get(&a, "profile", NULL))
        return LMB_FAIL(err, LMB_E_ARG, "--profile is for ONNX files; C source has the integers as they are");
    if (lmb_args_get(&a, "to", NULL))
        return lmbi_export_c(&a, err);
    if (lmb_args_get(&a, "out", NULL))
        return export_file(a.word[0], lmb_args_get(&a, "out", NULL), &f,
                           lmb_args_get(&a, "profile", NULL), err);
    if (ends_with(a.word[0], ".lmb") || ends_with(a.word[0], ".onnx"))
        return LMB_FAIL(err, LMB_E_ARG, "%s: what is it to become? --out FILE.lmb or FILE.onnx, or --to c --out FOLDER", a.word[0]);
    LMB_TRY(lmb_job_open(a.word[0], &a, LMB_JOB_DATA_ONLY, &j, err));
    lmb_status st = export(&j, &a, err);
    lmb_job_close(&j);
    return st;
}

const lmb_cmd lmb_cmd_export = { "export", "deployable files of a student: .lmb, ONNX", usage, run };
