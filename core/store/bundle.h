/* core/store/bundle.h - the bundle format: a store without libraries, as a file or as the body of a message.
 *
 * Byte layout, version 1; all numbers little-endian, floats IEEE 754:
 *
 *   header, 64 bytes
 *     0   8   magic 89 'L' 'M' 'B' '\r' '\n' 1a '\n' (damaged by text-mode transfers, like PNG's)
 *     8   4   version = 1
 *     12  4   number of entries, at most 2^20
 *     16  8   bytes of the table of contents
 *     24  8   bytes of the whole bundle
 *     32  32  BLAKE2b-256 of bytes 0..31 and the table of contents
 *   table of contents, at 64: the entries, one after the other
 *     0   1   kind: 1 tensor, 2 text, 3 integer, 4 real (lmb_store_kind)
 *     1   1   tensor: ONNX TensorProto.DataType number; else 0
 *     2   1   tensor: number of dimensions, at most 8; else 0
 *     3   1   length of the name, 1 to 200
 *     4   8   tensor, text: offset of the payload from the start; integer, real: the value itself
 *     12  8   tensor, text: bytes of the payload (texts include a final NUL); else 0
 *     20  32  tensor, text: BLAKE2b-256 of the payload; else 0
 *     52  8n  dimensions
 *     ..      name, no NUL
 *   payloads, each at the next multiple of 64, in order of the entries; zeros between them; the bundle ends
 *   where the last payload (or the table) ends
 *
 * There is one encoding of a list of items and a reader accepts no other: every byte is checked, either by a
 * hash or as a required zero. Readers treat the bytes as hostile: work and memory are bounded by their length.
 */
#ifndef LMB_CORE_STORE_BUNDLE_H
#define LMB_CORE_STORE_BUNDLE_H

#include "core/store/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A writer without a file: put ..., then lmb_bundle_bytes instead of lmb_store_commit. */
LMB_MUST_CHECK lmb_status lmb_bundle_create(lmb_store_writer **out, lmb_error *err);
/* The whole bundle in malloc'd memory. Any writer will do; it is unchanged and can go on. */
LMB_MUST_CHECK lmb_status lmb_bundle_bytes(const lmb_store_writer *w, void **data, size_t *n, lmb_error *err);

/* Open n bytes as a store. They are borrowed and must stay until lmb_store_close. E_FORMAT says what is wrong. */
LMB_MUST_CHECK lmb_status lmb_bundle_read(const void *data, size_t n, lmb_store **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
