/* core/edge/kernels.c - the kernel sets, fastest first, and which of them this CPU runs. */
#include "core/edge/internal.h"

static int always(void) { return 1; }

static const lmbi_edge_kernels scalar = { "scalar", always, lmbi_edge_scalar };

#if LMBI_EDGE_AVX512VNNI
static int have_avx512vnni(void) /* asks CPU and operating system */
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

static const lmbi_edge_kernels avx512vnni = { "avx512vnni", have_avx512vnni, lmbi_edge_avx512vnni };
#endif

const lmbi_edge_kernels *const lmbi_edge_kernel_sets[] = {
#if LMBI_EDGE_AVX512VNNI
    &avx512vnni,
#endif
    &scalar, /* last: takes every op on every CPU */
    NULL,
};

static const lmbi_edge_kernel *find_row(const lmbi_edge_kernel *row, const lmbi_edge_step *s)
{
    for (; row->run; row++)
        if (row->kind == s->op.kind && (!row->accepts || row->accepts(s)))
            return row;
    return NULL;
}

const lmbi_edge_kernel *lmbi_edge_find_kernel(const lmbi_edge_kernels *set, const lmbi_edge_step *s)
{
    const lmbi_edge_kernel *k = find_row(set->rows, s);
    return k ? k : find_row(lmbi_edge_scalar, s);
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
            return LMB_EDGE_OK;
        }
    return LMB_EDGE_E_ARG;
}
