/* train/events.c - TFRecord framing and the few protobuf fields that a scalar needs. See events.h. */
#include "train/events.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"

/* Bytes of a message or record under construction. Callers bound what they add: see MAX_EVENT. */
enum { MAX_EVENT = LMB_EVENTS_TAG + 64, FRAME = 16, MAX_FILES = 1000 };
typedef struct bytes { unsigned char b[MAX_EVENT + FRAME]; size_t n; } bytes;

static void add(bytes *o, const void *p, size_t n)
{
    memcpy(o->b + o->n, p, n);
    o->n += n;
}

static void add_le(bytes *o, int width, uint64_t v)
{
    for (int i = 0; i < width; i++)
        o->b[o->n++] = (unsigned char)(v >> (8 * i));
}

/* ---- CRC-32C (Castagnoli), half a byte a step ---------------------------------------------------- */

static uint32_t crc32c(const unsigned char *p, size_t n)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    uint32_t crc = 0xffffffffu;

    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

/* A CRC over data that holds CRCs is weak; TFRecord hides them so. */
static uint32_t masked(uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; }

/* ---- protobuf ---------------------------------------------------------------------------------- */

enum { VARINT = 0, FIXED64 = 1, BLOCK = 2, FIXED32 = 5 };

static void add_varint(bytes *o, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        o->b[o->n++] = (unsigned char)(v | 0x80);
    o->b[o->n++] = (unsigned char)v;
}

static void add_key(bytes *o, int field, int type) { add_varint(o, (uint64_t)(field << 3 | type)); }

static void add_double(bytes *o, int field, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    add_key(o, field, FIXED64);
    add_le(o, 8, bits);
}

static void add_float(bytes *o, int field, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    add_key(o, field, FIXED32);
    add_le(o, 4, bits);
}

/* A string or a message inside a message. */
static void add_block(bytes *o, int field, const void *p, size_t n)
{
    add_key(o, field, BLOCK);
    add_varint(o, n);
    add(o, p, n);
}

/* ---- events ------------------------------------------------------------------------------------ */

static lmb_status append(const lmb_events *e, const bytes *message, lmb_error *err)
{
    bytes record = { .n = 0 };

    add_le(&record, 8, message->n);
    add_le(&record, 4, masked(crc32c(record.b, 8)));
    add(&record, message->b, message->n);
    add_le(&record, 4, masked(crc32c(message->b, message->n)));
    return lmb_file_append(e->path, record.b, record.n, err);
}

lmb_status lmb_events_begin(lmb_events *e, const char *folder, double wall_time, lmb_error *err)
{
    static const char version[] = "brain.Event:2";
    bytes message = { .n = 0 };
    lmb_events made;
    char host[65], name[160];
    int i = 0;

    if (gethostname(host, sizeof host) != 0)
        snprintf(host, sizeof host, "host");
    host[sizeof host - 1] = '\0';
    LMB_TRY(lmb_file_make_dirs(folder, err));
    /* TensorBoard wants "tfevents" in the name and sorts by the time in it. */
    do {
        snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s.%ld.%d", (long long)wall_time, host,
                 (long)getpid(), i);
        LMB_TRY(lmb_path_join(made.path, sizeof made.path, folder, name, err));
    } while (lmb_file_exists(made.path) && ++i < MAX_FILES);
    if (i == MAX_FILES)
        return LMB_FAIL(err, LMB_E_IO, "%s: %d event files of this second are there already; remove some", folder,
                        MAX_FILES);
    add_double(&message, 1, wall_time);
    add_block(&message, 3, version, sizeof version - 1);
    LMB_TRY(append(&made, &message, err));
    *e = made;
    return LMB_OK;
}

