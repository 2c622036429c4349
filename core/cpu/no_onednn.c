/* core/cpu/no_onednn.c - stands in for onednn.c in builds without the library. */
#include "core/cpu/kernels.h"

const lmb_kernel *const lmbi_best_kernels[] = { LMBI_OWN, NULL };

const lmb_backend *lmb_backend_onednn(void) { return NULL; }
