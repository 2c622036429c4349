/* core/edge/write_internal.h - what the writer's files share: its state, errors that stick, little-endian bytes, heads
 * of ops. */
#ifndef LMB_CORE_EDGE_WRITE_INTERNAL_H
#define LMB_CORE_EDGE_WRITE_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "core/edge/internal.h"
#include "core/edge/write.h"

struct lmb_edge_writer {
    lmb_edge_tensor tensors[LMB_EDGE_MAX_OPS + 1]; /* names are offsets, see name_at */
    uint32_t name_at[LMB_EDGE_MAX_OPS + 1];
    uint8_t ops[LMB_EDGE_MAX_OPS][LMBI_EDGE_OP];
    int n_tensors; /* ops are one fewer */
    lmb_edge_buffer names, weights, constants, meta;
    lmb_edge_status status;
    char why[200];
};

/* The first failure of a writer stays. Returns -1. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
int lmbi_write_fail(lmb_edge_writer *w, lmb_edge_status s, const char *fmt, ...);
/* n zeroed bytes at the end of b; NULL without memory (room: and w has failed). */
uint8_t *lmbi_write_grow(lmb_edge_buffer *b, size_t n);
uint8_t *lmbi_write_room(lmb_edge_writer *w, lmb_edge_buffer *b, size_t n);
void lmbi_write_u16(uint8_t *p, uint32_t v);
void lmbi_write_u32(uint8_t *p, uint32_t v);
void lmbi_write_u64(uint8_t *p, uint64_t v);
void lmbi_write_f32(uint8_t *p, float f);
/* The tensor an op reads; NULL, with the error noted, where an op cannot be added. */
const lmb_edge_tensor *lmbi_write_input_of(lmb_edge_writer *w, int x, const char *name);
/* Appends the op that writes the next tensor; NULL after an error. */
uint8_t *lmbi_write_op(lmb_edge_writer *w, lmb_edge_kind kind, const int *x, int n, const uint64_t shape[3],
                       lmb_edge_quant q, const char *name);
/* Number of the tensor just written, if its constants found room. */
int lmbi_write_done(const lmb_edge_writer *w);

/* E_ARG: `name` is no prefix of C names (c_source.h). */
lmb_edge_status lmbi_c_name(const char *name, const lmbi_edge_why *why);

typedef struct lmbi_write_section {
    uint32_t type;
    const void *data; /* NULL: zeros */
    size_t bytes;     /* 0: left out */
} lmbi_write_section;
/* The whole file from its sections, appended to `out` and opened for a check; -1: w has failed. */
int lmbi_write_assemble(lmb_edge_writer *w, const lmbi_write_section *all, int n, lmb_edge_buffer *out);

enum { LMBI_WRITE_OWN = 8 };
/* All sections of a file, which is checked, but the signature and those that `drop` (may be NULL) names; own[n_own],
 * LMBI_WRITE_OWN at most, each in the place of the one of its type, or behind them. Statuses of lmb_edge_write_release. */
lmb_edge_status lmbi_write_again(const void *file, size_t n, const lmbi_write_section *own, int n_own,
                                 int (*drop)(uint32_t type), lmb_edge_buffer *out, char *why, size_t why_cap);

#endif
