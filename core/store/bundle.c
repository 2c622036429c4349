/* core/store/bundle.c - writing and reading bundles. See bundle.h for the layout. */
#include "core/store/bundle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/store/format.h"

/* Payloads are written as they lie in memory. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bundles are little-endian: this machine needs conversions that nobody has written"
#endif

enum { HEADER = 64, ENTRY = 52, ALIGN = 64, VERSION = 1, MAX_ENTRIES = 1 << 20 };
static const uint64_t max_file = (uint64_t)1 << 40;
static const unsigned char magic[8] = { 0x89, 'L', 'M', 'B', '\r', '\n', 0x1a, '\n' };
static const unsigned char zeros[ALIGN] = { 0 };

static uint64_t aligned(uint64_t n) { return (n + ALIGN - 1) & ~(uint64_t)(ALIGN - 1); }

static void put_le(unsigned char *p, int bytes, uint64_t v)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t get_le(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static lmb_hash front_hash(const unsigned char *head, const void *toc, uint64_t n)
{
    lmb_hasher h;
    lmb_hash_begin(&h);
    lmb_hash_add(&h, head, 32);
    lmb_hash_add(&h, toc, (size_t)n);
    return lmb_hash_end(&h);
}

/* ---- writing ----------------------------------------------------------------------------------- */

/* A tensor's or text's bytes; 0 for numbers, which live in the table. */
static uint64_t payload_bytes(const lmb_store_item *it)
{
    if (it->kind == LMB_STORE_TENSOR)
        return lmb_shape_bytes(&it->shape, it->dtype);
    return it->kind == LMB_STORE_TEXT ? strlen(it->text) + 1 : 0;
}

static const void *payload_of(const lmb_store_item *it)
{
    return it->kind == LMB_STORE_TENSOR ? it->data : it->kind == LMB_STORE_TEXT ? it->text : NULL;
}

static bool has_payload(const lmb_store_item *it)
{
    return it->kind == LMB_STORE_TENSOR || it->kind == LMB_STORE_TEXT;
}

static uint64_t value_bits(const lmb_store_item *it)
{
    uint64_t bits = (uint64_t)it->integer;
    if (it->kind == LMB_STORE_REAL)
        memcpy(&bits, &it->real, sizeof bits);
    return bits;
}

static void add_entry(lmb_str *toc, const lmb_store_item *it, uint64_t offset)
{
    unsigned char e[ENTRY + 8 * LMB_MAX_DIMS] = { 0 };
    bool tensor = it->kind == LMB_STORE_TENSOR;
    int dims = tensor ? it->shape.n : 0;

    e[0] = (unsigned char)it->kind;
    e[1] = tensor ? (unsigned char)lmb_dtype_onnx(it->dtype) : 0;
    e[2] = (unsigned char)dims;
    e[3] = (unsigned char)strlen(it->name);
    put_le(e + 4, 8, has_payload(it) ? offset : value_bits(it));
    if (has_payload(it)) {
        lmb_hash h = lmb_hash_of(payload_of(it), (size_t)payload_bytes(it));
        put_le(e + 12, 8, payload_bytes(it));
        memcpy(e + 20, h.b, sizeof h.b);
    }
    for (int i = 0; i < dims; i++)
        put_le(e + ENTRY + 8 * i, 8, (uint64_t)it->shape.d[i]);
    lmb_str_add_n(toc, e, (size_t)(ENTRY + 8 * dims));
    lmb_str_add(toc, it->name);
}

static uint64_t table_bytes(const lmbi_items *items)
{
    uint64_t n = 0;
    for (size_t i = 0; i < items->n; i++)
        n += ENTRY + strlen(items->v[i].name) +
             (items->v[i].kind == LMB_STORE_TENSOR ? 8u * (unsigned)items->v[i].shape.n : 0);
    return n;
}

