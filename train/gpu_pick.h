/* train/gpu_pick.h - which GPU of its host a rank takes.
 *
 * Idea: ranks of one host that see the same GPUs, by their own names and not by their numbers, are counted among each
 * other, and the n-th takes number n. So it does not matter whether the launcher shows each rank all GPUs of the host,
 * or one of its own, which then is number 0 to each of them, nor how ranks are spread over hosts.
 *
 *   errors   E_DEVICE: this rank can see no GPU, or more ranks of this host see the same ones than there are, said on
 *            every rank alike. E_PEER: another rank can see none
 */
#ifndef LMB_TRAIN_GPU_PICK_H
#define LMB_TRAIN_GPU_PICK_H

#include "comm/collective.h"

/* On all ranks at once. `shared`: several ranks may take the same one. *alone: no other rank does. */
LMB_MUST_CHECK lmb_status lmb_gpu_pick(lmb_comm *c, bool shared, int *index, bool *alone, lmb_error *err);

#endif
