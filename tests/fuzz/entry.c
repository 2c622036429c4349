/* tests/fuzz/entry.c - one target of a test of this folder for libFuzzer: LMB_FUZZ_FILE, LMB_FUZZ_BEGIN and
 * LMB_FUZZ_TARGET come from CMakeLists.txt, which says how to run it. The test's assertions are kept; Check itself is
 * not needed. */
#include <check.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define LMB_LIBFUZZER
#include LMB_FUZZ_FILE

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void _mark_point(const char *file, int line) { (void)file, (void)line; }

void _ck_assert_failed(const char *file, int line, const char *expr, const char *message, ...)
{
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, expr, message ? message : "");
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    if (sodium_init() < 0)
        abort();
    LMB_FUZZ_BEGIN;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LMB_FUZZ_TARGET(data, size);
    return 0;
}
