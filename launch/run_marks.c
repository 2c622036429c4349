/* launch/run_marks.c - what of a run is done, and what is not.
 *
 * Idea: <run>/<stage>/started and done hold a hash of the part of the configuration that the stage depends on, chained
 * over the stages before it. done and equal, and its files there: reused. started and equal: started again, stages go
 * on by themselves. started and different: what is there belongs to another configuration and is moved to
 * <run>/old-N. Nothing is deleted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "launch/run.h"

static lmb_status chain(lmbi_run *r, const lmbi_step *s, lmb_error *err)
{
    lmb_str text = LMB_STR_INIT;
    lmb_hasher h;

    for (int i = 0; i < 4 && s->sections[i]; i++) {
        const lmb_tree *t = lmb_tree_get(lmb_config_root(r->job.yaml), s->sections[i]);
        lmb_str_addf(&text, "%s:\n", s->sections[i]);
        if (t && lmb_tree_dump(t, 2, &text) != LMB_OK)
            break;
    }
    lmb_status st = lmb_str_check(&text, err);
    if (st == LMB_OK) {
        lmb_hash_begin(&h);
        lmb_hash_add_text(&h, r->hash);
        lmb_hash_add_text(&h, s->name);
        lmb_hash_add_text(&h, text.text ? text.text : "");
        lmb_hash sum = lmb_hash_end(&h);
        lmb_hash_hex(&sum, r->hash);
    }
    lmb_str_free(&text);
    return st;
}

typedef enum { ABSENT, EQUAL, DIFFERENT } marked;

static lmb_status read_mark(const lmbi_run *r, const lmbi_step *s, const char *name, marked *out, lmb_error *err)
{
    char path[LMB_STAGE_PATH];
    void *text;
    size_t n;

    *out = ABSENT;
    LMB_TRY(lmb_stage_path(path, r->job.c.run, s->name, name, err));
    if (!lmb_file_exists(path))
        return LMB_OK;
    LMB_TRY(lmb_file_read(path, 4096, &text, &n, err));
    *out = n >= LMB_HASH_HEX - 1 && memcmp(text, r->hash, LMB_HASH_HEX - 1) == 0 ? EQUAL : DIFFERENT;
    free(text);
    return LMB_OK;
}

lmb_status lmbi_run_mark(const lmbi_run *r, const lmbi_step *s, const char *mark, lmb_error *err)
{
    char path[LMB_STAGE_PATH], text[LMB_HASH_HEX + 1];

    snprintf(text, sizeof text, "%s\n", r->hash);
    LMB_TRY(lmb_stage_path(path, r->job.c.run, s->name, mark, err));
    return lmb_file_write(path, text, strlen(text), err);
}

/* Is everything there that the step left? Somebody may have tidied up. */
static lmb_status is_whole(const lmbi_run *r, const lmbi_step *s, bool *out, lmb_error *err)
{
    char path[LMB_STAGE_PATH];

    *out = true;
    for (int i = 0; i < 3 && s->makes[i] && *out; i++) {
        LMB_TRY(lmb_stage_path(path, r->job.c.run, s->name, s->makes[i], err));
        *out = lmb_file_exists(path);
        if (!*out)
            fprintf(stderr, "%s: %s is gone\n", s->name, path);
    }
    return LMB_OK;
}

lmb_status lmbi_run_progress(lmbi_run *r, const lmbi_step *s, lmbi_progress *out, lmb_error *err)
{
    marked started, done;
    bool whole = true;

    LMB_TRY(chain(r, s, err));
    LMB_TRY(read_mark(r, s, "started", &started, err));
    LMB_TRY(read_mark(r, s, "done", &done, err));
    if (done == EQUAL)
        LMB_TRY(is_whole(r, s, &whole, err));
    *out = done == EQUAL && whole ? LMBI_DONE : started == EQUAL ? LMBI_BEGUN : started == DIFFERENT ? LMBI_OTHER : LMBI_ABSENT;
    return LMB_OK;
}

lmb_status lmbi_run_move_away(lmbi_run *r, const lmbi_step *s, const char *why, lmb_error *err)
{
    for (int i = 0; i < 3 && s->folders[i]; i++) {
        char from[LMB_STAGE_PATH], to[LMB_STAGE_PATH], old[32];

        snprintf(from, sizeof from, "%s/%s", r->job.c.run, s->folders[i]);
        if (!lmb_file_exists(from))
            continue;
        for (bool taken = !r->old; taken; taken = lmb_file_exists(to))
            snprintf(to, sizeof to, "%s/old-%d", r->job.c.run, ++r->old);
        snprintf(old, sizeof old, "old-%d", r->old);
        LMB_TRY(lmb_stage_path(to, r->job.c.run, old, "", err)); /* makes the folder */
        snprintf(to, sizeof to, "%s/%s/%s", r->job.c.run, old, s->folders[i]);
        if (rename(from, to))
            return LMB_FAIL(err, LMB_E_IO, "cannot move %s to %s: %s", from, to, strerror(errno));
        fprintf(stderr, "%s: %s; what was there is now in %s\n", s->name, why, to);
    }
    return LMB_OK;
}
