/* federated/codecs/codec.c - the codecs, one line each, and what is the same for all of them: see federated/codec.h. */
#include "federated/codec.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/config.h"
#include "core/base/hash.h"
#include "federated/codecs/rows.h"

const lmb_codec *const lmb_codecs[] = {
    &lmbi_codec_f32,
    &lmbi_codec_bf16,
    &lmbi_codec_int8,
    &lmbi_codec_topk,
    &lmbi_codec_rotation,
    NULL,
};

/* ---- names and options ---- */

static lmb_status find(const char *name, const lmb_codec **out, lmb_error *err)
{
    char known[100] = "";
    size_t n = 0;
    for (int i = 0; lmb_codecs[i]; i++) {
        if (strcmp(lmb_codecs[i]->name, name) == 0) {
            *out = lmb_codecs[i];
            return LMB_OK;
        }
        if (n < sizeof known)
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", lmb_codecs[i]->name);
    }
    return LMB_FAIL(err, LMB_E_ARG, "there is no codec '%.40s'; known are: %s", name, known);
}

static void write_text(lmb_codec_spec *s)
{
    size_t n = (size_t)snprintf(s->text, sizeof s->text, "{name: %s", s->codec->name);
    for (const lmb_field *f = s->codec->fields; f->key; f++) {
        const char *at = (const char *)&s->config + f->offset;
        if (f->kind == LMB_FIELD_INT)
            n += (size_t)snprintf(s->text + n, sizeof s->text - n, ", %s: %lld", f->key,
                                  (long long)*(const int64_t *)(const void *)at);
        else
            n += (size_t)snprintf(s->text + n, sizeof s->text - n, ", %s: %.9g", f->key,
                                  *(const double *)(const void *)at);
    }
    snprintf(s->text + n, sizeof s->text - n, "}");
}

lmb_status lmb_codec_open(const lmb_tree *tree, lmb_codec_spec *out, lmb_error *err)
{
    const char *name = "f32";

    memset(out, 0, sizeof *out);
    if (tree)
        LMB_TRY(lmb_tree_name(tree, &name, err));
    LMB_TRY(find(name, &out->codec, err));
    LMB_TRY(lmb_fields_bind(out->codec->fields, tree && tree->kind == LMB_TREE_MAP ? tree : NULL, &out->config, err));
    if (out->config.common.zstd && !lmbi_zstd_known())
        return LMB_FAIL(err, LMB_E_UNSUPPORTED,
                        "codec %s is to be compressed by zstd, and this program was built without it; build it with "
                        "libzstd-dev, or set codec.zstd to 0",
                        name);
    write_text(out);
    return LMB_OK;
}

lmb_status lmb_codec_parse(const char *text, lmb_codec_spec *out, lmb_error *err)
{
    lmb_config *yaml;

    LMB_TRY(lmb_config_parse(text, strlen(text), "the server's codec", &yaml, err));
    lmb_status st = lmb_codec_open(lmb_config_root(yaml), out, err);
    lmb_config_destroy(yaml);
    return st;
}

uint64_t lmb_codec_seed(uint64_t federation, uint64_t round, int64_t client)
{
    uint64_t from[3] = { federation, round, (uint64_t)client }, seed;
    lmb_hash h = lmb_hash_of(from, sizeof from);
    memcpy(&seed, &h, sizeof seed);
    return seed;
}

uint64_t lmb_codec_limit(const lmb_codec_spec *s, uint64_t n, bool *exact)
{
    uint64_t raw = s->codec->bytes(&s->config, n);
    *exact = s->codec->fixed && !s->config.common.zstd;
    return s->config.common.zstd ? lmbi_zstd_limit(raw) : raw;
}

/* ---- there ---- */

lmb_status lmb_codec_encode(const lmb_codec_spec *s, uint64_t seed, const float *values, size_t n, uint8_t **out,
                            size_t *bytes, lmb_error *err)
{
    uint64_t cap = s->codec->bytes(&s->config, n);
    uint8_t *raw = malloc((size_t)cap + 1), *packed;
    size_t used = 0;

    if (!raw)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to encode %zu values", n);
    lmb_status st = s->codec->encode(&s->config, seed, values, n, raw, &used, err);
    if (st == LMB_OK && s->config.common.zstd) {
        st = lmbi_zstd(raw, used, (int)s->config.common.zstd, &packed, bytes, err);
        free(raw);
        if (st == LMB_OK)
            *out = packed;
        return st;
    }
    if (st != LMB_OK) {
        free(raw);
        return st;
    }
    *out = raw;
    *bytes = used;
    return LMB_OK;
}

