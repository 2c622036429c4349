/* core/edge/packed.h - a .lmb file with its weights coded small: unpack it in memory of the caller, then open that.
 *
 * Idea: weights that are zero, or of a few values, take far less than a byte each. The packed file has all sections of
 * the plain one but WTS, whose bytes are coded, and SIGN: a signature is over the bytes of its own file, so verify that
 * of the packed file before unpacking. Unpacking gives the plain file again, unsigned; nothing is allocated.
 *
 *     lmb_edge_verify(file, n, &trust, why, sizeof why);           where files could be foisted on the device
 *     size_t bytes;
 *     lmb_edge_unpacked_bytes(file, n, &bytes, why, sizeof why);  0: it is not packed, open it as it is
 *     lmb_edge_unpack(file, n, memory, bytes, why, sizeof why);
 *     lmb_edge_open(memory, bytes, &m, why, sizeof why);           and m.release >= trust.minimum_release
 *
 * The section, which lmb_edge_open refuses to go without WTS:
 *     WTSC  0 u32 coding            1, or 2 where some weights are narrow (lmb.h); another is refused
 *           4 u32 CRC-32C           of the decoded bytes
 *           8 u64 decoded bytes     that WTS has
 *           16                      coding 2: u32 runs, 1..2049, and { u32 weights, u32 bits 2..8 } of each, which
 *                                   make up WTS, each run in whole bytes
 *                                   the code
 * The code is a binary range code with adaptive probabilities, one weight after the other in the order of WTS: is it
 * zero (by how many of the two before were), its sign, and |q| - 1 in 7 bits from the top, each in the context of
 * those before it: of narrow weights their numbers, not the bytes that they share. So sparse weights, narrow ones and
 * peaked ones all shrink to about their entropy, and no table is stored. Arithmetic is of 32 bit integers: the same
 * everywhere. Minor version 1.
 *
 *   source   Martin 1979 (range coding); the coder's form: the LZMA SDK by Pavlov, public domain,
 *            lzma-specification.txt
 */
#ifndef LMB_CORE_EDGE_PACKED_H
#define LMB_CORE_EDGE_PACKED_H

#include "core/edge/write.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of the plain file; 0: `file` is not packed. E_FORMAT, E_VERSION as lmb_edge_open. */
lmb_edge_status lmb_edge_unpacked_bytes(const void *file, size_t n, size_t *out, char *why, size_t why_cap);

/* The plain file into memory[bytes], at any alignment. Checks what it touches; lmb_edge_open checks the rest. E_ARG
 * when `bytes` is not what lmb_edge_unpacked_bytes says; E_FORMAT, E_VERSION. */
lmb_edge_status lmb_edge_unpack(const void *file, size_t n, void *memory, size_t bytes, char *why, size_t why_cap);

/* A plain file, packed, appended to `out`, with room for a signature at the end as lmb_edge_write_finish has it. Host
 * side: limbeck_edge_writer. E_ARG: it is packed already; E_NOMEM; as lmb_edge_open. */
lmb_edge_status lmb_edge_pack(const void *file, size_t n, size_t signature_bytes, lmb_edge_buffer *out, char *why,
                              size_t why_cap);

#ifdef __cplusplus
}
#endif
#endif
