/* launch/cmd_check.c - `limbeck check op`: is an op right on this machine? */
#include <stdio.h>
#include <string.h>

#include "core/check/check.h"
#include "core/cpu/cpu.h"
#include "launch/cmd.h"

static const char usage[] =
    "usage: limbeck check op [NAME] [--case LABEL] [--seed N]\n\n"
    "Runs every kernel of the op against the plain reference and every gradient against finite differences, on the cases of\n"
    "core/check/cases.c. Without NAME: all ops. A failure prints the line that repeats it. Exit code 1 if one fails.\n";

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "case", "seed", NULL };
    const lmb_backend *backends[LMB_CPU_BACKENDS];
    lmb_args a;
    int cases = 0, failed = 0;
    int64_t seed;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    if (a.n_words < 1 || a.n_words > 2 || strcmp(a.word[0], "op") != 0)
        return LMB_FAIL(err, LMB_E_ARG, "write `limbeck check op [NAME]`");
    const char *label = lmb_args_get(&a, "case", NULL);
    LMB_TRY(lmb_args_int(&a, "seed", 1, 0, INT64_MAX, &seed, err));
    if (lmb_cpu_backends_bf16("cpu", backends, &(lmb_error)LMB_ERROR_INIT) !=
        LMB_OK) /* the widest choice that there is */
        LMB_TRY(lmb_cpu_backends("cpu", backends, err));
    for (const lmb_op_case *c = lmb_op_cases; c->op; c++) {
        lmb_error local = LMB_ERROR_INIT;
        int checked = 0;
        if ((a.n_words > 1 && strcmp(c->op, a.word[1]) != 0) || (label && strcmp(c->label, label) != 0))
            continue;
        lmb_status st = lmb_check_case(c, backends, (uint64_t)seed, &checked, &local);
        printf("%-28s %-24s %s\n", c->op, c->label, st == LMB_OK ? "ok" : local.msg);
        cases++;
        failed += st != LMB_OK;
    }
    if (cases == 0)
        return LMB_FAIL(err, LMB_E_ARG, "no case of '%s'%s%s; `limbeck list ops` shows the names",
                        a.n_words > 1 ? a.word[1] : "any op", label ? " with label " : "", label ? label : "");
    printf("%d cases, %d failed\n", cases, failed);
    return failed ? LMB_FAIL(err, LMB_E_NUMERIC, "%d of %d cases failed", failed, cases) : LMB_OK;
}

const lmb_cmd lmb_cmd_check = { "check", "check ops against the reference and finite differences", usage, run };