/* ---- and back ---- */

typedef struct meter { /* a source that ends */
    const lmb_codec_source *from;
    uint64_t left;
} meter;

static lmb_status read_metered(void *ctx, void *out, size_t bytes, lmb_error *err)
{
    meter *m = ctx;
    if (bytes > m->left)
        return LMB_FAIL(err, LMB_E_FORMAT, "the update ends before its values do");
    m->left -= bytes;
    return m->from->read(m->from->ctx, out, bytes, err);
}

static lmb_status check_finite(const float *v, size_t at, size_t count, lmb_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(v[i]))
            return LMB_FAIL(err, LMB_E_NUMERIC, "value %zu of the update is %g; values must be finite", at + i,
                            (double)v[i]);
    return LMB_OK;
}

static lmb_status decode_blocks(const lmb_codec_spec *s, uint64_t seed, size_t n, const lmb_codec_source *from,
                                lmb_status (*take)(void *, size_t, const float *, size_t, lmb_error *), void *ctx,
                                lmb_error *err)
{
    float *v = malloc(LMB_CODEC_BLOCK * sizeof *v);
    lmb_status st = v ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to decode an update");

    for (uint64_t block = 0; st == LMB_OK && block < lmbi_blocks_of(n); block++) {
        size_t at = (size_t)block * LMB_CODEC_BLOCK, count = lmbi_block_count(n, block);
        st = s->codec->decode(&s->config, seed, block, count, from, v, err);
        if (st == LMB_OK)
            st = check_finite(v, at, count, err);
        if (st == LMB_OK)
            st = take(ctx, at, v, count, err);
    }
    free(v);
    return st;
}

lmb_status lmb_codec_decode(const lmb_codec_spec *s, uint64_t seed, size_t n, uint64_t bytes,
                            const lmb_codec_source *from,
                            lmb_status (*take)(void *ctx, size_t at, const float *values, size_t count, lmb_error *err),
                            void *ctx, lmb_error *err)
{
    lmbi_unzstd *z = NULL;
    lmb_codec_source unpacked = { lmbi_unzstd_read, NULL };
    meter m = { from, bytes };

    if (s->config.common.zstd) {
        LMB_TRY(lmbi_unzstd_open(from, bytes, &z, err));
        unpacked.ctx = z;
        m = (meter){ &unpacked, s->codec->bytes(&s->config, n) };
    }
    lmb_status st = decode_blocks(s, seed, n, &(lmb_codec_source){ read_metered, &m }, take, ctx, err);
    if (st == LMB_OK && z)
        st = lmbi_unzstd_end(z, err);
    else if (st == LMB_OK && m.left)
        st = LMB_FAIL(err, LMB_E_FORMAT, "%llu bytes follow after the update's last value", (unsigned long long)m.left);
    lmbi_unzstd_close(z);
    return st;
}

typedef struct memory { const uint8_t *data; float *out; } memory;

static lmb_status read_memory(void *ctx, void *out, size_t bytes, lmb_error *err)
{
    memory *m = ctx;
    (void)err;
    memcpy(out, m->data, bytes); /* lmb_codec_decode counts */
    m->data += bytes;
    return LMB_OK;
}

static lmb_status keep(void *ctx, size_t at, const float *values, size_t count, lmb_error *err)
{
    (void)err;
    memcpy(((memory *)ctx)->out + at, values, count * sizeof *values);
    return LMB_OK;
}

lmb_status lmb_codec_decode_all(const lmb_codec_spec *s, uint64_t seed, const void *data, size_t bytes, float *out,
                                size_t n, lmb_error *err)
{
    memory m = { data, out };
    return lmb_codec_decode(s, seed, n, bytes, &(lmb_codec_source){ read_memory, &m }, keep, &m, err);
}
