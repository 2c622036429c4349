/* launch/run_marks.c - what of a run is done, and what is not.
 *
 * Idea: <run>/<stage>/started and done hold two hashes: of the part of the configuration that the stage depends on,
 * chained over the stages before it, and of the results of those stages; done holds a third one, of the stage's own
 * results. All equal: reused. started equal: started again, stages go on by themselves. started and different: what is
 * there belongs to another configuration, or was built on other results, and is moved to <run>/old-N. Nothing is
 * deleted.
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

/* What a mark says: the configuration, the results that the stage built on, its own results (of `done`). */
typedef struct mark { char config[LMB_HASH_HEX], inputs[LMB_HASH_HEX], results[LMB_HASH_HEX]; } mark;

static lmb_status read_mark(const lmbi_run *r, const lmbi_step *s, const char *name, mark *out, lmb_error *err)
{
    char path[LMB_STAGE_PATH], *line[] = { out->config, out->inputs, out->results };
    void *text;
    size_t n;

    memset(out, 0, sizeof *out);
    LMB_TRY(lmb_stage_path(path, r->job.c.run, s->name, name, err));
    if (!lmb_file_exists(path))
        return LMB_OK;
    LMB_TRY(lmb_file_read(path, 4096, &text, &n, err));
    const char *at = text;
    for (size_t i = 0; i < sizeof line / sizeof *line && *at; i++) {
        snprintf(line[i], LMB_HASH_HEX, "%.*s", (int)strcspn(at, "\n"), at);
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
    free(text);
    return LMB_OK;
}

static lmb_status write_mark(const lmbi_run *r, const lmbi_step *s, const char *name, const char *results,
                             lmb_error *err)
{
    char path[LMB_STAGE_PATH], text[3 * (LMB_HASH_HEX + 1)];

    snprintf(text, sizeof text, "%s\n%s\n%s%s", r->hash, r->inputs, results, *results ? "\n" : "");
    LMB_TRY(lmb_stage_path(path, r->job.c.run, s->name, name, err));
    return lmb_file_write(path, text, strlen(text), err);
}

/* A hash of what the step left, empty when something is gone. The times in stage.json differ from run to run. */
static lmb_status hash_results(const lmbi_run *r, const lmbi_step *s, char hex[LMB_HASH_HEX], lmb_error *err)
{
    lmb_hasher h;

    *hex = 0;
    lmb_hash_begin(&h);
    for (int i = 0; i < 3 && s->makes[i]; i++) {
        char path[LMB_STAGE_PATH];
        void *bytes;
        size_t n;
        LMB_TRY(lmb_path_join(path, sizeof path, r->job.c.run, s->makes[i], err));
        if (!lmb_file_exists(path)) {
            fprintf(stderr, "%s: %s is gone\n", s->name, path);
            return LMB_OK;
        }
        if (strstr(s->makes[i], "/stage.json"))
            continue;
        LMB_TRY(lmb_file_read(path, SIZE_MAX / 2, &bytes, &n, err));
        lmb_hash one = lmb_hash_of(bytes, n);
        lmb_hash_add(&h, &one, sizeof one);
        free(bytes);
    }
    lmb_hash sum = lmb_hash_end(&h);
    lmb_hash_hex(&sum, hex);
    return LMB_OK;
}

lmb_status lmbi_run_progress(lmbi_run *r, const lmbi_step *s, lmbi_progress *out, lmb_error *err)
{
    char results[LMB_HASH_HEX];
    mark started, done;

    LMB_TRY(chain(r, s, err));
    LMB_TRY(read_mark(r, s, "started", &started, err));
    LMB_TRY(read_mark(r, s, "done", &done, err));
    *out = !*started.config                  ? LMBI_ABSENT
           : strcmp(started.config, r->hash) ? LMBI_OTHER
           : strcmp(started.inputs, r->inputs) ? LMBI_OTHER_INPUTS
                                               : LMBI_BEGUN;
    if (strcmp(done.config, r->hash) || strcmp(done.inputs, r->inputs))
        return LMB_OK;
    LMB_TRY(hash_results(r, s, results, err));
    if (strcmp(done.results, results) == 0)
        *out = LMBI_DONE;
    else if (*results)
        fprintf(stderr, "%s: its files are not those that it left\n", s->name);
    return LMB_OK;
}

lmb_status lmbi_run_started(const lmbi_run *r, const lmbi_step *s, lmb_error *err)
{
    return write_mark(r, s, "started", "", err);
}

lmb_status lmbi_run_done(lmbi_run *r, const lmbi_step *s, bool reused, lmb_error *err)
{
    char results[LMB_HASH_HEX];
    lmb_hasher h;

    LMB_TRY(hash_results(r, s, results, err));
    if (!*results)
        return LMB_FAIL(err, LMB_E_IO, "%s has ended without leaving all its files", s->name);
    if (!reused)
        LMB_TRY(write_mark(r, s, "done", results, err));
    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, r->inputs);
    lmb_hash_add_text(&h, results);
    lmb_hash sum = lmb_hash_end(&h);
    lmb_hash_hex(&sum, r->inputs);
    return LMB_OK;
}

lmb_status lmbi_run_move_away(lmbi_run *r, const lmbi_step *s, const char *why, lmb_error *err)
{
    for (int i = 0; i < 8 && s->folders[i]; i++) {
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
