/* train/checkpoint.c - see checkpoint.h. */
#include "train/checkpoint.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/agree.h"
#include "core/base/file.h"
#include "core/base/str.h"
#include "core/store/store.h"

enum { VERSION = 2, MAX_VECTORS = 3 + LMB_MAX_SLOTS, NUMBERS = 9 };

typedef struct vector { char name[16]; float *data; } vector;

/* The vectors that this trainer keeps, by name. */
static int vectors_of(const lmb_trainer_state *s, vector *v)
{
    int n = 0;
    v[n++] = (vector){ "state", s->state };
    if (s->ema)
        v[n++] = (vector){ "ema", s->ema };
    if (s->best)
        v[n++] = (vector){ "best", s->best };
    for (int i = 0; i < s->n_slots; i++) { /* NULL where ranks divide them: put together on rank 0 to be saved */
        v[n] = (vector){ "", s->slot[i] };
        snprintf(v[n++].name, sizeof v->name, "slot/%d", i);
    }
    return n;
}

typedef struct number { const char *name; int64_t *i; double *r; } number;

static int numbers_of(lmb_trainer_state *s, number *n)
{
    const number all[NUMBERS] = { { "epoch", &s->epoch, NULL },
                                  { "batch", &s->batch, NULL },
                                  { "step", &s->step, NULL },
                                  { "steps_before", &s->steps_before, NULL },
                                  { "best_epoch", &s->best_epoch, NULL },
                                  { "correct", &s->correct, NULL },
                                  { "seen", &s->seen, NULL },
                                  { "best_accuracy", NULL, &s->best_accuracy },
                                  { "loss_sum", NULL, &s->loss_sum } };
    memcpy(n, all, sizeof all);
    return NUMBERS;
}

static const char *format(void)
{
#if LMB_HAVE_HDF5
    return "hdf5";
#else
    return "bundle";
#endif
}

/* The layers of a model, one a line: what two models differ in, in words. */
static void describe(const lmb_state_layout *l, lmb_str *out)
{
    char shape[LMB_SHAPE_TEXT];

    lmb_str_add(out, "");
    for (int i = 0; i < l->n; i++)
        lmb_str_addf(out, "%s %s\n", l->segment[i].name, lmb_shape_text(&l->segment[i].shape, shape, sizeof shape));
}

static lmb_status put_all(lmb_store_writer *w, const lmb_trainer_state *s, const char *config, lmb_error *err)
{
    lmb_trainer_state copy = *s; /* numbers_of hands out pointers */
    lmb_shape shape = LMB_SHAPE((int64_t)s->layout->count);
    lmb_str layers = LMB_STR_INIT;
    char hex[LMB_HASH_HEX];
    vector v[MAX_VECTORS];
    number n[NUMBERS];

    lmb_hash_hex(&s->layout->hash, hex);
    LMB_TRY(lmb_store_put_int(w, "version", VERSION, err));
    LMB_TRY(lmb_store_put_text(w, "layout", hex, err));
    LMB_TRY(lmb_store_put_text(w, "configuration", config, err));
    LMB_TRY(lmb_store_put_text(w, "kernels", s->kernels ? s->kernels : "", err));
    LMB_TRY(lmb_store_put_text(w, "stages", s->stages ? s->stages : "", err));
    for (int i = 0, k = vectors_of(s, v); i < k; i++)
        LMB_TRY(lmb_store_put_tensor(w, v[i].name, LMB_F32, &shape, v[i].data, err));
    for (int i = 0, k = numbers_of(&copy, n); i < k; i++)
        LMB_TRY(n[i].i ? lmb_store_put_int(w, n[i].name, *n[i].i, err)
                       : lmb_store_put_real(w, n[i].name, *n[i].r, err));
    describe(s->layout, &layers);
    lmb_status st = lmb_str_check(&layers, err);
    if (st == LMB_OK)
        st = lmb_store_put_text(w, "layers", layers.text, err);
    lmb_str_free(&layers);
    return st;
}

