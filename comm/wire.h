/* comm/wire.h - typed messages as rows: one table describes a message, for writing, reading and its limits.
 *
 * Idea: a message is a C struct and a table of fields in wire order. Nothing is optional and nothing nests, so a
 * reader needs no recursion and no memory: every field has a fixed place in the struct and a stated limit, and a
 * message must end where its last field ends.
 *
 *    U32, U64   little-endian
 *    REAL       IEEE 754 double, little-endian
 *    BYTES      exactly `limit` bytes
 *    TEXT       u16 length, then that many bytes; char[limit] in the struct, NUL-terminated. One line for people:
 *               control characters are written as '?' and refused when read
 *    METRICS    u16 count, then for each a TEXT name and a REAL; lmb_figures in the struct
 *
 *   errors   E_FORMAT names the message, the field and the limit
 *   threads  pure
 */
#ifndef LMB_COMM_WIRE_H
#define LMB_COMM_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_METRICS_MAX = 16, LMB_METRIC_NAME = 32 };

typedef struct lmb_figures {
    uint32_t n;
    struct {
        char name[LMB_METRIC_NAME];
        double value;
    } row[LMB_METRICS_MAX];
} lmb_figures;

/* Append; silently full at LMB_METRICS_MAX, long names are cut. */
void lmb_figures_add(lmb_figures *m, const char *name, double value);
/* NAN: there is none of that name. */
double lmb_figures_find(const lmb_figures *m, const char *name);

typedef enum {
    LMB_WIRE_END,
    LMB_WIRE_U32,
    LMB_WIRE_U64,
    LMB_WIRE_REAL,
    LMB_WIRE_BYTES,
    LMB_WIRE_TEXT,
    LMB_WIRE_METRICS
} lmb_wire_kind;

typedef struct lmb_wire_field {
    lmb_wire_kind kind;
    const char *name; /* for messages to people */
    size_t offset;    /* offsetof(struct, member) */
    size_t limit;     /* BYTES: exact size; TEXT: size of the array, its NUL included */
} lmb_wire_field;

#define LMB_WIRE(S, m, kind, limit) { LMB_WIRE_##kind, #m, offsetof(S, m), (limit) }
#define LMB_WIRE_LAST { LMB_WIRE_END, NULL, 0, 0 }

/* E_ARG when `cap` does not hold it. */
LMB_MUST_CHECK lmb_status lmb_wire_write(const char *message, const lmb_wire_field *rows, const void *in, uint8_t *out,
                                         size_t cap, size_t *bytes, lmb_error *err);
/* On failure `out` holds the fields read so far: not to be used. */
LMB_MUST_CHECK lmb_status lmb_wire_read(const char *message, const lmb_wire_field *rows, const uint8_t *in,
                                        size_t bytes, void *out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
