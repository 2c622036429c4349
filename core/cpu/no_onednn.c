/* core/cpu/no_onednn.c - stands in for onednn.c in builds without the library. */
#include <stdio.h>

#include "core/cpu/kernels.h"

const lmb_kernel *const lmbi_best_kernels[] = { LMBI_OWN, NULL };

void lmbi_onednn_version(char *text, size_t cap) { snprintf(text, cap, "no oneDNN"); }

const lmb_backend *lmb_backend_onednn(void) { return NULL; }
