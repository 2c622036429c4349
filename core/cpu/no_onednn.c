/* core/cpu/no_onednn.c - stands in for onednn.c in builds without the library. */
#include "core/cpu/cpu.h"

const lmb_backend *lmb_backend_onednn(void) { return NULL; }
