/* launch/compress_fresh.c - --fresh: a search goes when the next one has begun, and not before. See compress.h.
 *
 * Idea: what a beginning would overwrite is put aside under another name, the journal first. A search has begun when
 * its own journal is there; then what was put aside is removed, and the folders of points that the new journal does not
 * have. If there is none, for its input was bad or somebody stopped it, all is put back, the journal last. What a kill
 * has left undone of either is done at the next start.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/compiler.h"
#include "core/base/file.h"
#include "launch/compress.h"

static const char *const aside[] = { "journal.jsonl", "points/000/model.onnx", "points/000/qat.onnx",
                                     "points/000/model-int8.onnx", "points/000/model.lmb" };
enum { ASIDE = LMB_COUNT(aside) };

typedef struct pair {
    char path[LMB_STAGE_PATH], before[LMB_STAGE_PATH + 8];
} pair;

static lmb_status pair_of(const char *folder, int i, pair *out, lmb_error *err)
{
    LMB_TRY(lmb_path_join(out->path, sizeof out->path, folder, aside[i], err));
    snprintf(out->before, sizeof out->before, "%s.before", out->path);
    return LMB_OK;
}

static lmb_status move(const char *from, const char *to, lmb_error *err)
{
    if (lmb_file_exists(from) && rename(from, to))
        return LMB_FAIL(err, LMB_E_IO, "cannot rename %s to %s: %s", from, to, strerror(errno));
    return LMB_OK;
}

/* ---- the old one goes ---- */

/* Points that a journal has: each begins as points.c writes it. */
static int count_points(const char *journal, lmb_error *err)
{
    static const char begins[] = "{\"point\": ";
    void *text;
    size_t n;
    int points = 0;

    if (lmb_file_read(journal, (size_t)1 << 30, &text, &n, err) != LMB_OK)
        return INT_MAX;
    for (const char *at = text; (at = strstr(at, begins)) != NULL; at += sizeof begins - 1)
        points++;
    free(text);
    return points;
}

/* What a search has written there; the folder stays if somebody else has put something into it. */
static void remove_point(const char *folder, int id)
{
    static const char *const names[] = { "model.onnx", "qat.onnx", "model-int8.onnx", "model.lmb", "" };
    lmb_error none = LMB_ERROR_INIT;
    char path[LMB_SEARCH_PATH], tmp[LMB_SEARCH_PATH + 8];

    for (int i = 0; i < LMB_COUNT(names) && lmb_search_file(path, folder, id, names[i], &none) == LMB_OK; i++) {
        snprintf(tmp, sizeof tmp, "%s.tmp", path); /* of a kill */
        if (*names[i])
            (void)remove(path), (void)remove(tmp);
        else
            (void)rmdir(path);
    }
}

/* Folders of points from number n on. */
static void remove_points(const char *folder, int n)
{
    lmb_error none = LMB_ERROR_INIT;
    char points[LMB_STAGE_PATH], name[16];
    DIR *d = lmb_path_join(points, sizeof points, folder, "points", &none) == LMB_OK ? opendir(points) : NULL;

    for (const struct dirent *e; d && (e = readdir(d));) {
        int id = strlen(e->d_name) < 10 ? atoi(e->d_name) : -1;
        snprintf(name, sizeof name, "%03d", id);
        if (id >= n && strcmp(e->d_name, name) == 0) /* as the search writes it */
            remove_point(folder, id);
    }
    if (d)
        closedir(d);
}

lmb_status lmb_fresh_end(const char *folder, lmb_error *err)
{
    lmb_error none = LMB_ERROR_INIT;
    pair p;

    LMB_TRY(pair_of(folder, 0, &p, err));
    bool begun = lmb_file_exists(p.path);
    if (begun)
        remove_points(folder, count_points(p.path, &none));
    for (int i = ASIDE - 1; i >= 0; i--) {
        LMB_TRY(pair_of(folder, i, &p, err));
        if (begun)
            (void)remove(p.before);
        else
            LMB_TRY(move(p.before, p.path, err));
    }
    return LMB_OK;
}

/* Points without a journal would be overwritten by a search that takes itself for the first. */
static lmb_status check_journal(const char *folder, const char *journal, lmb_error *err)
{
    char path[LMB_SEARCH_PATH];

    LMB_TRY(lmb_search_file(path, folder, 1, "model.lmb", err));
    if (!lmb_file_exists(path) || (lmb_file_exists(journal) && count_points(journal, err)))
        return LMB_OK;
    return LMB_FAIL(err, LMB_E_IO, "%s is there, and %s has no points: put that back, or " LMB_LINES_AFRESH, path, journal);
}

lmb_status lmb_fresh_begin(const char *folder, bool fresh, lmb_error *err)
{
    pair p;

    LMB_TRY(pair_of(folder, 0, &p, err));
    if (lmb_file_exists(p.before))
        LMB_TRY(lmb_fresh_end(folder, err));
    if (!fresh)
        LMB_TRY(check_journal(folder, p.path, err));
    for (int i = 0; i < ASIDE && fresh && (i || lmb_file_exists(p.path)); i++) {
        LMB_TRY(pair_of(folder, i, &p, err));
        LMB_TRY(move(p.path, p.before, err));
    }
    return LMB_OK;
}
