/* core/cpu/machine.c - what the speed of a kernel depends on, in a line: the key of measured choices
 * (core/plan/choice.h).
 *
 *   source   x86: the brand string of CPUID 0x80000002 to 0x80000004; elsewhere Linux's /proc/cpuinfo
 */
#include <stdio.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "core/base/str.h"
#include "core/cpu/kernels.h"

enum { KERNELS = 1 }; /* raised when kernels of ours change so much that older measurements mislead */

#if defined(__x86_64__)
static void processor(char name[64])
{
    unsigned part[12] = { 0 };

    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002u + i, &part[4 * i], &part[4 * i + 1], &part[4 * i + 2], &part[4 * i + 3]))
            part[0] = 0;
    memcpy(name, part, sizeof part);
    name[sizeof part] = '\0';
}

static void instructions(lmb_str *out)
{
#define HAS(what) if (__builtin_cpu_supports(what)) lmb_str_add(out, " " what)
    HAS("avx2");
    HAS("fma");
    HAS("avx512f");
    HAS("avx512bw");
    HAS("avx512dq");
    HAS("avx512vnni");
    HAS("avx512bf16");
#undef HAS
}
#else
/* Lines like "model name : ...", "CPU part : 0xd0c": the first of each kind. */
static void processor(char name[64])
{
    static const char *const wanted[] = { "model name", "CPU implementer", "CPU part" };
    char line[256];
    bool seen[3] = { false };
    size_t n = 0;
    FILE *f = fopen("/proc/cpuinfo", "re");

    name[0] = '\0';
    while (f && fgets(line, sizeof line, f))
        for (int i = 0; i < 3; i++) {
            const char *value = strchr(line, ':');
            if (seen[i] || !value || strncmp(line, wanted[i], strlen(wanted[i])) != 0)
                continue;
            seen[i] = true;
            n += (size_t)snprintf(name + n, n < 64 ? 64 - n : 0, "%s", value + 1);
            n = n < 63 ? n : 63;
        }
    if (f)
        fclose(f);
}

static void instructions(lmb_str *out) { (void)out; }
#endif

void lmb_cpu_machine(lmb_str *out)
{
    char name[64], library[32];

    processor(name);
    for (char *c = name; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = ' ';
    lmbi_onednn_version(library, sizeof library);
    lmb_str_add(out, name);
    instructions(out);
    lmb_str_addf(out, ", limbeck " LMB_VERSION " kernels %d, %s", KERNELS, library);
}
