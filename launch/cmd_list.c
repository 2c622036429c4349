/* launch/cmd_list.c - `limbeck list`: what is registered, read from the tables. */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/cpu/cpu.h"
#include "datasets/augment_ops.h"
#include "datasets/dataset.h"
#ifndef LMB_CLIENT_ONLY
#include "distill/prune/criteria.h"
#include "distill/quantize/integer_ops.h"
#include "distill/quantize/observer.h"
#include "distill/tune/method.h"
#endif
#include "federated/aggregator.h"
#include "federated/codec.h"
#include "federated/crash.h"
#include "federated/select.h"
#include "launch/cmd.h"
#include "train/layers.h"
#include "train/loss.h"
#include "train/model.h"
#include "train/optimizer.h"
#include "train/schedule.h"

static const char usage[] =
    "usage: limbeck list [TABLE]\n\n"
    "Tables: ops, models, layers, datasets, augmentations (of augment.policy), optimizers, schedules, losses, kernels, "
    "integer-ops (operators of ONNX that become integers), observers (of ranges), criteria (of pruning), methods (of tune),\n"
    "aggregators, selections (of clients), codecs (of updates), crash-points (for tests of a federation), subcommands. Prints every registered name with its options, defaults and source. Without a word: all.\n";

static void row(const char *name, const char *summary, const char *source, const lmb_field *fields)
{
    lmb_str s = LMB_STR_INIT;
    printf("%-26s %s%s%s%s\n", name, summary, *source ? "  [" : "", source, *source ? "]" : "");
    if (fields)
        lmb_fields_help(fields, 4, &s);
    if (s.n)
        printf("%s", s.text);
    lmb_str_free(&s);
}

static void list_ops(void)
{
    for (int i = 0; lmb_ops[i]; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s%s", lmb_ops[i]->domain, *lmb_ops[i]->domain ? "." : "", lmb_ops[i]->name);
        row(name, lmb_ops[i]->summary, lmb_ops[i]->source, NULL);
    }
}
static void list_models(void)
{
    for (int i = 0; lmb_model_families[i]; i++)
        row(lmb_model_families[i]->name, lmb_model_families[i]->summary, lmb_model_families[i]->source,
            lmb_model_families[i]->fields);
}
static void list_datasets(void)
{
    for (int i = 0; lmb_dataset_formats[i]; i++)
        row(lmb_dataset_formats[i]->name, lmb_dataset_formats[i]->summary, lmb_dataset_formats[i]->source,
            lmb_dataset_formats[i]->fields);
}
static void list_augmentations(void)
{
    static const char *const sides[] = { "", " of the height", " of the width" };
    char text[160];

    for (const lmb_augment_op *o = lmb_augment_ops; o->name; o++) {
        snprintf(text, sizeof text, "%s; at most %.3g%s, with trivial %.3g", o->summary, o->range, sides[o->side],
                 o->wide);
        row(o->name, o->make ? text : o->summary, "", NULL);
    }
}
static void list_optimizers(void)
{
    for (int i = 0; lmb_optimizers[i]; i++)
        row(lmb_optimizers[i]->name, lmb_optimizers[i]->summary, lmb_optimizers[i]->source, lmb_optimizers[i]->fields);
}
static void list_schedules(void)
{
    for (int i = 0; lmb_schedules[i]; i++)
        row(lmb_schedules[i]->name, lmb_schedules[i]->summary, lmb_schedules[i]->source, lmb_schedules[i]->fields);
}
static void list_losses(void)
{
    for (int i = 0; lmb_loss_terms[i]; i++)
        row(lmb_loss_terms[i]->name, lmb_loss_terms[i]->summary, lmb_loss_terms[i]->source, lmb_loss_terms[i]->fields);
}
static void list_layers(void)
{
    for (int i = 0; lmb_layer_kinds[i]; i++)
        row(lmb_layer_kinds[i]->name, lmb_layer_kinds[i]->summary, "", lmb_layer_kinds[i]->fields);
}
static void list_codecs(void)
{
    for (int i = 0; lmb_codecs[i]; i++)
        row(lmb_codecs[i]->name, lmb_codecs[i]->help, lmb_codecs[i]->source, lmb_codecs[i]->fields);
}
static void list_crash_points(void)
{
    for (const lmb_crash_row *r = lmb_crash_rows; r->name; r++)
        row(r->name, r->help, "", NULL);
}
static void list_subcommands(void)
{
    for (int i = 0; lmb_cmds[i]; i++)
        row(lmb_cmds[i]->name, lmb_cmds[i]->help, "", NULL);
}
#ifndef LMB_CLIENT_ONLY /* what clients do not do */
static void list_integer_ops(void)
{
    char text[160];

    for (const lmb_integer_op *r = lmb_integer_ops; r->name; r++) {
        snprintf(text, sizeof text, "%s%s", r->role == LMB_INTEGER_REWRITTEN ? "rewritten: " : "", r->how);
        row(r->name, text, "", NULL);
    }
}
static void list_observers(void)
{
    for (int i = 0; lmb_observers[i]; i++)
        row(lmb_observers[i]->name, lmb_observers[i]->summary, lmb_observers[i]->source, lmb_observers[i]->fields);
}
static void list_methods(void)
{
    for (int i = 0; lmb_methods[i]; i++)
        row(lmb_methods[i]->name, lmb_methods[i]->summary, lmb_methods[i]->source, lmb_methods[i]->fields);
}

