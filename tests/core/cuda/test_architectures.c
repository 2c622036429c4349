/* What the CUDA module says it was compiled for is in it: machine code for each GPU, and PTX for those to come, of
 * every source. Needs no device.
 *
 * Its fat binaries are read here: section .nv_fatbin holds one after another, a head (magic, version, length) and
 * entries (kind 1 PTX, 2 machine code; lengths; capability). Where the toolkit brings cuobjdump, it must list the same.
 *   source   layout: seen in modules of CUDA 11 to 13, and the same as cuobjdump -lelf and -lptx list of ours
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/cuda/cuda.h"
#include "tests/check_main.h"

enum { HEAD = 16, ENTRY = 64, KINDS = 3, CAPABILITIES = 512 };
static const uint32_t MAGIC = 0xBA55ED50;

static lmb_error err;
static char module[4096], says[256];
static int count[KINDS][CAPABILITIES]; /* [1 PTX, 2 machine code][10 major + minor] */
static int binaries;

static uint64_t number(const unsigned char *at, size_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, at, bytes); /* x86-64 and aarch64: low bytes first, as in the file */
    return v;
}

/* The entries of one fat binary of n bytes after its head. */
static void read_entries(const unsigned char *at, size_t n)
{
    while (n >= ENTRY) {
        const size_t kind = number(at, 2), head = number(at + 4, 4), body = number(at + 8, 8), of = number(at + 28, 4);
        ck_assert_msg(head >= ENTRY && head <= n && body <= n - head, "an entry of %zu and %zu bytes in %zu", head, body,
                      n);
        if (kind < KINDS && of < CAPABILITIES)
            count[kind][of]++;
        at += head + body;
        n -= head + body;
    }
}

static void read_binaries(const unsigned char *at, size_t n)
{
    for (size_t i = 0; i + HEAD <= n; i += 8) {
        if (number(at + i, 4) != MAGIC)
            continue;
        const size_t body = number(at + i + 8, 8);
        ck_assert_msg(body <= n - i - HEAD, "a fat binary of %zu bytes in %zu", body, n - i - HEAD);
        read_entries(at + i + HEAD, body);
        binaries++;
        i += HEAD + body / 8 * 8 - 8;
    }
}

static void read_module(void)
{
    void *data = NULL;
    size_t n = 0;
    Elf64_Ehdr head;

    err = (lmb_error)LMB_ERROR_INIT;
    memset(count, 0, sizeof count);
    binaries = 0;
    ck_ok(lmb_file_read(module, (size_t)1 << 30, &data, &n, &err));
    const unsigned char *file = data;
    ck_assert_uint_ge(n, sizeof head);
    memcpy(&head, file, sizeof head);
    ck_assert(head.e_shentsize == sizeof(Elf64_Shdr) && head.e_shoff + head.e_shnum * sizeof(Elf64_Shdr) <= n);
    const Elf64_Shdr *section = (const void *)(file + head.e_shoff);
    const char *names = (const char *)file + section[head.e_shstrndx].sh_offset;
    for (int i = 0; i < head.e_shnum; i++)
        if (strcmp(names + section[i].sh_name, ".nv_fatbin") == 0) {
            ck_assert(section[i].sh_offset <= n && section[i].sh_size <= n - section[i].sh_offset);
            read_binaries(file + section[i].sh_offset, section[i].sh_size);
        }
    free(data);
}

/* Whether the list of words has this one. */
static bool has(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    return false;
}

/* Words such as "native" stand for what this machine has: then the module may hold anything. */
static bool in_numbers(void) { return strspn(says, "sm_copute 0123456789af") == strlen(says); }

START_TEST(every_source_has_code_for_every_gpu)
{
    if (!in_numbers())
        return;
    read_module();
    ck_assert_int_ge(binaries, 10);
    for (int kind = 1; kind < KINDS; kind++)
        for (int i = 0; i < CAPABILITIES; i++) {
            char word[32];
            snprintf(word, sizeof word, "%s_%d", kind == 1 ? "compute" : "sm", i);
            ck_assert_msg(count[kind][i] == (has(says, word) ? binaries : 0),
                          "%d of %d binaries have %s, and it says: %s", count[kind][i], binaries, word, says);
        }
}
END_TEST

/* Lines such as "ELF file    1: limbeck_cuda.1.sm_90.cubin". */
START_TEST(cuobjdump_lists_the_same)
{
    char command[5000], line[512];
    const char *tool = getenv("LMB_CUOBJDUMP");

    if (!tool || !*tool) {
        printf("no cuobjdump in this toolkit: read by ourselves alone\n");
        return;
    }
    read_module();
    for (int kind = 1; kind < KINDS; kind++) {
        snprintf(command, sizeof command, "'%s' %s '%s'", tool, kind == 1 ? "-lptx" : "-lelf", module);
        FILE *f = popen(command, "r");
        ck_assert_ptr_nonnull(f);
        while (fgets(line, sizeof line, f)) {
            const char *at = strstr(line, ".sm_");
            if (at && atoi(at + 4) < CAPABILITIES)
                count[kind][atoi(at + 4)]--;
        }
        ck_assert_int_eq(pclose(f), 0);
        for (int i = 0; i < CAPABILITIES; i++)
            ck_assert_msg(count[kind][i] == 0, "of kind %d for %d we read %d more", kind, i, count[kind][i]);
    }
}
END_TEST

/* What the module says of itself. */
static bool is_built(void)
{
    lmb_cuda *cuda = NULL;

    err = (lmb_error)LMB_ERROR_INIT;
    if (lmb_cuda_open(LMB_BINARY_DIR "/launch", &cuda, &err) != LMB_OK) {
        printf("skipped: %s\n", err.msg);
        return false;
    }
    snprintf(module, sizeof module, "%s", cuda->path);
    snprintf(says, sizeof says, "%s", cuda->api->code);
    lmb_cuda_close(cuda);
    printf("compiled for %s\n", says);
    return true;
}

LMB_TEST_MAIN_IF("core/cuda/architectures", is_built(), add(every_source_has_code_for_every_gpu);
                 add(cuobjdump_lists_the_same);)