/* Header and table into `out`; *total becomes the bytes of the whole bundle. */
static void add_front(lmb_str *out, const lmbi_items *items, uint64_t *total)
{
    unsigned char head[HEADER] = { 0 };
    uint64_t toc = table_bytes(items), end = HEADER + toc;
    lmb_hash h;

    lmb_str_add_n(out, head, sizeof head);
    for (size_t i = 0; i < items->n; i++) {
        const lmb_store_item *it = &items->v[i];
        add_entry(out, it, aligned(end));
        if (has_payload(it))
            end = aligned(end) + payload_bytes(it);
    }
    if (out->failed)
        return;
    memcpy(head, magic, sizeof magic);
    put_le(head + 8, 4, VERSION);
    put_le(head + 12, 4, items->n);
    put_le(head + 16, 8, toc);
    put_le(head + 24, 8, end);
    h = front_hash(head, out->text + HEADER, toc);
    memcpy(head + 32, h.b, sizeof h.b);
    memcpy(out->text, head, sizeof head);
    *total = end;
}

typedef bool (*sink)(void *ctx, const void *bytes, size_t n);

/* The whole bundle, piece by piece, so that a file needs no second copy of the tensors in memory. */
static lmb_status emit(const lmbi_items *items, sink to, void *ctx, lmb_error *err)
{
    lmb_str front = LMB_STR_INIT;
    uint64_t total = 0, at;
    lmb_status st;
    bool ok;

    add_front(&front, items, &total);
    st = lmb_str_check(&front, err);
    if (st == LMB_OK && total > max_file)
        st = LMB_FAIL(err, LMB_E_ARG, "a bundle of %llu bytes; at most 2^40 are possible", (unsigned long long)total);
    if (st != LMB_OK) {
        lmb_str_free(&front);
        return st;
    }
    at = front.n;
    ok = to(ctx, front.text, front.n);
    for (size_t i = 0; i < items->n && ok; i++) {
        const lmb_store_item *it = &items->v[i];
        if (!has_payload(it))
            continue;
        ok = to(ctx, zeros, (size_t)(aligned(at) - at)) && to(ctx, payload_of(it), (size_t)payload_bytes(it));
        at = aligned(at) + payload_bytes(it);
    }
    lmb_str_free(&front);
    return ok ? LMB_OK : LMB_E_IO; /* the caller knows what its sink could not do */
}

static bool to_memory(void *ctx, const void *bytes, size_t n)
{
    lmb_str_add_n(ctx, bytes, n);
    return !((lmb_str *)ctx)->failed;
}

static bool to_file(void *ctx, const void *bytes, size_t n) { return n == 0 || fwrite(bytes, 1, n, ctx) == n; }

static lmb_status bundle_write(const lmbi_items *items, const lmb_store_item *const *sorted, const char *tmp,
                               lmb_error *err)
{
    FILE *f = fopen(tmp, "wb");
    lmb_status st;

    (void)sorted; /* entries keep the order of writing */
    if (!f)
        return LMB_FAIL(err, LMB_E_IO, "cannot create %s: %s", tmp, strerror(errno));
    st = emit(items, to_file, f, err);
    if (st == LMB_E_IO)
        LMB_FAIL(err, LMB_E_IO, "cannot write %s: %s", tmp, strerror(errno));
    if (fclose(f) != 0 && st == LMB_OK)
        st = LMB_FAIL(err, LMB_E_IO, "cannot write %s: %s", tmp, strerror(errno));
    return st;
}

lmb_status lmb_bundle_create(lmb_store_writer **out, lmb_error *err)
{
    return lmbi_store_writer_new(NULL, NULL, out, err);
}

lmb_status lmb_bundle_bytes(const lmb_store_writer *w, void **data, size_t *n, lmb_error *err)
{
    const lmb_store_item **sorted = NULL;
    lmb_str s = LMB_STR_INIT;
    lmb_status st;

    LMB_TRY(lmbi_items_sort(&w->items, &sorted, err)); /* for its checks */
    free(sorted);
    st = emit(&w->items, to_memory, &s, err);
    if (st == LMB_E_IO)
        st = lmb_str_check(&s, err);
    if (st != LMB_OK) {
        lmb_str_free(&s);
        return st;
    }
    *data = s.text;
    *n = s.n;
    return LMB_OK;
}

