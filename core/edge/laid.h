/* core/edge/laid.h - weights that a .lmb file has laid out for a kernel set: used where they lie, not repacked in
 * memory.
 *
 * Idea: preparing a model repacks its weights in the order in which the kernels of this CPU read them, so a device has
 * them twice: in the file, which may be flash or a mapping, and in RAM. A file can have them in that order already, for
 * one or several kernel sets; then preparing computes no more than small heads, and the large numbers stay in the file.
 *
 *     lmb_edge_open(file, n, &m, why, sizeof why);
 *     lmb_edge_use_laid(&m, why, sizeof why);         what it returns may be ignored: without it all goes on as ever
 *     lmb_edge_prepare(&m, malloc(lmb_edge_prepare_bytes(&m)));      smaller now
 *
 * The bytes that come out are the same. A program that does not call this does not link it.
 *
 * The sections, PCK0, PCK1 ..., one for each kernel set; readers skip them that do not know them:
 *     0   u32 version          of the layouts, LMB_EDGE_LAID_VERSION; of another, the section is not used
 *     4   u32 ops
 *     8   char kernels[16]     name of the set, as lmb_edge_kernels has it, zeros behind it
 *     24  u32 at[ops]          where the numbers of op i begin, from the section's begin, in units of 64 bytes; 0:
 *                              none, and the op is repacked in memory
 *         numbers              of the ops in turn, each at the next multiple of 64, where the section ends too:
 *                              conv, gemm          s32 bias[out] less the zero point's share, f32 m[out], zeros behind
 *                                                  either up to a multiple of 64 bytes; weights (layout.h)
 *                              depthwise, average  biases, multipliers and weights (layout.h)
 *
 * What is believed. The list is not: the runtime computes from the ops where everything must lie and how long it is,
 * and refuses a section that says otherwise. Of the numbers any may stand there: no address and no length follows from
 * them, sums wrap and conversions saturate. Whether they are those of WTS is the writer's word, as WTS itself is; who
 * does not trust the writer asks for a signature, which covers both, and `limbeck inspect` compares them.
 */
#ifndef LMB_CORE_EDGE_LAID_H
#define LMB_CORE_EDGE_LAID_H

#include "core/edge/write.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_EDGE_LAID_VERSION = 1, LMB_EDGE_LAID_SETS = 5 /* of which weights can be laid out */ };

/* After lmb_edge_open, lmb_edge_use and lmb_edge_within, before lmb_edge_prepare: take the weights of the chosen
 * kernels from the file. With lmb_edge_within, ops that fall back to the scalar kernels take theirs from WTS.
 *
 *   note     another lmb_edge_use goes back to repacking
 *   errors   with one sentence in `why` (may be NULL); then *m is as it was, and repacks. E_ARG: the file has none for
 *            these kernels in this version, or does not lie at a multiple of 64, as a mapped one does.
 *            E_FORMAT: it has, and they are not of the lengths that follow from the ops
 */
lmb_edge_status lmb_edge_use_laid(lmb_edge_model *m, char *why, size_t why_cap);

/* Name of the kernel set of the i-th such section of this version, and its bytes; NULL past the last. */
const char *lmb_edge_laid(const lmb_edge_model *m, int i, size_t *bytes);

/* ---- host side: limbeck_edge_writer ----------------------------------------------------------------------- */

/* Kernel sets that weights can be laid out for, whatever CPU this is; NULL past the last. */
const char *lmb_edge_layouts(int i);

/* Bytes of the section that lmb_edge_write_laid makes for this set; 0: the set is unknown. */
uint64_t lmb_edge_laid_bytes(const lmb_edge_model *m, const char *set);

/* A finished plain file once more, appended to `out`, with weights laid out for these kernel sets, in place of what it
 * had of that kind; n_sets 0: without any. A signature goes, for it would no longer hold.
 *
 *   errors   E_ARG: a set is unknown, or named twice; as lmb_edge_write_release. Then `out` keeps its size
 */
lmb_edge_status lmb_edge_write_laid(const void *file, size_t n, const char *const *sets, int n_sets,
                                    lmb_edge_buffer *out, char *why, size_t why_cap);

#ifdef __cplusplus
}
#endif
#endif
