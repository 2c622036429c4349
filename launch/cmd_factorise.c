/* launch/cmd_factorise.c - `limbeck factorise`: layers of a float model as thinner ones, without data or training. */
#include <stdio.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/str.h"
#include "core/onnx/onnx.h"
#include "launch/cmd.h"
#include "launch/lowrank.h"

static const char usage[] =
    "usage: limbeck factorise MODEL.onnx [--lowrank \"{energy: 0.9, tile: 4}\"] [--out OUT.onnx]\n\n"
    "Says which layers of a float model are of low rank, and leaves the model with these as two or three thinner ones\n"
    "(default: MODEL.thin.onnx). No data is looked at and nothing is trained: the table says what is lost of the weights,\n"
    "`limbeck eval` what that does to answers, and `student.lowrank` of `limbeck distill` trains on.\n\n"
    "  energy   share of a layer's squared singular values that is kept (0.9); of k x k, of each of two unfoldings, so\n"
    "           that at least 2 energy - 1 of the layer is left: the table says how much\n"
    "  gain     share of its multiply-accumulates that a layer must be rid of (0.1)\n"
    "  tile     ranks are rounded up to multiples of it (4)\n"
    "  ends     false leaves the first and the last layer alone\n"
    "  layers   only these: a list of names of weights\n";

/* "model.onnx" to "model.thin.onnx". */
static lmb_status name_file(const lmb_args *a, lmb_str *out, lmb_error *err)
{
    const char *given = lmb_args_get(a, "out", NULL), *model = a->word[0];
    size_t n = strlen(model);

    if (given)
        lmb_str_add(out, given);
    else
        lmb_str_addf(out, "%.*s.thin.onnx", (int)(n > 5 && strcmp(model + n - 5, ".onnx") == 0 ? n - 5 : n), model);
    return lmb_str_check(out, err);
}

static lmb_status factorise(const lmb_args *a, const lmb_ranks_config *c, lmb_error *err)
{
    lmb_graph *model = NULL, *thin = NULL;
    lmb_ranks ranks = { 0 };
    lmb_str out = LMB_STR_INIT;
    lmb_status st;

    LMB_TRY_GOTO(st, done, name_file(a, &out, err));
    LMB_TRY_GOTO(st, done, lmb_onnx_read(a->word[0], NULL, &model, err));
    LMB_TRY_GOTO(st, done, lmb_ranks_choose(model, c, &ranks, err));
    LMB_TRY_GOTO(st, done, lmb_ranks_apply(&ranks, &thin, err));
    LMB_TRY_GOTO(st, done, lmb_onnx_write(out.text, thin, NULL, err));
    lmb_lowrank_print(&ranks);
    printf("%s\n", out.text);
done:
    lmb_ranks_free(&ranks);
    lmb_graph_destroy(model);
    lmb_graph_destroy(thin);
    lmb_str_free(&out);
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "lowrank", "out", NULL };
    lmb_ranks_config c;
    lmb_config *options = NULL;
    lmb_args a;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words != 1 || a.n_sets)
        return LMB_FAIL(err, LMB_E_ARG, "give one model file; --help explains");
    const char *text = lmb_args_get(&a, "lowrank", "{}");
    LMB_TRY(lmb_config_parse(text, strlen(text), "--lowrank", &options, err));
    lmb_status st = lmb_fields_bind(lmb_ranks_fields, lmb_config_root(options), &c, err);
    if (st == LMB_OK)
        st = factorise(&a, &c, err);
    lmb_config_destroy(options);
    return st;
}

const lmb_cmd lmb_cmd_factorise = { "factorise", "layers of a float model as thinner ones, without training", usage,
                                    run };
