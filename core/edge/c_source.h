/* core/edge/c_source.h - an open model as one C99 source file and its header, for devices that have no room for a
 * reader.
 *
 * Idea: what lmb_edge_open, prepare and run decide when they see a file is decided here, once: the source is the list
 * of calls that lmb_edge_run would make, with weights and constants as `static const` arrays (flash), one static arena,
 * and of the kernels only those that are called. No heap, no libc but memcpy and memset, no libm: rounding and the
 * fused multiply-add of lmb.h are written out so that they give the same bytes on a processor without floating point.
 *
 *   needs    binary32 and, for add on processors without a fused multiply-add, binary64; the source refuses to compile
 *            with -ffast-math or the x87's excess precision
 *   source   fused multiply-add by binary64: Boldo and Melquiond 2008, rounding to odd; as musl's fmaf
 */
#ifndef LMB_CORE_EDGE_C_SOURCE_H
#define LMB_CORE_EDGE_C_SOURCE_H

#include "core/edge/write.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_EDGE_MAX_NAME = 48 };

/* Text of NAME.c and NAME.h, appended. The header has
 *     NAME_INPUT, NAME_OUTPUT      bytes in, values out (and height, width, channels, scales of both)
 *     NAME_ARENA                   bytes of static working memory
 *     void name_run(const uint8_t input[NAME_INPUT], float output[NAME_OUTPUT])      or uint8_t output
 * which is not re-entrant: there is one arena; and for counters beside it (monitor.h, docs/examples/firmware_monitor.c)
 *     NAME_SHAPE                   an lmb_monitor_shape, with NAME_MODEL and NAME_RELEASE
 *     NAME_reference[NAME_REFERENCE_BYTES]      if the file has one
 * Weights are a byte each whatever their bits, as the kernels read them.
 *
 *   name     a C identifier of at most 48 letters, digits and underlines: prefix of everything public
 *   errors   E_ARG for another name; E_NOMEM. Then both buffers keep their size
 */
lmb_edge_status lmb_edge_write_c(const lmb_edge_model *m, const char *name, lmb_edge_buffer *source,
                                 lmb_edge_buffer *header, char *why, size_t why_cap);

/* Text of NAME_test.c, appended: an image, the runtime's answer to it, and `int name_selftest(void)`, which NAME.h
 * declares and which says how many values of the export's answer are others, to the bit; 0 is what it should say.
 *
 *   errors   as lmb_edge_write_c; then `out` keeps its size
 */
lmb_edge_status lmb_edge_write_c_test(const lmb_edge_model *m, const char *name, lmb_edge_buffer *out, char *why,
                                      size_t why_cap);

#ifdef __cplusplus
}
#endif
#endif
