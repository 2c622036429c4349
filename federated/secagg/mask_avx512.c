/* federated/secagg/mask_avx512.c - masks, sixteen blocks at once. */
#include "federated/secagg/mask_lanes.h"

#if LMBI_MASK_X86
#define NAME lmbi_mask_avx512
#define TITLE "avx512"
#define LANES 16
#define UNIT __attribute__((target("avx512f")))

static bool have(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f");
}

#define LMBI_MASK_BODY
#include "federated/secagg/mask_lanes.h"
#else
typedef int lmbi_mask_no_avx512;
#endif
