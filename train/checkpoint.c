/* train/checkpoint.c - see checkpoint.h. */
#include "train/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/store/store.h"

enum { VERSION = 1, MAX_VECTORS = 3 + LMB_MAX_SLOTS };

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
    for (int i = 0; i < s->n_slots; i++) {
        v[n] = (vector){ "", s->slot[i] };
        snprintf(v[n++].name, sizeof v->name, "slot/%d", i);
    }
    return n;
}

typedef struct number { const char *name; int64_t *i; double *r; } number;

static int numbers_of(lmb_trainer_state *s, number *n)
{
    const number all[] = { { "epoch", &s->epoch, NULL }, { "batch", &s->batch, NULL }, { "step", &s->step, NULL },
                           { "best_epoch", &s->best_epoch, NULL }, { "correct", &s->correct, NULL }, { "seen", &s->seen, NULL },
                           { "best_accuracy", NULL, &s->best_accuracy }, { "loss_sum", NULL, &s->loss_sum } };
    memcpy(n, all, sizeof all);
    return (int)(sizeof all / sizeof all[0]);
}

static const char *format(void)
{
#if LMB_HAVE_HDF5
    return "hdf5";
#else
    return "bundle";
#endif
}

static lmb_status put_all(lmb_store_writer *w, const lmb_trainer_state *s, const char *config, lmb_error *err)
{
    lmb_trainer_state copy = *s; /* numbers_of hands out pointers */
    lmb_shape shape = LMB_SHAPE((int64_t)s->layout->count);
    char hex[LMB_HASH_HEX];
    vector v[MAX_VECTORS];
    number n[8];

    lmb_hash_hex(&s->layout->hash, hex);
    LMB_TRY(lmb_store_put_int(w, "version", VERSION, err));
    LMB_TRY(lmb_store_put_text(w, "layout", hex, err));
    LMB_TRY(lmb_store_put_text(w, "configuration", config, err));
    for (int i = 0, k = vectors_of(s, v); i < k; i++)
        LMB_TRY(lmb_store_put_tensor(w, v[i].name, LMB_F32, &shape, v[i].data, err));
    for (int i = 0, k = numbers_of(&copy, n); i < k; i++)
        LMB_TRY(n[i].i ? lmb_store_put_int(w, n[i].name, *n[i].i, err) : lmb_store_put_real(w, n[i].name, *n[i].r, err));
    return LMB_OK;
}

lmb_status lmb_checkpoint_save(const char *path, const lmb_trainer_state *s, const char *config, lmb_error *err)
{
    lmb_store_writer *w;
    LMB_TRY(lmb_store_create(path, format(), &w, err));
    lmb_status st = put_all(w, s, config, err);
    if (st == LMB_OK)
        st = lmb_store_commit(w, err);
    lmb_store_writer_destroy(w);
    return st;
}

static lmb_status check(const lmb_store *f, const char *path, const lmb_trainer_state *s, const char *config, lmb_error *err)
{
    char hex[LMB_HASH_HEX];
    const char *layout, *made_by;
    int64_t version;

    LMB_TRY(lmb_store_get_int(f, "version", &version, err));
    if (version != VERSION)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: version %lld; this program reads %d", path, (long long)version, VERSION);
    LMB_TRY(lmb_store_get_text(f, "layout", &layout, err));
    lmb_hash_hex(&s->layout->hash, hex);
    if (strcmp(layout, hex) != 0)
        return LMB_FAIL(err, LMB_E_SHAPE, "%s: of a model with other layers; use another `run` folder, or --fresh to start over", path);
    LMB_TRY(lmb_store_get_text(f, "configuration", &made_by, err));
    if (strcmp(made_by, config) != 0)
        return LMB_FAIL(err, LMB_E_ARG, "%s: of a run with another configuration; use another `run` folder, or --fresh to start over", path);
    return LMB_OK;
}

/* Everything is read into memory of its own first: an unreadable file changes nothing. */
static lmb_status get_all(const lmb_store *f, lmb_trainer_state *s, lmb_error *err)
{
    lmb_trainer_state fresh = *s;
    lmb_shape shape = LMB_SHAPE((int64_t)s->layout->count);
    float *data[MAX_VECTORS] = { NULL };
    lmb_status st = LMB_OK;
    vector v[MAX_VECTORS];
    number n[8];
    int k = vectors_of(s, v);

    for (int i = 0; i < k && st == LMB_OK; i++) {
        data[i] = malloc(sizeof(float) * (s->layout->count + 1));
        st = data[i] ? lmb_store_get_tensor(f, v[i].name, LMB_F32, &shape, data[i], err)
                     : LMB_FAIL(err, LMB_E_NOMEM, "no memory to read a checkpoint");
    }
    for (int i = 0, m = numbers_of(&fresh, n); i < m && st == LMB_OK; i++)
        st = n[i].i ? lmb_store_get_int(f, n[i].name, n[i].i, err) : lmb_store_get_real(f, n[i].name, n[i].r, err);
    if (st == LMB_OK && (fresh.epoch < 0 || fresh.batch < 0 || fresh.step < 0 || fresh.seen < 0))
        st = LMB_FAIL(err, LMB_E_FORMAT, "a checkpoint with negative counters");
    for (int i = 0; i < k; i++) {
        if (st == LMB_OK)
            memcpy(v[i].data, data[i], sizeof(float) * s->layout->count);
        free(data[i]);
    }
    if (st == LMB_OK)
        *s = fresh;
    return st;
}

lmb_status lmb_checkpoint_load(const char *path, lmb_trainer_state *s, const char *config, lmb_error *err)
{
    lmb_store *f;
    LMB_TRY(lmb_store_open(path, &f, err));
    lmb_status st = check(f, path, s, config, err);
    if (st == LMB_OK)
        st = get_all(f, s, err);
    lmb_store_close(f);
    return st;
}

lmb_status lmb_checkpoint_share(lmb_comm *c, lmb_trainer_state *s, lmb_error *err)
{
    vector v[MAX_VECTORS];
    number n[8];

    for (int i = 0, k = vectors_of(s, v); i < k; i++)
        LMB_TRY(c->broadcast(c, v[i].data, sizeof(float) * s->layout->count, 0, err));
    for (int i = 0, k = numbers_of(s, n); i < k; i++)
        LMB_TRY(c->broadcast(c, n[i].i ? (void *)n[i].i : (void *)n[i].r, 8, 0, err));
    return LMB_OK;
}
