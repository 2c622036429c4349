/* core/cpu/no_onednn.c - stands in for onednn.c in builds without the library. */
#include "core/cpu/kernels.h"

const lmb_kernel *const lmbi_best_kernels[] = { &lmbi_winograd_conv, &lmbi_winograd_conv_act, &lmbi_winograd_conv_data,
                                                &lmbi_winograd_conv_weights,
                                                NULL };

const lmb_backend *lmb_backend_onednn(void) { return NULL; }
