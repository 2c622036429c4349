/* launch/commands_client.c - the subcommands of a client-only build (-DLMB_CLIENT_ONLY=ON): what takes part in a
 * federation on a small machine, and nothing that it would have to link for others. */
#include <stddef.h>

#include "launch/cmd.h"

extern const lmb_cmd lmb_cmd_inspect, lmb_cmd_join, lmb_cmd_list;

const lmb_cmd *const lmb_cmds[] = {
    &lmb_cmd_join,
    &lmb_cmd_inspect,
    &lmb_cmd_list,
    NULL,
};