static lmb_status write_file(const char *path, const lmb_trainer_state *s, const char *config, lmb_error *err)
{
    lmb_store_writer *w;
    LMB_TRY(lmb_store_create(path, format(), &w, err));
    lmb_status st = put_all(w, s, config, err);
    if (st == LMB_OK)
        st = lmb_store_commit(w, err);
    lmb_store_writer_destroy(w);
    return st;
}

static lmb_status beside(char out[PATH_MAX], const char *path, const char *ending, lmb_error *err)
{
    if ((size_t)snprintf(out, PATH_MAX, "%s%s", path, ending) >= PATH_MAX)
        return LMB_FAIL(err, LMB_E_ARG, "%.200s...: the path is too long", path);
    return LMB_OK;
}

/* The checkpoint before gets a second name, which becomes ".prev" only once the new one is in place: a damaged newest
 * file must not push out the good one that the run went on from. File systems without hard links keep no ".prev". */
lmb_status lmb_checkpoint_save(const char *path, const lmb_trainer_state *s, const char *config, lmb_error *err)
{
    char old[PATH_MAX], prev[PATH_MAX];

    LMB_TRY(beside(old, path, ".old", err));
    LMB_TRY(beside(prev, path, ".prev", err));
    unlink(old); /* of a save that was cut off */
    bool kept = link(path, old) == 0;
    lmb_status st = write_file(path, s, config, err);
    if (kept && (st != LMB_OK || rename(old, prev) != 0))
        unlink(old);
    return st;
}

/* What a save that was cut off left: its second name of the file before, if the new one is in place; else a name too
 * many. */
static void tidy(const char *path, const char *old, const char *prev)
{
    struct stat a, b;
    if (stat(old, &a) != 0)
        return;
    if (stat(path, &b) != 0 || a.st_ino == b.st_ino || rename(old, prev) != 0)
        unlink(old);
}

/* Who works may be another one, who then goes on: the device, how many stages the model is cut into; and how long. */
static bool says_who(const char *line)
{
    static const char *const key[] = { "backend:", "stages:", "minutes:" };

    for (size_t i = 0; i < sizeof key / sizeof *key; i++)
        if (strncmp(line, key[i], strlen(key[i])) == 0)
            return true;
    return false;
}

/* The first line in which two texts differ, without its indentation. */
static void first_difference(const char *a, const char *b, char line_a[80], char line_b[80])
{
    const char *at[2] = { a, b };
    char *out[2] = { line_a, line_b };
    size_t same = 0, start = 0;

    for (; a[same] && a[same] == b[same]; same++)
        if (a[same] == '\n')
            start = same + 1;
    for (int i = 0; i < 2; i++) {
        const char *line = at[i] + start + strspn(at[i] + start, " \t");
        size_t n = strcspn(line, "\r\n");
        snprintf(out[i], 80, "%.*s", n ? (int)(n < 79 ? n : 79) : 9, n ? line : "(nothing)");
    }
}

static const char advice[] = "use another `run` folder, or --fresh to start over";

static lmb_status check_layout(const lmb_store *f, const lmb_trainer_state *s, lmb_error *err)
{
    char hex[LMB_HASH_HEX], had[80], has[80];
    const char *hash, *layers;
    lmb_str here = LMB_STR_INIT;

    LMB_TRY(lmb_store_get_text(f, "layout", &hash, err));
    lmb_hash_hex(&s->layout->hash, hex);
    if (strcmp(hash, hex) == 0)
        return LMB_OK;
    LMB_TRY(lmb_store_get_text(f, "layers", &layers, err));
    describe(s->layout, &here);
    lmb_status st = lmb_str_check(&here, err);
    if (st == LMB_OK) {
        first_difference(layers, here.text, had, has);
        st = LMB_FAIL(err, LMB_E_SHAPE, "of a model with other layers: it has `%s` where this one has `%s`; %s", had,
                      has, advice);
    }
    lmb_str_free(&here);
    return st;
}

