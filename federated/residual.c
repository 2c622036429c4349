/* federated/residual.c - see residual.h. */
#include "federated/residual.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"

enum { SLOTS = 2 };
static const uint64_t slot_magic = 0x31736572626d696c; /* "limbres1" */

typedef struct slot_head {
    uint64_t magic, round, n;
    lmb_hash owner;
} slot_head;

static void slot_path(const char *stem, int slot, char out[LMB_RESIDUAL_PATH])
{
    snprintf(out, LMB_RESIDUAL_PATH, "%.*s-%d", LMB_RESIDUAL_PATH - 4, stem, slot);
}

/* Is there a file of this owner? */
static bool slot_look(const lmb_residual *r, int slot, slot_head *head)
{
    char path[LMB_RESIDUAL_PATH];

    slot_path(r->stem, slot, path);
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    bool whole = fread(head, sizeof *head, 1, f) == 1;
    fclose(f);
    return whole && head->magic == slot_magic && head->n == r->n &&
           memcmp(&head->owner, &r->owner, sizeof r->owner) == 0;
}

void lmb_residual_forget(const char *stem)
{
    char path[LMB_RESIDUAL_PATH];

    for (int i = 0; i < SLOTS; i++) {
        slot_path(stem, i, path);
        unlink(path);
    }
}

/* Add what is remembered to delta. *into: the slot that the round may write. */
static lmb_status remember(const lmb_residual *r, float *delta, int *into, lmb_error *err)
{
    size_t n = (size_t)r->n, bytes = 0;
    slot_head head[SLOTS];
    char path[LMB_RESIDUAL_PATH];
    void *data;
    int from = -1;

    for (int i = 0; i < SLOTS; i++)
        if (slot_look(r, i, &head[i]) && head[i].round < r->round && (from < 0 || head[i].round > head[from].round))
            from = i;
    *into = from == 0;
    if (from < 0) { /* nothing of use: nothing may be taken for something later */
        lmb_residual_forget(r->stem);
        return LMB_OK;
    }
    slot_path(r->stem, from, path);
    LMB_TRY(lmb_file_read(path, sizeof *head + n * sizeof *delta, &data, &bytes, err));
    const float *kept = (const float *)(const void *)((const char *)data + sizeof *head);
    for (size_t i = 0; bytes == sizeof *head + n * sizeof *delta && i < n; i++)
        if (isfinite(kept[i]))
            delta[i] += kept[i];
    free(data);
    return LMB_OK;
}

static lmb_status keep(const lmb_residual *r, int slot, const float *left, lmb_error *err)
{
    size_t n = (size_t)r->n, bytes = sizeof(slot_head) + n * sizeof *left;
    slot_head head = { slot_magic, r->round, r->n, r->owner };
    char path[LMB_RESIDUAL_PATH], *data = malloc(bytes);

    if (!data)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to keep %zu values for the next round", n);
    slot_path(r->stem, slot, path);
    memcpy(data, &head, sizeof head);
    memcpy(data + sizeof head, left, bytes - sizeof head);
    lmb_status st = lmb_file_write(path, data, bytes, err);
    free(data);
    return st;
}

void lmb_residual_unsent(const lmb_residual *r)
{
    slot_head head;
    char path[LMB_RESIDUAL_PATH];

    for (int i = 0; i < SLOTS; i++)
        if (slot_look(r, i, &head) && head.round == r->round) {
            slot_path(r->stem, i, path);
            unlink(path);
        }
}

lmb_status lmb_residual_encode(const lmb_residual *r, const lmb_codec_spec *spec, uint64_t seed, float *delta,
                               uint8_t **payload, size_t *bytes, lmb_error *err)
{
    size_t n = (size_t)r->n;
    int slot;

    LMB_TRY(remember(r, delta, &slot, err));
    LMB_TRY(lmb_codec_encode(spec, seed, delta, n, payload, bytes, err));
    float *left = malloc(n * sizeof *left);
    lmb_status st = left ? lmb_codec_decode_all(spec, seed, *payload, *bytes, left, n, err)
                         : LMB_FAIL(err, LMB_E_NOMEM, "no memory to look at an update of %zu values", n);
    for (size_t i = 0; st == LMB_OK && i < n; i++)
        left[i] = delta[i] - left[i];
    if (st == LMB_OK)
        st = keep(r, slot, left, err);
    free(left);
    return st;
}
