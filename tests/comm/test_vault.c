/* Mirrors comm/vault.c. */
#include "comm/vault.h"
#include "tests/check_main.h"

#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "comm/channel.h"

static long status_kib(const char *format)
{
    long kib = -1;
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, format, &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

static long locked_kib(void) { return status_kib("VmLck: %ld"); }

/* Does locking show here? Not under a small limit, nor where a sanitizer's mlock does nothing. */
static bool shows(void)
{
    long before = locked_kib();
    void *p = mmap(NULL, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool yes = p != MAP_FAILED && mlock(p, 1 << 18) == 0 && locked_kib() >= before + 256;
    if (p != MAP_FAILED)
        munmap(p, 1 << 18);
    return yes;
}

/* More places than a chunk has: all different, aligned, zeroed also where another secret was; giving one back leaves
 * the others as they are. */
START_TEST(places)
{
    enum { N = 400, BYTES = 1000 };
    static const uint8_t nothing[BYTES];
    uint8_t *place[N];
    lmb_vault *v;
    lmb_error err = LMB_ERROR_INIT;
    long before = locked_kib();

    ck_ok(lmb_vault_create(BYTES, &v, &err));
    ck_assert_int_eq(locked_kib(), before);
    for (int i = 0; i < N; i++) {
        ck_assert_ptr_nonnull(place[i] = lmb_vault_take(v));
        ck_assert_uint_eq((uintptr_t)place[i] % 16, 0);
        ck_assert_mem_eq(place[i], nothing, BYTES);
        memset(place[i], 1 + i % 255, BYTES);
    }
    if (shows())
        ck_assert_int_ge(locked_kib(), before + N * BYTES / 1024);
    for (int i = 0; i < N; i += 2)
        lmb_vault_give(v, place[i]);
    if (shows())
        ck_assert_int_ge(locked_kib(), before + N * BYTES / 1024); /* the neighbours are still there */
    for (int i = 0; i < N; i += 2) {
        ck_assert_ptr_nonnull(place[i] = lmb_vault_take(v));
        ck_assert_mem_eq(place[i], nothing, BYTES);
        memset(place[i], 1 + i % 255, BYTES);
    }
    for (int i = 0; i < N; i++) {
        uint8_t mine[BYTES];
        memset(mine, 1 + i % 255, BYTES);
        ck_assert_mem_eq(place[i], mine, BYTES);
    }
    lmb_vault_destroy(v);
    ck_assert_int_eq(locked_kib(), before);
    lmb_vault_destroy(NULL);
}
END_TEST

START_TEST(larger_than_a_chunk)
{
    enum { BYTES = 200000 };
    lmb_vault *v;
    lmb_error err = LMB_ERROR_INIT;
    ck_ok(lmb_vault_create(BYTES, &v, &err));
    uint8_t *a = lmb_vault_take(v), *b = lmb_vault_take(v);
    ck_assert(a && b && a != b);
    memset(a, 1, BYTES);
    memset(b, 2, BYTES);
    ck_assert_uint_eq(a[BYTES - 1], 1);
    lmb_vault_destroy(v);
}
END_TEST

/* A client's channel lies on pages of its own, a server's in the vault that its gate names. */
START_TEST(channels_are_locked)
{
    static const uint8_t secret[LMB_NOISE_KEY] = { 1 };
    uint8_t public_key[LMB_NOISE_KEY];
    lmb_channel_gate gate = { 0 };
    lmb_channel *c[40];
    lmb_error err = LMB_ERROR_INIT;
    long before = locked_kib(), one;

    lmb_noise_public(secret, public_key);
    ck_ok(lmb_channel_client(secret, public_key, NULL, 1, &c[0], &err));
    if (shows())
        ck_assert_int_gt(locked_kib(), before);
    lmb_channel_destroy(c[0]);
    ck_assert_int_eq(locked_kib(), before);
    ck_ok(lmb_vault_create(lmb_channel_place, &gate.vault, &err));
    ck_ok(lmb_channel_server(secret, &gate, &c[0], &err));
    one = locked_kib();
    if (shows())
        ck_assert_int_gt(one, before);
    for (int i = 1; i < 40; i++)
        ck_ok(lmb_channel_server(secret, &gate, &c[i], &err));
    ck_assert_int_le(locked_kib(), one + 64); /* they share pages */
    for (int i = 0; i < 40; i++)
        lmb_channel_destroy(c[i]);
    lmb_vault_destroy(gate.vault);
    ck_assert_int_eq(locked_kib(), before);
}
END_TEST

/* A limit that is too low is said in a sentence, and nothing fails. */
START_TEST(a_low_limit)
{
    const struct rlimit low = { 4096, 4096 };
    char sentence[LMB_SECRET_SENTENCE] = "";
    lmb_error err = LMB_ERROR_INIT;
    lmb_vault *v;
    uint8_t *p;

    ck_assert(lmb_secret_room(4096, sentence) || !shows());
    long most = status_kib("VmHWM: %ld"); /* asking takes no memory */
    ck_assert(lmb_secret_room(1 << 28, sentence) || *sentence);
    ck_assert_int_le(status_kib("VmHWM: %ld"), most + 65536);
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &low), 0);
    if (!lmb_secret_room(1 << 20, sentence)) { /* root may lock whatever the limit is */
        ck_assert_ptr_nonnull(strstr(sentence, "1024 KiB"));
        ck_assert_ptr_nonnull(strstr(sentence, "4 KiB (ulimit -l"));
    }
    ck_ok(lmb_vault_create(100, &v, &err));
    ck_assert_ptr_nonnull(p = lmb_vault_take(v));
    memset(p, 1, 100);
    lmb_vault_destroy(v);
    ck_assert_ptr_nonnull(p = lmb_secret_new(100000));
    ck_assert_uint_eq(p[99999], 0);
    memset(p, 1, 100000);
    lmb_secret_free(p);
}
END_TEST

LMB_TEST_MAIN("comm/vault", if (sodium_init() < 0) return 1; add(places); add(larger_than_a_chunk);
              add(channels_are_locked); add(a_low_limit);)
