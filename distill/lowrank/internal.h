/* distill/lowrank/internal.h - shared by the files of this folder. */
#ifndef LMB_DISTILL_LOWRANK_INTERNAL_H
#define LMB_DISTILL_LOWRANK_INTERNAL_H

#include "distill/lowrank/lowrank.h"

/* left' w right: core [rank_out, rank_in, taps]; half: room for [rank_out, in, taps]. Three factors only. */
void lmbi_basis_core(const lmb_basis *b, int64_t rank_out, int64_t rank_in, double *half, double *core);

#endif
