/* launch/main.c - find the subcommand, run it, say what went wrong. Nothing else lives here. */
#include <stdio.h>
#include <string.h>

#include "core/base/config.h"
#include "launch/cmd.h"

static int usage(FILE *to, int code)
{
    fprintf(to, "usage: limbeck COMMAND [ARGUMENTS]\n\n");
    for (int i = 0; lmb_cmds[i]; i++)
        fprintf(to, "  %-12s %s\n", lmb_cmds[i]->name, lmb_cmds[i]->help);
    fprintf(to, "\n`limbeck COMMAND --help` explains each. Any key of a configuration can be set on the command line:\n"
                "  limbeck %s CONFIG.yaml --set data.path=/data\n", lmb_cmds[0]->name);
    return code;
}

int lmb_exit_code(lmb_status s)
{
    switch (s) {
    case LMB_OK: return 0;
    case LMB_E_ARG: return 2;
    case LMB_E_STOPPED: return 3;
    case LMB_E_UNMET: return 4;
    case LMB_E_PART: return 5;
    case LMB_E_PEER:
    case LMB_E_TIMEOUT: return 75;
    default: return 1;
    }
}

static const lmb_cmd *find(const char *name)
{
    const char *names[64];
    int n = 0;
    for (int i = 0; lmb_cmds[i]; i++) {
        names[n++] = lmb_cmds[i]->name;
        if (strcmp(lmb_cmds[i]->name, name) == 0)
            return lmb_cmds[i];
    }
    names[n] = NULL;
    const char *near = lmb_nearest(name, names);
    fprintf(stderr, "limbeck: there is no command '%s'%s%s\n\n", name, near ? "; did you mean " : "", near ? near : "");
    return NULL;
}

int main(int argc, char **argv)
{
    lmb_error err = LMB_ERROR_INIT;

    if (argc < 2)
        return usage(stderr, 2);
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return usage(stdout, 0);
    if (!strcmp(argv[1], "--version"))
        return printf("limbeck " LMB_VERSION "\n") > 0 && fflush(stdout) == 0 ? 0 : 1;
    const lmb_cmd *cmd = find(argv[1]);
    if (!cmd)
        return usage(stderr, 2);
    for (int i = 2; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            printf("%s", cmd->usage);
            return 0;
        }
    lmb_status st = cmd->run(argc - 1, argv + 1, &err);
    if ((fflush(stdout) || ferror(stdout)) &&
        st == LMB_OK) /* `limbeck eval ... > report.txt` on a full disk is no success */
        st = LMB_FAIL(&err, LMB_E_IO, "what was printed could not be written; is the disk full?");
    if (st != LMB_OK && st != LMB_E_STOPPED)
        fprintf(stderr, "limbeck %s: %s\n", cmd->name, err.msg[0] ? err.msg : lmb_status_text(st));
    return lmb_exit_code(st);
}
