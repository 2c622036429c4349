/* core/edge/kernels.c - the kernel sets, fastest first, and which of them this CPU runs. */
#include "core/edge/internal.h"

#if LMBI_EDGE_X86
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

static int always(void) { return 1; }

static const lmbi_edge_kernels scalar = { "scalar", always, lmbi_edge_scalar };

/* These ask the CPU, and whether the operating system keeps its registers. */
#if LMBI_EDGE_AVX512VNNI
static int have_avx512vnni(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}
static const lmbi_edge_kernels avx512vnni = { "avx512vnni", have_avx512vnni, lmbi_edge_avx512vnni };
#endif

#if LMBI_EDGE_AVX2 || LMBI_EDGE_AVXVNNI
static int have_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#if LMBI_EDGE_AVXVNNI
static int have_avxvnni(void) /* leaf 7.1, EAX bit 4 */
{
    unsigned a = 0, b, c, d;
    return have_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
static const lmbi_edge_kernels avxvnni = { "avxvnni", have_avxvnni, lmbi_edge_avxvnni };
#endif

#if LMBI_EDGE_AVX2
static const lmbi_edge_kernels avx2 = { "avx2", have_avx2, lmbi_edge_avx2 };
#endif

#if LMBI_EDGE_NEONDOT
static int have_neondot(void) { return (getauxval(AT_HWCAP) >> 20 & 1) != 0; } /* HWCAP_ASIMDDP */
static const lmbi_edge_kernels neondot = { "neondot", have_neondot, lmbi_edge_neondot };
#endif

#if LMBI_EDGE_NEON
static const lmbi_edge_kernels neon = { "neon", always, lmbi_edge_neon };
#endif

const lmbi_edge_kernels *const lmbi_edge_kernel_sets[] = {
#if LMBI_EDGE_AVX512VNNI
    &avx512vnni,
#endif
#if LMBI_EDGE_AVXVNNI
    &avxvnni,
#endif
#if LMBI_EDGE_AVX2
    &avx2,
#endif
#if LMBI_EDGE_NEONDOT
    &neondot,
#endif
#if LMBI_EDGE_NEON
    &neon,
#endif
    &scalar, /* last: takes every op on every CPU */
    NULL,
};

void lmbi_edge_choose(const lmb_edge_model *m, lmbi_edge_step *s)
{
    for (const lmbi_edge_kernel *row = m->kernels->rows;; row++) {
        if (!row->run)
            row = lmbi_edge_scalar; /* has a kernel for every step, without scratch */
        if (row->kind != s->op.kind || (row->accepts && !row->accepts(s)))
            continue;
        s->kernel = row;
        s->scratch = row->scratch_bytes ? row->scratch_bytes(s) : 0;
        if (s->scratch <= m->scratch_max)
            return;
        s->laid = NULL;
    }
}

const char *lmb_edge_kernels(int i, int *usable)
{
    for (int j = 0; lmbi_edge_kernel_sets[j]; j++)
        if (j == i) {
            *usable = lmbi_edge_kernel_sets[j]->usable();
            return lmbi_edge_kernel_sets[j]->name;
        }
    return NULL;
}

const char *lmb_edge_kernels_of(const lmb_edge_model *m) { return m->kernels->name; }

lmb_edge_status lmb_edge_use(lmb_edge_model *m, const char *name)
{
    for (int i = 0; lmbi_edge_kernel_sets[i]; i++)
        if (strcmp(lmbi_edge_kernel_sets[i]->name, name) == 0 && lmbi_edge_kernel_sets[i]->usable()) {
            m->kernels = lmbi_edge_kernel_sets[i];
            m->steps = NULL; /* what was packed was packed for another set */
            m->laid = NULL;
            return LMB_EDGE_OK;
        }
    return LMB_EDGE_E_ARG;
}