lmb_status lmb_events_scalar(const lmb_events *e, const char *tag, int64_t step, double wall_time, double value,
                             lmb_error *err)
{
    bytes message = { .n = 0 }, summary = { .n = 0 }, point = { .n = 0 };
    size_t n = strlen(tag);

    if (n == 0 || n > LMB_EVENTS_TAG || step < 0)
        return LMB_FAIL(err, LMB_E_ARG,
                        "the event '%.80s' at step %lld: a tag has 1 to %d bytes, a step is not negative", tag,
                        (long long)step, LMB_EVENTS_TAG);
    add_block(&point, 1, tag, n);
    add_float(&point, 2, (float)value);
    add_block(&summary, 1, point.b, point.n);
    add_double(&message, 1, wall_time);
    add_key(&message, 2, VARINT);
    add_varint(&message, (uint64_t)step);
    add_block(&message, 5, summary.b, summary.n);
    return append(e, &message, err);
}

lmb_status lmb_events_epoch(const lmb_events *e, double wall_time, const lmb_epoch *epoch, lmb_error *err)
{
    bool valid = epoch->valid_accuracy >= 0;
    const struct { const char *tag; double value; } curve[] = {
        { "train/loss", epoch->loss }, { "train/accuracy", epoch->accuracy }, { "train/lr", epoch->lr },
        { "train/images_per_second", epoch->images_per_second },
        { "valid/loss", valid ? epoch->valid_loss : NAN }, { "valid/accuracy", valid ? epoch->valid_accuracy : NAN },
    };
    for (size_t i = 0; i < (valid ? 6 : 4); i++)
        LMB_TRY(lmb_events_scalar(e, curve[i].tag, epoch->epoch + 1, wall_time, curve[i].value, err));
    return LMB_OK;
}

/* ---- cutting: files are read back as far as they are whole ---------------------------------------- */

static uint64_t get_le(const unsigned char *p, int width)
{
    uint64_t v = 0;
    for (int i = 0; i < width; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* Bytes of the record at p, of which `left` are there; 0: it is not whole, or not as it was written. */
static size_t whole_record(const unsigned char *p, size_t left)
{
    if (left < FRAME || get_le(p, 8) > left - FRAME || get_le(p + 8, 4) != masked(crc32c(p, 8)))
        return 0;
    size_t n = (size_t)get_le(p, 8);
    return get_le(p + 12 + n, 4) == masked(crc32c(p + 12, n)) ? FRAME + n : 0;
}

/* The step of a message as scalar() writes it, -1: it is the first of a file. */
static int64_t step_of(const unsigned char *m, size_t n)
{
    uint64_t step = 0;

    if (n < 11 || m[9] != (2 << 3 | VARINT))
        return -1;
    for (size_t i = 10, shift = 0; i < n && shift < 64; i++, shift += 7) {
        step |= (uint64_t)(m[i] & 0x7f) << shift;
        if (m[i] < 0x80)
            break;
    }
    return (int64_t)(step & INT64_MAX);
}

static lmb_status cut_file(const char *path, int64_t last, lmb_error *err)
{
    void *content;
    size_t n, at = 0, kept = 0, one;
    int records = 0;

    LMB_TRY(lmb_file_read(path, (size_t)1 << 30, &content, &n, err));
    unsigned char *p = content;
    for (; at < n && (one = whole_record(p + at, n - at)) > 0; at += one)
        if (step_of(p + at + 12, one - FRAME) <= last) {
            memmove(p + kept, p + at, one);
            kept += one;
            records++;
        }
    lmb_status st = LMB_OK;
    bool empty = records <= 1; /* the first only says what the file is */
    if (!empty && kept < n)
        st = lmb_file_write(path, p, kept, err);
    else if (empty && unlink(path) != 0)
        st = LMB_FAIL(err, LMB_E_IO, "%s: can not be removed", path);
    free(content);
    return st;
}

lmb_status lmb_events_cut(const char *folder, int64_t last, lmb_error *err)
{
    char path[LMB_EVENTS_PATH];
    lmb_status st = LMB_OK;
    DIR *d = opendir(folder);

    for (struct dirent *e; d && st == LMB_OK && (e = readdir(d));) {
        if (strncmp(e->d_name, "events.out.tfevents.", 20) != 0)
            continue;
        st = lmb_path_join(path, sizeof path, folder, e->d_name, err);
        if (st == LMB_OK)
            st = cut_file(path, last, err);
    }
    if (d)
        closedir(d);
    return st;
}