/* ---- reading ----------------------------------------------------------------------------------- */

typedef struct view {
    const unsigned char *p;
    uint64_t n;    /* bytes of the bundle                      */
    uint64_t at;   /* next byte of the table                   */
    uint64_t toc;  /* end of the table                         */
    uint64_t end;  /* end of the last payload seen             */
    uint32_t count;
} view;

static lmb_status malformed(lmb_error *err, const char *what)
{
    return LMB_FAIL(err, LMB_E_FORMAT, "not a valid bundle: %s", what);
}

static lmb_status read_header(view *v, lmb_error *err)
{
    lmb_hash got;
    uint64_t toc;

    if (v->n < HEADER || memcmp(v->p, magic, sizeof magic) != 0)
        return malformed(err, "it does not begin with the header of a bundle");
    if (get_le(v->p + 8, 4) != VERSION)
        return LMB_FAIL(err, LMB_E_FORMAT, "a bundle of version %llu; this program reads version %d",
                        (unsigned long long)get_le(v->p + 8, 4), VERSION);
    if (get_le(v->p + 24, 8) != v->n)
        return LMB_FAIL(err, LMB_E_FORMAT, "a bundle of %llu bytes of which %llu are here: truncated, or followed by "
                        "something else", (unsigned long long)get_le(v->p + 24, 8), (unsigned long long)v->n);
    v->count = (uint32_t)get_le(v->p + 12, 4);
    toc = get_le(v->p + 16, 8);
    if (toc > v->n - HEADER || v->count > MAX_ENTRIES || toc / ENTRY < v->count)
        return malformed(err, "its table of contents does not fit");
    got = front_hash(v->p, v->p + HEADER, toc);
    if (memcmp(got.b, v->p + 32, sizeof got.b) != 0)
        return malformed(err, "its table of contents is damaged");
    v->at = HEADER;
    v->toc = v->end = HEADER + toc;
    return LMB_OK;
}

/* The payload of entry `e`: where the layout says, zeros before it, hash right. */
static lmb_status read_payload(view *v, const unsigned char *e, const char *name, const unsigned char **out,
                               uint64_t *bytes, lmb_error *err)
{
    uint64_t offset = get_le(e + 4, 8), n = get_le(e + 12, 8);
    lmb_hash h;

    if (offset != aligned(v->end) || offset > v->n || n > v->n - offset)
        return malformed(err, "a value lies outside its place");
    for (uint64_t i = v->end; i < offset; i++)
        if (v->p[i])
            return malformed(err, "the padding between values is not zero");
    h = lmb_hash_of(v->p + offset, (size_t)n);
    if (memcmp(h.b, e + 20, sizeof h.b) != 0)
        return LMB_FAIL(err, LMB_E_FORMAT, "not a valid bundle: the bytes of '%s' are damaged", name);
    v->end = offset + n;
    *out = v->p + offset;
    *bytes = n;
    return LMB_OK;
}

static lmb_status read_tensor(view *v, const unsigned char *e, lmb_store_item *it, lmb_error *err)
{
    const unsigned char *data;
    uint64_t n;

    if (!lmb_dtype_from_onnx(e[1], &it->dtype))
        return malformed(err, "a tensor of an unknown element type");
    it->shape.n = e[2];
    for (int i = 0; i < e[2]; i++)
        it->shape.d[i] = (int64_t)get_le(e + ENTRY + 8 * i, 8);
    if (lmb_shape_check(&it->shape, it->dtype, NULL) != LMB_OK)
        return malformed(err, "a tensor of an impossible shape");
    LMB_TRY(read_payload(v, e, it->name, &data, &n, err));
    if (n != lmb_shape_bytes(&it->shape, it->dtype))
        return malformed(err, "a tensor whose shape and bytes do not agree");
    it->data = data;
    return LMB_OK;
}

