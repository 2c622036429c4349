/* launch/commands.c - every subcommand, one line each, in the order of --help. */
#include <stddef.h>

#include "launch/cmd.h"

extern const lmb_cmd lmb_cmd_bench, lmb_cmd_check, lmb_cmd_compare, lmb_cmd_compress, lmb_cmd_config, lmb_cmd_distill,
    lmb_cmd_doctor, lmb_cmd_eval, lmb_cmd_export, lmb_cmd_factorise, lmb_cmd_federation, lmb_cmd_infer,
    lmb_cmd_inspect, lmb_cmd_join, lmb_cmd_list, lmb_cmd_monitor, lmb_cmd_quantize, lmb_cmd_run, lmb_cmd_sensitivity,
    lmb_cmd_serve, lmb_cmd_sign, lmb_cmd_simulate, lmb_cmd_train, lmb_cmd_tune;

const lmb_cmd *const lmb_cmds[] = {
    &lmb_cmd_run,
    &lmb_cmd_train,
    &lmb_cmd_distill,
    &lmb_cmd_quantize,
    &lmb_cmd_sensitivity,
    &lmb_cmd_factorise,
    &lmb_cmd_compress,
    &lmb_cmd_tune,
    &lmb_cmd_compare,
    &lmb_cmd_export,
    &lmb_cmd_sign,
    &lmb_cmd_monitor,
    &lmb_cmd_eval,
    &lmb_cmd_infer,
    &lmb_cmd_serve,
    &lmb_cmd_federation,
    &lmb_cmd_join,
    &lmb_cmd_simulate,
    &lmb_cmd_inspect,
    &lmb_cmd_bench,
    &lmb_cmd_list,
    &lmb_cmd_check,
    &lmb_cmd_doctor,
    &lmb_cmd_config,
    NULL,
};