/* The file must hold the vectors that this trainer keeps, and no others. */
static lmb_status check_vectors(const lmb_store *f, const lmb_trainer_state *s, lmb_error *err)
{
    vector v[MAX_VECTORS];
    int k = vectors_of(s, v);

    for (int i = 0; i < k; i++)
        if (!lmb_store_find(f, v[i].name))
            return LMB_FAIL(err, LMB_E_SHAPE, "has no `%s`, which this run keeps; %s", v[i].name, advice);
    for (size_t i = 0; i < lmb_store_count(f); i++) {
        const lmb_store_item *it = lmb_store_at(f, i);
        int j = 0;
        while (j < k && strcmp(it->name, v[j].name) != 0)
            j++;
        if (it->kind == LMB_STORE_TENSOR && j == k)
            return LMB_FAIL(err, LMB_E_SHAPE, "keeps `%s`, which this run does not; %s", it->name, advice);
    }
    return LMB_OK;
}

static lmb_status check(const lmb_store *f, const lmb_trainer_state *s, const char *config, lmb_error *err)
{
    lmb_agree_lines differ;
    const char *made_by;
    int64_t version;

    LMB_TRY(lmb_store_get_int(f, "version", &version, err));
    if (version != VERSION)
        return LMB_FAIL(err, LMB_E_FORMAT, "version %lld; this program reads %d", (long long)version, VERSION);
    LMB_TRY(check_layout(f, s, err));
    LMB_TRY(lmb_store_get_text(f, "configuration", &made_by, err));
    if (!lmb_agree(made_by, config, says_who, &differ))
        return LMB_FAIL(err, LMB_E_ARG, "of a run with another configuration: `%s` where this one has `%s`; %s",
                        differ.had, differ.has, advice);
    return check_vectors(f, s, err);
}

/* What measuring has decided. *out: malloc'd, or NULL: nothing has. */
static lmb_status get_choice(const lmb_store *f, const char *name, char **out, lmb_error *err)
{
    const char *text;

    LMB_TRY(lmb_store_get_text(f, name, &text, err));
    *out = *text ? strdup(text) : NULL;
    return *text && !*out ? LMB_FAIL(err, LMB_E_NOMEM, "no memory to read a checkpoint") : LMB_OK;
}

/* None counts backwards, nor so far that a step more, or a product with a number of samples, would not fit. */
static bool has_sound_counters(const lmb_trainer_state *s)
{
    const int64_t most = INT64_C(1) << 31, far = INT64_C(1) << 53;

    return s->epoch >= 0 && s->epoch <= most && s->batch >= 0 && s->batch <= s->seen && s->seen <= far &&
           s->step >= 0 && s->step <= far && s->steps_before >= 0 && s->steps_before <= far && s->correct >= 0 &&
           s->correct <= s->seen && s->best_epoch >= 0 && s->best_epoch <= s->epoch && s->best_accuracy >= -1 &&
           s->best_accuracy <= 1;
}