static lmb_status read_text(view *v, const unsigned char *e, lmb_store_item *it, lmb_error *err)
{
    const unsigned char *data;
    uint64_t n;

    LMB_TRY(read_payload(v, e, it->name, &data, &n, err));
    if (n == 0 || memchr(data, 0, (size_t)n) != data + n - 1)
        return malformed(err, "a text that does not end with its only NUL");
    it->text = (const char *)data;
    return LMB_OK;
}

static lmb_status read_number(const unsigned char *e, lmb_store_item *it, lmb_error *err)
{
    uint64_t bits = get_le(e + 4, 8);

    if (memcmp(e + 12, zeros, 40) != 0)
        return malformed(err, "a number with a payload");
    if (it->kind == LMB_STORE_REAL)
        memcpy(&it->real, &bits, sizeof it->real);
    else
        memcpy(&it->integer, &bits, sizeof it->integer);
    return LMB_OK;
}

static lmb_status read_entry(view *v, lmbi_items *items, lmb_error *err)
{
    const unsigned char *e = v->p + v->at;
    char name[256];
    lmb_store_item it;
    uint64_t left = v->toc - v->at, size;

    memset(&it, 0, sizeof it);
    if (left < ENTRY || e[2] > LMB_MAX_DIMS)
        return malformed(err, "an entry of its table of contents is cut off");
    size = ENTRY + 8u * e[2] + e[3];
    if (left < size)
        return malformed(err, "an entry of its table of contents is cut off");
    if (memchr(e + size - e[3], 0, e[3]))
        return malformed(err, "a name with a NUL character");
    memcpy(name, e + size - e[3], e[3]);
    name[e[3]] = '\0';
    it.kind = (lmb_store_kind)e[0];
    it.name = name;
    if (it.kind != LMB_STORE_TENSOR && (e[1] || e[2]))
        return malformed(err, "an entry with a shape that is no tensor");
    v->at += size;
    switch (it.kind) {
    case LMB_STORE_TENSOR: LMB_TRY(read_tensor(v, e, &it, err)); break;
    case LMB_STORE_TEXT: LMB_TRY(read_text(v, e, &it, err)); break;
    case LMB_STORE_INT:
    case LMB_STORE_REAL: LMB_TRY(read_number(e, &it, err)); break;
    default: return malformed(err, "an entry of an unknown kind");
    }
    if (lmbi_items_add(items, &it, NULL) != LMB_OK)
        return malformed(err, "a name that is not allowed");
    return LMB_OK;
}

/* `memory` is NULL, or the buffer that the store owns from now on. */
static lmb_status read_bundle(const void *data, size_t n, void *memory, lmb_store **out, lmb_error *err)
{
    lmbi_items items = { NULL, 0, 0 };
    view v = { .p = data, .n = n };
    lmb_status st = read_header(&v, err);

    for (uint32_t i = 0; i < v.count && st == LMB_OK; i++)
        st = read_entry(&v, &items, err);
    if (st == LMB_OK && (v.at != v.toc || v.end != v.n))
        st = malformed(err, "it has bytes that belong to nothing");
    if (st != LMB_OK) {
        lmbi_items_free(&items);
        free(memory);
        return st;
    }
    return lmbi_store_new(&lmb_store_bundle, &items, memory, out, err);
}

lmb_status lmb_bundle_read(const void *data, size_t n, lmb_store **out, lmb_error *err)
{
    return read_bundle(data, n, NULL, out, err);
}

static lmb_status bundle_open(const char *path, lmb_store **out, lmb_error *err)
{
    void *data;
    size_t n;
    lmb_status st;

    LMB_TRY(lmb_file_read(path, (size_t)(max_file < SIZE_MAX / 2 ? max_file : SIZE_MAX / 2), &data, &n, err));
    st = read_bundle(data, n, data, out, err);
    if (st != LMB_OK)
        lmb_error_context(err, "%.200s", path);
    return st;
}

const lmb_store_format lmb_store_bundle = {
    .name = "bundle",
    .summary = "one flat file, no library needed; also the body of messages",
    .magic = { 0x89, 'L', 'M', 'B', '\r', '\n', 0x1a, '\n' },
    .write = bundle_write,
    .open = bundle_open,
    .close = free,
};
