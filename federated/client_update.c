/* federated/client_update.c - from a trained change to the bytes that are sent: clipped, with what was left out before,
 * encoded.
 *
 * What a codec with memory leaves out is kept in two files, residual-0 and residual-1, each of one round: the newest of an
 * earlier round is what a round begins with, and the other one is written. So a client that was killed and trains for its
 * round once more begins with the same memory as before, and sends the same bytes; and when the server goes on without the
 * update, the round's file is removed and what it held was never sent. A file that is missing, damaged or of another
 * federation, model or codec is a memory of zeros: something is sent late or never, nothing is sent twice.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "federated/client_parts.h"
#include "federated/clip.h"

enum { SLOTS = 2 };
static const uint64_t slot_magic = 0x31736572626d696c; /* "limbres1" */

typedef struct slot_head {
    uint64_t magic, round, n;
    lmb_hash of; /* federation, model, codec */
} slot_head;

static lmb_status slot_path(const lmb_client *c, int slot, char out[4096], lmb_error *err)
{
    return lmb_path_join(out, 4096, c->path, slot ? "residual-1" : "residual-0", err);
}

static lmb_hash slot_owner(const lmb_client *c)
{
    lmb_hasher h;
    lmb_hash_begin(&h);
    lmb_hash_add(&h, c->invite.server_public, LMB_NOISE_KEY);
    lmb_hash_add(&h, &c->work.layout, sizeof c->work.layout);
    lmb_hash_add_text(&h, c->spec.text);
    return lmb_hash_end(&h);
}

/* Is there a file of an earlier round? */
static bool slot_look(const lmb_client *c, int slot, slot_head *head)
{
    lmb_hash owner = slot_owner(c);
    char path[4096];
    FILE *f = slot_path(c, slot, path, NULL) == LMB_OK ? fopen(path, "rb") : NULL;

    if (!f)
        return false;
    bool whole = fread(head, sizeof *head, 1, f) == 1;
    fclose(f);
    return whole && head->magic == slot_magic && head->n == c->work.n && memcmp(&head->of, &owner, sizeof owner) == 0;
}

/* Add what is remembered to delta. *into: the slot that the round may write. */
static lmb_status remember(const lmb_client *c, float *delta, int *into, lmb_error *err)
{
    size_t n = (size_t)c->work.n, bytes = 0;
    slot_head head[SLOTS];
    char path[4096];
    void *data;
    int from = -1;

    for (int i = 0; i < SLOTS; i++)
        if (slot_look(c, i, &head[i]) && head[i].round < c->work.round && (from < 0 || head[i].round > head[from].round))
            from = i;
    *into = from == 0;
    if (from < 0) { /* nothing of use: nothing may be taken for something later */
        for (int i = 0; i < SLOTS; i++)
            if (slot_path(c, i, path, NULL) == LMB_OK)
                unlink(path);
        return LMB_OK;
    }
    LMB_TRY(slot_path(c, from, path, err));
    LMB_TRY(lmb_file_read(path, sizeof *head + n * sizeof *delta, &data, &bytes, err));
    const float *kept = (const float *)(const void *)((const char *)data + sizeof *head);
    for (size_t i = 0; bytes == sizeof *head + n * sizeof *delta && i < n; i++)
        if (isfinite(kept[i]))
            delta[i] += kept[i];
    free(data);
    return LMB_OK;
}

static lmb_status keep(const lmb_client *c, int slot, const float *left, lmb_error *err)
{
    size_t n = (size_t)c->work.n, bytes = sizeof(slot_head) + n * sizeof *left;
    slot_head head = { slot_magic, c->work.round, c->work.n, slot_owner(c) };
    char path[4096], *data;

    LMB_TRY(slot_path(c, slot, path, err));
    data = malloc(bytes);
    if (!data)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to keep %zu values for the next round", n);
    memcpy(data, &head, sizeof head);
    memcpy(data + sizeof head, left, bytes - sizeof head);
    lmb_status st = lmb_file_write(path, data, bytes, err);
    free(data);
    return st;
}

void lmbi_update_unsent(const lmb_client *c, uint64_t round)
{
    slot_head head;
    char path[4096];

    if (!c->spec.codec || !c->spec.codec->has_memory)
        return;
    for (int i = 0; i < SLOTS; i++)
        if (slot_look(c, i, &head) && head.round == round && slot_path(c, i, path, NULL) == LMB_OK)
            unlink(path);
}

/* Encode c->result.delta, and keep what the payload does not say. */
static lmb_status encode_remembering(lmb_client *c, lmb_error *err)
{
    size_t n = (size_t)c->work.n;
    float *delta = c->result.delta, *sent;
    int slot;

    LMB_TRY(remember(c, delta, &slot, err));
    LMB_TRY(lmb_codec_encode(&c->spec, c->work.seed, delta, n, &c->payload, &c->payload_bytes, err));
    sent = malloc(n * sizeof *sent);
    lmb_status st = sent ? lmb_codec_decode_all(&c->spec, c->work.seed, c->payload, c->payload_bytes, sent, n, err)
                         : LMB_FAIL(err, LMB_E_NOMEM, "no memory to look at an update of %zu values", n);
    for (size_t i = 0; st == LMB_OK && i < n; i++)
        sent[i] = delta[i] - sent[i];
    if (st == LMB_OK)
        st = keep(c, slot, sent, err);
    free(sent);
    return st;
}

/* A private federation learns the clipped change and nothing else. */
static void clip(lmb_client *c)
{
    c->within = lmbi_clip(c->result.delta, (size_t)c->work.n, c->work.clip);
    c->result.examples = 1;
    c->result.metrics.n = 0;
}

lmb_status lmbi_update_make(lmb_client *c, lmb_error *err)
{
    if (c->work.clip > 0)
        clip(c);
    if (c->spec.codec->has_memory)
        LMB_TRY(encode_remembering(c, err));
    else if (c->spec.codec->lossless && !c->spec.config.common.zstd) { /* the change as it lies there */
        c->payload = (uint8_t *)(void *)c->result.delta;
        c->payload_bytes = (size_t)c->work.n * sizeof(float);
        c->result.delta = NULL;
    } else
        LMB_TRY(lmb_codec_encode(&c->spec, c->work.seed, c->result.delta, (size_t)c->work.n, &c->payload, &c->payload_bytes, err));
    free(c->result.delta);
    c->result.delta = NULL;
    return LMB_OK;
}
