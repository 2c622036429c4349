/* launch/cmd.h - a subcommand is a row: name, one line of help, a page of help, a function.
 *
 * argv[0] is the subcommand itself. Results go to stdout, talk to stderr. Exit codes, for scripts:
 *   0 done   1 tried and failed   2 the command line or configuration was wrong   3 stopped on request, state
 *   is saved (start again to go on)   4 a limit that was asked for can not be met; the nearest result is there
 *   5 a part of what was given failed, and is named; the rest is done   75 another rank or peer failed (a scheduler
 *   may start it again)
 */
#ifndef LMB_LAUNCH_CMD_H
#define LMB_LAUNCH_CMD_H

#include <stdint.h>

#include "core/base/error.h"

typedef struct lmb_cmd {
    const char *name, *help;
    const char *usage; /* the page that --help prints */
    lmb_status (*run)(int argc, char **argv, lmb_error *err);
} lmb_cmd;

extern const lmb_cmd *const lmb_cmds[]; /* NULL-terminated: launch/commands.c, or commands_client.c */
/* 0 done, 1 failed, 2 asked wrongly, 3 stopped on request, 4 a limit not met, 5 a part failed, 75 (try again) a peer
 * failed or was too late. */
int lmb_exit_code(lmb_status s);

/* ---- the command line, taken apart ---- */
enum { LMB_ARGS_MAX = 64 };
typedef struct lmb_args {
    int n_words, n_sets;
    const char *word[LMB_ARGS_MAX];          /* what is no option                        */
    const char *set[LMB_ARGS_MAX];           /* --set key=value, in order                */
    const char *name[LMB_ARGS_MAX], *value[LMB_ARGS_MAX]; /* other options               */
    int n_options;
} lmb_args;

/* `known`: NULL-terminated names of options that take a value ("stage"), or flags ("!force"). E_ARG suggests the
 * nearest name. */
LMB_MUST_CHECK lmb_status lmb_args_parse(int argc, char **argv, const char *const *known, lmb_args *out,
                                         lmb_error *err);
const char *lmb_args_get(const lmb_args *a, const char *name, const char *otherwise); /* "" for a flag that is given */
/* The whole number of an option, `otherwise` when it is not given. E_ARG names option and range. */
LMB_MUST_CHECK lmb_status lmb_args_int(const lmb_args *a, const char *name, int64_t otherwise, int64_t lo, int64_t hi,
                                       int64_t *out, lmb_error *err);

/* The same for a number. */
LMB_MUST_CHECK lmb_status lmb_args_real(const lmb_args *a, const char *name, double otherwise, double lo, double hi,
                                        double *out, lmb_error *err);

#endif
