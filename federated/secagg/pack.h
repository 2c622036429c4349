/* federated/secagg/pack.h - vectors of integers modulo 2^bits, and their bytes on the wire: bits a number, no more.
 *
 * Idea: in memory a number has a machine word of 32 bits (bits <= 32) or 64 (bits <= 62) and sums simply run over:
 * 2^bits divides the word's modulus, so only the end needs a cut. On the wire a number takes `bits` bits, lowest
 * first, without gaps; eight numbers make whole bytes, so a vector may travel in blocks of a multiple of eight.
 *
 *   threads  distinct vectors are independent
 */
#ifndef LMB_FEDERATED_SECAGG_PACK_H
#define LMB_FEDERATED_SECAGG_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_RING_BITS_MAX = 62, LMB_PACK_GROUP = 8 };

typedef struct lmb_ring_vector {
    unsigned bits;
    size_t n;
    uint32_t *u32; /* [n] when bits <= 32, else NULL */
    uint64_t *u64; /* [n] when bits > 32, else NULL  */
} lmb_ring_vector;

/* Zeros.  errors  E_ARG, E_NOMEM */
LMB_MUST_CHECK lmb_status lmb_ring_init(lmb_ring_vector *v, unsigned bits, size_t n, lmb_error *err);
void lmb_ring_deinit(lmb_ring_vector *v); /* wiped: it may hold what nobody else may see */
/* Number i in [0, 2^bits), and that number as one in [-2^(bits-1), 2^(bits-1)). */
uint64_t lmb_ring_get(const lmb_ring_vector *v, size_t i);
int64_t lmb_ring_signed(const lmb_ring_vector *v, size_t i);
void lmb_ring_set(lmb_ring_vector *v, size_t i, uint64_t value);

/* Bytes of n numbers. */
size_t lmb_pack_bytes(unsigned bits, size_t n);
/* Numbers [at, at + count) as bytes; `at` a multiple of LMB_PACK_GROUP. */
void lmb_pack(const lmb_ring_vector *v, size_t at, size_t count, uint8_t *out);
/* Add packed numbers to [at, at + count). Unused bits of the last byte are of no account. */
void lmb_unpack_add(lmb_ring_vector *v, size_t at, size_t count, const uint8_t *in);

#ifdef __cplusplus
}
#endif
#endif
