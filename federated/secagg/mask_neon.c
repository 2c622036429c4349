/* federated/secagg/mask_neon.c - masks, four blocks at once; every aarch64 has this. */
#include "federated/secagg/mask_lanes.h"

#if LMBI_MASK_NEON
#define NAME lmbi_mask_neon
#define TITLE "neon"
#define LANES 4
#define UNIT

static bool have(void) { return true; }

#define LMBI_MASK_BODY
#include "federated/secagg/mask_lanes.h"
#else
typedef int lmbi_mask_no_neon;
#endif
