/* launch/trial_files.c - the files that trials read beside their samples. See trial.h.
 *
 * Idea: a section that names a file stays as it is while the file becomes another one, so a journal begins with what
 * the files hold. The lines of models are not marked: a journal without them does not know what its scores are of, and
 * its trials have trained sparse models dense. Those of teachers are: the hash of all of them has always been there,
 * but for the choices of a space.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "launch/teacher.h"
#include "launch/trial.h"

static const size_t most = (size_t)1 << 32;

struct lmb_trial_file {
    char path[LMB_STAGE_PATH], name[48]; /* name: in the line */
    bool teaches;
};

static lmb_status hash_file(const char *path, lmb_hasher *h, lmb_error *err)
{
    void *bytes;
    size_t size;

    LMB_TRY(lmb_file_read(path, most, &bytes, &size, err));
    lmb_hash_add(h, bytes, size);
    free(bytes);
    return LMB_OK;
}

/* Who teaches with these settings, if they do: none of them itself, all of them there. */
static lmb_status teachers_of(const lmb_job *j, const lmb_distill_config *d, char path[][LMB_STAGE_PATH], int *n,
                              lmb_error *err)
{
    int named = 0;

    *n = 0;
    if (strcmp(d->teacher, LMB_TEACHER_SELF) == 0)
        return LMB_FAIL(err, LMB_E_ARG,
                        "student.distill.teacher is self, and a trial is one training: give it a teacher, or alpha: 0");
    LMB_TRY(lmb_teacher_files(j, d, path, &named, err));
    *n = named;
    for (int i = 0; i < named; i++)
        if (!lmb_file_exists(path[i]))
            return LMB_FAIL(err, LMB_E_IO,
                            "there is no teacher: %s is not there; train it first, or name one with "
                            "student.distill.teacher",
                            path[i]);
    return LMB_OK;
}

lmb_status lmb_trial_teacher(const lmb_job *j, lmb_hasher *h, lmb_error *err)
{
    char path[LMB_TEACHERS_MAX][LMB_STAGE_PATH];
    lmb_distill_config d;
    int n;

    if (!j->stage.distill)
        return LMB_OK;
    LMB_TRY(lmb_fields_bind(lmb_distill_fields, j->stage.distill, &d, err));
    if (!(d.alpha > 0))
        return LMB_OK;
    LMB_TRY(teachers_of(j, &d, path, &n, err));
    for (int i = 0; i < n; i++)
        LMB_TRY(hash_file(path[i], h, err));
    return LMB_OK;
}

/* ---- all that there are ---- */

/* The end of a path, in whole letters, on one line and without the colon that ends a key. */
static void name_of(const char *path, char *out, size_t room)
{
    size_t n = strlen(path);
    const char *end = n < room ? path : path + n - (room - 4);

    while (((unsigned char)*end & 0xc0) == 0x80)
        end++;
    snprintf(out, room, "%s%s", n < room ? "" : "...", end);
    for (; *out; out++)
        if ((unsigned char)*out < ' ' || *out == ':')
            *out = '_';
}

static lmb_status add(lmb_trial_files *f, const char *path, const char *name, bool teaches, lmb_error *err)
{
    for (int i = 0; i < f->n; i++)
        if (f->file[i].teaches == teaches && strcmp(f->file[i].path, path) == 0)
            return LMB_OK;
    struct lmb_trial_file *more = realloc(f->file, sizeof *more * ((size_t)f->n + 1));
    if (!more)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the names of %d files", f->n + 1);
    f->file = more;
    struct lmb_trial_file *one = &f->file[f->n];
    one->teaches = teaches;
    if (snprintf(one->path, sizeof one->path, "%s", path) >= LMB_STAGE_PATH)
        return LMB_FAIL(err, LMB_E_ARG, "the path %.80s... has more than %d characters", path, LMB_STAGE_PATH - 1);
    name_of(name, one->name, sizeof one->name);
    f->n++;
    return LMB_OK;
}

/* The only family of models that reads a file. */
static lmb_status add_model(lmb_trial_files *f, const lmb_tree *model, lmb_error *err)
{
    const lmb_tree *name = lmb_tree_get(model, "name"), *path = lmb_tree_get(model, "path");
    const char *family, *file;

    if (!name || !path)
        return LMB_OK;
    LMB_TRY(lmb_tree_text(name, &family, err));
    LMB_TRY(lmb_tree_text(path, &file, err));
    return strcmp(family, "onnx") == 0 ? add(f, file, file, false, err) : LMB_OK;
}

lmb_status lmb_trial_files_of(const lmb_job *j, lmb_trial_files *f, lmb_error *err)
{
    char path[LMB_TEACHERS_MAX][LMB_STAGE_PATH];
    lmb_error why = LMB_ERROR_INIT;
    lmb_distill_config d;
    int n = 0;

    LMB_TRY(add_model(f, j->stage.model, err));
    if (!j->stage.distill)
        return LMB_OK;
    LMB_TRY(lmb_fields_bind(lmb_distill_fields, j->stage.distill, &d, err));
    lmb_status st = teachers_of(j, &d, path, &n, &why);
    if (st != LMB_OK && d.alpha > 0)
        return LMB_FAIL(err, st, "%s", why.msg);
    f->taught |= d.alpha > 0; /* alpha may be another key of the space: whom it would teach counts at 0, too */
    for (int i = 0; i < n; i++)
        LMB_TRY(add(f, path[i], *d.teacher || d.teachers ? path[i] : "of the run", true, err));
    return LMB_OK;
}

lmb_status lmb_trial_files_lines(const lmb_trial_files *f, lmb_str *out, lmb_error *err)
{
    for (int i = 0; i < f->n; i++) {
        const struct lmb_trial_file *one = &f->file[i];
        char hex[LMB_HASH_HEX];
        lmb_hasher h;

        if (one->teaches && (!f->taught || !lmb_file_exists(one->path)))
            continue;
        lmb_hash_begin(&h);
        LMB_TRY(hash_file(one->path, &h, err));
        lmb_hash hash = lmb_hash_end(&h);
        lmb_hash_hex(&hash, hex);
        lmb_str_addf(out, "hash of %s %s: %s%s\n", one->teaches ? "teacher" : "model", one->name, hex,
                     one->teaches ? LMB_FIELD_MARK : "");
    }
    return lmb_str_check(out, err);
}

void lmb_trial_files_free(lmb_trial_files *f)
{
    free(f->file);
    *f = (lmb_trial_files){ 0 };
}