/* Everything is read into memory of its own first: an unreadable file changes nothing. */
static lmb_status get_all(const lmb_store *f, lmb_trainer_state *s, lmb_error *err)
{
    lmb_trainer_state fresh = *s;
    lmb_shape shape = LMB_SHAPE((int64_t)s->layout->count);
    float *data[MAX_VECTORS] = { NULL };
    lmb_status st = LMB_OK;
    vector v[MAX_VECTORS];
    number n[NUMBERS];
    int k = vectors_of(s, v);

    fresh.kernels = fresh.stages = NULL;
    fresh.steps_before = 0; /* older files do not say */
    for (int i = 0; i < k && st == LMB_OK; i++) {
        data[i] = malloc(sizeof(float) * (s->layout->count + 1));
        st = data[i] ? lmb_store_get_tensor(f, v[i].name, LMB_F32, &shape, data[i], err)
                     : LMB_FAIL(err, LMB_E_NOMEM, "no memory to read a checkpoint");
    }
    for (int i = 0, m = numbers_of(&fresh, n); i < m && st == LMB_OK; i++)
        if (n[i].i != &fresh.steps_before || lmb_store_find(f, n[i].name))
            st = n[i].i ? lmb_store_get_int(f, n[i].name, n[i].i, err) : lmb_store_get_real(f, n[i].name, n[i].r, err);
    if (st == LMB_OK)
        st = get_choice(f, "kernels", &fresh.kernels, err);
    if (st == LMB_OK && lmb_store_find(f, "stages")) /* older files have none */
        st = get_choice(f, "stages", &fresh.stages, err);
    if (st == LMB_OK && !has_sound_counters(&fresh))
        st = LMB_FAIL(err, LMB_E_FORMAT,
                      "its counters are those of no run: epoch %lld, batch %lld, step %lld, %lld of %lld samples "
                      "right, best %g in epoch %lld",
                      (long long)fresh.epoch, (long long)fresh.batch, (long long)fresh.step, (long long)fresh.correct,
                      (long long)fresh.seen, fresh.best_accuracy, (long long)fresh.best_epoch);
    for (int i = 0; i < k; i++) {
        if (st == LMB_OK)
            memcpy(v[i].data, data[i], sizeof(float) * s->layout->count);
        free(data[i]);
    }
    free(st == LMB_OK ? s->kernels : fresh.kernels);
    free(st == LMB_OK ? s->stages : fresh.stages);
    if (st == LMB_OK)
        *s = fresh;
    return st;
}

static lmb_status load_file(const char *path, lmb_trainer_state *s, const char *config, lmb_error *err)
{
    lmb_store *f;

    if (!lmb_file_exists(path))
        return LMB_FAIL(err, LMB_E_IO, "%s: there is no such file", path);
    LMB_TRY(lmb_store_open(path, &f, err));
    lmb_status st = check(f, s, config, err);
    if (st == LMB_OK)
        st = get_all(f, s, err);
    lmb_store_close(f);
    if (st != LMB_OK)
        lmb_error_context(err, "%s", path);
    return st;
}

lmb_status lmb_checkpoint_load(const char *path, lmb_trainer_state *s, const char *config, const lmb_log *log,
                               lmb_error *err)
{
    lmb_error newest = LMB_ERROR_INIT;
    char prev[PATH_MAX], old[PATH_MAX];

    LMB_TRY(beside(prev, path, ".prev", err));
    LMB_TRY(beside(old, path, ".old", err));
    lmb_status st = load_file(path, s, config, &newest);
    if (st == LMB_OK) {
        tidy(path, old, prev);
        return LMB_OK;
    }
    bool damaged = st == LMB_E_FORMAT || st == LMB_E_IO;
    if (damaged && load_file(prev, s, config, NULL) == LMB_OK) {
        lmb_log_at(log, LMB_LOG_WARN, "checkpoint", "%s; going on from the one before, %s", newest.msg, prev);
        return LMB_OK;
    }
    return LMB_FAIL(err, st, "%s", newest.msg);
}

lmb_status lmb_checkpoint_share(lmb_comm *c, lmb_trainer_state *s, lmb_error *err)
{
    vector v[MAX_VECTORS];
    number n[NUMBERS];

    for (int i = 0, k = vectors_of(s, v); i < k; i++)
        if (!s->weights_in_parts && (!s->in_parts || strncmp(v[i].name, "slot/", 5) != 0))
            LMB_TRY(c->broadcast(c, v[i].data, sizeof(float) * s->layout->count, 0, err));
    for (int i = 0, k = numbers_of(s, n); i < k; i++)
        LMB_TRY(c->broadcast(c, n[i].i ? (void *)n[i].i : (void *)n[i].r, 8, 0, err));
    return LMB_OK;
}
