/* core/cuda/results.c - see results.h. */
#include "core/cuda/results.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/threads.h"
#include "core/plan/choice.h"

static const double between = 2; /* seconds from one writing to the next */

struct lmbi_results {
    lmb_choices *ways;
    const lmb_log *log;
    double saved;
    bool fresh, told; /* there is something new; that it can not be written was said */
    char *folder, *machine;
};

static char *copy_of(const char *s)
{
    char *to = malloc(strlen(s) + 1);
    return to ? strcpy(to, s) : NULL;
}

static void save(lmbi_results *r)
{
    lmb_error why = LMB_ERROR_INIT;

    r->saved = lmb_seconds();
    r->fresh = false;
    if (lmb_choices_save(r->ways, r->folder, r->machine, &why) == LMB_OK || r->told)
        return;
    r->told = true;
    lmb_log_at(r->log, LMB_LOG_WARN, "cuda", "%s; the next run times convolutions and products again", why.msg);
}

static const char *find(void *ctx, const char *shape) { return lmb_choices_find(((lmbi_results *)ctx)->ways, shape); }

static void found(void *ctx, const char *shape, const char *way)
{
    lmbi_results *r = ctx;
    lmb_error why = LMB_ERROR_INIT;

    if (lmb_choices_put(r->ways, shape, way, &why) != LMB_OK)
        return; /* no memory: it is found out anew next time */
    r->fresh = true;
    if (lmb_seconds() - r->saved > between)
        save(r);
}

lmb_cuda_known lmbi_results_known(lmbi_results *r) { return (lmb_cuda_known){ r, find, found }; }

lmb_status lmbi_results_open(const char *folder, const char *machine, const lmb_log *log, lmbi_results **out,
                             lmb_error *err)
{
    lmbi_results *r = calloc(1, sizeof *r);

    if (!r)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for what was measured before");
    r->log = log;
    r->saved = lmb_seconds();
    r->folder = copy_of(folder);
    r->machine = copy_of(machine);
    lmb_status st = r->folder && r->machine ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a folder's name");
    if (st == LMB_OK)
        st = lmb_choices_create(0, &r->ways, err);
    if (st == LMB_OK)
        st = lmb_choices_load(r->ways, folder, machine, log, err);
    if (st != LMB_OK) {
        lmbi_results_close(r);
        return st;
    }
    *out = r;
    return LMB_OK;
}

void lmbi_results_close(lmbi_results *r)
{
    if (!r)
        return;
    if (r->fresh)
        save(r);
    lmb_choices_destroy(r->ways);
    free(r->folder);
    free(r->machine);
    free(r);
}