static void list_criteria(void)
{
    for (int i = 0; lmb_prune_criteria[i]; i++)
        row(lmb_prune_criteria[i]->name, lmb_prune_criteria[i]->summary, lmb_prune_criteria[i]->source, NULL);
}
static void list_selections(void)
{
    for (int i = 0; lmb_selectors[i]; i++)
        row(lmb_selectors[i]->name, lmb_selectors[i]->help, "", lmb_selectors[i]->fields);
}

static void list_aggregators(void)
{
    for (int i = 0; lmb_aggregators[i]; i++)
        row(lmb_aggregators[i]->name, lmb_aggregators[i]->help, "", lmb_aggregators[i]->fields);
}
#endif
static void list_kernels(void)
{
    const lmb_backend *b[] = { lmb_backend_onednn(), &lmb_backend_own, &lmb_backend_portable };
    for (int i = 0; i < 3; i++)
        for (const lmb_kernel *const *k = b[i] ? b[i]->kernels : NULL; k && *k; k++)
            printf("%-26s for %s%s%s\n", (*k)->name, (*k)->domain, *(*k)->domain ? "." : "", (*k)->op);
}

static const struct { const char *name; void (*print)(void);
} tables[] = {
    { "ops", list_ops },
    { "models", list_models },
    { "layers", list_layers },
    { "datasets", list_datasets },
    { "augmentations", list_augmentations },
    { "optimizers", list_optimizers },
    { "schedules", list_schedules },
    { "losses", list_losses },
    { "kernels", list_kernels },
#ifndef LMB_CLIENT_ONLY
    { "integer-ops", list_integer_ops },
    { "observers", list_observers },
    { "criteria", list_criteria },
    { "methods", list_methods },
    { "aggregators", list_aggregators },
    { "selections", list_selections },
#endif
    { "codecs", list_codecs },
    { "crash-points", list_crash_points },
    { "subcommands", list_subcommands },
};

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const none[] = { NULL };
    lmb_args a;
    bool found = false;

    LMB_TRY(lmb_args_parse(argc, argv, none, &a, err));
    if (a.n_words > 1)
        return LMB_FAIL(err, LMB_E_ARG, "give one table, or none for all");
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (a.n_words && strcmp(a.word[0], tables[i].name) != 0)
            continue;
        found = true;
        if (!a.n_words)
            printf("%s%s:\n", i ? "\n" : "", tables[i].name);
        tables[i].print();
    }
    if (found)
        return LMB_OK;
    char known[300] = "";
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", tables[i].name);
    return LMB_FAIL(err, LMB_E_ARG, "there is no table '%s'; tables are %s", a.word[0], known);
}

const lmb_cmd lmb_cmd_list = { "list", "show every registered op, model, optimizer, ...", usage, run };
