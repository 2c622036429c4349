/* core/onnx/wire.c - protobuf's wire format: tags, lengths and bytes.
 *
 * A message is written in place: its length is a gap that is filled, and closed up when the message is small,
 * once the content is there. So weights are copied once.
 *   source   protobuf encoding specification
 */
#include <string.h>

#include "core/onnx/internal.h"

enum { GAP = 5, CLOSE_BELOW = 1 << 16 };

static size_t put_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

static void add_varint(lmb_str *s, uint64_t v)
{
    uint8_t b[10];
    lmb_str_add_n(s, b, put_varint(b, v));
}

void lmbi_wire_int(lmb_str *s, unsigned field, int64_t v)
{
    add_varint(s, field << 3);
    add_varint(s, (uint64_t)v);
}

void lmbi_wire_bytes(lmb_str *s, unsigned field, const void *bytes, size_t n)
{
    add_varint(s, field << 3 | 2);
    add_varint(s, n);
    if (n)
        lmb_str_add_n(s, bytes, n);
}

void lmbi_wire_text(lmb_str *s, unsigned field, const char *text) { lmbi_wire_bytes(s, field, text, strlen(text)); }

void lmbi_wire_float(lmb_str *s, unsigned field, float v)
{
    add_varint(s, field << 3 | 5);
    lmb_str_add_n(s, &v, sizeof v);
}

size_t lmbi_wire_begin(lmb_str *s, unsigned field)
{
    static const uint8_t gap[GAP] = { 0 };
    add_varint(s, field << 3 | 2);
    lmb_str_add_n(s, gap, GAP);
    return s->n;
}

/* Fill the gap with the length: five bytes (a varint may be longer than it must), or fewer where moving the
 * content up is cheap. */
void lmbi_wire_end(lmb_str *s, size_t start)
{
    if (s->failed)
        return;
    size_t n = s->n - start;
    uint8_t *gap = (uint8_t *)s->text + start - GAP;
    if (n < CLOSE_BELOW) {
        size_t used = put_varint(gap, n);
        memmove(gap + used, s->text + start, n + 1);
        s->n -= GAP - used;
        return;
    }
    for (int i = 0; i < GAP; i++)
        gap[i] = (uint8_t)((n >> (7 * i) & 0x7f) | (i < GAP - 1 ? 0x80 : 0));
}
