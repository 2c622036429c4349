/* launch/compress_refresh.c - what a search from the last update begins with. See compress.h. */
#include <stdio.h>

#include "core/base/file.h"
#include "launch/compress.h"

lmb_status lmb_refresh_open(const lmb_job *j, lmb_search_config *c, bool silent, lmb_refresh *out,
                            char folder[LMB_STAGE_PATH], lmb_error *err)
{
    char stage[32];

    LMB_TRY(lmbi_update_last(j, &out->update, err));
    LMB_TRY(lmb_stage_path(out->table, j->c.run, "compress", "latency.jsonl", err));
    snprintf(stage, sizeof stage, "compress-%d", out->update.number);
    LMB_TRY(lmb_stage_path(folder, j->c.run, stage, "", err));
    if (!*c->table.file && !lmb_file_exists(out->table))
        return LMB_FAIL(err, LMB_E_ARG,
                        "%s is not there: --refresh goes on from an earlier `limbeck compress` of this run",
                        out->table);
    if (!*c->table.file)
        c->table.file = out->table;
    if (!silent)
        fprintf(stderr, "the teacher is %s; %lld new samples join %lld old ones; results go to %s\n",
                out->update.model, (long long)out->update.fresh, (long long)j->train->n, folder);
    return LMB_OK;
}
